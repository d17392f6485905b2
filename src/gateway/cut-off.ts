/** When those who are left are cut off while a door closes: a later call can bring that forward, and not put it off. [GW-6] */

import { MILLISECOND, type Micros, NEVER } from '../base/time.ts';
import { onAbort } from '../transport/abort.ts';
import type { Clock, TimerHandle } from '../udp/clock.ts';

export class CutOff {
  private readonly clock: Clock;
  private readonly cut: () => void;
  private at: Micros = NEVER;
  private timer: TimerHandle | null = null;
  private isOver = false;

  /** @param cut - cuts them off */
  constructor(clock: Clock, cut: () => void) {
    this.clock = clock;
    this.cut = cut;
  }

  /** As `closing` ends, and while it lasts: they are cut off at the latest when so many ms are over (infinite: never), or `signal` fires or has fired. */
  during(closing: Promise<void>, ms: number, signal: AbortSignal | undefined): Promise<void> {
    this.within(signal?.aborted ? 0 : ms);
    return closing.finally(onAbort(signal, () => this.within(0)));
  }

  /** At the latest when so many ms are over; infinite: never. */
  within(ms: number): void {
    const at = this.clock.now() + ms * MILLISECOND;
    if (this.isOver || at >= this.at) return;
    if (this.timer !== null) this.clock.clearTimer(this.timer);
    this.at = at;
    this.timer = this.clock.setTimer(at, this.cut);
  }

  /** Nobody is left: a later call has nothing to wait for. */
  end(): void {
    this.isOver = true;
    if (this.timer !== null) this.clock.clearTimer(this.timer);
  }
}
