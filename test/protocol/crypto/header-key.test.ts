import { createCipheriv } from 'node:crypto';
import { chacha20 } from '@noble/ciphers/chacha.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ChachaHeaderKey } from '../../../src/protocol/crypto/header-key.ts';
import { hex, joined, toHex } from './bytes.ts';
import { slowChacha20Block } from './slow-chacha20-poly1305.ts';

const KEY = hex('25a282b9e82f06f21f488917a4fc8f1b73573685608597d0efcb076b0ab7a7a4');

describe('the header protection key', () => {
  it('makes the mask of RFC 9001 appendix A.5 [PKT-13]', () => {
    const mask = new Uint8Array(5);
    new ChachaHeaderKey(KEY).mask(joined(hex('ffff'), hex('5e5cd55c41f69080575d7999c25a5bfb')), 2, mask);
    expect(toHex(mask)).toBe('aefefe7d03');
  });

  it('agrees with OpenSSL, with noble and with the slow twin for any key and sample', () => {
    fc.assert(
      fc.property(bytes(32), bytes(16), fc.nat(100), (key, sample, offset) => {
        const mask = new Uint8Array(5);
        new ChachaHeaderKey(key).mask(joined(new Uint8Array(offset), sample), offset, mask);
        const counter = Buffer.from(sample).readUInt32LE(0);
        const nonce = sample.slice(4);
        const zeros = new Uint8Array(5);
        expect(toHex(mask)).toBe(toHex(createCipheriv('chacha20', key, sample).update(zeros)));
        expect(toHex(mask)).toBe(toHex(chacha20(key, nonce, zeros, undefined, counter)));
        expect(toHex(mask)).toBe(toHex(slowChacha20Block(key, counter, nonce).subarray(0, 5)));
      }),
      { numRuns: 200 },
    );
  });

  it('keeps its own copy of the key, and refuses to work once that is wiped', () => {
    const secret = KEY.slice();
    const key = new ChachaHeaderKey(secret);
    secret.fill(0);
    const mask = new Uint8Array(5);
    key.mask(hex('5e5cd55c41f69080575d7999c25a5bfb'), 0, mask);
    expect(toHex(mask)).toBe('aefefe7d03');
    key.wipe();
    expect(() => key.mask(new Uint8Array(16), 0, mask)).toThrow();
  });

  it('refuses a key of another length', () => {
    expect(() => new ChachaHeaderKey(new Uint8Array(16))).toThrow(RangeError);
  });
});

function bytes(length: number): fc.Arbitrary<Uint8Array> {
  return fc.uint8Array({ minLength: length, maxLength: length, size: 'max' });
}
