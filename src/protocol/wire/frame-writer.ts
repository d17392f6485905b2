/**
 * Writers of all frames but ACK and messages. Each returns the offset behind what it wrote; the caller made sure of the room,
 * with {@link CONTROL_FRAME_BYTES_MAX} or the frame's own size function. A `...Header` is followed by the data, which the
 * caller copies.
 */
import { FrameType } from './frame-type.ts';
import { varintSize, writeVarint } from './varint.ts';

/** No frame is longer than this whose fields are only integers, or a PATH_CHALLENGE or PATH_RESPONSE. */
export const CONTROL_FRAME_BYTES_MAX = 26;
/** No NEW_CONNECTION_ID is longer than this. */
export const NEW_CONNECTION_ID_BYTES_MAX = 1 + 8 + 8 + 1 + 20 + 16;

/** Writes `count` PADDING frames. */
export function writePadding(out: Uint8Array, at: number, count: number): number {
  out.fill(FrameType.PADDING, at, at + count);
  return at + count;
}

export function writePing(out: Uint8Array, at: number): number {
  out[at] = FrameType.PING;
  return at + 1;
}

export function cryptoHeaderSize(offset: number, total: number, length: number): number {
  return 1 + varintSize(offset) + varintSize(total) + varintSize(length);
}

export function writeCryptoHeader(
  out: Uint8Array,
  at: number,
  offset: number,
  total: number,
  length: number,
): number {
  out[at] = FrameType.CRYPTO;
  const next = writeVarint(out, writeVarint(out, at + 1, offset), total);
  return writeVarint(out, next, length);
}

export function writeHandshakeDone(out: Uint8Array, at: number): number {
  out[at] = FrameType.HANDSHAKE_DONE;
  return at + 1;
}

export function tokenSize(token: Uint8Array): number {
  return 1 + varintSize(token.length) + token.length;
}

export function writeToken(out: Uint8Array, at: number, token: Uint8Array): number {
  out[at] = FrameType.TOKEN;
  return writeBytes(out, writeVarint(out, at + 1, token.length), token);
}

export function ticketSize(lifetimeSeconds: number, ticket: Uint8Array): number {
  return 1 + varintSize(lifetimeSeconds) + 16 + varintSize(ticket.length) + ticket.length;
}

/** @param nonce - 16 bytes */
export function writeTicket(
  out: Uint8Array,
  at: number,
  lifetimeSeconds: number,
  nonce: Uint8Array,
  ticket: Uint8Array,
): number {
  out[at] = FrameType.TICKET;
  const next = writeBytes(out, writeVarint(out, at + 1, lifetimeSeconds), nonce);
  return writeBytes(out, writeVarint(out, next, ticket.length), ticket);
}

/** The flags byte of a STREAM_OPEN. */
export function streamOpenFlags(priority: number, ordered: boolean, delivery: number): number {
  return priority | (ordered ? 0x4 : 0) | (delivery << 3);
}

export function streamOpenSize(stream: number, label: Uint8Array): number {
  return 1 + varintSize(stream) + 1 + 1 + label.length;
}

/** @param label - UTF-8, at most 64 bytes */
export function writeStreamOpen(
  out: Uint8Array,
  at: number,
  stream: number,
  flags: number,
  label: Uint8Array,
): number {
  out[at] = FrameType.STREAM_OPEN;
  const next = writeVarint(out, at + 1, stream);
  out[next] = flags;
  out[next + 1] = label.length;
  return writeBytes(out, next + 2, label);
}

export function writeStreamFin(out: Uint8Array, at: number, stream: number, end: number): number {
  return write2(out, at, FrameType.STREAM_FIN, stream, end);
}

export function writeStreamReset(
  out: Uint8Array,
  at: number,
  stream: number,
  code: number,
  end: number,
): number {
  return write3(out, at, FrameType.STREAM_RESET, stream, code, end);
}

export function writeStopSending(out: Uint8Array, at: number, stream: number, code: number): number {
  return write2(out, at, FrameType.STOP_SENDING, stream, code);
}

export function abandonHeaderSize(stream: number, first: number, count: number): number {
  return 1 + varintSize(stream) + varintSize(first) + varintSize(count);
}

/** The caller writes the lengths of the `count` messages behind it, each with `writeVarint`. */
export function writeAbandonHeader(
  out: Uint8Array,
  at: number,
  stream: number,
  first: number,
  count: number,
): number {
  return write3(out, at, FrameType.ABANDON, stream, first, count);
}

export function writeDropped(
  out: Uint8Array,
  at: number,
  stream: number,
  space: number,
  first: number,
  count: number,
): number {
  out[at] = FrameType.DROPPED;
  const next = writeVarint(out, at + 1, stream);
  out[next] = space;
  return writeVarint(out, writeVarint(out, next + 1, first), count);
}

export function writeMaxData(out: Uint8Array, at: number, limit: number): number {
  return write1(out, at, FrameType.MAX_DATA, limit);
}

export function writeMaxStreamData(out: Uint8Array, at: number, stream: number, limit: number): number {
  return write2(out, at, FrameType.MAX_STREAM_DATA, stream, limit);
}

export function writeMaxStreams(out: Uint8Array, at: number, limit: number): number {
  return write1(out, at, FrameType.MAX_STREAMS, limit);
}

export function writeDataBlocked(out: Uint8Array, at: number, limit: number): number {
  return write1(out, at, FrameType.DATA_BLOCKED, limit);
}

export function writeStreamDataBlocked(out: Uint8Array, at: number, stream: number, limit: number): number {
  return write2(out, at, FrameType.STREAM_DATA_BLOCKED, stream, limit);
}

export function writeStreamsBlocked(out: Uint8Array, at: number, limit: number): number {
  return write1(out, at, FrameType.STREAMS_BLOCKED, limit);
}

export function repairHeaderSize(group: number, length: number): number {
  return 1 + 1 + varintSize(group) + 3 + varintSize(length);
}

/**
 * @param code - id of the erasure code
 * @param k - source symbols of the group
 * @param r - repair symbols of the group
 */
export function writeRepairHeader(
  out: Uint8Array,
  at: number,
  code: number,
  group: number,
  index: number,
  k: number,
  r: number,
  length: number,
): number {
  out[at] = FrameType.REPAIR;
  out[at + 1] = code;
  const next = writeVarint(out, at + 2, group);
  out[next] = index;
  out[next + 1] = k;
  out[next + 2] = r;
  return writeVarint(out, next + 3, length);
}

export function writeHeartbeat(out: Uint8Array, at: number, number: number, intervalMs: number): number {
  return write2(out, at, FrameType.HEARTBEAT, number, intervalMs);
}

/** @param challenge - 8 bytes */
export function writePathChallenge(out: Uint8Array, at: number, challenge: Uint8Array): number {
  out[at] = FrameType.PATH_CHALLENGE;
  return writeBytes(out, at + 1, challenge);
}

/** @param challenge - the 8 bytes of the PATH_CHALLENGE */
export function writePathResponse(out: Uint8Array, at: number, challenge: Uint8Array): number {
  out[at] = FrameType.PATH_RESPONSE;
  return writeBytes(out, at + 1, challenge);
}

/**
 * @param id - 1 to 20 bytes
 * @param resetToken - 16 bytes
 */
export function writeNewConnectionId(
  out: Uint8Array,
  at: number,
  sequence: number,
  retirePriorTo: number,
  id: Uint8Array,
  resetToken: Uint8Array,
): number {
  const next = write2(out, at, FrameType.NEW_CONNECTION_ID, sequence, retirePriorTo);
  out[next] = id.length;
  return writeBytes(out, writeBytes(out, next + 1, id), resetToken);
}

export function writeRetireConnectionId(out: Uint8Array, at: number, sequence: number): number {
  return write1(out, at, FrameType.RETIRE_CONNECTION_ID, sequence);
}

export function closeSize(code: number, reason: Uint8Array): number {
  return 1 + 1 + varintSize(code) + 1 + varintSize(reason.length) + reason.length;
}

/**
 * @param scope - 0 transport, 1 application, 2 application before all was delivered
 * @param frameType - the type at fault, 0 when none is
 * @param reason - UTF-8
 */
export function writeClose(
  out: Uint8Array,
  at: number,
  scope: number,
  code: number,
  frameType: number,
  reason: Uint8Array,
): number {
  out[at] = FrameType.CLOSE;
  out[at + 1] = scope;
  const next = writeVarint(out, at + 2, code);
  out[next] = frameType;
  return writeBytes(out, writeVarint(out, next + 1, reason.length), reason);
}

export function writeAckFrequency(
  out: Uint8Array,
  at: number,
  number: number,
  threshold: number,
  delayMax: number,
): number {
  return write3(out, at, FrameType.ACK_FREQUENCY, number, threshold, delayMax);
}

export function extensionSize(data: Uint8Array): number {
  return 1 + varintSize(data.length) + data.length;
}

/** @param type - 0x38 to 0x3f [FRM-2] */
export function writeExtension(out: Uint8Array, at: number, type: number, data: Uint8Array): number {
  out[at] = type;
  return writeBytes(out, writeVarint(out, at + 1, data.length), data);
}

function write1(out: Uint8Array, at: number, type: number, a: number): number {
  out[at] = type;
  return writeVarint(out, at + 1, a);
}

function write2(out: Uint8Array, at: number, type: number, a: number, b: number): number {
  out[at] = type;
  return writeVarint(out, writeVarint(out, at + 1, a), b);
}

function write3(out: Uint8Array, at: number, type: number, a: number, b: number, c: number): number {
  return writeVarint(out, write2(out, at, type, a, b), c);
}

function writeBytes(out: Uint8Array, at: number, bytes: Uint8Array): number {
  out.set(bytes, at);
  return at + bytes.length;
}
