/** What comes of what a run sends: counts, and of best-effort messages how they came: in what order, with what jitter, after how long. */
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import type { Stream } from '../../transport/stream.ts';
import { type Arrivals, MESSAGE_BYTES_MIN, type Quantiles } from './control.ts';
import type { BenchSystem } from './system.ts';

export class Sink {
  messages = 0;
  bytes = 0;
  private readonly system: BenchSystem;
  private readonly clockAheadMicros: number | null;
  private readonly lanes: LaneArrivals[] = [];
  private readonly lanesMax: number;
  private readonly oneWay: RecordableHistogram;
  private jitterMicros = 0;
  private jitterSamples = 0;

  /**
   * @param senderAheadMicros - the sender's clock before ours; null when that is not known
   * @param streams - of the plan: a peer that opens more of them has more counted, and no more kept
   */
  constructor(system: BenchSystem, senderAheadMicros: number | null, streams: number) {
    this.system = system;
    this.lanesMax = streams;
    this.clockAheadMicros = senderAheadMicros;
    this.oneWay = createHistogram({ figures: 3 });
  }

  /** Takes what comes on a stream of the run. */
  take(stream: Stream): void {
    stream.on('error', () => {});
    if (stream.delivery !== 'bestEffort' || this.lanes.length >= this.lanesMax) {
      stream.on('message', (message) => this.count(message));
      return;
    }
    const lane = new LaneArrivals();
    this.lanes.push(lane);
    stream.on('message', (message) => {
      if (this.count(message)) this.onBestEffort(message, lane);
    });
  }

  /** A shorter one only opens its stream. */
  private count(message: Buffer): boolean {
    if (message.length < MESSAGE_BYTES_MIN) return false;
    this.messages++;
    this.bytes += message.length;
    return true;
  }

  /** Null where nothing came best effort. */
  arrivals(): Arrivals | null {
    if (this.lanes.length === 0) return null;
    const { jitterSamples, oneWay, clockAheadMicros } = this;
    const isKnown = clockAheadMicros !== null && oneWay.count > 0;
    return {
      arrived: this.messages,
      outOfOrder: this.lanes.reduce((sum, lane) => sum + lane.outOfOrder, 0),
      lossRuns: this.lanes.reduce((sum, lane) => sum + lane.lossRuns(), 0),
      jitterMs: jitterSamples === 0 ? null : this.jitterMicros / 1e3,
      oneWayMs: isKnown ? oneWayMs(oneWay) : null,
    };
  }

  private onBestEffort(message: Buffer, lane: LaneArrivals): void {
    const now = this.system.stamp();
    const sentAt = message.readDoubleBE(0);
    const transit = now - sentAt;
    if (!Number.isFinite(transit)) return; // of a peer that sends anything
    if (lane.lastTransit !== null) {
      // RFC 3550 section 6.4.1
      this.jitterMicros += (Math.abs(transit - lane.lastTransit) - this.jitterMicros) / 16;
      this.jitterSamples++;
    }
    lane.lastTransit = transit;
    lane.onNumber(message.readUInt32BE(8));
    if (this.clockAheadMicros === null) return;
    const micros = transit + this.clockAheadMicros;
    if (micros < ONE_WAY_MICROS_MAX) this.oneWay.record(Math.max(1, Math.round(micros * 1e3)));
  }
}

/** Which numbers of one stream came. */
class LaneArrivals {
  outOfOrder = 0;
  lastTransit: number | null = null;
  private largest = -1;
  private came = new Uint8Array(1_024);

  onNumber(number: number): void {
    if (number < this.largest) this.outOfOrder++;
    if (number >= NUMBERS_MAX) return;
    if (number > this.largest) this.largest = number;
    const at = number >> 3;
    if (at >= this.came.length) {
      const grown = new Uint8Array(Math.min(NUMBERS_MAX / 8, Math.max(at + 1, 2 * this.came.length)));
      grown.set(this.came);
      this.came = grown;
    }
    this.came[at] |= 1 << (number & 7);
  }

  /** Gaps in the numbers up to the largest that came. */
  lossRuns(): number {
    let runs = 0;
    let wasThere = true;
    for (let number = 0; number <= this.largest; number++) {
      // Most are there, or far from any that is: whole bytes of either kind change nothing.
      if ((number & 7) === 0) {
        const same = wasThere ? 0xff : 0;
        while (number + 8 <= this.largest && this.came[number >> 3] === same) number += 8;
      }
      const isThere = (this.came[number >> 3] & (1 << (number & 7))) !== 0;
      if (wasThere && !isThere) runs++;
      wasThere = isThere;
    }
    return runs;
  }
}

function oneWayMs(histogram: RecordableHistogram): Quantiles {
  const at = (percentile: number): number => histogram.percentile(percentile) / 1e6;
  return { min: histogram.min / 1e6, p50: at(50), p95: at(95), p99: at(99), max: histogram.max / 1e6 };
}

/** Numbers beyond this are counted, but not looked at for gaps: a bit each, 1 MiB. */
const NUMBERS_MAX = 2 ** 23;
/** A clock that is off by more is not compared. */
const ONE_WAY_MICROS_MAX = 600e6;
