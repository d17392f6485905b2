import type { Micros } from '../../base/time.ts';

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
}

const PACKETS_MAX = 8;
