import { MILLISECOND, type Micros, NEVER } from '../../base/time.ts';

/** What {@link Liveness.onTimeout} found. */
export const LivenessOutcome = { NONE: 0, HEARTBEAT_DUE: 1, HEARTBEAT_TIMEOUT: 2, IDLE_TIMEOUT: 3 } as const;
export type LivenessOutcome = (typeof LivenessOutcome)[keyof typeof LivenessOutcome];

/**
 * Tells a quiet connection from a dead one. After a heartbeat interval without a packet a heartbeat asks for an acknowledgement; after
 * `heartbeatMs` x `heartbeatMisses` without a packet the peer is gone, if it was asked. Independently, the idle timeout of RFC 9000
 * section 10.1 gives up a connection that neither side uses.
 *
 * Silence counts only while we listened: a machine that slept, or a process that stood still, asks first ({@link onResumed}).
 */
export class Liveness {
  private readonly heartbeat: Micros;
  private readonly misses: number;
  private idle: Micros;
  private lastReceived: Micros;
  private lastActivity: Micros;
  /** When, since the last packet received, something that is to be acknowledged was sent first; NEVER when nothing was. */
  private askedAt: Micros = NEVER;
  /** The last packet received, or heartbeat sent: what the next heartbeat counts from. */
  private heartbeatFrom: Micros;

  constructor(heartbeatMs: number, misses: number, idleTimeoutMs: number, now: Micros) {
    this.heartbeat = heartbeatMs === 0 ? NEVER : heartbeatMs * MILLISECOND;
    this.misses = misses;
    this.idle = idleTimeoutMs === 0 ? NEVER : idleTimeoutMs * MILLISECOND;
    this.lastReceived = now;
    this.lastActivity = now;
    this.heartbeatFrom = now;
  }

  /** The peer's idle timeout is known: the smaller of the two holds. [CON-6] */
  limitIdle(peerIdleTimeoutMs: number): void {
    if (peerIdleTimeoutMs > 0) this.idle = Math.min(this.idle, peerIdleTimeoutMs * MILLISECOND);
  }

  /** Time between heartbeats, which leaves room for two that are lost before the idle timeout; NEVER without heartbeats. [CON-7] */
  interval(pto: Micros): Micros {
    const { heartbeat } = this;
    return heartbeat === NEVER
      ? NEVER
      : Math.min(heartbeat, Math.max(this.idle / HEARTBEATS_AN_IDLE_TIMEOUT, pto));
  }

  /** What a HEARTBEAT tells of when the next one comes, in ms; 0 when none does. [CON-7] */
  intervalMs(pto: Micros): number {
    return this.heartbeat === NEVER ? 0 : Math.ceil(this.interval(pto) / MILLISECOND);
  }

  /** When the last packet was received. */
  get receivedAt(): Micros {
    return this.lastReceived;
  }

  onReceived(now: Micros): void {
    this.lastReceived = now;
    this.lastActivity = now;
    this.askedAt = NEVER;
    this.heartbeatFrom = now;
  }

  /** An ack-eliciting packet was sent: the first one after the last received packet restarts the idle timeout. */
  onSent(now: Micros): void {
    if (this.askedAt !== NEVER) return;
    this.askedAt = now;
    this.lastActivity = now;
  }

  /** The machine woke up, or the process goes on after it stood still. True when the peer is to be asked whether it is there. [CON-16] */
  onResumed(now: Micros): boolean {
    if (this.lastReceived === now) return false;
    this.onReceived(now);
    this.askedAt = now;
    return true;
  }

  /** @param pto - the current probe timeout; no silence that is shorter than three of them means anything */
  deadline(pto: Micros): Micros {
    return Math.min(this.heartbeatFrom + this.interval(pto), this.deadAt(pto), this.idleAt(pto));
  }

  onTimeout(now: Micros, pto: Micros): LivenessOutcome {
    const isHeartbeatDue = now >= this.heartbeatFrom + this.interval(pto);
    if (isHeartbeatDue && this.askedAt === NEVER) return this.ask(now);
    if (now >= this.deadAt(pto)) return LivenessOutcome.HEARTBEAT_TIMEOUT; // [CON-8] asked, and silent since
    if (now >= this.idleAt(pto)) return LivenessOutcome.IDLE_TIMEOUT; // [CON-6] neither side uses it
    return isHeartbeatDue ? this.ask(now) : LivenessOutcome.NONE;
  }

  /** [CON-7] */
  private ask(now: Micros): LivenessOutcome {
    this.heartbeatFrom = now;
    if (this.askedAt === NEVER) this.askedAt = now;
    return LivenessOutcome.HEARTBEAT_DUE;
  }

  private deadAt(pto: Micros): Micros {
    return Math.max(this.lastReceived + this.heartbeat * this.misses, this.askedAt + 3 * pto);
  }

  private idleAt(pto: Micros): Micros {
    return this.lastActivity + Math.max(this.idle, 3 * pto);
  }
}

const HEARTBEATS_AN_IDLE_TIMEOUT = 3;
