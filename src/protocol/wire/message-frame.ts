/** Writers of MESSAGE and MESSAGES: the header, behind which the caller copies the data. */
import { EnvelopeFlag, FrameType, MessageFlag } from './frame-type.ts';
import { varintSize, writeVarint } from './varint.ts';

/**
 * Bytes of a MESSAGE up to its data. Parameters are those of {@link writeMessageHeader}; what the flags do not call for does
 * not count.
 */
export function messageHeaderSize(
  flags: number,
  stream: number,
  sequence: number,
  offset: number,
  total: number,
  oldest: number,
  remaining: number,
  length: number,
  envelope: Uint8Array = NO_ENVELOPE,
): number {
  let size = 1 + varintSize(stream) + varintSize(sequence) + varintSize(length);
  if ((flags & MessageFlag.FRAGMENT) !== 0) {
    size += varintSize(offset) + varintSize(total) + varintSize(sequence - oldest);
  }
  if ((flags & MessageFlag.LIFETIME) !== 0) size += varintSize(remaining);
  if ((flags & MessageFlag.ENVELOPE) !== 0) size += envelope.length;
  return size;
}

/**
 * Writes a MESSAGE up to its data. Returns where the data goes.
 * @param flags - {@link MessageFlag}s: they say which of the fields are written
 * @param oldest - FRAGMENT: the oldest sequence of this space that is not settled, at most `sequence`
 * @param remaining - LIFETIME: microseconds until the deadline
 * @param length - bytes of data in this frame
 * @param envelope - ENVELOPE: what {@link encodeEnvelope} made
 */
export function writeMessageHeader(
  out: Uint8Array,
  at: number,
  flags: number,
  stream: number,
  sequence: number,
  offset: number,
  total: number,
  oldest: number,
  remaining: number,
  length: number,
  envelope: Uint8Array = NO_ENVELOPE,
): number {
  out[at] = FrameType.MESSAGE | flags;
  let next = writeVarint(out, writeVarint(out, at + 1, stream), sequence);
  if ((flags & MessageFlag.FRAGMENT) !== 0) {
    next = writeVarint(out, next, offset);
    next = writeVarint(out, next, total);
    next = writeVarint(out, next, sequence - oldest);
  }
  if ((flags & MessageFlag.LIFETIME) !== 0) next = writeVarint(out, next, remaining);
  if ((flags & MessageFlag.ENVELOPE) !== 0) {
    out.set(envelope, next);
    next += envelope.length;
  }
  return writeVarint(out, next, length);
}

/**
 * The envelope of a message, as all its frames carry it.
 * @param dictionaryHash - 8 bytes, null when compressed without a dictionary
 * @param originalLength - length before compression, -1 to leave it out
 */
export function encodeEnvelope(
  compressed: boolean,
  dictionaryHash: Uint8Array | null,
  originalLength: number,
): Uint8Array {
  const hashBytes = dictionaryHash === null ? 0 : dictionaryHash.length;
  const envelope = new Uint8Array(1 + hashBytes + (originalLength < 0 ? 0 : varintSize(originalLength)));
  if (compressed) envelope[0] |= EnvelopeFlag.COMPRESSED;
  if (dictionaryHash !== null) {
    envelope[0] |= EnvelopeFlag.DICTIONARY;
    envelope.set(dictionaryHash, 1);
  }
  if (originalLength >= 0) {
    envelope[0] |= EnvelopeFlag.LENGTH;
    writeVarint(envelope, 1 + hashBytes, originalLength);
  }
  return envelope;
}

/** Bytes of a MESSAGES up to its first message; each message then takes a varint of its length, and its data. */
export function messagesHeaderSize(stream: number, first: number, count: number): number {
  return 1 + varintSize(stream) + varintSize(first) + varintSize(count);
}

/**
 * Writes a MESSAGES up to its first message. Returns where the (length varint, data) pairs go.
 * @param first - sequence of the first message
 * @param count - messages in the run, at least 1
 */
export function writeMessagesHeader(
  out: Uint8Array,
  at: number,
  bestEffort: boolean,
  stream: number,
  first: number,
  count: number,
): number {
  out[at] = bestEffort ? FrameType.MESSAGES_BEST_EFFORT : FrameType.MESSAGES;
  return writeVarint(out, writeVarint(out, writeVarint(out, at + 1, stream), first), count);
}

const NO_ENVELOPE = new Uint8Array(0);
