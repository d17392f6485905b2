import type { StreamEvent } from '../stream/stream-events.ts';
import type { CloseReason } from './lifecycle.ts';
import type { Connection } from './connection.ts';

/** What an endpoint tells its driver. Taken with `pollEvent`, in the order in which it happened. */
export type EndpointEvent =
  | StreamEvent<Connection>
  /** The handshake is complete: the peer is who it should be. */
  | { readonly type: 'connected'; readonly connection: Connection }
  /** The size of datagrams changed. */
  | {
      readonly type: 'mtu';
      readonly connection: Connection;
      readonly mtu: number;
      readonly previous: number;
    }
  /** The connection is over. */
  | { readonly type: 'closed'; readonly connection: Connection; readonly reason: CloseReason };
