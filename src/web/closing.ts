/** How a client in a browser goes: with everything that it published at the broker, and with what its handlers have begun, as far as there is time. */

import { JspError } from '../base/errors.ts';
import { MILLISECOND, NEVER } from '../base/time.ts';
import { DrainError, type DrainOptions } from '../client/draining.ts';
import type { Life } from '../client/life.ts';
import type { Settlement } from '../client/message.ts';
import { onAbort } from '../transport/abort.ts';
import type { Clock } from '../udp/clock.ts';
import type { WebLink } from './link.ts';
import type { Outbox } from './outbox.ts';

export interface CloseOptions {
  /** How long to wait at most until the broker has everything, in ms. Default 10,000. */
  timeoutMs?: number | undefined;
  /** Closes at once when it fires. */
  signal?: AbortSignal | undefined;
}

/** Resolves when the broker has everything that was published and the connection is closed. Rejects where it is closed before that. */
export async function leave(
  life: Life<WebLink>,
  outbox: Outbox,
  options: CloseOptions,
  clock: Clock,
): Promise<void> {
  const { timeoutMs = CLOSE_MS, signal } = options;
  const cut = cutAfter(timeoutMs, signal, clock);
  try {
    await Promise.race([outbox.flush(undefined), cut.fired]);
    const { unconfirmed } = outbox;
    if (life.failure === null && unconfirmed === 0) await life.leave(LEAVE_MS);
    life.end(null);
    if (unconfirmed > 0) throw incomplete(unconfirmed);
  } finally {
    cut.forget();
    life.end(null);
  }
}

/** What is drained. */
export interface Draining {
  /** Lets the application finish what it has. @returns what it has not settled */
  drain(): Promise<readonly Settlement[]>;
  readonly handedOver: readonly Settlement[];
}

/** Resolves when handlers are done, the broker has their acknowledgements and what was published, and the connection is closed. */
export async function drain(
  life: Life<WebLink>,
  draining: Draining,
  outbox: Outbox,
  { timeoutMs = DRAIN_MS, signal }: DrainOptions,
  clock: Clock,
): Promise<void> {
  const cut = cutAfter(timeoutMs, signal, clock);
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
  cut.forget();
  const { failure } = life;
  const received = (left ?? draining.handedOver).map(
    ({ topic, offset }) => ({ was: 'received', topic, offset }) as const,
  );
  const published = outbox.unsettledTopics.map(
    (topic) => ({ was: 'published', topic, offset: null }) as const,
  );
  if (left !== null && failure === null) await life.leave(LEAVE_MS);
  life.end(null);
  if (received.length + published.length > 0 || failure !== null) {
    throw new DrainError([...received, ...published], failure);
  }
}

export function closedError(): JspError {
  return new JspError('ERR_JSP_CLOSED', 'The client is closed.');
}

function cutAfter(timeoutMs: number, signal: AbortSignal | undefined, clock: Clock) {
  let cut: (value: null) => void = () => {};
  const fired = new Promise<null>((resolve) => {
    cut = resolve;
  });
  const at = Number.isFinite(timeoutMs) ? clock.now() + timeoutMs * MILLISECOND : NEVER;
  const timer = clock.setTimer(at, () => cut(null));
  const forget = onAbort(signal, () => cut(null));
  if (signal?.aborted || timeoutMs <= 0) cut(null);
  return {
    fired,
    forget: () => {
      clock.clearTimer(timer);
      forget();
    },
  };
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
