import type { RecordableHistogram } from 'node:perf_hooks';
import {
  type LatencyMicros,
  latencyHistogram,
  percentilesOf,
  recordMicros,
} from '../../src/bench/figures.ts';
import { sharedMicros } from '../../src/bench/metronome.ts';

export interface ArrivalReport {
  readonly arrived: number;
  /** By the second in which a message was due; null for one in which nothing arrived. */
  readonly seconds: readonly (LatencyMicros | null)[];
  /** Of all messages from the first measured second on. */
  readonly total: LatencyMicros | null;
}

/** What a subscriber sees: how long after it was due each message arrives. Made before the first one, so that nothing grows meanwhile. */
export class Arrivals {
  private readonly rate: number;
  private readonly bySecond: RecordableHistogram[];
  private readonly total = latencyHistogram();
  private readonly fromSecond: number;
  private arrived = 0;

  /** @param fromSecond - the first that counts in the total; 1 is the first there is */
  constructor(rate: number, seconds: number, fromSecond: number) {
    this.rate = rate;
    this.fromSecond = fromSecond;
    this.bySecond = Array.from({ length: seconds }, latencyHistogram);
  }

  readonly onMessage = (payload: Uint8Array): void => {
    const now = sharedMicros();
    const view = new DataView(payload.buffer, payload.byteOffset, STAMP_BYTES);
    const second = Math.floor(view.getUint32(8) / this.rate);
    const latency = now - view.getFloat64(0);
    this.arrived++;
    if (second < this.bySecond.length) recordMicros(this.bySecond[second], latency);
    if (second + 1 >= this.fromSecond) recordMicros(this.total, latency);
  };

  report(): ArrivalReport {
    return {
      arrived: this.arrived,
      seconds: this.bySecond.map(percentilesOf),
      total: percentilesOf(this.total),
    };
  }
}

/** Writes what {@link Arrivals} reads: when the message was due, and the how-manieth it is. */
export function stamp(payload: Uint8Array, dueMicros: number, i: number): void {
  const view = new DataView(payload.buffer, payload.byteOffset, STAMP_BYTES);
  view.setFloat64(0, dueMicros);
  view.setUint32(8, i);
}

export const STAMP_BYTES = 12;
