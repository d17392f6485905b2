/**
 * What waits for one stream, and how much of it there may be. It is one file: messages, answers and gaps share one order.
 */

import { NO_BYTES } from '../../../base/bytes.ts';
import { Ring } from '../../../base/ring.ts';
import { NEVER } from '../../../base/time.ts';
import { DropReason, Overflow, topicEndOf, topicKey } from '../../../pubsub/command.ts';
import { classOf, DeliveryClass } from '../../../pubsub/properties.ts';
import type { Expiring, Expiry } from './expiry.ts';
import { FollowedMessage, NOWHERE, type WaitGauge } from './followed-message.ts';

/** What a queued message costs beside its bytes. */
const MESSAGE_CHARGE_BYTES = 64;

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
  /** Messages in all of them. */
  messages: number;
  bytesMax: number;
}

/** What the queues of one client hold together, under a bound of its own and within the broker's. [BRK-38] */
export class QueueAccount {
  private held = 0;
  private count = 0;
  private readonly ownBytesMax: number;
  private budget: QueueBudget;

  /** @param budget - shared by all clients of the broker */
  constructor(ownBytesMax: number, budget: QueueBudget) {
    this.ownBytesMax = ownBytesMax;
    this.budget = budget;
  }

  /** Charged bytes in all its queues, which keep this up to date. */
  get bytes(): number {
    return this.held;
  }

  /** Messages in all its queues. */
  get messages(): number {
    return this.count;
  }

  charge(bytes: number): void {
    this.held += bytes;
    this.budget.usedBytes += bytes;
  }

  /** Messages have come into a queue, or left it. */
  countMessages(more: number): void {
    this.count += more;
    this.budget.messages += more;
  }

  /** The client is gone, and takes nothing of the broker's budget any more, whatever could not be let go of. */
  close(): void {
    this.budget.usedBytes -= this.held;
    this.budget.messages -= this.count;
    this.budget = { usedBytes: 0, messages: 0, bytesMax: 0 };
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

/**
 * What is in a queue beside plain messages: an answer, the place where messages are missing, or a message that may leave before its turn, because it expires or a newer one
 * supersedes it.
 */
export class QueueItem implements Expiring {
  kind: ItemKind;
  bytes: Uint8Array;
  /** When a message is not to be delivered any more, in monotonic ms. */
  deadline = NEVER;
  heapIndex = -1;
  owner: ItemOwner | null = null;
  /** Of a message that is `latest`: what a newer one of the same topic finds it by. */
  topic: string | null = null;
  /** Of a gap: how many messages are missing, by reason. */
  missing: number[] | null = null;

  constructor(kind: ItemKind, bytes: Uint8Array) {
    this.kind = kind;
    this.bytes = bytes;
  }

  expire(): void {
    this.owner?.expired(this);
  }
}

/** A plain message is itself. */
export type QueueEntry = Uint8Array | QueueItem;

/**
 * What waits for one stream: messages under bounds, its own and its client's, and a policy; answers, which keep their place among the messages but
 * are outside the policy; and, where messages were dropped, their number.
 */
export class DeliveryQueue {
  /** Charged bytes of the queued messages. */
  bytes = 0;
  messageCount = 0;
  /** Messages ever queued. */
  taken = 0;
  /** Queued answers, and their bytes. */
  answerCount = 0;
  answerBytes = 0;
  overflow: Overflow = Overflow.BLOCK;
  /** Whether the client takes DROPPED. */
  tellsGaps = true;
  private readonly account: QueueAccount;
  private readonly expiry: Expiry;
  private readonly followed: FollowedMessage;
  private messagesMax = 1;
  private bytesMax = 1;
  private readonly entries = new Ring<QueueEntry>(1);
  /** Entries that are no plain messages, and those of them that are gaps. */
  private items = 0;
  private gaps = 0;
  /** Entries that have left. */
  private left = 0;
  /** The queued messages that are `latest`, by the policy or by themselves, by topic. */
  private topics: Map<string, QueueItem> | null = null;
  /** The buffer that the last message was a part of, and what its messages that came in a row were charged. */
  private buffer: ArrayBufferLike | null = null;
  private bufferCharge = 0;

  /** @param waits - null: nobody wants to know */
  constructor(account: QueueAccount, expiry: Expiry, waits: WaitGauge | null = null) {
    this.account = account;
    this.expiry = expiry;
    this.followed = new FollowedMessage(waits);
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

  get empty(): boolean {
    return this.entries.length === 0;
  }

  /** There is nothing but messages that are sent as they are. */
  get isPlain(): boolean {
    return this.items === 0;
  }

  /** What {@link shift} would give. */
  get head(): QueueEntry | undefined {
    return this.entries.peek();
  }

  /** The place of the next entry that comes, to be told from {@link isPast}. */
  get nextPlace(): number {
    return this.left + this.entries.length;
  }

  /** True when everything before `place` has left; perhaps sooner, where messages left from within. */
  isPast(place: number): boolean {
    return this.left >= place;
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
   * Whether a message may be queued as it is, without a copy: it does not keep much more memory alive than it is charged, together with the messages queued before it that
   * are parts of the same buffer, of a datagram say.
   */
  mayKeep(message: Uint8Array): boolean {
    const { buffer } = message;
    const chargeBytes = message.length + MESSAGE_CHARGE_BYTES;
    if (this.buffer === buffer) this.bufferCharge += chargeBytes;
    else {
      this.buffer = buffer;
      this.bufferCharge = chargeBytes;
    }
    return buffer.byteLength <= this.bufferCharge * KEPT_SHARE;
  }

  /**
   * Queues a message as the policy says. Returns how many messages were dropped for it, itself perhaps; in the place of each there is a gap. [BRK-19]
   *
   * @param deadlineMs - when its time to live is over; then `owner` is told
   * @param isLatest - a newer one of its topic may take its place
   */
  push(
    message: Uint8Array,
    deadlineMs = NEVER,
    owner: ItemOwner | null = null,
    isLatest = this.overflow === Overflow.LATEST,
  ): number {
    const chargeBytes = message.length + MESSAGE_CHARGE_BYTES;
    let dropped = 0;
    if (this.overflow !== Overflow.BLOCK) {
      while (!this.fits(chargeBytes)) {
        dropped++;
        if (this.overflow === Overflow.DROP_NEWEST || !this.othersLeaveRoom(chargeBytes)) {
          this.pushGap(DropReason.POLICY);
          return dropped;
        }
        this.dropOldest();
      }
    }
    if (this.followed.below === NOWHERE) this.followNext(this.expiry.nowMs);
    this.taken++;
    this.messageCount++;
    this.account.countMessages(1);
    this.charge(chargeBytes);
    if (deadlineMs === NEVER && !isLatest) this.entries.push(message);
    else this.pushItem(message, deadlineMs, owner, isLatest);
    return dropped;
  }

  /** For what is `latest`: puts a message in the place of the queued one of its topic. False: there is none, or the bounds do not allow it; {@link push} it. [BRK-88] */
  supersede(message: Uint8Array, deadlineMs = NEVER, owner: ItemOwner | null = null): boolean {
    const item = this.topics?.get(topicKey(message));
    if (item === undefined) return false;
    const moreBytes = message.length - item.bytes.length;
    if (moreBytes > 0 && this.messageCount > 1 && !this.hasRoomFor(moreBytes)) {
      // It goes, and nothing is missing for it: the newer one comes behind.
      this.leave(item.bytes, item);
      this.becomeGap(item);
      this.closeUpSometimes();
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
    this.entries.push(new QueueItem(ItemKind.ANSWER, answer));
    this.items++;
    this.answerCount++;
    this.answerBytes += answer.length;
  }

  /** A message is missing behind what is queued, or several. */
  pushGap(reason: DropReason, count = 1): void {
    if (!this.tellsGaps) return;
    const last = this.entries.peek(this.entries.length - 1);
    if (last instanceof QueueItem && last.kind === ItemKind.GAP) {
      countMissing(last, reason, count);
      return;
    }
    this.entries.push(gapOf(reason, count));
    this.items++;
    this.gaps++;
  }

  /** A queued message has expired: there is a gap in its place. [BRK-86] */
  expire(item: QueueItem): void {
    this.leave(item.bytes, item);
    this.becomeGap(item);
    if (this.tellsGaps) countMissing(item, DropReason.EXPIRED, 1);
    this.closeUpSometimes();
  }

  /** Messages that are `unwanted` leave; there are gaps in their places. Returns how many. */
  discard(unwanted: (message: Uint8Array) => boolean, reason: DropReason): number {
    const { entries } = this;
    let discarded = 0;
    for (let at = 0; at < entries.length; at++) {
      const entry = entries.peek(at) as QueueEntry;
      const item = entry instanceof QueueItem ? entry : null;
      if (item !== null && item.kind !== ItemKind.MESSAGE) continue;
      if (!unwanted(item?.bytes ?? (entry as Uint8Array))) continue;
      discarded++;
      if (item !== null) {
        this.leave(item.bytes, item);
        this.becomeGap(item);
        if (this.tellsGaps) countMissing(item, reason, 1);
        continue;
      }
      this.messageLeft((entry as Uint8Array).length);
      entries.put(at, this.tellsGaps ? gapOf(reason) : new QueueItem(ItemKind.GAP, NO_BYTES));
      this.items++;
      this.gaps++;
    }
    this.closeUpSometimes();
    return discarded;
  }

  /** True when {@link shift} would give no message. [BRK-21] */
  get answerIsNext(): boolean {
    if (this.items === 0) return false;
    const head = this.entries.peek();
    return head instanceof QueueItem && head.kind !== ItemKind.MESSAGE;
  }

  /** Takes out what is to be sent next. The queue is not empty. */
  shift(): QueueEntry {
    const entry = this.entries.shift() as QueueEntry;
    this.left++;
    if (this.items > 0 && entry instanceof QueueItem) this.itemLeft(entry);
    else this.messageLeft((entry as Uint8Array).length);
    if (this.left >= this.followed.below)
      this.followed.reach(this.expiry.nowMs, this.taken - this.messageCount);
    return entry;
  }

  /** The next message that comes has waited since then, elsewhere perhaps. */
  followNext(sinceMs: number): void {
    const { followed, messageCount } = this;
    if (followed.below !== NOWHERE) return;
    followed.follow(this.nextPlace + 1, sinceMs, this.taken - messageCount, messageCount === 0);
  }

  clear(): void {
    for (let entry = this.entries.shift(); entry !== undefined; entry = this.entries.shift()) {
      if (entry instanceof QueueItem) this.expiry.remove(entry);
      this.left++;
    }
    this.topics?.clear();
    this.items = 0;
    this.gaps = 0;
    this.followed.forget();
    this.account.countMessages(-this.messageCount);
    this.messageCount = 0;
    this.answerCount = 0;
    this.answerBytes = 0;
    this.buffer = null;
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

  private pushItem(
    message: Uint8Array,
    deadlineMs: number,
    owner: ItemOwner | null,
    isLatest: boolean,
  ): void {
    const item = new QueueItem(ItemKind.MESSAGE, message);
    this.entries.push(item);
    this.items++;
    if (deadlineMs !== NEVER) {
      item.owner = owner;
      this.expiry.add(item, deadlineMs);
    }
    if (!isLatest) return;
    item.topic = topicKey(message);
    this.topics ??= new Map();
    this.topics.set(item.topic, item);
  }

  /** Drops the message that came first. A gap before it tells of it; else there is one in its place. */
  private dropOldest(): void {
    const { entries } = this;
    let at = 0;
    let before: QueueItem | null = null;
    let entry = entries.peek() as QueueEntry;
    while (entry instanceof QueueItem && entry.kind !== ItemKind.MESSAGE) {
      before = entry;
      entry = entries.peek(++at) as QueueEntry;
    }
    if (at > GAPS_MIN + 2 * this.answerCount) {
      this.closeUp(); // or each message that is dropped would pass all these gaps
      this.dropOldest();
      return;
    }
    if (entry instanceof QueueItem) {
      this.items--;
      this.leave(entry.bytes, entry);
    } else {
      this.messageLeft(entry.length);
    }
    const gap = before !== null && before.kind === ItemKind.GAP ? before : null;
    if (this.tellsGaps && gap === null) {
      entries.put(at, gapOf(DropReason.POLICY));
      this.items++;
      this.gaps++;
      return;
    }
    if (gap !== null) countMissing(gap, DropReason.POLICY, 1);
    // What is before it, which is little, moves up.
    for (; at > 0; at--) entries.put(at, entries.peek(at - 1) as QueueEntry);
    entries.shift();
    this.left++;
  }

  private itemLeft(item: QueueItem): void {
    this.items--;
    if (item.kind === ItemKind.MESSAGE) {
      this.leave(item.bytes, item);
    } else if (item.kind === ItemKind.ANSWER) {
      this.answerCount--;
      this.answerBytes -= item.bytes.length;
    } else {
      this.gaps--;
    }
  }

  /** A message that may leave before its turn counts no more. */
  private leave(bytes: Uint8Array, item: QueueItem): void {
    this.messageLeft(bytes.length);
    this.expiry.remove(item);
    if (item.topic !== null && this.topics?.get(item.topic) === item) this.topics.delete(item.topic);
  }

  private messageLeft(length: number): void {
    this.messageCount--;
    this.account.countMessages(-1);
    this.charge(-(length + MESSAGE_CHARGE_BYTES));
  }

  private becomeGap(item: QueueItem): void {
    item.kind = ItemKind.GAP;
    item.bytes = NO_BYTES;
    item.topic = null;
    this.gaps++;
  }

  /** Gaps are fewer than the other entries, but for some: so whoever makes them makes nothing grow. */
  private closeUpSometimes(): void {
    if (this.gaps > GAPS_MIN + this.entries.length / 2) this.closeUp();
  }

  /** Makes one of the gaps that are next to each other, and takes out those in which nothing is missing. */
  private closeUp(): void {
    const { entries } = this;
    let last: QueueItem | null = null;
    for (let i = entries.length; i > 0; i--) {
      const entry = entries.shift() as QueueEntry;
      if (!(entry instanceof QueueItem) || entry.kind !== ItemKind.GAP) {
        last = null;
        entries.push(entry);
        continue;
      }
      if (entry.missing !== null && last === null) {
        last = entry;
        entries.push(entry);
        continue;
      }
      for (const [reason, count] of (entry.missing ?? []).entries()) {
        countMissing(last as QueueItem, reason as DropReason, count);
      }
      this.items--;
      this.gaps--;
      this.left++;
    }
  }
}

/** Whether a message itself says that a newer one of its topic may take its place. [BRK-32] */
export function isOfClassLatest(message: Uint8Array): boolean {
  return classOf(message, topicEndOf(message)) === DeliveryClass.LATEST;
}

function gapOf(reason: DropReason, count = 1): QueueItem {
  const gap = new QueueItem(ItemKind.GAP, NO_BYTES);
  countMissing(gap, reason, count);
  return gap;
}

function countMissing(gap: QueueItem, reason: DropReason, count: number): void {
  gap.missing ??= new Array(DROP_REASONS).fill(0);
  gap.missing[reason] += count;
}

const DROP_REASONS = Math.max(...Object.values(DropReason)) + 1;
/** Times what they are charged that queued messages may keep alive. */
const KEPT_SHARE = 16;
/** So many gaps may be next to each other before it is looked for them. */
const GAPS_MIN = 64;
