/** What NATS has brought and the core has not heard yet, in the order in which it came. It holds what one read of a socket brings, for the core is told in the same turn of the event loop. */

import { Ring } from '../../../base/ring.ts';
import type { BackplaneEvents } from '../../core/backplane/backplane-port.ts';

export type Tell = (events: BackplaneEvents) => void;

/** A live message of another node. */
interface LiveNews {
  readonly message: Uint8Array;
  readonly priority: number;
  readonly deadlineMs: number;
  readonly group: string | null;
}

export class News {
  /** To be called when there is something, soon. */
  onNews: () => void = () => {};
  private readonly items = new Ring<Tell | LiveNews>();
  private isCalled = false;
  private readonly call = () => {
    this.isCalled = false;
    if (this.items.length > 0) this.onNews();
  };

  get isEmpty(): boolean {
    return this.items.length === 0;
  }

  push(item: Tell | LiveNews): void {
    this.items.push(item);
    if (this.isCalled) return;
    this.isCalled = true;
    queueMicrotask(this.call);
  }

  /** Tells some of it: the core has a turn, then the next. */
  tell(events: BackplaneEvents): void {
    for (let i = 0; i < ITEMS_A_TURN_MAX; i++) {
      const item = this.items.shift();
      if (item === undefined) return;
      if (typeof item === 'function') item(events);
      else events.message(item.message, item.priority, item.deadlineMs, item.group);
    }
  }
}

const ITEMS_A_TURN_MAX = 64;
