import type { RandomSource } from '../../base/random.ts';

/**
 * Which packet numbers are left out. A peer that acknowledges packets before they have arrived, to make its sender go faster than the
 * path allows, cannot know them and gives itself away (RFC 9000 section 21.4). The distances are random; they grow, because a peer that
 * cheats does so from the start, and each number left out costs an honest peer an acknowledgement. [PKT-23]
 */
export class NumberSkips {
  private readonly random: RandomSource;
  private readonly bytes = new Uint8Array(2);
  private distanceMean = DISTANCE_MEAN_FIRST;
  private next: number;

  constructor(random: RandomSource) {
    this.random = random;
    this.next = this.distance();
  }

  /** True when the number is not to be used; asked for every number, in ascending order. */
  skips(number: number): boolean {
    if (number < this.next) return false;
    this.distanceMean = Math.min(2 * this.distanceMean, DISTANCE_MEAN_LAST);
    this.next = number + this.distance();
    return true;
  }

  /** From 2 to twice the mean, so that two numbers in a row are never left out. */
  private distance(): number {
    const { bytes } = this;
    this.random.fill(bytes);
    return 2 + ((bytes[0] * 256 + bytes[1]) % (2 * this.distanceMean - 1));
  }
}

const DISTANCE_MEAN_FIRST = 32;
const DISTANCE_MEAN_LAST = 1_024;
