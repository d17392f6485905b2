/**
 * One subscription: the filters that share a queue, and the streams that carry what matches them. Messages of the default class go on the
 * subscribing stream itself, those of another class on a lane of that class, and large ones on a lane of their own class beside it, so that the
 * transport's scheduler gives each its share: a message waits for no other one, except of the same topic, class and publisher, behind which it belongs. [BRK-39]
 *
 * That order is kept by the sender alone. A topic moves to the lane of large messages with its first large one, which is not sent before the
 * client has taken what the topic's former lane brought; it moves back when the client has taken everything of the lane.
 */

import { NO_BYTES } from '../../../base/bytes.ts';
import { type DropReason, LARGE_BYTES_MIN, topicEndOf, topicKey } from '../../../pubsub/command.ts';
import { STREAM_PRIORITIES } from '../../../pubsub/message-stream.ts';
import type { Channel, Client } from './client.ts';
import type { Conflation } from './conflation.ts';
import type { Delivery } from './delivery.ts';
import type { QueuePolicy } from './delivery-queue.ts';

/** Opens a stream for deliveries of a subscription. Null when there may be no more. */
export type OpenLane = (subscription: Subscription, priority: number) => Channel | null;

/** A lane for large messages, and the topics that go on it for now. */
interface LargeLane {
  readonly channel: Channel;
  readonly topics: Set<string>;
}

/** An answer on the main channel that comes behind what the lanes bring. */
interface LateAnswer {
  readonly marks: readonly (readonly [lane: Delivery, mark: number])[];
  readonly send: () => void;
}

export class Subscription {
  /** The subscribing stream. */
  readonly main: Channel;
  /** What its first accepted SUBSCRIBE asked for. */
  readonly policy: QueuePolicy;
  /** Its client opens envelopes. [BRK-43] */
  readonly takesCompressed: boolean;
  readonly filters = new Set<string>();
  /** Those of them that were to come without the last values; null: none. */
  withoutRetained: Set<string> | null = null;
  /** What was published with RETAIN has it here; and last values have their QoS. [BRK-131] */
  tellsRetain = false;
  tellsQoS = false;
  /** Not all that its filters match is for it: {@link admits} says what. */
  isSelective = false;
  private isNoLocal = false;
  /** Filters that its client may have in part; null: none. */
  private partial: Set<string> | null = null;
  /** What holds messages back that come too soon; null: it takes them at any rate. [BRK-89] */
  conflation: Conflation | null = null;
  /** Number of the last message offered to it, so that overlapping filters offer it once. */
  lastOffered = 0;
  /** What is stored in a log it gets from there. */
  readsLog = false;
  private options: Uint8Array = NO_BYTES;
  private readonly openLane: OpenLane | null;
  /** By class. */
  private readonly small: (Channel | null)[] = STREAM_PRIORITIES.map(() => null);
  private readonly large: (LargeLane | null)[] = STREAM_PRIORITIES.map(() => null);
  /** Lanes that end behind what is queued for them. */
  private readonly leaving = new Set<Channel>();
  /** Answers that wait until the client has taken what the lanes held. */
  private readonly lateAnswers: LateAnswer[] = [];
  /** The main channel is not read because of them. */
  private isHeld = false;

  /** @param openLane - null where the client takes no lanes */
  constructor(main: Channel, policy: QueuePolicy, takesCompressed: boolean, openLane: OpenLane | null) {
    this.main = main;
    this.policy = policy;
    this.takesCompressed = takesCompressed;
    this.openLane = openLane;
  }

  /** Whether this is what its first accepted SUBSCRIBE asked for. */
  hasOptions(readsLog: boolean, options: Uint8Array): boolean {
    return this.readsLog === readsLog && Buffer.compare(this.options, options) === 0;
  }

  /** @param options - as SUBSCRIBE has them */
  setOptions(readsLog: boolean, options: Uint8Array): void {
    this.readsLog = readsLog;
    if (!this.hasOptions(readsLog, options)) this.options = Uint8Array.from(options);
  }

  /** What its own client publishes is not for it. [BRK-94] */
  set noLocal(isNoLocal: boolean) {
    this.isNoLocal = isNoLocal;
    this.isSelective ||= isNoLocal;
  }

  /** Its client may not have all that this filter matches: each message is looked at. [BRK-115] */
  withhold(filter: string): void {
    this.partial ??= new Set();
    this.partial.add(filter);
    this.isSelective = true;
  }

  stopWithholding(filter: string): void {
    if (this.partial === null) return;
    this.partial.delete(filter);
    if (this.partial.size === 0) this.partial = null;
    this.isSelective = this.isNoLocal || this.partial !== null;
  }

  /** Whether a message is for it that one of its filters matches. @param isRead - it gets it from its log, if at all */
  admits(message: Uint8Array, publisher: Client, isRead: boolean): boolean {
    if (this.isNoLocal && publisher === this.main.client) return false;
    return isRead || !this.withholds(message);
  }

  /** Its client may not have this message. */
  withholds(message: Uint8Array): boolean {
    const { client, delivery } = this.main;
    const { gate } = client;
    if (this.partial === null || gate === null || gate.mayReceive(message, topicEndOf(message))) return false;
    delivery.countWithheld();
    return true;
  }

  /** Where a message of a publisher of this class is to go. */
  pathOf(priority: number, message: Uint8Array): Channel {
    if (this.openLane === null) return this.main;
    const large = this.large[priority];
    const isLarge = message.length >= LARGE_BYTES_MIN;
    if (!isLarge && (large === null || large.topics.size === 0)) return this.smallLane(priority);
    const topic = topicKey(message);
    if (large?.topics.has(topic)) return large.channel;
    return isLarge ? this.moved(priority, topic) : this.smallLane(priority);
  }

  /** All streams but the subscribing stream. */
  *lanes(): Iterable<Channel> {
    for (const lane of this.small) if (lane !== null && lane !== this.main) yield lane;
    for (const lane of this.large) if (lane !== null) yield lane.channel;
    yield* this.leaving;
  }

  /** The client has answered a MARK on one of the streams. */
  onTaken(): void {
    for (const lane of this.large) {
      if (lane === null) continue;
      lane.channel.delivery.wake();
      this.onSent(lane.channel);
      if (lane.channel.delivery.isTaken) lane.topics.clear();
    }
    for (const lane of this.leaving) lane.delivery.wake();
    this.holdOrRelease();
    this.sendLateAnswers();
  }

  /** Something has gone out on `channel`: asks whether a lane of large messages was taken, one question at a time. */
  onSent(channel: Channel): void {
    const lane = this.large[channel.priority];
    if (lane === null || lane.channel !== channel) return;
    const { delivery } = channel;
    if (delivery.idle && !delivery.marks.isAwaited) delivery.mark();
  }

  /** Calls `send` when the client has taken everything that was queued for the lanes until now. [BRK-15] */
  whenTaken(send: () => void): void {
    const marks: [Delivery, number][] = [];
    for (const { delivery } of this.lanes()) marks.push([delivery, delivery.mark()]);
    this.lateAnswers.push({ marks, send });
    this.main.client.lateAnswers++;
    this.holdOrRelease();
    this.sendLateAnswers();
  }

  /** Discards what waits for a publisher to go on and is `unwanted`, for all its streams. [BRK-15] */
  forgetWaiting(unwanted: (message: Uint8Array) => boolean): void {
    this.conflation?.discard(unwanted);
    this.main.delivery.forgetWaiting(unwanted);
    for (const { delivery } of this.lanes()) delivery.forgetWaiting(unwanted);
  }

  /** Discards what is queued, and what waits to be, and is `unwanted`. The client is told, in the place of each, why. [BRK-119] */
  discard(unwanted: (message: Uint8Array) => boolean, reason: DropReason): void {
    this.forgetWaiting(unwanted);
    this.main.delivery.discard(unwanted, reason);
    for (const { delivery } of this.lanes()) delivery.discard(unwanted, reason);
  }

  /** Ends a lane of which the client has taken everything; the next message for it opens another. */
  retire(lane: Channel): void {
    this.forget(lane);
    this.leaving.add(lane);
    lane.finish();
  }

  /** Ends all lanes behind what is queued for them. */
  finishLanes(): void {
    const lanes = [...this.lanes()];
    this.small.fill(null);
    this.large.fill(null);
    for (const lane of lanes) {
      this.leaving.add(lane);
      lane.finish();
    }
  }

  /** The main channel is gone: nobody waits for an answer any more. */
  end(): void {
    this.conflation?.close();
    this.main.client.lateAnswers -= this.lateAnswers.length;
    this.lateAnswers.length = 0;
  }

  /** A lane is gone. */
  forget(lane: Channel): void {
    this.leaving.delete(lane);
    for (let i = 0; i < this.small.length; i++) {
      if (this.small[i] === lane) this.small[i] = null;
      if (this.large[i]?.channel === lane) this.large[i] = null;
    }
    if (!this.main.closed) this.sendLateAnswers();
  }

  private sendLateAnswers(): void {
    for (let answer = this.lateAnswers.at(0); answer !== undefined; answer = this.lateAnswers.at(0)) {
      if (!answer.marks.every(([lane, mark]) => lane.hasTaken(mark))) return;
      this.lateAnswers.shift();
      this.main.client.lateAnswers--;
      this.holdOrRelease();
      answer.send();
    }
  }

  /**
   * Leaves the main channel unread while too many answers wait; but as long as a MARK on it is not answered, only when they are far too many:
   * that answer comes on it, and lanes may wait for it.
   */
  private holdOrRelease(): void {
    const { main } = this;
    const isHeld = main.delivery.marks.isAwaited
      ? main.client.lateAnswers >= LATE_ANSWERS_OF_CLIENT_MAX
      : this.lateAnswers.length >= LATE_ANSWERS_MAX;
    if (isHeld === this.isHeld) return;
    this.isHeld = isHeld;
    if (isHeld) main.hold();
    else main.release();
  }

  private smallLane(priority: number): Channel {
    if (priority === DEFAULT_PRIORITY) return this.main;
    // What has once gone on the main channel for want of a lane stays there, for the sake of its order.
    const lane = this.small[priority] ?? this.openLane?.(this, priority) ?? this.main;
    this.small[priority] = lane;
    return lane;
  }

  private moved(priority: number, topic: string): Channel {
    const from = this.smallLane(priority);
    let lane = this.large[priority];
    if (lane === null) {
      const channel = this.openLane?.(this, priority) ?? null;
      if (channel === null) return from;
      lane = { channel, topics: new Set() };
      this.large[priority] = lane;
    }
    if (lane.topics.size >= TOPICS_MAX) return from;
    lane.channel.delivery.gate(from.delivery);
    this.holdOrRelease();
    lane.topics.add(topic);
    return lane.channel;
  }
}

/** Late answers of a subscription at which the main channel is no longer read. */
const LATE_ANSWERS_MAX = 64;
/** Those of all subscriptions of a client at which it is not read in any case: more than it has filters, by default. */
const LATE_ANSWERS_OF_CLIENT_MAX = 2_048;
const DEFAULT_PRIORITY = STREAM_PRIORITIES.indexOf('chat');
/** Topics at once on a lane of large messages; further ones stay where they are. */
const TOPICS_MAX = 1_024;
