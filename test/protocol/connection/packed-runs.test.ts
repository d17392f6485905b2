import { createHash } from 'node:crypto';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import type { Stream } from '../../../src/index.ts';
import { PacketAssembler } from '../../../src/protocol/connection/transmit.ts';
import type { TransmitBatch } from '../../../src/protocol/datagram/index.ts';
import { labPair } from '../../transport/lab-pair.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

/**
 * Everything that two ends send, from the time when both know each other; and how much of it is packed in runs. It is taken from the network of their lab,
 * sealed: others in the process have connections, too.
 */
async function sent(seed: number, loss: number, hasRuns: boolean) {
  const random = new Prng(seed);
  const { lab, client, accepted, listener } = await labPair(
    { delayMs: 1 + random.below(20), loss, bitsPerSecond: 16_000_000 + random.below(160_000_000) },
    seed % 3 === 0 ? { congestion: 'bbr' } : {},
  );
  await lab.run(300);
  let runs = 0;
  const packRun = Reflect.get(PacketAssembler.prototype, 'packRun');
  vi.spyOn(
    PacketAssembler.prototype as unknown as { packRun(...args: unknown[]): void },
    'packRun',
  ).mockImplementation(function (this: unknown, ...args: unknown[]) {
    const batch = args[1] as TransmitBatch;
    const before = batch.count;
    if (hasRuns) packRun.apply(this, args);
    if (args[2] === lab.now) runs += batch.count - before; // else it is of someone on the system's clock
  });
  const hash = createHash('sha256');
  let datagrams = 0;
  lab.network.tap = (data) => {
    hash.update(data);
    datagrams++;
  };
  let received = 0;
  const count = (stream: Stream) => stream.on('message', (message) => (received += message.length));
  accepted.on('stream', count);
  client.on('stream', count);
  let lasting = 0;
  const streams = [client.openStream(), client.openStream(), accepted.openStream()];
  const largest = [90, 1_400, 9_000, 70_000][random.below(4)];
  for (let round = 0; round < 30; round++) {
    const stream = streams[random.below(random.below(2) === 0 ? 1 : streams.length)];
    for (let k = random.below(80); k > 0; k--) {
      const message = new Uint8Array(1 + random.below(largest)).fill(k);
      const lifetimeMs = random.below(40) === 0 && round > 20 ? 200 : 0;
      if (lifetimeMs === 0) lasting += message.length;
      stream.send(message, lifetimeMs === 0 ? {} : { lifetimeMs });
    }
    await lab.run(random.below(30));
  }
  await lab.run(60_000);
  expect(received).toBeGreaterThanOrEqual(lasting);
  client.destroy();
  await lab.settle(listener.close({ timeoutMs: 0 }));
  vi.restoreAllMocks();
  return { digest: hash.digest('hex'), datagrams, runs };
}

describe('Packets that are packed in a run', () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])(
    'are those that are packed one by one, bit by bit (seed %i)',
    async (seed) => {
      const loss = seed % 2 === 0 ? 0.02 : 0;
      const { runs, ...inRuns } = await sent(seed, loss, true);
      const { runs: none, ...oneByOne } = await sent(seed, loss, false);
      expect(inRuns).toEqual(oneByOne);
      expect(none).toBe(0);
      if (loss === 0) expect(runs).toBeGreaterThan(inRuns.datagrams / 10);
    },
  );
});
