/**
 * The face of tracing: where records of one connection go, and its secrets, and who is asked for such a place. What is handed in here is told by
 * the core and never asks it back: it takes a line, and that is all it may do. [TRC-1]
 */

import { hexOf } from '../../base/bytes.ts';
import type { Micros } from '../../base/time.ts';

/** Takes the records of one connection, in order. It never throws. */
export interface TraceSink {
  /** False when there was no room for the record, which is gone then. */
  write(record: string): boolean;
}

/** Makes the places that connections are traced to. */
export interface Tracing {
  /** Of the socket, as far as it is known. */
  readonly localHost: string;
  readonly localPort: number;
  /**
   * A connection begins.
   * @param groupId - destination id of the client's first packet in hex: the one name that both ends have for the connection
   * @returns null when this one is not traced
   */
  open(role: 'client' | 'server', groupId: string): TraceSink | null;
}

/** A packet that was packed, or opened, with its payload in the clear: valid only during the call that has it. */
export interface TracedPacket {
  /** A `PacketType`. */
  readonly type: number;
  readonly number: number;
  readonly buffer: Uint8Array;
  readonly payloadStart: number;
  readonly payloadEnd: number;
  /** Length of the packet, header and tag included. */
  readonly bytes: number;
  /** Of long headers. */
  readonly destinationId: Uint8Array;
  readonly sourceId: Uint8Array;
  /** Which datagram of the connection it is in, counted from 0 in each direction; -1 when it does not matter. */
  readonly datagram: number;
}

/** What a path says of its recovery, in microseconds, bytes, and bytes a microsecond. */
export interface RecoveryFigures {
  readonly rtt: {
    readonly hasSample: boolean;
    readonly min: Micros;
    readonly smoothed: Micros;
    readonly latest: Micros;
    readonly variance: Micros;
  };
  readonly congestion: { readonly window: number; readonly pacingRate: number; readonly state: string };
  readonly bytesInFlight: number;
  /** Null where the socket cannot set and read the ECN bits. */
  readonly ecn: { readonly state: number } | null;
}

/** Why a connection is over. */
export interface TracedEnd {
  readonly by: 'local' | 'peer' | 'timeout' | 'reset';
  readonly scope: 'transport' | 'application';
  readonly code: number;
  readonly reason: string;
  readonly timeout: string;
}

/** Why a packet was not read: the triggers of qlog's packet_dropped. */
export type DropTrigger =
  | 'key_unavailable'
  | 'unknown_connection_id'
  | 'header_parse_error'
  | 'payload_decrypt_error'
  | 'unexpected_source_connection_id'
  | 'duplicate'
  | 'unexpected_packet'
  | 'unexpected_version';

// ---- secrets ----

/**
 * Takes a line of a key log, in the style of NSS (SSLKEYLOGFILE), without its end: from its secret follow the key, the IV and the header
 * protection key of one direction in one epoch. Whoever has them reads all that the connection carries. It never throws. [TRC-10]
 */
export type KeyLog = (line: string) => void;

/** Which secret of the key schedule a line has. */
export type SecretLabel =
  | 'CLIENT_INITIAL_SECRET'
  | 'SERVER_INITIAL_SECRET'
  | 'CLIENT_EARLY_TRAFFIC_SECRET'
  | 'CLIENT_HANDSHAKE_TRAFFIC_SECRET'
  | 'SERVER_HANDSHAKE_TRAFFIC_SECRET'
  | `${'CLIENT' | 'SERVER'}_TRAFFIC_SECRET_${number}`;

/** Tells the secrets of one connection as lines. */
export class SecretLog {
  private readonly log: KeyLog;
  private id: string;

  /** @param firstDestinationId - of the client's first packet */
  constructor(log: KeyLog, firstDestinationId: Uint8Array) {
    this.log = log;
    this.id = hexOf(firstDestinationId);
  }

  tell(label: SecretLabel, secret: Uint8Array): void {
    this.log(`JSP_${label} ${this.id} ${hexOf(secret)}`);
  }

  /** The client began its handshake again: this is the id that the server and whoever captured it know what follows by. [HS-58] */
  restart(firstDestinationId: Uint8Array): void {
    this.id = hexOf(firstDestinationId);
  }
}
