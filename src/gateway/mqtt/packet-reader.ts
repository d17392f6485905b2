/**
 * Cuts a stream of bytes into packets (MQTT 5, section 2.1), whatever pieces it comes in. A packet that came whole is a view of what came; what is kept of one that did not is
 * never more than twice what has come of it. [MQT-3]
 */

import { MqttFault, MqttReason, malformed } from './codes.ts';

export class PacketReader {
  /** Largest packet that is taken, with its fixed header. */
  bytesMax: number;
  /** Of the packet that {@link next} has found: its type and flags. */
  head = 0;
  /** What came and was not asked for yet. */
  private chunk: Buffer = NOTHING;
  private at = 0;
  /** The beginning of a packet, in memory of its own. */
  private partial: Buffer = NOTHING;
  private partialLength = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** Bytes that it keeps. */
  get keptBytes(): number {
    return this.partialLength + this.chunk.length - this.at;
  }

  /** More has come. All that came before was asked for, or is kept. */
  push(bytes: Buffer): void {
    if (this.at < this.chunk.length) {
      this.chunk = Buffer.concat([this.chunk.subarray(this.at), bytes]);
    } else {
      this.chunk = bytes;
    }
    this.at = 0;
  }

  /**
   * What stands behind the fixed header of the next packet, until the next call; null: it has not come whole.
   *
   * @throws {MqttFault} MALFORMED, PACKET_TOO_LARGE
   */
  next(): Buffer | null {
    if (this.partialLength > 0) return this.goOn();
    const { chunk, at } = this;
    if (at >= chunk.length) return null;
    const bytes = this.packetBytes(chunk, at, chunk.length);
    if (bytes < 0 || at + bytes > chunk.length) {
      this.keep(chunk.subarray(at), bytes);
      this.chunk = NOTHING;
      this.at = 0;
      return null;
    }
    this.at = at + bytes;
    return this.bodyOf(chunk, at, at + bytes);
  }

  /** Nothing more is wanted. */
  clear(): void {
    this.chunk = NOTHING;
    this.partial = NOTHING;
    this.partialLength = 0;
    this.at = 0;
  }

  /** The packet of which the beginning is kept. */
  private goOn(): Buffer | null {
    while (this.at < this.chunk.length) {
      const bytes = this.packetBytes(this.partial, 0, this.partialLength);
      // A byte at a time until the header is there.
      const missing = bytes < 0 ? 1 : bytes - this.partialLength;
      const end = Math.min(this.chunk.length, this.at + missing);
      this.keep(this.chunk.subarray(this.at, end), bytes);
      this.at = end;
      if (this.packetBytes(this.partial, 0, this.partialLength) === this.partialLength) {
        const whole = this.partial.subarray(0, this.partialLength);
        this.partial = NOTHING;
        this.partialLength = 0;
        return this.bodyOf(whole, 0, whole.length);
      }
    }
    if (this.at > 0) {
      this.chunk = NOTHING;
      this.at = 0;
    }
    return null;
  }

  private keep(bytes: Uint8Array, packetBytes: number): void {
    const length = this.partialLength + bytes.length;
    if (length > this.partial.length) {
      const most = packetBytes < 0 ? HEADER_BYTES_MAX : packetBytes;
      const grown = Buffer.allocUnsafeSlow(Math.max(length, Math.min(most, 2 * length)));
      this.partial.copy(grown, 0, 0, this.partialLength);
      this.partial = grown;
    }
    this.partial.set(bytes, this.partialLength);
    this.partialLength = length;
  }

  private bodyOf(bytes: Buffer, at: number, end: number): Buffer {
    this.head = bytes[at];
    let bodyAt = at + 1;
    while (bytes[bodyAt] >= 0x80) bodyAt++;
    return bytes.subarray(bodyAt + 1, end);
  }

  /** Of the packet that begins at `at`, with its header; negative: that has not come whole. */
  private packetBytes(bytes: Buffer, at: number, end: number): number {
    let length = 0;
    for (let i = 1; i <= LENGTH_BYTES_MAX; i++) {
      if (at + i >= end) return -1;
      const byte = bytes[at + i];
      length += (byte & 0x7f) * 2 ** (7 * (i - 1));
      if (byte < 0x80) {
        const whole = 1 + i + length;
        if (whole > this.bytesMax) {
          throw new MqttFault(MqttReason.PACKET_TOO_LARGE, `a packet has at most ${this.bytesMax} bytes`);
        }
        return whole;
      }
    }
    throw malformed('the length of a packet has more than four bytes');
  }
}

const NOTHING = Buffer.alloc(0);
const LENGTH_BYTES_MAX = 4;
const HEADER_BYTES_MAX = 1 + LENGTH_BYTES_MAX;
