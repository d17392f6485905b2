import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DeliveryQueue } from '../../src/broker/delivery-queue.ts';
import { Overflow } from '../../src/pubsub/command.ts';

/** The policies on a plain list, as spec/broker.md words them. */
class SlowQueue {
  readonly items: { bytes: Uint8Array; answer: boolean }[] = [];
  private readonly overflow: Overflow;
  private readonly messagesMax: number;
  private readonly bytesMax: number;

  constructor(overflow: Overflow, messagesMax: number, bytesMax: number) {
    this.overflow = overflow;
    this.messagesMax = messagesMax;
    this.bytesMax = bytesMax;
  }

  get messages(): Uint8Array[] {
    return this.items.filter((item) => !item.answer).map((item) => item.bytes);
  }

  get charged(): number {
    return this.messages.reduce((sum, message) => sum + message.length + 64, 0);
  }

  push(bytes: Uint8Array): number {
    const before = this.messages.length;
    const fits = () =>
      this.messages.length === 0 ||
      (this.messages.length + 1 <= this.messagesMax && this.charged + bytes.length + 64 <= this.bytesMax);
    if (this.overflow === Overflow.DROP_NEWEST && !fits()) return 1;
    while (this.overflow === Overflow.DROP_OLDEST && !fits()) {
      this.items.splice(
        this.items.findIndex((item) => !item.answer),
        1,
      );
    }
    this.items.push({ bytes, answer: false });
    return before + 1 - this.messages.length;
  }
}

describe('the delivery queue', () => {
  it('does what a plain list does, under every policy [BRK-19] [BRK-21]', () => {
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.record({ kind: fc.constant('push' as const), length: fc.nat(200) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('answer' as const), length: fc.nat(20) }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('shift' as const), length: fc.constant(0) }) },
    );
    const overflow = fc.constantFrom<Overflow>(Overflow.BLOCK, Overflow.DROP_OLDEST, Overflow.DROP_NEWEST);
    fc.assert(
      fc.property(
        overflow,
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 700 }),
        fc.array(step, { maxLength: 80 }),
        (policy, messagesMax, bytesMax, steps) => {
          const queue = new DeliveryQueue();
          queue.configure(policy, messagesMax, bytesMax);
          const slow = new SlowQueue(policy, messagesMax, bytesMax);
          for (const { kind, length } of steps) {
            const bytes = new Uint8Array(length);
            if (kind === 'push') {
              expect(queue.push(bytes)).toBe(slow.push(bytes));
            } else if (kind === 'answer') {
              queue.pushAnswer(bytes);
              slow.items.push({ bytes, answer: true });
            } else if (slow.items.length > 0) {
              expect(queue.answerIsNext).toBe(slow.items[0].answer);
              expect(queue.shift()).toBe(slow.items.shift()?.bytes);
            }
            expect(queue.empty).toBe(slow.items.length === 0);
            expect(queue.messageCount).toBe(slow.messages.length);
            expect(queue.answerCount).toBe(slow.items.length - slow.messages.length);
            expect(queue.bytes).toBe(slow.charged);
            expect(queue.full).toBe(slow.messages.length >= messagesMax || slow.charged >= bytesMax);
            expect(queue.low).toBe(slow.messages.length <= messagesMax / 2 && slow.charged <= bytesMax / 2);
          }
        },
      ),
      { numRuns: 1500 },
    );
  });

  it('takes a message larger than its bound when it is empty [BRK-19]', () => {
    for (const policy of [Overflow.DROP_OLDEST, Overflow.DROP_NEWEST]) {
      const queue = new DeliveryQueue();
      queue.configure(policy, 10, 100);
      expect(queue.push(new Uint8Array(1_000))).toBe(0);
      expect(queue.push(new Uint8Array(2_000))).toBe(1);
      expect(queue.messageCount).toBe(1);
      expect(queue.shift().length).toBe(policy === Overflow.DROP_OLDEST ? 2_000 : 1_000);
    }
  });
});
