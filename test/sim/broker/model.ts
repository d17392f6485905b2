/**
 * What a broker promises, on a page: the oracle of the simulation. It hears what applications publish, what they are told and what they get, and throws a
 * {@link Violation} as soon as that cannot be; {@link Model.missing} says what has not come and must.
 *
 * A *shelf* is what a promise of delivery is made to: a durable subscription, whoever holds it, a shared group, or one subscription of one session. A *holder* is one
 * subscription object of one process.
 */

import { slowMatches } from '../../pubsub/slow-topic.ts';
import { Violation } from '../invariants.ts';

export interface Publication {
  readonly text: string;
  readonly publisher: string;
  readonly topic: string;
  /** Rises within publisher and topic. */
  readonly number: number;
  readonly qos: 0 | 1;
  readonly atMs: number;
  readonly ttlMs: number;
  /** Its publisher's session may end before it is answered: then it can be stored twice. */
  readonly isUnguarded: boolean;
  /** The broker publishes it, in the place of its publisher. */
  readonly isWill: boolean;
  /** It is its topic's last value, until the next is. */
  readonly isRetained: boolean;
  /** When its publisher was told that it is stored; null as long as it was not. */
  storedAtMs: number | null;
  /** From then on no broker sends it; counted from when the broker read it. */
  expiresAtMs: number;
  /** Until then it is owed. Later, where the wall clock was set back, a broker may have it, or have given it up in the life before. */
  owedUntilMs: number;
  /** In which of the lives of the broker it was read last; -1: in none. */
  readInLife: number;
  /** Connections on which a broker has read it. */
  readonly ways: Set<number>;
  /** By client: the connection on which it was sent to it last. */
  readonly sentOn: Map<string, number>;
}

/** A message as an application gets it. */
export interface Delivered {
  readonly topic: string;
  text(): string;
  readonly offset?: number | undefined;
  readonly epoch?: number | undefined;
  readonly redelivered?: boolean | undefined;
  /** It is sent because of a new subscription. */
  readonly retained?: boolean | undefined;
}

export class Shelf {
  readonly name: string;
  readonly filter: string;
  readonly qos: 0 | 1;
  /** Members take turns, so that first deliveries have no order. */
  readonly isShared: boolean;
  /** Messages published from then on are owed. */
  sinceMs = Number.POSITIVE_INFINITY;
  /** Nobody will ever hold it again: nothing is owed. */
  isAbandoned = false;
  /** A gap was told: of messages stored before, an unknown number may be missing; or so many. */
  gapAtMs = Number.NEGATIVE_INFINITY;
  missedTold = 0;
  /** Texts of what was handled to a good end. */
  readonly handled = new Set<string>();
  /** Places (epoch:offset) that were delivered, and those without REDELIVERED. */
  readonly seen = new Set<string>();
  readonly unflagged = new Set<string>();
  /** By epoch, publisher and topic: number of the last first delivery, and whom it went to. */
  readonly lastFirst = new Map<string, { readonly number: number; readonly holder: Holder }>();
  /** What was delivered often enough is not delivered any more. */
  givesUp = false;

  constructor(name: string, filter: string, qos: 0 | 1, isShared = false) {
    this.name = name;
    this.filter = filter.replace(/^\$share\/[^/]*\//, '');
    this.qos = qos;
    this.isShared = isShared;
  }
}

export class Holder {
  readonly shelf: Shelf;
  readonly client: string;
  /** By life of the broker, publisher, its connection and the holder's, topic and QoS: number of the last QoS 0 delivery. */
  readonly lastLive = new Map<string, number>();
  /** What was published with QoS 0 and has come. */
  readonly seen = new Set<string>();

  constructor(shelf: Shelf, client = '') {
    this.shelf = shelf;
    this.client = client;
  }
}

export class Model {
  /** How long what a broker says may take to its transport, and back: where they are in several threads. */
  threadsMs = 0;
  readonly publications = new Map<string, Publication>();
  readonly shelves: Shelf[] = [];
  deliveries = 0;
  redeliveries = 0;
  /** Publications of which their publisher was told that they are not stored, as far as the broker knows. */
  refused = 0;
  /** The epoch that all deliveries had; undefined as long as none has come. Only for whoever knows that there is one. */
  soleEpoch: number | undefined;
  private readonly nowMs: () => number;
  /** What stands at a place (epoch:offset) of a log. */
  private readonly places = new Map<string, string>();
  /** Places of a message in an epoch. */
  private readonly copies = new Map<string, string>();
  private readonly numbers = new Map<string, number>();
  /** Lives of the broker so far, when the last ended, and until when all that it kept is lost. */
  private life = 0;
  private diedAtMs = Number.NEGATIVE_INFINITY;
  private forgottenMs = Number.NEGATIVE_INFINITY;
  /** By how much the wall clock was set back in this life of the broker, or since it died. */
  private setBackMs = 0;

  constructor(nowMs: () => number) {
    this.nowMs = nowMs;
  }

  /** The next message of a publisher on a topic. */
  publish(
    publisher: string,
    topic: string,
    qos: 0 | 1,
    { ttlMs = Number.POSITIVE_INFINITY, isUnguarded = false, isWill = false, isRetained = false } = {},
  ): Publication {
    const number = (this.numbers.get(`${publisher} ${topic}`) ?? 0) + 1;
    this.numbers.set(`${publisher} ${topic}`, number);
    const text = `${publisher} ${topic} ${number}`;
    // Member by member: V8 spreads objects slowly, and was slow to set a member of what came of it, which was 7 % of the time of a world.
    const publication: Publication = {
      text,
      publisher,
      topic,
      number,
      qos,
      ttlMs,
      isUnguarded,
      isWill,
      isRetained,
      atMs: this.nowMs(),
      storedAtMs: null,
      readInLife: -1,
      expiresAtMs: Number.POSITIVE_INFINITY,
      owedUntilMs: Number.POSITIVE_INFINITY,
      ways: new Set<number>(),
      sentOn: new Map<string, number>(),
    };
    this.publications.set(text, publication);
    return publication;
  }

  /** A broker reads it from the transport; what it has to live is counted from then on. */
  arrives(text: string, ttlMs: number, connection = 0): void {
    const publication = this.publications.get(text);
    if (publication === undefined) return;
    publication.ways.add(connection);
    if (ttlMs > publication.ttlMs)
      throw new Violation(`"${text}" has ${ttlMs} ms to live, and was given ${publication.ttlMs}`);
    const expiresAtMs = this.nowMs() + ttlMs;
    // What was read before may have died with its broker, and nobody counts the time that a copy is on its way: then what comes now may live longer. In the same life the first stands.
    if (publication.readInLife < 0) publication.expiresAtMs = expiresAtMs;
    else if (publication.readInLife < this.life)
      publication.expiresAtMs = Math.max(publication.expiresAtMs, expiresAtMs);
    publication.owedUntilMs = Math.min(publication.owedUntilMs, expiresAtMs);
    publication.readInLife = this.life;
  }

  /** Its publisher was told that it is stored, at this place of a log where it was told one. */
  stored(publication: Publication, epoch: number | undefined, offset: number | undefined): void {
    publication.storedAtMs = this.nowMs();
    if (epoch !== undefined && offset !== undefined) this.stands(publication, epoch, offset);
  }

  acknowledgedOf(name: string): number {
    let count = 0;
    for (const { publisher, storedAtMs } of this.publications.values())
      if (publisher === name && storedAtMs !== null) count++;
    return count;
  }

  ageMs({ atMs }: Publication): number {
    return this.nowMs() - atMs;
  }

  /** Somebody sets the wall clock. A broker that lives notices nothing; what it has stored lives as much longer, or shorter, in the next. */
  clockSet(byMs: number): void {
    this.setBackMs -= byMs;
  }

  /** The broker's process is gone; with all that it stored, where that was in its memory. */
  brokerDied(isAllLost: boolean): void {
    this.life++;
    this.diedAtMs = this.nowMs();
    this.liveLonger();
    if (!isAllLost) return;
    this.forgottenMs = this.nowMs();
    for (const shelf of this.shelves) shelf.sinceMs = Number.POSITIVE_INFINITY;
  }

  /** The next life begins, by the wall clock as it is now. */
  brokerBegan(): void {
    this.liveLonger();
  }

  /** Somebody holds the shelf, who was told whether it goes on where it was. */
  held(shelf: Shelf, isRecovered: boolean): void {
    if (shelf.sinceMs === Number.POSITIVE_INFINITY) {
      if (isRecovered && shelf.qos === 1)
        throw new Violation(`${shelf.name} was told that it goes on, and there was nothing`);
      shelf.sinceMs = this.nowMs();
    } else if (!isRecovered) shelf.gapAtMs = this.nowMs();
  }

  /** The holder was told that messages are missing. */
  gap(shelf: Shelf, missed: number | 'unknown'): void {
    if (missed === 'unknown') shelf.gapAtMs = this.nowMs();
    else shelf.missedTold += missed;
  }

  /** The holder was told that so many are not delivered to it, and why. */
  missed(shelf: Shelf, count: number, reason: string): void {
    if (reason === 'rejected') shelf.missedTold += count;
  }

  /** Its client is gone for good, and the broker had taken this will on its last connection: it is to come, as if it were stored now. */
  died(will: Publication): void {
    will.storedAtMs = this.nowMs();
  }

  /** Broken where a topic has not its last value: that which was stored last, or one of which its publisher never heard that. @param values - of each topic, as somebody was told it */
  falseValues(values: ReadonlyMap<string, string>): string[] {
    const faults: string[] = [];
    const byTopic = new Map<string, Publication[]>();
    for (const publication of this.publications.values())
      if (publication.isRetained)
        byTopic.set(publication.topic, [...(byTopic.get(publication.topic) ?? []), publication]);
    for (const [topic, all] of byTopic) {
      const last = all.findLastIndex(({ storedAtMs }) => storedAtMs !== null);
      const text = values.get(topic);
      const isTrue =
        text === undefined
          ? last < 0
          : all.some((each, i) => each.text === text && (i >= last || each.storedAtMs === null));
      if (!isTrue) faults.push(`${topic} has "${text}" and not "${all[last]?.text}"`);
    }
    return faults;
  }

  /** A broker hands `text` to the transport. @param isThere - where it is a will: whether its client still has the connection on which it has left it */
  leaves(text: string, client = '', connection = 0, isThere = false): void {
    const publication = this.publications.get(text);
    if (publication?.isWill && isThere)
      throw new Violation(`the will "${text}" is published, and its client is connected`);
    publication?.sentOn.set(client, connection);
    const late = this.nowMs() - (publication?.expiresAtMs ?? Number.POSITIVE_INFINITY);
    if (late >= this.threadsMs)
      throw new Violation(`"${text}" left the broker ${late} ms after its time to live`);
  }

  /** An application gets a message. */
  delivered(holder: Holder, message: Delivered): Publication {
    const { shelf, client, lastLive, seen } = holder;
    const text = message.text().trimEnd();
    const { topic, epoch = 0, offset = 0, redelivered = false } = message;
    const fail = (what: string): never => {
      const place = offset === 0 ? '' : ` at ${epoch}:${offset}${redelivered ? ' REDELIVERED' : ''}`;
      throw new Violation(`${shelf.name} (${shelf.filter}) got "${text}"${place}, ${what}`);
    };
    const publication = this.publications.get(text) ?? fail('which nobody published');
    const { publisher, number, qos, owedUntilMs, isUnguarded, isWill } = publication;
    if (topic !== publication.topic || !slowMatches(shelf.filter, topic))
      fail(`which was published to ${publication.topic}`);
    this.deliveries++;
    if (message.retained) return publication; // a repetition, however often somebody subscribes
    if (offset === 0) {
      const { ways, sentOn } = publication;
      const flow = `${this.life} ${publisher} ${[...ways].at(-1)} ${sentOn.get(client)} ${topic} ${qos}`;
      const last = lastLive.get(flow) ?? 0;
      // At most once, and in order as long as both stay where they are; but what a broker handed on and had not stored when it died comes to the next one again.
      const mayComeAgain =
        qos === 1 && (isUnguarded || isWill || publication.atMs < this.diedAtMs || ways.size > 1);
      if (qos === 0 && seen.has(text)) fail('for the second time');
      seen.add(text);
      if (redelivered || (number <= last && !mayComeAgain)) fail(`behind number ${last}`);
      lastLive.set(flow, number);
      return publication;
    }
    if (shelf.qos === 0) fail('with an offset, at QoS 0');
    this.soleEpoch ??= epoch;
    const place = this.stands(publication, epoch, offset);
    if (!redelivered && shelf.unflagged.has(place)) fail('for the second time without REDELIVERED');
    if (redelivered) this.redeliveries++;
    else shelf.unflagged.add(place);
    if (shelf.seen.has(place)) return publication;
    shelf.seen.add(place);
    const flow = `${epoch} ${publisher} ${topic}`;
    const last = shelf.lastFirst.get(flow);
    if (last !== undefined && number <= last.number) {
      // On its way to a holder from whom the shelf was taken, while the next one is not sent what was given up or has expired.
      const mayBeGivenUp = (shelf.givesUp && redelivered) || owedUntilMs <= this.nowMs();
      if (shelf.isShared || isUnguarded || (mayBeGivenUp && last.holder !== holder)) return publication;
      fail(`for the first time, behind number ${last.number}`);
    }
    shelf.lastFirst.set(flow, { number, holder });
    return publication;
  }

  /** What was promised and has not come: at the end, when there was time enough. */
  missing(): string[] {
    const missing: string[] = [];
    for (const shelf of this.shelves) {
      if (shelf.qos === 0 || shelf.isAbandoned) continue;
      const owed = [...this.publications.values()].filter((publication) => this.isOwed(shelf, publication));
      if (owed.length <= shelf.missedTold) continue;
      for (const { text } of owed) missing.push(`${shelf.name} (${shelf.filter}) has not got "${text}"`);
    }
    return missing;
  }

  /** By as much as the clock was set back since the broker began, or died. */
  private liveLonger(): void {
    const byMs = Math.max(0, this.setBackMs);
    this.setBackMs = 0;
    const nowMs = this.nowMs();
    for (const publication of this.publications.values()) {
      publication.expiresAtMs += byMs;
      if (publication.owedUntilMs > nowMs) publication.owedUntilMs += byMs;
    }
  }

  private isOwed(shelf: Shelf, { text, topic, storedAtMs, atMs, owedUntilMs }: Publication): boolean {
    if (storedAtMs === null || shelf.handled.has(text) || !slowMatches(shelf.filter, topic)) return false;
    if (storedAtMs <= this.forgottenMs || storedAtMs <= shelf.gapAtMs) return false;
    return atMs > shelf.sinceMs && owedUntilMs > this.nowMs();
  }

  /** A message is at this place: nothing else was ever, and it is at no other of the epoch. */
  private stands({ text, isUnguarded }: Publication, epoch: number, offset: number): string {
    const place = `${epoch}:${offset}`;
    const before = this.places.get(place) ?? text;
    if (before !== text) throw new Violation(`offset ${place} was "${before}" and is "${text}"`);
    this.places.set(place, text);
    const copy = this.copies.get(`${epoch} ${text}`) ?? place;
    if (copy !== place && !isUnguarded) throw new Violation(`"${text}" is stored at ${copy} and at ${place}`);
    this.copies.set(`${epoch} ${text}`, place);
    return place;
  }
}
