/** What a client has of where it runs, a page or Node: time, sockets, chance, and the word that it was away. */

import { MILLISECOND, type Micros, NEVER } from '../base/time.ts';
import type { Clock, TimerHandle } from '../udp/clock.ts';

/** A WebSocket, as far as this client uses it. That of browsers and of Node 22 is one, that of the package `ws` as well. */
export interface Socket {
  readonly bufferedAmount: number;
  send(text: string): void;
  close(code?: number, reason?: string): void;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null;
  onerror: ((event: never) => void) | null;
}

export type SocketConstructor = new (url: string, protocols: string[]) => Socket;

export interface Surroundings {
  readonly clock: Clock;
  open(url: string, protocols: string[]): Socket;
  /** A number in [0, 1). */
  random(): number;
  /** A text that nobody guesses, and that nobody else has. */
  name(): string;
  /** Calls back when a connection may be dead without a word: the machine slept, the page was put aside, the network is another one. Returns a function that ends this. */
  onReturn(callback: () => void): () => void;
}

/** Those of the page or process. Null in the place of the constructor: there is none. */
export function surroundings(Constructor: SocketConstructor | null): Surroundings {
  const clock = new WebClock();
  return {
    clock,
    random: Math.random,
    name: randomName,
    open: (url, protocols) => {
      if (Constructor === null) {
        throw new TypeError(
          'there is no WebSocket here: give the option WebSocket, such as that of the package ws',
        );
      }
      return new Constructor(url, protocols);
    },
    onReturn: (callback) => onReturn(clock, callback),
  };
}

/** The clock of a page. Its timers do not keep a process of Node alive. */
class WebClock implements Clock {
  private readonly soonest = tasks();

  now(): Micros {
    return Math.floor(performance.now() * 1_000);
  }

  setTimer(at: Micros, callback: () => void): TimerHandle {
    const timer: { handle: unknown } = { handle: undefined };
    const arm = (): void => {
      const waitMs = Math.max(0, Math.ceil((at - this.now()) / MILLISECOND));
      const isLong = waitMs > TIMEOUT_MS_MAX;
      timer.handle = detached(setTimeout(isLong ? arm : callback, Math.min(waitMs, TIMEOUT_MS_MAX)));
    };
    if (at !== NEVER) arm();
    return timer;
  }

  clearTimer(timer: TimerHandle): void {
    clearTimeout((timer as { handle: undefined }).handle);
  }

  soon(callback: () => void): void {
    this.soonest(callback);
  }

  atEndOfTick(callback: () => void): void {
    queueMicrotask(callback);
  }
}

/** Tasks right behind what runs now: a page that is not looked at has timers once a second, or once a minute. */
function tasks(): (callback: () => void) => void {
  const { setImmediate } = globalThis as { setImmediate?: (callback: () => void) => void };
  if (setImmediate !== undefined) return (callback) => setImmediate(callback);
  const { port1, port2 } = new MessageChannel();
  const waiting: (() => void)[] = [];
  (port1 as unknown as { onmessage: () => void }).onmessage = () => waiting.shift()?.();
  return (callback) => {
    waiting.push(callback);
    port2.postMessage(null);
  };
}

/** A page is told of much; a machine that slept, or a page that was frozen, only shows by a timer that comes late by the clock on the wall. */
function onReturn(clock: Clock, callback: () => void): () => void {
  const { document, addEventListener, removeEventListener } = globalThis as Partial<Page>;
  const onShown = (): void => {
    if (document?.visibilityState === 'visible') callback();
  };
  addEventListener?.('online', callback);
  addEventListener?.('pageshow', callback);
  document?.addEventListener('visibilitychange', onShown);
  document?.addEventListener('resume', callback);
  let seenAt = Date.now();
  let timer = watchLater();
  function watchLater(): TimerHandle {
    return clock.setTimer(clock.now() + WATCH_MS * MILLISECOND, () => {
      const now = Date.now();
      const lateMs = now - seenAt - WATCH_MS;
      seenAt = now;
      timer = watchLater();
      if (lateMs > LATE_MS) callback();
    });
  }
  return () => {
    clock.clearTimer(timer);
    removeEventListener?.('online', callback);
    removeEventListener?.('pageshow', callback);
    document?.removeEventListener('visibilitychange', onShown);
    document?.removeEventListener('resume', callback);
  };
}

function randomName(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(NAME_BYTES));
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_');
}

/** In Node a timer has `unref`, in a page it is a number. */
function detached(timer: unknown): unknown {
  (timer as { unref?(): void }).unref?.();
  return timer;
}

/** What a page has and Node has not. */
interface Page {
  document: Listening & { readonly visibilityState: string };
  addEventListener: Listening['addEventListener'];
  removeEventListener: Listening['removeEventListener'];
}

interface Listening {
  addEventListener(type: string, listener: () => void): void;
  removeEventListener(type: string, listener: () => void): void;
}

const TIMEOUT_MS_MAX = 2 ** 31 - 1;
const NAME_BYTES = 12;
const WATCH_MS = 5_000;
/** A busy page is late, too. */
const LATE_MS = 5_000;
