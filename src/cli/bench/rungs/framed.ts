import { assert } from '../../../base/errors.ts';
import { RangeSet } from '../../../base/ranges.ts';
import {
  openPacket,
  type PacketKeys,
  ReplayWindow,
  TAG_BYTES,
  UnprotectedHeader,
  unprotectHeader,
} from '../../../protocol/crypto/index.ts';
import { SealBatch } from '../../../protocol/crypto/seal-batch.ts';
import { FrameReader } from '../../../protocol/wire/frame-reader.ts';
import { FrameType } from '../../../protocol/wire/frame-type.ts';
import {
  messagesHeaderSize,
  writeMessageHeader,
  writeMessagesHeader,
} from '../../../protocol/wire/message-frame.ts';
import {
  decodePacketNumber,
  PacketHeader,
  parsePacketHeader,
  writeShortHeader,
} from '../../../protocol/wire/packet-header.ts';
import { readPacketNumber } from '../../../protocol/wire/packet-number.ts';
import { readVarint, varintLength, varintSize, writeVarint } from '../../../protocol/wire/varint.ts';
import type { Counts } from '../workload.ts';
import type { PacketReader, PacketWriter } from './packet-format.ts';

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
  private readonly sealing = new SealBatch();

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
    this.sealing.push(this.keys, at, at + 1 + CONNECTION_ID.length, NUMBER_BYTES, next, number, null);
    return next + TAG_BYTES;
  }

  finish(arena: Uint8Array): void {
    this.sealing.seal(arena);
  }

  private writeMessages(arena: Uint8Array, at: number, first: number): number {
    const { message, messageBytes, messagesPerPacket } = this;
    if (messagesPerPacket === 1) {
      const data = writeMessageHeader(arena, at, 0, STREAM, first, 0, 0, 0, 0, messageBytes);
      arena.set(message, data);
      return data + messageBytes;
    }
    let next = writeMessagesHeader(arena, at, false, STREAM, first, messagesPerPacket);
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

  read(datagram: Uint8Array): number {
    const { frames, opening } = this;
    if (!opening.open(datagram)) return -1;
    this.counts.packets++;
    frames.reset(datagram, opening.payloadStart, opening.payloadEnd);
    while (frames.next()) {
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
export class PacketOpening {
  number = -1;
  payloadStart = 0;
  payloadEnd = 0;
  private readonly keys: PacketKeys | null;
  private readonly header = new PacketHeader();
  private readonly unprotected = new UnprotectedHeader();
  private readonly replay = new ReplayWindow();
  private largest = -1;

  constructor(keys: PacketKeys | null) {
    this.keys = keys;
  }

  open(datagram: Uint8Array): boolean {
    const { header } = this;
    if (!parsePacketHeader(header, datagram, 0, datagram.length, CONNECTION_ID.length)) return false;
    if (!isOurs(datagram, header.dcidStart)) return false;
    const opened = this.keys === null ? this.readClear(datagram) : this.openSealed(datagram, this.keys);
    if (!opened || this.replay.seen(this.number)) return false;
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
    if (!unprotectHeader(keys, datagram, 0, header.numberStart, length, this.largest, unprotected))
      return false;
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

/** What all benchmark packets carry as their destination. */
export const CONNECTION_ID = Uint8Array.of(0x6a, 0x73, 0x70, 0x62, 0x65, 0x6e, 0x63, 0x68);
/** Enough for more packets in flight than any window here. */
export const NUMBER_BYTES = 2;
const HEADER_BYTES = 1 + CONNECTION_ID.length + NUMBER_BYTES;
const STREAM = 0;
/** Sequences of a run stay below this, and take 4 bytes at most. */
const SEQUENCE_LARGE = 2 ** 30 - 1;
/** Type, stream and sequence. */
const MESSAGE_HEADER_BYTES = 1 + 1 + 4;
