import { assert } from '../../base/errors.ts';
import { decodePacketNumber, LONG_FORM, SYMBOL_BIT, TAG_BYTES } from '../wire/packet-header.ts';
import type { HeaderKey, PacketKeys } from './packet-keys.ts';
import { FAILED, LEFT, PacketTable } from './packet-table.ts';

/**
 * Packet protection after RFC 9001 section 5: the payload under the AEAD with the header as associated data, then the
 * packet number and the low bits of the first byte under a mask made from a sample of the ciphertext.
 *
 * Outbound: {@link sealPacket}. Inbound: {@link UnprotectedHeader.unprotect} finds number and phase, which say what key opens the
 * payload; then {@link openPacket}. No number is opened twice: {@link ReplayWindow}.
 */

/**
 * Seals a packet in place and protects its header.
 *
 * `buffer` holds the finished header from `headerStart`, its packet number, in the clear, at `numberStart`, and behind it the frames up to
 * `payloadEnd`. 16 bytes of room follow for the tag.
 * @returns the packet's end, tag included
 */
export function sealPacket(
  keys: PacketKeys,
  buffer: Uint8Array,
  headerStart: number,
  numberStart: number,
  payloadEnd: number,
  packetNumber: number,
): number {
  // [PKT-14] the sample begins 4 bytes behind the start of the number and must lie in the ciphertext.
  assert(
    payloadEnd - numberStart >= SAMPLE_OFFSET,
    'a packet was sealed without the padding its sample needs',
  );
  if (keys.native !== null) {
    SINGLE.add(headerStart, numberStart, payloadEnd, keys.native, packetNumber);
    SINGLE.seal(buffer);
    SINGLE.clear();
    const result = SINGLE.result(0);
    assert(result !== FAILED, 'the native addon failed to seal a packet');
    if (result !== LEFT) return payloadEnd + TAG_BYTES;
  }
  const numberBytes = (buffer[headerStart] & NUMBER_LENGTH_BITS) + 1;
  // [PKT-12] the associated data is the header as it was before its protection.
  keys.aead.seal(buffer, headerStart, numberStart + numberBytes, payloadEnd, keys.nonceFor(packetNumber));
  keys.header.mask(buffer, numberStart + SAMPLE_OFFSET, MASK);
  buffer[headerStart] ^= MASK[0] & maskedBits(buffer[headerStart]);
  for (let i = 0; i < numberBytes; i++) buffer[numberStart + i] ^= MASK[1 + i];
  return payloadEnd + TAG_BYTES;
}

/** What header protection hides: the packet number and the low bits of the first byte. One object, used again for every packet. */
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
  /** [FEC-41] The `S` bit of a short header, where it stands; 0 of a long one. */
  symbol = 0;

  /**
   * Takes the header protection off, in place, and fills in what comes to light.
   * @param keys - those whose header key belongs to the sender's direction; the phase does not matter
   * @param numberStart - where the packet number begins
   * @param packetEnd - where the packet ends, tag included
   * @param largest - the largest number opened in this space, or -1
   * @returns false when the packet is too short to be one, or its number cannot be; it is then to be dropped
   */
  unprotect(
    keys: PacketKeys,
    buffer: Uint8Array,
    packetStart: number,
    numberStart: number,
    packetEnd: number,
    largest: number,
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
    this.firstByte = first;
    this.number = decodePacketNumber(truncated, numberBytes, largest);
    this.numberBytes = numberBytes;
    this.payloadStart = numberStart + numberBytes;
    this.phase = isLong ? 0 : (first & PHASE_BIT) >>> 2;
    this.reserved = first & (isLong ? LONG_RESERVED_BIT : SHORT_RESERVED_BIT);
    this.symbol = isLong ? 0 : first & SYMBOL_BIT;
    return this.number <= Number.MAX_SAFE_INTEGER;
  }
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

/**
 * Which packet numbers of a space were opened already. [PKT-9]
 *
 * A circular bitmap over the last numbers up to the largest. It starts at 64 numbers and doubles, up to 8,192, only when a
 * number that never came would fall out of it: while everything comes in order, 64 numbers say as much as all.
 */
export class ReplayWindow {
  /** The largest number marked, or -1. */
  largest = -1;
  /** 32 numbers each. A list: for so few an array of a type takes three times the memory. Numbers below 0 count as seen, so that a young window has no holes. */
  private bits: number[] = new Array<number>(WINDOW_MIN / 32).fill(-1);

  /** How many numbers the bitmap spans now. */
  get span(): number {
    return this.bits.length * 32;
  }

  /** True when `number` was marked, or is too old to know. */
  seen(number: number): boolean {
    if (number > this.largest) return false;
    const { bits } = this;
    const span = bits.length * 32;
    if (number <= this.largest - span) return true;
    const index = number & (span - 1);
    return (bits[index >>> 5] & (1 << (index & 31))) !== 0;
  }

  /** Records a number whose packet was opened. */
  mark(number: number): void {
    if (number > this.largest) this.advance(number);
    const span = this.bits.length * 32;
    if (number <= this.largest - span) return;
    const index = number & (span - 1);
    this.bits[index >>> 5] |= 1 << (index & 31);
  }

  /** Moves the upper edge to `number`; the numbers between are not seen yet. */
  private advance(number: number): void {
    while (this.span < WINDOW_MAX && this.wouldForget(number)) this.grow();
    const { bits } = this;
    const span = bits.length * 32;
    if (number - this.largest >= span) {
      bits.fill(0);
    } else {
      for (let n = this.largest + 1; n <= number; n++) {
        const index = n & (span - 1);
        bits[index >>> 5] &= ~(1 << (index & 31));
      }
    }
    this.largest = number;
  }

  /** True when a number that was not seen would leave the span if `number` became the largest. */
  private wouldForget(number: number): boolean {
    const span = this.bits.length * 32;
    const step = number - this.largest;
    if (step > span) return true;
    for (let n = this.largest - span + 1; n <= number - span; n++) {
      const index = n & (span - 1);
      if ((this.bits[index >>> 5] & (1 << (index & 31))) === 0) return true;
    }
    return false;
  }

  private grow(): void {
    const old = this.bits;
    const span = old.length * 32;
    // What the old bitmap had no room for was seen, or it would have grown before.
    const bits = new Array<number>(old.length * 2).fill(-1);
    for (let n = this.largest - span + 1; n <= this.largest; n++) {
      const from = n & (span - 1);
      const to = n & (2 * span - 1);
      if ((old[from >>> 5] & (1 << (from & 31))) === 0) bits[to >>> 5] &= ~(1 << (to & 31));
    }
    this.bits = bits;
  }
}

/**
 * What hides a packet's number and the low bits of its first byte: the first bytes of a ChaCha20 keystream block (RFC 8439
 * section 2.3) whose counter and nonce are a sample of the packet's ciphertext. [PKT-13]
 *
 * In JavaScript for all providers: a single block costs a quarter of the call into libsodium, a twentieth of that into
 * OpenSSL. There are no branches and no table look-ups on secret values. Rotations are written out: 320 calls a packet are felt until all is
 * compiled, and to compile them away takes long.
 */
export class ChachaHeaderKey implements HeaderKey {
  private key: Int32Array;

  /** @param key - 32 bytes, which are copied */
  constructor(key: Uint8Array) {
    if (key.length !== KEY_BYTES)
      throw new RangeError(`a header key has ${KEY_BYTES} bytes, not ${key.length}`);
    this.key = new Int32Array(KEY_BYTES / 4);
    for (let i = 0; i < this.key.length; i++) this.key[i] = littleEndian(key, 4 * i);
  }

  /** Writes the mask for the 16 bytes of ciphertext at `sampleStart` to the first 5 bytes of `mask`. */
  mask(buffer: Uint8Array, sampleStart: number, mask: Uint8Array): void {
    const { key } = this;
    assert(key.length !== 0, 'a wiped header key was used');
    let x0 = CONSTANT_0;
    let x1 = CONSTANT_1;
    let x2 = CONSTANT_2;
    let x3 = CONSTANT_3;
    let x4 = key[0];
    let x5 = key[1];
    let x6 = key[2];
    let x7 = key[3];
    let x8 = key[4];
    let x9 = key[5];
    let x10 = key[6];
    let x11 = key[7];
    let x12 = littleEndian(buffer, sampleStart);
    let x13 = littleEndian(buffer, sampleStart + 4);
    let x14 = littleEndian(buffer, sampleStart + 8);
    let x15 = littleEndian(buffer, sampleStart + 12);
    for (let doubleRound = 0; doubleRound < 10; doubleRound++) {
      // columns
      x0 = (x0 + x4) | 0;
      x12 ^= x0;
      x12 = (x12 << 16) | (x12 >>> 16);
      x8 = (x8 + x12) | 0;
      x4 ^= x8;
      x4 = (x4 << 12) | (x4 >>> 20);
      x0 = (x0 + x4) | 0;
      x12 ^= x0;
      x12 = (x12 << 8) | (x12 >>> 24);
      x8 = (x8 + x12) | 0;
      x4 ^= x8;
      x4 = (x4 << 7) | (x4 >>> 25);
      x1 = (x1 + x5) | 0;
      x13 ^= x1;
      x13 = (x13 << 16) | (x13 >>> 16);
      x9 = (x9 + x13) | 0;
      x5 ^= x9;
      x5 = (x5 << 12) | (x5 >>> 20);
      x1 = (x1 + x5) | 0;
      x13 ^= x1;
      x13 = (x13 << 8) | (x13 >>> 24);
      x9 = (x9 + x13) | 0;
      x5 ^= x9;
      x5 = (x5 << 7) | (x5 >>> 25);
      x2 = (x2 + x6) | 0;
      x14 ^= x2;
      x14 = (x14 << 16) | (x14 >>> 16);
      x10 = (x10 + x14) | 0;
      x6 ^= x10;
      x6 = (x6 << 12) | (x6 >>> 20);
      x2 = (x2 + x6) | 0;
      x14 ^= x2;
      x14 = (x14 << 8) | (x14 >>> 24);
      x10 = (x10 + x14) | 0;
      x6 ^= x10;
      x6 = (x6 << 7) | (x6 >>> 25);
      x3 = (x3 + x7) | 0;
      x15 ^= x3;
      x15 = (x15 << 16) | (x15 >>> 16);
      x11 = (x11 + x15) | 0;
      x7 ^= x11;
      x7 = (x7 << 12) | (x7 >>> 20);
      x3 = (x3 + x7) | 0;
      x15 ^= x3;
      x15 = (x15 << 8) | (x15 >>> 24);
      x11 = (x11 + x15) | 0;
      x7 ^= x11;
      x7 = (x7 << 7) | (x7 >>> 25);
      // diagonals
      x0 = (x0 + x5) | 0;
      x15 ^= x0;
      x15 = (x15 << 16) | (x15 >>> 16);
      x10 = (x10 + x15) | 0;
      x5 ^= x10;
      x5 = (x5 << 12) | (x5 >>> 20);
      x0 = (x0 + x5) | 0;
      x15 ^= x0;
      x15 = (x15 << 8) | (x15 >>> 24);
      x10 = (x10 + x15) | 0;
      x5 ^= x10;
      x5 = (x5 << 7) | (x5 >>> 25);
      x1 = (x1 + x6) | 0;
      x12 ^= x1;
      x12 = (x12 << 16) | (x12 >>> 16);
      x11 = (x11 + x12) | 0;
      x6 ^= x11;
      x6 = (x6 << 12) | (x6 >>> 20);
      x1 = (x1 + x6) | 0;
      x12 ^= x1;
      x12 = (x12 << 8) | (x12 >>> 24);
      x11 = (x11 + x12) | 0;
      x6 ^= x11;
      x6 = (x6 << 7) | (x6 >>> 25);
      x2 = (x2 + x7) | 0;
      x13 ^= x2;
      x13 = (x13 << 16) | (x13 >>> 16);
      x8 = (x8 + x13) | 0;
      x7 ^= x8;
      x7 = (x7 << 12) | (x7 >>> 20);
      x2 = (x2 + x7) | 0;
      x13 ^= x2;
      x13 = (x13 << 8) | (x13 >>> 24);
      x8 = (x8 + x13) | 0;
      x7 ^= x8;
      x7 = (x7 << 7) | (x7 >>> 25);
      x3 = (x3 + x4) | 0;
      x14 ^= x3;
      x14 = (x14 << 16) | (x14 >>> 16);
      x9 = (x9 + x14) | 0;
      x4 ^= x9;
      x4 = (x4 << 12) | (x4 >>> 20);
      x3 = (x3 + x4) | 0;
      x14 ^= x3;
      x14 = (x14 << 8) | (x14 >>> 24);
      x9 = (x9 + x14) | 0;
      x4 ^= x9;
      x4 = (x4 << 7) | (x4 >>> 25);
    }
    x0 = (x0 + CONSTANT_0) | 0;
    x1 = (x1 + CONSTANT_1) | 0;
    mask[0] = x0;
    mask[1] = x0 >>> 8;
    mask[2] = x0 >>> 16;
    mask[3] = x0 >>> 24;
    mask[4] = x1;
  }

  /** Zeroes the key; it cannot be used afterwards. */
  wipe(): void {
    this.key.fill(0);
    this.key = WIPED;
  }
}

/** [PKT-13] Which bits of a first byte the mask covers. */
function maskedBits(firstByte: number): number {
  return (firstByte & LONG_FORM) !== 0 ? 0x07 : 0x1f;
}

function littleEndian(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
}

export const KEY_BYTES = 32;
/** Bytes of ciphertext that header protection samples. */
export const SAMPLE_BYTES = 16;
/** Bytes of a header protection mask. */
export const MASK_BYTES = 5;
const LONG_RESERVED_BIT = 0x04;
const SHORT_RESERVED_BIT = 0x08;
/** The key phase, `K`, of a short header. */
export const PHASE_BIT = 0x04;
const NUMBER_LENGTH_BITS = 0x03;
const SAMPLE_OFFSET = 4;
const MASK = new Uint8Array(MASK_BYTES);
/** "expand 32-byte k" */
const CONSTANT_0 = 0x61707865;
const CONSTANT_1 = 0x3320646e;
const CONSTANT_2 = 0x79622d32;
const CONSTANT_3 = 0x6b206574;
const WIPED = new Int32Array(0);
const WINDOW_MIN = 64;
const WINDOW_MAX = 8192;
const SINGLE = new PacketTable();
