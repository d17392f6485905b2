/** How the rungs of the ladder fill their datagrams, and read them: bare, framed, framed and sealed; and what their receivers tell their senders. */

import { assert } from '../../src/base/errors.ts';
import { RangeSet } from '../../src/base/ranges.ts';
import type { Counts } from '../../src/bench/workload.ts';
import {
  type KeyRow,
  LEFT,
  openPacket,
  type PacketKeys,
  PacketTable,
  ReplayWindow,
  sealPacket,
  TAG_BYTES,
  UnprotectedHeader,
} from '../../src/protocol/crypto/index.ts';
import type { ReceiveBatch } from '../../src/protocol/datagram/index.ts';
import { FrameReader } from '../../src/protocol/wire/frame-reader.ts';
import { FrameType } from '../../src/protocol/wire/frame-type.ts';
import { FrameWriter } from '../../src/protocol/wire/frame-writer.ts';
import { writeAck } from '../../src/protocol/wire/frames/ack.ts';
import { nextFrame } from '../../src/protocol/wire/frames/index.ts';
import {
  messagesHeaderSize,
  writeMessageHeader,
  writeMessagesHeader,
} from '../../src/protocol/wire/frames/message.ts';
import {
  decodePacketNumber,
  PacketHeader,
  parsePacketHeader,
  readPacketNumber,
  writeShortHeader,
} from '../../src/protocol/wire/packet-header.ts';
import { readVarint, varintLength, varintSize, writeVarint } from '../../src/protocol/wire/varint.ts';

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
  /** The first pass over a batch: opening, in rungs whose packets the native addon opens. */
  begin(batch: ReceiveBatch): void;
  /** Reads datagram `i` of the batch, and counts what is new of it. Returns its number, or -1 when it is none of ours. */
  read(datagram: Uint8Array, i?: number): number;
}

/** How a rung's receiver tells its sender what came. */
export interface FeedbackWriter {
  /** A datagram that came for the first time or again. */
  note(number: number): void;
  /** Writes what came so far. Returns the end of the datagram. */
  write(arena: Uint8Array, at: number): number;
}

export interface FeedbackReader {
  begin(batch: ReceiveBatch): void;
  /** The first number that is not known to have come, or -1 when the datagram is none of ours. */
  read(datagram: Uint8Array, i?: number): number;
}

/** A datagram a message, and nothing of ours but the number in its first 4 bytes. */
export class RawWriter implements PacketWriter {
  readonly messagesPerPacket = 1;
  readonly messageBytes: number;
  readonly packetBytesMax: number;

  constructor(messageBytes: number) {
    if (messageBytes < RAW_NUMBER_BYTES)
      throw new RangeError(`a raw datagram has at least ${RAW_NUMBER_BYTES} bytes`);
    this.messageBytes = messageBytes;
    this.packetBytesMax = messageBytes;
  }

  write(arena: Uint8Array, at: number, number: number): number {
    writeNumber(arena, at, number);
    return at + this.messageBytes;
  }

  finish(): void {}
}

export class RawReader implements PacketReader {
  readonly counts: Counts = { messages: 0, bytes: 0, packets: 0 };
  private readonly seen = new RangeSet();

  begin(): void {}

  read(datagram: Uint8Array): number {
    if (datagram.length < RAW_NUMBER_BYTES) return -1;
    const number = readNumber(datagram, 0);
    const fresh = this.seen.add(number, number + 1);
    this.counts.packets++;
    this.counts.messages += fresh;
    this.counts.bytes += fresh * datagram.length;
    return number;
  }
}

/** Feedback that is no part of a protocol: the highest number that came, now and then, so that no buffer overflows. */
export class LightFeedbackWriter implements FeedbackWriter {
  private next = 0;

  note(number: number): void {
    if (number >= this.next) this.next = number + 1;
  }

  write(arena: Uint8Array, at: number): number {
    writeNumber(arena, at, this.next);
    return at + RAW_NUMBER_BYTES;
  }
}

export class LightFeedbackReader implements FeedbackReader {
  begin(): void {}

  read(datagram: Uint8Array): number {
    return datagram.length === RAW_NUMBER_BYTES ? readNumber(datagram, 0) : -1;
  }
}

/**
 * Short headers, and messages in MESSAGE or MESSAGES frames: the bytes of the stack without its state machines. With keys each
 * packet is sealed as well, in a second pass over the batch.
 */
export class FramedWriter implements PacketWriter {
  readonly messagesPerPacket: number;
  readonly messageBytes: number;
  readonly packetBytesMax: number;
  private readonly keys: PacketKeys | null;
  private readonly message: Uint8Array;
  private readonly frames = new FrameWriter();
  private readonly starts: number[] = [];
  private readonly ends: number[] = [];
  private readonly numbers: number[] = [];
  private readonly table = new PacketTable();
  private packed = 0;

  /** @param size - bytes of a message, 0 for one that fills the packet */
  constructor(mtu: number, size: number, keys: PacketKeys | null) {
    const room = mtu - HEADER_BYTES - (keys === null ? 0 : TAG_BYTES);
    this.messagesPerPacket = size === 0 ? 1 : messagesThatFit(room, size);
    this.messageBytes = size === 0 ? largestMessage(room) : size;
    if (this.messagesPerPacket < 1 || this.messageBytes < 1) {
      throw new RangeError(`a message of ${size} bytes does not fit a datagram of ${mtu}`);
    }
    this.packetBytesMax = mtu;
    this.keys = keys;
    this.message = new Uint8Array(this.messageBytes).fill(0x5a);
  }

  write(arena: Uint8Array, at: number, number: number): number {
    let next = writeShortHeader(arena, at, false, 0, CONNECTION_ID, number, NUMBER_BYTES);
    next = this.writeMessages(arena, next, number * this.messagesPerPacket);
    if (this.keys === null) return next;
    const i = this.packed++;
    this.starts[i] = at;
    this.ends[i] = next;
    this.numbers[i] = number;
    return next + TAG_BYTES;
  }

  finish(arena: Uint8Array): void {
    const { keys, starts, ends, numbers } = this;
    if (keys === null) return;
    if (keys.native !== null) this.sealAll(arena, keys.native);
    else {
      for (let i = 0; i < this.packed; i++)
        sealPacket(keys, arena, starts[i], starts[i] + NUMBER_START, ends[i], numbers[i]);
    }
    this.packed = 0;
  }

  private sealAll(arena: Uint8Array, keys: KeyRow): void {
    const { ends, numbers, starts, table } = this;
    for (let i = 0; i < this.packed; i++)
      table.add(starts[i], starts[i] + NUMBER_START, ends[i], keys, numbers[i]);
    table.seal(arena);
    table.clear();
  }

  private writeMessages(arena: Uint8Array, at: number, first: number): number {
    const { frames, message, messageBytes, messagesPerPacket } = this;
    frames.begin(arena, at, arena.length);
    if (messagesPerPacket === 1) {
      frames.message.sequence = first;
      frames.message.length = messageBytes;
      writeMessageHeader(frames);
      frames.bytes(message);
      return frames.at;
    }
    writeMessagesHeader(frames, 0, STREAM, first, messagesPerPacket);
    let next = frames.at;
    for (let i = 0; i < messagesPerPacket; i++) {
      next = writeVarint(arena, next, messageBytes);
      arena.set(message, next);
      next += messageBytes;
    }
    return next;
  }
}

/** Opens, where there are keys, and reads what {@link FramedWriter} wrote. */
export class FramedReader implements PacketReader {
  readonly counts: Counts = { messages: 0, bytes: 0, packets: 0 };
  private readonly opening: PacketOpening;
  private readonly frames = new FrameReader();
  private readonly seen = new RangeSet();

  constructor(keys: PacketKeys | null) {
    this.opening = new PacketOpening(keys);
  }

  begin(batch: ReceiveBatch): void {
    this.opening.begin(batch);
  }

  read(datagram: Uint8Array, i = 0): number {
    const { frames, opening } = this;
    if (!opening.open(datagram, i)) return -1;
    this.counts.packets++;
    frames.reset(datagram, opening.payloadStart, opening.payloadEnd);
    while (nextFrame(frames)) {
      if (frames.type === FrameType.MESSAGE) this.take(frames.sequence, 1, frames.dataLength);
      else if (frames.type === FrameType.MESSAGES) this.takeRun(datagram);
    }
    return frames.error === 0 ? opening.number : -1;
  }

  private takeRun(datagram: Uint8Array): void {
    const { count, dataLength, dataStart, sequence } = this.frames;
    const end = dataStart + dataLength;
    let bytes = 0;
    for (let at = dataStart; at < end; ) {
      const length = readVarint(datagram, at, end);
      bytes += length;
      at += varintLength(datagram[at]) + length;
    }
    this.take(sequence, count, bytes);
  }

  private take(first: number, count: number, bytes: number): void {
    const fresh = this.seen.add(first, first + count);
    // Packets are never cut anew here, so a packet's messages are all new or none.
    assert(fresh === 0 || fresh === count, 'a benchmark packet was half new');
    this.counts.messages += fresh;
    this.counts.bytes += fresh === 0 ? 0 : bytes;
  }
}

/** Finds number and payload of short-header packets, and opens them where there are keys. */
class PacketOpening {
  number = -1;
  payloadStart = 0;
  payloadEnd = 0;
  private readonly keys: PacketKeys | null;
  private readonly header = new PacketHeader();
  private readonly unprotected = new UnprotectedHeader();
  private readonly replay = new ReplayWindow();
  private readonly table = new PacketTable();
  /** The addon has opened the batch at hand, as far as it does. */
  private isOpened = false;
  private largest = -1;

  constructor(keys: PacketKeys | null) {
    this.keys = keys;
  }

  begin({ arena, count, data, offset }: ReceiveBatch): void {
    const keys = this.keys?.native ?? null;
    this.isOpened = keys !== null && arena !== null;
    if (keys === null || arena === null) return;
    for (let i = 0; i < count; i++) {
      const start = offset[i];
      this.table.add(start, start + NUMBER_START, start + data[i].length, keys, this.largest);
    }
    this.table.open(arena);
    this.table.clear();
  }

  open(datagram: Uint8Array, i: number): boolean {
    if (this.isOpened && this.table.result(i) !== LEFT) return this.take(datagram, i);
    const { header } = this;
    if (!parsePacketHeader(header, datagram, 0, datagram.length, CONNECTION_ID.length)) return false;
    if (!isOurs(datagram, header.dcidStart)) return false;
    const opened = this.keys === null ? this.readClear(datagram) : this.openSealed(datagram, this.keys);
    if (!opened || this.replay.seen(this.number)) return false;
    this.replay.mark(this.number);
    if (this.number > this.largest) this.largest = this.number;
    return true;
  }

  /** What the addon opened. */
  private take(datagram: Uint8Array, i: number): boolean {
    const { table } = this;
    if (table.result(i) < 0 || !isOurs(datagram, 1)) return false;
    this.number = table.number(i);
    this.payloadStart = table.headerBytes(i);
    this.payloadEnd = datagram.length - TAG_BYTES;
    if (this.replay.seen(this.number)) return false;
    this.replay.mark(this.number);
    if (this.number > this.largest) this.largest = this.number;
    return true;
  }

  private readClear(datagram: Uint8Array): boolean {
    const { numberStart } = this.header;
    const bytes = (datagram[0] & 0x03) + 1;
    this.number = decodePacketNumber(readPacketNumber(datagram, numberStart, bytes), bytes, this.largest);
    this.payloadStart = numberStart + bytes;
    this.payloadEnd = datagram.length;
    return true;
  }

  private openSealed(datagram: Uint8Array, keys: PacketKeys): boolean {
    const { header, unprotected } = this;
    const { length } = datagram;
    if (!unprotected.unprotect(keys, datagram, 0, header.numberStart, length, this.largest)) return false;
    if (this.replay.seen(unprotected.number)) return false;
    this.number = unprotected.number;
    this.payloadStart = unprotected.payloadStart;
    this.payloadEnd = openPacket(keys, datagram, 0, length, unprotected);
    return this.payloadEnd >= 0;
  }
}

function isOurs(datagram: Uint8Array, at: number): boolean {
  for (let i = 0; i < CONNECTION_ID.length; i++) if (datagram[at + i] !== CONNECTION_ID[i]) return false;
  return true;
}

function messagesThatFit(room: number, size: number): number {
  const each = varintSize(size) + size;
  // For one a MESSAGE frame does, which has no count.
  const many = Math.floor((room - messagesHeaderSize(STREAM, SEQUENCE_LARGE, 64)) / each);
  return many > 1 ? many : room >= MESSAGE_HEADER_BYTES + each ? 1 : 0;
}

function largestMessage(room: number): number {
  const left = room - MESSAGE_HEADER_BYTES;
  return left - varintSize(left);
}

/** Sealed packets with an ACK frame each, as the stack sends them. */
export class AckWriter implements FeedbackWriter {
  private readonly keys: PacketKeys;
  private readonly frames = new FrameWriter();
  private readonly received = new RangeSet();
  private number = 0;

  constructor(keys: PacketKeys) {
    this.keys = keys;
  }

  note(number: number): void {
    this.received.add(number, number + 1);
    if (this.received.size > RANGES_MAX) this.received.shiftRange();
  }

  write(arena: Uint8Array, at: number): number {
    const { frames } = this;
    const number = this.number++;
    const payload = writeShortHeader(arena, at, false, 0, CONNECTION_ID, number, NUMBER_BYTES);
    frames.begin(arena, payload, at + ACK_BYTES_MAX - TAG_BYTES);
    writeAck(frames, this.received, 0, number);
    return sealPacket(this.keys, arena, at, at + NUMBER_START, frames.at, number);
  }
}

/** Opens such packets and keeps the largest number that was acknowledged. */
export class AckReader implements FeedbackReader {
  private readonly opening: PacketOpening;
  private readonly frames = new FrameReader();

  constructor(keys: PacketKeys) {
    this.opening = new PacketOpening(keys);
  }

  begin(batch: ReceiveBatch): void {
    this.opening.begin(batch);
  }

  read(datagram: Uint8Array, i = 0): number {
    const { frames, opening } = this;
    if (!opening.open(datagram, i)) return -1;
    let next = -1;
    frames.reset(datagram, opening.payloadStart, opening.payloadEnd);
    while (nextFrame(frames)) if (frames.type === FrameType.ACK) next = frames.largest + 1;
    return next;
  }
}

function writeNumber(out: Uint8Array, at: number, number: number): void {
  out[at] = number >>> 24;
  out[at + 1] = number >>> 16;
  out[at + 2] = number >>> 8;
  out[at + 3] = number;
}

function readNumber(from: Uint8Array, at: number): number {
  return ((from[at] << 24) | (from[at + 1] << 16) | (from[at + 2] << 8) | from[at + 3]) >>> 0;
}

const RAW_NUMBER_BYTES = 4;
/** What all benchmark packets carry as their destination. */
const CONNECTION_ID = Uint8Array.of(0x6a, 0x73, 0x70, 0x62, 0x65, 0x6e, 0x63, 0x68);
/** Enough for more packets in flight than any window here. */
const NUMBER_BYTES = 2;
const NUMBER_START = 1 + CONNECTION_ID.length;
const HEADER_BYTES = NUMBER_START + NUMBER_BYTES;
const STREAM = 0;
/** Sequences of a run stay below this, and take 4 bytes at most. */
const SEQUENCE_LARGE = 2 ** 30 - 1;
/** Type, stream and sequence. */
const MESSAGE_HEADER_BYTES = 1 + 1 + 4;
const ACK_BYTES_MAX = 512;
const RANGES_MAX = 32;
