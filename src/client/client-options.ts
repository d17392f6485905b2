/** What may be said of a client when it connects. */

import { number, type OptionTable, oneOf, whole } from '../base/options.ts';
import { DROPPED_BYTES } from '../pubsub/command.ts';
import { STREAM_PRIORITIES, type StreamPriority } from '../pubsub/message-stream.ts';
import { isName } from '../pubsub/topic.ts';
import { type TelemetryApi, telemetryOption } from '../pubsub/tracing.ts';
import { CONNECT_OPTIONS, type ConnectOptions } from '../transport/connect.ts';
import { type BufferOptions, bufferOption } from './backlog.ts';
import { type BreakerOptions, breakerOption } from './breaker.ts';
import { type Codec, codecOption } from './codec.ts';
import { type CredentialsSource, credentialsOption } from './credentials.ts';
import { FIRST_CONNECT, type FirstConnect } from './life.ts';
import { type ReconnectOptions, reconnectOption } from './reconnecting.ts';

/**
 * Those of a connection. `compression` compresses payloads rather than what goes over the connection: once for all subscribers, unopened by the broker. A
 * dictionary is used without being agreed, so give it to subscribers first; those that do not have it hear of each such message in the event `unopened`. Where
 * only a profile asks for compression, it is that of the connection.
 */
export interface BrokerClientOptions extends ConnectOptions {
  /** Class of what this client publishes, where a publish names none. Default `chat`. */
  publishPriority?: StreamPriority | undefined;
  /** What makes payloads of values, and values of payloads, where neither a publish nor a subscription has a codec of its own. Default: none. */
  codec?: Codec<unknown> | undefined;
  /**
   * How it comes back when it has lost its connection, or false: then the client is over with its connection. Default: after a random part of
   * 250 ms, which doubles with each failure up to 30 s and is back at the beginning when a connection has lasted 30 s.
   */
  reconnect?: boolean | ReconnectOptions | undefined;
  /**
   * What a broker that cannot be reached at first means: `reject` (default), `connectClient` fails when each URL was tried; `wait`, it goes on trying, and `signal`
   * ends that; `background`, it resolves at once, and the client is online later.
   */
  firstConnect?: FirstConnect | undefined;
  /**
   * Name of its session at the broker, which outlives connections, and the process where the next one takes the same name: 1 to 255 bytes. Two clients cannot have
   * one at a time: the newer takes it, and for the older that is the end. Default: a random name.
   */
  session?: string | undefined;
  /** How long the broker keeps the session while the client is away, in ms. Default 24 h with a `session` of your own, else 2 min. */
  sessionExpiryMs?: number | undefined;
  /** Bounds of what it holds for the broker: what waits for a connection, and what is published with QoS 1 and not stored yet. */
  buffer?: BufferOptions | undefined;
  /** A circuit breaker for publishes with QoS 1 and requests; true: one with its defaults. Default: none. */
  breaker?: boolean | BreakerOptions | undefined;
  /** Who it is: credentials, or a function that is asked for them before each attempt to connect. Default: nobody. */
  credentials?: CredentialsSource | undefined;
  /** The module `@opentelemetry/api`: publishes and the handling of messages become spans of one trace. Default: none. */
  telemetry?: TelemetryApi | undefined;
}

export const CLIENT_OPTIONS: OptionTable<BrokerClientOptions> = {
  ...CONNECT_OPTIONS,
  // In a smaller one the broker's answers would not fit, and whoever waits for them would wait for ever.
  messageBytesMax: whole(DROPPED_BYTES, Number.MAX_SAFE_INTEGER),
  publishPriority: oneOf(STREAM_PRIORITIES),
  codec: codecOption,
  reconnect: reconnectOption,
  firstConnect: oneOf(FIRST_CONNECT),
  session: sessionName,
  sessionExpiryMs: number(0, Number.POSITIVE_INFINITY),
  buffer: bufferOption,
  breaker: breakerOption,
  credentials: credentialsOption,
  telemetry: telemetryOption,
};
function sessionName(value: unknown): string | null {
  return isName(value, NAME_BYTES_MAX)
    ? null
    : `a well-formed string of 1 to ${NAME_BYTES_MAX} bytes without control characters`;
}

/** The header of a HELLO has a byte for its length. */
const NAME_BYTES_MAX = 255;
