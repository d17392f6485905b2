import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RecordQueue } from '../../../../src/broker/core/store/record-queue.ts';
import { recordOf } from '../../store/stores.ts';

const OVERHEAD_BYTES = 100;

test('records that come, leave and are taken back are found by offset and by time as in a plain list', () => {
  const steps = fc.array(
    fc.oneof(
      fc.record({ push: fc.integer({ min: 1, max: 1_500 }) }),
      fc.record({ drop: fc.integer({ min: 1, max: 1_500 }) }),
      fc.record({ takeBack: fc.integer({ min: 0, max: 20 }) }),
    ),
    { maxLength: 12 },
  );
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 ** 33 }), steps, (next, all) => {
      const queue = new RecordQueue(next, OVERHEAD_BYTES);
      const list: ReturnType<typeof made>[] = [];
      let head = next;
      for (const step of all) {
        if ('push' in step) {
          for (let i = 0; i < step.push; i++) {
            list.push(made(head++));
            queue.push(list[list.length - 1]);
          }
        } else if ('drop' in step) {
          for (const _ of list.splice(0, step.drop)) queue.dropOldest();
        } else {
          const count = Math.min(step.takeBack, list.length);
          list.length -= count;
          head -= count;
          queue.takeBack(head);
        }
        const from = head - list.length;
        expect([queue.from, queue.next, queue.length, queue.oldest]).toEqual([
          from,
          head,
          list.length,
          list[0],
        ]);
        expect(queue.bytes).toBe(list.reduce((sum, { command }) => sum + command.length + OVERHEAD_BYTES, 0));
        const middle = from + (list.length >> 1);
        expect(queue.read(middle, head, 200)).toEqual(upTo(200, list.slice(middle - from)));
        const timeMs = Math.floor(middle / 3);
        const found = list.find(({ publishedAt }) => publishedAt >= timeMs);
        expect(queue.firstAt(timeMs, head)).toBe(found?.offset ?? head);
      }
    }),
    { numRuns: 30 },
  );
});

test('a record has the low half of its offset as the id of its PUBLISH [STO-5]', () => {
  const queue = new RecordQueue(2 ** 32 + 0x01020304, OVERHEAD_BYTES);
  queue.push(made(queue.next));
  expect([...queue.at(2 ** 32 + 0x01020304).command.subarray(4, 8)]).toEqual([1, 2, 3, 4]);
});

/** Three of them in each ms. */
function made(offset: number) {
  return { ...recordOf({ payload: 'x'.repeat(offset % 50), publishedAt: Math.floor(offset / 3) }), offset };
}

/** The first one in any case, and as many as are no more than so many bytes. */
function upTo<T extends { command: Uint8Array }>(bytesMax: number, records: readonly T[]): T[] {
  let bytes = 0;
  const isWithin = ({ command }: T, i: number) => {
    bytes += command.length;
    return i === 0 || bytes <= bytesMax;
  };
  const end = records.findIndex((record, i) => !isWithin(record, i));
  return records.slice(0, end === -1 ? records.length : end);
}
