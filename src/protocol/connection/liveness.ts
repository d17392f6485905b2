import { MILLISECOND, type Micros, NEVER, SECOND } from '../../base/time.ts';

/** What {@link Liveness.onTimeout} found. */
export const LivenessOutcome = { NONE: 0, HEARTBEAT_DUE: 1, HEARTBEAT_TIMEOUT: 2, IDLE_TIMEOUT: 3 } as const;
export type LivenessOutcome = (typeof LivenessOutcome)[keyof typeof LivenessOutcome];

/** What the silence of the peer means. */
const Silence = {
  /** Nothing: it was not asked since something came. */
  CALM: 0,
  /** A heartbeat asked it. */
  ASKED: 1,
  /** The application wants to know now whether it is there, and it is asked often. [CON-66] */
  CHECKED: 2,
} as const;
type Silence = (typeof Silence)[keyof typeof Silence];

/**
 * Tells a quiet connection from a dead one. After a heartbeat interval without a packet a heartbeat asks for an acknowledgement; when none
 * came for the misses that are allowed, the peer is gone, if it was asked. Independently, the idle timeout of RFC 9000 section 10.1 gives up
 * a connection that neither side uses.
 *
 * A side that wants to sleep has a long interval, says so, and is left in peace by the other one, within bounds. [CON-63] [CON-64]
 *
 * Silence counts only while we listened: a machine that slept, or a process that stood still, asks first ({@link onResumed}).
 */
export class Liveness {
  /** The interval that was configured. */
  private readonly beat: Micros;
  private readonly misses: number;
  /** The interval that this side wants at present. */
  private wish: Micros;
  /** {@link wish} changed once, so that the peer has to know of the one in use. */
  private isAdapted = false;
  /** What the peer wants, as it said with the heartbeat of this number. */
  private peerWish: Micros = NEVER;
  private peerNumber = -1;
  /** Silence that this side leaves a peer that sleeps; 0 for one that does not. */
  private sparing: Micros = 0;
  /** The smaller of both sides' idle timeouts. */
  private idle: Micros;
  /** The same, longer for a side that sleeps. */
  private idleInUse: Micros;
  private lastReceived: Micros;
  private lastActivity: Micros;
  private silence: Silence = Silence.CALM;
  /** When, since the last packet received, something that is to be acknowledged was sent first; NEVER when nothing was. */
  private askedAt: Micros = NEVER;
  /** The last packet received, or heartbeat sent: what the next heartbeat counts from. */
  private heartbeatFrom: Micros;
  private checkedFrom: Micros = 0;

  constructor(heartbeatMs: number, misses: number, idleTimeoutMs: number, now: Micros) {
    this.beat = heartbeatMs === 0 ? NEVER : heartbeatMs * MILLISECOND;
    this.wish = this.beat;
    this.misses = misses;
    this.idle = idleTimeoutMs === 0 ? NEVER : idleTimeoutMs * MILLISECOND;
    this.idleInUse = this.idle;
    this.lastReceived = now;
    this.lastActivity = now;
    this.heartbeatFrom = now;
    this.onIntervals();
  }

  /** The peer's parameters are known: of the idle timeouts the smaller one holds [CON-6], and its first interval. [CON-63] */
  onPeerParameters(idleTimeoutMs: number, heartbeatMs: number): void {
    if (idleTimeoutMs > 0) this.idle = Math.min(this.idle, idleTimeoutMs * MILLISECOND);
    this.peerWish = intervalOf(heartbeatMs);
    this.onIntervals();
  }

  /** The peer sent a heartbeat, and said when the next one comes at the latest. An older one says nothing any more. [CON-63] */
  onHeartbeat(number: number, intervalMs: number): void {
    if (number <= this.peerNumber) return;
    this.peerNumber = number;
    this.peerWish = intervalOf(intervalMs);
    this.onIntervals();
  }

  /**
   * This side wants its heartbeats so far apart from now on. True when the peer has to be told.
   *
   * @param intervalOf - the interval, by the one that was configured
   */
  adapt(intervalOf: (configured: Micros) => Micros, now: Micros): boolean {
    const wish = this.beat === NEVER ? NEVER : intervalOf(this.beat);
    if (wish === this.wish) return false;
    this.wish = wish;
    this.isAdapted = true;
    this.onIntervals();
    this.lastActivity = now; // an idle timeout that is shorter now counts from now
    this.ask(now);
    return true;
  }

  /** Something is sent elsewhere. True when a heartbeat goes with it that would be due soon, and this side has asked for nothing. [CON-65] */
  joins(now: Micros): boolean {
    if (this.beat === NEVER || this.askedAt !== NEVER) return false;
    if (now < this.heartbeatFrom + this.interval(0) / 2) return false;
    this.ask(now);
    return true;
  }

  /** The peer is asked now whether it is there, and soon again. [CON-66] */
  check(now: Micros): void {
    this.ask(now);
    this.checkedFrom = now;
    if (this.beat !== NEVER) this.silence = Silence.CHECKED;
  }

  /**
   * Time between this side's heartbeats, which leaves room for two that are lost before the idle timeout, unless it is so long that the idle
   * timeout follows it; NEVER without heartbeats. [CON-7] [CON-63]
   */
  interval(pto: Micros): Micros {
    const { wish } = this;
    if (wish === NEVER) return NEVER;
    const third = Math.max(this.idle / HEARTBEATS_AN_IDLE_TIMEOUT, pto);
    return wish <= third ? wish : Math.max(third, this.quiet(wish));
  }

  /** What a HEARTBEAT tells of when the next one comes, in ms; 0 when none does. [CON-7] */
  intervalMs(pto: Micros): number {
    return this.wish === NEVER ? 0 : Math.ceil(this.interval(pto) / MILLISECOND);
  }

  /** Whether a heartbeat that is lost has to be said again: its interval may be news. [CON-62] */
  get isHeartbeatNews(): boolean {
    return this.isAdapted;
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
    this.silence = Silence.CALM;
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
    this.ask(now);
    return true;
  }

  /** @param pto - the current probe timeout; no silence that is shorter than three of them means anything */
  deadline(pto: Micros): Micros {
    const first = this.firstAfter(pto);
    return Math.min(this.heartbeatAt(first, pto), this.deadAt(first, pto), this.idleAt(pto));
  }

  onTimeout(now: Micros, pto: Micros): LivenessOutcome {
    const first = this.firstAfter(pto);
    const isHeartbeatDue = now >= this.heartbeatAt(first, pto);
    if (isHeartbeatDue && this.askedAt === NEVER) return this.ask(now);
    if (now >= this.deadAt(first, pto)) return LivenessOutcome.HEARTBEAT_TIMEOUT; // [CON-8] asked, and silent since
    if (now >= this.idleAt(pto)) return LivenessOutcome.IDLE_TIMEOUT; // [CON-6] neither side uses it
    return isHeartbeatDue ? this.ask(now) : LivenessOutcome.NONE;
  }

  /** [CON-7] */
  private ask(now: Micros): LivenessOutcome {
    this.heartbeatFrom = now;
    if (this.askedAt === NEVER) this.askedAt = now;
    if (this.silence === Silence.CALM) this.silence = Silence.ASKED;
    return LivenessOutcome.HEARTBEAT_DUE;
  }

  /** Silence before the first heartbeat: longer while the peer sleeps, whose own heartbeat is to come first. [CON-64] */
  private firstAfter(pto: Micros): Micros {
    return Math.max(this.interval(pto), this.sparing);
  }

  private heartbeatAt(first: Micros, pto: Micros): Micros {
    const { beat, heartbeatFrom } = this;
    if (beat === NEVER) return NEVER;
    switch (this.silence) {
      case Silence.CALM:
        return heartbeatFrom + first;
      case Silence.ASKED: // What is not answered is asked again as often as was configured.
        return heartbeatFrom + Math.min(first, beat, Math.max(this.idle / HEARTBEATS_AN_IDLE_TIMEOUT, pto));
      case Silence.CHECKED:
        return heartbeatFrom + Math.max(Math.min(beat, CHECK_INTERVAL), pto);
    }
  }

  private deadAt(first: Micros, pto: Micros): Micros {
    const { beat, misses } = this;
    const silent =
      this.silence === Silence.CHECKED
        ? this.checkedFrom + Math.min(beat, CHECK_INTERVAL) * misses
        : this.lastReceived + beat * misses + (first > beat ? first - beat : 0);
    return Math.max(silent, this.askedAt + 3 * pto);
  }

  private idleAt(pto: Micros): Micros {
    return this.lastActivity + Math.max(this.idleInUse, 3 * pto);
  }

  /** An interval so long that its side wants to sleep, as far as that is heeded; 0 for any other. [CON-63] */
  private quiet(interval: Micros): Micros {
    if (interval === NEVER) return 0;
    const heeded = Math.min(interval, this.idle);
    return heeded > QUIET_ABOVE ? heeded : 0;
  }

  private onIntervals(): void {
    const [own, peer] = [this.quiet(this.wish), this.quiet(this.peerWish)];
    this.idleInUse = Math.max(this.idle, HEARTBEATS_AN_IDLE_TIMEOUT * Math.max(own, peer));
    this.sparing = own > 0 ? 0 : Math.min(SPARED_MAX * this.beat, SPARED * peer);
  }
}

function intervalOf(ms: number): Micros {
  return ms === 0 ? NEVER : ms * MILLISECOND;
}

const HEARTBEATS_AN_IDLE_TIMEOUT = 3;
/** Whoever is content with an interval above this wants to sleep. */
const QUIET_ABOVE: Micros = 10 * SECOND;
/** How much longer than that of a side that sleeps the other's interval is, and how many times its own at most. */
const SPARED = 1.25;
const SPARED_MAX = 8;
const CHECK_INTERVAL: Micros = SECOND;
