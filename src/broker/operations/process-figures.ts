/** Figures of the process: memory, processor, and how late its event loop is. */

import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';

export interface ProcessFigures {
  readonly memory: { rss: number; heap: number; heapTotal: number };
  /** Share of a core. */
  readonly cpu: number;
  readonly loopDelay: { p50: number | null; p99: number | null; max: number | null };
}

export class ProcessGauge {
  private readonly delay: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  private cpu = process.cpuUsage();
  private atMs = performance.now();

  constructor() {
    this.delay.enable();
  }

  /** Those since the last time. */
  take(): ProcessFigures {
    const { delay } = this;
    const usage = process.cpuUsage(this.cpu);
    const nowMs = performance.now();
    const elapsedMs = Math.max(1, nowMs - this.atMs);
    this.cpu = process.cpuUsage();
    this.atMs = nowMs;
    // It times intervals of RESOLUTION_MS: how late each was is what they are above that.
    const late = (nanos: number) => Math.max(0, Number((nanos / 1e6 - RESOLUTION_MS).toFixed(3)));
    const hasAny = delay.count > 0;
    const loopDelay = {
      p50: hasAny ? late(delay.percentile(50)) : null,
      p99: hasAny ? late(delay.percentile(99)) : null,
      max: hasAny ? late(delay.max) : null,
    };
    delay.reset();
    const { rss, heapUsed, heapTotal } = process.memoryUsage();
    return {
      memory: { rss, heap: heapUsed, heapTotal },
      cpu: Number(((usage.user + usage.system) / 1_000 / elapsedMs).toFixed(4)),
      loopDelay,
    };
  }

  close(): void {
    this.delay.disable();
  }
}

const RESOLUTION_MS = 20;
