/**
 * How many repairs a burst of packets wants: the least r for which more than r of the k + r packets are lost with no more than a given
 * probability, where packets are lost as in a Markov chain of two states (Gilbert 1960). [FEC-30]
 */

/** How packets are lost on a path. */
export interface LossModel {
  /** Share of packets that are lost. */
  readonly loss: number;
  /** Mean number of packets that are lost in a row; at least 1 / (1 - loss), which is that of independent losses. */
  readonly burst: number;
}

/** The answers of {@link burstRepairs} for one path, which are asked for with every burst and change with the path only. */
export class BurstSizes {
  private model: LossModel = { loss: 0, burst: 1 };
  private residual = 0;
  /** By k; -1 where nobody has asked yet. */
  private readonly repairs = new Int8Array(KEPT_K_MAX + 1).fill(-1);

  /** How packets are lost by now, and the share of bursts that may lose more than their repairs make up for. */
  update(model: LossModel, residual: number): void {
    if (model.loss === this.model.loss && model.burst === this.model.burst && residual === this.residual)
      return;
    this.model = model;
    this.residual = residual;
    this.repairs.fill(-1);
  }

  /** As {@link burstRepairs}. */
  repairsFor(k: number): number {
    if (k > KEPT_K_MAX) return burstRepairs(k, this.model, this.residual);
    if (this.repairs[k] < 0) this.repairs[k] = burstRepairs(k, this.model, this.residual);
    return this.repairs[k];
  }
}

/**
 * The least number of repairs for a burst of `k` packets; {@link REPAIRS_MAX} + 1 when not even so many are enough.
 * @param residual - the share of bursts that may lose more than their repairs make up for
 */
export function burstRepairs(k: number, { loss, burst }: LossModel, residual: number): number {
  if (loss >= 1) return REPAIRS_MAX + 1;
  const stay = Math.max(1 - 1 / burst, loss); // lost after lost
  const fall = (loss * (1 - stay)) / (1 - loss); // lost after arrived
  // With i losses among the packets so far: the probability that it is so and the last one arrived, or that it was lost.
  const arrived = new Float64Array(REPAIRS_MAX + 1);
  const lost = new Float64Array(REPAIRS_MAX + 1);
  arrived[0] = 1 - loss;
  lost[1] = loss;
  for (let packets = 1; packets <= k + REPAIRS_MAX; packets++) {
    const r = packets - k;
    if (r >= 0 && 1 - atMost(r, arrived, lost) <= residual + ROUNDING) return r;
    for (let i = REPAIRS_MAX; i >= 0; i--) {
      const oneLess = i === 0 ? 0 : arrived[i - 1] * fall + lost[i - 1] * stay;
      arrived[i] = arrived[i] * (1 - fall) + lost[i] * (1 - stay);
      lost[i] = oneLess;
    }
  }
  return REPAIRS_MAX + 1;
}

/** The probability of no more than r losses. */
function atMost(r: number, arrived: Float64Array, lost: Float64Array): number {
  let sum = 0;
  for (let i = 0; i <= r; i++) sum += arrived[i] + lost[i];
  return sum;
}

/** More repairs of one burst than this are not worth counting. */
export const REPAIRS_MAX = 64;
const KEPT_K_MAX = 64;
/** Of the sums, far below any probability that somebody aims at. */
const ROUNDING = 1e-12;
