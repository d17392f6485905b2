import { DeadlineHeap, MILLISECOND, type Micros, NEVER } from '../../base/time.ts';
import { type PlannedPath, planFor } from './planner.ts';
import { PlanMode } from './protection.ts';
import type { ProtectionHost, StreamProtection } from './stream-protection.ts';

/**
 * The protection of a connection's streams against loss: plans it anew as the path and the streams change, does less of it while window
 * or pacer hold packets back, and says when a packet has to follow that no other follows. While no stream asks for protection it does nothing. [FEC-1]
 */
export class ConnectionProtection implements ProtectionHost {
  /** The peer takes repairs. */
  mayRepair = false;
  packet = 0;
  /** Some stream's plan asks for repairs. */
  isRepairing = false;
  /** The stream whose new messages in the packet that is being filled are to be followed by repairs: that with the most demanding plan. */
  repaired: StreamProtection | null = null;
  /** Messages sent again before anything was known of their loss, and those of them whose first packet was lost. */
  repeatsSent = 0;
  repeatsUsed = 0;

  private readonly path: PlannedPath;
  /** Those that ask for protection; null: none ever did. */
  private streams: Map<number, StreamProtection> | null = null;
  private readonly flushes = new DeadlineHeap<StreamProtection>();
  private flushedAt: Micros = Number.NEGATIVE_INFINITY;
  private planAt: Micros = 0;
  /** Until when no repairs are planned. */
  private pausedUntil: Micros = 0;
  private wasLossy = false;
  /** How often protection is halved. */
  private halvings = 0;
  /** Since when packets wait for window or pacer, or do not; and when `halvings` may change. */
  private isBlocked = false;
  private changesAt: Micros = 0;
  /** Of streams that are over. */
  private earnedBefore = 0;
  private spentBefore = 0;

  constructor(path: PlannedPath) {
    this.path = path;
  }

  /** Any stream asks for protection; on a clean path that alone changes nothing. [FEC-8] */
  get isAsked(): boolean {
    return this.streams !== null && this.streams.size > 0;
  }

  get mtu(): number {
    return this.path.mtu;
  }

  watch(stream: StreamProtection): void {
    this.streams ??= new Map();
    this.streams.set(stream.stream.id, stream);
    this.planAt = 0;
  }

  /** The stream sends nothing any more. */
  forget(id: number): void {
    const stream = this.streams?.get(id);
    if (stream === undefined) return;
    this.flushes.remove(stream);
    this.earnedBefore += stream.budget.earnedBytes;
    this.spentBefore += stream.budget.spentBytes;
    this.streams?.delete(id);
  }

  // ---- packets ----

  /** A packet is filled from now on. To be called while {@link isAsked}. */
  beginPacket(now: Micros): void {
    this.packet++;
    this.repaired = null;
    const { isLossy } = this.path.loss;
    if (now < this.planAt && isLossy === this.wasLossy) return;
    this.planAt = now + PLAN_INTERVAL;
    this.wasLossy = isLossy;
    this.plan(now);
  }

  /** Repairs bring nothing back: no plan asks for them until then. [FEC-55] */
  pauseRepairs(until: Micros): void {
    this.pausedUntil = until;
    this.planAt = 0;
  }

  /** The packet that is being filled got new messages of this stream. */
  onWritten(stream: StreamProtection): void {
    const { mode } = stream.plan;
    if (mode <= PlanMode.REPEAT) return;
    if (this.repaired === null || mode > this.repaired.plan.mode) this.repaired = stream;
  }

  /**
   * Everything that may go out now is out. What is held back for a whole round trip is more than the path takes, and protection is a part
   * of it. [FEC-4]
   */
  onTransmitted(isBlocked: boolean, now: Micros): void {
    const { smoothed } = this.path.rtt;
    if (isBlocked !== this.isBlocked) {
      this.isBlocked = isBlocked;
      this.changesAt = now + (isBlocked ? smoothed : RECOVERY_RTTS * smoothed);
      return;
    }
    if (now < this.changesAt) return;
    const halvings = isBlocked ? Math.min(HALVINGS_MAX, this.halvings + 1) : Math.max(0, this.halvings - 1);
    this.changesAt = now + (isBlocked ? smoothed : RECOVERY_RTTS * smoothed);
    if (halvings === this.halvings) return;
    this.halvings = halvings;
    this.planAt = 0;
  }

  // ---- flushes ----

  setFlush(stream: StreamProtection, at: Micros): void {
    this.flushes.set(stream, Math.ceil(at));
  }

  /** When {@link nextFlush} has something to say; NEVER when nothing is to be flushed. */
  nextTimeout(): Micros {
    const first = this.flushes.peek();
    return first === undefined ? NEVER : Math.max(first.deadline, this.flushedAt + FLUSH_GAP);
  }

  /** Takes a stream that is to be flushed now; null when there is none (any more). Those of one moment may share a packet. [FEC-7] */
  nextFlush(now: Micros): StreamProtection | null {
    const first = this.flushes.peek();
    if (first === undefined || first.deadline > now) return null;
    if (now !== this.flushedAt && now < this.flushedAt + FLUSH_GAP) return null;
    this.flushedAt = now;
    this.flushes.set(first, NEVER);
    first.beginFlush();
    return first;
  }

  // ---- figures ----

  /** Streams with such a plan. */
  count(mode: PlanMode): number {
    let count = 0;
    for (const { plan } of this.asking) if (plan.mode === mode) count++;
    return count;
  }

  /** Bytes that protection could have spent, and has. */
  get earnedBytes(): number {
    let bytes = this.earnedBefore;
    for (const { budget } of this.asking) bytes += budget.earnedBytes;
    return bytes;
  }

  get spentBytes(): number {
    let bytes = this.spentBefore;
    for (const { budget } of this.asking) bytes += budget.spentBytes;
    return bytes;
  }

  private get asking(): Iterable<StreamProtection> {
    return this.streams?.values() ?? NONE;
  }

  private plan(now: Micros): void {
    this.isRepairing = false;
    const mayRepair = this.mayRepair && now >= this.pausedUntil;
    for (const stream of this.asking) {
      planFor(stream, this.path, mayRepair, this.halvings);
      if (stream.plan.mode > PlanMode.REPEAT) this.isRepairing = true;
      if (stream.plan.flushAfter === 0) this.flushes.set(stream, NEVER);
    }
  }
}

const NONE: readonly StreamProtection[] = [];
const PLAN_INTERVAL: Micros = 100 * MILLISECOND;
/** No more than one packet in so long goes only to flush. */
const FLUSH_GAP: Micros = 2 * MILLISECOND;
const HALVINGS_MAX = 4;
const RECOVERY_RTTS = 2;
