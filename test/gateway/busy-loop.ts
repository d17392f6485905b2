import { Ring } from '../../src/base/ring.ts';
import { MILLISECOND, type Micros, SECOND } from '../../src/base/time.ts';
import { Load } from '../../src/gateway/load.ts';
import { DEFAULT_LIMITS } from '../../src/gateway/options.ts';
import type { Probe } from '../../src/gateway/queue-probe.ts';
import { ManualClock } from '../client/manual-clock.ts';

export interface BusyLoopOptions {
  /** Requests that come a second, at random. */
  readonly perSecond: number;
  /** What one costs that is served, and one that is refused. */
  readonly servedUs: number;
  readonly refusedUs: number;
  readonly loopDelayMsMax: number;
  readonly seed: number;
}

export interface LoopFigures {
  served: number;
  refused: number;
  /** From when it came until it was served, of those that were. */
  waitedMsMax: number;
}

/** An event loop in virtual time, with a {@link Load} in it: what has come is handled in that order, probes as well as requests. Without anything to do it rests. */
export class BusyLoop {
  perSecond: number;
  /** What else is done, every 500 ms, for so long, in ms. */
  othersMs = 0;
  private othersAt: Micros = 0;
  private readonly clock = new ManualClock();
  private readonly options: BusyLoopOptions;
  private readonly load: Load;
  private readonly probe: Probe = { onArrival: () => {}, send: () => this.send(), close: () => {} };
  private readonly waiting = new Ring<Micros>(1_024);
  private nextAt: Micros;
  /** How many requests are before the probe; negative: none is on its way. */
  private beforeProbe = -1;
  private seed: number;
  private seen: LoopFigures = { served: 0, refused: 0, waitedMsMax: 0 };

  constructor(options: BusyLoopOptions) {
    this.options = options;
    this.perSecond = options.perSecond;
    this.seed = options.seed;
    this.nextAt = this.clock.now();
    const limits = { ...DEFAULT_LIMITS, loopDelayMsMax: options.loopDelayMsMax };
    this.load = new Load(limits, this.clock, this.probe, () => this.random());
  }

  /** From 0 to 1. */
  random(): number {
    this.seed = (Math.imul(this.seed, 1_664_525) + 1_013_904_223) >>> 0;
    return this.seed / 2 ** 32;
  }

  run(ms: number): void {
    const until = this.clock.now() + ms * MILLISECOND;
    while (this.clock.now() < until) this.handleNext();
  }

  /** So many come at once. */
  burst(count: number): void {
    for (let i = 0; i < count; i++) this.waiting.push(this.clock.now());
  }

  /** The process does not run for so long. */
  stop(ms: number): void {
    this.clock.spend(ms);
  }

  /** Since it was last asked. */
  figures(): LoopFigures {
    const { seen } = this;
    this.seen = { served: 0, refused: 0, waitedMsMax: 0 };
    return seen;
  }

  private send(): void {
    this.arrive();
    this.beforeProbe = this.waiting.length;
  }

  private handleNext(): void {
    const { clock, load, probe, seen, options } = this;
    if (this.othersMs > 0 && clock.now() >= this.othersAt) {
      clock.spend(this.othersMs);
      this.othersAt = clock.now() + 500 * MILLISECOND;
    }
    this.arrive();
    if (this.beforeProbe === 0) {
      this.beforeProbe = -1;
      probe.onArrival();
      return;
    }
    const at = this.waiting.shift();
    if (at === undefined) {
      clock.spend((this.nextAt - clock.now()) / MILLISECOND);
      return;
    }
    if (this.beforeProbe > 0) this.beforeProbe--;
    const excess = load.excess();
    clock.spend((excess === null ? options.servedUs : options.refusedUs) / MILLISECOND);
    if (excess !== null) seen.refused++;
    else {
      seen.served++;
      seen.waitedMsMax = Math.max(seen.waitedMsMax, (clock.now() - at) / MILLISECOND);
    }
  }

  private arrive(): void {
    while (this.nextAt <= this.clock.now()) {
      this.waiting.push(this.nextAt);
      this.nextAt += (-Math.log(1 - this.random()) * SECOND) / this.perSecond;
    }
  }
}
