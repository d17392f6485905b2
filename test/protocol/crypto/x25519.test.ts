import { x25519 as nobleX25519 } from '@noble/curves/ed25519.js';
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import * as usual from '../../../src/protocol/crypto/hybrid-kem.ts';
import { hex, toHex } from './bytes.ts';
import { withoutSodium } from './without-sodium.ts';

const withOpenSsl = await withoutSodium(() => import('../../../src/protocol/crypto/hybrid-kem.ts'));

// RFC 7748 section 6.1
const ALICE = '77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a';
const ALICE_PUBLIC = '8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a';
const BOB = '5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb';
const BOB_PUBLIC = 'de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f';
const SHARED = '4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742';

/** Points of small order, and 2^255 - 19 above them: with each of them the shared secret is zero for every key. */
const SMALL_ORDER = [
  '00'.repeat(32),
  `01${'00'.repeat(31)}`,
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  `ec${'ff'.repeat(30)}7f`,
  `ed${'ff'.repeat(30)}7f`,
  `ee${'ff'.repeat(30)}7f`,
];

describe.each([
  ['libsodium, where it is there', usual],
  ['OpenSSL', withOpenSsl],
] as const)('X25519 of %s', (_, { x25519, x25519KeyPair }) => {
  function secretOf(...args: Parameters<typeof x25519>): Uint8Array<ArrayBuffer> {
    const secret = x25519(...args);
    if (secret === null) throw new Error('the secret is zero');
    return new Uint8Array(secret);
  }

  test('gives the keys and the secret of RFC 7748 section 6.1', () => {
    const alice = x25519KeyPair(hex(ALICE));
    const bob = x25519KeyPair(hex(BOB));
    expect(toHex(alice.publicKey)).toBe(ALICE_PUBLIC);
    expect(toHex(bob.publicKey)).toBe(BOB_PUBLIC);
    expect(toHex(secretOf(alice.privateKey, hex(BOB_PUBLIC)))).toBe(SHARED);
    expect(toHex(secretOf(bob.privateKey, hex(ALICE_PUBLIC)))).toBe(SHARED);
  });

  test('gives the result of RFC 7748 section 5.2 after a thousand iterations', () => {
    let k = hex(`09${'00'.repeat(31)}`);
    let u = k;
    for (let i = 0; i < 1000; i++) {
      const next = secretOf(x25519KeyPair(k).privateKey, u);
      u = k;
      k = next;
      if (i === 0) expect(toHex(k)).toBe('422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079');
    }
    expect(toHex(k)).toBe('684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51');
  });

  test('agrees with an implementation in JavaScript for any key', () => {
    fc.assert(
      fc.property(bytes32(), bytes32(), (secret, peerSecret) => {
        const pair = x25519KeyPair(secret);
        const peer = nobleX25519.getPublicKey(peerSecret);
        expect(toHex(pair.publicKey)).toBe(toHex(nobleX25519.getPublicKey(secret)));
        expect(toHex(secretOf(pair.privateKey, peer))).toBe(toHex(nobleX25519.getSharedSecret(secret, peer)));
      }),
      { numRuns: 20 },
    );
  });

  test('refuses a peer’s key that makes the secret zero [HS-17]', () => {
    const { privateKey } = x25519KeyPair(hex(ALICE));
    for (const point of SMALL_ORDER) expect(x25519(privateKey, hex(point))).toBeNull();
  });
});

test('gives the same keys where Node wants a JWK to be complete', async () => {
  vi.doMock('node:crypto', async (original) => {
    const crypto = await original<typeof import('node:crypto')>();
    const createPrivateKey = (input: { format: string }) => {
      if (input.format === 'jwk') throw new TypeError('Invalid JWK data');
      return crypto.createPrivateKey(input as Parameters<typeof crypto.createPrivateKey>[0]);
    };
    return { ...crypto, createPrivateKey };
  });
  const strict = await withoutSodium(() => import('../../../src/protocol/crypto/hybrid-kem.ts'));
  vi.doUnmock('node:crypto');
  const pair = strict.x25519KeyPair(hex(ALICE));
  expect(toHex(pair.publicKey)).toBe(ALICE_PUBLIC);
  expect(toHex(new Uint8Array(strict.x25519(pair.privateKey, hex(BOB_PUBLIC)) ?? []))).toBe(SHARED);
});

test('forgets a private key that is wiped, and keeps no view of the secret it was made of', () => {
  const secret = hex(ALICE);
  const pair = usual.x25519KeyPair(secret);
  secret.fill(0);
  expect(toHex(new Uint8Array(usual.x25519(pair.privateKey, hex(BOB_PUBLIC)) ?? []))).toBe(SHARED);
  usual.wipeX25519(pair.privateKey);
  if (pair.privateKey instanceof Uint8Array) expect(pair.privateKey.every((byte) => byte === 0)).toBe(true);
});

function bytes32(): fc.Arbitrary<Uint8Array> {
  return fc.uint8Array({ minLength: 32, maxLength: 32 });
}
