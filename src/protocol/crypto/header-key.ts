import { assert } from '../../base/errors.ts';
import { type HeaderKey, KEY_BYTES } from './aead.ts';

/**
 * What hides a packet's number and the low bits of its first byte: the first bytes of a ChaCha20 keystream block (RFC 8439
 * section 2.3) whose counter and nonce are a sample of the packet's ciphertext. [PKT-13]
 *
 * In JavaScript for all providers: a single block costs a quarter of the call into libsodium, a twentieth of that into
 * OpenSSL. There are no branches and no table look-ups on secret values.
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
      x12 = rotated(x12 ^ x0, 16);
      x8 = (x8 + x12) | 0;
      x4 = rotated(x4 ^ x8, 12);
      x0 = (x0 + x4) | 0;
      x12 = rotated(x12 ^ x0, 8);
      x8 = (x8 + x12) | 0;
      x4 = rotated(x4 ^ x8, 7);
      x1 = (x1 + x5) | 0;
      x13 = rotated(x13 ^ x1, 16);
      x9 = (x9 + x13) | 0;
      x5 = rotated(x5 ^ x9, 12);
      x1 = (x1 + x5) | 0;
      x13 = rotated(x13 ^ x1, 8);
      x9 = (x9 + x13) | 0;
      x5 = rotated(x5 ^ x9, 7);
      x2 = (x2 + x6) | 0;
      x14 = rotated(x14 ^ x2, 16);
      x10 = (x10 + x14) | 0;
      x6 = rotated(x6 ^ x10, 12);
      x2 = (x2 + x6) | 0;
      x14 = rotated(x14 ^ x2, 8);
      x10 = (x10 + x14) | 0;
      x6 = rotated(x6 ^ x10, 7);
      x3 = (x3 + x7) | 0;
      x15 = rotated(x15 ^ x3, 16);
      x11 = (x11 + x15) | 0;
      x7 = rotated(x7 ^ x11, 12);
      x3 = (x3 + x7) | 0;
      x15 = rotated(x15 ^ x3, 8);
      x11 = (x11 + x15) | 0;
      x7 = rotated(x7 ^ x11, 7);
      // diagonals
      x0 = (x0 + x5) | 0;
      x15 = rotated(x15 ^ x0, 16);
      x10 = (x10 + x15) | 0;
      x5 = rotated(x5 ^ x10, 12);
      x0 = (x0 + x5) | 0;
      x15 = rotated(x15 ^ x0, 8);
      x10 = (x10 + x15) | 0;
      x5 = rotated(x5 ^ x10, 7);
      x1 = (x1 + x6) | 0;
      x12 = rotated(x12 ^ x1, 16);
      x11 = (x11 + x12) | 0;
      x6 = rotated(x6 ^ x11, 12);
      x1 = (x1 + x6) | 0;
      x12 = rotated(x12 ^ x1, 8);
      x11 = (x11 + x12) | 0;
      x6 = rotated(x6 ^ x11, 7);
      x2 = (x2 + x7) | 0;
      x13 = rotated(x13 ^ x2, 16);
      x8 = (x8 + x13) | 0;
      x7 = rotated(x7 ^ x8, 12);
      x2 = (x2 + x7) | 0;
      x13 = rotated(x13 ^ x2, 8);
      x8 = (x8 + x13) | 0;
      x7 = rotated(x7 ^ x8, 7);
      x3 = (x3 + x4) | 0;
      x14 = rotated(x14 ^ x3, 16);
      x9 = (x9 + x14) | 0;
      x4 = rotated(x4 ^ x9, 12);
      x3 = (x3 + x4) | 0;
      x14 = rotated(x14 ^ x3, 8);
      x9 = (x9 + x14) | 0;
      x4 = rotated(x4 ^ x9, 7);
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

function rotated(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}

function littleEndian(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
}

/** "expand 32-byte k" */
const CONSTANT_0 = 0x61707865;
const CONSTANT_1 = 0x3320646e;
const CONSTANT_2 = 0x79622d32;
const CONSTANT_3 = 0x6b206574;
const WIPED = new Int32Array(0);
