/**
 * What goes out on one stream: answers, and the messages of a subscription, which wait in a queue for as long as the transport takes no more. It knows
 * which publishing streams wait for that queue. How much the client has taken of it it knows from `Marks`, and for which other streams its messages wait from `Gates`.
 *
 * What the transport answers is known only after the core has returned. So a message that is offered goes out on the word of its last answer, and
 * what is queued goes out one by one ({@link Delivery.goOn}).
 *
 * It is one file because what is sent at once, what is queued and what waits to be keep one order.
 */

import { NEVER } from '../../../base/time.ts';
import {
  Command,
  DROPPED_BYTES,
  DropReason,
  encodeDropped,
  encodePlain,
  Overflow,
  PublishFlag,
  topicEndOf,
} from '../../../pubsub/command.ts';
import { classOf, DeliveryClass } from '../../../pubsub/properties.ts';
import type { Latencies } from '../operations/latencies.ts';
import { Action, type BrokerCounters, type BrokerLevels, type Link } from '../output.ts';
import {
  DeliveryQueue,
  Intake,
  ItemKind,
  type ItemOwner,
  isOfClassLatest,
  type QueueAccount,
  type QueueEntry,
  QueueItem,
} from './delivery-queue.ts';
import { type Expiring, type Expiry, ttlOf, withTimeLeft } from './expiry.ts';
import { type Gated, Gates, Marks } from './gates.ts';

/** Whose streams they are. */
export interface DeliveryClient {
  /** What waits for it, on all its streams. */
  readonly queued: QueueAccount;
  /** Bytes handed to the transport that had not left when it was last asked. */
  transportBytes: number;
  /** Whether a message of this length may go to the transport now, where one stream takes it. Small ones always may. [BRK-38] */
  takes(length: number): boolean;
}

/** A stream that can be made to wait with what it publishes. */
export interface Stoppable {
  /** Is not read until {@link goOn}: `awaited` has a message of it, of so many bytes, for which it has no room yet. */
  waitFor(awaited: Awaited, bytes: number): void;
  goOn(awaited: Awaited): void;
}

/** A stream that something goes out on, and one that is stopped as long as its message waits for that. */
export interface DeliveryStream extends Stoppable {
  readonly client: DeliveryClient;
  readonly link: Link;
  readonly closed: boolean;
  /** Leaves it unread until {@link release} was called as often. */
  hold(): void;
  release(): void;
  /** Nothing is queued, and nothing waits to be. */
  endIfFinished(): void;
}

export interface DeliveryOutput {
  send(stream: DeliveryStream, bytes: Uint8Array, action: Action, lifetimeMs: number): void;
  wake(stream: DeliveryStream): void;
}

/** What a delivery needs of the broker. */
export interface DeliveryServices {
  readonly output: DeliveryOutput;
  readonly counters: BrokerCounters;
  readonly levels: BrokerLevels;
  readonly latencies: Latencies;
  readonly expiry: Expiry;
}

/** What a publisher can be stopped for. */
export interface Awaited {
  /** The stream is gone: its message does not wait any more. */
  forget(publisher: Stoppable): void;
}

/** Where messages come from that wait elsewhere until the transport takes them. */
export interface DeliverySource {
  /** What is to go out now; null: nothing, and the stream is woken when there is something. */
  next(): Uint8Array | null;
  /** What {@link next} has returned goes out. */
  sent(): void;
}

/** One of which several may have the same messages. */
export interface TurnedSource extends DeliverySource {
  /** What went out last was a message, and other streams are to have their turn now. */
  readonly hadTurn: boolean;
}

/** A message that waits to enter a queue, whose publisher is stopped until it does. */
class WaitingMessage implements Expiring {
  readonly bytes: Uint8Array;
  readonly sinceMs: number;
  deadline = NEVER;
  heapIndex = -1;
  private readonly publisher: DeliveryStream;
  private readonly delivery: Delivery;

  constructor(bytes: Uint8Array, sinceMs: number, publisher: DeliveryStream, delivery: Delivery) {
    this.bytes = bytes;
    this.sinceMs = sinceMs;
    this.publisher = publisher;
    this.delivery = delivery;
  }

  expire(): void {
    this.delivery.expiredWaiting(this.publisher);
  }
}

export class Delivery implements ItemOwner, Awaited, Gated {
  /** Asked when nothing is queued. */
  source: TurnedSource | null = null;
  /** Last values for a new subscription, while there are any: they go out in turn with everything else. [BRK-106] */
  replay: DeliverySource | null = null;
  readonly queue: DeliveryQueue;
  /** Its messages are sent best effort. [BRK-90] */
  isUnreliable = false;
  readonly marks = new Marks();
  private readonly channel: DeliveryStream;
  private readonly client: DeliveryClient;
  private readonly output: DeliveryOutput;
  private readonly counters: BrokerCounters;
  private readonly levels: BrokerLevels;
  private readonly latencies: Latencies;
  private readonly expiry: Expiry;
  private readonly messageBytesMax: number;
  /** The next message of the source is large, and the transport has enough. */
  private sourceWaits = false;
  private writable = true;
  /** A value of the {@link replay} was the last thing to go out. */
  private hasReplayed = false;
  private woken = false;
  /** What the client counts as this stream's part of {@link DeliveryClient.transportBytes}. */
  private transportBytes = 0;
  /** The stream is not read because of its unsent answers. */
  private heldForAnswers = false;
  /** Publishers that are stopped for this queue, each with the message that waits to enter it, the first one first. */
  private waiting: Map<DeliveryStream, WaitingMessage> | null = null;
  /** Places in the queue from which on messages wait for other streams; null: there are none. */
  private gates: Gates | null = null;
  /** What it had sent and what its transport held when {@link isStalled} last looked, and since when nothing has moved. */
  private sentCount = 0;
  private sentSeen = 0;
  private transportSeen = 0;
  private stillSince = -1;
  private unusedSince = -1;

  constructor(channel: DeliveryStream, { output, counters, levels, latencies, expiry }: DeliveryServices) {
    this.channel = channel;
    this.client = channel.client;
    this.output = output;
    this.counters = counters;
    this.levels = levels;
    this.latencies = latencies;
    this.expiry = expiry;
    this.messageBytesMax = channel.link.messageBytesMax;
    this.queue = new DeliveryQueue(channel.client.queued, expiry, latencies);
    this.queue.tellsGaps = DROPPED_BYTES <= this.messageBytesMax;
  }

  /** Commands that went out, messages among them. */
  get commandsOut(): number {
    return this.sentCount;
  }

  /** Nothing is queued, and nothing waits to be. */
  get idle(): boolean {
    return this.queue.empty && this.waiting === null;
  }

  /** Something waits for room in the transport. */
  get waitsForRoom(): boolean {
    return this.sourceWaits || this.replay !== null || !this.idle;
  }

  /** True when an answer, or a message that {@link DeliveryClient.takes}, need not be queued. */
  get ready(): boolean {
    return this.writable && this.queue.empty && this.gates === null;
  }

  /** Sends a message at once, or drops one that the client does not take. False: {@link enqueue} it. */
  offer(message: Uint8Array): boolean {
    if (message.length > this.messageBytesMax) {
      this.skip(DropReason.TOO_LARGE);
      return true;
    }
    this.marks.offered++;
    if (!this.ready || !this.client.takes(message.length)) return false;
    this.send(message);
    return true;
  }

  /** A message was not for its client. */
  countWithheld(): void {
    this.counters.deliveriesWithheld++;
  }

  /** Leaves a message out, or several. The client is told in the place of the gap. [BRK-92] */
  skip(reason: DropReason, count = 1): void {
    if (reason === DropReason.TOO_LARGE) this.counters.droppedTooLarge++;
    else if (reason === DropReason.COMPRESSED) this.counters.droppedCompressed++;
    if (!this.ready) this.queue.pushGap(reason, count);
    else if (this.queue.tellsGaps) this.handOver(encodeDropped(count, reason));
  }

  /**
   * Queues a message behind those before it, as the policy says. One that has to wait is to be given to {@link stop}. [BRK-20]
   *
   * @param deadlineMs - when its time to live is over
   */
  enqueue(message: Uint8Array, deadlineMs: number): Intake {
    const { queue, counters } = this;
    const isLatest = queue.overflow === Overflow.LATEST || isOfClassLatest(message);
    if (isLatest && this.waiting === null && queue.supersede(message, deadlineMs, this)) {
      counters.superseded++;
      return Intake.TAKEN;
    }
    if (queue.overflow === Overflow.BLOCK) {
      if (queue.full || this.waiting !== null) return Intake.WAITS;
      queue.push(message, deadlineMs, this, isLatest);
      return Intake.TAKEN;
    }
    const { taken } = queue;
    const dropped = queue.push(message, deadlineMs, this, isLatest);
    if (dropped === 0) return Intake.TAKEN;
    if (queue.overflow === Overflow.DROP_NEWEST) counters.droppedNewest += dropped;
    else counters.droppedOldest += dropped;
    if (this.writable) this.wake(); // for what was dropped is to be told
    return queue.taken === taken ? Intake.REFUSED : Intake.TAKEN;
  }

  /** Stops `publisher` until the queue has drained and taken its message. [BRK-18] */
  stop(publisher: DeliveryStream, message: Uint8Array, deadlineMs: number): void {
    const waiting = new WaitingMessage(message, this.expiry.nowMs, publisher, this);
    if (deadlineMs !== NEVER) this.expiry.add(waiting, deadlineMs);
    this.waiting ??= new Map();
    this.waiting.set(publisher, waiting);
    publisher.waitFor(this, message.length);
    this.counters.publisherStops++;
  }

  /** Leaves out a message that may not wait. */
  refuse(): void {
    this.counters.droppedNewest++;
    this.skip(DropReason.POLICY);
  }

  /** The time to live of a queued message is over: it is dropped where it is, and that is told in its place. [BRK-86] */
  expired(item: QueueItem): void {
    this.counters.droppedExpired++;
    this.queue.expire(item);
    this.wake(); // to tell, and because there may be room now for messages that wait
  }

  /** The same of the message of a publisher that waits here. */
  expiredWaiting(publisher: DeliveryStream): void {
    this.counters.droppedExpired++;
    this.leaveWaiting(publisher);
    this.skip(DropReason.EXPIRED);
    publisher.goOn(this);
    this.wake();
  }

  /** Discards the waiting messages that are `unwanted`, and lets their publishers go on. [BRK-15] */
  forgetWaiting(unwanted: (message: Uint8Array) => boolean): void {
    if (this.waiting === null) return;
    for (const [publisher, { bytes }] of this.waiting) {
      if (!unwanted(bytes)) continue;
      this.forget(publisher);
      publisher.goOn(this);
    }
  }

  /** Discards what is queued and `unwanted`. */
  discard(unwanted: (message: Uint8Array) => boolean, reason: DropReason): void {
    const discarded = this.queue.discard(unwanted, reason);
    if (discarded === 0) return;
    this.counters.discarded += discarded;
    this.wake(); // to tell, and because there may be room now for messages that wait
  }

  /** Discards the message of a publisher that waits here. */
  forget(publisher: DeliveryStream): void {
    if (this.waiting === null) return;
    this.leaveWaiting(publisher);
    this.counters.discarded++;
  }

  /** Sends an answer, behind what is queued for this stream. [BRK-4, BRK-21] */
  answer(bytes: Uint8Array): void {
    if (bytes.length > this.messageBytesMax) {
      this.counters.droppedTooLarge++; // a client that takes so little cannot be told of it either
      return;
    }
    if (this.ready) {
      this.handOver(bytes);
      return;
    }
    this.queue.pushAnswer(bytes);
    if (!this.heldForAnswers && this.answersShare >= 1) {
      this.heldForAnswers = true;
      this.channel.hold();
    }
  }

  /** What the transport has answered to a message: whether it takes another one. */
  sent(writable: boolean): void {
    this.writable = writable;
    this.account(this.channel.link.queuedBytes);
  }

  /** The transport, which had said enough, takes messages again. */
  drained(): void {
    this.sent(true);
    this.wake();
  }

  /** Something may go out now: a gate has opened, or there is room in the transport. */
  wake(): void {
    if (this.woken) return;
    this.woken = true;
    this.output.wake(this.channel);
  }

  /** Hands over the next of what is queued or waits. False when nothing may go out any more; then it sleeps. */
  goOn(): boolean {
    const isReplayNext = this.replay !== null && !this.hasReplayed && this.queue.answerCount === 0;
    if (isReplayNext && this.replay !== null && this.sendReplayed(this.replay)) return true;
    this.hasReplayed = false;
    if (this.sendQueued()) return true;
    if (this.waiting !== null && this.queue.low && this.admitWaiting(this.waiting)) return true;
    if (this.source !== null && this.ready && this.sendFrom(this.source)) {
      if (!this.source.hadTurn) return true;
      this.woken = false;
      this.wake();
      return false;
    }
    if (this.replay !== null && this.queue.empty && this.sendReplayed(this.replay)) return true;
    this.woken = false;
    if (this.heldForAnswers && this.answersShare <= 0.5) {
      this.heldForAnswers = false;
      this.channel.release();
    }
    this.channel.endIfFinished();
    return false;
  }

  /** The next message is not sent before the client has taken what `behind` has brought until now. [BRK-39] */
  gate(behind: Delivery): void {
    if (behind.isTaken) return;
    this.gates ??= new Gates();
    this.gates.add(this.queue.nextPlace + (this.waiting?.size ?? 0), behind);
  }

  /** Asks the client to say when it has taken everything so far. Returns the number it will say. [BRK-39] */
  mark(): number {
    if (this.marks.isDue) this.answer(encodePlain(Command.MARK, this.marks.next()));
    return this.marks.last;
  }

  /** True when the client has taken everything that was offered. */
  get isTaken(): boolean {
    return this.idle && !this.marks.isAwaited && !this.marks.isDue;
  }

  hasTaken(mark: number): boolean {
    return this.channel.closed || this.marks.confirmed >= mark;
  }

  /** A `block` queue that is full by itself, or that others wait for, and has not moved for so long. Asked now and then. [BRK-23] */
  isStalled(nowMs: number, stallMs: number): boolean {
    const transport = this.channel.link.queuedBytes;
    this.account(transport);
    const moved = this.sentCount !== this.sentSeen || transport !== this.transportSeen;
    this.sentSeen = this.sentCount;
    this.transportSeen = transport;
    const blocks = this.queue.overflow === Overflow.BLOCK && (this.waiting !== null || this.queue.atOwnBound);
    if (!blocks) this.stillSince = -1;
    else if (moved || this.stillSince < 0) this.stillSince = nowMs;
    return this.stillSince >= 0 && nowMs - this.stillSince >= stallMs;
  }

  /** A lane whose client has taken everything, so long ago. Asked now and then, it asks the client. */
  isUnused(nowMs: number, unusedMs: number): boolean {
    if (this.idle && !this.marks.isAwaited) this.mark();
    if (!this.isTaken) this.unusedSince = -1;
    else if (this.unusedSince < 0) this.unusedSince = nowMs;
    return this.unusedSince >= 0 && nowMs - this.unusedSince >= unusedMs;
  }

  close(): void {
    this.forgetWaiting(() => true); // first: these are other clients
    this.counters.discarded += this.queue.messageCount;
    this.queue.clear();
    this.gates = null;
    this.account(0);
  }

  private send(message: Uint8Array): void {
    this.counters.messagesOut++;
    this.counters.bytesOut += message.length;
    if (this.isUnreliable || (message[1] & SAYS_MORE) !== 0) this.sendAsAsked(message);
    else this.handOver(message);
  }

  /** Sends a message that the transport may be allowed to lose, or must not deliver late. [BRK-86] [BRK-90] */
  private sendAsAsked(message: Uint8Array): void {
    const isLog = (message[1] & PublishFlag.QOS) !== 0; // who reads a log acknowledges, and is given again what does not come
    const isUnreliable =
      this.isUnreliable || classOf(message, topicEndOf(message)) === DeliveryClass.UNRELIABLE;
    if (isLog) this.handOver(message);
    else this.handOver(message, isUnreliable ? Action.SEND_BEST_EFFORT : Action.SEND, ttlOf(message));
  }

  /** @param lifetimeMs - after which the transport is not to deliver it any more; 0: without end */
  private handOver(bytes: Uint8Array, action: Action = Action.SEND, lifetimeMs = 0): void {
    this.sentCount++;
    if (bytes.length >= ACCOUNTED_BYTES_MIN) this.account(this.transportBytes + bytes.length);
    this.output.send(this.channel, bytes, action, lifetimeMs);
  }

  private account(transportBytes: number): void {
    const moreBytes = transportBytes - this.transportBytes;
    this.client.transportBytes += moreBytes;
    this.levels.transportBytes += moreBytes;
    this.transportBytes = transportBytes;
  }

  /** Tells the client how many messages are missing, a number for each reason. */
  private tellMissing(missing: readonly number[]): void {
    for (const [reason, count] of missing.entries()) {
      if (count > 0) this.handOver(encodeDropped(count, reason));
    }
  }

  private sendFrom(source: DeliverySource): boolean {
    const message = source.next();
    this.sourceWaits = message !== null && !this.client.takes(message.length);
    if (message === null || this.sourceWaits) return false;
    source.sent();
    if (message[0] === Command.PUBLISH) this.send(message);
    else this.handOver(message);
    return true;
  }

  /** True when a value was handed over. */
  private sendReplayed(replay: DeliverySource): boolean {
    if (!this.writable || this.gates !== null) return false;
    const message = replay.next();
    if (message === null || !this.client.takes(message.length)) return false;
    replay.sent();
    this.hasReplayed = true;
    this.marks.offered++;
    this.latencies.replayed();
    this.send(message);
    return true;
  }

  /** True when something was handed over. */
  private sendQueued(): boolean {
    const { queue } = this;
    const { head } = queue;
    if (this.writable && head !== undefined) {
      const isMessage = !queue.answerIsNext;
      if (isMessage && this.gates !== null && this.isGated(this.gates)) return false;
      if (isMessage && !this.client.takes(lengthOf(head))) return false;
      this.sendEntry(queue.shift());
      if (isMessage && queue.isPlain) this.sendRun();
      return true;
    }
    if (this.gates !== null && queue.empty && this.waiting === null) this.isGated(this.gates);
    return false;
  }

  /** Sends more of what is queued, as far as the transport is known to take it. */
  private sendRun(): void {
    if (this.replay !== null || this.gates !== null) return;
    const { queue } = this;
    let roomBytes = Math.min(RUN_BYTES_MAX, this.channel.link.roomBytes);
    while (roomBytes > 0 && !queue.empty) {
      const message = queue.head as Uint8Array;
      roomBytes -= message.length + RUN_MESSAGE_BYTES;
      if (roomBytes < 0 || !this.client.takes(message.length)) return;
      queue.shift();
      this.send(message);
    }
  }

  /** Sends what has left the queue. */
  private sendEntry(entry: QueueEntry): void {
    if (!(entry instanceof QueueItem)) this.send(entry);
    else if (entry.kind === ItemKind.ANSWER) this.handOver(entry.bytes);
    else if (entry.kind === ItemKind.MESSAGE) this.sendLate(entry.bytes, entry.deadline);
    else if (entry.missing !== null) this.tellMissing(entry.missing);
  }

  /** Sends a message that has waited: what it has to live is less by that time. [BRK-86] */
  private sendLate(message: Uint8Array, deadlineMs: number): void {
    this.send(deadlineMs === NEVER ? message : withTimeLeft(message, deadlineMs - this.expiry.nowMs));
  }

  /**
   * Sends the first waiting message if the transport takes it, else queues waiting ones until the queue is full again, and lets their publishers go on.
   * What is sent needs no room in the queue, so a client that is at its bound by other queues still gets what it reads. [BRK-38]
   */
  private admitWaiting(waiting: Map<DeliveryStream, WaitingMessage>): boolean {
    for (const [publisher, message] of waiting) {
      const { bytes, deadline, sinceMs } = message;
      const sends = this.ready && this.client.takes(bytes.length);
      if (!sends && this.queue.full) return false;
      this.expiry.remove(message);
      if (sends) {
        this.latencies.waited(this.expiry.nowMs - sinceMs);
        this.sendLate(bytes, deadline);
      } else {
        this.queue.followNext(sinceMs);
        const isLatest = this.queue.overflow === Overflow.LATEST || isOfClassLatest(bytes);
        this.queue.push(bytes, deadline, this, isLatest);
      }
      waiting.delete(publisher);
      if (waiting.size === 0) this.waiting = null;
      publisher.goOn(this);
      if (sends) return true;
    }
    return false;
  }

  /** The message of a publisher does not wait here any more, and has not entered the queue. */
  private leaveWaiting(publisher: DeliveryStream): void {
    const { waiting } = this;
    const item = waiting?.get(publisher);
    if (waiting === null || item === undefined) return;
    // What waits behind it moves up.
    this.gates?.closeUp(this.queue.nextPlace + [...waiting.keys()].indexOf(publisher));
    this.expiry.remove(item);
    waiting.delete(publisher);
    if (waiting.size === 0) this.waiting = null;
  }

  /** True when the next message has to wait for another stream. */
  private isGated(gates: Gates): boolean {
    if (gates.areShut(this.queue)) return true;
    if (gates.isEmpty) this.gates = null;
    return false;
  }

  /** Unsent answers as a share of what there may be before the stream is no longer read. [BRK-21] */
  private get answersShare(): number {
    const { answerCount, answerBytes } = this.queue;
    return Math.max(answerCount / ANSWERS_MAX, answerBytes / ANSWER_BYTES_MAX);
  }
}

function lengthOf(entry: QueueEntry): number {
  return entry instanceof QueueItem ? entry.bytes.length : entry.length;
}

/** Flags of messages that may ask for more than to be sent. */
const SAYS_MORE = PublishFlag.PROPERTIES;
/** From here on the transport is asked how much it holds. */
export const ACCOUNTED_BYTES_MIN = 4_096;
/** What goes out of a queue in one go at most, each message with what it costs the transport. */
const RUN_BYTES_MAX = 65_536;
const RUN_MESSAGE_BYTES = 64;
/** Unsent answers, and their bytes, at which a stream is no longer read. [BRK-21] */
const ANSWERS_MAX = 64;
const ANSWER_BYTES_MAX = 8_192;
