import { describe, expect, test } from 'vitest';
import { type Connection, connect, generateIdentity, listen } from '../../src/index.ts';
import { Lab } from '../../src/testing/index.ts';
import type { LinkOptions } from '../../src/udp/link.ts';
import { next } from './served.ts';

describe('a lifetime', () => {
  test('that is shorter than the way there ends before anything is sent: expired, not delivered [STR-16]', async () => {
    const { lab, client, got } = await pair({ delayMs: 250 });
    const stream = client.openStream();
    expect(await lab.settle(stream.sendTracked('in time', { lifetimeMs: 300 }))).toBe('acknowledged');
    for (const delivery of ['partial', 'bestEffort'] as const) {
      const own = client.openStream({ delivery });
      const asked = lab.now;
      expect(await lab.settle(own.sendTracked('too late', { lifetimeMs: 50 }))).toBe('expired');
      expect(lab.now - asked).toBeLessThan(20_000);
    }
    await lab.run(1_000);
    expect(got.map(({ text }) => text)).toEqual(['in time']);
    expect(client.metrics().messagesExpired).toBeGreaterThanOrEqual(2);
  });

  test('is kept within what nobody can know: the difference between the way there and the way back [STR-16]', async () => {
    const { lab, client, got } = await pair({ delayMs: 90 }, { delayMs: 10 });
    const stream = client.openStream({ ordered: false });
    // 50 ms count as the way there.
    expect(await lab.settle(stream.sendTracked('40', { lifetimeMs: 40 }))).toBe('expired');
    const sentAt = lab.now;
    expect(await lab.settle(stream.sendTracked('60', { lifetimeMs: 60 }))).toBe('acknowledged');
    await lab.run(500);
    expect(got.map(({ text }) => text)).toEqual(['60']);
    expect(got[0].at - sentAt).toBeLessThanOrEqual((60 + 40 + 1) * 1_000);
  });

  test('of game states over a path that is too slow for them: what comes is young, and what is given up is told [STR-27] [STR-42]', async () => {
    const { lab, client, got } = await pair({ delayMs: 25, bitsPerSecond: 128_000, queueBytesMax: 64_000 });
    const stream = client.openStream({ delivery: 'bestEffort', lifetimeMs: 100 });
    const outcomes: Record<string, number> = {};
    for (let i = 0; i < 600; i++) {
      const state = `${lab.now}`.padEnd(1_000);
      void stream.sendTracked(state).then((outcome) => {
        outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      });
      await lab.run(1000 / 30);
    }
    await lab.run(3_000);
    const ages = got.map(({ text, at }) => (at - Number(text)) / 1_000);
    expect(ages.length).toBeGreaterThan(50);
    // They were 2,500 ms old, and all came.
    expect(Math.max(...ages)).toBeLessThan(AGE_MS_MAX);
    expect(outcomes.expired + outcomes.dropped).toBeGreaterThan(200);
    expect(Object.values(outcomes).reduce((sum, count) => sum + count, 0)).toBe(600);
    const { messagesExpired, messagesThinned } = client.metrics();
    expect(messagesExpired).toBe(outcomes.expired);
    expect(messagesThinned).toBe(outcomes.dropped);
  });
});

/** A lifetime of 100 ms, half of the difference between the ways, of which one has all of the queue, and what the queue grew in a round trip. */
const AGE_MS_MAX = 500;

interface Arrival {
  readonly text: string;
  readonly at: number;
}

async function pair(there: LinkOptions, back = there) {
  const lab = new Lab({ seed: 21 });
  lab.network.connect('client', 'server', there, back);
  const identity = generateIdentity();
  const listener = await listen({
    identity,
    socket: lab.socket({ host: 'server', port: 4_577 }),
    clock: lab.clock,
    random: lab.random,
  });
  const accepting = next<Connection>(listener, 'connection');
  const client = await lab.settle(
    connect(`jsp://${identity.fingerprintText}@server:4577`, {
      socket: lab.socket({ host: 'client', connectTo: { host: 'server', port: 4_577 } }),
      clock: lab.clock,
      random: lab.random,
    }),
  );
  const accepted = await lab.settle(accepting);
  const got: Arrival[] = [];
  accepted.on('stream', (stream) =>
    stream.on('message', (message) => got.push({ text: message.toString().trim(), at: lab.now })),
  );
  return { lab, client, accepted, got };
}
