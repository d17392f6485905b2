import { createHash } from 'node:crypto';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import type { Stream } from '../../../src/index.ts';
import { PacketAssembler } from '../../../src/protocol/connection/transmit.ts';
import { TransmitBatch } from '../../../src/protocol/datagram/index.ts';
import { labPair } from '../../transport/lab-pair.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

/** What a batch has before it is sealed. */
interface Columns {
  packets: number;
  readonly arena: Uint8Array;
  readonly headerStart: readonly number[];
  readonly payloadEnd: readonly number[];
}

/** Everything that two ends packed, in the clear, from the time when both knew each other; and how many of it in runs. */
async function packed(seed: number, loss: number, hasRuns: boolean) {
  let runs = 0;
  const packRun = Reflect.get(PacketAssembler.prototype, 'packRun');
  vi.spyOn(
    PacketAssembler.prototype as unknown as { packRun(...args: unknown[]): void },
    'packRun',
  ).mockImplementation(function (this: unknown, ...args: unknown[]) {
    const batch = args[1] as TransmitBatch;
    const before = batch.count;
    if (hasRuns) packRun.apply(this, args);
    runs += batch.count - before;
  });
  const random = new Prng(seed);
  const { lab, client, accepted, listener } = await labPair(
    { delayMs: 1 + random.below(20), loss, bitsPerSecond: 16_000_000 + random.below(160_000_000) },
    seed % 3 === 0 ? { congestion: 'bbr' } : {},
  );
  await lab.run(300);
  const hash = createHash('sha256');
  let packets = 0;
  const { seal } = TransmitBatch.prototype;
  vi.spyOn(TransmitBatch.prototype, 'seal').mockImplementation(function (this: TransmitBatch, onFailure) {
    const { arena, headerStart, packets: count, payloadEnd } = this as unknown as Columns;
    for (let i = 0; i < count; i++) hash.update(arena.subarray(headerStart[i], payloadEnd[i]));
    packets += count;
    return seal.call(this, onFailure);
  });
  let received = 0;
  const count = (stream: Stream) => stream.on('message', (message) => (received += message.length));
  accepted.on('stream', count);
  client.on('stream', count);
  let sent = 0;
  const streams = [client.openStream(), client.openStream(), accepted.openStream()];
  const largest = [90, 1_400, 9_000, 70_000][random.below(4)];
  for (let round = 0; round < 30; round++) {
    const stream = streams[random.below(random.below(2) === 0 ? 1 : streams.length)];
    for (let k = random.below(80); k > 0; k--) {
      const message = new Uint8Array(1 + random.below(largest)).fill(k);
      const lifetimeMs = random.below(40) === 0 && round > 20 ? 200 : 0;
      if (lifetimeMs === 0) sent += message.length;
      stream.send(message, lifetimeMs === 0 ? {} : { lifetimeMs });
    }
    await lab.run(random.below(30));
  }
  await lab.run(60_000);
  expect(received).toBeGreaterThanOrEqual(sent);
  client.destroy();
  await lab.settle(listener.close({ timeoutMs: 0 }));
  vi.restoreAllMocks();
  return { digest: hash.digest('hex'), packets, runs };
}

describe('Packets that are packed in a run', () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])(
    'are those that are packed one by one, bit by bit (seed %i)',
    async (seed) => {
      const loss = seed % 2 === 0 ? 0.02 : 0;
      const { runs, ...inRuns } = await packed(seed, loss, true);
      const { runs: none, ...oneByOne } = await packed(seed, loss, false);
      expect(inRuns).toEqual(oneByOne);
      expect(none).toBe(0);
      if (loss === 0) expect(runs).toBeGreaterThan(inRuns.packets / 10);
    },
  );
});
