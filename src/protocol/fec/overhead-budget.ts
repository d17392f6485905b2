/**
 * What protection may cost: a share of the bytes that are protected, as a token bucket. So what was spent over any time is at most that share of
 * what was protected meanwhile, and two packets; what is saved up is never more than these. [FEC-3]
 */
export class OverheadBudget {
  /** Bytes that could have been spent so far, and those that were. */
  earnedBytes = 0;
  spentBytes = 0;
  private available = 0;
  private burst = 0;
  private burstLargest = 0;

  /**
   * So many bytes were sent under protection.
   *
   * @param share - of them that may be spent
   * @param mtu - packet size in use
   */
  earn(bytes: number, share: number, mtu: number): void {
    this.setBurst(share === 0 ? 0 : BURST_PACKETS * mtu);
    const earned = bytes * share;
    this.earnedBytes += earned;
    this.available = Math.min(this.available + earned, this.burst);
  }

  /** Whether so many bytes may be spent. */
  affords(bytes: number): boolean {
    return bytes <= this.available;
  }

  /** Whether so many bytes may be spent of all that could have been so far: for what is bounded by the packets that it follows. */
  affordsOfAll(bytes: number): boolean {
    return this.spentBytes + bytes <= this.earnedBytes + this.burst;
  }

  spend(bytes: number): void {
    this.available -= bytes;
    this.spentBytes += bytes;
  }

  /** The bucket is full at first, and what it grows by is full once: not again after it was smaller for a while. */
  private setBurst(burst: number): void {
    if (burst === this.burst) return;
    const grown = Math.max(0, burst - this.burstLargest);
    this.available = Math.min(burst, this.available + grown);
    this.burst = burst;
    this.burstLargest += grown;
  }
}

const BURST_PACKETS = 2;
