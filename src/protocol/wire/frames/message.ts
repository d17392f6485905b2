/** Writers of MESSAGE and MESSAGES: the header, behind which the caller copies the data. */
import { EnvelopeFlag, FrameType, MessageFlag } from '../frame-type.ts';
import type { FrameWriter, MessageHeader } from '../frame-writer.ts';
import { varintSize, writeVarint } from '../varint.ts';

/** Bytes of a MESSAGE up to its data. */
export function messageHeaderSize(message: MessageHeader): number {
  const { flags, sequence } = message;
  let size = 1 + varintSize(message.stream) + varintSize(sequence) + varintSize(message.length);
  if ((flags & MessageFlag.FRAGMENT) !== 0) {
    size += varintSize(message.offset) + varintSize(message.total) + varintSize(sequence - message.oldest);
  }
  if ((flags & MessageFlag.LIFETIME) !== 0) size += varintSize(message.remaining);
  if ((flags & MessageFlag.ENVELOPE) !== 0) size += message.envelope.length;
  return size;
}

/** Writes {@link FrameWriter.message} up to its data. */
export function writeMessageHeader(w: FrameWriter): void {
  const { message, out } = w;
  const { flags, stream, sequence, offset, length } = message;
  out[w.at] = FrameType.MESSAGE | flags;
  let at = writeVarint(out, writeVarint(out, w.at + 1, stream), sequence);
  if ((flags & MessageFlag.FRAGMENT) !== 0) {
    at = writeVarint(out, at, offset);
    at = writeVarint(out, at, message.total);
    at = writeVarint(out, at, sequence - message.oldest);
  }
  if ((flags & MessageFlag.LIFETIME) !== 0) at = writeVarint(out, at, message.remaining);
  if ((flags & MessageFlag.ENVELOPE) !== 0) {
    out.set(message.envelope, at);
    at += message.envelope.length;
  }
  w.at = writeVarint(out, at, length);
  const kind = FrameType.MESSAGE | (flags & (MessageFlag.BEST_EFFORT | MessageFlag.FRAGMENT));
  w.sent.part(kind, stream, sequence, offset, length);
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
 * Writes a MESSAGES up to its first message, behind which the (length varint, data) pairs go.
 * @param first - sequence of the first message
 * @param count - messages in the run, at least 1
 */
export function writeMessagesHeader(
  w: FrameWriter,
  bestEffort: boolean,
  stream: number,
  first: number,
  count: number,
): void {
  const type = bestEffort ? FrameType.MESSAGES_BEST_EFFORT : FrameType.MESSAGES;
  const { out } = w;
  out[w.at] = type;
  w.at = writeVarint(out, writeVarint(out, writeVarint(out, w.at + 1, stream), first), count);
  w.sent.run(type, stream, first, count);
}
