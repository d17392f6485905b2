import type { JspError } from '../base/errors.ts';
import type { Alert } from '../protocol/endpoint/index.ts';
import type { Connection } from './connection.ts';
import type { Listener } from './listen.ts';
import type { Stream } from './stream.ts';

/** What is published, by the name of the channel. */
export interface DiagnosticsMessages {
  /** A listener listens. */
  'jetstream-proto:listener:open': { readonly listener: Listener };
  /** It has closed, and all of its connections. */
  'jetstream-proto:listener:close': { readonly listener: Listener };
  /** A connection is there: its handshake is complete, which took `handshakeMs`. On a server before its `connection` event. */
  'jetstream-proto:connection:open': { readonly connection: Connection; readonly handshakeMs: number };
  /** `connect` got no connection to this address, or one with early data whose handshake failed; where a name has several addresses, others may be tried. */
  'jetstream-proto:connection:failed': {
    readonly remoteHost: string;
    readonly remotePort: number;
    readonly error: JspError;
  };
  /** A connection is over, with null where nothing went wrong; its `metrics()` are the last. */
  'jetstream-proto:connection:close': { readonly connection: Connection; readonly error: JspError | null };
  /** What the event `alert` of a connection tells. Whoever subscribes before a connection is there hears of it; later ones need a listener. */
  'jetstream-proto:connection:alert': { readonly connection: Connection; readonly alert: Alert };
  /** The size of a connection's datagrams changed. */
  'jetstream-proto:connection:mtu': {
    readonly connection: Connection;
    readonly mtu: number;
    readonly previous: number;
  };
  /** So many streams of this side have waited for 5 s until the peer allows more. */
  'jetstream-proto:connection:streams-blocked': { readonly connection: Connection; readonly waiting: number };
  /** A stream was opened, by this side or by the peer. */
  'jetstream-proto:stream:open': {
    readonly connection: Connection;
    readonly stream: Stream;
    readonly openedBy: 'here' | 'peer';
  };
  /** A stream is over; `error` says why, null where both sides ended it. */
  'jetstream-proto:stream:close': {
    readonly connection: Connection;
    readonly stream: Stream;
    readonly error: JspError | null;
  };
}
