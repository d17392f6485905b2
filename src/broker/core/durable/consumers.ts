/**
 * All subscriptions of QoS 1: where they read, who holds them, and what the store keeps of those that have a name. [BRK-60] [BRK-70]
 *
 * One that has a name and that nobody holds is nothing but its record in the store and a place in the queue of those that expire, however much waits for it.
 */

import { DeadlineHeap, type HeapItem } from '../../../base/time.ts';
import type { ReaderStart } from '../../../pubsub/acknowledgement.ts';
import { DropReason } from '../../../pubsub/command.ts';
import type { Subscription } from '../delivery/subscription.ts';
import type { BrokerCounters } from '../output.ts';
import { decodeNumber, encodeNumber } from '../session/session-record.ts';
import type { LogPort, StoreEvents, StorePort } from '../store-port.ts';
import { Timer, type Timers } from '../timers.ts';
import { Consumer, type ConsumerOwner } from './consumer.ts';
import type { ConsumerOptions } from './consumer-options.ts';
import { DURABLE_KEYS, type DurableRecord, decodeDurable, encodeDurable } from './durable-record.ts';
import { FlightState } from './in-flight.ts';
import { Member } from './member.ts';
import { LogFeed } from './reader.ts';
import { Reservation } from './reservation.ts';

/** What consumers need of the broker. */
export interface ConsumerSurroundings {
  readonly nowMs: number;
  readonly wallMs: number;
  readonly timers: Timers;
  readonly counters: BrokerCounters;
  readonly store: StorePort;
  readonly limits: { readonly routesMax: number; readonly unackedMax: number; readonly durablesMax: number };
}

/** What is kept of a consumer with a name while nobody holds it. */
class IdleDurable implements HeapItem {
  readonly name: string;
  deadline = Number.POSITIVE_INFINITY;
  heapIndex = -1;

  constructor(name: string) {
    this.name = name;
  }
}

/** What a consumer with a name has in the store, beside the consumer itself. */
interface Kept {
  readonly number: number;
  readonly reservation: Reservation;
  lastBurial: number;
  isDirty: boolean;
}

export class Consumers implements ConsumerOwner, StoreEvents {
  private readonly broker: ConsumerSurroundings;
  private readonly feeds: readonly LogFeed[];
  /** Those that somebody holds, and those with a name among them. */
  private readonly held = new Set<Consumer>();
  private readonly byName = new Map<string, Consumer>();
  private readonly kept = new Map<Consumer, Kept>();
  private readonly idle = new Map<string, IdleDurable>();
  private readonly expiring = new DeadlineHeap<IdleDurable>();
  private dirty: Consumer[] = [];
  /** Consumers that deliver on when the store knows of it. */
  private readonly reserving = new Set<Consumer>();
  private readonly memberOfStream = new Map<Subscription, Member>();
  private membersMade = 0;
  private readonly flushTimer = new Timer(() => this.flush());
  private readonly positionTimer = new Timer(() => this.tellPositions());
  private readonly expiryTimer = new Timer(() => this.expire());

  constructor(broker: ConsumerSurroundings) {
    this.broker = broker;
    const routesMax = Math.min(broker.limits.routesMax, ROUTES_MAX);
    this.feeds = broker.store.logs.map((log) => new LogFeed(log, broker.timers, routesMax));
  }

  get nowMs(): number {
    return this.broker.nowMs;
  }

  get wallMs(): number {
    return this.broker.wallMs;
  }

  get counters(): BrokerCounters {
    return this.broker.counters;
  }

  feedOf(log: LogPort): LogFeed {
    return this.feeds[this.broker.store.logs.indexOf(log)];
  }

  /** Takes up what the store has kept, when the time is known. */
  restore(): void {
    const { state } = this.broker.store;
    for (const [key, bytes] of [...state.entries(DURABLE_KEYS)]) {
      const record = decodeDurable(bytes);
      if (record === null) {
        state.delete(key);
        continue;
      }
      // Who held it when the broker ended has its time from now on.
      this.rest(key.slice(DURABLE_KEYS.length), record, record.leftAt || this.wallMs);
    }
  }

  /** How many have a name. */
  get durableCount(): number {
    return this.byName.size + this.idle.size;
  }

  /** The consumer of this name, if there is one: taken up from the store where nobody holds it. */
  find(name: string): Consumer | undefined {
    return this.byName.get(name) ?? this.takeUp(name);
  }

  /** A consumer that nobody holds yet, and that begins at `position`. */
  create(name: string | null, group: string | null, feed: LogFeed, options: ConsumerOptions): Consumer {
    const consumer = new Consumer({ name, group }, feed, feed.log.head, options, this);
    if (name !== null) this.keep(consumer, { number: this.takeNumber(), reservedBelow: 0, lastBurial: 0 });
    return consumer;
  }

  /** Never given twice, for logs remember it. */
  private takeNumber(): number {
    const { state } = this.broker.store;
    const number = Math.max(NUMBERS_FROM, decodeNumber(state.get(NUMBERS_KEY))) + 1;
    state.put(NUMBERS_KEY, encodeNumber(number));
    return number;
  }

  /** The stream of `subscription` takes messages from now on. */
  hold(consumer: Consumer, subscription: Subscription, session: number): Member {
    const member = new Member(++this.membersMade, consumer, subscription, session);
    this.held.add(consumer);
    subscription.main.delivery.source = member;
    this.memberOfStream.set(subscription, member);
    consumer.join(member);
    this.changed(consumer);
    if (this.positionTimer.heapIndex < 0) {
      this.broker.timers.set(this.positionTimer, this.nowMs + POSITION_MS);
    }
    return member;
  }

  /** Who takes messages for the stream of `subscription`; null: it reads no log. */
  memberOf(subscription: Subscription): Member | null {
    return this.memberOfStream.get(subscription) ?? null;
  }

  /** A stream is gone. What it held is taken up by others, or waits until somebody does. */
  release(subscription: Subscription): void {
    const member = this.detach(subscription);
    if (member === null) return;
    const { consumer } = member;
    consumer.leave(member);
    if (consumer.members.size > 0) this.changed(consumer);
    else this.put(consumer);
  }

  /** A stream takes nothing of its log any more. If it was the last that did, what it has read is forgotten, in the store, too. [BRK-70] */
  unsubscribe(subscription: Subscription): void {
    const { consumer } = this.memberOfStream.get(subscription) as Member;
    if (consumer.members.size > 1) {
      this.release(subscription);
      return;
    }
    const { store } = this.broker;
    const kept = this.kept.get(consumer);
    this.forget(consumer);
    const member = this.detach(subscription);
    if (member !== null) consumer.leave(member);
    if (kept === undefined) return;
    store.state.delete(DURABLE_KEYS + consumer.name);
    store.forgetSession(kept.number);
  }

  /** Where the reading of `consumer` begins. */
  startOf(consumer: Consumer, missed: number, isRecovered: boolean): ReaderStart {
    const { epoch, earliest, head } = consumer.feed.log;
    return { epoch, next: consumer.position, earliest, head, missed, isRecovered };
  }

  // ---- what consumers ask for ----

  changed(consumer: Consumer): void {
    const kept = this.kept.get(consumer);
    if (kept === undefined || kept.isDirty) return;
    kept.isDirty = true;
    this.dirty.push(consumer);
    if (this.flushTimer.heapIndex < 0) this.broker.timers.set(this.flushTimer, this.nowMs + FLUSH_MS);
  }

  mayDeliver(consumer: Consumer, offset: number): boolean {
    const kept = this.kept.get(consumer);
    if (kept === undefined) return true;
    const { reservation } = kept;
    const { state } = this.broker.store;
    const isCovered = reservation.covers(offset, state);
    if (reservation.isDue(offset)) {
      reservation.extend(offset);
      this.save(consumer, kept);
    }
    if (isCovered || reservation.covers(offset, state)) return true;
    this.reserving.add(consumer);
    return false;
  }

  buryLater(consumer: Consumer, offset: number): void {
    this.counters.rejected++;
    consumer.tell(DropReason.REJECTED);
    consumer.bury(offset);
  }

  // ---- what the store tells ----

  stored(log: LogPort): void {
    this.feedOf(log).stored();
  }

  stateStored(): void {
    const waiting = [...this.reserving];
    this.reserving.clear();
    for (const consumer of waiting) consumer.wake();
  }

  loaded(log: LogPort): void {
    this.feedOf(log).loaded();
  }

  trimmed(log: LogPort): void {
    for (const consumer of this.held) if (consumer.feed.log === log) consumer.trimmed();
  }

  storeFailed(): void {}

  /** Writes what has changed. */
  flush(): void {
    const { dirty } = this;
    this.dirty = [];
    for (const consumer of dirty) {
      const kept = this.kept.get(consumer);
      if (kept?.isDirty) this.save(consumer, kept);
    }
  }

  private keep(
    consumer: Consumer,
    record: Pick<DurableRecord, 'number' | 'reservedBelow' | 'lastBurial'>,
  ): Kept {
    const { number, reservedBelow, lastBurial } = record;
    const kept: Kept = { number, reservation: new Reservation(reservedBelow), lastBurial, isDirty: false };
    this.kept.set(consumer, kept);
    this.byName.set(consumer.name as string, consumer);
    return kept;
  }

  private detach(subscription: Subscription): Member | null {
    const member = this.memberOf(subscription);
    this.memberOfStream.delete(subscription);
    subscription.main.delivery.source = null;
    return member;
  }

  private forget(consumer: Consumer): void {
    this.held.delete(consumer);
    this.kept.delete(consumer);
    this.reserving.delete(consumer);
    if (consumer.name !== null) this.byName.delete(consumer.name);
  }

  /** Nobody holds it: back into the store, if it has a name. */
  private put(consumer: Consumer): void {
    const kept = this.kept.get(consumer);
    const { name } = consumer;
    this.forget(consumer);
    if (kept === undefined || name === null) return;
    // Nothing beyond its position was delivered, and nothing will be: no doubt is left for whoever comes next.
    const record = {
      ...this.recordOf(consumer, kept),
      reservedBelow: consumer.position,
      leftAt: this.wallMs,
    };
    this.broker.store.state.put(DURABLE_KEYS + name, encodeDurable(record));
    this.rest(name, record, this.wallMs);
  }

  /** It waits in the store, and expires. */
  private rest(name: string, { options }: DurableRecord, leftAt: number): void {
    const durable = new IdleDurable(name);
    this.idle.set(name, durable);
    // A wall clock that was set back gives it more time, never less.
    const goneMs = Math.max(0, this.wallMs - leftAt);
    this.expiring.set(durable, this.nowMs + Math.max(0, options.expiryMs - goneMs));
    this.expireLater();
  }

  private takeUp(name: string): Consumer | undefined {
    const durable = this.idle.get(name);
    if (durable === undefined) return undefined;
    this.idle.delete(name);
    this.expiring.remove(durable);
    const bytes = this.broker.store.state.get(DURABLE_KEYS + name);
    const record = bytes === undefined ? null : decodeDurable(bytes);
    if (record === null) return undefined;
    const feed = this.feeds.find(({ log }) => log.name === record.log);
    if (feed === undefined) return undefined;
    const group = name.startsWith(GROUP_PREFIX) ? name : null;
    const consumer = new Consumer({ name, group }, feed, record.position, record.options, this);
    for (const filter of record.filters) consumer.filters.add(filter);
    if (feed.log.epoch === record.epoch && record.position <= feed.log.head) {
      for (const { offset, attempts } of record.unsettled) consumer.inFlight.restore(offset, attempts);
      consumer.suspectBelow = record.reservedBelow;
    } else {
      consumer.isLost = true;
    }
    this.keep(consumer, record);
    return consumer;
  }

  private save(consumer: Consumer, kept: Kept): void {
    const { state } = this.broker.store;
    kept.isDirty = false;
    state.put(DURABLE_KEYS + consumer.name, encodeDurable(this.recordOf(consumer, kept)));
    kept.reservation.written(state.written);
  }

  private recordOf(consumer: Consumer, kept: Kept): DurableRecord {
    const { inFlight, feed, filters, options, position } = consumer;
    const unsettled: { offset: number; attempts: number }[] = [];
    for (let place = inFlight.first; place < inFlight.limit; place++) {
      if (inFlight.stateAt(place) === FlightState.SETTLED) continue;
      unsettled.push({ offset: inFlight.offsetAt(place), attempts: inFlight.attemptsAt(place) });
    }
    return {
      log: feed.log.name,
      epoch: feed.log.epoch,
      number: kept.number,
      lastBurial: kept.lastBurial,
      options,
      filters: [...filters],
      leftAt: 0,
      position,
      reservedBelow: kept.reservation.below,
      unsettled,
      burials: [],
    };
  }

  private tellPositions(): void {
    for (const { members } of this.held) for (const member of members.values()) member.tellPosition();
    if (this.held.size > 0) this.broker.timers.set(this.positionTimer, this.nowMs + POSITION_MS);
  }

  private expire(): void {
    for (let next = this.expiring.peek(); next !== undefined; next = this.expiring.peek()) {
      if (next.deadline > this.nowMs) break;
      this.expiring.remove(next);
      this.idle.delete(next.name);
      this.broker.store.state.delete(DURABLE_KEYS + next.name);
      this.counters.durablesExpired++;
    }
    this.expireLater();
  }

  private expireLater(): void {
    const deadline = this.expiring.peek()?.deadline ?? Number.POSITIVE_INFINITY;
    this.broker.timers.set(this.expiryTimer, deadline);
  }
}

export const GROUP_PREFIX = '$share/';
/** Acknowledgements may be forgotten by a crash for so long. */
const FLUSH_MS = 20;
/** A subscriber for whom nothing comes is told where it is. [BRK-63] */
const POSITION_MS = 5_000;
/** Topics of a log whose readers are remembered. */
const ROUTES_MAX = 2_048;
/** Numbers of sessions are below. */
const NUMBERS_FROM = 2 ** 40;
const NUMBERS_KEY = 'durables/numbers';
