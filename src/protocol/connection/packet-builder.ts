import { assert } from '../../base/errors.ts';
import { type PacketKeys, TAG_BYTES } from '../crypto/packet-protection.ts';
import { SealBatch } from '../crypto/seal-batch.ts';
import type { TransmitBatch } from '../wire/batch.ts';
import {
  LONG_PACKET_LENGTH_MAX,
  longHeaderSize,
  packetNumberBytes,
  shortHeaderSize,
  writeLongHeader,
  writePacketLength,
  writeShortHeader,
} from '../wire/packet-header.ts';
import { PacketType } from '../wire/packet-type.ts';

/** What a header needs to know of its connection. */
export interface PacketAddress {
  readonly remoteId: Uint8Array;
  readonly localId: Uint8Array;
  readonly unpinned: boolean;
  readonly greaseBit: boolean;
  readonly host: string;
  readonly port: number;
  readonly local: number;
}

/**
 * Lays packets out in the arena of a batch, one datagram after the other: header first, then whatever the connection writes at
 * {@link at}, up to {@link limit}. Packets are only packed here; {@link seal} seals all of the batch.
 */
export class PacketBuilder {
  /** Where the next frame goes. */
  at = 0;
  /** Where the frames of the open packet must end: its tag still fits behind. */
  limit = 0;
  /** The arena being filled. */
  out: Uint8Array = EMPTY;
  private readonly sealBatch = new SealBatch<PacketAddress>();
  private batch: TransmitBatch | null = null;
  private datagramStart = 0;
  /** Packets of the batch that were packed before the open datagram. */
  private packetsBefore = 0;
  private address: PacketAddress | null = null;
  private datagramEnd = 0;
  private headerStart = 0;
  private numberStart = 0;
  private numberBytes = 0;
  private payloadStart = 0;
  private number = 0;
  private isLong = false;

  /** Begins a datagram of at most `bytes` bytes, which the batch has room for. */
  beginDatagram(batch: TransmitBatch, bytes: number): void {
    this.batch = batch;
    this.out = batch.arena;
    this.datagramStart = batch.used;
    this.datagramEnd = batch.used + bytes;
    this.at = batch.used;
    this.packetsBefore = this.sealBatch.count;
  }

  /** Drops the open datagram, if there is one, with all of its packets. */
  abandonDatagram(): void {
    if (this.batch !== null) this.sealBatch.truncate(this.packetsBefore);
    this.batch = null;
  }

  /** Bytes of frames in the open packet. */
  get payloadBytes(): number {
    return this.at - this.payloadStart;
  }

  /**
   * Begins a packet in the datagram. False when no useful one fits.
   * @param type - Initial, Handshake or 1-RTT
   * @param largestAcked - largest number that the peer acknowledged in the space, or -1
   */
  beginPacket(type: number, address: PacketAddress, number: number, largestAcked: number): boolean {
    const numberBytes = packetNumberBytes(number, largestAcked);
    const isLong = type !== PacketType.ONE_RTT;
    const { remoteId, localId } = address;
    const headerBytes = isLong
      ? longHeaderSize(type, remoteId.length, localId.length, 0, numberBytes)
      : shortHeaderSize(remoteId.length, numberBytes);
    if (this.at + headerBytes + PAYLOAD_BYTES_MIN + TAG_BYTES > this.datagramEnd) return false;
    this.headerStart = this.at;
    this.payloadStart = isLong
      ? writeLongHeader(
          this.out,
          this.at,
          type,
          address.unpinned,
          remoteId,
          localId,
          EMPTY,
          number,
          numberBytes,
        )
      : writeShortHeader(this.out, this.at, address.greaseBit, 0, remoteId, number, numberBytes);
    this.numberStart = this.payloadStart - numberBytes;
    this.numberBytes = numberBytes;
    this.number = number;
    this.address = address;
    this.isLong = isLong;
    this.at = this.payloadStart;
    // A long packet can be no longer than its Length can say. [PKT-2]
    const end = isLong
      ? Math.min(this.datagramEnd, this.numberStart + LONG_PACKET_LENGTH_MAX)
      : this.datagramEnd;
    this.limit = end - TAG_BYTES;
    return true;
  }

  /** Drops the open packet, which holds nothing. */
  cancelPacket(): void {
    this.at = this.headerStart;
  }

  /** Fills the open packet, the datagram's last, up to `bytes` bytes of datagram with PADDING. [PKT-19] */
  padDatagram(bytes: number): void {
    const end = Math.min(this.datagramStart + bytes - TAG_BYTES, this.limit);
    if (end <= this.at) return;
    this.out.fill(0, this.at, end);
    this.at = end;
  }

  /** Ends the open packet; it waits for its seal. Returns its bytes, tag included. */
  endPacket(keys: PacketKeys): number {
    const shortest = this.numberStart + PAYLOAD_BYTES_MIN; // [PKT-14]
    while (this.at < shortest) this.out[this.at++] = 0;
    assert(this.at <= this.limit, 'frames stay within their packet');
    const end = this.at + TAG_BYTES;
    if (this.isLong) writePacketLength(this.out, this.numberStart, end);
    this.sealBatch.push(
      keys,
      this.headerStart,
      this.numberStart,
      this.numberBytes,
      this.at,
      this.number,
      this.address as PacketAddress,
    );
    this.at = end;
    return end - this.headerStart;
  }

  /** Ends the datagram. Returns its bytes; 0 when it holds no packet and is dropped. */
  endDatagram({ host, port, local }: PacketAddress): number {
    const bytes = this.at - this.datagramStart;
    if (bytes > 0) this.batch?.push(bytes, host, port, local);
    this.batch = null;
    return bytes;
  }

  /** Seals every packet since the last call; see {@link SealBatch.seal}. */
  seal(onFailure: (address: PacketAddress, headerStart: number, error: unknown) => void): void {
    this.sealBatch.seal(this.out, onFailure);
  }
}

const EMPTY = new Uint8Array(0);
/** Number and payload, so that a header protection sample fits. */
const PAYLOAD_BYTES_MIN = 4;
