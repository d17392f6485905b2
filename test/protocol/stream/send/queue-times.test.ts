import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NEVER } from '../../../../src/base/time.ts';
import { QueueTimes } from '../../../../src/protocol/stream/send/queue-times.ts';

/** The times of a queue of which so many messages have come, and those from `first` on wait. */
class Times {
  private readonly queue = { pushed: 0, cutAt: 0, records: { queued: 0 } };
  private readonly times = new QueueTimes(this.queue);

  note(first: number, end: number, now: number): void {
    this.queue.pushed = end;
    this.queue.records.queued = end - first;
    this.times.note(now);
  }

  since(first: number): number {
    this.queue.records.queued = this.queue.pushed - first;
    return this.times.since;
  }
}

describe('the times of a queue', () => {
  test('tell the turn that left the oldest behind, while no more than 32 turns have left some', () => {
    const times = new Times();
    expect(times.since(0)).toBe(NEVER);
    for (let turn = 0; turn < 32; turn++) times.note(0, 10 * (turn + 1), 1_000 * turn);
    for (let first = 0; first < 320; first++) expect(times.since(first)).toBe(1_000 * Math.floor(first / 10));
    expect(times.since(320)).toBe(NEVER);
  });

  test('change nothing in a turn in which nothing came', () => {
    const times = new Times();
    times.note(0, 5, 100);
    times.note(2, 5, 200);
    expect(times.since(4)).toBe(100);
  });

  test('of a thousand turns are a tenth too early at most', () => {
    const times = new Times();
    for (let turn = 0; turn < 1_000; turn++) times.note(0, turn + 1, 1_000 * turn);
    for (let first = 0; first < 1_000; first++) {
      const error = 1_000 * first - times.since(first);
      expect(error).toBeGreaterThanOrEqual(0);
      expect(error).toBeLessThanOrEqual(100_000);
    }
  });

  test('are never later than when the oldest came, and are those of a turn, whatever comes and goes', () => {
    const step = fc.record({ came: fc.nat(3), went: fc.nat(3), passed: fc.nat(50) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const times = new Times();
        const came: number[] = []; // the slow twin: a time for each message
        const turns = new Set<number>();
        let first = 0;
        let now = 0;
        for (const each of steps) {
          now += each.passed;
          for (let i = 0; i < each.came; i++) came.push(now);
          turns.add(now);
          times.note(first, came.length, now);
          first = Math.min(came.length, first + each.went);
          const since = times.since(first);
          if (first === came.length) expect(since).toBe(NEVER);
          else {
            expect(turns.has(since)).toBe(true);
            expect(since).toBeLessThanOrEqual(came[first]);
          }
        }
      }),
    );
  });
});
