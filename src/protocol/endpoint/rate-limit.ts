import { type Micros, SECOND } from '../../base/time.ts';

/** So many a second, and a few at once after a pause: a token bucket. */
export class RateLimit {
  private readonly perSecond: number;
  private readonly burst: number;
  private tokens: number;
  private countedAt: Micros = 0;

  constructor(perSecond: number, burst: number) {
    this.perSecond = perSecond;
    this.burst = burst;
    this.tokens = burst;
  }

  /** True when one more is allowed now, which is counted. */
  take(now: Micros): boolean {
    const passed = Math.max(0, now - this.countedAt);
    this.countedAt = now;
    this.tokens = Math.min(this.burst, this.tokens + (passed * this.perSecond) / SECOND);
    if (this.tokens < 1) return false;
    this.tokens--;
    return true;
  }
}
