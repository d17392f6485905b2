/** Percentiles in microseconds. */
export interface LatencyMicros {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly p999: number;
}

/** Keeps every latency there was, so that percentiles are exact. Bounded: later ones are not kept. */
export class LatencyRecorder {
  private samples = new Float64Array(1_024);
  private count = 0;

  add(micros: number): void {
    if (this.count === this.samples.length) {
      if (this.count >= SAMPLES_MAX) return;
      const larger = new Float64Array(this.count * 2);
      larger.set(this.samples);
      this.samples = larger;
    }
    this.samples[this.count++] = micros;
  }

  clear(): void {
    this.count = 0;
  }

  /** Null when nothing was recorded. */
  percentiles(): LatencyMicros | null {
    if (this.count === 0) return null;
    const sorted = this.samples.slice(0, this.count).sort();
    const at = (share: number) => sorted[Math.min(this.count - 1, Math.ceil(share * this.count) - 1)];
    return { p50: at(0.5), p95: at(0.95), p99: at(0.99), p999: at(0.999) };
  }
}

const SAMPLES_MAX = 2 ** 22;
