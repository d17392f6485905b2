import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  DeliveryQueue,
  type ItemOwner,
  QueueAccount,
  QueueItem,
} from '../../../../src/broker/core/delivery/delivery-queue.ts';
import { Expiry } from '../../../../src/broker/core/delivery/expiry.ts';
import { Timers } from '../../../../src/broker/core/timers.ts';
import { DropReason, Overflow, publishPrefix } from '../../../../src/pubsub/command.ts';

/** What waits, as a plain list of `message`, `!answer` and `-reason`; gaps next to each other are counted, not listed one by one. */
interface SlowEntry {
  readonly text: string;
  readonly endsAtMs: number;
}

/** The queue on a plain list with one entry a missing message, as spec/broker.md words it. */
class SlowQueue {
  entries: SlowEntry[] = [];
  private readonly overflow: Overflow;
  private readonly messagesMax: number;

  constructor(overflow: Overflow, messagesMax: number) {
    this.overflow = overflow;
    this.messagesMax = messagesMax;
  }

  get messages(): SlowEntry[] {
    return this.entries.filter(({ text }) => /^[a-z]/.test(text));
  }

  push(text: string, endsAtMs: number): void {
    const entry = { text, endsAtMs };
    const queued = this.messages.find((message) => message.text[0] === text[0]);
    if (this.overflow === Overflow.LATEST && queued !== undefined) {
      this.entries[this.entries.indexOf(queued)] = entry;
      return;
    }
    if (this.overflow !== Overflow.BLOCK && this.messages.length >= this.messagesMax) {
      if (this.overflow === Overflow.DROP_NEWEST) {
        this.entries.push(missing(DropReason.POLICY));
        return;
      }
      this.entries[this.entries.indexOf(this.messages[0])] = missing(DropReason.POLICY);
    }
    this.entries.push(entry);
  }

  expire(nowMs: number): void {
    this.entries = this.entries.map((entry) =>
      entry.endsAtMs <= nowMs ? missing(DropReason.EXPIRED) : entry,
    );
  }
}

/** How many entries there are, found by asking how many have left. */
function entriesOf(queue: DeliveryQueue): number {
  let count = 0;
  while (!queue.isPast(queue.nextPlace - count)) count++;
  return count;
}

const missing = (reason: DropReason): SlowEntry => ({
  text: `-${reason}`,
  endsAtMs: Number.POSITIVE_INFINITY,
});

/** Gaps next to each other as one, with their reasons in order. */
function told(entries: readonly string[]): string[] {
  const out: string[] = [];
  for (const text of entries) {
    const last = out.at(-1);
    if (text.startsWith('-') && last?.startsWith('-')) out[out.length - 1] = last + text;
    else out.push(text);
  }
  return out.map((text) => (text.startsWith('-') ? [...text.matchAll(/-\d/g)].sort().join('') : text));
}

test('what expires, is superseded or dropped leaves a gap where it was, whatever else waits [BRK-86] [BRK-88] [BRK-92]', () => {
  const step = fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({
        kind: fc.constant('push' as const),
        topic: fc.constantFrom('a', 'b', 'c'),
        ttlMs: fc.constantFrom(Number.POSITIVE_INFINITY, 1, 3, 10),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('answer' as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('skip' as const) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('shift' as const) }) },
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constant('time' as const), ms: fc.integer({ min: 1, max: 4 }) }),
    },
  );
  const overflow = fc.constantFrom<Overflow>(
    Overflow.BLOCK,
    Overflow.DROP_OLDEST,
    Overflow.DROP_NEWEST,
    Overflow.LATEST,
  );
  let expired = 0;
  fc.assert(
    fc.property(
      overflow,
      fc.integer({ min: 1, max: 6 }),
      fc.array(step, { maxLength: 400, size: 'max' }),
      (policy, messagesMax, steps) => {
        const timers = new Timers();
        const clock = { nowMs: 0 };
        const queue = new DeliveryQueue(
          new QueueAccount(1e9, { usedBytes: 0, messages: 0, bytesMax: 1e9 }),
          new Expiry(timers, clock),
        );
        queue.configure(policy, messagesMax, 1e9);
        const slow = new SlowQueue(policy, messagesMax);
        const owner: ItemOwner = {
          expired: (item) => {
            expired++;
            queue.expire(item);
          },
        };
        const textOf = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1', 8).replace('|', '');
        const shiftAll = (one: boolean): void => {
          const fast: string[] = [];
          while (!queue.empty) {
            const entry = queue.shift();
            if (!(entry instanceof QueueItem)) fast.push(textOf(entry));
            else if (entry.kind === 1) fast.push(`!${entry.bytes[0]}`);
            else if (entry.kind === 0) fast.push(textOf(entry.bytes));
            else
              (entry.missing ?? []).forEach((count, reason) => {
                for (let i = 0; i < count; i++) fast.push(`-${reason}`);
              });
            if (one && fast.length > 0) break;
          }
          const gone = one ? slow.entries.splice(0, Math.max(fast.length, 0)) : slow.entries.splice(0);
          expect(told(fast)).toEqual(told(gone.map(({ text }) => text)));
        };
        let number = 0;
        for (const each of steps) {
          number++;
          if (each.kind === 'push') {
            const message = Buffer.concat([publishPrefix(each.topic), Buffer.from(`|${number}`)]);
            const deadline = clock.nowMs + each.ttlMs;
            if (policy !== Overflow.LATEST || !queue.supersede(message, deadline, owner)) {
              queue.push(message, deadline, owner);
            }
            slow.push(`${each.topic}${number}`, deadline);
          } else if (each.kind === 'answer') {
            queue.pushAnswer(Buffer.of(number & 0xff));
            slow.entries.push({ text: `!${number & 0xff}`, endsAtMs: Number.POSITIVE_INFINITY });
          } else if (each.kind === 'skip') {
            queue.pushGap(DropReason.TOO_LARGE);
            slow.entries.push(missing(DropReason.TOO_LARGE));
          } else if (each.kind === 'shift') {
            shiftAll(true);
          } else {
            clock.nowMs += each.ms;
            for (
              let timer = timers.takeDue(clock.nowMs);
              timer !== null;
              timer = timers.takeDue(clock.nowMs)
            ) {
              timer.run();
            }
            slow.expire(clock.nowMs);
          }
          const { length } = slow.messages;
          const bytes = slow.messages.reduce((sum, { text }) => sum + 8 + 1 + text.length + 64, 0);
          if (queue.messageCount !== length || queue.bytes !== bytes)
            expect([queue.messageCount, queue.bytes]).toEqual([length, bytes]);
          // Gaps do not pile up: with nothing read, there are hardly more entries than messages and answers.
          const entriesMax = 2 * (queue.messageCount + queue.answerCount) + 140;
          if (entriesOf(queue) > entriesMax) expect(entriesOf(queue)).toBeLessThanOrEqual(entriesMax);
        }
        shiftAll(false);
        expect([queue.bytes, queue.messageCount, queue.answerCount, queue.isPlain]).toEqual([0, 0, 0, true]);
      },
    ),
    { numRuns: 300 },
  );
  expect(expired).toBeGreaterThan(1_000);
});
