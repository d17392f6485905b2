/**
 * CUBIC straight from RFC 9438, in segments and seconds, one acknowledged segment at a time: slow, plain, and written without
 * a look at src/protocol/congestion/cubic.ts. Only congestion avoidance; the caller places the congestion events.
 */
export class CubicTwin {
  cwnd: number;
  private wMax = 0;
  private cwndPrior = 0;
  private cwndEpoch = 0;
  private k = 0;
  private epochStart = -1;
  private wEst = 0;

  constructor(cwnd: number) {
    this.cwnd = cwnd;
  }

  /** Section 4.6 and 4.7. */
  onCongestion(): void {
    if (this.cwnd < this.wMax) this.wMax = this.cwnd * ((1 + BETA) / 2);
    else this.wMax = this.cwnd;
    this.cwndPrior = this.cwnd;
    this.cwnd = Math.max(this.cwnd * BETA, 2);
    this.epochStart = -1;
  }

  /** Sections 4.2 to 4.5. */
  onAckedSegment(nowSeconds: number, rttSeconds: number): void {
    if (this.epochStart < 0) {
      this.epochStart = nowSeconds;
      this.cwndEpoch = this.cwnd;
      this.wEst = this.cwndEpoch;
      if (this.wMax > this.cwndEpoch) {
        this.k = ((this.wMax - this.cwndEpoch) / C) ** (1 / 3);
      } else {
        this.k = 0;
        this.wMax = this.cwndEpoch;
      }
    }
    const t = nowSeconds - this.epochStart;
    const alpha = this.wEst >= this.cwndPrior ? 1 : (3 * (1 - BETA)) / (1 + BETA);
    this.wEst += alpha / this.cwnd;
    if (this.wCubic(t) < this.wEst) {
      this.cwnd = Math.max(this.cwnd, this.wEst);
      return;
    }
    let target = this.wCubic(t + rttSeconds);
    if (target < this.cwnd) target = this.cwnd;
    if (target > 1.5 * this.cwnd) target = 1.5 * this.cwnd;
    this.cwnd += (target - this.cwnd) / this.cwnd;
  }

  private wCubic(t: number): number {
    return C * (t - this.k) ** 3 + this.wMax;
  }
}

const C = 0.4;
const BETA = 0.7;
