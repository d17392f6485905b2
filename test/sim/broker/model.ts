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
  readonly retain: boolean;
  readonly atMs: number;
  readonly expiresAtMs: number;
  /** When its publisher was told that it is stored; null as long as it was not, Infinity when it was told that it is not. */
  storedAtMs: number | null;
}

/** A message as an application gets it. */
export interface Delivered {
  readonly topic: string;
  text(): string;
  readonly offset?: number | undefined;
  readonly epoch?: number | undefined;
  readonly redelivered?: boolean | undefined;
  readonly retained?: boolean | undefined;
}

export class Shelf {
  readonly name: string;
  readonly filter: string;
  readonly qos: 0 | 1;
  /** Members take turns, so that only each by itself has an order. */
  readonly isShared: boolean;
  /** Messages published from then on are owed, until {@link untilMs}. */
  sinceMs = Number.POSITIVE_INFINITY;
  untilMs = Number.POSITIVE_INFINITY;
  /** A gap was told: of messages stored before, an unknown number may be missing; or so many. */
  gapAtMs = Number.NEGATIVE_INFINITY;
  missedTold = 0;
  /** Texts of what was handled to a good end, or given up as told. */
  readonly handled = new Set<string>();
  /** Places (epoch:offset) that were delivered, and those without REDELIVERED. */
  readonly seen = new Set<string>();
  readonly unflagged = new Set<string>();
  /** By epoch, publisher and topic: number of the last first delivery. */
  readonly lastFirst = new Map<string, number>();

  constructor(name: string, filter: string, qos: 0 | 1, isShared = false) {
    this.name = name;
    this.filter = filter;
    this.qos = qos;
    this.isShared = isShared;
  }
}

export class Holder {
  readonly shelf: Shelf;
  /** By life of the broker, publisher and topic: number of the last QoS 0 delivery. */
  readonly lastLive = new Map<string, number>();

  constructor(shelf: Shelf) {
    this.shelf = shelf;
  }
}

export class Model {
  readonly publications = new Map<string, Publication>();
  readonly shelves: Shelf[] = [];
  deliveries = 0;
  redeliveries = 0;
  private readonly nowMs: () => number;
  /** What stands at a place (epoch:offset) of a log. */
  private readonly places = new Map<string, string>();
  /** Places of a message in an epoch. */
  private readonly copies = new Map<string, string>();
  private readonly numbers = new Map<string, number>();
  /** Lives of the broker so far, and until when all that it kept is lost. */
  private life = 0;
  private forgottenMs = Number.NEGATIVE_INFINITY;

  constructor(nowMs: () => number) {
    this.nowMs = nowMs;
  }

  /** The next message of a publisher on a topic. */
  publish(
    publisher: string,
    topic: string,
    qos: 0 | 1,
    { retain = false, ttlMs = Number.POSITIVE_INFINITY } = {},
  ): Publication {
    const number = (this.numbers.get(`${publisher} ${topic}`) ?? 0) + 1;
    this.numbers.set(`${publisher} ${topic}`, number);
    const text = `${publisher} ${topic} ${number}`;
    const atMs = this.nowMs();
    const publication = {
      text,
      publisher,
      topic,
      number,
      qos,
      retain,
      atMs,
      expiresAtMs: atMs + ttlMs,
      storedAtMs: null,
    };
    this.publications.set(text, publication);
    return publication;
  }

  /** Its publisher was told that it is stored, at this place of a log where it was told one. */
  stored(publication: Publication, epoch: number | undefined, offset: number | undefined): void {
    publication.storedAtMs = this.nowMs();
    if (epoch !== undefined && offset !== undefined) this.stands(publication, epoch, offset);
  }

  /** The broker's process is gone; with all that it stored, where that was in its memory. */
  brokerDied(isAllLost: boolean): void {
    this.life++;
    if (isAllLost) this.forgottenMs = this.nowMs();
  }

  /** A broker hands `text` to the transport. */
  leaves(text: string): void {
    const publication = this.publications.get(text);
    if (publication !== undefined && publication.expiresAtMs <= this.nowMs())
      throw new Violation(
        `"${text}" left the broker ${this.nowMs() - publication.expiresAtMs} ms after its time to live`,
      );
  }

  /** An application gets a message. */
  delivered({ shelf, lastLive }: Holder, message: Delivered): Publication {
    const text = message.text().trimEnd();
    const fail = (what: string): never => {
      throw new Violation(
        `${shelf.name} (${shelf.filter}) got "${text}" ${JSON.stringify(message)}, ${what}`,
      );
    };
    const publication = this.publications.get(text) ?? fail('which nobody published');
    const { topic, publisher, number } = publication;
    if (message.topic !== topic || !slowMatches(shelf.filter, topic)) fail(`which was published to ${topic}`);
    this.deliveries++;
    const { epoch = 0, offset = 0, redelivered = false, retained = false } = message;
    if (retained && !publication.retain) fail('which was never retained');
    if (retained) return publication;
    if (offset === 0) {
      const flow = `${this.life} ${publisher} ${topic}`;
      const last = lastLive.get(flow) ?? 0;
      if (redelivered || number <= last) fail(`behind number ${last}`); // at most once, and in order
      lastLive.set(flow, number);
      return publication;
    }
    if (shelf.qos === 0) fail('with an offset, at QoS 0');
    const place = this.stands(publication, epoch, offset);
    if (!redelivered && shelf.unflagged.has(place)) fail('for the second time without REDELIVERED');
    if (redelivered) this.redeliveries++;
    else shelf.unflagged.add(place);
    if (shelf.seen.has(place)) return publication;
    shelf.seen.add(place);
    const flow = `${epoch} ${publisher} ${topic}`;
    const last = shelf.lastFirst.get(flow) ?? 0;
    if (number <= last && !shelf.isShared) fail(`for the first time, behind number ${last}`);
    shelf.lastFirst.set(flow, number);
    return publication;
  }

  /** What was promised and has not come: at the end, when there was time enough. */
  missing(): string[] {
    const missing: string[] = [];
    for (const shelf of this.shelves) {
      if (shelf.qos === 0) continue;
      const owed = [...this.publications.values()].filter((publication) => this.isOwed(shelf, publication));
      if (owed.length > shelf.missedTold)
        missing.push(...owed.map(({ text }) => `${shelf.name} (${shelf.filter}) has not got "${text}"`));
    }
    return missing;
  }

  private isOwed(shelf: Shelf, { text, topic, storedAtMs, atMs, expiresAtMs }: Publication): boolean {
    if (storedAtMs === null || shelf.handled.has(text) || !slowMatches(shelf.filter, topic)) return false;
    if (storedAtMs <= this.forgottenMs || storedAtMs <= shelf.gapAtMs) return false;
    return atMs > shelf.sinceMs && storedAtMs < shelf.untilMs && expiresAtMs > this.nowMs();
  }

  /** A message is at this place: nothing else was ever, and it is at no other of the epoch. */
  private stands({ text }: Publication, epoch: number, offset: number): string {
    const place = `${epoch}:${offset}`;
    const before = this.places.get(place) ?? text;
    if (before !== text) throw new Violation(`offset ${place} was "${before}" and is "${text}"`);
    this.places.set(place, text);
    const copy = this.copies.get(`${epoch} ${text}`) ?? place;
    if (copy !== place) throw new Violation(`"${text}" is stored at ${copy} and at ${place}`);
    this.copies.set(`${epoch} ${text}`, place);
    return place;
  }
}
