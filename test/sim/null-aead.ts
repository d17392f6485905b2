import type { AeadProvider } from '../../src/protocol/crypto/aead.ts';
import { CHACHA20_POLY1305 } from '../../src/protocol/crypto/cipher-suite.ts';
import type { AeadKey, HeaderKey } from '../../src/protocol/crypto/packet-keys.ts';
import { MASK_BYTES, SAMPLE_BYTES } from '../../src/protocol/crypto/packet-protection.ts';
import { TAG_BYTES } from '../../src/protocol/wire/packet-header.ts';

/**
 * Not encryption: a checksum over key, nonce, header and payload in the place of the tag. It finds flipped bits and wrong keys
 * as an AEAD does, and leaves a packet readable in a debugger. For simulations only.
 */
export const nullAead: AeadProvider = {
  // Providers are known by their names; this one must look like one of them.
  name: 'noble',
  suite: CHACHA20_POLY1305,
  createKey: (key) => new ChecksumKey(key),
  createHeaderKey: (key) => new ChecksumHeaderKey(key),
};

class ChecksumKey implements AeadKey {
  private readonly secret: number;

  constructor(key: Uint8Array) {
    this.secret = checksum(key, 0, key.length, 1);
  }

  seal(buffer: Uint8Array, adStart: number, _start: number, end: number, nonce: Uint8Array): void {
    const sum = this.sum(buffer, adStart, end, nonce);
    for (let i = 0; i < TAG_BYTES; i++) buffer[end + i] = tagByte(sum, i);
  }

  open(buffer: Uint8Array, adStart: number, start: number, end: number, nonce: Uint8Array): boolean {
    const tag = end - TAG_BYTES;
    if (tag < start) return false;
    const sum = this.sum(buffer, adStart, tag, nonce);
    for (let i = 0; i < TAG_BYTES; i++) if (buffer[tag + i] !== tagByte(sum, i)) return false;
    return true;
  }

  wipe(): void {}

  private sum(buffer: Uint8Array, start: number, end: number, nonce: Uint8Array): number {
    return checksum(buffer, start, end, checksum(nonce, 0, nonce.length, this.secret));
  }
}

class ChecksumHeaderKey implements HeaderKey {
  private readonly secret: number;

  constructor(key: Uint8Array) {
    this.secret = checksum(key, 0, key.length, 2);
  }

  mask(buffer: Uint8Array, sampleStart: number, mask: Uint8Array): void {
    const sum = checksum(buffer, sampleStart, sampleStart + SAMPLE_BYTES, this.secret);
    for (let i = 0; i < MASK_BYTES; i++) mask[i] = tagByte(sum, i);
  }

  wipe(): void {}
}

/** Each byte changes the sum one to one, so that a single changed byte always shows. */
function checksum(buffer: Uint8Array, start: number, end: number, seed: number): number {
  let sum = seed | 0;
  let i = start;
  for (; i + 4 <= end; i += 4) {
    const word = buffer[i] | (buffer[i + 1] << 8) | (buffer[i + 2] << 16) | (buffer[i + 3] << 24);
    sum = Math.imul(sum ^ word, 0x0100_0193);
    sum ^= sum >>> 15;
  }
  for (; i < end; i++) {
    sum = Math.imul(sum ^ buffer[i], 0x0100_0193);
    sum ^= sum >>> 15;
  }
  return sum;
}

function tagByte(sum: number, i: number): number {
  return (Math.imul(sum, 2 * i + 1) >>> ((i & 3) * 8)) & 0xff;
}
