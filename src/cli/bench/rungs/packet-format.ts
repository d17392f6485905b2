import type { Counts } from '../workload.ts';

/** How a rung of the ladder fills datagrams. Numbers count up from 0. */
export interface PacketWriter {
  readonly messagesPerPacket: number;
  /** Bytes of one message. */
  readonly messageBytes: number;
  /** Most bytes a datagram takes. */
  readonly packetBytesMax: number;
  /** Writes datagram `number` at `at`. Returns its end. */
  write(arena: Uint8Array, at: number, number: number): number;
  /** The second pass over all that was written since the last call: sealing, in rungs that seal. */
  finish(arena: Uint8Array): void;
}

/** How a rung reads datagrams. */
export interface PacketReader {
  readonly counts: Counts;
  /** Reads a datagram, and counts what is new of it. Returns its number, or -1 when it is none of ours. */
  read(datagram: Uint8Array): number;
}

/** How a rung's receiver tells its sender what came. */
export interface FeedbackWriter {
  /** A datagram that came for the first time or again. */
  note(number: number): void;
  /** Writes what came so far. Returns the end of the datagram. */
  write(arena: Uint8Array, at: number): number;
}

export interface FeedbackReader {
  /** The first number that is not known to have come, or -1 when the datagram is none of ours. */
  read(datagram: Uint8Array): number;
}
