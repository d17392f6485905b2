import type { JspError } from '../base/errors.ts';
import type { SendMark, SendStream } from '../protocol/stream/send/send-stream.ts';

/** The calls of `flush` that wait until what was sent before them is settled. */
export class PendingFlushes {
  private waiting: Flush[] = [];

  get isEmpty(): boolean {
    return this.waiting.length === 0;
  }

  add(until: SendMark): Promise<void> {
    return new Promise((resolve, reject) => this.waiting.push({ until, resolve, reject }));
  }

  /** Resolves those whose messages are settled. */
  settle(sender: SendStream): void {
    this.waiting = this.waiting.filter((flush) => {
      if (!sender.isSettledUpTo(flush.until)) return true;
      flush.resolve();
      return false;
    });
  }

  rejectAll(error: JspError): void {
    for (const flush of this.waiting) flush.reject(error);
    this.waiting = [];
  }
}

interface Flush {
  readonly until: SendMark;
  readonly resolve: () => void;
  readonly reject: (error: JspError) => void;
}
