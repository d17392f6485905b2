/** What the application says of streams and messages, and how the wire says it. */

import { JspError } from '../base/errors.ts';
import { flag, number, type OptionTable, oneOf, text, whole } from '../base/options.ts';
import type { Delivery as WireDelivery, Priority as WirePriority } from '../protocol/wire/frame-type.ts';

/**
 * `reliable`: exactly once. `partial`: exactly once, or not at all once its lifetime is over. `bestEffort`: sent once,
 * never again, outside flow control.
 */
export type Delivery = 'reliable' | 'partial' | 'bestEffort';

/** Which traffic goes first: `system` with at most a tenth of the rate, then `media`, `chat` and `bulk` at 4:2:1. */
export type Priority = 'system' | 'media' | 'chat' | 'bulk';

/**
 * What became of a message: `acknowledged`, complete at the peer's transport; `expired`, its lifetime ended before, here, on the way
 * or unread there; `lost`, a
 * best-effort message of which a packet was lost; `dropped`, given up by the peer or because the stream was reset.
 */
export type Outcome = 'acknowledged' | 'expired' | 'lost' | 'dropped';

export interface StreamOptions {
  /** Default `chat`. */
  priority?: Priority | undefined;
  /** Default `reliable`. */
  delivery?: Delivery | undefined;
  /**
   * Whether messages come out in the order they were sent. Default true. Of best-effort messages an ordered stream drops those that come
   * after a newer one (`messagesLate` of the peer's metrics): what games want of states. Unordered, each is delivered as it comes.
   */
  ordered?: boolean | undefined;
  /** Lifetime of `partial` and `bestEffort` messages that name none, in ms. Default none. */
  lifetimeMs?: number | undefined;
  /** At most 64 bytes of UTF-8 that the peer sees as `stream.label`. Default empty. */
  label?: string | undefined;
  /**
   * Whether this side may go on sending for as long as it likes when the peer has ended its own direction, as of sockets in `node:net`.
   * Default: what `listen` or `connect` was told, else false: then this side ends, too, behind what listeners of `end`, or the code after
   * a `for await`, send at once.
   */
  allowHalfOpen?: boolean | undefined;
  /** Unsent bytes above which `send` answers false. Default 1 MiB. */
  highWaterMark?: number | undefined;
}

export interface SendOptions {
  /** Lower than the stream's own only: a reliable stream can send a best-effort message, not the other way round. */
  delivery?: Delivery | undefined;
  /**
   * Not delivered later than this many ms from now. Makes a reliable message `partial`. Half of the measured round-trip time counts as the
   * time under way: what would come too late is not sent, and the outcome is `expired`. On a path whose two directions differ, a message may
   * come late by half of the difference, or be given up that much too early.
   */
  lifetimeMs?: number | undefined;
  /** The caller will not touch the bytes again, so they need not be copied. */
  transfer?: boolean | undefined;
}

/** Numbers of the wire for the names of the API. */
export function priorityNumber(priority: Priority): WirePriority {
  const number = PRIORITIES.indexOf(priority);
  if (number < 0)
    throw new JspError('ERR_JSP_OPTION_INVALID', `priority must be one of ${PRIORITIES.join(', ')}`);
  return number as WirePriority;
}

export function deliveryNumber(delivery: Delivery): WireDelivery {
  const number = DELIVERIES.indexOf(delivery);
  if (number < 0)
    throw new JspError('ERR_JSP_OPTION_INVALID', `delivery must be one of ${DELIVERIES.join(', ')}`);
  return number as WireDelivery;
}

/** Names in the order of the wire's numbers. */
export const PRIORITIES: readonly Priority[] = ['system', 'media', 'chat', 'bulk'];
export const DELIVERIES: readonly Delivery[] = ['reliable', 'partial', 'bestEffort'];
export const OUTCOMES: readonly Outcome[] = ['acknowledged', 'expired', 'lost', 'dropped'];

/** What an application's code for a close or a reset may be. */
export const APPLICATION_CODE = whole(0, Number.MAX_SAFE_INTEGER);

/** What the options of `openStream`, `send` and `reset` may be. */
export const STREAM_OPTIONS: OptionTable<StreamOptions> = {
  priority: oneOf(PRIORITIES),
  delivery: oneOf(DELIVERIES),
  ordered: flag,
  lifetimeMs: number(0, Number.POSITIVE_INFINITY),
  label: text,
  allowHalfOpen: flag,
  highWaterMark: number(0, Number.POSITIVE_INFINITY),
};
export const SEND_OPTIONS: OptionTable<SendOptions> = {
  delivery: oneOf(DELIVERIES),
  lifetimeMs: number(0, Number.POSITIVE_INFINITY),
  transfer: flag,
};
export const RESET_OPTIONS: OptionTable<{ code: number }> = { code: APPLICATION_CODE };
