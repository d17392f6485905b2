import { describe, expect, test } from 'vitest';
import { ReceiveBatch, ReceiveQueue } from '../../../src/protocol/datagram/index.ts';
import { EcnCodepoint } from '../../../src/protocol/wire/frames/ack.ts';

describe('a batch that was received', () => {
  test('knows when a datagram came as far as its socket told, also where others have no stamp', () => {
    const batch = new ReceiveBatch();
    for (let i = 0; i < 3; i++) {
      batch.push(new Uint8Array(10), 'a', 1);
      if (i === 1) batch.stamp(70);
    }
    expect([0, 1, 2].map((i) => batch.arrivedAt(i, 1_000))).toEqual([1_000, 930, 1_000]);
    batch.clear();
    for (let i = 0; i < 3; i++) batch.push(new Uint8Array(10), 'a', 1);
    expect([0, 1, 2].map((i) => batch.arrivedAt(i, 1_000))).toEqual([1_000, 1_000, 1_000]);
    batch.stamp(30);
    expect([0, 1, 2].map((i) => batch.arrivedAt(i, 1_000))).toEqual([1_000, 1_000, 970]);
  });

  test('knows with which ECN codepoint a datagram came, also where others were not marked, and of no batch before it', () => {
    const batch = new ReceiveBatch();
    for (const marked of [[1, 3], [2], [0], []]) {
      for (let i = 0; i < 5; i++) {
        batch.push(new Uint8Array(10), 'a', 1);
        if (marked.includes(i)) batch.mark(EcnCodepoint.CE);
      }
      const expected = [0, 1, 2, 3, 4].map((i) =>
        marked.includes(i) ? EcnCodepoint.CE : EcnCodepoint.NOT_ECT,
      );
      expect(expected.map((_, i) => batch.ecnOf(i))).toEqual(expected);
      batch.clear();
    }
  });

  test('lets go of datagrams and owners when it is cleared', () => {
    const batch = new ReceiveBatch();
    batch.push(new Uint8Array(10), 'a', 1);
    batch.owner[0] = {};
    batch.clear();
    expect([batch.count, batch.data[0].length, batch.owner[0]]).toEqual([0, 0, null]);
  });
});

describe('a queue of datagrams', () => {
  test('hands each over once, also when whoever takes them throws, and what comes meanwhile in the next batch [CON-32]', () => {
    const queue = new ReceiveQueue();
    const counts: number[] = [];
    queue.push(new Uint8Array(1), 'a', 1);
    const receive = (batch: ReceiveBatch) => {
      counts.push(batch.count);
      if (counts.length > 1) return;
      queue.push(new Uint8Array(2), 'a', 1);
      throw new Error('no');
    };
    expect(() => queue.handOver(receive)).toThrow('no');
    queue.handOver(receive);
    queue.handOver(receive);
    expect(counts).toEqual([1, 1]);
  });
});
