/** What waits for one stream, and how much of it there may be. */

import { NO_BYTES } from '../../../base/bytes.ts';
import { NEVER } from '../../../base/time.ts';
import { DropReason, Overflow, topicEndOf, topicKey } from '../../../pubsub/command.ts';
import { classOf, DeliveryClass } from '../../../pubsub/properties.ts';
import type { Expiring, Expiry } from './expiry.ts';

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

/** What becomes of a message that a queue is given: it is queued, or dropped by the policy, or has to wait. */
export const Intake = { TAKEN: 0, REFUSED: 1, WAITS: 2 } as const;
export type Intake = (typeof Intake)[keyof typeof Intake];

export const ItemKind = { MESSAGE: 0, ANSWER: 1, GAP: 2 } as const;
export type ItemKind = (typeof ItemKind)[keyof typeof ItemKind];

/** Who has a message that waits, and hears when its time to live is over. */
export interface ItemOwner {
  expired(item: QueueItem): void;
}

/** Something in a queue: a message, an answer, or the place where messages are missing. Used again for another when it has left. */
export class QueueItem implements Expiring {
  kind: ItemKind = ItemKind.MESSAGE;
  bytes: Uint8Array = NO_BYTES;
  /** How many messages were ever queued before it. */
  place = 0;
  previous: QueueItem | null = null;
  next: QueueItem | null = null;
  /** When a message is not to be delivered any more, in monotonic ms. */
  deadline = NEVER;
  heapIndex = -1;
  owner: ItemOwner | null = null;
  /** Of a message that is `latest`: what a newer one of the same topic finds it by. */
  topic: string | null = null;
  /** Of a gap: how many messages are missing, by reason. */
  missing: number[] | null = null;

  expire(): void {
    this.owner?.expired(this);
  }
}

/**
 * What waits for one stream: messages under bounds, its own and its client's, and a policy; answers, which keep their place among the messages but
 * are outside the policy; and, where messages were dropped, their number. It is a list, as what expires or is superseded leaves from within.
 */
export class DeliveryQueue {
  /** Charged bytes of the queued messages. */
  bytes = 0;
  messageCount = 0;
  /** Queued answers, and their bytes. */
  answerCount = 0;
  answerBytes = 0;
  overflow: Overflow = Overflow.BLOCK;
  /** Whether the client takes DROPPED. */
  tellsGaps = true;
  private readonly account: QueueAccount;
  private readonly expiry: Expiry;
  private messagesMax = 1;
  private bytesMax = 1;
  private first: QueueItem | null = null;
  private last: QueueItem | null = null;
  /** How many messages were ever queued. */
  private queued = 0;
  /** The queued messages that are `latest`, by the policy or by themselves, by topic. */
  private topics: Map<string, QueueItem> | null = null;

  constructor(account: QueueAccount, expiry: Expiry) {
    this.account = account;
    this.expiry = expiry;
  }

  configure(overflow: Overflow, messagesMax: number, bytesMax: number): void {
    this.overflow = overflow;
    this.messagesMax = messagesMax;
    this.bytesMax = bytesMax;
    this.topics = overflow === Overflow.LATEST ? new Map() : null;
  }

  /** Takes the policy and the bounds of another queue. */
  configureAs(other: DeliveryQueue): void {
    this.configure(other.overflow, other.messagesMax, other.bytesMax);
  }

  get empty(): boolean {
    return this.first === null;
  }

  /** What {@link shift} would give. */
  get head(): QueueItem | null {
    return this.first;
  }

  /** The place of the next message that comes, to be told from {@link isPast}. */
  get nextPlace(): number {
    return this.queued;
  }

  /** True when every message before `place` has left. */
  isPast(place: number): boolean {
    return this.first === null || this.first.place >= place;
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

  /**
   * Queues a message as the policy says. Returns how many messages were dropped for it, itself perhaps; in the place of each there is a gap. [BRK-19]
   *
   * @param deadlineMs - when its time to live is over; then `owner` is told
   */
  push(message: Uint8Array, deadlineMs = NEVER, owner: ItemOwner | null = null): number {
    const chargeBytes = message.length + MESSAGE_CHARGE_BYTES;
    let dropped = 0;
    if (this.overflow !== Overflow.BLOCK) {
      while (!this.fits(chargeBytes)) {
        dropped++;
        if (this.overflow === Overflow.DROP_NEWEST || !this.othersLeaveRoom(chargeBytes)) {
          this.pushGap(DropReason.POLICY);
          return dropped;
        }
        this.drop(this.firstMessage(), DropReason.POLICY);
      }
    }
    const item = this.append(ItemKind.MESSAGE, message);
    this.queued++;
    this.messageCount++;
    this.charge(chargeBytes);
    if (deadlineMs !== NEVER) {
      item.owner = owner;
      this.expiry.add(item, deadlineMs);
    }
    if (this.topics !== null && (this.overflow === Overflow.LATEST || isOfClassLatest(message))) {
      item.topic = topicKey(message);
      this.topics.set(item.topic, item);
    }
    return dropped;
  }

  /** For what is `latest`: puts a message in the place of the queued one of its topic. False: there is none, or the bounds do not allow it; {@link push} it. [BRK-88] */
  supersede(message: Uint8Array, deadlineMs = NEVER, owner: ItemOwner | null = null): boolean {
    this.topics ??= new Map();
    const item = this.topics.get(topicKey(message));
    if (item === undefined) return false;
    const moreBytes = message.length - item.bytes.length;
    if (moreBytes > 0 && this.messageCount > 1 && !this.hasRoomFor(moreBytes)) {
      this.takeOut(item);
      recycle(item);
      return false;
    }
    this.expiry.remove(item);
    item.bytes = message;
    item.deadline = NEVER;
    item.owner = owner;
    this.charge(moreBytes);
    if (deadlineMs !== NEVER) this.expiry.add(item, deadlineMs);
    return true;
  }

  pushAnswer(answer: Uint8Array): void {
    this.append(ItemKind.ANSWER, answer);
    this.answerCount++;
    this.answerBytes += answer.length;
  }

  /** A message is missing behind what is queued. */
  pushGap(reason: DropReason): void {
    if (!this.tellsGaps) return;
    if (this.last === null || this.last.kind !== ItemKind.GAP) this.append(ItemKind.GAP, NO_BYTES);
    countMissing(this.last as QueueItem, reason, 1);
  }

  /** Drops a queued message. [BRK-19] [BRK-86] */
  drop(item: QueueItem, reason: DropReason): void {
    this.leave(item);
    if (!this.tellsGaps) {
      this.unlink(item);
      recycle(item);
      return;
    }
    item.kind = ItemKind.GAP;
    item.bytes = NO_BYTES;
    countMissing(item, reason, 1);
    this.joinGaps(item.previous, item);
    this.joinGaps(item, item.next);
  }

  /** True when {@link shift} would give no message. [BRK-21] */
  get answerIsNext(): boolean {
    return this.first !== null && this.first.kind !== ItemKind.MESSAGE;
  }

  /** Takes out what is to be sent next, which is to be given to {@link recycle} then. The queue is not empty. */
  shift(): QueueItem {
    const item = this.first as QueueItem;
    if (item.kind === ItemKind.MESSAGE) {
      this.takeOut(item);
      return item;
    }
    this.unlink(item);
    if (item.kind === ItemKind.ANSWER) {
      this.answerCount--;
      this.answerBytes -= item.bytes.length;
    }
    return item;
  }

  clear(): void {
    for (let item = this.first; item !== null; item = this.first) {
      this.expiry.remove(item);
      this.unlink(item);
      recycle(item);
    }
    this.topics?.clear();
    this.messageCount = 0;
    this.answerCount = 0;
    this.answerBytes = 0;
    this.charge(-this.bytes);
  }

  private charge(bytes: number): void {
    this.bytes += bytes;
    this.account.charge(bytes);
  }

  private fits(chargeBytes: number): boolean {
    const { bytes, bytesMax } = this.account;
    if (bytes > 0 && bytes + chargeBytes > bytesMax) return false;
    if (this.messageCount === 0) return true;
    return this.messageCount < this.messagesMax && this.bytes + chargeBytes <= this.bytesMax;
  }

  private hasRoomFor(moreBytes: number): boolean {
    return this.bytes + moreBytes <= this.bytesMax && this.account.bytes + moreBytes <= this.account.bytesMax;
  }

  /** Whether the client's other queues leave room for a message, were this one empty. */
  private othersLeaveRoom(chargeBytes: number): boolean {
    const othersBytes = this.account.bytes - this.bytes;
    return othersBytes === 0 || othersBytes + chargeBytes <= this.account.bytesMax;
  }

  private firstMessage(): QueueItem {
    let item = this.first as QueueItem;
    while (item.kind !== ItemKind.MESSAGE) item = item.next as QueueItem;
    return item;
  }

  private append(kind: ItemKind, bytes: Uint8Array): QueueItem {
    const item = FREE_ITEMS.pop() ?? new QueueItem();
    item.kind = kind;
    item.bytes = bytes;
    item.place = this.queued;
    item.previous = this.last;
    if (this.last === null) this.first = item;
    else this.last.next = item;
    this.last = item;
    return item;
  }

  private takeOut(message: QueueItem): void {
    this.leave(message);
    this.unlink(message);
  }

  /** A message counts no more. */
  private leave(message: QueueItem): void {
    this.messageCount--;
    this.charge(-(message.bytes.length + MESSAGE_CHARGE_BYTES));
    if (message.heapIndex >= 0) this.expiry.remove(message);
    if (message.topic !== null) this.topics?.delete(message.topic);
    message.topic = null;
  }

  private unlink(item: QueueItem): void {
    const { previous, next } = item;
    if (previous === null) this.first = next;
    else previous.next = next;
    if (next === null) this.last = previous;
    else next.previous = previous;
    item.previous = null;
    item.next = null;
  }

  /** Gaps with nothing between them are told as one. */
  private joinGaps(item: QueueItem | null, next: QueueItem | null): void {
    if (item?.missing == null || next?.missing == null) return;
    for (const [reason, count] of item.missing.entries()) countMissing(next, reason as DropReason, count);
    this.unlink(item);
    recycle(item);
  }
}

/** `item` has left its queue, and nobody looks at it any more. */
export function recycle(item: QueueItem): void {
  item.bytes = NO_BYTES;
  item.deadline = NEVER;
  item.owner = null;
  item.missing = null;
  if (FREE_ITEMS.length < FREE_ITEMS_MAX) FREE_ITEMS.push(item);
}

/** Whether a message itself says that a newer one of its topic may take its place. [BRK-32] */
export function isOfClassLatest(message: Uint8Array): boolean {
  return classOf(message, topicEndOf(message)) === DeliveryClass.LATEST;
}

function countMissing(gap: QueueItem, reason: DropReason, count: number): void {
  gap.missing ??= new Array(DROP_REASONS).fill(0);
  gap.missing[reason] += count;
}

const DROP_REASONS = Math.max(...Object.values(DropReason)) + 1;
/** Items that wait to be used again, by all queues of the process. */
const FREE_ITEMS: QueueItem[] = [];
const FREE_ITEMS_MAX = 16_384;
