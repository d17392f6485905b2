/**
 * How an application takes what comes: by listeners that cannot hurt anybody else ({@link IsolatedEmitter}), or by iterations that can be
 * left at any time ({@link Iterations}).
 */

import { AsyncResource, executionAsyncResource } from 'node:async_hooks';
import { EventEmitter } from 'node:events';
import { throwByItself } from './throwing.ts';

/**
 * An emitter whose listeners cannot hurt anybody else. It is the one way from this library to an application's listeners:
 *
 * - what a listener throws is thrown again by itself, as an `uncaughtException`, in the order in which it happened. It comes out of no
 *   call of somebody else, and every other listener, of this event too, is called all the same. [CON-30]
 * - listeners run in the `AsyncLocalStorage` context in which the emitter came to be, whatever woke the process up. [CON-31]
 *
 * State is to be in order before {@link tell} is called: a listener may do anything.
 */
export abstract class IsolatedEmitter<
  Events extends Record<keyof Events, unknown[]>,
> extends EventEmitter<Events> {
  /** Where listeners run. */
  protected readonly context: AsyncResource;
  private readonly catchesRejections: boolean;

  /** @param context - where listeners run; default where the emitter is made */
  constructor(context: AsyncResource = new AsyncResource('JSP')) {
    super();
    this.context = context;
    this.catchesRejections = EventEmitter.captureRejections;
  }

  /** Calls the listeners of an event, each isolated from the others and from us. False when there are none. */
  protected tell<K extends keyof Events>(event: K, ...args: Events[K]): boolean {
    if (this.listenerCount(event as never) === 0) return false;
    this.within(() => this.tellWithin(event, ...args));
    return true;
  }

  /** As {@link tell}, for callers that are {@link within} already. */
  protected tellWithin<K extends keyof Events>(event: K, ...args: Events[K]): void {
    if (this.listenerCount(event as never) > 1) return this.tellEach(event, args);
    try {
      this.emit(event as never, ...(args as never));
    } catch (error) {
      throwByItself(error);
    }
  }

  /** The one listener of an event, for {@link tellSole}; null where there are more or none, or where `emit` looks at what they return. */
  protected soleListener(event: keyof Events): SoleListener | null {
    if (this.catchesRejections || this.listenerCount(event as never) !== 1) return null;
    return this.rawListeners(event as never)[0] as unknown as SoleListener;
  }

  /**
   * As {@link tellWithin}, for callers that tell a {@link soleListener} often: `emit` takes longer than all else that is done with a small message.
   * It is called all the same where somebody has put another one in its place, as `node:domain` and instrumentation do.
   */
  protected tellSole<K extends keyof Events>(event: K, listener: SoleListener, value: Events[K][0]): void {
    try {
      if (this.emit === EMIT) listener.call(this, value);
      else (this as unknown as SoleEmitter).emit(event, value);
    } catch (error) {
      throwByItself(error);
    }
  }

  /** Does something where the listeners run. */
  protected within(action: () => void): void {
    if (executionAsyncResource() === this.context) action.call(this);
    else this.context.runInAsyncScope(action, this);
  }

  /** A listener was added, in whatever way. */
  protected onListenerAdded(_event: keyof Events): void {}

  /** Listeners were taken away, in whatever way. */
  protected onListenersRemoved(): void {}

  /** `emit` stops at the first listener that throws, so several are called one by one. */
  private tellEach<K extends keyof Events>(event: K, args: Events[K]): void {
    for (const listener of this.rawListeners(event as never)) {
      try {
        const result: unknown = Reflect.apply(listener, this, args);
        if (this.catchesRejections && result instanceof Promise) this.catchRejection(result, event, args);
      } catch (error) {
        throwByItself(error);
      }
    }
  }

  /** As `emit` does with `events.captureRejections`. */
  private catchRejection<K extends keyof Events>(result: Promise<unknown>, event: K, args: Events[K]): void {
    result.catch((error: unknown) =>
      process.nextTick(() => {
        const handle = this[EventEmitter.captureRejectionSymbol];
        if (handle !== undefined) handle.call(this, error as Error, event as never, ...(args as never));
        else this.emit('error' as never, ...([error] as never));
      }),
    );
  }
}

/** A function that an application has given as an option, called where its listeners run: what it throws comes out of no call of ours, but by itself. [CON-30] [CON-31] */
export function isolated<A extends unknown[]>(option: (...args: A) => void): (...args: A) => void {
  const context = new AsyncResource('JSP');
  return (...args) => {
    try {
      context.runInAsyncScope(option, undefined, ...args);
    } catch (error) {
      throwByItself(error);
    }
  };
}

/**
 * Iterations over what comes now and then. Any number may go on at once, each of which gets a part; and unlike that of an async generator,
 * `return` ends a `next` that waits, so that whoever has waited long enough can leave: a race with a timer, or `Readable.from`.
 */
export class Iterations<T> {
  private readonly take: () => IteratorResult<T, undefined> | null;
  private waiting: (() => void)[] = [];

  /** @param take - what is there, or the end; null when nothing is there yet. What it throws ends the iteration */
  constructor(take: () => IteratorResult<T, undefined> | null) {
    this.take = take;
  }

  begin(): AsyncIterableIterator<T> {
    let isOver = false;
    const over = (): IteratorReturnResult<undefined> => {
      isOver = true;
      return { done: true, value: undefined };
    };
    const next = async (): Promise<IteratorResult<T, undefined>> => {
      while (!isOver) {
        const result = this.takeOrEnd(over);
        if (result !== null) return result;
        await new Promise<void>((resolve) => this.waiting.push(resolve));
      }
      return over();
    };
    const end = async (): Promise<IteratorReturnResult<undefined>> => {
      over();
      this.wake();
      return over();
    };
    return {
      next,
      return: end,
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  /** Something came, or is over: all that wait look again. */
  wake(): void {
    if (this.waiting.length === 0) return;
    const waiting = this.waiting;
    this.waiting = [];
    for (const resume of waiting) resume();
  }

  private takeOrEnd(over: () => void): IteratorResult<T, undefined> | null {
    try {
      const result = this.take();
      if (result?.done === true) over();
      return result;
    } catch (error) {
      over();
      throw error;
    }
  }
}

/** A listener of an event with one value. */
export type SoleListener = (this: object, value: unknown) => unknown;

const EMIT: unknown = EventEmitter.prototype.emit;

/** `emit` without a list of arguments, which its type asks for. */
interface SoleEmitter {
  emit(event: PropertyKey, value: unknown): boolean;
}

type Listening = (this: IsolatedEmitter<Record<string, unknown[]>>, ...args: unknown[]) => unknown;

/** Tells an emitter of what was done to its listeners. By name, because the methods differ in nothing else. */
function watch(names: readonly (keyof EventEmitter)[], tell: (emitter: Watched, event: never) => void): void {
  for (const name of names) {
    const method = EventEmitter.prototype[name] as Listening;
    const watched: Listening = function (...args) {
      method.apply(this, args);
      tell(this as unknown as Watched, args[0] as never);
      return this;
    };
    Object.defineProperty(IsolatedEmitter.prototype, name, {
      value: watched,
      writable: true,
      configurable: true,
    });
  }
}

interface Watched {
  onListenerAdded(event: never): void;
  onListenersRemoved(): void;
}

// `once` comes by `on`, `prependOnceListener` by `prependListener`, and `events.once` and `events.on` by these.
watch(['on', 'addListener', 'prependListener'], (emitter, event) => emitter.onListenerAdded(event));
watch(['off', 'removeListener', 'removeAllListeners'], (emitter) => emitter.onListenersRemoved());
