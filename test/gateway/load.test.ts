import { describe, expect, test } from 'vitest';
import { connectClient } from '../../src/client/index.ts';
import { LocalBackend } from '../../src/gateway/backend.ts';
import { ANONYMOUS } from '../../src/gateway/caller.ts';
import { Load } from '../../src/gateway/load.ts';
import { DEFAULT_LIMITS } from '../../src/gateway/options.ts';
import { Session } from '../../src/gateway/session.ts';
import { encodeSubscribe } from '../../src/pubsub/command.ts';
import type { ConnectionFacts } from '../../src/pubsub/message-stream.ts';
import { ManualClock } from '../client/manual-clock.ts';
import { gatewayInMemory } from './gateway-server.ts';

const FACTS: ConnectionFacts = {
  ...({ door: 'native', address: '', overLimit: 'wait' } as const),
  ...{ exporter: () => null, link: () => null },
};
const OVERLOADED = expect.objectContaining({ code: 'OVERLOADED', status: 503 });

describe('too much', () => {
  test('is what is above the bounds of requests and bytes, and not what is at them [GW-7]', () => {
    const load = new Load(
      { ...DEFAULT_LIMITS, inFlightMax: 2, inFlightBytesMax: 100, loopDelayMsMax: 0 },
      new ManualClock(),
    );
    load.begin();
    load.begin();
    expect(() => load.begin()).toThrow(OVERLOADED);
    load.take(60);
    load.take(40);
    expect(() => load.take(1)).toThrow(OVERLOADED);
    load.end(60);
    load.begin();
    load.take(60);
    expect(load.inFlight).toBe(2);
  });

  test('is what comes while the event loop is late, until it is not any more [GW-7]', () => {
    const clock = new ManualClock();
    const load = new Load({ ...DEFAULT_LIMITS, loopDelayMsMax: 100 }, clock);
    const look = (lateMs: number) => clock.advance(20 + lateMs);
    // The process was asleep, or did something for long, once.
    for (const lateMs of [60_000, 101, 101]) look(lateMs);
    load.begin();
    look(101);
    expect(() => load.begin()).toThrow(OVERLOADED);
    expect(load.loopDelayMs).toBe(101);
    look(0);
    load.begin();
    load.close();
  });

  test('of callers lets the one go that was not used for longest, and none that waits for a reply [GW-11]', async () => {
    const server = await gatewayInMemory({ limits: { sessionsMax: 2 } });
    const client = await connectClient(server.broker.url);
    let answer: (() => void) | null = null;
    await client.subscribe('slow', ({ properties: { replyTopic = '' } }) => {
      answer = () => void client.publish(replyTopic, 'done');
    });
    const slow = server.raw('POST', '/v1/requests/slow?timeout=60s', {}, 'x');
    while (answer === null) await new Promise((resolve) => setImmediate(resolve));
    for (const key of ['jspk_a_x', 'jspk_b_x', 'jspk_c_x']) {
      expect((await server.raw('POST', '/v1/topics/a', { 'x-api-key': key }, 'x')).status).toBe(200);
      expect(server.gateway.metrics().sessions).toBe(2);
    }
    (answer as () => void)();
    expect((await slow).text).toBe('done');
    await client.close();
    await server.close();
    expect(server.faults).toEqual([]);
  });

  test('is told at once, with when to come back; who watches the gateway is answered all the same [GW-7]', async () => {
    const server = await gatewayInMemory({ limits: { inFlightMax: 1 } });
    const client = await connectClient(server.broker.url);
    let answer: (() => void) | null = null;
    await client.subscribe('slow', ({ properties: { replyTopic = '' } }) => {
      answer = () => void client.publish(replyTopic, 'done');
    });
    const slow = server.raw('POST', '/v1/requests/slow?timeout=60s', {}, 'x');
    while (answer === null) await new Promise((resolve) => setImmediate(resolve));
    const refused = await server.raw('POST', '/v1/topics/a', {}, 'x');
    expect([refused.status, refused.json.code, refused.headers['retry-after']]).toEqual([
      503,
      'OVERLOADED',
      '1',
    ]);
    expect((await server.raw('GET', '/healthz')).status).toBe(200);
    (answer as () => void)();
    expect((await slow).text).toBe('done');
    expect((await server.raw('POST', '/v1/topics/a', {}, 'x')).status).toBe(200);
    expect(server.gateway.metrics()).toMatchObject({ overloaded: 1, byStatus: { '5xx': 1 } });
    await client.close();
    await server.close();
  });

  test('for one subscriber is not too much for the others with the same credentials [GW-27]', async () => {
    const server = await gatewayInMemory({ limits: { answerMs: 30_000 } });
    const faults: unknown[] = [];
    const backend = new LocalBackend(server.broker, (fault) => faults.push(fault));
    const session = await Session.open(await backend.connect(FACTS), { proof: ANONYMOUS });
    const stream = session.openStream('chat', { onClosed: () => {} });
    await stream.request((id) => encodeSubscribe(id, 'stuck', 0, 1, 1_024));
    stream.stream.pause();
    const large = Buffer.alloc(300_000);
    const blocked = [1, 2, 3, 4].map(() =>
      server.raw('POST', '/v1/topics/stuck', {}, large).then(({ status }) => status),
    );
    while (server.broker.metrics().publishersStopped === 0)
      await new Promise((resolve) => setTimeout(resolve, 10));
    let isFree = false;
    const others: Promise<void>[] = [];
    while (!isFree) {
      const other = server.raw('POST', '/v1/topics/free', {}, 'x').then(({ status }) => {
        isFree ||= status === 200;
      });
      others.push(other);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(server.gateway.metrics().sessions).toBe(2);
    stream.stream.resume();
    expect(await Promise.all(blocked)).toEqual([200, 200, 200, 200]);
    await Promise.all(others);
    session.close();
    await server.close();
    expect([...server.faults, ...faults]).toEqual([]);
  });
});
