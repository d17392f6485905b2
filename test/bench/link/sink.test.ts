import { EventEmitter } from 'node:events';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Sink } from '../../../src/bench/link/sink.ts';
import { benchSystem } from '../../../src/bench/link/system.ts';
import type { Stream } from '../../../src/index.ts';

function bestEffortStream(): Stream {
  return Object.assign(new EventEmitter(), { delivery: 'bestEffort' }) as unknown as Stream;
}

function numbered(number: number): Buffer {
  const message = Buffer.alloc(16);
  message.writeUInt32BE(number, 8);
  return message;
}

/** What numbers 0 to the largest that came lack, as runs. */
function gaps(numbers: readonly number[]): number {
  const came = new Set(numbers);
  let runs = 0;
  for (let number = 0; number <= Math.max(...numbers); number++) {
    if (!came.has(number) && (number === 0 || came.has(number - 1))) runs++;
  }
  return runs;
}

test('losses are counted in runs, whichever messages came', () => {
  const runs = fc.array(fc.record({ from: fc.nat(2_000), count: fc.integer({ min: 1, max: 300 }) }), {
    minLength: 1,
  });
  fc.assert(
    fc.property(runs, (came) => {
      const sink = new Sink(benchSystem, null, 1);
      const stream = bestEffortStream();
      sink.take(stream);
      const numbers = came.flatMap(({ from, count }) => Array.from({ length: count }, (_, i) => from + i));
      for (const number of numbers) stream.emit('message', numbered(number));
      expect(sink.arrivals()?.lossRuns).toBe(gaps(numbers));
    }),
    { numRuns: 50 },
  );
});

test('a peer that opens more streams than the plan has does not have more kept or looked through', () => {
  const sink = new Sink(benchSystem, null, 2);
  const streams = Array.from({ length: 1_000 }, bestEffortStream);
  for (const stream of streams) {
    sink.take(stream);
    stream.emit('message', numbered(2 ** 23 - 1));
  }
  expect(sink.messages).toBe(1_000);
  expect(sink.arrivals()?.lossRuns).toBe(2);
});
