/** A stream that takes the messages of a consumer: how much it has, and what a message looks like that goes to it. [BRK-63] */

import { encodePosition } from '../../../pubsub/acknowledgement.ts';
import { DROPPED_BYTES, DropReason, encodeDropped, PublishFlag } from '../../../pubsub/command.ts';
import { joinProperties, PropertyType, payloadStartOf, propertiesBut } from '../../../pubsub/properties.ts';
import type { Channel } from '../delivery/client.ts';
import type { TurnedSource } from '../delivery/delivery.ts';
import { withTimeLeft } from '../delivery/expiry.ts';
import type { Subscription } from '../delivery/subscription.ts';
import type { StoredRecord } from '../store-port.ts';
import type { Consumer, ConsumerMember } from './consumer.ts';
import type { ReadingAccount } from './reader.ts';

export class Member implements ConsumerMember, TurnedSource {
  /** Differs from that of every other member, and is not 0. */
  readonly number: number;
  readonly consumer: Consumer;
  readonly subscription: Subscription;
  /** Messages that it may have at once. */
  unackedMax: number;
  /** Those that it has. */
  unacked = 0;
  /** It was not answered yet: nothing comes before SUBSCRIBED. [BRK-14] */
  isAwaited = false;
  /** It goes on where it was, or where its client has said that it was. */
  isRecovered = false;
  /** Number of its session, whose messages it does not want; 0: it wants all. */
  readonly session: number;
  /** The high half that its ids belong to; how far it knows that it is; and the position that is about to be told. */
  private toldHigh = -1;
  private toldOffset = -1;
  private tellingOffset = -1;
  private positionDue = false;
  /** How many messages it is to be told that it will not get, by reason; null: none. */
  private missing: number[] | null = null;
  private tellsMissing = -1;
  /** What {@link next} has returned, where that is a message. */
  private record: StoredRecord | null = null;

  constructor(number: number, consumer: Consumer, subscription: Subscription, session: number) {
    this.number = number;
    this.consumer = consumer;
    this.subscription = subscription;
    this.unackedMax = consumer.options.unackedMax;
    this.session = session;
  }

  get channel(): Channel {
    return this.subscription.main;
  }

  get account(): ReadingAccount {
    return this.channel.client.queued;
  }

  get hadTurn(): boolean {
    return this.record !== null && this.consumer.members.size > 1;
  }

  wake(): void {
    this.channel.delivery.wake();
  }

  next(): Uint8Array | null {
    if (this.isAwaited) return null;
    const { consumer } = this;
    const record = consumer.next(this);
    this.record = null;
    this.tellingOffset = -1;
    this.tellsMissing = this.missing === null ? -1 : this.missing.findIndex((count) => count > 0);
    if (this.missing !== null && this.tellsMissing >= 0) {
      return encodeDropped(this.missing[this.tellsMissing], this.tellsMissing);
    }
    if (record === null) {
      const isDue = this.positionDue || consumer.reader.skipped >= SKIPPED_MAX; // [BRK-63] while nothing matches, too
      return isDue ? this.tell(consumer.position) : null;
    }
    if (highHalf(record.offset) !== this.toldHigh) return this.tell(record.offset);
    this.record = record;
    return this.form(record);
  }

  sent(): void {
    const { consumer, record } = this;
    if (record !== null) {
      consumer.sent(this, record);
      if (record.offset >= this.toldOffset) this.toldOffset = record.offset + 1;
      return;
    }
    if (this.tellsMissing >= 0) {
      if (this.missing !== null) this.missing[this.tellsMissing] = 0;
      return;
    }
    this.positionDue = false;
    consumer.reader.skipped = 0;
    this.toldHigh = highHalf(this.tellingOffset);
    this.toldOffset = this.tellingOffset;
  }

  /** Tells where it is, if that is not known. */
  tellPosition(): void {
    if (this.consumer.position === this.toldOffset) return;
    this.positionDue = true;
    this.wake();
  }

  /** False for a message that is passed over for this member. */
  accepts({ command, session }: StoredRecord): boolean {
    const { main, takesCompressed, isSelective } = this.subscription;
    if (session !== 0 && session === this.session) return false;
    if (isSelective && this.subscription.withholds(command)) return false; // [BRK-115] rules deny it this message
    const isCompressed = (command[1] & PublishFlag.COMPRESSED) !== 0;
    if (command.length <= main.link.messageBytesMax && (takesCompressed || !isCompressed)) return true;
    const { counters } = this.consumer;
    if (isCompressed && !takesCompressed) {
      counters.droppedCompressed++;
      this.drop(DropReason.COMPRESSED);
    } else {
      counters.droppedTooLarge++;
      this.drop(DropReason.TOO_LARGE);
    }
    return false;
  }

  /** Messages are missing for it here, and that is to be told. [BRK-71] */
  drop(reason: DropReason, count = 1): void {
    if (DROPPED_BYTES > this.channel.link.messageBytesMax) return;
    this.missing ??= [0, 0, 0, 0, 0, 0, 0];
    this.missing[reason] += count;
    this.wake();
  }

  private tell(offset: number): Uint8Array {
    this.tellingOffset = offset;
    return encodePosition(this.consumer.feed.log.epoch, offset);
  }

  /** The message as it is stored, but for what time and repetition change. */
  private form(record: StoredRecord): Uint8Array {
    const { consumer } = this;
    const { topicEnd, expiresAt } = record;
    const stored = this.subscription.tellsRetain ? record.command : withoutRetain(record.command);
    const command = expiresAt > 0 ? withTimeLeft(stored, expiresAt - consumer.evenMs) : stored;
    return consumer.isSuspect(record) ? asRedelivered(command, topicEnd, consumer.attempts) : command;
  }
}

/** [BRK-131] that it became a last value is told to those who ask for it */
function withoutRetain(command: Uint8Array): Uint8Array {
  if ((command[1] & PublishFlag.RETAIN) === 0) return command;
  const copy = Buffer.from(command);
  copy[1] &= ~PublishFlag.RETAIN;
  return copy;
}

/** A copy with REDELIVERED, and the property that says the how manieth delivery it is, in the place of one that its publisher has set. [BRK-7] */
function asRedelivered(command: Uint8Array, topicEnd: number, attempts: number): Uint8Array {
  const attempt = Buffer.of(PropertyType.ATTEMPT, 0, 2, attempts >> 8, attempts);
  const others = propertiesBut(command, topicEnd, [PropertyType.ATTEMPT]);
  // The largest properties have no room for one more: then it is not told.
  const properties = joinProperties([attempt, ...others]) ?? (joinProperties(others) as Buffer);
  const payload = command.subarray(payloadStartOf(command, topicEnd));
  const copy = Buffer.concat([command.subarray(0, topicEnd), properties, payload]);
  copy[1] |= PublishFlag.PROPERTIES | PublishFlag.REDELIVERED;
  return copy;
}

function highHalf(offset: number): number {
  return Math.floor(offset / 2 ** 32);
}

/** Records passed over at which the subscriber is told where it is. */
const SKIPPED_MAX = 1_000;
