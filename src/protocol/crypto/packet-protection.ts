import { assert } from '../../base/errors.ts';
import { decodePacketNumber } from '../wire/packet-header.ts';
import { MASK_BYTES, SAMPLE_BYTES, TAG_BYTES } from './aead.ts';
import type { PacketKeys } from './packet-keys.ts';

/**
 * Packet protection after RFC 9001 section 5: the payload under the AEAD with the header as associated data, then the
 * packet number and the low bits of the first byte under a mask made from a sample of the ciphertext.
 *
 * Outbound: {@link sealPacket}. Inbound: {@link unprotectHeader} finds number and phase, which say what key opens the
 * payload; then {@link openPacket}.
 */

/**
 * Seals a packet in place and protects its header.
 *
 * `buffer` holds the finished header from `headerStart`, its packet number (`numberBytes` long, in the clear) at
 * `numberStart`, and behind it the frames up to `payloadEnd`. 16 bytes of room follow for the tag.
 * @returns the packet's end, tag included
 */
export function sealPacket(
  keys: PacketKeys,
  buffer: Uint8Array,
  headerStart: number,
  numberStart: number,
  numberBytes: number,
  payloadEnd: number,
  packetNumber: number,
): number {
  // [PKT-14] the sample begins 4 bytes behind the start of the number and must lie in the ciphertext.
  assert(
    payloadEnd - numberStart >= SAMPLE_OFFSET,
    'a packet was sealed without the padding its sample needs',
  );
  // [PKT-12] the associated data is the header as it was before its protection.
  keys.aead.seal(buffer, headerStart, numberStart + numberBytes, payloadEnd, keys.nonceFor(packetNumber));
  keys.header.mask(buffer, numberStart + SAMPLE_OFFSET, MASK);
  buffer[headerStart] ^= MASK[0] & maskedBits(buffer[headerStart]);
  for (let i = 0; i < numberBytes; i++) buffer[numberStart + i] ^= MASK[1 + i];
  return payloadEnd + TAG_BYTES;
}

/** What {@link unprotectHeader} found; one instance is reused. */
export class UnprotectedHeader {
  /** The first byte in the clear. */
  firstByte = 0;
  /** The full packet number. */
  number = 0;
  numberBytes = 0;
  /** Where the sealed payload begins. */
  payloadStart = 0;
  /** The key phase of a short header, 0 or 1; 0 of a long one. */
  phase = 0;
  /** [PKT-16] The reserved bits; after the packet opened they must be 0. */
  reserved = 0;
}

/**
 * Takes the header protection off, in place, and fills `found`.
 * @param header - keys whose header key belongs to the sender's direction; the phase does not matter
 * @param numberStart - where the packet number begins
 * @param packetEnd - where the packet ends, tag included
 * @param largest - the largest number opened in this space, or -1
 * @returns false when the packet is too short to be one, or its number cannot be; it is then to be dropped
 */
export function unprotectHeader(
  keys: PacketKeys,
  buffer: Uint8Array,
  packetStart: number,
  numberStart: number,
  packetEnd: number,
  largest: number,
  found: UnprotectedHeader,
): boolean {
  if (numberStart + SAMPLE_OFFSET + SAMPLE_BYTES > packetEnd) return false;
  keys.header.mask(buffer, numberStart + SAMPLE_OFFSET, MASK);
  const first = buffer[packetStart] ^ (MASK[0] & maskedBits(buffer[packetStart]));
  const numberBytes = (first & NUMBER_LENGTH_BITS) + 1;
  let truncated = 0;
  for (let i = 0; i < numberBytes; i++) {
    const byte = buffer[numberStart + i] ^ MASK[1 + i];
    buffer[numberStart + i] = byte;
    truncated = truncated * 256 + byte;
  }
  buffer[packetStart] = first;
  const isLong = (first & LONG_FORM) !== 0;
  found.firstByte = first;
  found.number = decodePacketNumber(truncated, numberBytes, largest);
  found.numberBytes = numberBytes;
  found.payloadStart = numberStart + numberBytes;
  found.phase = isLong ? 0 : (first & PHASE_BIT) >>> 2;
  found.reserved = first & (isLong ? LONG_RESERVED_BIT : SHORT_RESERVED_BITS);
  return found.number <= Number.MAX_SAFE_INTEGER;
}

/**
 * Opens the payload of a packet whose header protection is off, in place.
 * @returns the payload's end, or -1 when it does not verify: drop and count it [PKT-15]
 */
export function openPacket(
  keys: PacketKeys,
  buffer: Uint8Array,
  packetStart: number,
  packetEnd: number,
  found: UnprotectedHeader,
): number {
  const opened = keys.aead.open(
    buffer,
    packetStart,
    found.payloadStart,
    packetEnd,
    keys.nonceFor(found.number),
  );
  return opened ? packetEnd - TAG_BYTES : -1;
}

/** [PKT-13] Which bits of a first byte the mask covers. */
function maskedBits(firstByte: number): number {
  return (firstByte & LONG_FORM) !== 0 ? 0x07 : 0x1f;
}

const LONG_FORM = 0x80;
const LONG_RESERVED_BIT = 0x04;
const SHORT_RESERVED_BITS = 0x18;
const PHASE_BIT = 0x04;
const NUMBER_LENGTH_BITS = 0x03;
const SAMPLE_OFFSET = 4;
const MASK = new Uint8Array(MASK_BYTES);
