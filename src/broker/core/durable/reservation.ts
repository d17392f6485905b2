/**
 * What the store knows of deliveries before they are made: everything below {@link Reservation.below} may have been delivered. After a crash that, as far as
 * it was not acknowledged, carries REDELIVERED: perhaps too often, never too rarely. [BRK-69]
 */

import type { StatePort } from '../store-port.ts';

export class Reservation {
  /** As it was last written, or is about to be. */
  below: number;
  /** What the store has for certain. */
  private safeBelow: number;
  /** The change of the store with which {@link below} is safe; infinite while that is still to be written. */
  private ticket = 0;
  private step = STEP_MIN;
  /** A delivery has waited for the store since the last extension. */
  private wasShort = false;

  /** @param below - as the store has it */
  constructor(below: number) {
    this.below = below;
    this.safeBelow = below;
  }

  /** True when `offset` may be delivered. */
  covers(offset: number, state: StatePort): boolean {
    if (offset < this.safeBelow) return true;
    if (state.synced >= this.ticket) this.safeBelow = this.below;
    if (offset < this.safeBelow) return true;
    this.wasShort = this.safeBelow > 0; // the first one is waited for in any case
    return false;
  }

  /** True when more is to be reserved now: what there is is half used, and nothing more is under way. */
  isDue(offset: number): boolean {
    return this.below === this.safeBelow && offset + this.step / 2 >= this.below;
  }

  /** Reserves more, beyond `offset`: to be written now. The step grows where deliveries come faster than the store writes. */
  extend(offset: number): void {
    if (this.wasShort) this.step = Math.min(this.step * 2, STEP_MAX);
    this.wasShort = false;
    this.below = Math.max(this.below, offset + this.step);
    this.ticket = Number.POSITIVE_INFINITY;
  }

  /** It was written, as the last of so many changes of the store. What is written again later, because something else has changed, is not waited for. */
  written(changes: number): void {
    this.ticket = Math.min(this.ticket, changes);
  }
}

const STEP_MIN = 1_024;
const STEP_MAX = 16_384;
