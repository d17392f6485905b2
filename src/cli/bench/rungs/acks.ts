import { RangeSet } from '../../../base/ranges.ts';
import { type PacketKeys, sealPacket, TAG_BYTES } from '../../../protocol/crypto/index.ts';
import { writeAck } from '../../../protocol/wire/ack-frame.ts';
import { FrameReader } from '../../../protocol/wire/frame-reader.ts';
import { FrameType } from '../../../protocol/wire/frame-type.ts';
import { writeShortHeader } from '../../../protocol/wire/packet-header.ts';
import { CONNECTION_ID, NUMBER_BYTES, PacketOpening } from './framed.ts';
import type { FeedbackReader, FeedbackWriter } from './packet-format.ts';

/** Sealed packets with an ACK frame each, as the stack sends them. */
export class AckWriter implements FeedbackWriter {
  private readonly keys: PacketKeys;
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
    const number = this.number++;
    const payload = writeShortHeader(arena, at, false, 0, CONNECTION_ID, number, NUMBER_BYTES);
    const end = writeAck(arena, payload, this.received, 0, ACK_BYTES_MAX - HEADER_AND_TAG_BYTES);
    return sealPacket(this.keys, arena, at, at + 1 + CONNECTION_ID.length, NUMBER_BYTES, end, number);
  }
}

/** Opens such packets and keeps the largest number that was acknowledged. */
export class AckReader implements FeedbackReader {
  private readonly opening: PacketOpening;
  private readonly frames = new FrameReader();

  constructor(keys: PacketKeys) {
    this.opening = new PacketOpening(keys);
  }

  read(datagram: Uint8Array): number {
    const { frames, opening } = this;
    if (!opening.open(datagram)) return -1;
    let next = -1;
    frames.reset(datagram, opening.payloadStart, opening.payloadEnd);
    while (frames.next()) if (frames.type === FrameType.ACK) next = frames.largest + 1;
    return next;
  }
}

const ACK_BYTES_MAX = 512;
const HEADER_AND_TAG_BYTES = 1 + CONNECTION_ID.length + NUMBER_BYTES + TAG_BYTES;
const RANGES_MAX = 32;
