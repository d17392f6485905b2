import { type Micros, NEVER } from '../../../base/time.ts';
import { type FlowWindow, Pace } from '../flow-window.ts';
import type { BestEffortBudget } from './best-effort-budget.ts';
import type { Segment } from './segment.ts';

/** What the receiving halves of all streams of one connection share. */
export class ReceiveContext {
  /** The connection's window: everything in the reliable spaces is charged here as well. */
  readonly window: FlowWindow;
  readonly budget: BestEffortBudget;
  /** The limit that we advertised. [FRM-7] */
  readonly messageBytesMax: number;
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

  /** Bytes of messages came. A trickle of less than a packet is no progress: it would only keep the connection. [STR-35] */
  onBytes(bytes: number, now: Micros): void {
    this.fewBytes += bytes;
    if (this.fewBytes < PROGRESS_BYTES) return;
    this.fewBytes = 0;
    this.progressAt = now;
  }

  /** A segment is not unread any more. */
  unkeep(segment: Segment): void {
    this.keptBytes -= segment.kept;
    this.wasteBytes -= segment.waste;
    segment.kept = 0;
    segment.waste = 0;
  }

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
}

/** A little less than the smallest packet, all message. */
const PROGRESS_BYTES = 400;
