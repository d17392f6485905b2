import { describe, expect, test } from 'vitest';
import { ReceiveBatch, ReceiveQueue } from '../../../src/protocol/datagram/index.ts';

describe('a batch that was received', () => {
  test('takes datagrams that the system handed over as one apart, and knows that they share their memory', () => {
    const batch = new ReceiveBatch();
    batch.pushSegments(
      Uint8Array.from({ length: 25 }, (_, i) => i),
      10,
      'a',
      1,
      7,
    );
    batch.pushSegments(new Uint8Array(10), 10, 'b', 2);
    expect(batch.data.map(({ length }) => length)).toEqual([10, 10, 5, 10]);
    expect(batch.data[2][0]).toBe(20);
    expect(batch.isShared).toEqual([1, 1, 1, 0]);
    expect(batch.local).toEqual([7, 7, 7, 0]);
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
