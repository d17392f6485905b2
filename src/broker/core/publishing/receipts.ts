/**
 * What a publishing stream is owed: PUBLISHED for each QoS 1 message, in the order of their ids [BRK-27], and not before the message is safe: stored, or taken by
 * every queue where it is not to be stored. [BRK-80] What becomes safe together is told together, as far as ids and offsets run in step. [BRK-81]
 */

import { Ring } from '../../../base/ring.ts';
import { encodePublished, type PublishResult, UNANSWERED_MAX } from '../../../pubsub/acknowledgement.ts';
import { encodeRefused, ReasonCode } from '../../../pubsub/command.ts';
import type { Channel } from '../delivery/client.ts';
import type { LogPort } from '../store-port.ts';

/** One message that waits. Of one that is on its way to a log that is kept elsewhere most is not known yet. */
export interface Receipt {
  readonly id: number;
  /** Where it is stored, with the records below `until`; null: it waits for the queues that it is to enter. */
  readonly log: LogPort | null;
  until: number;
  result: PublishResult;
  /** Negative: none is told. */
  offset: number;
  readonly bytes: number;
  /** It is also a last value, which is safe when so many changes of the state are; 0: it is none. */
  written: number;
}

/** In the place of {@link Receipt.until}: it is not known yet; and: it was refused, which was told, so that nothing is waited for. */
export const UNPLACED = Number.POSITIVE_INFINITY;
export const REFUSED = -1;

/** Those who have something to be told of, where that is told together later. */
export class OwedReceipts {
  /** Whoever runs the core says when what it is given together has come, and calls {@link settle} then. */
  isLater = false;
  private readonly owed: Receipts[] = [];

  get isEmpty(): boolean {
    return this.owed.length === 0;
  }

  add(receipts: Receipts): void {
    this.owed.push(receipts);
  }

  /** Tells of all that is safe. */
  settle(): void {
    for (let next = this.owed.pop(); next !== undefined; next = this.owed.pop()) next.settleNow();
  }
}

/** How many changes of the state are safe, or infinite when no more will be. */
export interface StateSafety {
  readonly written: number;
}

export class Receipts {
  private readonly channel: Channel;
  private readonly waiting = new Ring<Receipt>();
  private bytes = 0;
  private isHeld = false;
  private isOwed = false;
  /** So many of the first have become safe, and are to be told of whatever comes behind them. */
  private safe = 0;
  private readonly safety: StateSafety;
  private readonly owed: OwedReceipts;

  constructor(channel: Channel, safety: StateSafety, owed: OwedReceipts) {
    this.channel = channel;
    this.safety = safety;
    this.owed = owed;
  }

  get isEmpty(): boolean {
    return this.waiting.length === 0;
  }

  /** Something was published. */
  add(receipt: Receipt): void {
    this.waiting.push(receipt);
    this.bytes += receipt.bytes;
    this.settle();
  }

  /** A message was offered to queues. Safe when none of them lets the publisher wait. */
  awaitQueues(id: number, result: PublishResult, written = 0): void {
    this.add({ id, log: null, until: 0, result, offset: NO_OFFSET, bytes: 0, written });
  }

  /** Tells of what has become safe meanwhile: at once, or together with what comes at the same time. */
  settle(): void {
    if (!this.owed.isLater) {
      this.settleNow();
      return;
    }
    this.findSafe();
    if (this.safe > 0 && !this.isOwed) {
      this.isOwed = true;
      this.owed.add(this);
    }
    this.holdOrRelease();
  }

  /** Of {@link OwedReceipts} only. */
  settleNow(): void {
    this.isOwed = false;
    const { waiting } = this;
    let last: Receipt | null = null;
    this.findSafe();
    for (; this.safe > 0; this.safe--) {
      const next = waiting.shift() as Receipt;
      this.bytes -= next.bytes;
      if (next.until === REFUSED) continue;
      if (last !== null && !isInStep(last, next)) this.tell(last);
      last = next;
    }
    if (last !== null) this.tell(last);
    this.holdOrRelease();
  }

  /** Takes out what waits for `log`, which will not store it. Returns its ids. */
  takeUnsafe(log: LogPort): number[] {
    const ids: number[] = [];
    for (let i = this.waiting.length; i > 0; i--) {
      const receipt = this.waiting.shift() as Receipt;
      if (receipt.log !== log || this.isSafe(receipt)) {
        this.waiting.push(receipt);
        continue;
      }
      this.bytes -= receipt.bytes;
      ids.push(receipt.id);
    }
    return ids;
  }

  /** Says at once that a message was not taken. [BRK-83] */
  refuse(id: number, code: ReasonCode, reason = REASONS[code] ?? ''): void {
    const { delivery, link } = this.channel;
    delivery.answer(encodeRefused(id, code, reason, link.messageBytesMax));
  }

  private findSafe(): void {
    for (let next = this.waiting.peek(this.safe); next !== undefined && this.isSafe(next); ) {
      next = this.waiting.peek(++this.safe);
    }
  }

  private isSafe({ log, until, written }: Receipt): boolean {
    if (written > 0 && this.safety.written < written) return false;
    if (log !== null) return log.synced >= until;
    return until !== UNPLACED && !this.channel.stopped;
  }

  /** Everything before was told: so what it says of `last` holds for all that are in step with it. [BRK-81] */
  private tell(last: Receipt): void {
    this.channel.delivery.answer(encodePublished(last.id, true, last.result, last.offset));
  }

  /** Leaves the stream unread while too much of it waits. [BRK-84] */
  private holdOrRelease(): void {
    const share = Math.max(this.waiting.length / UNANSWERED_MAX, this.bytes / WAITING_BYTES_MAX);
    if (!this.isHeld && share >= 1) {
      this.isHeld = true;
      this.channel.hold();
    } else if (this.isHeld && share <= 0.5) {
      this.isHeld = false;
      this.channel.release();
    }
  }
}

/** Whether both are told by telling the second. */
function isInStep(first: Receipt, second: Receipt): boolean {
  return (
    second.id === first.id + 1 &&
    second.result === first.result &&
    second.log === first.log &&
    (second.offset === first.offset + 1 || (second.offset === NO_OFFSET && first.offset === NO_OFFSET))
  );
}

const NO_OFFSET = -1;
/** Bytes of the messages of a stream that wait for their PUBLISHED, at which it is no longer read. [BRK-84] */
const WAITING_BYTES_MAX = 4 * 1024 * 1024;
const REASONS: Partial<Record<ReasonCode, string>> = {
  [ReasonCode.STORE_FULL]: 'The log of this topic is full.',
  [ReasonCode.STORE_FAILED]: 'The log of this topic takes nothing any more.',
  [ReasonCode.QUOTA]: 'The queue of a subscriber, or what keeps last values, did not take it.',
  [ReasonCode.TOO_LARGE]: 'The message is larger than the broker takes.',
  [ReasonCode.CONTRADICTION]: 'Another message was taken with this name.',
  [ReasonCode.NOT_AUTHORIZED]: 'The client may not publish this, or not under this message id.',
};
