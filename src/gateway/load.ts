/**
 * How much there is to do, and when it is too much. What is let in is bounded in number and in bytes, and by how long it would wait: who comes when that is too long is told so at
 * once, which costs less than to serve him, and those who were let in are answered in time. [GW-7]
 *
 * Requests wait in the system until the event loop comes to their sockets, where nobody sees them. A timer does not tell how long: where more than 1,024 sockets are ready, Node's loop
 * polls on, up to 48 times, before it looks at timers (libuv, `uv__io_poll`), which were seen to be late by 3 s while requests waited for 0.3. So a {@link Probe} is sent with a
 * request now and then, which stands in the same queue; how late it comes is how long a request waits that has come when it was sent, and one after the other they are the turns of
 * the queue.
 *
 * As in CoDel (RFC 8289) a queue that is long once is no overload: the process was asleep, its memory was collected, or many came together, and it drains. It is one where probes in
 * a row are late, where none is much less late than the one before, as they are when it drains, and where nothing was idle in between. From then on each turn serves requests for
 * as long as they may wait, and refuses those behind them, until a probe is in time. So that much of each turn is always for callers who are served: to refuse
 * everybody while it is late would make it idle and late in turn.
 */

import { MILLISECOND, type Micros } from '../base/time.ts';
import type { Clock } from '../udp/clock.ts';
import type { GivenLimits } from './options.ts';
import { Problem } from './problem.ts';
import { type Probe, SocketQueueProbe } from './queue-probe.ts';

/** What there is too much of: time that requests have waited, requests under way, or bytes of their bodies. */
export type Excess = 'delay' | 'requests' | 'bytes';

export class Load {
  inFlight = 0;
  /** Requests and connections that were refused, by what there was too much of. */
  readonly refused: Record<Excess, number> = { delay: 0, requests: 0, bytes: 0 };
  private bytes = 0;
  private readonly limits: GivenLimits;
  private readonly clock: Clock;
  private readonly probe: Probe;
  readonly random: () => number;
  /** Told when a turn of the queue is over: so many more requests in each would be in time. */
  onTurn: (room: number) => void = () => {};
  /** That were let in since the last turn. */
  private served = 0;
  /** When the probe was sent that is on its way, or the last one. */
  private sentAt: Micros = 0;
  private isSent = false;
  /** When the last one came, and from when on another is to be sent. */
  private cameAt: Micros = 0;
  private sendAt: Micros = 0;
  /** Probes in a row that were late, and how late the last of them was. */
  private lateProbes = 0;
  private late: Micros = 0;

  /** @param random - from 0 to 1 */
  constructor(
    limits: GivenLimits,
    clock: Clock,
    probe: Probe = new SocketQueueProbe(),
    random = Math.random,
  ) {
    this.limits = limits;
    this.clock = clock;
    this.probe = probe;
    this.random = random;
    probe.onArrival = () => this.judge(clock.now());
  }

  /** What there is too much of for a request that has come now; null: it is let in. */
  excess(): Excess | null {
    const { inFlightMax, loopDelayMsMax } = this.limits;
    if (this.inFlight >= inFlightMax) return 'requests';
    if (loopDelayMsMax === 0) return null;
    const now = this.clock.now();
    if (!this.isSent && now >= this.sendAt) this.send(now);
    const waited = now - this.sentAt;
    if (waited <= loopDelayMsMax * MILLISECOND) return null;
    // A turn that is as long as the one before, which was late, already shows a queue that does not drain: nobody has to wait for its end.
    return this.isOverloaded || (this.lateProbes > 0 && waited >= this.late * DRAINS) ? 'delay' : null;
  }

  /** Requests are refused that come late in a turn. */
  get isOverloaded(): boolean {
    return this.lateProbes >= LATE_PROBES;
  }

  /**
   * Somebody comes who is not counted as under way, or not yet.
   *
   * @throws {Problem} OVERLOADED
   */
  admit(): void {
    const excess = this.excess();
    if (excess !== null) throw this.refusal(excess);
    this.served++;
  }

  /**
   * A request begins. Whoever has begun one ends it with {@link end}.
   *
   * @throws {Problem} OVERLOADED
   */
  begin(): void {
    this.admit();
    this.inFlight++;
  }

  /** @throws {Problem} OVERLOADED */
  take(bytes: number): void {
    if (this.bytes + bytes > this.limits.inFlightBytesMax) throw this.refusal('bytes');
    this.bytes += bytes;
  }

  /** @param bytes - that were taken for it */
  end(bytes: number): void {
    this.inFlight--;
    this.bytes -= bytes;
  }

  /** One more is refused. @returns when it is worth trying again, in whole seconds: random, so that those who are refused together do not come back together */
  refuse(excess: Excess): number {
    this.refused[excess]++;
    return RETRY_SECONDS_MIN + Math.floor(this.random() * RETRY_SECONDS_RANGE);
  }

  /** However much there was too much of. */
  get refusedInAll(): number {
    const { delay, requests, bytes } = this.refused;
    return delay + requests + bytes;
  }

  close(): void {
    this.probe.close();
  }

  private refusal(excess: Excess): Problem {
    return new Problem('OVERLOADED', EXCESSES[excess], { retryAfterMs: this.refuse(excess) * 1_000 });
  }

  private send(now: Micros): void {
    // Nothing came for a while behind one that was late: the queue was empty.
    if (this.lateProbes > 0 && now - this.cameAt > this.late * IDLE) this.lateProbes = 0;
    this.isSent = true;
    this.sentAt = now;
    this.probe.send();
  }

  /** A turn of the queue is over. */
  private judge(now: Micros): void {
    const late = now - this.sentAt;
    this.isSent = false;
    this.cameAt = now;
    const isLate = late > this.limits.loopDelayMsMax * MILLISECOND;
    this.sendAt = isLate || late > REST ? now : now + REST;
    if (!isLate) this.lateProbes = 0;
    else if (this.lateProbes === 0 || late >= this.late * DRAINS) this.lateProbes++;
    this.late = late;
    const { served } = this;
    this.served = 0;
    this.onTurn(isLate ? 0 : roomOf(served, late, this.limits.loopDelayMsMax * MILLISECOND));
  }
}

/** How many more requests are to be let in after a turn in which so many were: some of those that there was time for, so that the next turns come near the bound and not above it. */
function roomOf(served: number, late: Micros, lateMax: Micros): number {
  return Math.ceil(Math.max(1, served) * (lateMax / Math.max(1, late) - 1) * ROOM_USED);
}

/** What a caller is told. */
export const EXCESSES: Readonly<Record<Excess, string>> = {
  delay: 'There is more to do than can be done. Come back later.',
  requests: 'As many requests are under way as are taken. Come back later.',
  bytes: 'The bodies of all requests are too much. Come back later.',
};

/** Between probes that are not late: much less than a request may wait, and seldom enough to cost nothing. */
const REST = 20 * MILLISECOND;
/** The first can be the work of a pause; a second that is as late is none, for what has come in a pause takes as much less time as there is capacity left. */
const LATE_PROBES = 2;
/** A probe that is late by less than this of the one before shows a queue that drains: what can do twice as much halves it with each. */
const DRAINS = 0.75;
/** Without a request, as a part of how late the last probe was: then there was no queue. */
const IDLE = 0.1;
/** As a part of the room in a turn. */
const ROOM_USED = 0.5;
const RETRY_SECONDS_MIN = 1;
const RETRY_SECONDS_RANGE = 5;
