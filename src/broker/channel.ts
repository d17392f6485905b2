import { Ring } from '../base/ring.ts';
import {
  Command,
  DROPPED_BYTES,
  DropReason,
  encodeDropped,
  encodePlain,
  Overflow,
} from '../pubsub/command.ts';
import type { DeliveryLanes } from './delivery-lanes.ts';
import { DeliveryQueue, type QueuePolicy } from './delivery-queue.ts';
import type { Link } from './link.ts';
import type { BrokerCounters } from './metrics.ts';
import type { Session } from './session.ts';

/** What a stream is for; its first command decides. The broker opens lanes itself. [BRK-3] [BRK-39] */
export const Role = { UNDECIDED: 0, PUBLISHING: 1, SUBSCRIBING: 2, LANE: 3 } as const;
export type Role = (typeof Role)[keyof typeof Role];

/** A message that has to wait until the client has taken what another stream brought before it. */
interface Gate {
  /** Its place in the queue. */
  readonly place: number;
  readonly behind: Channel;
  readonly mark: number;
}

/**
 * One stream of a client. As a subscriber it queues what its link does not take at once, and knows which publishing channels wait for
 * that queue. As a publisher it is stopped while it waits for at least one such queue. Being stopped is a matter of the publishing channel
 * alone: a subscribing channel of the same client is still read and written. [BRK-22]
 */
export class Channel {
  readonly session: Session;
  readonly link: Link;
  readonly queue: DeliveryQueue;
  /** Filters held by this stream. */
  readonly filters = new Set<string>();
  /** What its first accepted SUBSCRIBE asked for. */
  policy: QueuePolicy | null = null;
  role: Role = Role.UNDECIDED;
  closed = false;
  /** Number of the last message offered to this channel, so that overlapping filters offer it once. */
  lastOffered = 0;
  /** The other streams of a subscribing stream; null where its client takes none. */
  lanes: DeliveryLanes | null = null;
  /** The subscribing stream whose lane this is. */
  main: Channel | null = null;
  private readonly counters: BrokerCounters;
  private writable = true;
  /** What the session counts as this channel's part of {@link Session.transportBytes}. */
  private transportBytes = 0;
  /** Reasons to leave the link unread. */
  private holds = 0;
  private heldForAnswers = false;
  private finishing = false;
  private ended = false;
  /** Publishers that are stopped for this queue, each with the message that waits to enter it, the first one first. */
  private waiting: Map<Channel, Uint8Array> | null = null;
  private waitsFor: Set<Channel> | null = null;
  /** Messages that are missing for the client where the queue's next answer stands. */
  private tooLarge = 0;
  private gates: Ring<Gate> | null = null;
  /** Numbers of the last MARK queued and answered, and how many messages had been queued or sent at the last one. [BRK-39] */
  private marked = 0;
  private confirmed = 0;
  private offered = 0;
  private offeredAtMark = 0;
  /** What it had sent and what its transport held when {@link isStalled} last looked, and since when nothing has moved. */
  private sent = 0;
  private sentSeen = 0;
  private transportSeen = 0;
  private stillSince = -1;
  private unusedSince = -1;

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

  /** True when an answer, or a message that {@link Session.takes}, need not be queued. */
  get ready(): boolean {
    return this.writable && this.queue.empty && this.gates === null;
  }

  /** Sends a message at once, or drops one that the client does not take. False: {@link enqueue} it. */
  offer(message: Uint8Array): boolean {
    if (message.length > this.link.messageBytesMax) {
      this.dropTooLarge();
      return true;
    }
    this.offered++;
    if (!this.ready || !this.session.takes(message.length)) return false;
    this.send(message);
    return true;
  }

  /** Queues a message behind those before it, as the policy says. False when it has to wait, see {@link stop}. [BRK-20] */
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
    if (bytes.length > this.link.messageBytesMax) {
      this.counters.droppedTooLarge++; // a client that takes so little cannot be told of it either
      return;
    }
    if (this.ready) {
      this.handOver(bytes);
      return;
    }
    this.queue.pushAnswer(bytes);
    if (!this.heldForAnswers && this.answersAreMany(1)) {
      this.heldForAnswers = true;
      this.hold();
    }
  }

  /** The link takes messages again. */
  drained(): void {
    this.writable = true;
    this.account(this.link.queuedBytes);
    this.goOnSending();
  }

  /** Sends what may be sent by now: a gate has opened, or there is room in the transport again. */
  goOnSending(): void {
    this.sendQueued();
    if (this.waiting !== null && this.queue.low) this.admitWaiting(this.waiting);
    if (this.heldForAnswers && !this.answersAreMany(2)) {
      this.heldForAnswers = false;
      this.release();
    }
    if (this.finishing && this.idle) this.end();
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
    if (this.ended) return;
    this.ended = true;
    this.link.end();
  }

  /** Ends the broker's direction behind what is queued. */
  finish(): void {
    this.finishing = true;
    if (this.idle) this.end();
  }

  /** True when the client has taken everything that was offered. */
  get isTaken(): boolean {
    return this.idle && !this.awaitsMarked && this.offered === this.offeredAtMark;
  }

  /** Asks the client to say when it has taken everything so far. Returns the number it will say. [BRK-39] */
  mark(): number {
    if (this.offered !== this.offeredAtMark) {
      this.offeredAtMark = this.offered;
      this.marked++;
      this.answer(encodePlain(Command.MARK, this.marked));
    }
    return this.marked;
  }

  /** The client has answered. */
  markTaken(mark: number): void {
    if (mark > this.confirmed && mark <= this.marked) this.confirmed = mark;
  }

  /** The client was asked, and has not answered. */
  get awaitsMarked(): boolean {
    return this.confirmed !== this.marked;
  }

  hasTaken(mark: number): boolean {
    return this.closed || this.confirmed >= mark;
  }

  /** The next message is not sent before the client has taken what `behind` has brought until now. */
  gate(behind: Channel): void {
    if (behind.isTaken) return;
    const mark = behind.mark();
    this.gates ??= new Ring();
    this.gates.push({ place: this.queue.nextPlace + (this.waiting?.size ?? 0), behind, mark });
  }

  /** A full `block` queue that has not moved for so long. Asked now and then. [BRK-23] */
  isStalled(nowMs: number, stallMs: number): boolean {
    const transport = this.link.queuedBytes;
    this.account(transport);
    const moved = this.sent !== this.sentSeen || transport !== this.transportSeen;
    this.sentSeen = this.sent;
    this.transportSeen = transport;
    const blocks = this.queue.overflow === Overflow.BLOCK && (this.waiting !== null || this.queue.full);
    if (!blocks) this.stillSince = -1;
    else if (moved || this.stillSince < 0) this.stillSince = nowMs;
    return this.stillSince >= 0 && nowMs - this.stillSince >= stallMs;
  }

  /** A lane whose client has taken everything, so long ago. Asked now and then, it asks the client. */
  isUnused(nowMs: number, unusedMs: number): boolean {
    if (this.idle && !this.awaitsMarked) this.mark();
    if (!this.isTaken) this.unusedSince = -1;
    else if (this.unusedSince < 0) this.unusedSince = nowMs;
    return this.unusedSince >= 0 && nowMs - this.unusedSince >= unusedMs;
  }

  /** Forgets what is queued and what waits, on either side, and lets the publishers that wait for it go on. [BRK-5] */
  close(): void {
    this.closed = true;
    this.counters.discarded += this.queue.messageCount;
    this.queue.clear();
    this.gates = null;
    this.account(0);
    if (this.waitsFor !== null) {
      for (const subscriber of this.waitsFor) subscriber.forget(this);
      this.waitsFor = null;
    }
    this.forgetWaiting(() => true);
  }

  private send(message: Uint8Array): void {
    this.counters.messagesOut++;
    this.counters.bytesOut += message.length;
    this.handOver(message);
  }

  private handOver(bytes: Uint8Array): void {
    this.sent++;
    this.writable = this.link.send(bytes);
    if (!this.writable || bytes.length >= ACCOUNTED_BYTES_MIN) this.account(this.link.queuedBytes);
  }

  private account(transportBytes: number): void {
    this.session.transportBytes += transportBytes - this.transportBytes;
    this.transportBytes = transportBytes;
  }

  /** The client is told in the place of the gap; what is missing until then is told with it. [BRK-24] */
  private dropTooLarge(): void {
    this.counters.droppedTooLarge++;
    if (this.tooLarge++ > 0) return;
    if (this.ready) this.tellTooLarge();
    else if (DROPPED_BYTES <= this.link.messageBytesMax) this.queue.pushAnswer(DROPPED_PLACE);
  }

  private tellTooLarge(): void {
    const notice = encodeDropped(this.tooLarge, DropReason.TOO_LARGE);
    this.tooLarge = 0;
    if (notice.length <= this.link.messageBytesMax) this.handOver(notice);
  }

  /**
   * Sends waiting messages while the link takes them, then queues some until the queue is full again, and lets their publishers go on.
   * What is sent needs no room in the queue, so a client that is at its bound by other queues still gets what it reads. [BRK-38]
   */
  private admitWaiting(waiting: Map<Channel, Uint8Array>): void {
    for (const [publisher, message] of waiting) {
      if (this.ready && this.session.takes(message.length)) this.send(message);
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
    const { queue } = this;
    while (this.writable && !queue.empty) {
      if (queue.answerIsNext) {
        const answer = queue.shift();
        if (answer === DROPPED_PLACE) this.tellTooLarge();
        else this.handOver(answer);
      } else {
        if (this.gates !== null && this.isGated(this.gates)) return;
        if (!this.session.takes(queue.nextLength)) return;
        this.send(queue.shift());
      }
    }
    if (this.gates !== null && queue.empty && this.waiting === null) this.isGated(this.gates);
  }

  /** True when the next message has to wait for another stream. Forgets gates that are open. */
  private isGated(gates: Ring<Gate>): boolean {
    for (let gate = gates.peek(); gate !== undefined; gate = gates.peek()) {
      if (!this.queue.isPast(gate.place)) return false;
      if (!gate.behind.hasTaken(gate.mark)) return true;
      gates.shift();
    }
    this.gates = null;
    return false;
  }

  private answersAreMany(share: number): boolean {
    const { answerCount, answerBytes } = this.queue;
    return share === 1
      ? answerCount >= ANSWERS_MAX || answerBytes >= ANSWER_BYTES_MAX
      : answerCount * share > ANSWERS_MAX || answerBytes * share > ANSWER_BYTES_MAX;
  }
}

/** Unsent answers, and their bytes, at which a stream is no longer read. [BRK-21] */
const ANSWERS_MAX = 64;
const ANSWER_BYTES_MAX = 8_192;
/** From here on the transport is asked how much it holds. */
const ACCOUNTED_BYTES_MIN = 4_096;
/** Stands in a queue where messages are missing. */
const DROPPED_PLACE: Uint8Array = encodeDropped(0, DropReason.TOO_LARGE);
