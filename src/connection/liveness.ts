import { MILLISECOND, type Micros, NEVER } from '../base/time.ts';

/** What {@link Liveness.onTimeout} found. */
export const LivenessOutcome = { NONE: 0, HEARTBEAT_DUE: 1, HEARTBEAT_TIMEOUT: 2, IDLE_TIMEOUT: 3 } as const;
export type LivenessOutcome = (typeof LivenessOutcome)[keyof typeof LivenessOutcome];

/**
 * Tells a quiet connection from a dead one. After `heartbeatMs` without a packet a heartbeat asks for an acknowledgement; after
 * `heartbeatMs` x `heartbeatMisses` without a packet the peer is gone. Independently, the idle timeout of RFC 9000
 * section 10.1 gives up a connection that neither side uses.
 */
export class Liveness {
  private readonly heartbeat: Micros;
  private readonly misses: number;
  private idle: Micros;
  private lastReceived: Micros;
  private lastActivity: Micros;
  private sentSinceReceived = false;
  private heartbeatAt: Micros;

  constructor(heartbeatMs: number, misses: number, idleTimeoutMs: number, now: Micros) {
    this.heartbeat = heartbeatMs === 0 ? NEVER : heartbeatMs * MILLISECOND;
    this.misses = misses;
    this.idle = idleTimeoutMs === 0 ? NEVER : idleTimeoutMs * MILLISECOND;
    this.lastReceived = now;
    this.lastActivity = now;
    this.heartbeatAt = now + this.heartbeat;
  }

  /** The peer's idle timeout is known: the smaller of the two holds. [CON-6] */
  limitIdle(peerIdleTimeoutMs: number): void {
    if (peerIdleTimeoutMs > 0) this.idle = Math.min(this.idle, peerIdleTimeoutMs * MILLISECOND);
  }

  onReceived(now: Micros): void {
    this.lastReceived = now;
    this.lastActivity = now;
    this.sentSinceReceived = false;
    this.heartbeatAt = now + this.heartbeat;
  }

  /** An ack-eliciting packet was sent: the first one after the last received packet restarts the idle timeout. */
  onSent(now: Micros): void {
    if (this.sentSinceReceived) return;
    this.sentSinceReceived = true;
    this.lastActivity = now;
  }

  /** @param pto - the current probe timeout; no silence that is shorter than three of them means anything */
  deadline(pto: Micros): Micros {
    return Math.min(this.heartbeatAt, this.deadAt(pto), this.idleAt(pto));
  }

  onTimeout(now: Micros, pto: Micros): LivenessOutcome {
    if (now >= this.deadAt(pto)) return LivenessOutcome.HEARTBEAT_TIMEOUT; // [CON-8]
    if (now >= this.idleAt(pto)) return LivenessOutcome.IDLE_TIMEOUT; // [CON-6]
    if (now < this.heartbeatAt) return LivenessOutcome.NONE;
    this.heartbeatAt = now + this.heartbeat;
    return LivenessOutcome.HEARTBEAT_DUE; // [CON-7]
  }

  private deadAt(pto: Micros): Micros {
    return this.lastReceived + Math.max(this.heartbeat * this.misses, 3 * pto);
  }

  private idleAt(pto: Micros): Micros {
    return this.lastActivity + Math.max(this.idle, 3 * pto);
  }
}
