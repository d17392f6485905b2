/**
 * What a node has changed of last values and the engine has not taken yet. A topic has one change under way, which is to take the place of what was there when it was made, and behind
 * it the latest that waits; so two nodes that change a topic at once decide the same, and a node that was cut off does not bring back what others have replaced. [CLU-45]
 *
 *     WAITING ── handed over, to take the place of a certain change ──> SENT ── the engine has taken it ──> done
 *     SENT ── another change is there ──> LOOKING ── that is earlier ──> WAITING, to take its place
 *                                         LOOKING ── that is later ──> outdone: nothing becomes of it
 *     SENT, LOOKING ── no answer, or the engine cannot be reached ──> WAITING
 *
 * Which one is later their places in a log say. Where those do not, for one is in none, a change is later than what was there before it; but one that has waited for the engine is earlier
 * than what others have published meanwhile: a client that was with this node has gone on at another one since.
 */

import {
  comparePlaces,
  type LatestChange,
  type LogPlace,
  type MadeChange,
  type ValueChange,
} from '../../core/backplane/value-port.ts';

/** The engine that keeps the latest change of each topic. */
export interface ValueEngine {
  /** It takes something now; {@link OwnChanges.goOn} is called when it does again. */
  readonly isReady: boolean;
  readonly nowMs: number;
  /**
   * Stores a change where the latest of its topic has this revision (0: there is none), and answers with {@link OwnChanges.stored}, {@link OwnChanges.overtaken} or
   * {@link OwnChanges.refused}, or never. Returns how many bytes that are; 0: it takes none so large.
   */
  store(change: NumberedChange, revision: number, attempt: number): number;
  /** Answers with {@link OwnChanges.looked}, or never. */
  look(topic: string, number: number, attempt: number): void;
}

export interface NumberedChange {
  readonly topic: string;
  readonly number: number;
  readonly record: Uint8Array | null;
  readonly place: LogPlace | null;
  readonly isConditional: boolean;
}

/** What is told when everything before it in the order has been. */
export interface OwnChangesOwner {
  /** As {@link ValueEvents.valuePlaced}. */
  placed(topic: string, number: number, revision: number): void;
  /** As {@link ValueEvents.valueOutdone}. */
  outdone(topic: string, number: number, latest: LatestChange): void;
  /** {@link OwnChanges.synced} has moved. */
  synced(): void;
}

/** A change, and those that it has replaced before they were handed over. */
interface Waiting extends NumberedChange {
  /** Of the first of them: none of them counts as stored before this one is. */
  readonly first: number;
  /** Of what it takes the place of, as it was made. */
  readonly revision: number;
  /** For the engine, while others may have been able to reach it. */
  hasWaited: boolean;
  /** It is not handed over again: the engine does not take it, or has taken it and something later since. */
  isOver: boolean;
}

/** What a change is to take the place of. */
interface Base {
  readonly revision: number;
  readonly place: LogPlace | null;
  /** The change was made with this one known, or this one does not count as published: it was made here, or takes a value away of which the time was over. */
  readonly isBefore: boolean;
}

const State = { WAITING: 0, SENT: 1, LOOKING: 2 } as const;
type State = (typeof State)[keyof typeof State];

interface Topic {
  readonly topic: string;
  current: Waiting;
  next: Waiting | null;
  base: Base;
  state: State;
  /** Answers to an earlier one are not listened to. */
  attempt: number;
  /** When that began, and its bytes, which are on their way. */
  sinceMs: number;
  bytes: number;
  /** The latest revision that was heard of meanwhile. */
  heard: number;
}

/** What has become of a change is told when this node has heard of all others before that. */
interface Untold {
  readonly topic: string;
  readonly number: number;
  readonly revision: number;
  readonly isPlaced: boolean;
}

export class OwnChanges {
  written = 0;
  synced = 0;
  private readonly engine: ValueEngine;
  private readonly owner: OwnChangesOwner;
  private readonly topics = new Map<string, Topic>();
  /** By the number of the change that is under way. */
  private readonly underway = new Map<number, Topic>();
  /** Those that are to be handed over. */
  private readonly ready = new Set<Topic>();
  /** The first number of each change that is not done with, ascending: all before the first of them are. */
  private readonly outstanding = new Set<number>();
  /** By revision. */
  private readonly untold: Untold[] = [];
  /** All changes up to this revision have been heard of. */
  private heardUntil = 0;
  private sentBytes = 0;
  private isReachable = true;

  constructor(engine: ValueEngine, owner: OwnChangesOwner) {
    this.engine = engine;
    this.owner = owner;
  }

  get isEmpty(): boolean {
    return this.topics.size === 0;
  }

  put({ topic, record, place, revision, isConditional }: MadeChange): number {
    const number = ++this.written;
    const hasWaited = !this.isReachable;
    const change: Waiting = {
      topic,
      number,
      first: number,
      record,
      place,
      revision,
      isConditional,
      hasWaited,
      isOver: false,
    };
    const known = this.topics.get(topic);
    if (known !== undefined && isConditional) return number; // another change of this node is behind what it was to replace
    if (known === undefined) this.begin(change);
    else if (known.state === State.WAITING && !isEarlier(change, known.current)) {
      known.current = { ...change, first: known.current.first }; // what it replaces is not handed over
    } else if (known.next === null || !isEarlier(change, known.next)) {
      known.next = { ...change, first: known.next?.first ?? number };
      this.outstanding.add(known.next.first);
    }
    this.goOn();
    return number;
  }

  /** Hands over what waits, as far as the engine takes it. */
  goOn(): void {
    for (const topic of this.ready) {
      if (!this.engine.isReady || this.sentBytes >= SENT_BYTES_MAX) return;
      this.ready.delete(topic);
      this.handOver(topic);
    }
  }

  /** The engine cannot be reached: what becomes of that which is on its way is not known. */
  down(): void {
    this.isReachable = false;
    for (const topic of this.topics.values()) this.wait(topic);
  }

  up(): void {
    this.isReachable = true;
    this.goOn();
  }

  /** What was not answered in time is handed over again. */
  tick(): void {
    const { nowMs } = this.engine;
    for (const topic of this.underway.values()) if (nowMs - topic.sinceMs >= ANSWER_MS) this.wait(topic);
    this.goOn();
  }

  // ---- what the engine answers ----

  /** A change has been taken, whichever attempt that was. */
  stored(number: number, revision: number): void {
    const topic = this.underway.get(number);
    if (topic === undefined) return;
    if (topic.heard > revision && topic.next === null) {
      // It was heard of what has replaced it already, and that was not taken for news because of this one.
      topic.current.isOver = true;
      this.look(topic);
      return;
    }
    this.tell({ topic: topic.topic, number, revision, isPlaced: true });
    this.done(topic, { revision, place: topic.current.place, isBefore: true });
  }

  /** It has not, for the topic has another change. */
  overtaken(number: number, attempt: number): void {
    const topic = this.underway.get(number);
    if (topic === undefined || topic.attempt !== attempt || topic.state !== State.SENT) return;
    if (topic.current.isConditional) this.done(topic, topic.base);
    else this.look(topic);
  }

  /** It has not, and will not be. */
  refused(number: number, attempt: number): void {
    const topic = this.underway.get(number);
    if (topic === undefined || topic.attempt !== attempt) return;
    topic.current.isOver = true;
    this.look(topic);
  }

  /** What the topic has. @param latest - `number` is that of this node where it has made it; null: nothing */
  looked(number: number, attempt: number, latest: ValueChange | null): void {
    const topic = this.underway.get(number);
    if (topic === undefined || topic.attempt !== attempt || topic.state !== State.LOOKING) return;
    const revision = latest?.revision ?? 0;
    if (latest !== null && revision < topic.heard) {
      this.look(topic); // more has been heard of since, and was not taken for news because of this change
    } else if (latest?.number === number) this.stored(number, revision);
    else {
      const isBefore = latest === null || latest.number > 0 || latest.isConditional;
      topic.base = { revision, place: latest?.place ?? null, isBefore };
      const { current } = topic;
      if (current.isOver || isOutdone(current, topic.base)) this.outdone(topic, latest);
      else this.requeue(topic);
    }
    this.goOn();
  }

  /** The next change of a topic has come, and is told after this. @param number - under which this node has made it, or 0 */
  heard(topic: string, revision: number, number: number): void {
    this.passed(revision - 1);
    const known = this.topics.get(topic);
    if (known !== undefined) {
      known.heard = Math.max(known.heard, revision);
      if (number > 0) this.stored(number, revision);
    }
    this.passed(revision);
  }

  /** All changes up to this one have been heard of, or what has replaced them is still to come. */
  passed(revision: number): void {
    this.heardUntil = Math.max(this.heardUntil, revision);
    for (
      let [first] = this.untold;
      first !== undefined && first.revision <= this.heardUntil;
      [first] = this.untold
    ) {
      this.untold.shift();
      if (first.isPlaced) this.owner.placed(first.topic, first.number, first.revision);
      else this.owner.outdone(first.topic, first.number, 'to come');
    }
  }

  private begin(current: Waiting): void {
    const { revision } = current;
    const topic: Topic = {
      topic: current.topic,
      current,
      next: null,
      base: { revision, place: null, isBefore: true },
      state: State.WAITING,
      attempt: 0,
      sinceMs: 0,
      bytes: 0,
      heard: 0,
    };
    this.topics.set(current.topic, topic);
    this.outstanding.add(current.first);
    this.ready.add(topic);
  }

  private handOver(topic: Topic): void {
    const { current, base } = topic;
    this.underway.set(current.number, topic);
    if (current.isOver || isOutdone(current, base)) {
      this.look(topic); // it is told what has outdone it
      return;
    }
    topic.state = State.SENT;
    topic.attempt++;
    topic.sinceMs = this.engine.nowMs;
    topic.bytes = this.engine.store(
      current,
      current.isConditional ? current.revision : base.revision,
      topic.attempt,
    );
    this.sentBytes += topic.bytes;
    if (topic.bytes > 0) return;
    current.isOver = true;
    this.look(topic);
  }

  private outdone(topic: Topic, latest: ValueChange | null): void {
    const { number } = topic.current;
    if (latest !== null && latest.revision > this.heardUntil) {
      this.tell({ topic: topic.topic, number, revision: latest.revision, isPlaced: false });
    } else this.owner.outdone(topic.topic, number, latest);
    this.done(topic, topic.base);
  }

  private tell(untold: Untold): void {
    let at = this.untold.length;
    while (at > 0 && this.untold[at - 1].revision > untold.revision) at--;
    this.untold.splice(at, 0, untold);
    this.passed(this.heardUntil);
  }

  private look(topic: Topic): void {
    this.sentBytes -= topic.bytes;
    topic.bytes = 0;
    topic.state = State.LOOKING;
    topic.attempt++;
    topic.sinceMs = this.engine.nowMs;
    this.engine.look(topic.topic, topic.current.number, topic.attempt);
  }

  /** Until it is handed over again, which may be after others have changed the topic. */
  private wait(topic: Topic): void {
    topic.current.hasWaited = true;
    if (topic.next !== null) topic.next.hasWaited = true;
    this.requeue(topic);
  }

  private requeue(topic: Topic): void {
    this.underway.delete(topic.current.number);
    this.sentBytes -= topic.bytes;
    topic.bytes = 0;
    topic.state = State.WAITING;
    topic.attempt++;
    if (topic.next !== null && !isEarlier(topic.next, topic.current)) {
      this.outstanding.delete(topic.next.first);
      topic.current = { ...topic.next, first: topic.current.first };
      topic.next = null;
    }
    this.ready.add(topic);
  }

  /** Nothing more is to be done for what is under way of a topic. @param base - what the next one finds */
  private done(topic: Topic, base: Base): void {
    const { current, next } = topic;
    this.underway.delete(current.number);
    this.outstanding.delete(current.first);
    this.sentBytes -= topic.bytes;
    topic.bytes = 0;
    if (next === null) this.topics.delete(topic.topic);
    else {
      topic.current = next;
      topic.next = null;
      topic.base = base;
      topic.state = State.WAITING;
      topic.attempt++;
      this.ready.add(topic);
    }
    const [first] = this.outstanding;
    const synced = (first ?? this.written + 1) - 1;
    if (synced > this.synced) {
      this.synced = synced;
      this.owner.synced();
    }
    this.goOn();
  }
}

function isEarlier({ place }: Waiting, other: Waiting): boolean {
  return (comparePlaces(place, other.place) ?? 0) < 0;
}

function isOutdone({ place, hasWaited }: Waiting, base: Base): boolean {
  const order = comparePlaces(place, base.place);
  if (order === undefined) return hasWaited && !base.isBefore;
  return order < 0;
}

/** A change that was not answered for so long is handed over again. */
const ANSWER_MS = 3_000;
/** Bytes of changes that are on their way. */
const SENT_BYTES_MAX = 8 * 1_024 * 1_024;
