/** Events of the client in a browser, by the names of Node's: `on`, `once`, `off`. */

import { throwByItself } from '../transport/throwing.ts';

/**
 * Tells listeners what happens. What one of them throws is thrown again by itself, where an exception goes that nobody catches: every other listener is called
 * all the same, and so is what told.
 */
export abstract class Emitter<Events extends { [K in keyof Events]: unknown[] }> {
  private readonly listeners = new Map<keyof Events, Listener[]>();

  /** Calls `listener` each time. One that is given twice is called twice. */
  on<K extends keyof Events>(event: K, listener: (...args: Events[K]) => void): this {
    // A new list: one that is being walked through does not change.
    this.listeners.set(event, [...(this.listeners.get(event) ?? []), listener as Listener]);
    return this;
  }

  /** Calls `listener` the next time, and then no more. */
  once<K extends keyof Events>(event: K, listener: (...args: Events[K]) => void): this {
    const only = (...args: Events[K]): void => {
      this.off(event, only);
      listener(...args);
    };
    (only as Once).listener = listener;
    return this.on(event, only);
  }

  /** Takes back what {@link on} or {@link once} was given. */
  off<K extends keyof Events>(event: K, listener: (...args: Events[K]) => void): this {
    const those = this.listeners.get(event) ?? [];
    const index = those.findLastIndex((each) => each === listener || (each as Once).listener === listener);
    if (index >= 0) this.listeners.set(event, those.toSpliced(index, 1));
    return this;
  }

  listenerCount(event: keyof Events): number {
    return this.listeners.get(event)?.length ?? 0;
  }

  /** Calls the listeners of an event. State is to be in order before: a listener may do anything. False when there are none. */
  protected tell<K extends keyof Events>(event: K, ...args: Events[K]): boolean {
    const those = this.listeners.get(event);
    if (those === undefined || those.length === 0) return false;
    for (const listener of those) {
      try {
        listener(...args);
      } catch (error) {
        throwByItself(error);
      }
    }
    return true;
  }
}

type Listener = (...args: unknown[]) => void;
/** What stands in for a listener that is called once. */
type Once = Listener & { listener?: unknown };
