/** How a client in a browser goes: with everything that it published at the broker, and with what its handlers have begun, as far as there is time. */

import { JspError } from '../base/errors.ts';
import { MILLISECOND, type Micros, NEVER } from '../base/time.ts';
import { DrainError, type DrainOptions } from '../client/draining.ts';
import type { Life } from '../client/life.ts';
import type { Settlement } from '../client/message.ts';
import { onAbort } from '../transport/abort.ts';
import type { Clock, TimerHandle } from '../udp/clock.ts';
import type { WebLink } from './link.ts';
import type { Outbox } from './outbox.ts';

export interface CloseOptions {
  /** How long to wait at most until the broker has everything, in ms. Default 10,000. A later call can only shorten it. */
  timeoutMs?: number | undefined;
  /** Closes at once when it fires. */
  signal?: AbortSignal | undefined;
}

/** A close that is under way. */
export class Leaving {
  /** Resolves when the broker has everything that was published and the connection is closed. Rejects where it is closed before that. */
  readonly done: Promise<void>;
  private readonly cut: Cut;

  constructor(life: Life<WebLink>, outbox: Outbox, clock: Clock) {
    this.cut = new Cut(clock);
    this.done = this.finish(life, outbox);
    this.done.catch(() => {}); // whoever waits hears of it
  }

  shorten({ timeoutMs = CLOSE_MS, signal }: CloseOptions): void {
    this.cut.shorten(timeoutMs, signal);
  }

  private async finish(life: Life<WebLink>, outbox: Outbox): Promise<void> {
    const { cut } = this;
    try {
      await Promise.race([outbox.flush(undefined), cut.fired]);
      const { unconfirmed } = outbox;
      if (life.failure === null && unconfirmed === 0) await Promise.race([life.leave(LEAVE_MS), cut.fired]);
      life.end(null);
      if (unconfirmed > 0) throw incomplete(unconfirmed);
    } finally {
      cut.forget();
      life.end(null);
    }
  }
}

/** What is drained. */
export interface Draining {
  /** Lets the application finish what it has. @returns what it has not settled */
  drain(): Promise<readonly Settlement[]>;
  readonly handedOver: readonly Settlement[];
}

/** A drain that is under way. */
export class Drain {
  /** Resolves when handlers are done, the broker has their acknowledgements and what was published, and the connection is closed. */
  readonly done: Promise<void>;
  private readonly cut: Cut;

  constructor(life: Life<WebLink>, draining: Draining, outbox: Outbox, clock: Clock) {
    this.cut = new Cut(clock);
    this.done = this.run(life, draining, outbox);
    this.done.catch(() => {}); // whoever waits hears of it
  }

  shorten({ timeoutMs = DRAIN_MS, signal }: DrainOptions): void {
    this.cut.shorten(timeoutMs, signal);
  }

  private async run(life: Life<WebLink>, draining: Draining, outbox: Outbox): Promise<void> {
    const { cut } = this;
    life.beginDraining();
    const finish = async (): Promise<readonly Settlement[] | null> => {
      try {
        const left = await draining.drain();
        await outbox.flush(undefined);
        return left;
      } catch {
        return null; // the client is over, or a connection took messages with QoS 0 with it
      }
    };
    const left = await Promise.race([finish(), cut.fired]);
    const { failure } = life;
    const received = (left ?? draining.handedOver).map(
      ({ topic, offset }) => ({ was: 'received', topic, offset }) as const,
    );
    const published = outbox.unsettledTopics.map(
      (topic) => ({ was: 'published', topic, offset: null }) as const,
    );
    if (left !== null && failure === null) await Promise.race([life.leave(LEAVE_MS), cut.fired]);
    cut.forget();
    life.end(null);
    if (received.length + published.length > 0 || failure !== null) {
      throw new DrainError([...received, ...published], failure);
    }
  }
}

export function closedError(): JspError {
  return new JspError('ERR_JSP_CLOSED', 'The client is closed.');
}

/** When something that goes on is cut short: after a time that later calls can only shorten, or when one of their signals fires. */
class Cut {
  readonly fired: Promise<null>;
  private readonly clock: Clock;
  private fire: () => void = () => {};
  private at: Micros = NEVER;
  private timer: TimerHandle | null = null;
  /** Take back what waits for the signals; null: it is over. */
  private signals: (() => void)[] | null = [];

  constructor(clock: Clock) {
    this.clock = clock;
    this.fired = new Promise((resolve) => {
      this.fire = () => resolve(null);
    });
  }

  shorten(timeoutMs: number, signal: AbortSignal | undefined): void {
    if (this.signals === null) return;
    if (signal?.aborted || timeoutMs <= 0) return this.fire();
    this.signals.push(onAbort(signal, this.fire));
    const at = Number.isFinite(timeoutMs) ? this.clock.now() + timeoutMs * MILLISECOND : NEVER;
    if (at >= this.at) return;
    this.stopTimer();
    this.at = at;
    this.timer = this.clock.setTimer(at, this.fire);
  }

  /** It is over in time. */
  forget(): void {
    this.stopTimer();
    for (const forget of this.signals ?? []) forget();
    this.signals = null;
  }

  private stopTimer(): void {
    if (this.timer !== null) this.clock.clearTimer(this.timer);
    this.timer = null;
  }
}

function incomplete(unconfirmed: number): JspError {
  return new JspError(
    'ERR_JSP_CLOSE_INCOMPLETE',
    `closed before the broker had confirmed ${unconfirmed} published messages; give close() more timeoutMs`,
  );
}

const CLOSE_MS = 10_000;
const DRAIN_MS = 30_000;
/** For the farewell of the socket. */
const LEAVE_MS = 2_000;
