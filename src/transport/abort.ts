import { JspError } from '../base/errors.ts';
import type { OptionCheck } from '../base/options.ts';

/** The error of a wait that `signal` ended, with the signal's reason as cause. */
export function abortError(signal: AbortSignal): JspError {
  return new JspError('ERR_JSP_ABORTED', 'aborted by the caller', { cause: signal.reason });
}

/**
 * Calls `callback` when `signal` fires. However many wait for one signal, it has one listener of ours, so that Node has no leak to warn of.
 *
 * @returns a function that takes this back
 */
export function onAbort(signal: AbortSignal | undefined, callback: () => void): () => void {
  if (signal === undefined) return () => {};
  const watch = WATCHES.get(signal) ?? new AbortWatch(signal);
  watch.callbacks.add(callback);
  return () => watch.forget(callback);
}

/** What `promise` brings, unless `signal` ends the wait for it, or has fired already. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    if (signal.aborted) reject(abortError(signal));
    const forget = onAbort(signal, () => reject(abortError(signal)));
    promise.then(resolve, reject).finally(forget);
  });
}

class AbortWatch {
  readonly callbacks = new Set<() => void>();
  private readonly signal: AbortSignal;

  constructor(signal: AbortSignal) {
    this.signal = signal;
    WATCHES.set(signal, this);
    signal.addEventListener('abort', this.onAbort, { once: true });
  }

  forget(callback: () => void): void {
    this.callbacks.delete(callback);
    if (this.callbacks.size > 0 || WATCHES.get(this.signal) !== this) return;
    WATCHES.delete(this.signal);
    this.signal.removeEventListener('abort', this.onAbort);
  }

  private readonly onAbort = (): void => {
    WATCHES.delete(this.signal);
    for (const callback of this.callbacks) callback();
  };
}

const WATCHES = new WeakMap<AbortSignal, AbortWatch>();

/** What an option `signal` may be. */
export const abortSignal: OptionCheck = (value) => (value instanceof AbortSignal ? null : 'an AbortSignal');
