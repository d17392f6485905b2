import { x25519 } from '@noble/curves/ed25519.js';
import { shake128 } from '@noble/hashes/sha3.js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  encapsulate,
  HybridKemKey,
  KEM_CIPHERTEXT_BYTES,
  KEM_RANDOM_BYTES,
  KEM_SEED_BYTES,
  KEM_SHARE_BYTES,
  nobleMlKem,
} from '../../../src/protocol/crypto/hybrid-kem.ts';
import { joined, toHex } from './bytes.ts';

const SEED = new Uint8Array(KEM_SEED_BYTES).map((_, i) => i);
const RANDOM = new Uint8Array(KEM_RANDOM_BYTES).map((_, i) => 200 - i);

describe('the hybrid KEM', () => {
  test('gives both sides the same 64 bytes, X25519 first [HS-16]', () => {
    const key = new HybridKemKey(SEED, nobleMlKem);
    const { ciphertext, secret } = encapsulated(key.share, RANDOM);
    expect(key.share).toHaveLength(1216);
    expect(ciphertext).toHaveLength(1120);
    expect(secret).toHaveLength(64);
    expect(toHex(key.decapsulate(ciphertext) as Uint8Array)).toBe(toHex(secret));
    const shared = x25519.getSharedSecret(SEED.slice(0, 32), x25519.getPublicKey(RANDOM.slice(0, 32)));
    expect(toHex(secret.subarray(0, 32))).toBe(toHex(shared));
    expect(toHex(ciphertext.subarray(0, 32))).toBe(toHex(x25519.getPublicKey(RANDOM.slice(0, 32))));
  });

  test('is made of its random bytes alone', () => {
    expect(toHex(new HybridKemKey(SEED, nobleMlKem).share)).toBe(
      toHex(new HybridKemKey(SEED.slice(), nobleMlKem).share),
    );
    const { share } = new HybridKemKey(SEED, nobleMlKem);
    expect(encapsulate(share, RANDOM, nobleMlKem)).toEqual(encapsulate(share, RANDOM, nobleMlKem));
  });

  // The accumulated test vectors of C2SP/CCTV for ML-KEM-768, the first 100 as Go's standard library checks them.
  test('gives the accumulated hash of 100 published ML-KEM-768 vectors [HS-16]', () => {
    const source = shake128.create({});
    const accumulated = shake128.create({ dkLen: 32 });
    const classical = SEED.slice(0, 32);
    const point = x25519.getPublicKey(classical);
    for (let i = 0; i < 100; i++) {
      const key = new HybridKemKey(joined(classical, source.xof(64)), nobleMlKem);
      accumulated.update(key.share.slice(32));
      const { ciphertext, secret } = encapsulated(key.share, joined(classical, source.xof(32)));
      accumulated.update(ciphertext.slice(32)).update(secret.slice(32));
      const rejected = key.decapsulate(joined(point, source.xof(1088)));
      accumulated.update((rejected as Uint8Array).slice(32));
    }
    expect(toHex(accumulated.digest())).toBe(
      '1114b1b6699ed191734fa339376afa7e285c9e6acf6ff0177d346696ce564415',
    );
  });

  test('refuses a share or a ciphertext of another length [HS-16]', () => {
    const key = new HybridKemKey(SEED, nobleMlKem);
    for (const length of [0, 32, KEM_SHARE_BYTES - 1, KEM_SHARE_BYTES + 1]) {
      expect(encapsulate(new Uint8Array(length), RANDOM, nobleMlKem)).toBeNull();
    }
    for (const length of [0, 32, KEM_CIPHERTEXT_BYTES - 1, KEM_CIPHERTEXT_BYTES + 1]) {
      expect(key.decapsulate(new Uint8Array(length))).toBeNull();
    }
  });

  test('refuses an ML-KEM key with a coefficient that is not reduced [HS-18]', () => {
    const { share } = new HybridKemKey(SEED, nobleMlKem);
    for (const at of [32, 32 + 600, 32 + 1149]) {
      const malformed = share.slice();
      malformed.fill(0xff, at, at + 3);
      expect(encapsulate(malformed, RANDOM, nobleMlKem)).toBeNull();
    }
  });

  test('refuses an X25519 key that makes that half of the secret zero, from either side [HS-17]', () => {
    const key = new HybridKemKey(SEED, nobleMlKem);
    const { ciphertext } = encapsulated(key.share, RANDOM);
    const zero = new Uint8Array(32);
    expect(encapsulate(joined(zero, key.share.slice(32)), RANDOM, nobleMlKem)).toBeNull();
    expect(key.decapsulate(joined(zero, ciphertext.slice(32)))).toBeNull();
  });

  test('gives another secret, and no error, for a ciphertext with any bit flipped [HS-18]', () => {
    const key = new HybridKemKey(SEED, nobleMlKem);
    const { ciphertext, secret } = encapsulated(key.share, RANDOM);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 8 * KEM_CIPHERTEXT_BYTES - 1 }), (bit) => {
        // X25519 ignores the highest bit of a key.
        fc.pre(bit !== 255);
        const flipped = ciphertext.slice();
        flipped[bit >> 3] ^= 1 << (bit & 7);
        const other = key.decapsulate(flipped);
        expect(other === null || toHex(other) !== toHex(secret)).toBe(true);
      }),
      { numRuns: 40 },
    );
  });

  test('never throws, whatever a peer sends', () => {
    const key = new HybridKemKey(SEED, nobleMlKem);
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 64, maxLength: 64 }), (seed) => {
        const noise = shake128(seed, { dkLen: KEM_SHARE_BYTES });
        expect(encapsulate(noise, RANDOM, nobleMlKem)).toBeNull();
        expect(key.decapsulate(noise.slice(0, KEM_CIPHERTEXT_BYTES))).toHaveLength(64);
      }),
      { numRuns: 20 },
    );
  });
});

function encapsulated(share: Uint8Array, random: Uint8Array) {
  const encapsulation = encapsulate(share, random, nobleMlKem);
  if (encapsulation === null) throw new Error(`the share was refused: ${toHex(share.subarray(0, 8))}`);
  return encapsulation;
}
