import type { PacketSpace } from '../wire/packet-header.ts';
import type { TransportParameters } from '../wire/transport-parameters.ts';

/** How far one side of a handshake is: what it waits for, as RFC 8446 appendix A has it, or how it ended. */
export const HandshakeState = {
  WAIT_CLIENT_HELLO: 0,
  WAIT_SERVER_HELLO: 1,
  WAIT_SERVER_FLIGHT: 2,
  WAIT_CLIENT_FINISHED: 3,
  /** The peer has the same keys and saw the same messages; a server has proved its identity. [CON-36] */
  COMPLETE: 4,
  FAILED: 5,
} as const;
export type HandshakeState = (typeof HandshakeState)[keyof typeof HandshakeState];

/** The packet number spaces that have messages of the handshake. */
export type HandshakeSpace = typeof PacketSpace.INITIAL | typeof PacketSpace.HANDSHAKE;

/**
 * One side of a handshake as its connection sees it, without packets: whole messages in by {@link receive}, whole messages out. The keys that
 * come of it are installed in the connection's `KeyRing`.
 */
export interface Handshake {
  readonly state: HandshakeState;
  /** What to send in the Initial space; null before it is there. */
  readonly hello: Uint8Array | null;
  /** What to send in the Handshake space; null before it is there. */
  readonly flight: Uint8Array | null;
  readonly peerParameters: TransportParameters | null;
  /** Fingerprint of the peer's identity, once it proved that it has the key. */
  readonly peerFingerprint: Uint8Array | null;
  /** Largest datagram that a client says it sends, in bytes; 0 where a server is the peer. */
  readonly peerLargestDatagram: number;
  /**
   * Takes all the bytes that the peer sent in a space.
   * @returns 0, or the code to close the connection with
   */
  receive(space: HandshakeSpace, bytes: Uint8Array): number;
  /** At a client that waits for its server's hello: a Retry with this source id is followed, and {@link hello} is to be sent anew. [HS-30] */
  onRetry(sourceId: Uint8Array): void;
  /** Zeroes what is not needed any more; the handshake cannot go on. [HS-25] */
  forget(): void;
}
