import type { Micros } from '../../base/time.ts';
import type { PacketSpace } from '../wire/packet-header.ts';
import type { TransportParameters } from '../wire/transport-parameters.ts';
import type { GivenTicket } from './tickets.ts';

/** How far one side of a handshake is: what it waits for, as RFC 8446 appendix A has it, or how it ended. */
export const HandshakeState = {
  WAIT_CLIENT_HELLO: 0,
  WAIT_SERVER_HELLO: 1,
  WAIT_SERVER_FLIGHT: 2,
  WAIT_CLIENT_FINISHED: 3,
  /** A server's client is who it says it is, and the application decides whether it is let in. [HS-44] */
  WAIT_ADMISSION: 4,
  /** The peer has the same keys and saw the same messages; a server has proved its identity. [CON-36] */
  COMPLETE: 5,
  FAILED: 6,
} as const;
export type HandshakeState = (typeof HandshakeState)[keyof typeof HandshakeState];

/** What becomes of early data. [HS-34] */
export const EarlyData = {
  /** There is none. */
  NONE: 0,
  /** A client sends some, and does not know yet whether it is taken. */
  PENDING: 1,
  ACCEPTED: 2,
  REFUSED: 3,
} as const;
export type EarlyData = (typeof EarlyData)[keyof typeof EarlyData];

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
  /** At a client: of the identity by which the server knows it, now or by its ticket; null where it showed none. */
  readonly ownFingerprint: Uint8Array | null;
  /** What a client says to the server's application; null: nothing, or a server is the peer. */
  readonly peerPayload: Uint8Array | null;
  /** At a client: the server's application decides whether it is let in, and says so. [HS-44] */
  readonly isAdmissionDue: boolean;
  /** At a client: what the server answers with is so long that the hello alone does not pay for it. [HS-41] */
  readonly expectsLongAnswer: boolean;
  /** Largest datagram that a client says it sends, in bytes; 0 where a server is the peer. */
  readonly peerLargestDatagram: number;
  /** The server took the client's ticket. */
  readonly isResumed: boolean;
  readonly earlyData: EarlyData;
  /** At a client: the number of the suite in use; 0 before the server has chosen. */
  readonly suite: number;
  /** At a client that sends early data: what its server told in the connection that the ticket is from. [HS-57] */
  readonly remembered: TransportParameters | null;
  /**
   * Takes all the bytes that the peer sent in a space.
   * @returns 0, or the code to close the connection with
   */
  receive(space: HandshakeSpace, bytes: Uint8Array, now?: Micros): number;
  /** At a client that waits for its server's hello: a Retry with this source id is followed, and {@link hello} is to be sent anew. [HS-30] */
  onRetry(sourceId: Uint8Array): void;
  /** At a client that waits for its server's hello: its own is worth nothing where the ticket is not taken. */
  readonly offersTicketOnly: boolean;
  /** Then: makes another {@link hello}, without a ticket, with the Initial keys that belong to it. Returns the destination id that its packets have. [HS-58] */
  beginAgain(): Uint8Array;
  /** At a server whose client is there, and let in: a ticket for its next connection; null where none is given. [HS-55] */
  takeTicket(now: Micros): GivenTicket | null;
  /** At a server in WAIT_ADMISSION: the client is let in. */
  admit(): void;
  /** Zeroes what is not needed any more; the handshake cannot go on. [HS-25] */
  forget(): void;
}
