import { type HeapItem, MILLISECOND, type Micros, NEVER } from '../../base/time.ts';
import { OverheadBudget } from './overhead-budget.ts';
import { ProtectionMode, type ProtectionOptions, ProtectionPlan } from './protection.ts';

/** What the streams' protections share, and what they tell it. */
export interface ProtectionHost {
  /** The stream asks for protection from now on. */
  watch(stream: StreamProtection): void;
  /** When the stream is to be flushed. */
  setFlush(stream: StreamProtection, at: Micros): void;
  /** Number of the packet that is being filled. */
  readonly packet: number;
  /** Packet size in use. */
  readonly mtu: number;
  repeatsSent: number;
  repeatsUsed: number;
  /** The packet that is being filled got new messages of this stream. */
  onWritten(stream: StreamProtection): void;
}

/** What of a stream matters for its protection and stays as it is. */
export interface ProtectedStream {
  readonly id: number;
  readonly ordered: boolean;
  readonly isBulk: boolean;
}

/**
 * How the messages of one stream are protected against loss: what was asked, how the stream sends, what the planner made of both, and
 * what it may cost. [FEC-1]
 */
export class StreamProtection implements HeapItem {
  readonly stream: ProtectedStream;
  /** What was asked last, by the stream or a message; off while nobody has asked. */
  asked: ProtectionOptions;
  /** What is done at the moment. */
  readonly plan = new ProtectionPlan();
  readonly budget = new OverheadBudget();

  // How the stream sends, over its last packets with new messages.
  /** Mean time between them, where those of one moment are one; NEVER before there were two. */
  interval: Micros = NEVER;
  /** Mean bytes of new messages in each. */
  bytes = 0;
  /** Lifetime of the message sent last; NEVER without one. */
  lifetime: Micros = NEVER;
  /** The packets so far. */
  packets = 0;

  /** When a packet follows in any case, if no other did. Kept by the host. */
  deadline: Micros = NEVER;
  heapIndex = -1;
  /** That time has come: a packet of its own, if need be, is to be written. */
  isFlushDue = false;

  private readonly ofStream: ProtectionOptions | DefaultProtection;
  private readonly host: ProtectionHost;
  /** Nobody has paid yet for the packet that a flush takes. */
  private isUnpaid = false;
  private lastPacket = -1;
  private lastAt: Micros = 0;

  /** @param ofStream - what the stream says; what holds for the connection where it says nothing */
  constructor(
    stream: ProtectedStream,
    ofStream: ProtectionOptions | DefaultProtection,
    host: ProtectionHost,
  ) {
    this.stream = stream;
    this.ofStream = ofStream;
    this.asked = optionsOf(ofStream);
    this.host = host;
    if (ofStream instanceof DefaultProtection) ofStream.follow(this);
    if (this.isAsked) host.watch(this);
  }

  /** Somebody has asked for protection. */
  get isAsked(): boolean {
    return this.asked.mode !== ProtectionMode.OFF;
  }

  /** True unless the next message, which asks for this, or null for what the stream has, is to be sent without. */
  admits(asked: ProtectionOptions | null): boolean {
    const said = asked ?? optionsOf(this.ofStream);
    if (said.mode === ProtectionMode.OFF) return !this.isAsked;
    if (!this.isAsked) this.host.watch(this);
    this.asked = said;
    return true;
  }

  /** The packet that is being filled got so many bytes of new messages; what the planner goes by, and what may be spent. */
  onSent(bytes: number, now: Micros): void {
    const { host, plan } = this;
    const isFirst = host.packet !== this.lastPacket;
    this.budget.earn(isFirst ? bytes + PACKET_BYTES : bytes, this.asked.overheadMax, host.mtu);
    if (!isFirst) return;
    this.bytes = this.packets === 0 ? bytes : this.bytes + (bytes - this.bytes) / MEAN_OVER;
    if (this.packets > 0 && now > this.lastAt) this.measureInterval(now - this.lastAt);
    this.packets++;
    this.lastPacket = host.packet;
    this.lastAt = now;
    host.onWritten(this);
    if (plan.flushAfter === 0) return;
    this.endFlush();
    host.setFlush(this, now + (this.isApart(this.packets) ? APART_AFTER : plan.flushAfter));
  }

  /** Whether so many bytes may go again in the packet that is being filled. */
  affords(bytes: number): boolean {
    return bytes === 0 || this.budget.affords(this.isUnpaid ? bytes + PACKET_BYTES : bytes);
  }

  /** So many messages, and bytes, go again in the packet that is being filled. */
  onRepeated(messages: number, bytes: number): void {
    this.host.repeatsSent += messages;
    this.budget.spend(this.isUnpaid ? bytes + PACKET_BYTES : bytes);
    this.isUnpaid = false;
  }

  /** Of so many messages the first packet was lost, but not all. */
  onRepeatsUsed(messages: number): void {
    this.host.repeatsUsed += messages;
  }

  /** Whether one of its own follows soon behind this packet, as the plan says of a share of them. They count from 1; {@link packets} is the newest. */
  isApart(packet: number): boolean {
    const { apartShare } = this.plan;
    return Math.floor(packet * apartShare) > Math.floor((packet - 1) * apartShare);
  }

  /** It is time to flush. */
  beginFlush(): void {
    this.isFlushDue = true;
    this.isUnpaid = true;
  }

  endFlush(): void {
    this.isFlushDue = false;
    this.isUnpaid = false;
  }

  /** A pause is no rhythm: a time that is much longer than the others counts as one that is a little longer. */
  private measureInterval(elapsed: Micros): void {
    if (this.interval === NEVER) this.interval = elapsed;
    else
      this.interval +=
        (Math.min(elapsed, PAUSE * Math.max(this.interval, MILLISECOND)) - this.interval) / MEAN_OVER;
  }
}

function optionsOf(said: ProtectionOptions | DefaultProtection): ProtectionOptions {
  return said instanceof DefaultProtection ? said.options : said;
}

/** What messages are protected by of streams that do not say, while that may change. */
export class DefaultProtection {
  /** What streams have that are opened from now on. */
  options: ProtectionOptions;
  /** Null: there never was one. */
  private followers: Map<number, StreamProtection> | null = null;

  constructor(options: ProtectionOptions) {
    this.options = options;
  }

  follow(stream: StreamProtection): void {
    this.followers ??= new Map();
    this.followers.set(stream.stream.id, stream);
  }

  /** The stream is over. */
  forget(id: number): void {
    this.followers?.delete(id);
  }

  /** Where it becomes nothing, streams that are protected stay so: on a path that loses nothing that costs nothing. [CON-67] */
  change(options: ProtectionOptions): void {
    this.options = options;
    if (options.mode === ProtectionMode.OFF || this.followers === null) return;
    for (const stream of this.followers.values()) stream.admits(null);
  }
}

/** What a packet costs beside its messages: headers of IP and UDP, ours, the tag. */
export const PACKET_BYTES = 55;
const MEAN_OVER = 8;
const PAUSE = 8;
/** How long behind a packet that one goes which its plan wants soon. */
const APART_AFTER: Micros = 2 * MILLISECOND;
