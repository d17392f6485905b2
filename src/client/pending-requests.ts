import { abortError, onAbort } from '../transport/abort.ts';

interface Pending {
  resolve: () => void;
  reject: (error: Error) => void;
}

/** Requests on one stream that wait for their answer, by id. */
export class PendingRequests {
  private readonly pending = new Map<number, Pending>();
  private lastId: number;

  /** @param lastId - the id before the first one */
  constructor(lastId = 0) {
    this.lastId = lastId;
  }

  /**
   * Gives a request its id, sends it, and waits for the answer.
   *
   * @param send - sends the request with this id
   * @throws {JspError} `ERR_JSP_ABORTED` when `signal` fires first; what {@link refuse} and {@link failAll} were given
   */
  request(send: (id: number) => void, signal?: AbortSignal): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      if (signal?.aborted) throw abortError(signal);
      const id = this.nextId();
      send(id);
      const forget = onAbort(signal, () => {
        this.pending.delete(id);
        reject(abortError(signal as AbortSignal));
      });
      this.pending.set(id, {
        resolve: () => {
          forget();
          resolve();
        },
        reject: (error) => {
          forget();
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

  /** Ids go round, and none is used that waits. */
  private nextId(): number {
    do this.lastId = this.lastId >= ID_MAX ? 1 : this.lastId + 1;
    while (this.pending.has(this.lastId));
    return this.lastId;
  }
}

const ID_MAX = 0xffff_ffff;
