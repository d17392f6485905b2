/**
 * How much there is to do, and when it is too much: requests under way, what of their bodies is in memory, and how late the event loop is. Who comes then is told so at once, which
 * costs little, and those who were let in are answered as fast as ever. [GW-7]
 */

import { MILLISECOND, type Micros } from '../base/time.ts';
import type { Clock, TimerHandle } from '../udp/clock.ts';
import type { GivenLimits } from './options.ts';
import { Problem } from './problem.ts';

export class Load {
  inFlight = 0;
  private bytes = 0;
  private readonly limits: GivenLimits;
  private readonly clock: Clock;
  private timer: TimerHandle | null = null;
  private expectedAt: Micros = 0;
  /** How late the last looks were. */
  private readonly looks = new Float64Array(LOOKS);
  private next = 0;
  private delayMs = 0;

  constructor(limits: GivenLimits, clock: Clock) {
    this.limits = limits;
    this.clock = clock;
    if (limits.loopDelayMsMax > 0) this.look();
  }

  /** How late the event loop was at least in each of the last looks, in ms: one that was held up once has caught up since. */
  get loopDelayMs(): number {
    return this.delayMs;
  }

  /**
   * A request begins. Whoever has begun one ends it with {@link end}.
   *
   * @throws {Problem} OVERLOADED
   */
  begin(): void {
    const { inFlightMax, loopDelayMsMax } = this.limits;
    if (this.inFlight >= inFlightMax) throw tooMuch(`${inFlightMax} requests are under way.`);
    if (loopDelayMsMax > 0 && this.loopDelayMs > loopDelayMsMax)
      throw tooMuch('There is more to do than can be done.');
    this.inFlight++;
  }

  /** @throws {Problem} OVERLOADED */
  take(bytes: number): void {
    if (this.bytes + bytes > this.limits.inFlightBytesMax)
      throw tooMuch('The bodies of all requests are too much.');
    this.bytes += bytes;
  }

  /** @param bytes - that were taken for it */
  end(bytes: number): void {
    this.inFlight--;
    this.bytes -= bytes;
  }

  close(): void {
    if (this.timer !== null) this.clock.clearTimer(this.timer);
    this.timer = null;
  }

  /** A timer that comes too late says how long the loop was busy with others. */
  private look(): void {
    const { clock } = this;
    this.expectedAt = clock.now() + LOOK_MS * MILLISECOND;
    this.timer = clock.setTimer(this.expectedAt, () => {
      this.looks[this.next++ % LOOKS] = (clock.now() - this.expectedAt) / MILLISECOND;
      this.delayMs = Math.min(...this.looks);
      this.look();
    });
  }
}

function tooMuch(why: string): Problem {
  return new Problem('OVERLOADED', `${why} Come back later.`, { retryAfterMs: 1_000 });
}

const LOOK_MS = 20;
const LOOKS = 4;
