import { RangeSet } from '../../../base/ranges.ts';
import type { Counts } from '../workload.ts';
import type { FeedbackReader, FeedbackWriter, PacketReader, PacketWriter } from './packet-format.ts';

/** A datagram a message, and nothing of ours but the number in its first 4 bytes. */
export class RawWriter implements PacketWriter {
  readonly messagesPerPacket = 1;
  readonly messageBytes: number;
  readonly packetBytesMax: number;

  constructor(messageBytes: number) {
    if (messageBytes < NUMBER_BYTES)
      throw new RangeError(`a raw datagram has at least ${NUMBER_BYTES} bytes`);
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

  read(datagram: Uint8Array): number {
    if (datagram.length < NUMBER_BYTES) return -1;
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
    return at + NUMBER_BYTES;
  }
}

export class LightFeedbackReader implements FeedbackReader {
  read(datagram: Uint8Array): number {
    return datagram.length === NUMBER_BYTES ? readNumber(datagram, 0) : -1;
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

const NUMBER_BYTES = 4;
