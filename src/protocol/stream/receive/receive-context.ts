import type { MemorySource } from '../../../base/memory-budget.ts';
import { type DeadlineHeap, type Micros, NEVER } from '../../../base/time.ts';
import type { ConnectionCompression } from '../../compress/compression.ts';
import type { DatagramCopy } from '../../wire/shared-datagrams.ts';
import { type FlowWindow, MESSAGE_COST, Pace } from '../flow-control.ts';
import { copyOut, type ReadyQueue, type Segment } from './segment.ts';

/** What the receiving halves of all streams of one connection share. */
export class ReceiveContext {
  /** The connection's window: everything in the reliable spaces is charged here as well. */
  readonly window: FlowWindow;
  readonly budget: BestEffortBudget;
  /** The limit that we advertised. [FRM-7] */
  readonly messageBytesMax: number;
  /** Opens messages in envelopes; null: none are taken. */
  compression: ConnectionCompression | null = null;
  /**
   * Bytes of datagrams that are kept alive by small messages in them and that nobody is charged for. Above `wasteBytesMax` messages
   * are copied out. [STR-14]
   */
  wasteBytes = 0;
  /** Bytes of memory that unread messages keep. */
  keptBytes = 0;
  readonly wasteBytesMax: number;

  /** How fast the connection is, and what time it is. */
  readonly pace: Pace;
  /** How long what is incomplete may wait for its next byte; NEVER for ever. [STR-35] */
  readonly stallTimeout: Micros;
  /** When the peer last got on: bytes of messages came, on whatever stream, and not just a few. */
  progressAt: Micros = 0;
  private fewBytes = 0;

  /** Messages that were read, and their bytes. */
  messages = 0;
  messageBytes = 0;
  /** Messages whose lifetime ended before they were complete, in order and read. */
  expired = 0;
  /** Messages that had been received before. */
  duplicates = 0;
  /** Best-effort messages that came too late: behind a newer one of an ordered stream, or too far behind. */
  late = 0;
  /** Best-effort messages that had to give way to the budget. */
  evicted = 0;

  constructor(
    window: FlowWindow,
    budget: BestEffortBudget,
    messageBytesMax: number,
    wasteBytesMax = 262_144,
    stallTimeout = NEVER,
    pace = new Pace(),
  ) {
    this.pace = pace;
    this.stallTimeout = stallTimeout;
    this.window = window;
    this.budget = budget;
    this.messageBytesMax = messageBytesMax;
    this.wasteBytesMax = wasteBytesMax;
  }

  /** Bytes of messages came. A trickle of less than a packet is no progress: it would only keep the connection. [STR-35] */
  onBytes(bytes: number, now: Micros): void {
    this.fewBytes += bytes;
    if (this.fewBytes < PROGRESS_BYTES) return;
    this.fewBytes = 0;
    this.progressAt = now;
  }

  /**
   * A segment stays unread: counts what it keeps alive beyond what is charged for it, and copies it out of its datagram when that is much
   * larger and enough of such memory is already kept alive. [STR-14]
   */
  keep(segment: Segment): void {
    if (segment.copy !== null && this.keepCopy(segment, segment.copy)) return;
    const own = segment.end - segment.at;
    const charged = own + segment.count * MESSAGE_COST;
    let kept = segment.buffer.buffer.byteLength;
    if (kept > WASTE_FACTOR * own && this.wasteBytes + kept > this.wasteBytesMax) {
      segment.buffer = copyOut(segment.buffer, segment.at, own);
      segment.at = 0;
      segment.end = own;
      kept = own;
    }
    kept += SEGMENT_BYTES;
    segment.kept = kept;
    this.keptBytes += kept;
    if (kept <= charged) return;
    segment.waste = kept - charged;
    this.wasteBytes += segment.waste;
  }

  /** The same where segments share a copy of datagrams: what that keeps alive counts once. False when the segment is to be copied out of it. */
  private keepCopy(segment: Segment, copy: DatagramCopy): boolean {
    const charged = segment.end - segment.at + segment.count * MESSAGE_COST;
    const isFirst = copy.kept === 0;
    if (isFirst && this.wasteBytes + copy.bytes.length > this.wasteBytesMax) {
      segment.copy = null;
      return false;
    }
    const before = copy.waste;
    copy.kept++;
    copy.charged += charged;
    this.wasteBytes += copy.waste - before;
    segment.kept = charged;
    this.keptBytes += SEGMENT_BYTES + (isFirst ? copy.bytes.length : 0);
    return true;
  }

  /** A segment is not unread any more. */
  unkeep(segment: Segment): void {
    if (segment.copy !== null) return this.unkeepCopy(segment, segment.copy);
    this.keptBytes -= segment.kept;
    this.wasteBytes -= segment.waste;
    segment.kept = 0;
    segment.waste = 0;
  }

  private unkeepCopy(segment: Segment, copy: DatagramCopy): void {
    if (segment.kept === 0) return;
    const before = copy.waste;
    copy.kept--;
    copy.charged -= segment.kept;
    this.wasteBytes += copy.waste - before;
    this.keptBytes -= SEGMENT_BYTES + (copy.kept === 0 ? copy.bytes.length : 0);
    segment.kept = 0;
  }
}

/** What the reassemblers of a receiving half share. */
export interface ReassemblerOptions {
  readonly context: ReceiveContext;
  readonly ready: ReadyQueue;
  /** Messages of the stream that have a deadline. */
  readonly lifetimes: DeadlineHeap<Segment>;
  readonly ordered: boolean;
}

/**
 * Memory for the best-effort messages of a connection that are incomplete or unread. At its limit the oldest give way, and their
 * owners are told.
 */
export class BestEffortBudget {
  readonly bytesMax: number;
  used = 0;
  /** What is reserved of `source`, besides what is there for sure. */
  private taken = 0;
  private readonly source: MemorySource | null;
  private oldest: Segment | null = null;
  private newest: Segment | null = null;

  /** @param source - where what exceeds {@link SURE_BYTES} comes from; null when all of `bytesMax` is there for sure */
  constructor(bytesMax: number, source: MemorySource | null = null) {
    this.bytesMax = bytesMax;
    this.source = source;
  }

  /** Takes `bytes` for `segment`, evicting older ones; false when that is more than there is at all. */
  admit(segment: Segment, bytes: number): boolean {
    if (bytes > this.bytesMax) return false;
    const bytesMax = this.reserve(this.used + bytes);
    if (bytes > bytesMax) return false;
    while (this.used + bytes > bytesMax) this.evictOldest();
    segment.charged = bytes;
    this.used += bytes;
    segment.older = this.newest;
    segment.newer = null;
    if (this.newest === null) this.oldest = segment;
    else this.newest.newer = segment;
    this.newest = segment;
    return true;
  }

  /** Gives a part of a segment's bytes back; it stays in its place. */
  shrink(segment: Segment, bytes: number): void {
    segment.charged -= bytes;
    this.used -= bytes;
  }

  /** Gives back all that `segment` has. Harmless when it has nothing. */
  release(segment: Segment): void {
    if (segment !== this.oldest && segment.older === null) return;
    this.used -= segment.charged;
    segment.charged = 0;
    if (segment.older === null) this.oldest = segment.newer;
    else segment.older.newer = segment.newer;
    if (segment.newer === null) this.newest = segment.older;
    else segment.newer.older = segment.older;
    segment.older = null;
    segment.newer = null;
    if (this.used === 0 && this.taken > 0) {
      this.source?.give(this.taken);
      this.taken = 0;
    }
  }

  /** Reserves memory for `bytes` altogether, as far as there is some. Returns for how many there is. */
  private reserve(bytes: number): number {
    const { source } = this;
    if (source === null) return this.bytesMax;
    if (bytes > SURE_BYTES + this.taken) {
      const wanted = Math.min(this.bytesMax, bytes + STEP_BYTES) - SURE_BYTES - this.taken;
      const more = Math.min(wanted, Math.floor(source.available));
      if (more > 0) {
        source.take(more);
        this.taken += more;
      }
    }
    return Math.min(this.bytesMax, SURE_BYTES + this.taken);
  }

  private evictOldest(): void {
    const segment = this.oldest!;
    this.release(segment);
    segment.owner.onEvicted(segment);
  }
}

/** A segment whose buffer is more than this many times its own bytes wastes memory. */
const WASTE_FACTOR = 2;
/** A segment and the objects of its memory. */
const SEGMENT_BYTES = 320;
/** A little less than the smallest packet, all message. */
const PROGRESS_BYTES = 400;
/** Every connection has so much, whatever others use. */
export const SURE_BYTES = 16_384;
/** So much is reserved ahead. */
const STEP_BYTES = 65_536;
