import { LARGE_ZERO } from '../../../base/large-count.ts';
import type { MemorySource } from '../../../base/memory-budget.ts';
import { type DeadlineHeap, type Micros, NEVER } from '../../../base/time.ts';
import type { ConnectionCompression } from '../../compress/compression.ts';
import { type FlowWindow, Pace } from '../flow-control.ts';
import { KeptMemory } from './kept-memory.ts';
import type { ReadyQueue, Segment } from './segment.ts';

/** What the receiving halves of all streams of one connection share. */
export class ReceiveContext {
  /** The connection's window: everything in the reliable spaces is charged here as well. */
  readonly window: FlowWindow;
  readonly budget: BestEffortBudget;
  /** The limit that we advertised. [FRM-7] */
  readonly messageBytesMax: number;
  /** Opens messages in envelopes; null: none are taken. */
  compression: ConnectionCompression | null = null;
  /** What unread messages keep. */
  readonly kept: KeptMemory;
  /** Something of the packet that is being read was not taken, for lack of memory. */
  isRefusing = false;

  /** How fast the connection is, and what time it is. */
  readonly pace: Pace;
  /** How long what is incomplete may wait for its next byte; NEVER for ever. [STR-35] */
  readonly stallTimeout: Micros;
  /** When the peer last got on: bytes of messages came, on whatever stream, and not just a few. */
  progressAt: Micros = 0;
  private fewBytes = 0;

  /** Messages that were read, and their bytes. */
  messages = 0;
  messageBytes: number = LARGE_ZERO;
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
    kept = new KeptMemory(),
    stallTimeout = NEVER,
    pace = new Pace(),
  ) {
    this.pace = pace;
    this.stallTimeout = stallTimeout;
    this.window = window;
    this.budget = budget;
    this.messageBytesMax = messageBytesMax;
    this.kept = kept;
  }

  /** Bytes of messages came. A trickle of less than a packet is no progress: it would only keep the connection. [STR-35] */
  onBytes(bytes: number, now: Micros): void {
    this.fewBytes += bytes;
    if (this.fewBytes < PROGRESS_BYTES) return;
    this.fewBytes = 0;
    this.progressAt = now;
  }

  /**
   * There is no memory for what came: its packet counts as one that did not, so that the peer sends it again. Until there is, it is not the
   * peer who keeps others waiting. [CON-53] [STR-35]
   */
  refuse(): 0 {
    this.isRefusing = true;
    this.progressAt = this.pace.now;
    return 0;
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

/** A little less than the smallest packet, all message. */
const PROGRESS_BYTES = 400;
/** Every connection has so much, whatever others use. */
export const SURE_BYTES = 16_384;
/** So much is reserved ahead. */
const STEP_BYTES = 65_536;
