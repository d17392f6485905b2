import { describe, expect, test } from 'vitest';
import { MILLISECOND } from '../../src/base/time.ts';
import { connectClient } from '../../src/client/index.ts';
import { LocalBackend } from '../../src/gateway/backend.ts';
import { ANONYMOUS } from '../../src/gateway/caller.ts';
import { Load } from '../../src/gateway/load.ts';
import { DEFAULT_LIMITS } from '../../src/gateway/options.ts';
import { Session } from '../../src/gateway/session.ts';
import { encodeSubscribe } from '../../src/pubsub/command.ts';
import type { ConnectionFacts } from '../../src/pubsub/message-stream.ts';
import { systemClock } from '../../src/udp/clock.ts';
import { ManualClock } from '../client/manual-clock.ts';
import { BusyLoop } from './busy-loop.ts';
import { gatewayInMemory } from './gateway-server.ts';

const FACTS: ConnectionFacts = {
  ...({ door: 'native', address: '', overLimit: 'wait' } as const),
  ...{ exporter: () => null, link: () => null },
};
const OVERLOADED = expect.objectContaining({ code: 'OVERLOADED', status: 503 });

describe('requests that would wait too long', () => {
  const SERVED_US = 200;
  const REFUSED_US = 60;
  const loopOf = (perSecond: number, seed = 1) =>
    new BusyLoop({ perSecond, servedUs: SERVED_US, refusedUs: REFUSED_US, loopDelayMsMax: 100, seed });
  /** Requests a second that it can serve. */
  const CAPACITY = 1e6 / SERVED_US;

  test('are refused at twice the capacity, and those that are served wait no longer than a turn that is as long as allowed, and the refusals in it [GW-7]', () => {
    const loop = loopOf(2 * CAPACITY);
    loop.run(3_000);
    const onset = loop.figures();
    loop.run(20_000);
    const { served, refused, waitedMsMax } = loop.figures();
    // What is left of a second when 10,000 less the served are refused, for those who are served.
    const share = (1e6 - 2 * CAPACITY * REFUSED_US) / (SERVED_US - REFUSED_US);
    expect(served / 20).toBeGreaterThan(0.9 * share);
    expect(served + refused).toBeGreaterThan(0.95 * 2 * CAPACITY * 20);
    expect(waitedMsMax).toBeLessThan(2 * 200 + 100);
    // It takes a while until it is sure.
    expect(onset.waitedMsMax).toBeLessThan(1_500);
    expect(onset.refused).toBeGreaterThan(0);
    const little = loopOf(1.1 * CAPACITY);
    little.run(30_000);
    const { refused: few, waitedMsMax: slightly } = little.figures();
    expect([few > 0, slightly < 500]).toEqual([true, true]);
  });

  test('are none at half of it, however often and long the process is held up: 20 seeds [GW-7]', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const loop = loopOf(CAPACITY / 2, seed);
      for (let pause = 0; pause < 4; pause++) {
        loop.run(500);
        loop.stop(20 + 3_000 * loop.random() ** 3);
        loop.run(5_000);
      }
      expect([seed, loop.figures().refused]).toEqual([seed, 0]);
    }
  });

  test('are none of those that come together now and then, with nothing in between [GW-7]', () => {
    const loop = loopOf(1);
    for (let i = 0; i < 100; i++) {
      loop.burst(1_500); // for 300 ms
      loop.run(350);
    }
    expect(loop.figures()).toMatchObject({ refused: 0 });
  });

  test('are served again when fewer come [GW-7]', () => {
    const loop = loopOf(3 * CAPACITY);
    loop.run(5_000);
    expect(loop.figures().refused).toBeGreaterThan(0);
    loop.perSecond = CAPACITY / 2;
    loop.run(1_000);
    loop.figures();
    loop.run(2_000);
    loop.stop(500);
    loop.run(10_000);
    expect(loop.figures()).toMatchObject({ refused: 0 });
  });

  test('are served at the begin of each turn, however long other work makes it [GW-7]', () => {
    const loop = loopOf(CAPACITY);
    loop.othersMs = 1_000; // and 500 without
    loop.run(10_000);
    loop.figures();
    loop.run(30_000);
    const { served, refused } = loop.figures();
    expect(refused).toBeGreaterThan(0);
    expect(served / 30).toBeGreaterThan(0.02 * CAPACITY);
  });

  test('are told from the middle of a turn that is as long as the one before, which was late, and of no turn before that [GW-7]', () => {
    const clock = new ManualClock();
    const probe = { onArrival: () => {}, send: () => {}, close: () => {} };
    const load = new Load({ ...DEFAULT_LIMITS, loopDelayMsMax: 100 }, clock, probe);
    const rooms: number[] = [];
    load.onTurn = (room) => rooms.push(room);
    for (let i = 0; i < 10; i++) load.begin();
    clock.advance(50);
    probe.onArrival();
    clock.advance(50);
    load.begin();
    clock.advance(400);
    expect(load.excess()).toBe(null);
    probe.onArrival();
    // Ten were served in half of the time, and one in too much.
    expect(rooms).toEqual([5, 0]);
    expect(load.excess()).toBe(null);
    clock.advance(299);
    expect(load.excess()).toBe(null);
    clock.advance(1);
    expect([load.excess(), load.isOverloaded]).toEqual(['delay', false]);
    probe.onArrival();
    expect([load.excess(), load.isOverloaded]).toEqual([null, true]);
    clock.advance(101);
    expect(load.excess()).toBe('delay');
  });

  test('are told when to come back, not all at the same time [GW-7]', () => {
    const load = new Load({ ...DEFAULT_LIMITS, inFlightMax: 0 }, new ManualClock());
    const seconds = new Set(Array.from({ length: 200 }, () => load.refuse('requests')));
    expect([...seconds].sort()).toEqual([1, 2, 3, 4, 5]);
    expect([load.refused, load.refusedInAll]).toEqual([{ delay: 0, requests: 200, bytes: 0 }, 200]);
    load.close();
  });
});

describe('too much', () => {
  test('is found by a probe that waits where sockets do, though nothing else of the process is late [GW-7]', async () => {
    const load = new Load({ ...DEFAULT_LIMITS, loopDelayMsMax: 5 }, systemClock);
    const work = (): void => {
      for (const until = systemClock.now() + 8 * MILLISECOND; systemClock.now() < until; );
    };
    // Two requests a turn, of which the first takes longer than the second may wait.
    for (let isPressed = false; !isPressed; ) {
      expect(load.excess()).toBe(null);
      work();
      isPressed = load.excess() === 'delay';
      await new Promise((resolve) => setImmediate(resolve));
    }
    load.close();
  });

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
      expect.stringMatching(/^[1-5]$/),
    ]);
    for (let i = 0; i < 3; i++) expect((await server.raw('GET', '/healthz')).status).toBe(200);
    // Neither makes room for more.
    expect((await server.raw('POST', '/v1/topics/a', {}, 'x')).status).toBe(503);
    expect(server.gateway.metrics().inFlight).toBe(1);
    (answer as () => void)();
    expect((await slow).text).toBe('done');
    expect((await server.raw('POST', '/v1/topics/a', {}, 'x')).status).toBe(200);
    expect(server.gateway.metrics()).toMatchObject({ overloaded: 2, byStatus: { '5xx': 2 } });
    await client.close();
    await server.close();
  });

  test('for one subscriber is not too much for the others with the same credentials [GW-27]', async () => {
    const clock = new ManualClock();
    const server = await gatewayInMemory({ clock });
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
    const others: Promise<number>[] = [];
    // Those that were on their way when the clock moved begin to wait then.
    while (server.gateway.metrics().sessions < 2) {
      clock.advance(251);
      others.push(server.raw('POST', '/v1/topics/free', {}, 'x').then(({ status }) => status));
      for (let looks = 0; looks < 50 && server.gateway.metrics().sessions < 2; looks++)
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(await others.at(-1)).toBe(200);
    expect((await server.raw('POST', '/v1/topics/free', {}, 'x')).status).toBe(200);
    expect(server.gateway.metrics().sessions).toBe(2);
    stream.stream.resume();
    expect(await Promise.all(blocked)).toEqual([200, 200, 200, 200]);
    expect(new Set(await Promise.all(others))).toEqual(new Set([200]));
    session.close();
    await server.close();
    expect([...server.faults, ...faults]).toEqual([]);
  });
});
