import { Ring } from '../../../base/ring.ts';
import { Overflow } from '../../../pubsub/command.ts';

/** What a queued message costs beside its bytes. */
export const MESSAGE_CHARGE_BYTES = 64;

/** What a subscriber asks of its queue; a bound of 0 leaves the choice to the broker. */
export interface QueuePolicy {
  readonly overflow: Overflow;
  readonly messages: number;
  /** Charged bytes. */
  readonly bytes: number;
}

/** What all queues of a broker may hold together, in charged bytes. [BRK-41] */
export interface QueueBudget {
  usedBytes: number;
  readonly bytesMax: number;
}

/** What the queues of one client hold together, under a bound of its own and within the broker's. [BRK-38] */
export class QueueAccount {
  private held = 0;
  private readonly ownBytesMax: number;
  private readonly budget: QueueBudget;

  /** @param budget - shared by all clients of the broker */
  constructor(ownBytesMax: number, budget: QueueBudget) {
    this.ownBytesMax = ownBytesMax;
    this.budget = budget;
  }

  /** Charged bytes in all its queues, which keep this up to date. */
  get bytes(): number {
    return this.held;
  }

  charge(bytes: number): void {
    this.held += bytes;
    this.budget.usedBytes += bytes;
  }

  /** Its own bound, or what is left of the broker's if that is less: so the clients that hold the most are full first. [BRK-41] */
  get bytesMax(): number {
    const { bytesMax, usedBytes } = this.budget;
    return Math.min(this.ownBytesMax, Math.max(0, bytesMax - usedBytes));
  }
}

/**
 * What waits for one stream: messages under bounds, its own and its client's, and a policy, and answers, which keep their place among
 * the messages but are outside the policy.
 */
export class DeliveryQueue {
  /** Charged bytes of the queued messages. */
  bytes = 0;
  /** Bytes of the queued answers. */
  answerBytes = 0;
  overflow: Overflow = Overflow.BLOCK;
  private readonly account: QueueAccount;
  private messagesMax = 1;
  private bytesMax = 1;
  private readonly messages = new Ring<Uint8Array>();
  private readonly answers = new Ring<Uint8Array>();
  /** For each answer, how many messages were ever queued before it. */
  private readonly answerPlaces = new Ring<number>();
  /** How many messages were ever queued, and how many of them have left. */
  private queued = 0;
  private left = 0;

  constructor(account: QueueAccount) {
    this.account = account;
  }

  configure(overflow: Overflow, messagesMax: number, bytesMax: number): void {
    this.overflow = overflow;
    this.messagesMax = messagesMax;
    this.bytesMax = bytesMax;
  }

  /** Takes the policy and the bounds of another queue. */
  configureAs(other: DeliveryQueue): void {
    this.configure(other.overflow, other.messagesMax, other.bytesMax);
  }

  get messageCount(): number {
    return this.queued - this.left;
  }

  get answerCount(): number {
    return this.answers.length;
  }

  /** The place of the next message that comes, to be told from {@link isPast}. */
  get nextPlace(): number {
    return this.queued;
  }

  /** True when every message before `place` has left. */
  isPast(place: number): boolean {
    return this.left >= place;
  }

  /** Length of what {@link shift} would give. The queue is not empty. */
  get nextLength(): number {
    return ((this.answerIsNext ? this.answers : this.messages).peek() as Uint8Array).length;
  }

  get empty(): boolean {
    return this.queued === this.left && this.answers.length === 0;
  }

  /** At a bound of its own or above. Only a queue that blocks can be above. [BRK-18] */
  get atOwnBound(): boolean {
    return this.messageCount >= this.messagesMax || this.bytes >= this.bytesMax;
  }

  /** At a bound, its own or its client's. [BRK-18, BRK-38] */
  get full(): boolean {
    return this.atOwnBound || this.account.bytes >= this.account.bytesMax;
  }

  /** Drained to half of both bounds of its own. [BRK-18] */
  get low(): boolean {
    return this.messageCount * 2 <= this.messagesMax && this.bytes * 2 <= this.bytesMax;
  }

  /** Queues a message as the policy says. Returns how many messages were dropped for it, itself perhaps. [BRK-19] */
  push(message: Uint8Array): number {
    const chargeBytes = message.length + MESSAGE_CHARGE_BYTES;
    let dropped = 0;
    if (this.overflow !== Overflow.BLOCK) {
      while (!this.fits(chargeBytes)) {
        dropped++;
        if (this.overflow === Overflow.DROP_NEWEST || !this.othersLeaveRoom(chargeBytes)) return dropped;
        this.shiftMessage();
      }
    }
    this.messages.push(message);
    this.queued++;
    this.bytes += chargeBytes;
    this.account.charge(chargeBytes);
    return dropped;
  }

  pushAnswer(answer: Uint8Array): void {
    this.answers.push(answer);
    this.answerBytes += answer.length;
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
    const answer = this.answers.shift() as Uint8Array;
    this.answerBytes -= answer.length;
    return answer;
  }

  clear(): void {
    this.messages.clear();
    this.answers.clear();
    this.answerBytes = 0;
    this.answerPlaces.clear();
    this.left = this.queued;
    this.account.charge(-this.bytes);
    this.bytes = 0;
  }

  private fits(chargeBytes: number): boolean {
    const { bytes, bytesMax } = this.account;
    if (bytes > 0 && bytes + chargeBytes > bytesMax) return false;
    if (this.messageCount === 0) return true;
    return this.messageCount < this.messagesMax && this.bytes + chargeBytes <= this.bytesMax;
  }

  /** Whether the client's other queues leave room for a message, were this one empty. */
  private othersLeaveRoom(chargeBytes: number): boolean {
    const othersBytes = this.account.bytes - this.bytes;
    return othersBytes === 0 || othersBytes + chargeBytes <= this.account.bytesMax;
  }

  private shiftMessage(): Uint8Array {
    const message = this.messages.shift() as Uint8Array;
    this.left++;
    const chargeBytes = message.length + MESSAGE_CHARGE_BYTES;
    this.bytes -= chargeBytes;
    this.account.charge(-chargeBytes);
    return message;
  }
}
