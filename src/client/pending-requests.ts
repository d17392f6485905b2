import { JspError } from '../base/errors.ts';

interface Pending {
  resolve: () => void;
  reject: (error: Error) => void;
}

/** Requests on one stream that wait for their answer, by id. */
export class PendingRequests {
  private readonly pending = new Map<number, Pending>();
  private lastId = 0;

  /**
   * Gives a request its id, sends it, and waits for the answer.
   *
   * @param send - sends the request with this id
   * @throws {JspError} `ERR_JSP_ABORTED` when `signal` fires first; what {@link refuse} and {@link failAll} were given
   */
  request(send: (id: number) => void, signal?: AbortSignal): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      if (signal?.aborted) throw aborted(signal);
      const id = this.nextId();
      const abort = () => {
        this.pending.delete(id);
        reject(aborted(signal as AbortSignal));
      };
      const done = () => signal?.removeEventListener('abort', abort);
      send(id);
      signal?.addEventListener('abort', abort, { once: true });
      this.pending.set(id, {
        resolve: () => {
          done();
          resolve();
        },
        reject: (error) => {
          done();
          reject(error);
        },
      });
    });
  }

  /** The answer to `id` has come. An id that is not waited for any more is ignored. */
  settle(id: number): void {
    const waiting = this.pending.get(id);
    this.pending.delete(id);
    waiting?.resolve();
  }

  refuse(id: number, error: Error): void {
    const waiting = this.pending.get(id);
    this.pending.delete(id);
    waiting?.reject(error);
  }

  settleAll(): void {
    const all = [...this.pending.values()];
    this.pending.clear();
    for (const waiting of all) waiting.resolve();
  }

  failAll(error: Error): void {
    const all = [...this.pending.values()];
    this.pending.clear();
    for (const waiting of all) waiting.reject(error);
  }

  private nextId(): number {
    do this.lastId = this.lastId >= 0xffff_ffff ? 1 : this.lastId + 1;
    while (this.pending.has(this.lastId));
    return this.lastId;
  }
}

function aborted(signal: AbortSignal): JspError {
  return new JspError('ERR_JSP_ABORTED', 'The request was aborted.', { cause: signal.reason });
}
