import { LARGE_ZERO } from '../../../base/large-count.ts';
import { Ring } from '../../../base/ring.ts';
import type { Micros } from '../../../base/time.ts';
import type { FlowCredit } from '../flow-control.ts';
import { DeadlineRule } from './deadline-rule.ts';
import type { EarlyRow } from './early-row.ts';
import type { SlabPool } from './message-records.ts';
import { SecondCopies } from './second-copies.ts';

/** What the sending halves of all streams of one connection share. */
export class SendContext {
  readonly slabs: SlabPool;
  /** The connection's credit, raised by MAX_DATA. */
  readonly credit: FlowCredit;
  /** The last bytes of `credit`, which are for streams of the class `system`. [STR-34] */
  reserveBytes = 0;
  /** Outcomes of tracked messages, for the connection to take. */
  readonly outcomes = new Outcomes();
  readonly copies = new SecondCopies();
  /** Frame bytes of an empty packet on the current path; the connection keeps it current. */
  packetRoom: number;
  /** What is still worth doing for messages with a deadline. */
  readonly deadlines = new DeadlineRule();
  /**
   * Bytes of best-effort and partial messages that may be sent for the first time in this packet; infinite while the queue of the path is
   * short. [STR-42]
   */
  thinRoom = Number.POSITIVE_INFINITY;
  /** There was a best-effort or partial message: before the first nobody asks for the queue of the path, and it is not looked at. */
  hasThinned = false;
  /** Messages taken in, and their bytes. */
  messages = 0;
  messageBytes: number = LARGE_ZERO;
  /** Messages whose lifetime ended before they were known to have arrived. */
  expired = 0;
  /** Best-effort messages of which a packet was lost. */
  lost = 0;
  /** Messages that the peer reported as given up. */
  dropped = 0;
  /** Best-effort messages that gave way to newer ones before they were sent. */
  thinned = 0;
  /** Message bytes sent again, messages or parts of them, and packets that held some. */
  retransmittedBytes = 0;
  retransmittedMessages = 0;
  retransmittedPackets = 0;
  /** Credits, of streams and of the connection, that something waits for. */
  blockedCredits = 0;

  constructor(slabs: SlabPool, credit: FlowCredit, packetRoom: number) {
    this.slabs = slabs;
    this.credit = credit;
    this.packetRoom = packetRoom;
  }
}

/** What waits in a sending half for its first transmission, and the marks that its sender minds. */
export class SendQueue {
  /** Bytes not sent yet, with the fixed cost of their messages. */
  bytes = 0;
  /** Above this it is full. */
  highWaterBytes: number;
  /** When it has fallen to this after it was full, {@link takeDrained} says so. */
  lowWaterBytes: number;
  /** Beyond this messages are refused, unless nothing else waits. */
  bytesMax: number;
  /** Once there were best-effort messages: those of them that wait. */
  bestEffort: WaitingBestEffort | null = null;
  /** What of {@link Mark} what enters gets: UNPROTECTED while it is sent without what the stream does against loss [FEC-1], ENVELOPE when it begins with one. */
  mark = 0;
  /** What may go before the handshake is complete; null once it is. [HS-59] */
  early: EarlyRow | null = null;
  private awaitsDrain = false;

  constructor(options: SendQueueOptions) {
    this.bytesMax = options.queueBytesMax ?? QUEUE_BYTES_MAX;
    this.highWaterBytes = Math.min(options.highWaterBytes ?? HIGH_WATER_BYTES, this.bytesMax);
    this.lowWaterBytes = options.lowWaterBytes ?? this.highWaterBytes >>> 2;
  }

  /** Whether a message of so many bytes may enter. */
  admits(length: number): boolean {
    if (this.bytes + length <= this.bytesMax || this.bytes === 0) return true;
    this.awaitsDrain = true;
    return false;
  }

  /** True above the high-water mark: whoever asks is to wait. */
  takeFull(): boolean {
    if (this.bytes <= this.highWaterBytes) return false;
    this.awaitsDrain = true;
    return true;
  }

  /** True once after somebody was to wait and the queue has fallen to the low-water mark. */
  takeDrained(): boolean {
    if (!this.awaitsDrain || this.bytes > this.lowWaterBytes) return false;
    this.awaitsDrain = false;
    return true;
  }
}

/** Best-effort messages that wait, and may give way to each other. */
interface WaitingBestEffort {
  thin(waitMax: Micros, now: Micros): boolean;
}

export interface SendQueueOptions {
  readonly highWaterBytes?: number;
  readonly lowWaterBytes?: number;
  readonly queueBytesMax?: number;
}

/** What became of a message whose sender asked to be told. [STR-27] */
export const Outcome = {
  /** Complete at the peer's transport. */
  ACKNOWLEDGED: 0,
  /** Its deadline passed before it was known to have arrived. */
  EXPIRED: 1,
  /** A best-effort message, or a part of it, was lost. */
  LOST: 2,
  /** The peer's transport gave it up before its application read it, or the stream was reset. */
  DROPPED: 3,
} as const;
export type Outcome = (typeof Outcome)[keyof typeof Outcome];

/**
 * Outcomes on their way to those who asked. Each tracked message enters it exactly once, so that the tracked messages in
 * the send queues bound it.
 */
export class Outcomes {
  /** For each its tracking id and, in the lowest two bits, its outcome. */
  private ring: Ring<number> | null = null;
  private pushed = 0;
  /** Tracking id of the outcome that {@link next} took last. */
  id = 0;
  outcome: Outcome = Outcome.ACKNOWLEDGED;

  get length(): number {
    return this.ring?.length ?? 0;
  }

  push(id: number, outcome: Outcome): void {
    this.ring ??= new Ring();
    this.ring.push(id * 4 + outcome);
    this.pushed++;
  }

  /** Takes the oldest into `id` and `outcome`; false when there is none. */
  next(): boolean {
    const { ring } = this;
    const item = ring?.shift();
    if (ring === null || item === undefined) return false;
    this.id = Math.floor(item / 4);
    this.outcome = (item % 4) as Outcome;
    if (ring.length === 0) this.onEmpty();
    return true;
  }

  /** A ring that has grown large is given back. */
  private onEmpty(): void {
    if (this.pushed > KEPT_OUTCOMES) this.ring = null;
    this.pushed = 0;
  }
}

const KEPT_OUTCOMES = 1_024;
const HIGH_WATER_BYTES = 262_144;
const QUEUE_BYTES_MAX = 67_108_864;
