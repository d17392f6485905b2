import { afterEach, describe, expect, test } from 'vitest';
import { startBroker } from '../../src/broker/index.ts';
import { connectClient, type PublishOptions } from '../../src/client/index.ts';
import { generateIdentity } from '../../src/index.ts';
import { Lab } from '../../src/testing/index.ts';

const identity = generateIdentity();
const SLOW = { bitsPerSecond: 20_000_000, delayMs: 10 };
const open: { destroy(): void }[] = [];

/** A broker, and clients on links of which those named have 20 Mbit/s. */
async function world(slow: readonly string[]) {
  const lab = new Lab({ seed: 7, link: { delayMs: 1 } });
  const shared = { clock: lab.clock, random: lab.random };
  const broker = await startBroker({
    ...shared,
    identity,
    socket: lab.socket({ host: '10.0.0.1', port: 4577 }),
  });
  const connect = async (host: string) => {
    if (slow.includes(host)) lab.network.connect(host, '10.0.0.1', SLOW);
    const connecting = connectClient(broker.url, { ...shared, socket: lab.socket({ host }) });
    const client = await lab.settle(connecting);
    open.push(client);
    return client;
  };
  const publisher = await connect('10.0.0.2');
  const subscriber = await connect('10.0.0.3');
  const arrivals: { topic: string; text: string; ms: number }[] = [];
  await lab.settle(
    subscriber.subscribe('#', ({ topic, payload }) => {
      arrivals.push({ topic, text: payload.toString('latin1', 0, 10), ms: lab.now / 1_000 });
    }),
  );
  const until = async (count: number) => {
    for (let i = 0; i < 20_000 && arrivals.length < count; i++) await lab.run(1);
    expect(arrivals.length).toBe(count);
  };
  return { lab, broker, publisher, subscriber, arrivals, until };
}

afterEach(() => {
  for (const each of open.splice(0)) each.destroy();
});

describe('a small message published behind a large one, at 20 Mbit/s', () => {
  const cases: [string, string, PublishOptions | undefined, number][] = [
    ['of the same class, from the publisher', '10.0.0.2', undefined, 250],
    ['of the same class, to the subscriber', '10.0.0.3', undefined, 250],
    ['of another class, from the publisher', '10.0.0.2', { priority: 'system' }, 150],
    ['of another class, to the subscriber', '10.0.0.3', { priority: 'system' }, 150],
  ];
  test.each(cases)('%s, does not wait for it [BRK-39]', async (_, slow, options, msMax) => {
    const { lab, publisher, arrivals, until } = await world([slow]);
    publisher.publish('firmware', Buffer.alloc(8 * 1024 * 1024));
    await lab.run(300);
    const start = lab.now / 1_000;
    publisher.publish('alarm', '!', options);
    await until(2);
    expect(arrivals.map(({ topic }) => topic)).toEqual(['alarm', 'firmware']);
    expect(arrivals[0].ms - start).toBeLessThan(msMax);
    expect(arrivals[1].ms).toBeGreaterThan(3_000);
  });
});
