/**
 * What BBR knows of a path (draft-ietf-ccwg-bbr section 5.5): round trips counted by packets, the bandwidth, the shortest round trip, how
 * bunched acknowledgements come, and whether sending faster still brings more.
 */

import { type Micros, NEVER, SECOND } from '../../base/time.ts';

/** Round trips counted by packets: one ends with the acknowledgement of a packet that was sent after it began. */
export class Rounds {
  count = 0;
  /** The acknowledgement at hand ends a round and begins the next. */
  isStart = false;
  private endsAt = 0;

  /** A round begins now. */
  begin(delivered: number): void {
    this.endsAt = delivered;
  }

  /** `priorDelivered`: what was delivered when the newest acknowledged packet was sent. */
  onAck(priorDelivered: number, delivered: number): void {
    this.isStart = priorDelivered >= this.endsAt;
    if (!this.isStart) return;
    this.endsAt = delivered;
    this.count++;
  }
}

/** [REC-67] The bandwidth of a path in bytes a microsecond: the largest sample of this cycle of probing and the one before. */
export class MaxBandwidth {
  value = 0;
  private thisCycle = 0;
  private lastCycle = 0;

  onSample(rate: number): void {
    if (rate > this.thisCycle) this.thisCycle = rate;
    if (rate > this.value) this.value = rate;
  }

  /** A cycle is over. Without a sample in it the last one stays. */
  advance(): void {
    if (this.thisCycle === 0) return;
    this.lastCycle = this.thisCycle;
    this.thisCycle = 0;
    this.value = this.lastCycle;
  }
}

/** [REC-68] The shortest round trip of the last 10 s, and when it has to be looked for by sending less. */
export class MinRtt {
  /** NEVER before the first sample. */
  value: Micros = NEVER;
  /** It before the acknowledgement at hand, so that an expiry does not take a queue's delay for the path's. */
  previous: Micros = NEVER;
  /** No sample of the last 5 s was as short as the shortest before. */
  isProbeDue = false;
  private foundAt: Micros = 0;
  private recent: Micros = NEVER;
  private recentAt: Micros = 0;

  /** `sample` is NEVER where the acknowledgement gives none. */
  onAck(sample: Micros, now: Micros): void {
    this.previous = this.value;
    this.isProbeDue = this.value !== NEVER && now > this.recentAt + PROBE_RTT_INTERVAL;
    if (sample === NEVER) return;
    // One that is as short shows as well that no queue stands: it need not be looked for.
    if (sample <= this.recent || this.isProbeDue) {
      this.recent = sample;
      this.recentAt = now;
    }
    if (this.recent <= this.value || now > this.foundAt + MIN_RTT_WINDOW) {
      this.value = this.recent;
      this.foundAt = this.recentAt;
    }
  }

  /** It was looked for. */
  onProbed(now: Micros): void {
    this.recentAt = now;
  }
}

/** [REC-69] How much more than the bandwidth gives is acknowledged at once, at most, within 10 rounds; of the last only in STARTUP. */
export class AckAggregation {
  value = 0;
  private readonly perRound = new Float64Array(AGGREGATION_ROUNDS);
  private round = 0;
  private since: Micros = 0;
  private acked = 0;

  restart(now: Micros): void {
    this.since = now;
    this.acked = 0;
  }

  onAck(bytes: number, bandwidth: number, bytesMax: number, now: Micros): void {
    let expected = bandwidth * (now - this.since);
    if (this.acked <= expected) {
      this.restart(now);
      expected = 0;
    }
    this.acked += bytes;
    const extra = Math.min(this.acked - expected, bytesMax);
    const at = this.round % AGGREGATION_ROUNDS;
    if (extra > this.perRound[at]) this.perRound[at] = extra;
    if (extra > this.value) this.value = extra;
  }

  /** A round begins; `rounds` of those before it count. */
  onRound(isStartup: boolean): void {
    this.round++;
    const { perRound } = this;
    if (isStartup) perRound.fill(0);
    else perRound[this.round % AGGREGATION_ROUNDS] = 0;
    this.value = 0;
    for (let i = 0; i < AGGREGATION_ROUNDS; i++) if (perRound[i] > this.value) this.value = perRound[i];
  }
}

/** [REC-66] Notices that the rate of delivery does not grow any more: three rounds without a quarter more than before. */
export class FullPipe {
  /** It was noticed since the last {@link reset}. */
  isFullNow = false;
  /** It was noticed once, or losses have told. */
  isReached = false;
  private baseline = 0;
  private rounds = 0;

  reset(baseline = 0): void {
    this.baseline = baseline;
    this.rounds = 0;
    this.isFullNow = false;
  }

  /** A round is over, in which the application had enough to send. */
  onRound(rate: number): void {
    if (this.isFullNow) return;
    if (rate >= this.baseline * FULL_GROWTH) {
      this.reset(rate);
      return;
    }
    this.rounds++;
    this.isFullNow = this.rounds >= FULL_ROUNDS;
    if (this.isFullNow) this.isReached = true;
  }
}

const PROBE_RTT_INTERVAL: Micros = 5 * SECOND;
const MIN_RTT_WINDOW: Micros = 10 * SECOND;
const AGGREGATION_ROUNDS = 10;
const FULL_GROWTH = 1.25;
const FULL_ROUNDS = 3;
