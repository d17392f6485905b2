/** What may be said of a client in a browser when it connects. */

import { number, type OptionTable, oneOf } from '../base/options.ts';
import { type BufferOptions, bufferOption } from '../client/backlog.ts';
import { type BreakerOptions, breakerOption } from '../client/breaker.ts';
import { codecOption } from '../client/codec.ts';
import { FIRST_CONNECT, type FirstConnect } from '../client/life.ts';
import { type ReconnectOptions, reconnectOption } from '../client/reconnecting.ts';
import { isName } from '../pubsub/topic.ts';
import { abortSignal } from '../transport/abort.ts';
import type { CredentialsSource } from './dialing.ts';
import type { Codec } from './payload.ts';
import type { SocketConstructor } from './surroundings.ts';

export interface WebClientOptions {
  /** What proves who the client is: `{ apiKey }` or `{ jwt }`, or a function, asked before each attempt to connect and when the broker says that they expire. Default: none. */
  credentials?: CredentialsSource | undefined;
  /**
   * Name of the session, under which the broker keeps the will and the presence of this client over its connections. Default: a random one. Give it, and the next page with that name goes on
   * where this one was; two at a time take it from each other.
   */
  session?: string | undefined;
  /** How long the broker keeps the session while the client is away, in ms. Default 24 h with a name, else 2 min. */
  sessionExpiryMs?: number | undefined;
  /** What makes payloads of values, and values of payloads, where neither a publish nor a subscription has a codec of its own. Default: none. */
  codec?: Codec<unknown> | undefined;
  /** How it comes back when it has lost its connection, or false: then the client is over with its connection. Default: after a random part of 250 ms, which doubles with each failure up to 30 s. */
  reconnect?: boolean | ReconnectOptions | undefined;
  /** What a gateway that cannot be reached at first means: `reject` (default), `connectClient` fails; `wait`, it goes on trying; `background`, it resolves at once, and the client goes on trying. */
  firstConnect?: FirstConnect | undefined;
  /** Bounds of what the client holds, published and not confirmed, and what happens at them. */
  buffer?: BufferOptions | undefined;
  /** Stops publishing for a while where the broker refuses one message after the other. Default: none. */
  breaker?: boolean | BreakerOptions | undefined;
  /** Ends the wait for the first connection. */
  signal?: AbortSignal | undefined;
  /** The constructor of sockets. Default: that of the page, or of Node from 22 on; for Node 20 that of the package `ws`. */
  WebSocket?: unknown;
}

export const WEB_CLIENT_OPTIONS: OptionTable<WebClientOptions> = {
  credentials: (value) => {
    if (typeof value === 'function') return null;
    const isObject = typeof value === 'object' && value !== null;
    return isObject && ('apiKey' in value || 'jwt' in value)
      ? null
      : '{ apiKey }, { jwt } or a function that answers one of them';
  },
  session: (value) =>
    isName(value, NAME_BYTES_MAX)
      ? null
      : `a well-formed string of 1 to ${NAME_BYTES_MAX} bytes without control characters`,
  sessionExpiryMs: number(0, 2 ** 32 - 1),
  codec: codecOption,
  reconnect: reconnectOption,
  firstConnect: oneOf(FIRST_CONNECT),
  buffer: bufferOption,
  breaker: breakerOption,
  signal: abortSignal,
  WebSocket: (value) => (typeof value === 'function' ? null : 'a constructor of sockets'),
};

/** The one that is to be used; null: there is none. */
export function socketConstructor({ WebSocket: given }: WebClientOptions): SocketConstructor | null {
  const there = given ?? (globalThis as { WebSocket?: unknown }).WebSocket;
  return (there as SocketConstructor | undefined) ?? null;
}

const NAME_BYTES_MAX = 255;
