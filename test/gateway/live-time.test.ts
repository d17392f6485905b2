import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { createWebSocketStream, WebSocket } from 'ws';
import { ManualClock } from '../client/manual-clock.ts';
import { gatewayInMemory, type TestGateway } from './gateway-server.ts';
import { MqttPeer } from './mqtt/mqtt-peer.ts';
import { WsClient } from './ws-client.ts';

/** Time that passes when the test says so, and turns of the event loop as they come. */
class StandingClock extends ManualClock {
  override soon(callback: () => void): void {
    setImmediate(callback);
  }

  /** Lets seconds pass, one after the other. */
  async pass(seconds: number): Promise<void> {
    for (let i = 0; i < seconds; i++) {
      this.advance(1_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

const clock = new StandingClock();
let server: TestGateway;
beforeAll(async () => {
  server = await gatewayInMemory({ clock, limits: { loopDelayMsMax: 0 } });
});
afterAll(async () => {
  expect(server.faults).toEqual([]);
  await server.close();
});

test('who says nothing for 5 s is nobody in particular [GW-52]', async () => {
  const client = new WsClient(`${server.gateway.url}/v1/ws`);
  await once(client.socket, 'open');
  await clock.pass(4);
  expect(server.broker.metrics().clients).toBe(0);
  await clock.pass(3);
  expect(await client.hear('welcome')).toMatchObject({ session: null });
  await client.close();
});

test('who does not answer two pings is gone; who does, stays [GW-58]', async () => {
  const alive = await WsClient.welcomed(server);
  const dead = new WebSocket(`${server.gateway.url.replace('http', 'ws')}/v1/ws`, ['jsp.v1.json'], {
    autoPong: false,
  });
  dead.on('error', () => {});
  await once(dead, 'open');
  const gone = once(dead, 'close');
  let pings = 0;
  dead.on('ping', () => pings++);
  for (let round = 0; round < 3; round++) {
    const pinged = once(alive.socket, 'ping');
    await clock.pass(25);
    await pinged;
    await alive.ask({ type: 'ping', id: round }); // behind the pong
  }
  await gone;
  expect(pings).toBe(2);
  await alive.close();
});

test('who reads nothing is let go with 4008 and told where he was; others do not notice [GW-45]', async () => {
  const [slow, fast] = [await WsClient.welcomed(server), await WsClient.welcomed(server)];
  for (const client of [slow, fast])
    await client.ask({ type: 'subscribe', id: 1, filters: ['big'] }, 'subscribed');
  await slow.ask({ type: 'subscribe', id: 2, qos: 0, filters: ['small'] }, 'subscribed'); // of no log: it is nowhere
  const none = await WsClient.welcomed(server); // reads the same log, at another pace
  slow.socket.pause();
  const count = 40;
  for (let i = 0; i < count; i++) fast.say({ type: 'publish', topic: 'big', text: `${i}`.padEnd(500_000) });
  expect(await fast.messages(count)).toHaveLength(count);
  await clock.pass(60);
  slow.socket.resume();
  const goodbye = await slow.hear('goodbye');
  expect(goodbye).toMatchObject({
    code: 'STALLED',
    retryAfterMs: 0,
    positions: { 1: { epoch: expect.any(Number) } },
  });
  expect(Object.keys(goodbye.positions as object)).toEqual(['1']);
  expect(await slow.closed).toBe(4008);
  // Behind that position comes what is missing, and nothing else.
  const { 1: since } = goodbye.positions as Record<string, { epoch: number; offset: number }>;
  await none.ask({ type: 'subscribe', id: 2, filters: ['big'], since }, 'subscribed');
  const [first] = await none.messages(1);
  expect(first.offset).toBe(since.offset + 1);
  await none.close();
  await fast.close();
});

test('a quiet stream of events has a comment every 15 s [GW-63]', async () => {
  const aborter = new AbortController();
  const response = await server.fetch('/v1/events?filter=quiet', { signal: aborter.signal });
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  let text = '';
  const readUntil = async (part: string) => {
    while (!text.includes(part)) text += Buffer.from((await reader.read()).value as Uint8Array).toString();
  };
  await readUntil('event: open');
  await clock.pass(14);
  expect(text).not.toContain('\n:\n');
  await clock.pass(2);
  await readUntil('\n:\n');
  aborter.abort();
});

test('nobody is looked after who is not there any more', async () => {
  const own = new StandingClock();
  const other = await gatewayInMemory({ clock: own });
  for (let i = 0; i < 3; i++) {
    const client = await WsClient.welcomed(other);
    await own.pass(1); // each is pinged in another second
    await client.close();
  }
  while (other.gateway.metrics().guests > 0) await own.pass(1);
  await own.pass(5); // the last look at connections, which is once in 5 s
  expect(own.pending).toBe(0);
  await other.close();
});

test('who was said goodbye to, and has closed, is waited for by no timer any more [GW-59] [GW-64]', async () => {
  const own = new StandingClock();
  const other = await gatewayInMemory({ clock: own }, { clock: own });
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const client = await WsClient.welcomed(other);
  const events = get(`${other.gateway.url}/v1/events?filter=a`);
  const [response] = (await once(events, 'response')) as [IncomingMessage];
  const ended = once(response.resume(), 'end');
  const before = vi.getTimerCount();
  const closing = other.gateway.close();
  expect(vi.getTimerCount()).toBe(before + 2); // or each could stay for ever
  await Promise.all([closing, client.closed, ended]);
  while (other.gateway.metrics().guests > 0) await new Promise((resolve) => setImmediate(resolve));
  expect(vi.getTimerCount()).toBe(before);
  await other.close();
});

test('a gateway that has closed leaves no timer behind, whatever was under way', async () => {
  const own = new StandingClock();
  const other = await gatewayInMemory({ clock: own });
  const client = await WsClient.welcomed(other);
  await client.ask({ type: 'subscribe', id: 1, filters: ['a'] }, 'subscribed');
  await client.ask({ type: 'subscribe', id: 2, qos: 0, filters: ['asked'] }, 'subscribed');
  const mqtt = new WebSocket(`ws://127.0.0.1:${other.gateway.port}/mqtt`, 'mqtt');
  await new MqttPeer(createWebSocketStream(mqtt) as Duplex).connect({ clientId: 'mqtt' });
  const events = await other.fetch('/v1/events?filter=a');
  const published = await other.fetch('/v1/topics/a', { method: 'POST', body: 'text' });
  expect([events.status, published.status]).toEqual([200, 200]);
  const waiting = other
    .fetch('/v1/requests/asked', { method: 'POST', body: 'who answers?' })
    .catch(() => null);
  await client.messages(2);
  expect(own.pending).toBeGreaterThan(2);
  const closing = other.gateway.close({ drainMs: 0 });
  own.advance(0); // who is left is cut off; and no time passes in which a timer would see that it is not needed
  await closing;
  expect(own.pending).toBe(0);
  await waiting;
  await other.close();
});
