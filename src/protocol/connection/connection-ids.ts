import { copyOf, equalBytes, NO_BYTES } from '../../base/bytes.ts';

export interface ConnectionIdOptions {
  readonly isServer: boolean;
  /** Whether the client does not pin the server's identity. */
  readonly unpinned: boolean;
  /** What we issued. */
  readonly sourceId: Uint8Array;
  /** The client: its choice for the first packet. The server: the client's source id. */
  readonly destinationId: Uint8Array;
  /** Destination id of the client's first packet, or of the first one behind a Retry that the server keeps nothing of. */
  readonly firstDestinationId: Uint8Array;
  /** The server: destination id of the client's very first packet, when that was answered by a Retry; else null. */
  readonly retriedId?: Uint8Array | null | undefined;
  /** The client: what it was given in an earlier connection to show where it is; empty without one. */
  readonly token?: Uint8Array | undefined;
  /** A bit of the header that says nothing. */
  readonly greaseBit: boolean;
}

/** The connection ids of one connection: those that lead packets here, and the one that leads them to the peer (RFC 9000 section 5.1). */
export class ConnectionIds {
  /** What our long headers carry as the source, and what the peer's packets carry as their destination. */
  readonly sourceId: Uint8Array;
  /** What our packets carry as their destination. */
  destinationId: Uint8Array;
  firstDestinationId: Uint8Array;
  /** Destination id of the client's very first packet: other than {@link firstDestinationId} at a server that answered it with a Retry. */
  originalDestinationId: Uint8Array;
  /** Source id of the Retry that the client followed; null without one. [HS-30] */
  retrySourceId: Uint8Array | null = null;
  /** At a client: the token in the header of its Initial packets; empty when it has none. */
  token: Uint8Array;
  /** All that lead here: those that we issued, and at a server the one that the client made up. */
  readonly localIds: readonly Uint8Array[];
  /** At a client: what its server ends the connection with when it has forgotten it. [PKT-22] */
  resetToken: Uint8Array | null = null;
  readonly unpinned: boolean;
  readonly greaseBit: boolean;
  private knowsPeer: boolean;

  constructor(options: ConnectionIdOptions) {
    const { firstDestinationId, isServer, sourceId } = options;
    this.sourceId = sourceId;
    this.destinationId = options.destinationId;
    this.firstDestinationId = firstDestinationId;
    this.originalDestinationId = options.retriedId ?? firstDestinationId;
    if (options.retriedId != null) this.retrySourceId = firstDestinationId;
    this.token = options.token ?? NO_BYTES;
    this.localIds = isServer ? [sourceId, firstDestinationId] : [sourceId];
    this.unpinned = options.unpinned;
    this.greaseBit = options.greaseBit;
    this.knowsPeer = isServer;
  }

  /** Whether a packet with this destination id is for this connection. */
  leadsHere(data: Uint8Array, start: number, length: number): boolean {
    for (const id of this.localIds) if (equalBytes(id, data.subarray(start, start + length))) return true;
    return false;
  }

  /** Whether a packet with this source id is the peer's; null as long as any may be. */
  isPeer(id: Uint8Array): boolean | null {
    return this.knowsPeer ? equalBytes(id, this.destinationId) : null;
  }

  /** At a client that heard nothing of its server yet but this Retry: Initial packets go where it says, with its token. [HS-30] */
  followRetry(sourceId: Uint8Array, token: Uint8Array): void {
    this.retrySourceId = sourceId;
    this.destinationId = sourceId;
    this.token = token;
  }

  /** At a client that begins its handshake again: nothing is known of the server, and its first packets have this destination. [HS-58] */
  restart(firstDestinationId: Uint8Array): void {
    this.firstDestinationId = firstDestinationId;
    this.originalDestinationId = firstDestinationId;
    this.destinationId = firstDestinationId;
    this.retrySourceId = null;
    this.token = NO_BYTES;
    this.knowsPeer = false;
  }

  /** The source id of a long packet that opened: the server's first one is what the client uses from then on. [CON-1] */
  acceptPeer(id: Uint8Array): void {
    if (this.knowsPeer) return;
    this.knowsPeer = true;
    this.destinationId = copyOf(id);
  }
}
