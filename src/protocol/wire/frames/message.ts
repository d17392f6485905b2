/**
 * Frames that carry messages, and frames that say which will not be carried, or kept:
 *
 *     MESSAGE   0x20 to 0x2f  the low bits are flags; layout in spec/frames.md
 *     MESSAGES  0x30 to 0x33  stream varint, first varint, count varint, count x (length varint, data); the low bits are flags
 *     ABANDON   0x0e          stream varint, first varint, count varint, count x (length varint)
 *     DROPPED   0x0f          stream varint, space u8, first varint, count varint
 */

import { type FrameKind, type FrameReader, InPackets } from '../frame-reader.ts';
import { FrameType, MessageFlag, RunFlag, Space } from '../frame-type.ts';
import type { FrameWriter, MessageHeader } from '../frame-writer.ts';
import { readVarint, VARINT_MAX, varintLength, varintSize, writeVarint } from '../varint.ts';

/** Bytes of a MESSAGE up to its data. */
export function messageHeaderSize(message: MessageHeader): number {
  const { flags, sequence } = message;
  let size = 1 + varintSize(message.stream) + varintSize(sequence) + varintSize(message.length);
  if ((flags & MessageFlag.FRAGMENT) !== 0) {
    size += varintSize(message.offset) + varintSize(message.total) + varintSize(sequence - message.oldest);
  }
  if ((flags & MessageFlag.LIFETIME) !== 0) size += varintSize(message.remaining);
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
  w.at = writeVarint(out, at, length);
  const kind = FrameType.MESSAGE | (flags & (MessageFlag.BEST_EFFORT | MessageFlag.FRAGMENT));
  w.sent.part(kind, stream, sequence, offset, length);
}

/** Bytes of a MESSAGES up to its first message; each message then takes a varint of its length, and its data. */
export function messagesHeaderSize(stream: number, first: number, count: number): number {
  return 1 + varintSize(stream) + varintSize(first) + varintSize(count);
}

/**
 * Writes a MESSAGES up to its first message, behind which the (length varint, data) pairs go.
 * @param flags - {@link RunFlag}s
 * @param first - sequence of the first message
 * @param count - messages in the run, at least 1
 */
export function writeMessagesHeader(
  w: FrameWriter,
  flags: number,
  stream: number,
  first: number,
  count: number,
): void {
  const { out } = w;
  out[w.at] = FrameType.MESSAGES | flags;
  w.at = writeVarint(out, writeVarint(out, writeVarint(out, w.at + 1, stream), first), count);
  // What becomes of it has nothing to do with envelopes.
  w.sent.run(FrameType.MESSAGES | (flags & RunFlag.BEST_EFFORT), stream, first, count);
}

export function abandonHeaderSize(stream: number, first: number, count: number): number {
  return 1 + varintSize(stream) + varintSize(first) + varintSize(count);
}

/** The caller writes the lengths of the `count` messages behind it, each a varint. */
export function writeAbandonHeader(w: FrameWriter, stream: number, first: number, count: number): void {
  w.u8(FrameType.ABANDON);
  w.varint(stream);
  w.varint(first);
  w.varint(count);
  w.sent.run(FrameType.ABANDON, stream, first, count);
}

export function writeDropped(
  w: FrameWriter,
  stream: number,
  space: Space,
  first: number,
  count: number,
): void {
  w.u8(FrameType.DROPPED);
  w.varint(stream);
  w.u8(space);
  w.varint(first);
  w.varint(count);
  w.sent.run(FrameType.DROPPED, stream, first, count, space);
}

const message: FrameKind = {
  type: FrameType.MESSAGE,
  last: FrameType.MESSAGE | 0xf,
  read: readMessage,
  packets: InPackets.APPLICATION,
  isAckEliciting: true,
  json: messageJson,
};

const messages: FrameKind = {
  type: FrameType.MESSAGES,
  last: FrameType.MESSAGES_ENVELOPED_BEST_EFFORT,
  read: readMessages,
  packets: InPackets.APPLICATION,
  isAckEliciting: true,
  json: messagesJson,
};

const abandon: FrameKind = {
  type: FrameType.ABANDON,
  read: readAbandon,
  packets: InPackets.APPLICATION,
  isAckEliciting: true,
  json: (r) => `{"frame_type":"abandon","stream_id":${r.stream},"first":${r.sequence},"count":${r.count}}`,
};

const dropped: FrameKind = {
  type: FrameType.DROPPED,
  read: readDropped,
  packets: InPackets.APPLICATION,
  isAckEliciting: true,
  json: (r) =>
    `{"frame_type":"dropped","stream_id":${r.stream},"space":"${spaceName(r.space)}","first":${r.sequence},"count":${r.count}}`,
};

export const MESSAGE_FRAMES: readonly FrameKind[] = [message, messages, abandon, dropped];

function readMessage(r: FrameReader): void {
  const flags = r.type & 0xf;
  r.flags = flags;
  r.stream = r.varint();
  r.sequence = r.varint();
  r.offset = 0;
  r.oldest = -1;
  r.remaining = -1;
  r.isEnveloped = (flags & MessageFlag.ENVELOPE) !== 0;
  if ((flags & MessageFlag.FRAGMENT) !== 0) {
    r.offset = r.varint();
    r.total = r.varint();
    r.oldest = r.sequence - r.varint();
  }
  if ((flags & MessageFlag.LIFETIME) !== 0) r.remaining = r.varint();
  r.data();
  if ((flags & MessageFlag.FRAGMENT) === 0) r.total = r.dataLength;
  else if (r.oldest < 0 || r.dataLength === 0 || r.offset + r.dataLength > r.total) {
    r.fail(); // [FRM-6]
  }
}

function readMessages(r: FrameReader): void {
  r.isEnveloped = (r.type & RunFlag.ENVELOPE) !== 0;
  r.stream = r.varint();
  r.sequence = r.varint();
  r.run();
  const buffer = r.buffer;
  const bound = r.bound;
  let at = r.at;
  for (let i = r.count; i > 0; i--) {
    const length = readVarint(buffer, at, bound);
    if (length < 0) {
      r.fail();
      return;
    }
    at += varintLength(buffer[at]) + length;
  }
  // [FRM-8] a length beyond the end makes the next read, or this, fail
  r.dataLength = r.left < at - r.at ? r.fail() : at - r.at;
  r.at += r.dataLength;
}

function readAbandon(r: FrameReader): void {
  r.stream = r.varint();
  r.sequence = r.varint();
  r.run();
  for (let i = r.count; i > 0 && !r.failed; i--) r.varint();
  r.dataLength = r.at - r.dataStart;
}

function readDropped(r: FrameReader): void {
  r.stream = r.varint();
  r.space = r.u8();
  r.sequence = r.varint();
  r.count = r.varint();
  // [FRM-12]
  if (r.space > 1 || r.count < 1 || r.sequence + r.count > VARINT_MAX) r.fail();
}

function messageJson(r: FrameReader): string {
  const { flags } = r;
  const space = spaceName((flags & MessageFlag.BEST_EFFORT) === 0 ? Space.RELIABLE : Space.BEST_EFFORT);
  let json = `{"frame_type":"message","stream_id":${r.stream},"space":"${space}","sequence":${r.sequence},"length":${r.dataLength}`;
  if ((flags & MessageFlag.FRAGMENT) !== 0)
    json += `,"offset":${r.offset},"total":${r.total},"oldest":${r.oldest}`;
  if ((flags & MessageFlag.LIFETIME) !== 0) json += `,"remaining":${r.remaining / 1_000}`;
  return `${json}${envelopedJson(r)}}`;
}

function messagesJson(r: FrameReader): string {
  const space = spaceName(r.type & RunFlag.BEST_EFFORT);
  return `{"frame_type":"messages","stream_id":${r.stream},"space":"${space}","first":${r.sequence},"count":${r.count},"length":${runBytes(r)}${envelopedJson(r)}}`;
}

/** Of messages that begin with an envelope. */
function envelopedJson(r: FrameReader): string {
  return r.isEnveloped ? ',"enveloped":true' : '';
}

/** Bytes of the messages of a run, without their lengths in front. */
function runBytes({ buffer, dataStart, dataLength, count }: FrameReader): number {
  let bytes = 0;
  let at = dataStart;
  for (let i = 0; i < count; i++) {
    const length = readVarint(buffer, at, dataStart + dataLength);
    bytes += length;
    at += varintLength(buffer[at]) + length;
  }
  return bytes;
}

function spaceName(space: number): string {
  return space === Space.RELIABLE ? 'reliable' : 'best_effort';
}
