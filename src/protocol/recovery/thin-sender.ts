import { MILLISECOND, type Micros } from '../../base/time.ts';
import { AckFrequencyRequest, AckThreshold } from './ack-frequency.ts';

/**
 * Whether a sender is *thin*: its application sends little, now and then, so that few packets are under way and the next one may be long in
 * coming. What bulk transfers have for nothing, that later packets show at once which earlier ones are lost, a thin sender has to do itself.
 * It is only asked for on a path that loses: elsewhere there is nothing to recover from. [REC-57]
 */
export class ThinSender {
  /** Neither window nor pacer holds anything back. */
  isAppLimited = true;
  /** Mean time between ack-eliciting packets; 0 until it is known. */
  interval: Micros = 0;
  /** What it asks its peer to acknowledge. */
  readonly acks = new AckFrequencyRequest();
  private sentAt: Micros = -1;

  /** An ack-eliciting packet goes out over a path that loses. */
  onSent(now: Micros): void {
    if (this.sentAt >= 0) {
      const elapsed = now - this.sentAt;
      this.interval = this.interval === 0 ? elapsed : this.interval + (elapsed - this.interval) / 8;
    }
    this.sentAt = now;
  }

  /** @param packets - ack-eliciting packets in flight */
  isThin(packets: number): boolean {
    return this.isAppLimited && packets <= PACKETS_MAX;
  }

  /**
   * Packets were acknowledged or lost: there may be something else to ask of the peer. [REC-48]
   *
   * @param isLossy - what the path is now
   * @param packets - ack-eliciting packets in flight
   */
  onSettled(isLossy: boolean, packets: number, smoothedRtt: Micros, now: Micros): void {
    const { acks, interval } = this;
    if (!isLossy && acks.asked === AckThreshold.NONE) return;
    let wanted: AckThreshold = AckThreshold.NONE;
    if (isLossy && interval >= INTERVAL_MIN && this.isThin(packets)) {
      // Where each packet has an acknowledgement of its own anyway, it may as well come at once.
      const factor = acks.asked === AckThreshold.EACH ? STAY_FACTOR : 1;
      wanted = interval > factor * acks.quarter(smoothedRtt) ? AckThreshold.EACH : AckThreshold.SECOND;
    }
    acks.update(wanted, smoothedRtt, now);
  }
}

const PACKETS_MAX = 8;
/** More packets than one in this time are acknowledged soon enough as it is. */
const INTERVAL_MIN: Micros = 2 * MILLISECOND;
/** A sender that asks for each acknowledgement goes on so down to this part of what makes it begin. */
const STAY_FACTOR = 3 / 4;
