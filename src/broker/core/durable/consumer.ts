/**
 * A subscription of QoS 1 as the broker keeps it: how far it has read its log, what of that is not settled, and who takes its messages now. Of one that is
 * durable this outlives the streams that take its messages ({@link ConsumerMember}); of a shared group there are several at once. [BRK-60]
 *
 * A message goes to a member because the member asks for one: when its transport takes more, and its window has room. So nothing is queued for one
 * that is slow, and of several the one that is free is given the next. [BRK-62]
 *
 * It is one file because giving out and settling move the same messages between the same states.
 */

import { offsetOf } from '../../../pubsub/acknowledgement.ts';
import { DropReason } from '../../../pubsub/command.ts';
import type { PrincipalId } from '../access/principal.ts';
import type { Subscription } from '../delivery/subscription.ts';
import type { Latencies } from '../operations/latencies.ts';
import type { BrokerCounters } from '../output.ts';
import type { StoredRecord } from '../store-port.ts';
import { Timer } from '../timers.ts';
import type { ConsumerOptions } from './consumer-options.ts';
import { FlightState, InFlight } from './in-flight.ts';
import { type HeldKey, KeyOrder } from './key-order.ts';
import { type LogFeed, LogReader, type ReaderOwner, type ReadingAccount } from './reader.ts';
import { backoffAfterNack, backoffAfterSilence, isUsedUp } from './redelivery.ts';
import { Beginning } from './start.ts';

/** What a consumer asks of the broker. */
export interface ConsumerOwner {
  readonly nowMs: number;
  /** By which times to live end. */
  readonly evenMs: number;
  readonly counters: BrokerCounters;
  readonly latencies: Latencies;
  /** Something has changed that outlives its members, where it does. */
  changed(consumer: Consumer): void;
  /** Whether records below `limit` may be delivered: the store knows that they may have been. If not, its members are woken when it does. [BRK-69] */
  mayDeliver(consumer: Consumer, offset: number): boolean;
  /** A message is not to be delivered again; it is settled when {@link Consumer.bury} was called for it. [BRK-68] */
  giveUp(consumer: Consumer, offset: number, attempts: number, reason: string): void;
}

/** A stream that takes messages of a consumer. */
export interface ConsumerMember {
  readonly number: number;
  readonly subscription: Subscription;
  /** Messages that it has, and may have at once. */
  unacked: number;
  readonly unackedMax: number;
  readonly account: ReadingAccount;
  /** There may be something for it. */
  wake(): void;
  /** Messages are missing for it here. */
  drop(reason: DropReason, count?: number): void;
  /** False for a message that is passed over for it. */
  accepts(record: StoredRecord): boolean;
  /** Tells where it is, if that is not known. */
  tellPosition(): void;
}

export class Consumer implements ReaderOwner {
  /** Its name in the broker; null: it is gone with its stream. */
  readonly name: string | null;
  /** Of a shared group: the filter that its members share, with the group's name. */
  readonly group: string | null;
  readonly feed: LogFeed;
  readonly reader: LogReader;
  readonly beginning: Beginning;
  readonly inFlight = new InFlight();
  readonly filters = new Set<string>();
  readonly members = new Map<number, ConsumerMember>();
  options: ConsumerOptions;
  /** Who may take it, where it has a name of its own; null: whoever comes. [BRK-118] */
  principal: PrincipalId | null = null;
  /** Number of the session with which it is over; 0: of none. */
  boundTo = 0;
  /** Below it everything that is delivered carries REDELIVERED: it may have been before the broker began. [BRK-69] */
  suspectBelow = 0;
  /** Its cursor is of a log whose offsets mean other records now. [BRK-71] */
  isLost = false;
  /** Of a group in a cluster: until then members of other nodes may be on their way to it, though it does not know them. [CLU-52] */
  awaitsMembersUntilMs = 0;
  /** Deliveries of messages that it had delivered before. */
  redelivered = 0;
  /** Since when somebody takes its messages. */
  private takenUpAt = 0;
  /** Filters from before that whoever holds it now has not named yet; nothing is delivered until it has, or has had the time to. [BRK-70] */
  private former: Set<string> | null = null;
  private readonly formerTimer = new Timer(() => this.dropFormer());
  private readonly owner: ConsumerOwner;
  /** Null: its messages need not be in order by key. */
  private readonly keys: KeyOrder<ConsumerMember> | null;
  private readonly timer = new Timer(() => this.onTime());
  /** What {@link next} has found: its place in flight, or -1 where it is new. */
  private place = -1;

  /** @param position - where it begins to read */
  constructor(
    { name, group }: { name: string | null; group: string | null },
    feed: LogFeed,
    position: number,
    options: ConsumerOptions,
    owner: ConsumerOwner,
  ) {
    this.name = name;
    this.group = group;
    this.feed = feed;
    this.options = options;
    this.owner = owner;
    this.reader = new LogReader(feed, position, this);
    this.beginning = new Beginning(this.reader);
    this.keys = group !== null && options.keyOrder ? new KeyOrder(this.members) : null;
  }

  /** Below it everything is settled, and nothing at or above {@link position} was delivered. */
  get floor(): number {
    return Math.min(this.inFlight.floor, this.reader.position);
  }

  get position(): number {
    return this.reader.position;
  }

  /** Records of the log that it has not settled, whether they are for it or not. */
  get lag(): number {
    return (
      Math.max(0, this.feed.log.synced - Math.max(this.reader.position, this.feed.log.earliest)) +
      this.inFlight.count
    );
  }

  get counters(): BrokerCounters {
    return this.owner.counters;
  }

  get evenMs(): number {
    return this.owner.evenMs;
  }

  get isShared(): boolean {
    return this.group !== null;
  }

  get unackedCount(): number {
    let count = 0;
    for (const member of this.members.values()) count += member.unacked;
    return count;
  }

  /** When the first of its messages is delivered again that wait for that; infinite: none does, as far as is quickly known. */
  get nextRetryMs(): number {
    const { inFlight } = this;
    let nextMs = Number.POSITIVE_INFINITY;
    if (inFlight.waitingCount === 0) return nextMs;
    const limit = Math.min(inFlight.limit, inFlight.first + LOOKED_AT_MAX);
    for (let place = inFlight.first; place < limit; place++) {
      if (inFlight.stateAt(place) === FlightState.WAITING) nextMs = Math.min(nextMs, inFlight.dueAt(place));
    }
    return nextMs;
  }

  /** When the oldest message that `member` has was delivered to it; null: it has none, as far as is quickly known. */
  oldestUnackedMs(member: ConsumerMember): number | null {
    const { inFlight } = this;
    const limit = Math.min(inFlight.limit, inFlight.first + LOOKED_AT_MAX);
    for (let place = inFlight.first; place < limit; place++) {
      if (this.isHeldBy(place, member)) return inFlight.dueAt(place) - this.options.ackWaitMs;
    }
    return null;
  }

  addFilter(filter: string): void {
    if (this.former?.delete(filter) && this.former.size === 0) this.dropFormer();
    if (this.filters.has(filter)) return;
    this.filters.add(filter);
    if (this.members.size > 0) this.feed.add(filter, this.reader);
    this.owner.changed(this);
  }

  removeFilter(filter: string): void {
    if (!this.filters.delete(filter)) return;
    if (this.members.size > 0) this.feed.remove(filter, this.reader);
    this.owner.changed(this);
  }

  /** Somebody new holds it, who is to name the filters that it is to keep. */
  reviewFilters(): void {
    if (this.filters.size === 0) return;
    this.former = new Set(this.filters);
    this.feed.timers.set(this.formerTimer, this.owner.nowMs + REVIEW_MS);
  }

  /** How many records the log has not kept for it until now; it goes on behind them. */
  forgetMissed(): number {
    const { earliest } = this.feed.log;
    let missed = this.reader.takeMissed();
    while (this.inFlight.floor < earliest) {
      missed++;
      this.settle(this.inFlight.first);
    }
    return missed;
  }

  /** Its cursor means nothing any more: it begins with the first record that there is. [BRK-71] */
  beginAnew(): void {
    this.isLost = false;
    this.suspectBelow = 0;
    this.reader.moveTo(this.feed.log.earliest);
    this.owner.changed(this);
  }

  /** Somebody takes its messages. */
  join(member: ConsumerMember): void {
    this.members.set(member.number, member);
    if (this.members.size > 1) return;
    this.takenUpAt = this.owner.evenMs;
    for (const filter of this.filters) this.feed.add(filter, this.reader);
    this.reader.resume(member.account);
  }

  /**
   * Who took messages does not any more; what it has not settled goes to others, or waits for them.
   *
   * @param isOver - nobody will
   */
  leave(member: ConsumerMember, isOver = false): void {
    if (!this.members.delete(member.number)) return;
    const { inFlight } = this;
    for (let place = isOver ? inFlight.limit : inFlight.first; place < inFlight.limit; place++) {
      if (inFlight.stateAt(place) !== FlightState.SENT || inFlight.holderAt(place) !== member.number)
        continue;
      if (isUsedUp(this.options, inFlight.attemptsAt(place))) this.giveUp(place, 'The subscriber went away.');
      else inFlight.release(place);
    }
    member.unacked = 0;
    // What it held in memory was charged to that member.
    this.reader.pause();
    const heir = this.members.values().next().value;
    if (heir !== undefined) {
      this.reader.resume(heir.account);
      this.wake();
      return;
    }
    for (const filter of this.filters) this.feed.remove(filter, this.reader);
    this.feed.timers.clear(this.timer);
    this.feed.timers.clear(this.formerTimer);
    this.former = null;
    inFlight.shrink();
    this.beginning.giveUp();
  }

  /** Lets its members look whether there is something for them. */
  wake(): void {
    this.beginning.lookOn();
    if (this.isHeld) return;
    for (const member of this.members.values()) member.wake();
  }

  /**
   * What is to go to `member` now; null when there is nothing for it, or it has enough, and it is woken when that changes. What goes is told by {@link sent}.
   */
  next(member: ConsumerMember): StoredRecord | null {
    if (this.isHeld) return null;
    if (this.keys !== null) return this.nextByKey(member, this.keys);
    const hasRoom = member.unacked < member.unackedMax;
    if (this.inFlight.readyCount > 0 && hasRoom) {
      const again = this.nextAgain(member);
      if (again !== undefined) return again;
    }
    if (!hasRoom) return null;
    for (let record = this.nextNew(member); record !== null; record = this.nextNew(member)) {
      if (this.isFor(member, record)) return record;
      if (!this.passOver()) return null;
    }
    return null;
  }

  /** Whether what {@link next} has returned may have been delivered before, and how often it will have been. */
  get attempts(): number {
    return this.place < 0 ? 1 : this.inFlight.attemptsAt(this.place) + 1;
  }

  isSuspect({ offset }: StoredRecord): boolean {
    return offset < this.suspectBelow || (this.place >= 0 && this.inFlight.attemptsAt(this.place) > 0);
  }

  /** What {@link next} has returned has gone to `member`. */
  sent(member: ConsumerMember, record: StoredRecord): void {
    const dueMs = this.owner.nowMs + this.options.ackWaitMs;
    const { inFlight, place } = this;
    const { latencies, evenMs } = this.owner;
    // What came before anybody took it up has waited for that, not for the broker. [OPS-6]
    if (place < 0 && record.publishedAt >= this.takenUpAt)
      latencies.waited(Math.max(0, evenMs - record.publishedAt));
    else latencies.replayed();
    if (place < 0) {
      this.reader.shift();
      inFlight.add(record.offset, member.number, dueMs);
      this.keys?.add(record.offset, this.keys.claim(record, member));
    } else {
      if (inFlight.attemptsAt(place) > 0) {
        this.counters.redelivered++;
        this.redelivered++;
      }
      inFlight.resend(place, member.number, dueMs);
      if (this.keys !== null && inFlight.readyCount === STAGED_MAX - 1) this.wake(); // others wait for that
    }
    member.unacked++;
    if (this.isShared) this.giveTurn(member);
    if (this.timer.heapIndex < 0) this.feed.timers.set(this.timer, dueMs);
    this.owner.changed(this);
  }

  /** The offset whose low half an answer names. */
  offsetOf(id: number): number {
    return offsetOf(id, Math.min(this.inFlight.floor, this.reader.position));
  }

  /** `member` is done with `count` messages, the low half of whose first one's offset is `first`. [BRK-64] */
  ack(member: ConsumerMember, first: number, count: number): void {
    const from = this.offsetOf(first);
    this.forEachOf(member, from, from + count, (place) => this.settle(place));
  }

  /** It is done with everything it was given up to this one. */
  ackAll(member: ConsumerMember, id: number): void {
    this.forEachOf(member, 0, this.offsetOf(id) + 1, (place) => this.settle(place));
  }

  /** It needs more time. */
  progress(member: ConsumerMember, first: number, count: number): void {
    const from = this.offsetOf(first);
    const dueMs = this.owner.nowMs + this.options.ackWaitMs;
    this.forEachOf(member, from, from + count, (place) => {
      if (this.isHeldBy(place, member)) this.inFlight.prolong(place, dueMs);
    });
  }

  /** Nobody is to be given it again. */
  terminate(member: ConsumerMember, first: number, count: number, reason = ''): void {
    const from = this.offsetOf(first);
    this.forEachOf(member, from, from + count, (place) =>
      this.giveUp(place, reason || 'The subscriber has given it up.'),
    );
  }

  /** `member` could not do it; again after `delayMs`, or after the usual time where that is null. [BRK-65] */
  nack(member: ConsumerMember, id: number, delayMs: number | null, reason: string): void {
    const { inFlight, options } = this;
    const place = inFlight.find(this.offsetOf(id));
    if (place < 0 || !this.isHeldBy(place, member)) return;
    const attempts = inFlight.attemptsAt(place);
    if (isUsedUp(options, attempts)) {
      this.giveUp(place, reason || 'The subscriber did not take it.');
      return;
    }
    this.release(place, this.owner.nowMs + (delayMs ?? backoffAfterNack(options, attempts)));
    this.wake();
  }

  /** It was given up before the broker began, and is not buried yet. */
  condemn(offset: number): void {
    const place = this.inFlight.find(offset);
    if (place >= 0) this.inFlight.condemn(place);
  }

  /** A message of its log; null: it is being loaded; undefined: it is not in the log any more. */
  read(offset: number): StoredRecord | null | undefined {
    const { feed } = this;
    if (offset < feed.log.earliest) return undefined;
    if (feed.awaitRecord(offset, this.reader)) return null;
    const records = feed.log.read(offset, offset + 1, 0);
    if (records !== null) return records[0];
    feed.awaitLoading(this.reader);
    return null;
  }

  /** The dead letter of this message is stored, or there is none. */
  bury(offset: number): void {
    const place = this.inFlight.find(offset);
    if (place >= 0) this.settle(place);
    this.wake();
  }

  /** Forgets what the log has dropped. [BRK-71] */
  trimmed(): void {
    const { earliest } = this.feed.log;
    const { inFlight } = this;
    while (inFlight.floor < earliest) this.settle(inFlight.first);
    this.wake();
  }

  /** It is being looked for where it begins, or asked which filters it has: nothing is delivered. */
  private get isHeld(): boolean {
    return this.beginning.isSought || this.former !== null;
  }

  private dropFormer(): void {
    const { former } = this;
    this.former = null;
    this.feed.timers.clear(this.formerTimer);
    for (const filter of former ?? []) this.removeFilter(filter);
    this.wake();
  }

  /** Tells one member, who tells its application. */
  tell(reason: DropReason): void {
    this.members.values().next().value?.drop(reason);
  }

  /** The first unsettled message that is to be delivered again; null: it is being loaded; undefined: there is none left. */
  private nextAgain(member: ConsumerMember): StoredRecord | null | undefined {
    const { inFlight } = this;
    for (let place = inFlight.nextReady(); place >= 0; place = inFlight.nextReady()) {
      const record = this.fetch(place);
      if (record === null) return null;
      if (record !== undefined && this.isFor(member, record)) {
        this.place = place;
        return record;
      }
      this.settle(place);
    }
    return undefined;
  }

  /** The next message that was never delivered, as far as is known. */
  private nextNew(member: ConsumerMember): StoredRecord | null {
    const { inFlight, reader } = this;
    const countMax = this.isShared ? GROUP_UNSETTLED_MAX : this.options.unackedMax;
    if (inFlight.count >= countMax) return null;
    if (inFlight.count > 0 && reader.position - inFlight.floor >= SPREAD_MAX) return null;
    const missed = reader.takeMissed();
    if (missed > 0) {
      this.counters.droppedByRetention += missed;
      member.drop(DropReason.RETENTION, missed); // [BRK-71] what retention has overtaken is told
      this.owner.changed(this);
    }
    const record = reader.peek();
    if (record === null || !this.owner.mayDeliver(this, record.offset)) return null;
    this.place = -1;
    return record;
  }

  /**
   * In a group that keeps keys in order: the first message whose key is `member`'s and has none before it that waits. What is new and is another member's is put aside for
   * that one, so that no member waits for another, up to a bound. [BRK-75]
   */
  private nextByKey(member: ConsumerMember, keys: KeyOrder<ConsumerMember>): StoredRecord | null {
    const { inFlight } = this;
    const blocked = new Set<HeldKey>();
    const hasRoom = member.unacked < member.unackedMax;
    const { limit } = inFlight;
    const isClear = inFlight.readyCount + inFlight.waitingCount === 0;
    for (let place = isClear ? limit : inFlight.first; place < limit; place++) {
      const state = inFlight.stateAt(place);
      if (state !== FlightState.READY && state !== FlightState.WAITING) continue;
      const offset = inFlight.offsetAt(place);
      const known = keys.of(offset);
      const isOurs = known !== undefined && !blocked.has(known) && keys.ownerOf(known) === member && hasRoom;
      if (known !== undefined && (state === FlightState.WAITING || !isOurs)) {
        blocked.add(known);
        continue;
      }
      const record = this.fetch(place);
      if (record === null) return null;
      if (record === undefined || !this.isFor(member, record)) {
        this.settle(place);
        continue;
      }
      const key = known ?? keys.add(offset, keys.find(record)); // from before the broker began
      if (state === FlightState.WAITING || blocked.has(key) || keys.ownerOf(key) !== member || !hasRoom) {
        blocked.add(key);
        continue;
      }
      this.place = place;
      return record;
    }
    if (!hasRoom) return null;
    for (let record = this.nextNew(member); record !== null; record = this.nextNew(member)) {
      const key = keys.find(record);
      const owner = keys.ownerOf(key);
      if (!this.isFor(owner, record)) {
        if (!this.passOver()) return null;
        continue;
      }
      if (owner === member && !blocked.has(key)) return record;
      owner.wake();
      if (inFlight.readyCount >= STAGED_MAX) return null;
      this.reader.shift();
      this.owner.changed(this);
      inFlight.restore(record.offset, 0);
      blocked.add(keys.add(record.offset, key));
    }
    return null;
  }

  /** Reads an unsettled message again; null: it is being loaded; undefined: it is not in the log any more, or not for this subscription. */
  private fetch(place: number): StoredRecord | null | undefined {
    const record = this.read(this.inFlight.offsetAt(place));
    return record && !this.feed.matches(record, this.reader) ? undefined : record;
  }

  /** The next new message is not delivered. False: others have their turn now. */
  private passOver(): boolean {
    this.owner.changed(this);
    return this.reader.pass();
  }

  /** Whoever was given something comes last when there is something again. [BRK-74] */
  private giveTurn(member: ConsumerMember): void {
    if (this.members.size === 1) return;
    this.members.delete(member.number);
    this.members.set(member.number, member);
  }

  /** False where it is passed over. */
  private isFor(member: ConsumerMember, record: StoredRecord): boolean {
    if (!this.beginning.includes(record.offset)) return false;
    if (record.expiresAt > 0 && record.expiresAt <= this.owner.evenMs) {
      this.counters.droppedExpired++;
      member.drop(DropReason.EXPIRED); // [BRK-72] its time to live is over
      return false;
    }
    return member.accepts(record);
  }

  private onTime(): void {
    const { inFlight, options } = this;
    const { nowMs } = this.owner;
    let nextMs = Number.POSITIVE_INFINITY;
    for (let place = inFlight.first; place < inFlight.limit; place++) {
      const state = inFlight.stateAt(place);
      if (state !== FlightState.SENT && state !== FlightState.WAITING) continue;
      const dueMs = inFlight.dueAt(place);
      if (dueMs > nowMs) {
        nextMs = Math.min(nextMs, dueMs);
      } else if (state === FlightState.WAITING) {
        inFlight.release(place);
      } else {
        const attempts = inFlight.attemptsAt(place);
        if (isUsedUp(options, attempts)) this.giveUp(place, 'The subscriber did not answer in time.');
        else nextMs = Math.min(nextMs, this.release(place, dueMs + backoffAfterSilence(options, attempts)));
      }
    }
    if (nextMs < Number.POSITIVE_INFINITY)
      this.feed.timers.set(this.timer, Math.max(nextMs, nowMs + TIMER_MS));
    this.wake();
  }

  /** Nobody has it any more; to be delivered again at this time, or at once when that has passed. Returns what is left to wait for. */
  private release(place: number, untilMs: number): number {
    this.takeFromHolder(place);
    if (untilMs <= this.owner.nowMs) {
      this.inFlight.release(place);
      return Number.POSITIVE_INFINITY;
    }
    this.inFlight.delay(place, untilMs);
    if (this.timer.heapIndex < 0 || untilMs < this.timer.deadline) {
      this.feed.timers.set(this.timer, untilMs);
    }
    return untilMs;
  }

  private settle(place: number): void {
    this.takeFromHolder(place);
    this.keys?.settle(this.inFlight.offsetAt(place));
    this.inFlight.settle(place);
    this.owner.changed(this);
  }

  private giveUp(place: number, reason: string): void {
    this.takeFromHolder(place);
    this.inFlight.condemn(place);
    this.owner.giveUp(this, this.inFlight.offsetAt(place), this.inFlight.attemptsAt(place), reason);
  }

  private takeFromHolder(place: number): void {
    if (this.inFlight.stateAt(place) !== FlightState.SENT) return;
    const holder = this.members.get(this.inFlight.holderAt(place));
    if (holder !== undefined) holder.unacked--;
  }

  private isHeldBy(place: number, member: ConsumerMember): boolean {
    return (
      this.inFlight.stateAt(place) === FlightState.SENT && this.inFlight.holderAt(place) === member.number
    );
  }

  /** What is unsettled in [from, until) and was given to `member`; of one that is alone, to whoever was there before, too. */
  private forEachOf(member: ConsumerMember, from: number, until: number, act: (place: number) => void): void {
    const { inFlight } = this;
    const hadRoom = inFlight.count < this.options.unackedMax && member.unacked < member.unackedMax;
    for (let place = inFlight.from(from); place < inFlight.limit; place++) {
      if (inFlight.offsetAt(place) >= until) break;
      const state = inFlight.stateAt(place);
      if (state === FlightState.SETTLED || state === FlightState.DYING) continue;
      if (this.isShared && !inFlight.wasGivenTo(place, member.number)) continue;
      act(place);
    }
    if (!hadRoom) this.wake();
  }
}

/** Places in flight that are looked at for an operator. */
const LOOKED_AT_MAX = 1_024;
/** Of all members of a group together. */
const GROUP_UNSETTLED_MAX = 65_536;
/** Messages that are put aside for members that cannot take them yet. */
const STAGED_MAX = 1_024;
/** A client names the filters of a subscription one behind the other. */
const REVIEW_MS = 250;
/** An id names one of the unsettled without doubt. */
const SPREAD_MAX = 2 ** 31;
/** Deadlines of deliveries are looked at no more often. */
const TIMER_MS = 5;
