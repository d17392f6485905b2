import { Ring } from '../base/ring.ts';
import { Overflow } from '../pubsub/command.ts';

/** What a queued message costs beside its bytes. */
export const MESSAGE_CHARGE_BYTES = 64;

/** What a subscriber asks of its queue; a bound of 0 leaves the choice to the broker. */
export interface QueuePolicy {
  readonly overflow: Overflow;
  readonly messages: number;
  /** Charged bytes. */
  readonly bytes: number;
}

/**
 * What waits for one stream: messages under a bound and a policy, and answers, which keep their place among the messages but are
 * outside the policy.
 */
export class DeliveryQueue {
  /** Charged bytes of the queued messages. */
  bytes = 0;
  overflow: Overflow = Overflow.BLOCK;
  private messagesMax = 1;
  private bytesMax = 1;
  private readonly messages = new Ring<Uint8Array>();
  private readonly answers = new Ring<Uint8Array>();
  /** For each answer, how many messages were ever queued before it. */
  private readonly answerPlaces = new Ring<number>();
  /** How many messages were ever queued, and how many of them have left. */
  private queued = 0;
  private left = 0;

  configure(overflow: Overflow, messagesMax: number, bytesMax: number): void {
    this.overflow = overflow;
    this.messagesMax = messagesMax;
    this.bytesMax = bytesMax;
  }

  get messageCount(): number {
    return this.queued - this.left;
  }

  get answerCount(): number {
    return this.answers.length;
  }

  get empty(): boolean {
    return this.queued === this.left && this.answers.length === 0;
  }

  /** At a bound or above. Only a queue that blocks can be above. [BRK-18] */
  get full(): boolean {
    return this.messageCount >= this.messagesMax || this.bytes >= this.bytesMax;
  }

  /** Drained to half of both bounds. [BRK-18] */
  get low(): boolean {
    return this.messageCount * 2 <= this.messagesMax && this.bytes * 2 <= this.bytesMax;
  }

  /** Queues a message as the policy says. Returns how many messages were dropped for it, itself perhaps. [BRK-19] */
  push(message: Uint8Array): number {
    let dropped = 0;
    if (this.overflow !== Overflow.BLOCK) {
      while (!this.fits(message)) {
        dropped++;
        if (this.overflow === Overflow.DROP_NEWEST) return dropped;
        this.shiftMessage();
      }
    }
    this.messages.push(message);
    this.queued++;
    this.bytes += message.length + MESSAGE_CHARGE_BYTES;
    return dropped;
  }

  pushAnswer(answer: Uint8Array): void {
    this.answers.push(answer);
    this.answerPlaces.push(this.queued);
  }

  /** True when {@link shift} would give an answer. [BRK-21] */
  get answerIsNext(): boolean {
    const place = this.answerPlaces.peek();
    return place !== undefined && place <= this.left;
  }

  /** Takes what is to be sent next. The queue is not empty. */
  shift(): Uint8Array {
    if (!this.answerIsNext) return this.shiftMessage();
    this.answerPlaces.shift();
    return this.answers.shift() as Uint8Array;
  }

  clear(): void {
    this.messages.clear();
    this.answers.clear();
    this.answerPlaces.clear();
    this.left = this.queued;
    this.bytes = 0;
  }

  private fits(message: Uint8Array): boolean {
    if (this.messageCount === 0) return true;
    return (
      this.messageCount < this.messagesMax &&
      this.bytes + message.length + MESSAGE_CHARGE_BYTES <= this.bytesMax
    );
  }

  private shiftMessage(): Uint8Array {
    const message = this.messages.shift() as Uint8Array;
    this.left++;
    this.bytes -= message.length + MESSAGE_CHARGE_BYTES;
    return message;
  }
}
