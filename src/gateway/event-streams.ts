/** What all streams of server-sent events of a gateway have in common, and what looks after them while time passes. */

import { MILLISECOND } from '../base/time.ts';
import type { TimerHandle } from '../udp/clock.ts';
import type { DeliveryTexts } from './delivery-text.ts';
import type { OutgoingTurn } from './outgoing.ts';

/** Something that is to look once a second whether it is time for anything. */
export interface LookedAfter {
  tick(): void;
}

export class EventStreams {
  readonly turn: OutgoingTurn;
  readonly texts: DeliveryTexts;
  private readonly streams = new Set<LookedAfter>();
  private timer: TimerHandle | null = null;

  constructor(turn: OutgoingTurn, texts: DeliveryTexts) {
    this.turn = turn;
    this.texts = texts;
  }

  /** Callers that read now. */
  get size(): number {
    return this.streams.size;
  }

  add(stream: LookedAfter): void {
    this.streams.add(stream);
    this.tickLater();
  }

  delete(stream: LookedAfter): void {
    this.streams.delete(stream);
  }

  /** Nobody is looked after any more. */
  close(): void {
    if (this.timer !== null) this.turn.clock.clearTimer(this.timer);
    this.timer = null;
  }

  private tickLater(): void {
    if (this.timer !== null) return;
    const { clock } = this.turn;
    this.timer = clock.setTimer(clock.now() + TICK_MS * MILLISECOND, () => {
      this.timer = null;
      for (const stream of this.streams) stream.tick();
      if (this.streams.size > 0) this.tickLater();
    });
  }
}

const TICK_MS = 1_000;
