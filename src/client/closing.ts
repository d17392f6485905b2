/** How a client leaves: with everything that it published at the broker, as long as that gets on and there is time. */

import { JspError } from '../base/errors.ts';
import { CLOSE_STALL_MS } from '../transport/connection.ts';
import { Deadline } from './deadline.ts';
import type { Life } from './life.ts';
import type { Outbox } from './outbox.ts';
import { ProgressWatch } from './publishing.ts';

export interface ClientCloseOptions {
  /** How long to wait at most until the broker has everything, in ms. Default: as long as it gets on. A later call can only shorten it. */
  timeoutMs?: number | undefined;
  /** How long to wait while nothing gets on, in ms. Default 10,000. A later call can only shorten it. */
  stallMs?: number | undefined;
  /** Closes at once when it fires. */
  signal?: AbortSignal | undefined;
}

/** A close that is under way. */
export class Goodbye {
  readonly done: Promise<void>;
  private readonly life: Life;
  private readonly outbox: Outbox;
  private readonly deadline = new Deadline(() => this.cutShort());
  private stallMs = Number.POSITIVE_INFINITY;
  private wasCut = false;
  /** What it has not done, when it was cut. */
  private incomplete: JspError | null = null;

  constructor(life: Life, outbox: Outbox) {
    this.life = life;
    this.outbox = outbox;
    this.done = this.finish();
    this.done.catch(() => {}); // whoever waits hears of it
  }

  /** Sees to it that it is over in time, or when nothing has got on for so long. */
  shorten({
    timeoutMs = Number.POSITIVE_INFINITY,
    stallMs = CLOSE_STALL_MS,
    signal,
  }: ClientCloseOptions): void {
    this.stallMs = Math.min(this.stallMs, stallMs);
    if (timeoutMs <= 0 || signal?.aborted) this.cutShort();
    else this.deadline.shorten(timeoutMs, signal);
  }

  private async finish(): Promise<void> {
    const watch = new ProgressWatch(this.outbox, PROGRESS_MS, (stillMs) => {
      if (stillMs >= this.stallMs && this.outbox.unconfirmed > 0) this.cutShort();
    });
    try {
      await this.outbox.flushUnconfirmed();
      if (this.life.failure === null) await this.life.leave(this.stallMs);
    } catch (error) {
      // The end of the connection says what it has cost. Where that is nothing, the broker has everything, however the connection ended.
      if (!this.wasCut && this.outbox.unconfirmed > 0) throw this.life.failure ?? error;
    } finally {
      watch.stop();
      this.deadline.end();
      this.life.end(null);
    }
    if (this.incomplete !== null) throw this.incomplete;
  }

  private cutShort(): void {
    const { unconfirmed } = this.outbox;
    if (this.life.failure !== null) return;
    this.wasCut = true;
    if (unconfirmed > 0) {
      this.incomplete = new JspError(
        'ERR_JSP_CLOSE_INCOMPLETE',
        `closed before the broker had taken ${counted(unconfirmed)}: it waits for subscribers whose queues are full, or the way to it is slow; give close() more timeoutMs or stallMs`,
      );
    }
    this.life.end(null);
  }
}

function counted(messages: number): string {
  return messages === 1 ? '1 published message' : `${messages} published messages`;
}

/** The same error, with what it may have cost. A connection of somebody else's may tell of its end in its own way. */
export function withUnconfirmed(error: Error, unconfirmed: number): JspError {
  const { code, applicationCode, reason } =
    error instanceof JspError
      ? error
      : { code: 'ERR_JSP_CLOSED' as const, applicationCode: undefined, reason: undefined };
  if (unconfirmed === 0 && error instanceof JspError) return error;
  const cost = unconfirmed === 0 ? '' : `. The broker has not confirmed ${counted(unconfirmed)}.`;
  return new JspError(code, `${error.message}${cost}`, { applicationCode, reason, cause: error });
}

const PROGRESS_MS = 100;
