import { expect, test } from 'vitest';
import { Prng } from '../../src/base/random.ts';
import { acksOf } from '../../src/gateway/settling.ts';
import { visitAckRanges } from '../../src/pubsub/acknowledgement.ts';
import { ACK_RANGES_MAX } from '../../src/pubsub/command.ts';

/** What a broker is told of, one for one. */
function settledBy(acks: readonly Uint8Array[]): number[] {
  const settled: number[] = [];
  for (const ack of acks) {
    visitAckRanges(ack, (first, count) => {
      for (let i = 0; i < count; i++) settled.push(first + i);
    });
  }
  return settled;
}

test('a caller settles what he names and nothing between, in as few acknowledgements as there are [BRK-64]', () => {
  expect(settledBy(acksOf([7], 0))).toEqual([7]);
  expect(settledBy(acksOf([3, 1], 0))).toEqual([1, 3]);
  expect(acksOf([5, 4, 3, 2, 1], 0).length).toBe(1);
  const seed = 28_771;
  const random = new Prng(seed);
  const some = Array.from({ length: 20_000 }, (_, i) => i + 1).filter(() => random.uint32() % 2 === 0);
  const acks = acksOf([...some], 0);
  expect(settledBy(acks), `seed ${seed}`).toEqual(some);
  const ranges = some.filter((offset, i) => some[i - 1] !== offset - 1).length;
  expect(acks.length).toBe(Math.ceil(ranges / ACK_RANGES_MAX));
});
