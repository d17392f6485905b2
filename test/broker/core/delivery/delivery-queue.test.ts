import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  DeliveryQueue,
  QueueAccount,
  type QueueEntry,
  QueueItem,
} from '../../../../src/broker/core/delivery/delivery-queue.ts';
import { Expiry } from '../../../../src/broker/core/delivery/expiry.ts';
import { Timers } from '../../../../src/broker/core/timers.ts';
import { Overflow } from '../../../../src/pubsub/command.ts';

/** The policies on a plain list, as spec/broker.md words them. */
class SlowQueue {
  /** All queues of its client, itself among them. */
  readonly siblings: SlowQueue[];
  readonly items: { bytes: Uint8Array; answer: boolean }[] = [];
  private readonly overflow: Overflow;
  private readonly messagesMax: number;
  private readonly bytesMax: number;
  private readonly clientBytesMax: number;

  constructor(
    overflow: Overflow,
    messagesMax: number,
    bytesMax: number,
    clientBytesMax: number,
    siblings: SlowQueue[],
  ) {
    siblings.push(this);
    this.siblings = siblings;
    this.clientBytesMax = clientBytesMax;
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

  get clientCharged(): number {
    return this.siblings.reduce((sum, queue) => sum + queue.charged, 0);
  }

  get full(): boolean {
    return (
      this.messages.length >= this.messagesMax ||
      this.charged >= this.bytesMax ||
      this.clientCharged >= this.clientBytesMax
    );
  }

  push(bytes: Uint8Array): number {
    const before = this.messages.length;
    const charge = bytes.length + 64;
    const clientFits = (charged: number) => charged === 0 || charged + charge <= this.clientBytesMax;
    const fits = () =>
      clientFits(this.clientCharged) &&
      (this.messages.length === 0 ||
        (this.messages.length + 1 <= this.messagesMax && this.charged + charge <= this.bytesMax));
    if (this.overflow === Overflow.DROP_NEWEST && !fits()) return 1;
    if (this.overflow === Overflow.DROP_OLDEST && !clientFits(this.clientCharged - this.charged)) return 1;
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

const bytesOf = (entry: QueueEntry) => (entry instanceof QueueItem ? entry.bytes : entry);

/** In which no time passes. */
const expiry = new Expiry(new Timers(), { nowMs: 0 });

/** A broker whose own bound is never reached. */
const unbounded = () => ({ usedBytes: 0, messages: 0, bytesMax: Number.POSITIVE_INFINITY });

describe('the delivery queue', () => {
  test('does what a plain list does, under every policy, beside others of its client [BRK-19] [BRK-21] [BRK-38]', () => {
    const which = fc.nat(2);
    const step = fc.oneof(
      { weight: 8, arbitrary: fc.record({ which, kind: fc.constant('push' as const), length: fc.nat(200) }) },
      {
        weight: 2,
        arbitrary: fc.record({ which, kind: fc.constant('answer' as const), length: fc.nat(20) }),
      },
      {
        weight: 4,
        arbitrary: fc.record({ which, kind: fc.constant('shift' as const), length: fc.constant(0) }),
      },
      {
        weight: 1,
        arbitrary: fc.record({ which, kind: fc.constant('clear' as const), length: fc.constant(0) }),
      },
    );
    const overflow = fc.constantFrom<Overflow>(Overflow.BLOCK, Overflow.DROP_OLDEST, Overflow.DROP_NEWEST);
    const policy = fc.tuple(overflow, fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 700 }));
    fc.assert(
      fc.property(
        fc.tuple(policy, policy, policy),
        fc.integer({ min: 1, max: 1_200 }),
        fc.array(step, { maxLength: 120 }),
        (policies, clientBytesMax, steps) => {
          const client = new QueueAccount(clientBytesMax, unbounded());
          const siblings: SlowQueue[] = [];
          const pairs = policies.map(([policy, messagesMax, bytesMax]) => {
            const queue = new DeliveryQueue(client, expiry);
            queue.tellsGaps = false;
            queue.configure(policy, messagesMax, bytesMax);
            const slow = new SlowQueue(policy, messagesMax, bytesMax, clientBytesMax, siblings);
            return { queue, slow, messagesMax, bytesMax };
          });
          for (const { which, kind, length } of steps) {
            const { queue, slow, messagesMax, bytesMax } = pairs[which];
            const bytes = new Uint8Array(length);
            if (kind === 'push') {
              assert.equal(queue.push(bytes), slow.push(bytes));
            } else if (kind === 'answer') {
              queue.pushAnswer(bytes);
              slow.items.push({ bytes, answer: true });
            } else if (kind === 'clear') {
              queue.clear();
              slow.items.length = 0;
            } else if (slow.items.length > 0) {
              assert.equal(queue.answerIsNext, slow.items[0].answer);
              assert.equal(bytesOf(queue.shift()), slow.items.shift()?.bytes);
            }
            assert.equal(queue.empty, slow.items.length === 0);
            assert.equal(queue.messageCount, slow.messages.length);
            assert.equal(queue.answerCount, slow.items.length - slow.messages.length);
            assert.equal(queue.bytes, slow.charged);
            assert.equal(queue.full, slow.full);
            assert.equal(queue.low, slow.messages.length <= messagesMax / 2 && slow.charged <= bytesMax / 2);
            assert.equal(client.bytes, slow.clientCharged);
          }
        },
      ),
      { numRuns: 1500 },
    );
  });

  test('takes a message larger than its bound when it is empty [BRK-19] [BRK-38]', () => {
    for (const policy of [Overflow.DROP_OLDEST, Overflow.DROP_NEWEST]) {
      const queue = new DeliveryQueue(new QueueAccount(200, unbounded()), expiry);
      queue.tellsGaps = false;
      queue.configure(policy, 10, 100);
      expect(queue.push(new Uint8Array(1_000))).toBe(0);
      expect(queue.push(new Uint8Array(2_000))).toBe(1);
      expect(queue.messageCount).toBe(1);
      expect(bytesOf(queue.shift()).length).toBe(policy === Overflow.DROP_OLDEST ? 2_000 : 1_000);
    }
  });
});
