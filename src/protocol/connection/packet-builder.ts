import { assert } from '../../base/errors.ts';
import type { Micros } from '../../base/time.ts';
import type { PacketKeys } from '../crypto/packet-keys.ts';
import type { TransmitBatch } from '../datagram/transmit-batch.ts';
import type { Way } from '../path/path.ts';
import type { TracedPacket } from '../trace/trace.ts';
import { FrameWriter } from '../wire/frame-writer.ts';
import {
  LONG_PACKET_LENGTH_MAX,
  longHeaderSize,
  type PacketAddress,
  PacketType,
  packetNumberBytes,
  SYMBOL_BIT,
  shortHeaderSize,
  TAG_BYTES,
  writeLongHeader,
  writePacketLength,
  writeShortHeader,
} from '../wire/packet-header.ts';

/**
 * Lays packets out in the arena of a batch, one datagram after the other: header first, then whatever the connection writes with
 * {@link frames}. Packets are only packed here; {@link seal} seals all of the batch.
 */
export class PacketBuilder {
  /** The frames of the open packet. They end where its tag still fits behind. */
  readonly frames = new FrameWriter();
  private batch: TransmitBatch | null = null;
  private datagramStart = 0;
  /** Packets of the batch that were packed before the open datagram. */
  private packetsBefore = 0;
  private keys: PacketKeys | null = null;
  private address: PacketAddress | null = null;
  private datagramEnd = 0;
  private headerStart = 0;
  private numberStart = 0;
  private payloadStart = 0;
  private number = 0;
  private isLong = false;

  /** Begins a datagram of at most `bytes` bytes, which the batch has room for. */
  beginDatagram(batch: TransmitBatch, bytes: number, now: Micros): void {
    this.batch = batch;
    this.frames.out = batch.arena;
    this.frames.now = now;
    this.datagramStart = batch.used;
    this.datagramEnd = batch.used + bytes;
    this.frames.at = batch.used;
    this.packetsBefore = batch.packets;
  }

  /** Drops the open datagram, if there is one, with all of its packets. */
  abandonDatagram(): void {
    this.batch?.truncatePackets(this.packetsBefore);
    this.batch = null;
  }

  /** Bytes that the datagram has room for behind what is in it, the tag of an open packet not counted. */
  get datagramRoom(): number {
    return this.datagramEnd - this.frames.at;
  }

  /** Bytes of frames in the open packet. */
  get payloadBytes(): number {
    return this.frames.at - this.payloadStart;
  }

  /**
   * Begins a packet in the datagram. False when no useful one fits.
   * @param keys - with which it is sealed, and which say what type it has
   * @param largestAcked - largest number that the peer acknowledged in the space, or -1
   */
  beginPacket(keys: PacketKeys, address: PacketAddress, number: number, largestAcked: number): boolean {
    const numberBytes = packetNumberBytes(number, largestAcked);
    const type = keys.epoch;
    const isLong = type !== PacketType.ONE_RTT;
    const { destinationId, sourceId, token } = address;
    const headerBytes = isLong
      ? longHeaderSize(type, destinationId.length, sourceId.length, token.length, numberBytes)
      : shortHeaderSize(destinationId.length, numberBytes);
    const { frames } = this;
    if (frames.at + headerBytes + PAYLOAD_BYTES_MIN + TAG_BYTES > this.datagramEnd) return false;
    this.headerStart = frames.at;
    this.payloadStart = isLong
      ? writeLongHeader(
          frames.out,
          frames.at,
          type,
          address.unpinned,
          destinationId,
          sourceId,
          token,
          number,
          numberBytes,
        )
      : writeShortHeader(
          frames.out,
          frames.at,
          address.greaseBit,
          keys.phase,
          destinationId,
          number,
          numberBytes,
        );
    this.numberStart = this.payloadStart - numberBytes;
    this.number = number;
    this.keys = keys;
    this.address = address;
    this.isLong = isLong;
    frames.at = this.payloadStart;
    // A long packet can be no longer than its Length can say. [PKT-2]
    const end = isLong
      ? Math.min(this.datagramEnd, this.numberStart + LONG_PACKET_LENGTH_MAX)
      : this.datagramEnd;
    frames.limit = end - TAG_BYTES;
    return true;
  }

  /** Drops the open packet, which holds nothing. */
  cancelPacket(): void {
    this.frames.at = this.headerStart;
  }

  /** Fills the open packet, the datagram's last, up to `bytes` bytes of datagram with PADDING. [PKT-19] */
  padDatagram(bytes: number): void {
    const { frames } = this;
    const end = Math.min(this.datagramStart + bytes - TAG_BYTES, frames.limit);
    if (end <= frames.at) return;
    frames.out.fill(0, frames.at, end);
    frames.at = end;
  }

  /** Tells the peer to keep the symbol of the open packet, which is a short one. [FEC-41] */
  markSymbol(): void {
    this.frames.out[this.headerStart] |= SYMBOL_BIT;
  }

  /** Ends the open packet; it waits for its seal. Returns its bytes, tag included. */
  endPacket(): number {
    const { frames } = this;
    const shortest = this.numberStart + PAYLOAD_BYTES_MIN; // [PKT-14] what header protection samples
    while (frames.at < shortest) frames.out[frames.at++] = 0;
    assert(frames.at <= frames.limit, 'frames stay within their packet');
    const end = frames.at + TAG_BYTES;
    if (this.isLong) writePacketLength(frames.out, this.numberStart, end);
    this.batch?.pushPacket(
      this.keys as PacketKeys,
      this.headerStart,
      this.numberStart,
      frames.at,
      this.number,
      (this.address as PacketAddress).sourceId,
    );
    frames.at = end;
    return end - this.headerStart;
  }

  /** The packet that was ended last, for who looks on: in the clear until the batch is sealed. */
  packed(datagram: number): TracedPacket {
    const { destinationId, sourceId } = this.address as PacketAddress;
    const { at, out } = this.frames;
    return {
      type: (this.keys as PacketKeys).epoch,
      number: this.number,
      buffer: out,
      payloadStart: this.payloadStart,
      payloadEnd: at - TAG_BYTES,
      bytes: at - this.headerStart,
      destinationId,
      sourceId,
      datagram,
    };
  }

  /** Ends the datagram. Returns its bytes; 0 when it holds no packet and is dropped. */
  endDatagram({ host, port, local }: Way): number {
    const bytes = this.frames.at - this.datagramStart;
    if (bytes > 0) this.batch?.push(bytes, host, port, local);
    this.batch = null;
    return bytes;
  }
}

/** Number and payload, so that a header protection sample fits. */
const PAYLOAD_BYTES_MIN = 4;
