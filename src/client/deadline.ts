/** When something that goes on is cut short: after a time that later calls can only shorten, or when one of their signals fires. */

import { performance } from 'node:perf_hooks';
import { onAbort } from '../transport/abort.ts';
import { TIMEOUT_MS_MAX } from '../udp/clock.ts';

export class Deadline {
  private readonly cut: () => void;
  private endsAtMs = Number.POSITIVE_INFINITY;
  private timer: NodeJS.Timeout | undefined;
  /** Take back what waits for the signals; null: it is over, and nothing is waited for any more. */
  private signals: (() => void)[] | null = [];

  /** @param cut - may be called more than once */
  constructor(cut: () => void) {
    this.cut = cut;
  }

  shorten(timeoutMs: number, signal: AbortSignal | undefined): void {
    if (this.signals === null) return;
    if (signal !== undefined) this.signals.push(onAbort(signal, this.cut));
    const waitMs = signal?.aborted ? 0 : timeoutMs;
    const endsAtMs = performance.now() + waitMs;
    if (endsAtMs >= this.endsAtMs) return;
    this.endsAtMs = endsAtMs;
    clearTimeout(this.timer);
    this.timer = setTimeout(this.cut, Math.min(waitMs, TIMEOUT_MS_MAX));
  }

  /** It is over in time: no timer keeps the process, and no signal keeps the client. */
  end(): void {
    clearTimeout(this.timer);
    for (const forget of this.signals ?? []) forget();
    this.signals = null;
  }
}
