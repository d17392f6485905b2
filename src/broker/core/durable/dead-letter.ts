/**
 * What becomes of messages that are not delivered again: each is stored once under its dead-letter topic, with where it was and why it is there. [BRK-68]
 *
 *     1. The store knows that it is to be stored, under which number (`Burial`). Of what has no name, whose cursor is gone with the broker, it does not have to.
 *     2. It is appended to the log of that topic, under that number: a log takes a number once, also when the broker was started anew in between.
 *     3. When the log has it, the message that it was is settled.
 *
 * What the log does not take is tried again.
 */

import { DropReason, HEADER_BYTES, topicOf } from '../../../pubsub/command.ts';
import { AppendFault, type LogPort, type StatePort, type StoredRecord } from '../store-port.ts';
import { Timer, type Timers } from '../timers.ts';
import type { Consumer } from './consumer.ts';
import { asDeadLetter } from './dead-letter-form.ts';
import type { Burial } from './durable-record.ts';

/** What dead letters need of those who keep consumers. */
export interface Undertaker {
  readonly nowMs: number;
  readonly wallMs: number;
  readonly timers: Timers;
  readonly counters: { deadLetters: number; rejected: number };
  readonly state: StatePort;
  /** The log of a topic. */
  logOf(topic: string): LogPort;
  /** Number under which logs know the dead letters of a consumer; 0: it has none. */
  numberOf(consumer: Consumer): number;
  /** A log has the dead letter of this number, or a later one. */
  hasBuried(consumer: Consumer, id: number): boolean;
  /** The next number of a dead letter of this consumer. */
  nextBurialId(consumer: Consumer): number;
  /** Writes the consumer, with what is to be buried. Returns the number of that change. */
  write(consumer: Consumer): number;
  /** Nothing of this consumer waits to be buried any more. */
  buried(consumer: Consumer): void;
  /** A dead letter is in a log; those are to get it who read none. */
  offer(command: Uint8Array): void;
}

const GraveState = { WRITTEN: 0, APPENDED: 1 } as const;
type GraveState = (typeof GraveState)[keyof typeof GraveState];

/** One message on its way. */
interface Grave extends Burial {
  id: number;
  state: GraveState;
  /** The change of the store with which it may be appended. */
  ticket: number;
  log: LogPort | null;
  /** When the log has everything below, the log has it; infinite: it is on its way there. */
  until: number;
}

/** What is on its way of one consumer. It is written as a whole, so not while the store still writes what it was before. */
interface Graveyard {
  readonly graves: Grave[];
  /** The change of the store with which it was written last. */
  ticket: number;
  /** There are some that are not written. */
  isFresh: boolean;
}

export class DeadLetters {
  /** Something was given up since {@link goOn} was called. */
  hasNews = false;
  private readonly owner: Undertaker;
  private readonly graves = new Map<Consumer, Graveyard>();
  /** On their way to a log that is kept elsewhere, by ticket. */
  private readonly placing = new Map<LogPort, Map<number, { grave: Grave; command: Uint8Array }>>();
  private readonly retry = new Timer(() => this.goOn());

  constructor(owner: Undertaker) {
    this.owner = owner;
  }

  get isEmpty(): boolean {
    return this.graves.size === 0;
  }

  /** What is on its way of this consumer, as the store is to keep it. */
  burialsOf(consumer: Consumer): readonly Burial[] {
    return this.graves.get(consumer)?.graves ?? NONE;
  }

  /** A message of `consumer` is given up. */
  add(consumer: Consumer, offset: number, attempts: number, reason: string): void {
    const { owner } = this;
    if (consumer.options.deadLetter === null) {
      this.reject(consumer, offset);
      return;
    }
    const id = owner.numberOf(consumer) === 0 ? 0 : owner.nextBurialId(consumer);
    const grave = {
      ...{ id, offset, attempts, reason },
      state: GraveState.WRITTEN,
      ticket: id > 0 ? UNWRITTEN : 0,
      log: null,
      until: 0,
    };
    let graveyard = this.graves.get(consumer);
    if (graveyard === undefined) {
      graveyard = { graves: [], ticket: 0, isFresh: false };
      this.graves.set(consumer, graveyard);
    }
    graveyard.graves.push(grave);
    graveyard.isFresh ||= id > 0;
    this.hasNews = true;
  }

  /** The broker has begun anew with these on their way: whether they are in their log, that log knows. */
  restore(consumer: Consumer, burials: readonly Burial[]): void {
    if (burials.length === 0) return;
    const graves = burials.map((burial) => ({
      ...burial,
      ...{ state: GraveState.WRITTEN, ticket: 0, log: null, until: 0 },
    }));
    this.graves.set(consumer, { graves, ticket: 0, isFresh: false });
    this.hasNews = true;
  }

  /** Of a consumer that is no more. */
  forget(consumer: Consumer): void {
    this.graves.delete(consumer);
  }

  /** A log has lost what it had not stored. */
  lost(log: LogPort): void {
    for (const [consumer, graveyard] of this.graves) {
      for (const grave of graveyard.graves) {
        if (grave.log !== log || grave.state !== GraveState.APPENDED || grave.until <= log.synced) continue;
        grave.state = GraveState.WRITTEN;
        if (grave.id === 0) continue;
        grave.id = this.owner.nextBurialId(consumer); // the log may remember the former one
        grave.ticket = UNWRITTEN;
        graveyard.isFresh = true;
      }
    }
    this.hasNews = true;
    this.tryLater();
  }

  /** What was on its way to a log is there; or is not, and is tried again. */
  placed(log: LogPort, ticket: number, offset: number, isDuplicate: boolean): void {
    const placed = this.placing.get(log)?.get(ticket);
    if (placed === undefined) return;
    this.placing.get(log)?.delete(ticket);
    const { grave, command } = placed;
    if (offset < 0) {
      grave.state = GraveState.WRITTEN;
      this.tryLater();
      return;
    }
    grave.until = offset + 1;
    this.hasNews = true;
    if (isDuplicate) return;
    this.owner.counters.deadLetters++;
    this.owner.offer(command);
  }

  /** Something was stored or loaded: takes each a step further that can. */
  goOn(): void {
    this.hasNews = false;
    for (const [consumer, graveyard] of this.graves) {
      const { graves } = graveyard;
      this.write(consumer, graveyard);
      let kept = 0;
      // In their order, for the last that is in a log tells that those before are: behind one that has to wait none is appended.
      let isHeldUp = false;
      // What is given up meanwhile comes behind.
      for (let i = 0; i < graves.length; i++) {
        const grave = graves[i];
        const mayGoOn = !isHeldUp || grave.state === GraveState.APPENDED;
        if (mayGoOn && this.isBuried(consumer, grave)) consumer.bury(grave.offset);
        else graves[kept++] = grave;
        isHeldUp ||= graves[kept - 1] === grave && grave.state === GraveState.WRITTEN;
      }
      graves.length = kept;
      if (kept > 0) continue;
      this.graves.delete(consumer);
      this.owner.buried(consumer);
    }
  }

  private write(consumer: Consumer, graveyard: Graveyard): void {
    const { owner } = this;
    if (!graveyard.isFresh || owner.state.synced < graveyard.ticket) return;
    graveyard.isFresh = false;
    graveyard.ticket = owner.write(consumer);
    for (const grave of graveyard.graves) if (grave.ticket === UNWRITTEN) grave.ticket = graveyard.ticket;
  }

  /** True when the message is to be settled. */
  private isBuried(consumer: Consumer, grave: Grave): boolean {
    const { owner } = this;
    if (grave.state === GraveState.WRITTEN && owner.state.synced >= grave.ticket) {
      const record = consumer.read(grave.offset);
      if (record === null) return false; // being loaded
      if (record === undefined) return true; // its log has dropped it
      return this.append(consumer, grave, record);
    }
    return grave.state === GraveState.APPENDED && grave.log !== null && grave.log.synced >= grave.until;
  }

  private append(consumer: Consumer, grave: Grave, record: StoredRecord): boolean {
    const { owner } = this;
    const topic = consumer.options.deadLetter;
    if (topic === null || topicOf(record.command) === topic) {
      // A dead letter that dies has nowhere to go: it would come back here for ever.
      owner.counters.rejected++;
      consumer.tell(DropReason.REJECTED);
      return true;
    }
    if (grave.id > 0 && owner.hasBuried(consumer, grave.id)) return true;
    const log = owner.logOf(topic);
    const { offset: diedAt, attempts, reason } = grave;
    const origin = {
      epoch: consumer.feed.log.epoch,
      offset: diedAt,
      topic: topicOf(record.command),
      attempts,
      reason,
    };
    const command = asDeadLetter(record, topic, origin);
    const offset = log.append({
      command,
      topicEnd: HEADER_BYTES + Buffer.byteLength(topic),
      session: grave.id === 0 ? 0 : owner.numberOf(consumer),
      sequence: 0,
      id: grave.id,
      expiresAt: 0,
      publishedAt: owner.wallMs,
    });
    if (offset === AppendFault.DUPLICATE) return true;
    if (offset < 0 && offset !== AppendFault.PENDING) {
      this.tryLater();
      return false;
    }
    grave.state = GraveState.APPENDED;
    grave.log = log;
    if (offset === AppendFault.PENDING) {
      grave.until = Number.POSITIVE_INFINITY;
      this.await(log, grave, command);
      return false;
    }
    owner.counters.deadLetters++;
    grave.until = offset + 1;
    owner.offer(command);
    return log.synced >= grave.until;
  }

  private await(log: LogPort, grave: Grave, command: Uint8Array): void {
    const placing = this.placing.get(log) ?? new Map();
    this.placing.set(log, placing);
    placing.set(log.elsewhere?.lastTicket ?? 0, { grave, command });
  }

  private reject(consumer: Consumer, offset: number): void {
    this.owner.counters.rejected++;
    consumer.tell(DropReason.REJECTED);
    consumer.bury(offset);
  }

  private tryLater(): void {
    if (this.retry.heapIndex < 0) this.owner.timers.set(this.retry, this.owner.nowMs + RETRY_MS);
  }
}

const NONE: readonly Burial[] = [];
const UNWRITTEN = Number.POSITIVE_INFINITY;
const RETRY_MS = 1_000;
