/**
 * Losses that are not of our making. A radio link, or a long way over bad lines, loses its share of packets at whatever rate they come, and
 * a controller that takes each loss for a full queue crawls there. So the share that is lost *in calm* is measured: among packets that
 * were sent while the round trip was about the shortest and the rate not above what the path delivers. Only what is lost beyond this floor
 * counts as congestion.
 *
 * A policer, or a queue of a few packets, loses in calm, too, as its queue takes no time; but it loses less when less is sent. That
 * is why the packets of the phase that sends less, DOWN, are counted by themselves: if fewer of them are lost, they tell the floor.
 */

/** How packets are tagged when they are sent, as {@link Delivery.tag}. */
export const CalmTag = { NONE: 0, DOWN: 1, CRUISE: 2 } as const;
export type CalmTag = (typeof CalmTag)[keyof typeof CalmTag];

export class LossFloor {
  /** The share that the path loses whatever the rate is: from 0 to {@link LOSS_FLOOR_MAX}. */
  value = 0;
  private readonly down = new Tally();
  private readonly cruise = new Tally();

  onAcked(tag: number): void {
    if (tag === CalmTag.DOWN) this.down.acked++;
    else if (tag === CalmTag.CRUISE) this.cruise.acked++;
  }

  onLost(tag: number): void {
    if (tag === CalmTag.DOWN) this.down.lost++;
    else if (tag === CalmTag.CRUISE) this.cruise.lost++;
  }

  /** A packet that was told as lost had arrived. */
  onSpurious(tag: number): void {
    if (tag === CalmTag.DOWN) this.down.onSpurious();
    else if (tag === CalmTag.CRUISE) this.cruise.onSpurious();
  }

  /** A cycle of probing is over: what was before counts half. */
  onCycle(): void {
    this.down.halve();
    this.cruise.halve();
  }

  /** [REC-71] Takes stock of what was counted. */
  update(): void {
    const { down, cruise } = this;
    const all = down.all + cruise.all;
    if (all < (this.value > 0 ? PACKETS_TO_KEEP : PACKETS_MIN)) {
      this.value = 0;
      return;
    }
    let floor = (down.lost + cruise.lost) / all;
    if (down.all >= DOWN_PACKETS_MIN && cruise.all > 0) {
      // Looked at in every round of a cycle, so that chance has many chances.
      const deviation = Math.sqrt(floor * (1 - floor) * (1 / down.all + 1 / cruise.all));
      const significant = DOWN_DEVIATIONS * deviation + DOWN_SHARE_LESS;
      if (cruise.share - down.share > significant) floor = down.share;
    }
    // So much is no path's own: a policer, or a link that became slower.
    this.value = floor > HOPELESS_SHARE ? 0 : Math.min(floor, LOSS_FLOOR_MAX);
  }

  /** The share that arrives whatever the rate is. */
  get rest(): number {
    return 1 - this.value;
  }

  /** [REC-72] The share of `packets` that may be lost before the rate is to blame. */
  threshold(packets: number): number {
    return thresholdAbove(this.value, packets);
  }

  /** The same while it may be that nothing is known of the path: then its floor may be the highest. */
  thresholdAtFirst(packets: number): number {
    return thresholdAbove(this.value === 0 ? LOSS_FLOOR_MAX : this.value, packets);
  }
}

/** What became of the packets of one kind. */
class Tally {
  lost = 0;
  acked = 0;

  get all(): number {
    return this.lost + this.acked;
  }

  get share(): number {
    return this.lost / this.all;
  }

  onSpurious(): void {
    if (this.lost >= 1) this.lost--;
    this.acked++;
  }

  halve(): void {
    this.lost /= 2;
    this.acked /= 2;
  }
}

/**
 * The last summand is the packet whose loss made somebody look: that one of them is lost is certain, however good the path is. Without it one or two
 * packets of twenty end each probe of a path that loses 1 %, and a bandwidth that was found too low stays so for many seconds.
 */
function thresholdAbove(floor: number, packets: number): number {
  const all = Math.max(packets, 1);
  const deviation = floor === 0 ? 0 : Math.sqrt((floor * (1 - floor)) / all);
  return floor + LOSS_THRESHOLD + THRESHOLD_DEVIATIONS * deviation + 1 / all;
}

/** What is lost beyond that is taken for congestion, whoever is to blame; and all of it when it is more than this. */
const LOSS_FLOOR_MAX = 0.2;
const HOPELESS_SHARE = 0.3;
/** Of draft-ietf-ccwg-bbr, LossThresh. */
const LOSS_THRESHOLD = 0.02;
/** A floor takes this many packets, and goes when fewer than that are left of them. */
const PACKETS_MIN = 100;
const PACKETS_TO_KEEP = 25;
const DOWN_PACKETS_MIN = 50;
const DOWN_DEVIATIONS = 3;
const DOWN_SHARE_LESS = 0.01;
const THRESHOLD_DEVIATIONS = 2;
