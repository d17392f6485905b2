/** What the views of the page have in common. */
import type { EventRecord, Snapshot, StatusReport } from '../../broker/operations/snapshot.ts';
import type { Gateway } from './gateway.ts';
import type { Timeline } from './timeline.ts';

/** One of the page's views; only the one that is seen is kept up to date. */
export interface View {
  /** In the address, after `#`. */
  readonly name: string;
  readonly title: string;
  readonly element: HTMLElement;
  /** It is seen from now on. */
  shown(): void;
  hidden(): void;
  /** A second has passed, or something else is known. */
  update(): void;
  /** Colours are others now. */
  recolour?(): void;
  /** Where the key for searching leads. */
  search?(): void;
  /** Takes a key of its own; true: it was one. */
  key?(key: string): boolean;
}

/** What the page knows, and what it can do for a view. */
export interface Page {
  readonly gateway: Gateway;
  readonly timeline: Timeline;
  /** Newest last. */
  readonly events: readonly EventRecord[];
  readonly snapshot: Snapshot | null;
  readonly status: StatusReport | null;
  /** The broker has told of itself: views may ask for more. */
  readonly isKnown: boolean;
  /** Seconds that plots show. */
  readonly spanSeconds: number;
  /** Says something for a few seconds. */
  toast(text: string, tone?: 'good' | 'bad'): void;
  /** Says why something did not work. */
  fail(error: unknown): void;
}

/** How often a view that is seen asks the broker: at once when it is shown, then each {@link ASK_AGAIN_MS}. */
export class Pace {
  private dueAt = 0;

  hurry(): void {
    this.dueAt = 0;
  }

  /** True when it is time; the next time is counted from there. */
  isDue(): boolean {
    const now = performance.now();
    if (now < this.dueAt) return false;
    this.dueAt = now + ASK_AGAIN_MS;
    return true;
  }
}

const ASK_AGAIN_MS = 2_000;
