/**
 * Headers of packets: what a packet is, where its parts lie, and its number as far as it is written (RFC 9000 section 17 and appendix A;
 * spec/packets.md). The parser reads what header protection leaves readable; number and payload are for who has the key.
 */

import { readVarint, varintLength, varintSize, writeVarint } from './varint.ts';

/** What a packet is: the `T T` of a long header, or a short header. */
export const PacketType = { INITIAL: 0, ZERO_RTT: 1, HANDSHAKE: 2, RETRY: 3, ONE_RTT: 4 } as const;
export type PacketType = (typeof PacketType)[keyof typeof PacketType];

/** What a packet is, by its first byte. Header protection leaves these bits as they are. */
export function packetTypeOf(firstByte: number): PacketType {
  return ((firstByte & LONG_FORM) === 0 ? PacketType.ONE_RTT : (firstByte >> 4) & 0x3) as PacketType;
}

/** The packet number spaces; 0-RTT packets are numbered in the application space. [PKT-7] */
export const PacketSpace = { INITIAL: 0, HANDSHAKE: 1, APPLICATION: 2 } as const;
export type PacketSpace = (typeof PacketSpace)[keyof typeof PacketSpace];
export const PACKET_SPACES = 3;

/** The space that numbers packets of this type; a Retry has no number. */
export function packetSpaceOf(type: number): PacketSpace {
  if (type === PacketType.INITIAL) return PacketSpace.INITIAL;
  return type === PacketType.HANDSHAKE ? PacketSpace.HANDSHAKE : PacketSpace.APPLICATION;
}

/** Version 1, "JSP1" in ASCII. */
export const VERSION = 0x4a53_5031;
/** Longest connection id of any version. [INV-3] */
export const CONNECTION_ID_BYTES_MAX = 20;
/** Length of the destination id that a client makes up for its first packet: enough to be unpredictable. A server takes none that is shorter. [PKT-20] */
export const FIRST_ID_BYTES = 8;
/** Most bytes that the Length of a long header can announce. [PKT-2] */
export const LONG_PACKET_LENGTH_MAX = 0x3fff;

/** What a header says of its connection. */
export interface PacketAddress {
  readonly destinationId: Uint8Array;
  readonly sourceId: Uint8Array;
  readonly unpinned: boolean;
  readonly greaseBit: boolean;
  /** Of Initial packets; empty without one. */
  readonly token: Uint8Array;
}

/**
 * What {@link parsePacketHeader} found, before header protection is removed. One object, used again for each packet; all
 * positions are offsets into the datagram.
 */
export class PacketHeader {
  form: 'long' | 'short' = 'short';
  /** A {@link PacketType}; -1 when the version is not ours. Look at {@link version} first. */
  type = -1;
  /** The first byte as it came; its low bits may still be protected. */
  firstByte = 0;
  /** The `U` bit: an Initial of a handshake whose client does not pin the server's identity. */
  unpinned = false;
  /** {@link VERSION} for short headers. */
  version = 0;
  dcidStart = 0;
  dcidLength = 0;
  scidStart = 0;
  scidLength = 0;
  /** The token of an Initial or a Retry. */
  tokenStart = 0;
  tokenLength = 0;
  /** Where the packet number begins; of a Retry, where the tag begins; -1 when the version is not ours. */
  numberStart = 0;
  /** Where the packet ends, and the next one of the datagram begins. */
  end = 0;
}

/**
 * Reads the header of the packet at `at` of a datagram that ends at `end`. False when it is malformed, is cut short or has no
 * fixed bit: the packet is dropped and counted, and with it the rest of the datagram [PKT-3]. True also for a version that
 * is not ours, with only the connection ids filled in; the caller drops and counts it [INV-6].
 * @param shortIdLength - length of the connection ids we chose, as short headers do not tell [INV-4]
 */
export function parsePacketHeader(
  header: PacketHeader,
  datagram: Uint8Array,
  at: number,
  end: number,
  shortIdLength: number,
): boolean {
  if (at >= end) return false;
  const firstByte = datagram[at];
  header.firstByte = firstByte;
  header.unpinned = false;
  header.scidStart = 0;
  header.scidLength = 0;
  header.tokenStart = 0;
  header.tokenLength = 0;
  // [INV-1] the form, which tells where the fixed bit and the ids are
  if ((firstByte & LONG_FORM) !== 0) return parseLongHeader(header, datagram, at, end);
  if ((firstByte & FIXED_BIT) === 0) return false; // [INV-2]
  header.form = 'short';
  header.type = PacketType.ONE_RTT;
  header.version = VERSION;
  header.dcidStart = at + 1;
  header.dcidLength = shortIdLength;
  header.numberStart = at + 1 + shortIdLength;
  header.end = end; // [PKT-5]
  return header.numberStart + PROTECTED_BYTES_MIN <= end;
}

/** Bytes of a long header up to its ids, as every version has it. [INV-3] */
export function invariantHeaderSize(dcidLength: number, scidLength: number): number {
  return 1 + 4 + 1 + dcidLength + 1 + scidLength;
}

/** Writes a long header up to its ids, as every version has it. Returns the offset behind them. [INV-3] */
export function writeInvariantHeader(
  out: Uint8Array,
  at: number,
  firstByte: number,
  version: number,
  dcid: Uint8Array,
  scid: Uint8Array,
): number {
  out[at] = firstByte;
  out[at + 1] = version >>> 24;
  out[at + 2] = version >>> 16;
  out[at + 3] = version >>> 8;
  out[at + 4] = version;
  out[at + 5] = dcid.length;
  out.set(dcid, at + 6);
  const next = at + 6 + dcid.length;
  out[next] = scid.length;
  out.set(scid, next + 1);
  return next + 1 + scid.length;
}

/** Bytes of a long header with its packet number. `tokenLength` counts on Initial packets only. */
export function longHeaderSize(
  type: number,
  dcidLength: number,
  scidLength: number,
  tokenLength: number,
  numberBytes: number,
): number {
  const token = type === PacketType.INITIAL ? varintSize(tokenLength) + tokenLength : 0;
  return invariantHeaderSize(dcidLength, scidLength) + token + 2 + numberBytes;
}

/**
 * Writes the long header of an Initial, 0-RTT or Handshake packet with its packet number; Length is filled in by
 * {@link writePacketLength} when the payload is there. Returns the offset behind the number. [PKT-1]
 * @param token - of an Initial, empty when there is none
 */
export function writeLongHeader(
  out: Uint8Array,
  at: number,
  type: number,
  unpinned: boolean,
  dcid: Uint8Array,
  scid: Uint8Array,
  token: Uint8Array,
  number: number,
  numberBytes: number,
): number {
  const flags = unpinned && type === PacketType.INITIAL ? UNPINNED_BIT : 0;
  let next = writeInvariantHeader(
    out,
    at,
    LONG_FORM | FIXED_BIT | (type << 4) | flags | (numberBytes - 1),
    VERSION,
    dcid,
    scid,
  );
  if (type === PacketType.INITIAL) {
    next = writeVarint(out, next, token.length);
    out.set(token, next);
    next += token.length;
  }
  out[next] = 0x40;
  out[next + 1] = 0;
  return writePacketNumber(out, next + 2, number, numberBytes);
}

/**
 * Fills in the Length of the long header whose packet number begins at `numberStart`.
 * @param end - where the packet ends, tag included; at most {@link LONG_PACKET_LENGTH_MAX} bytes behind `numberStart`
 */
export function writePacketLength(out: Uint8Array, numberStart: number, end: number): void {
  const length = end - numberStart;
  out[numberStart - 2] = 0x40 | (length >> 8); // [PKT-2] always 2 bytes
  out[numberStart - 1] = length;
}

/** Writes a Retry up to its token; the caller appends the tag. Returns the offset behind the token. */
export function writeRetryHeader(
  out: Uint8Array,
  at: number,
  dcid: Uint8Array,
  scid: Uint8Array,
  token: Uint8Array,
): number {
  const firstByte = LONG_FORM | FIXED_BIT | (PacketType.RETRY << 4);
  const next = writeInvariantHeader(out, at, firstByte, VERSION, dcid, scid);
  out.set(token, next);
  return next + token.length;
}

/** Bytes of a short header with its packet number. */
export function shortHeaderSize(dcidLength: number, numberBytes: number): number {
  return 1 + dcidLength + numberBytes;
}

/**
 * Writes a short header with its packet number. Returns the offset behind the number. [PKT-4]
 * @param greaseBit - the connection's random bit
 * @param phase - the key phase, 0 or 1
 */
export function writeShortHeader(
  out: Uint8Array,
  at: number,
  greaseBit: boolean,
  phase: number,
  dcid: Uint8Array,
  number: number,
  numberBytes: number,
): number {
  out[at] = FIXED_BIT | (greaseBit ? GREASE_BIT : 0) | (phase << 2) | (numberBytes - 1);
  let next = at + 1;
  for (let i = 0; i < dcid.length; i++) out[next++] = dcid[i];
  return writePacketNumber(out, next, number, numberBytes);
}

// ---- packet numbers [PKT-8] ----

/**
 * Bytes a packet number needs so that the peer can tell it from all it may mistake it for.
 * @param largestAcked - largest number the peer acknowledged in this space, -1 when none
 */
export function packetNumberBytes(number: number, largestAcked: number): number {
  const distance = number - largestAcked;
  return distance < 0x80 ? 1 : distance < 0x8000 ? 2 : distance < 0x80_0000 ? 3 : 4;
}

/** Writes the least significant `bytes` bytes of `number`. Returns the offset behind them. */
export function writePacketNumber(out: Uint8Array, at: number, number: number, bytes: number): number {
  const low = number >>> 0;
  for (let i = 0; i < bytes; i++) out[at + i] = low >>> (8 * (bytes - 1 - i));
  return at + bytes;
}

/** Reads the `bytes` bytes at `at`: the truncated number, for {@link decodePacketNumber}. */
export function readPacketNumber(buffer: Uint8Array, at: number, bytes: number): number {
  let value = 0;
  for (let i = 0; i < bytes; i++) value = (value << 8) | buffer[at + i];
  return value >>> 0;
}

/**
 * The whole number whose low bytes are `truncated`: the one closest to the number expected next (RFC 9000 appendix A.3).
 * @param bytes - how many bytes the header gave, 1 to 4
 * @param largest - largest number received in this space, -1 when none
 */
export function decodePacketNumber(truncated: number, bytes: number, largest: number): number {
  const expected = largest + 1;
  const window = WINDOWS[bytes];
  const half = window / 2;
  // Only the distance is computed with: next to the last number there is, sums of numbers would be rounded.
  let distance = truncated - (expected % window);
  if (distance <= -half && distance + window <= Number.MAX_SAFE_INTEGER - expected) distance += window;
  else if (distance > half && expected + distance >= window) distance -= window;
  return expected + distance;
}

// ---- inside ----

function parseLongHeader(header: PacketHeader, datagram: Uint8Array, at: number, end: number): boolean {
  header.form = 'long';
  if ((header.firstByte & FIXED_BIT) === 0) return false; // [INV-2]
  let next = at + 1;
  if (next + 5 > end) return false;
  header.version = readU32(datagram, next);
  // [INV-3] the ids stand where they stand in every version
  header.dcidLength = datagram[next + 4];
  header.dcidStart = next + 5;
  next = header.dcidStart + header.dcidLength;
  if (header.dcidLength > CONNECTION_ID_BYTES_MAX || next >= end) return false;
  header.scidLength = datagram[next];
  header.scidStart = next + 1;
  next = header.scidStart + header.scidLength;
  if (header.scidLength > CONNECTION_ID_BYTES_MAX || next > end) return false;
  if (header.version !== VERSION) {
    header.type = -1;
    header.numberStart = -1;
    header.end = end;
    return true;
  }
  header.type = (header.firstByte >> 4) & 0x3;
  header.unpinned = (header.firstByte & UNPINNED_BIT) !== 0;
  if (header.unpinned && header.type !== PacketType.INITIAL) return false; // [PKT-1]
  if (header.type === PacketType.RETRY) return parseRetry(header, next, end);
  return parseLongBody(header, datagram, next, end);
}

function parseLongBody(header: PacketHeader, datagram: Uint8Array, at: number, end: number): boolean {
  let next = at;
  if (header.type === PacketType.INITIAL) {
    const tokenLength = readVarint(datagram, next, end);
    if (tokenLength < 0) return false;
    next += varintLength(datagram[next]);
    header.tokenStart = next;
    header.tokenLength = tokenLength;
    next += tokenLength;
  }
  if (next + 2 > end || datagram[next] >> 6 !== 1) return false; // [PKT-2]
  const length = ((datagram[next] & 0x3f) << 8) | datagram[next + 1];
  header.numberStart = next + 2;
  header.end = header.numberStart + length;
  return length >= PROTECTED_BYTES_MIN && header.end <= end; // [PKT-3]
}

function parseRetry(header: PacketHeader, at: number, end: number): boolean {
  header.tokenStart = at;
  header.tokenLength = end - TAG_BYTES - at;
  header.numberStart = end - TAG_BYTES;
  header.end = end;
  return header.tokenLength >= 1; // [PKT-3] a token is not empty
}

function readU32(buffer: Uint8Array, at: number): number {
  return ((buffer[at] << 24) | (buffer[at + 1] << 16) | (buffer[at + 2] << 8) | buffer[at + 3]) >>> 0;
}

/** Set in the first byte of a long header. */
export const LONG_FORM = 0x80;
/** Set in the first byte of every packet. [INV-2] */
export const FIXED_BIT = 0x40;
const UNPINNED_BIT = 0x08;
/** `S` in the first byte of a short header: the packet's symbol is worth keeping. [FEC-41] */
export const SYMBOL_BIT = 0x10;
const GREASE_BIT = 0x20;
/** Of the AEAD's tag, at the end of every protected packet. */
export const TAG_BYTES = 16;
/** Of a stateless reset's token. */
export const RESET_TOKEN_BYTES = 16;
/** Packet number and payload are at least 4 bytes, the tag follows: a header protection sample always fits. [PKT-14] */
const PROTECTED_BYTES_MIN = 4 + TAG_BYTES;
const WINDOWS: readonly number[] = [1, 2 ** 8, 2 ** 16, 2 ** 24, 2 ** 32];
