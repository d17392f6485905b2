import { expect, test } from 'vitest';
import { Prng } from '../../src/base/random.ts';
import type { PublishReceipt } from '../../src/client/index.ts';
import { STREAM_PRIORITIES } from '../../src/pubsub/message-stream.ts';
import { FakeBroker, settled, until } from './fake-broker.ts';
import { FakeNetwork } from './fake-transport.ts';

const RUNS = Number(process.env.JSP_RUNS ?? 12);
const FIRST_SEED = Number(process.env.JSP_SEED ?? 1);

/** One client that publishes in two classes, with QoS 0 and 1, over connections that break at any time, to a broker that forgets nothing. */
async function run(seed: number): Promise<void> {
  const prng = new Prng(seed);
  const broker = new FakeBroker({}, new FakeNetwork(prng.between(1, 20), prng.between(1, 20)));
  const stored: { text: string; offset: number }[] = [];
  const heard: string[] = [];
  const observer = await broker.client();
  await observer.subscribe(
    'q1/#',
    (message) => {
      stored.push({ text: message.text(), offset: message.offset ?? -1 });
    },
    { qos: 1, from: 'earliest' },
  );
  await observer.subscribe('q0', (message) => heard.push(message.text()));
  const session = prng.chance(0.5) ? { session: 'mine' } : {};
  const { client, connections, way } = await broker.returningClient(session);
  const published: { text: string; receipt: Promise<PublishReceipt> }[] = [];
  let zero = 0;
  for (let step = 0; step < 60; step++) {
    const priority = prng.chance(0.3) ? STREAM_PRIORITIES[0] : STREAM_PRIORITIES[2];
    for (let i = prng.below(6); i > 0; i--) {
      const text = `${priority} ${published.length}`;
      const payload = prng.chance(0.05) ? text.padEnd(70_000) : text;
      published.push({ text, receipt: client.publish(`q1/${prng.below(3)}`, payload, { qos: 1, priority }) });
      if (prng.chance(0.5)) client.publish('q0', `${zero++}`);
    }
    if (prng.chance(0.15)) connections.at(-1)?.break();
    if (prng.chance(0.1)) way.isReachable = !way.isReachable;
    for (let turn = prng.below(8); turn > 0; turn--) await new Promise((resolve) => setImmediate(resolve));
  }
  way.isReachable = true;
  const receipts = await Promise.all(published.map(({ receipt }) => receipt));
  await client.drain();
  await until(() => stored.length >= published.length);
  await settled();
  expect(stored.length).toBe(published.length); // each once
  for (const priority of STREAM_PRIORITIES) {
    const ofClass = ({ text }: { text: string }) => text.startsWith(priority);
    const inOrder = published.filter(ofClass).map(({ text }) => text);
    expect(stored.filter(ofClass).map(({ text }) => text.trim())).toEqual(inOrder);
  }
  const offsets = new Map(stored.map(({ text, offset }) => [text.trim(), offset]));
  for (const [i, { offset }] of receipts.entries()) {
    if (offset !== null) expect(offsets.get(published[i].text)).toBe(offset);
  }
  // What a connection took with it is missing, and nothing else is out of order.
  const numbers = heard.map(Number);
  expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
  expect(numbers.length + client.metrics().lost).toBeGreaterThanOrEqual(zero);
  observer.destroy();
}

test('a message with QoS 1 is stored once and in order, whenever connections break; one with QoS 0 is never out of order [CLT-8, CLT-9, CLT-10]', async () => {
  for (let seed = FIRST_SEED; seed < FIRST_SEED + RUNS; seed++) {
    try {
      await run(seed);
    } catch (error) {
      throw new Error(`seed ${seed}; again with JSP_SEED=${seed} JSP_RUNS=1`, { cause: error });
    }
  }
});
