import { copyOf, equalBytes } from '../../base/bytes.ts';

export interface ConnectionIdOptions {
  readonly isServer: boolean;
  /** Whether the client does not pin the server's identity. */
  readonly unpinned: boolean;
  /** What we issued. */
  readonly sourceId: Uint8Array;
  /** The client: its choice for the first packet. The server: the client's source id. */
  readonly destinationId: Uint8Array;
  /** Destination id of the client's first packet. */
  readonly firstDestinationId: Uint8Array;
  /** A bit of the header that says nothing. */
  readonly greaseBit: boolean;
}

/** The connection ids of one connection: those that lead packets here, and the one that leads them to the peer (RFC 9000 section 5.1). */
export class ConnectionIds {
  /** What our long headers carry as the source, and what the peer's packets carry as their destination. */
  readonly sourceId: Uint8Array;
  /** What our packets carry as their destination. */
  destinationId: Uint8Array;
  readonly firstDestinationId: Uint8Array;
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

  /** The source id of a long packet that opened: the server's first one is what the client uses from then on. [CON-1] */
  acceptPeer(id: Uint8Array): void {
    if (this.knowsPeer) return;
    this.knowsPeer = true;
    this.destinationId = copyOf(id);
  }
}
