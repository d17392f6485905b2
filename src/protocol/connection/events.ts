import type { CloseReason } from './closing.ts';
import type { Connection } from './connection.ts';
import type { ConnectionStream } from './connection-stream.ts';

/** What an endpoint tells its driver. Taken with `pollEvent`, in the order in which it happened. */
export type EndpointEvent =
  /** The handshake is complete: the peer is who it should be. */
  | { readonly type: 'connected'; readonly connection: Connection }
  /** The peer opened a stream. */
  | { readonly type: 'stream'; readonly connection: Connection; readonly stream: ConnectionStream }
  /** The stream has messages to read, or its end. */
  | { readonly type: 'readable'; readonly connection: Connection; readonly stream: ConnectionStream }
  /** The stream's queue became shorter, or messages were settled. */
  | { readonly type: 'writable'; readonly connection: Connection; readonly stream: ConnectionStream }
  /** What became of a message that was sent with a tracking number. */
  | {
      readonly type: 'outcome';
      readonly connection: Connection;
      readonly stream: ConnectionStream;
      readonly tracking: number;
      readonly outcome: number;
    }
  /** The peer ended the stream by a reset, or stopped reading it. */
  | {
      readonly type: 'reset';
      readonly connection: Connection;
      readonly stream: ConnectionStream;
      readonly code: number;
    }
  /** Both directions of the stream are over. */
  | { readonly type: 'streamClosed'; readonly connection: Connection; readonly stream: ConnectionStream }
  /** The size of datagrams changed. */
  | {
      readonly type: 'mtu';
      readonly connection: Connection;
      readonly mtu: number;
      readonly previous: number;
    }
  /** Streams of ours have waited for long because the peer, which has not ended others, lets us open no more. [STR-39] */
  | { readonly type: 'streamsBlocked'; readonly connection: Connection; readonly waiting: number }
  /** The connection is over. */
  | { readonly type: 'closed'; readonly connection: Connection; readonly reason: CloseReason };
