/** How long requests wait for the broker's answer. All have the same time, so that one timer, of the first, is enough for all. [GW-22] */

import { MILLISECOND, type Micros } from '../base/time.ts';
import type { Clock, TimerHandle } from '../udp/clock.ts';

/** What waits. */
export interface Awaiting {
  /** When its time is over. */
  until: Micros;
  /** It is. */
  expire(): void;
}

export class AnswerTimes {
  /** The oldest first. */
  private readonly underWay = new Set<Awaiting>();
  private readonly clock: Clock;
  private readonly answerMs: number;
  private timer: TimerHandle | null = null;
  private readonly onTime = () => this.look();

  constructor(clock: Clock, answerMs: number) {
    this.clock = clock;
    this.answerMs = answerMs;
  }

  begin(awaiting: Awaiting): void {
    awaiting.until = this.clock.now() + this.answerMs * MILLISECOND;
    this.underWay.add(awaiting);
    if (this.timer === null) this.arm(awaiting.until);
  }

  /** It has its answer. */
  end(awaiting: Awaiting): void {
    this.underWay.delete(awaiting);
  }

  close(): void {
    if (this.timer !== null) this.clock.clearTimer(this.timer);
    this.timer = null;
  }

  private arm(at: Micros): void {
    this.timer = this.clock.setTimer(at, this.onTime);
  }

  private look(): void {
    this.timer = null;
    const now = this.clock.now();
    for (const awaiting of this.underWay) {
      if (awaiting.until > now) {
        this.arm(awaiting.until);
        return;
      }
      this.underWay.delete(awaiting);
      awaiting.expire();
    }
  }
}
