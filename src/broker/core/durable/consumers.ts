/**
 * All subscriptions of QoS 1: where they read, who holds them, and what the store keeps of those that have a name. [BRK-60] [BRK-70]
 *
 * One that has a name and that nobody holds is nothing but its record in the store and a place among those that expire ({@link IdleDurables}), however much waits for it.
 *
 * It is one file because whoever takes one up or leaves it changes at once who holds it, whether it rests, and its record.
 */

import { isAfter, type ReaderStart } from '../../../pubsub/acknowledgement.ts';
import { isShared } from '../../../pubsub/topic.ts';
import type { PrincipalId } from '../access/principal.ts';
import type { Client } from '../delivery/client.ts';
import type { Subscription } from '../delivery/subscription.ts';
import type { Latencies } from '../operations/latencies.ts';
import type { BrokerCounters } from '../output.ts';
import { decodeNumber, encodeNumber } from '../session/session-record.ts';
import type { NumberSource } from '../session/session-table.ts';
import type { LogPort, StatePort, StoreEvents, StorePort } from '../store-port.ts';
import { Timer, type Timers } from '../timers.ts';
import { BoundDurables } from './bound-durables.ts';
import { Consumer, type ConsumerOwner } from './consumer.ts';
import type { ConsumerOptions } from './consumer-options.ts';
import { DeadLetters, type Undertaker } from './dead-letter.ts';
import { DURABLE_KEYS, type DurableRecord, decodeDurable, encodeDurable } from './durable-record.ts';
import { IdleDurable, IdleDurables } from './idle-durables.ts';
import { Member } from './member.ts';
import { LogFeed } from './reader.ts';
import { Reservation } from './reservation.ts';

/** What consumers need of the broker. */
export interface ConsumerSurroundings {
  readonly nowMs: number;
  readonly wallMs: number;
  readonly evenMs: number;
  readonly timers: Timers;
  readonly counters: BrokerCounters;
  readonly latencies: Latencies;
  readonly store: StorePort;
  readonly routing: { ofTopic(topic: string): LogPort };
  readonly limits: { readonly routesMax: number; readonly unackedMax: number; readonly durablesMax: number };
  /** Null: the broker is alone. */
  readonly cluster: { readonly port: NumberSource } | null;
}

/** A durable subscription, or a shared group, as it is now. */
export interface DurableMetrics {
  /** That its subscriber has given it, or the shared filter. */
  readonly name: string;
  /** Name of the log that it reads. */
  readonly log: string;
  /** Streams that hold it. */
  readonly subscribers: number;
  /** Offset of the next message that it has not read. */
  readonly position: number;
  /** Messages in the log that it has not settled, whether they are for it or not. */
  readonly lag: number;
  /** Messages that were delivered and not settled, and those of them that a subscriber has now. */
  readonly unsettled: number;
  readonly unacked: number;
  /** Deliveries of messages that it had delivered before, since somebody has taken it up. */
  readonly redelivered: number;
  /** In so many ms the next message is delivered again that waits for that; null: none does. */
  readonly nextRetryInMs: number | null;
}

/** What a consumer with a name has in the store, beside the consumer itself. */
interface Kept {
  readonly number: number;
  readonly reservation: Reservation;
  lastBurial: number;
  isDirty: boolean;
}

export class Consumers implements ConsumerOwner, StoreEvents, Undertaker {
  /** Told of each dead letter that a log has taken. */
  onDeadLetter: (command: Uint8Array) => void = () => {};
  /** Told of the name of each that is over. */
  onOver: (name: string) => void = () => {};
  private readonly broker: ConsumerSurroundings;
  private readonly feeds: readonly LogFeed[];
  /** Those that somebody holds, and those with a name among them. */
  private readonly held = new Set<Consumer>();
  private readonly byName = new Map<string, Consumer>();
  private readonly kept = new Map<Consumer, Kept>();
  private readonly idle: IdleDurables;
  private dirty: Consumer[] = [];
  /** Consumers that deliver on when the store knows of it. */
  private readonly reserving = new Set<Consumer>();
  private readonly memberOfStream = new Map<Subscription, Member>();
  private membersMade = 0;
  /** One whose member is leaving it. */
  private leaving: Consumer | null = null;
  /** Those that go with a session: told of the life of sessions. */
  readonly bound = new BoundDurables((name) => this.end(name));
  /** To go on when it has news, once a turn. */
  readonly deadLetters = new DeadLetters(this);
  private readonly flushTimer = new Timer(() => this.flush());
  private readonly positionTimer = new Timer(() => this.tellPositions());

  constructor(broker: ConsumerSurroundings) {
    this.broker = broker;
    const routesMax = Math.min(broker.limits.routesMax, ROUTES_MAX);
    this.feeds = broker.store.logs.map((log) => new LogFeed(log, broker.timers, routesMax));
    this.idle = new IdleDurables(broker, (durable) => {
      this.counters.durablesExpired++;
      this.over(durable);
    });
  }

  get nowMs(): number {
    return this.broker.nowMs;
  }

  get evenMs(): number {
    return this.broker.evenMs;
  }

  get wallMs(): number {
    return this.broker.wallMs;
  }

  get latencies(): Latencies {
    return this.broker.latencies;
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
      this.restoreOne(key.slice(DURABLE_KEYS.length), record);
    }
  }

  /** In a cluster: one comes from another node, with its record in the store. */
  takeUpClaimed(name: string): void {
    const bytes = this.state.get(DURABLE_KEYS + name);
    const record = bytes === undefined ? null : decodeDurable(bytes);
    if (record !== null) this.restoreOne(name, record);
    else if (bytes !== undefined) this.state.delete(DURABLE_KEYS + name);
  }

  /** In a cluster: one that nobody holds any more goes on at another node, as the store has it. */
  letGo(name: string): void {
    const consumer = this.byName.get(name);
    const kept = consumer === undefined ? undefined : this.kept.get(consumer);
    if (consumer !== undefined && kept !== undefined) {
      this.save(consumer, kept); // its dead letters are still to be stored
      this.forget(consumer);
    }
    const durable = this.idle.get(name);
    if (durable !== undefined) this.forgetIdle(durable);
  }

  /** There is one of this name, whether anybody holds it or not. */
  has(name: string): boolean {
    return this.byName.has(name) || this.idle.get(name) !== undefined;
  }

  /** Whoever takes its messages now. */
  subscriptionsOf(name: string): Subscription[] {
    return [...(this.byName.get(name)?.members.values() ?? [])].map(({ subscription }) => subscription);
  }

  private restoreOne(name: string, record: DurableRecord): void {
    // Who held it when the broker ended has its time from now on.
    this.rest(name, record, record.leftAt || this.wallMs);
    if (record.burials.length > 0) this.takeUp(name);
  }

  /** How many have a name. */
  get durableCount(): number {
    return this.byName.size + this.idle.count;
  }

  /** Messages that were delivered by any subscription and not settled. */
  get unsettledCount(): number {
    let count = this.idle.unsettledCount;
    for (const { inFlight } of this.held) count += inFlight.count;
    return count;
  }

  /** What has a name, as it is now. */
  *metrics(): Iterable<DurableMetrics> {
    for (const { name, log, position, lag, unsettled } of this.idle.all()) {
      const none = { subscribers: 0, unacked: 0, redelivered: 0, nextRetryInMs: null };
      yield { name, log: log?.name ?? '', position, lag, unsettled, ...none };
    }
    for (const [name, consumer] of this.byName) {
      const { feed, members, position, lag, inFlight, unackedCount, redelivered, nextRetryMs } = consumer;
      const nextRetryInMs = Number.isFinite(nextRetryMs) ? Math.max(0, nextRetryMs - this.nowMs) : null;
      yield {
        ...{ name, log: feed.log.name, subscribers: members.size, position, lag },
        ...{ unsettled: inFlight.count, unacked: unackedCount, redelivered, nextRetryInMs },
      };
    }
  }

  /** The consumer of this name, if there is one: taken up from the store where nobody holds it. */
  find(name: string): Consumer | undefined {
    return this.byName.get(name) ?? this.takeUp(name);
  }

  /** Whose the consumer of this name is; null: nobody's, or there is none. */
  ownerOf(name: string): PrincipalId | null {
    return this.byName.get(name)?.principal ?? this.idle.get(name)?.owner ?? null;
  }

  /** A consumer that nobody holds yet, and that begins at `position`. */
  create(name: string | null, group: string | null, feed: LogFeed, options: ConsumerOptions): Consumer {
    const consumer = new Consumer({ name, group }, feed, feed.log.head, options, this);
    if (name !== null) this.keep(consumer, { number: this.takeNumber(), reservedBelow: 0, lastBurial: 0 });
    return consumer;
  }

  /** It is over with the session of this number; 0: with none. [BRK-133] */
  bind(consumer: Consumer, session: number): void {
    if (consumer.name === null || consumer.boundTo === session) return;
    this.bound.remove(consumer.boundTo, consumer.name);
    consumer.boundTo = session;
    this.bound.add(session, consumer.name);
    this.changed(consumer);
  }

  /** The one of this name is over, and nothing is kept of it. */
  private end(name: string): void {
    const consumer = this.byName.get(name);
    for (const { subscription } of [...(consumer?.members.values() ?? [])]) this.unsubscribe(subscription);
    const durable = this.idle.get(name);
    if (durable !== undefined) this.dropIdle(durable);
  }

  /** Never given twice, for logs remember it. */
  private takeNumber(): number {
    const { cluster } = this.broker;
    if (cluster !== null) return DURABLE_NUMBERS_FROM + cluster.port.newNumber();
    const { state } = this.broker.store;
    const number = Math.max(DURABLE_NUMBERS_FROM, decodeNumber(state.get(NUMBERS_KEY))) + 1;
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
    this.leaving = consumer;
    consumer.leave(member);
    this.leaving = null;
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
    if (consumer.awaitsMembersUntilMs > this.nowMs) {
      this.release(subscription);
      this.forgetLater(consumer.name as string);
      return;
    }
    const { store } = this.broker;
    const kept = this.kept.get(consumer);
    this.forget(consumer);
    const member = this.detach(subscription);
    if (member !== null) consumer.leave(member, true);
    if (kept === undefined) return;
    store.state.delete(DURABLE_KEYS + consumer.name);
    store.forgetSession(kept.number);
    this.onOver(consumer.name as string);
  }

  /** In a cluster: a member of a group that another node has is cut off from it, and is sought there. [CLU-52] */
  awaitBack(subscription: Subscription): void {
    const consumer = this.memberOf(subscription)?.consumer;
    if (consumer?.isShared) consumer.awaitsMembersUntilMs = this.nowMs + AWAIT_MEMBERS_MS;
  }

  /** The last member that is known has unsubscribed: it is over, unless one comes back that is on its way. [CLU-52] */
  private forgetLater(name: string): void {
    const durable = this.idle.get(name);
    if (durable !== undefined) this.idle.expireIn(durable, AWAIT_MEMBERS_MS);
  }

  /** Whoever holds `subscription` may not have this filter any more. A group goes on without it; what has a name goes with its last filter. [BRK-119] */
  revoke(subscription: Subscription, filter: string): void {
    const member = this.memberOf(subscription);
    if (member === null) return;
    const { consumer } = member;
    if (consumer.isShared) {
      this.release(subscription);
      return;
    }
    consumer.removeFilter(filter);
    if (consumer.filters.size === 0) this.unsubscribe(subscription);
  }

  /** What nobody holds and somebody owns. */
  *owners(): Iterable<readonly [name: string, owner: PrincipalId]> {
    for (const { name, owner } of this.idle.all()) if (owner !== null) yield [name, owner];
  }

  /** What nobody holds keeps only the filters that it may have. True: it is gone with its last one. [BRK-119] */
  keepOnly(name: string, mayHave: (filter: string) => boolean): boolean {
    const durable = this.idle.get(name);
    const { state } = this.broker.store;
    const bytes = state.get(DURABLE_KEYS + name);
    const record = bytes === undefined ? null : decodeDurable(bytes);
    if (durable === undefined || record === null) return false;
    const filters = record.filters.filter(mayHave);
    if (filters.length === record.filters.length) return false;
    if (filters.length > 0) {
      state.put(DURABLE_KEYS + name, encodeDurable({ ...record, filters }));
      return false;
    }
    this.dropIdle(durable);
    return true;
  }

  /** Hands to the store what has changed of it. False: it has no name, and is nothing that the store keeps. */
  keepNow(consumer: Consumer): boolean {
    const kept = this.kept.get(consumer);
    if (kept?.isDirty) this.save(consumer, kept);
    return kept !== undefined;
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

  giveUp(consumer: Consumer, offset: number, attempts: number, reason: string): void {
    this.deadLetters.add(consumer, offset, attempts, reason);
  }

  // ---- what dead letters ask for ----

  get timers(): Timers {
    return this.broker.timers;
  }

  get state(): StatePort {
    return this.broker.store.state;
  }

  logOf(topic: string): LogPort {
    return this.broker.routing.ofTopic(topic);
  }

  numberOf(consumer: Consumer): number {
    return this.kept.get(consumer)?.number ?? 0;
  }

  hasBuried(consumer: Consumer, id: number): boolean {
    const [last] = this.broker.store.lastIds(this.numberOf(consumer));
    return last !== 0 && !isAfter(id, last);
  }

  nextBurialId(consumer: Consumer): number {
    const kept = this.kept.get(consumer) as Kept;
    return ++kept.lastBurial;
  }

  write(consumer: Consumer): number {
    this.save(consumer, this.kept.get(consumer) as Kept);
    return this.state.written;
  }

  buried(consumer: Consumer): void {
    if (consumer === this.leaving) return; // it is not through with it
    if (consumer.members.size === 0) this.put(consumer);
    else this.changed(consumer);
  }

  offer(command: Uint8Array): void {
    this.onDeadLetter(command);
  }

  // ---- what the store tells ----

  stored(log: LogPort): void {
    this.latencies.stored(log, this.nowMs, this.wallMs);
    this.feedOf(log).stored();
    if (!this.deadLetters.isEmpty) this.deadLetters.goOn();
  }

  placed(log: LogPort, ticket: number, offset: number, isDuplicate: boolean): void {
    this.deadLetters.placed(log, ticket, offset, isDuplicate);
  }

  stateStored(): void {
    if (!this.deadLetters.isEmpty) this.deadLetters.goOn();
    const waiting = [...this.reserving];
    this.reserving.clear();
    for (const consumer of waiting) consumer.wake();
  }

  loaded(log: LogPort): void {
    if (!this.deadLetters.isEmpty) this.deadLetters.goOn();
    this.feedOf(log).loaded();
  }

  trimmed(log: LogPort): void {
    for (const consumer of this.held) if (consumer.feed.log === log) consumer.trimmed();
  }

  begunAnew(log: LogPort): void {
    this.feedOf(log).beginAnew();
    for (const consumer of this.held) if (consumer.feed.log === log) consumer.isLost = true;
  }

  /** Whose streams read this log. */
  readersOf(log: LogPort): Set<Client> {
    const readers = new Set<Client>();
    for (const { feed, members } of this.held) {
      if (feed.log !== log) continue;
      for (const { subscription } of members.values()) readers.add(subscription.main.client);
    }
    return readers;
  }

  storeFailed(log: LogPort | null): void {
    if (log === null) return;
    this.latencies.lost(log);
    this.deadLetters.lost(log);
    for (const { feed, reader } of this.held) if (feed.log === log) reader.goBackTo(log.head);
  }

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
    this.deadLetters.forget(consumer);
    if (consumer.name === null) return;
    this.byName.delete(consumer.name);
    this.bound.remove(consumer.boundTo, consumer.name);
  }

  /** Nobody holds it: back into the store, if it has a name. */
  private put(consumer: Consumer): void {
    const kept = this.kept.get(consumer);
    const { name } = consumer;
    if (this.deadLetters.burialsOf(consumer).length > 0) return; // its dead letters come first
    this.forget(consumer);
    if (kept === undefined || name === null) return;
    // Nothing beyond its position was delivered by this broker, and nothing will be: less doubt is left for whoever comes next.
    const reservedBelow = Math.max(consumer.position, consumer.suspectBelow);
    const record = { ...this.recordOf(consumer, kept), reservedBelow, leftAt: this.wallMs };
    this.broker.store.state.put(DURABLE_KEYS + name, encodeDurable(record));
    this.rest(name, record, this.wallMs);
  }

  /** It waits in the store, and expires. */
  private rest(name: string, record: DurableRecord, leftAt: number): void {
    const feed = this.feeds.find(({ log }) => log.name === record.log);
    const durable = new IdleDurable(name, feed?.log ?? null, record);
    this.bound.add(record.session, name);
    // A wall clock that was set back gives it more time, never less.
    const goneMs = Math.max(0, this.wallMs - leftAt);
    this.idle.add(durable, Math.max(0, record.options.expiryMs - goneMs));
  }

  private takeUp(name: string): Consumer | undefined {
    const durable = this.idle.get(name);
    if (durable === undefined) return undefined;
    this.forgetIdle(durable);
    const bytes = this.broker.store.state.get(DURABLE_KEYS + name);
    const record = bytes === undefined ? null : decodeDurable(bytes);
    if (record === null) return undefined;
    const feed = this.feeds.find(({ log }) => log.name === record.log);
    if (feed === undefined) return undefined;
    const group = isShared(name) ? name : null;
    const consumer = new Consumer({ name, group }, feed, record.position, record.options, this);
    if (group !== null && this.broker.cluster !== null)
      consumer.awaitsMembersUntilMs = this.nowMs + AWAIT_MEMBERS_MS;
    consumer.principal = record.owner;
    consumer.boundTo = record.session;
    this.bound.add(record.session, name);
    for (const filter of record.filters) consumer.filters.add(filter);
    const isBehind = record.position <= feed.log.head || feed.log.elsewhere !== undefined; // where it ends there is not always known
    if (feed.log.epoch === record.epoch && isBehind) {
      for (const { offset, count, attempts } of record.unsettled) {
        for (let i = 0; i < count; i++) consumer.inFlight.restore(offset + i, attempts);
      }
      consumer.suspectBelow = record.reservedBelow;
    } else {
      consumer.isLost = true;
    }
    this.keep(consumer, record);
    for (const { offset } of record.burials) consumer.condemn(offset);
    this.deadLetters.restore(consumer, consumer.isLost ? [] : record.burials);
    return this.byName.get(name) ?? this.takeUp(name);
  }

  private save(consumer: Consumer, kept: Kept): void {
    const { state } = this.broker.store;
    kept.isDirty = false;
    state.put(DURABLE_KEYS + consumer.name, encodeDurable(this.recordOf(consumer, kept)));
    kept.reservation.written(state.written);
  }

  private recordOf(consumer: Consumer, kept: Kept): DurableRecord {
    const { inFlight, feed, filters, options, principal } = consumer;
    // It may begin behind what the log is still storing. A crash could take that back, and the cursor must not be ahead of the log then. [BRK-69]
    // What other nodes have read is in a log that is kept elsewhere, whether this one knows that or not. [CLU-33]
    const { synced, elsewhere } = feed.log;
    const position = elsewhere === undefined ? Math.min(consumer.position, synced) : consumer.position;
    return {
      log: feed.log.name,
      epoch: consumer.isLost ? 0 : feed.log.epoch, // 0: none that there is
      number: kept.number,
      lastBurial: kept.lastBurial,
      options,
      filters: [...filters],
      leftAt: 0,
      position,
      reservedBelow: kept.reservation.below,
      unsettled: inFlight.runs(),
      burials: this.deadLetters.burialsOf(consumer),
      session: consumer.boundTo,
      owner: principal,
    };
  }

  private tellPositions(): void {
    for (const { members } of this.held) for (const member of members.values()) member.tellPosition();
    if (this.held.size > 0) this.broker.timers.set(this.positionTimer, this.nowMs + POSITION_MS);
  }

  private dropIdle(durable: IdleDurable): void {
    this.idle.remove(durable);
    this.over(durable);
  }

  /** Nothing is kept of one that nobody held. */
  private over({ name, number, session }: IdleDurable): void {
    this.bound.remove(session, name);
    this.broker.store.state.delete(DURABLE_KEYS + name);
    this.broker.store.forgetSession(number);
    this.onOver(name);
  }

  private forgetIdle(durable: IdleDurable): void {
    this.idle.remove(durable);
    this.bound.remove(durable.session, durable.name);
  }
}

/** Acknowledgements may be forgotten by a crash for so long. */
const FLUSH_MS = 20;
/** A member of a group that seeks the group has found it by then. */
const AWAIT_MEMBERS_MS = 15_000;
/** A subscriber for whom nothing comes is told where it is. [BRK-63] */
const POSITION_MS = 5_000;
/** Topics of a log whose readers are remembered. */
const ROUTES_MAX = 2_048;
/** Numbers of sessions are below. */
export const DURABLE_NUMBERS_FROM = 2 ** 40;
const NUMBERS_KEY = 'durables/numbers';
