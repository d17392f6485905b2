/**
 * Members of shared groups that another node has, and that are connected to this one. What the group gives such a member comes by a stream from there, waits here until its
 * client takes it, and its acknowledgements go back. [CLU-51]
 *
 *     JOINING ── SUBSCRIBED ──> ACTIVE ── the stream is over ──> SEEKING: which node has the group? ── another ──> JOINING again; this one ──> a member like any other here
 *     JOINING, before the first SUBSCRIBED ── refused ──> over
 *
 * When the node that had the group is gone, all that have members seek it, and the one that gets its claim has it from then on. [CLU-52]
 */

import { Ring } from '../../../base/ring.ts';
import { NEVER } from '../../../base/time.ts';
import {
  decodeSubscribed,
  encodeAck,
  MISSED_UNKNOWN,
  type ReaderStart,
} from '../../../pubsub/acknowledgement.ts';
import { Command, DropReason, encodeDropped, ReasonCode, uint32 } from '../../../pubsub/command.ts';
import { StartKind } from '../../../pubsub/subscribe-options.ts';
import type { Channel } from '../delivery/client.ts';
import type { TurnedSource } from '../delivery/delivery.ts';
import { ttlOfCommand, withTimeLeft } from '../delivery/expiry.ts';
import type { Subscription } from '../delivery/subscription.ts';
import type { BrokerCounters } from '../output.ts';
import { type Time, Timer } from '../timers.ts';
import { durableClaim } from './claim-keys.ts';
import { ClaimAnswer, type Claims, type ClaimWaiter } from './claims.ts';
import { type NodeStream, type NodeStreams, StreamEnd, type StreamUser } from './node-stream.ts';
import { decodeSentAt, encodeRelayRequest, type RelayRequest } from './relay-request.ts';

/** Codes with which streams of members end, beside `StreamEnd`; the rest are those of {@link endFor}. */
export const RelayEnd = {
  /** By the member's node: it takes nothing of the group any more, and if it was the last one, nobody does. */
  UNSUBSCRIBED: 16,
} as const;

/** The code with which a stream ends for a reason of the protocol of clients. */
export function endFor(code: number): number {
  return REASONS_FROM + code;
}

/** What a member asks for, and what is to be done for it. */
export interface MemberRequest {
  readonly request: RelayRequest;
  readonly channel: Channel;
  /** Makes its stream a subscription. */
  open(): Subscription;
  /** Says where it begins; `answered` follows, and not before that do messages go to the client. */
  answer(start: ReaderStart, answered?: () => void): void;
  refuse(code: ReasonCode): void;
  /**
   * The group is this node's now: the member takes its messages here. Returns why not, or NO_ERROR.
   *
   * @param subscription - null: there is none yet, and the request is as new
   */
  stay(subscription: Subscription | null, request: RelayRequest): ReasonCode;
  /** Asks where the log of the group ends, which is this node's now; `act` follows when that may be known. False: it is known. */
  awaits(act: () => void): boolean;
}

/** What relays need of the broker. */
export interface RelaySurroundings extends Time {
  readonly counters: BrokerCounters;
  readonly claims: Claims | null;
  /** By which times to live end. */
  readonly evenMs: number;
  giveUp(subscription: Subscription, code: ReasonCode): void;
  dismiss(client: Channel['client'], code: ReasonCode): void;
  actFor(client: Channel['client'], act: () => void): void;
}

/** Something that waits here for the client. */
interface Waiting {
  readonly bytes: Uint8Array;
  /** What its other end counts it as. */
  readonly length: number;
  readonly deadlineMs: number;
}

/** Told of what becomes of a relay. */
export interface RelayOwner {
  /** It takes messages for the subscription from now on. */
  begun(subscription: Subscription, relay: Relay): void;
  /** It does not any more. */
  over(subscription: Subscription): void;
}

/** One member. */
export class Relay implements StreamUser, TurnedSource {
  readonly hadTurn = false;
  private readonly broker: RelaySurroundings;
  private readonly streams: NodeStreams;
  private readonly member: MemberRequest;
  private readonly owner: RelayOwner;
  private request: RelayRequest;
  private subscription: Subscription | null = null;
  private stream: NodeStream | null = null;
  /** Where it has begun; null: it has not. */
  private begun: ReaderStart | null = null;
  private isOver = false;
  /** Nothing goes to the client before it is told where that begins. */
  private isMuted = true;
  /** Its channel is not read as long as what comes on it finds no room on the way to the group. */
  private isHeld = false;
  /** When the next message that has a time to live was sent here, by the wall clock. */
  private sentAtMs = 0;
  private readonly waiting = new Ring<Waiting>(2);
  private waitingBytes = 0;
  /** While it seeks, and this node has asked for the group. */
  private asking: ClaimWaiter | null = null;
  private backoffMs = BACKOFF_MS_MIN;
  /** While it joins: when that has taken too long. While it seeks: when it tries again. */
  private readonly timer = new Timer(() => this.onTime());

  constructor(broker: RelaySurroundings, streams: NodeStreams, member: MemberRequest, owner: RelayOwner) {
    this.broker = broker;
    this.streams = streams;
    this.member = member;
    this.request = member.request;
    this.owner = owner;
    // Until it is known whether it may, its client says nothing more on this stream.
    member.channel.hold();
  }

  get group(): string {
    return this.request.group;
  }

  /** Where it began; of one that takes messages. */
  get start(): ReaderStart {
    return this.begun as ReaderStart;
  }

  join(node: string): void {
    const { timers, nowMs } = this.broker;
    this.stream = this.streams.open(node, encodeRelayRequest(this.request), this);
    timers.set(this.timer, nowMs + JOIN_MS_MAX);
  }

  /** An ACK or NACK of the client. What was given by a node that does not have the group any more comes again, and is answered then. */
  forward(command: Uint8Array): void {
    if (this.stream === null || this.stream.send(command) || this.isHeld) return;
    this.isHeld = true;
    this.member.channel.hold();
  }

  /** The member leaves. */
  close(isUnsubscribed: boolean): void {
    this.stream?.end(isUnsubscribed ? RelayEnd.UNSUBSCRIBED : StreamEnd.DONE);
    this.finish();
  }

  // ---- what comes by the stream ----

  received(message: Uint8Array): void {
    const sentAtMs = decodeSentAt(message);
    if (sentAtMs !== null) {
      this.sentAtMs = sentAtMs;
      this.stream?.taken(message.length);
    } else if (message[0] === Command.SUBSCRIBED) this.accept(message);
    else this.keep(message);
  }

  drained(): void {
    this.readOn();
  }

  ended(code: number): void {
    this.stream = null;
    this.forgetWaiting();
    this.readOn();
    const reason = code < REASONS_FROM ? ReasonCode.MOVED : code - REASONS_FROM;
    if (this.member.channel.closed) this.finish();
    else if (PASSING.has(reason)) this.seekLater();
    else this.refuse(reason as ReasonCode);
  }

  // ---- what its stream of the client asks for ----

  next(): Uint8Array | null {
    if (this.isMuted) return null;
    const first = this.waiting.peek();
    if (first === undefined) return null;
    const { nowMs } = this.broker;
    if (first.deadlineMs > nowMs)
      return first.deadlineMs === NEVER ? first.bytes : withTimeLeft(first.bytes, first.deadlineMs - nowMs);
    // [BRK-72] its time to live was over here: settled, and told
    this.broker.counters.droppedExpired++;
    this.stream?.send(encodeAck(uint32(first.bytes, ID_AT)));
    const dropped = encodeDropped(1, DropReason.EXPIRED);
    this.waiting.put(0, { bytes: dropped, length: first.length, deadlineMs: NEVER });
    return dropped;
  }

  sent(): void {
    const first = this.waiting.shift();
    if (first === undefined) return;
    this.charge(-first.length);
    this.stream?.taken(first.length);
  }

  private accept(subscribed: Uint8Array): void {
    const start = decodeSubscribed(subscribed);
    this.broker.timers.clear(this.timer);
    this.stream?.taken(subscribed.length);
    this.backoffMs = BACKOFF_MS_MIN;
    if (this.member.channel.closed) {
      this.close(false);
      return;
    }
    if (start === null) return;
    if (this.begun !== null) {
      this.tellMissed(start.missed);
      return;
    }
    const { member } = this;
    this.begun = start;
    // From here it goes on, where whoever had the group has taken what it knew with it.
    const { epoch, next } = start;
    this.request = {
      ...this.request,
      options: { ...this.request.options, start: StartKind.OFFSET, startValue: next, epoch },
    };
    member.channel.release();
    this.broker.actFor(member.channel.client, () => {
      this.subscription = member.open();
      this.subscription.main.delivery.source = this;
      this.owner.begun(this.subscription, this);
      member.answer(start, () => {
        this.isMuted = false;
        member.channel.delivery.wake();
      });
    });
  }

  /** [BRK-71] What the group has found missing as it was taken up; its client's SUBSCRIBED was long ago. */
  private tellMissed(missed: number): void {
    const { client, delivery } = this.member.channel;
    if (missed === MISSED_UNKNOWN) {
      this.broker.dismiss(client, ReasonCode.MOVED);
    } else if (missed > 0) {
      const bytes = encodeDropped(missed, DropReason.RETENTION);
      this.waiting.push({ bytes, length: 0, deadlineMs: NEVER });
      delivery.wake();
    }
  }

  private keep(bytes: Uint8Array): void {
    const ttlMs = ttlOfCommand(bytes);
    const { nowMs, evenMs } = this.broker;
    // [BRK-72] the way from there is part of its time
    const deadlineMs = ttlMs === 0 ? NEVER : nowMs + ttlMs - Math.max(0, evenMs - this.sentAtMs);
    this.waiting.push({ bytes, length: bytes.length, deadlineMs });
    this.charge(bytes.length);
    this.member.channel.delivery.wake();
  }

  /** It comes again by another way, for it is not acknowledged. */
  private forgetWaiting(): void {
    this.waiting.clear();
    this.charge(-this.waitingBytes);
  }

  private charge(bytes: number): void {
    this.waitingBytes += bytes;
    this.member.channel.client.queued.charge(bytes);
  }

  private readOn(): void {
    if (!this.isHeld) return;
    this.isHeld = false;
    this.member.channel.release();
  }

  private onTime(): void {
    if (this.stream !== null) {
      this.stream.end(StreamEnd.BROKEN);
      this.ended(StreamEnd.BROKEN);
    } else this.seek();
  }

  private seekLater(): void {
    const { timers, nowMs } = this.broker;
    timers.set(this.timer, nowMs + this.backoffMs);
    this.backoffMs = Math.min(this.backoffMs * 2, BACKOFF_MS_MAX);
  }

  /** Finds out who has the group, or takes it. */
  private seek(): void {
    const { claims } = this.broker;
    const claim = durableClaim(this.group);
    if (this.isOver || claims === null) return;
    if (claims.holds(claim)) this.settle(ClaimAnswer.HELD, '');
    else {
      this.asking = {
        sinceMs: this.broker.nowMs,
        mayTake: () => true,
        settled: (answer, node) => {
          this.asking = null;
          this.settle(answer, node);
        },
      };
      claims.ask(claim, this.asking);
    }
  }

  private settle(answer: ClaimAnswer, node: string): void {
    if (this.isOver) return;
    const { channel } = this.member;
    if (channel.closed) this.finish();
    else if (answer === ClaimAnswer.ELSEWHERE) this.join(node);
    else if (answer !== ClaimAnswer.HELD || (this.begun !== null && this.isMuted)) this.seekLater();
    else if (!this.member.awaits(() => this.seek())) this.stay();
  }

  /** The group is this node's. */
  private stay(): void {
    const { member, subscription, request, broker } = this;
    this.finish();
    broker.actFor(member.channel.client, () => {
      const code = member.stay(subscription, request);
      if (code !== ReasonCode.NO_ERROR) this.turnAway(code);
    });
  }

  private refuse(code: ReasonCode): void {
    this.finish();
    this.turnAway(code);
  }

  /** The client is told why it gets nothing of the group. */
  private turnAway(code: ReasonCode): void {
    const { subscription, member } = this;
    if (subscription === null) member.refuse(code);
    else this.broker.giveUp(subscription, code);
  }

  private finish(): void {
    if (this.isOver) return;
    this.isOver = true;
    const { subscription, member } = this;
    this.stream = null;
    const { timers, claims } = this.broker;
    timers.clear(this.timer);
    if (this.asking !== null) claims?.forget(durableClaim(this.group), this.asking);
    this.asking = null;
    this.forgetWaiting();
    this.readOn();
    if (this.begun === null) member.channel.release();
    if (subscription === null) return;
    if (subscription.main.delivery.source === this) subscription.main.delivery.source = null;
    this.owner.over(subscription);
  }
}

/** Reasons of the protocol of clients stand behind all others. */
const REASONS_FROM = 64;
/** For these the group is sought anew. */
const PASSING: ReadonlySet<number> = new Set<number>([
  ReasonCode.NO_ERROR,
  ReasonCode.MOVED,
  ReasonCode.BUSY,
  ReasonCode.TAKEN,
  ReasonCode.SESSION_TAKEN,
  ReasonCode.SHUTTING_DOWN,
  ReasonCode.INTERNAL_ERROR,
]);
/** A node that does not answer for so long does not have the group any more, or is gone. */
const JOIN_MS_MAX = 2_000;
const BACKOFF_MS_MIN = 20;
const BACKOFF_MS_MAX = 2_000;
const ID_AT = 4;
