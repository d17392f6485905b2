import { Overflow } from '../pubsub/command.ts';
import { DeliveryQueue, type QueuePolicy } from './delivery-queue.ts';
import type { Link } from './link.ts';
import type { BrokerCounters } from './metrics.ts';
import type { Session } from './session.ts';

/** What a stream is for; its first command decides. [BRK-3] */
export const Role = { UNDECIDED: 0, PUBLISHING: 1, SUBSCRIBING: 2 } as const;
export type Role = (typeof Role)[keyof typeof Role];

/**
 * One stream of a client. As a subscriber it queues what its link does not take at once, and knows which publishing channels wait for
 * that queue. As a publisher it is stopped while it waits for at least one such queue. Being stopped is a matter of the publishing channel
 * alone: a subscribing channel of the same client is still read and written. [BRK-22]
 */
export class Channel {
  readonly session: Session;
  readonly queue: DeliveryQueue;
  /** Filters held by this stream. */
  readonly filters = new Set<string>();
  /** What its first accepted SUBSCRIBE asked for. */
  policy: QueuePolicy | null = null;
  role: Role = Role.UNDECIDED;
  closed = false;
  /** Number of the last message offered to this channel, so that overlapping filters offer it once. */
  lastOffered = 0;
  private readonly link: Link;
  private readonly counters: BrokerCounters;
  private writable = true;
  /** Reasons to leave the link unread. */
  private holds = 0;
  private heldForAnswers = false;
  /** Publishers that are stopped for this queue, each with the message that waits to enter it, the first one first. */
  private waiting: Map<Channel, Uint8Array> | null = null;
  private waitsFor: Set<Channel> | null = null;

  constructor(session: Session, link: Link, counters: BrokerCounters) {
    this.session = session;
    this.queue = new DeliveryQueue(session);
    this.link = link;
    this.counters = counters;
  }

  /** Stopped, as a publisher, by a full queue. */
  get stopped(): boolean {
    return this.waitsFor !== null && this.waitsFor.size > 0;
  }

  /** Not read, for whatever reason. */
  get held(): boolean {
    return this.holds > 0;
  }

  /** Nothing is queued, and nothing waits to be. */
  get idle(): boolean {
    return this.queue.empty && this.waiting === null;
  }

  /** True when a message need not be queued: {@link send} it. */
  get ready(): boolean {
    return this.writable && this.queue.empty;
  }

  send(message: Uint8Array): void {
    this.counters.messagesOut++;
    this.counters.bytesOut += message.length;
    this.writable = this.link.send(message);
  }

  /** Queues a message behind those before it. False when it has to wait, see {@link stop}. [BRK-20] */
  enqueue(message: Uint8Array): boolean {
    if (this.queue.overflow === Overflow.BLOCK) {
      if (this.queue.full || this.waiting !== null) return false;
      this.queue.push(message);
      return true;
    }
    const dropped = this.queue.push(message);
    if (this.queue.overflow === Overflow.DROP_OLDEST) this.counters.droppedOldest += dropped;
    else this.counters.droppedNewest += dropped;
    return true;
  }

  /** Sends an answer, behind what is queued for this stream. [BRK-4, BRK-21] */
  answer(bytes: Uint8Array): void {
    if (this.ready) {
      this.writable = this.link.send(bytes);
      return;
    }
    this.queue.pushAnswer(bytes);
    if (!this.heldForAnswers && this.queue.answerCount >= ANSWERS_MAX) {
      this.heldForAnswers = true;
      this.hold();
    }
  }

  /** The link takes messages again. */
  drained(): void {
    this.writable = true;
    this.sendQueued();
    if (this.waiting !== null && this.queue.low) this.admitWaiting(this.waiting);
    if (this.heldForAnswers && this.queue.answerCount <= ANSWERS_MAX / 2) {
      this.heldForAnswers = false;
      this.release();
    }
  }

  /** Stops `publisher` until this channel's queue has drained and taken its message. [BRK-18] */
  stop(publisher: Channel, message: Uint8Array): void {
    this.waiting ??= new Map();
    this.waiting.set(publisher, message);
    publisher.waitsFor ??= new Set();
    publisher.waitsFor.add(this);
    publisher.hold();
    this.counters.publisherStops++;
  }

  /** Discards the waiting messages that are `unwanted`, and lets their publishers go on. [BRK-15] */
  forgetWaiting(unwanted: (message: Uint8Array) => boolean): void {
    if (this.waiting === null) return;
    for (const [publisher, message] of this.waiting) {
      if (!unwanted(message)) continue;
      this.forget(publisher);
      publisher.goOn(this);
    }
  }

  /** Leaves the link unread until {@link release} was called as often. */
  hold(): void {
    if (this.holds++ === 0) this.link.pause();
  }

  release(): void {
    if (--this.holds === 0 && !this.closed) this.link.resume();
  }

  /** Ends the broker's direction, behind what was sent. */
  end(): void {
    this.link.end();
  }

  /** Forgets what is queued and what waits, on either side, and lets the publishers that wait for it go on. [BRK-5] */
  close(): void {
    this.closed = true;
    this.counters.discarded += this.queue.messageCount;
    this.queue.clear();
    if (this.waitsFor !== null) {
      for (const subscriber of this.waitsFor) subscriber.forget(this);
      this.waitsFor = null;
    }
    this.forgetWaiting(() => true);
  }

  /**
   * Sends waiting messages while the link takes them, then queues some until the queue is full again, and lets their publishers go on.
   * What is sent needs no room in the queue, so a client that is at its bound by other queues still gets what it reads. [BRK-38]
   */
  private admitWaiting(waiting: Map<Channel, Uint8Array>): void {
    for (const [publisher, message] of waiting) {
      if (this.ready) this.send(message);
      else if (this.queue.full) return;
      else this.queue.push(message);
      waiting.delete(publisher);
      publisher.goOn(this);
    }
    this.waiting = null;
  }

  private goOn(subscriber: Channel): void {
    this.waitsFor?.delete(subscriber);
    this.release();
  }

  private forget(publisher: Channel): void {
    if (this.waiting === null) return;
    this.counters.discarded++;
    this.waiting.delete(publisher);
    if (this.waiting.size === 0) this.waiting = null;
  }

  private sendQueued(): void {
    while (this.writable && !this.queue.empty) {
      if (this.queue.answerIsNext) this.writable = this.link.send(this.queue.shift());
      else this.send(this.queue.shift());
    }
  }
}

/** Unsent answers at which a stream is no longer read. [BRK-21] */
const ANSWERS_MAX = 64;
