/** One message of a queue at a time is followed until it has left: how long that takes stands for all that have left since the one before. [OPS-6] */

/** Told how long messages have waited. */
export interface WaitGauge {
  waited(ms: number, messages: number): void;
}

export class FollowedMessage {
  /** Its place is below; {@link NOWHERE}: none is followed. */
  below = NOWHERE;
  private sinceMs = 0;
  /** Messages that had left when it was told last. */
  private toldUntil = 0;
  private lastWaitMs = 0;
  private readonly gauge: WaitGauge | null;

  constructor(gauge: WaitGauge | null) {
    this.gauge = gauge;
  }

  /**
   * The next message is followed. What has left behind the one before, if nothing is left, waited about as long as that.
   *
   * @param below - the place behind it
   * @param left - messages that have left; `isAlone`: all that were there
   */
  follow(below: number, sinceMs: number, left: number, isAlone: boolean): void {
    if (isAlone && left > this.toldUntil) this.tell(this.lastWaitMs, left);
    this.below = below;
    this.sinceMs = sinceMs;
  }

  /** It has left. */
  reach(nowMs: number, left: number): void {
    this.tell(nowMs - this.sinceMs, left);
    this.below = NOWHERE;
  }

  /** It will not leave. */
  forget(): void {
    this.below = NOWHERE;
  }

  private tell(ms: number, left: number): void {
    this.gauge?.waited(ms, left - this.toldUntil);
    this.lastWaitMs = ms;
    this.toldUntil = left;
  }
}

/** Behind all places. */
export const NOWHERE = Number.MAX_SAFE_INTEGER;
