import { createPublicKey, verify } from 'node:crypto';
import { inspect } from 'node:util';
import { ed25519 } from '@noble/curves/ed25519.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { ml_dsa65 } from '@noble/post-quantum/ml-dsa.js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import {
  ed25519PrivateKey,
  ed25519Sign,
  ed25519Verify,
  equalSecrets,
  fingerprintOf,
  Identity,
  thumbprintOf,
  verifyIdentity,
} from '../../../src/protocol/crypto/identity.ts';
import { hex, joined, toHex } from './bytes.ts';
import { vectorCases } from './vector-file.ts';
import { withoutSodium } from './without-sodium.ts';

// RFC 8032 section 7.1
const RFC_VECTORS = [
  {
    seed: '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
    publicKey: 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
    message: '',
    signature:
      'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
  },
  {
    seed: '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
    publicKey: '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
    message: '72',
    signature:
      '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
  },
];

const HASH = new Uint8Array(32).fill(7);
const identity = Identity.generate(new Prng(1));
const hybrid = Identity.generate(new Prng(3), { hybrid: true });
const VECTORS = vectorCases('identities.json', slowIdentity);

interface IdentityInput {
  secret: string;
  transcriptHash: string;
  signature: string;
}

/** Read off spec/handshake.md. */
function slowIdentity({ secret, transcriptHash, signature }: IdentityInput) {
  const bytes = hex(secret);
  const keys = [ed25519.getPublicKey(bytes.slice(3, 35)), ml_dsa65.keygen(bytes.slice(38)).publicKey];
  const publicKey = joined(hex('010020'), keys[0], hex('0207a0'), keys[1]);
  const signs = (who: string) => {
    const context = new TextEncoder().encode(`${' '.repeat(64)}JetStreamProto 1 ${who} identity\0`);
    const content = joined(context, hex(transcriptHash));
    const both = hex(signature);
    return (
      toHex(both.slice(0, 3)) === '010040' &&
      ed25519.verify(both.slice(3, 67), content, keys[0]) &&
      toHex(both.slice(67, 70)) === '020ced' &&
      ml_dsa65.verify(both.slice(70), content, keys[1])
    );
  };
  return {
    publicKey: toHex(publicKey),
    fingerprint: toHex(sha256(publicKey)),
    isServers: signs('server'),
    isClients: signs('client'),
  };
}

describe('Ed25519', () => {
  test.each(RFC_VECTORS)('gives the signature of RFC 8032 section 7.1 over "$message"', (vector) => {
    const key = ed25519PrivateKey(hex(vector.seed));
    expect(toHex(key.publicKey)).toBe(vector.publicKey);
    expect(toHex(ed25519Sign(key, hex(vector.message)))).toBe(vector.signature);
    expect(toHex(ed25519Sign(key, hex(vector.message), null))).toBe(vector.signature);
    expect(ed25519Verify(hex(vector.publicKey), hex(vector.message), hex(vector.signature))).toBe(true);
  });

  test('gives the same signature by libsodium as by OpenSSL, which the other verifies', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.uint8Array({ maxLength: 300 }),
        (seed, message) => {
          const key = ed25519PrivateKey(seed);
          const signature = ed25519Sign(key, message);
          expect(toHex(signature)).toBe(toHex(ed25519Sign(key, message, null)));
          expect(verify(null, message, createPublicKey(key.openssl), signature)).toBe(true);
        },
      ),
    );
  });

  test('answers false, and throws nothing, for any bytes as key and signature', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.uint8Array({ maxLength: 100 }), (key, signature) => {
        expect(ed25519Verify(key, HASH, signature)).toBe(false);
        expect(
          ed25519Verify(key.slice(0, 32), HASH, joined(signature, new Uint8Array(64)).slice(0, 64)),
        ).toBe(false);
      }),
    );
  });
});

describe('an identity', () => {
  test('is named by the SHA-256 of algorithm, length and key [HS-9]', () => {
    const seed = new Uint8Array(32);
    new Prng(1).fill(seed);
    const expected = joined(hex('01 0020'), ed25519.getPublicKey(seed));
    expect(toHex(identity.publicKey)).toBe(toHex(expected));
    expect(toHex(identity.fingerprint)).toBe(toHex(sha256(expected)));
    expect(toHex(fingerprintOf(identity.publicKey))).toBe(toHex(sha256(expected)));
    expect(identity.fingerprintText).toMatch(/^[A-Za-z0-9_-]{43}$/);
  });

  test('comes back from its exported secret [HS-9]', () => {
    const secret = identity.exportSecret();
    expect(secret).toMatch(/^AQAg[A-Za-z0-9_-]{43}$/);
    expect(Identity.fromSecret(secret).fingerprintText).toBe(identity.fingerprintText);
    expect(Identity.fromSecret(secret).exportSecret()).toBe(secret);
  });

  test('refuses text that is no secret with ERR_JSP_IDENTITY_INVALID, and does not repeat the text', () => {
    const secret = identity.exportSecret();
    const invalid = [
      '',
      'x',
      secret.slice(1),
      `${secret}A`,
      `${secret}=`,
      `B${secret.slice(1)}`,
      identity.fingerprintText,
    ];
    for (const text of invalid) {
      expect(() => Identity.fromSecret(text)).toThrow(
        expect.objectContaining({
          code: 'ERR_JSP_IDENTITY_INVALID',
          message: expect.not.stringContaining(secret.slice(5, 40)),
        }),
      );
    }
  });

  test('does not show its secret when it is printed', () => {
    const printed = inspect(identity, { depth: 9, showHidden: true }) + JSON.stringify(identity);
    const seed = Buffer.from(identity.exportSecret(), 'base64url').subarray(3);
    expect(printed).not.toContain(seed.toString('base64url'));
    expect(printed).not.toContain(seed.toString('hex'));
    expect(printed).not.toContain(inspect(new Uint8Array(seed)));
  });

  test('signs blanks, a context, a zero byte and the transcript hash [HS-11]', () => {
    const signature = identity.sign('server', HASH);
    const context = new TextEncoder().encode(`${' '.repeat(64)}JetStreamProto 1 server identity\0`);
    expect(toHex(signature.subarray(0, 3))).toBe('010040');
    expect(ed25519.verify(signature.slice(3), joined(context, HASH), identity.publicKey.slice(3))).toBe(true);
  });

  test('is verified for the signer, the hash and the key it signed with, and for no other [HS-11] [HS-12]', () => {
    const other = Identity.generate(new Prng(2));
    const signature = identity.sign('server', HASH);
    expect(verifyIdentity(identity.publicKey, 'server', HASH, signature)).toBe(true);
    expect(verifyIdentity(identity.publicKey, 'client', HASH, signature)).toBe(false);
    expect(verifyIdentity(identity.publicKey, 'client', HASH, identity.sign('client', HASH))).toBe(true);
    expect(verifyIdentity(identity.publicKey, 'server', new Uint8Array(32), signature)).toBe(false);
    expect(verifyIdentity(other.publicKey, 'server', HASH, signature)).toBe(false);
  });

  test('is not verified when key or signature have another form, length or algorithm [HS-12]', () => {
    const key = identity.publicKey;
    const signature = identity.sign('server', HASH);
    const verified = (oneKey: Uint8Array, oneSignature: Uint8Array) =>
      verifyIdentity(oneKey, 'server', HASH, oneSignature);
    for (const at of [0, 1, 2, 20]) {
      expect(verified(changed(key, at), signature)).toBe(false);
      expect(verified(key, changed(signature, at))).toBe(false);
    }
    expect(verified(joined(key, key), joined(signature, signature))).toBe(false);
    expect(verified(new Uint8Array(0), new Uint8Array(0))).toBe(false);
    expect(verified(key.slice(0, -1), signature)).toBe(false);
    expect(verified(key, signature.slice(0, -1))).toBe(false);
    expect(verified(key, signature)).toBe(true);
  });

  test('is not verified by a key of small order, in whose name anybody could sign, whatever library verifies [HS-12]', async () => {
    const openSsl = await withoutSodium(() => import('../../../src/protocol/crypto/identity.ts'));
    expect(openSsl.verifyIdentity(identity.publicKey, 'server', HASH, identity.sign('server', HASH))).toBe(
      true,
    );
    for (const { verifyIdentity: verified } of [{ verifyIdentity }, openSsl]) {
      let forged = 0;
      for (const key of SMALL_ORDER) {
        for (let tag = 0; tag < 64; tag++) {
          // R is the neutral point and S is 0: what is left of the equation is the hash times the key, zero for one hash in eight or more.
          const signature = joined(hex('010040'), joined(hex(`01${'00'.repeat(31)}`), new Uint8Array(32)));
          if (
            verified(
              joined(hex('010020'), key),
              'server',
              HASH.map((byte) => byte ^ tag),
              signature,
            )
          )
            forged++;
        }
      }
      expect(forged).toBe(0);
    }
  });

  test('is hybrid with a key of ML-DSA-65 behind that of Ed25519, and its fingerprint is over both [HS-9] [HS-26]', () => {
    const seed = (at: number) => Buffer.from(hybrid.exportSecret(), 'base64url').subarray(at, at + 32);
    const postQuantum = ml_dsa65.keygen(new Uint8Array(seed(38)));
    const expected = joined(
      hex('01 0020'),
      ed25519.getPublicKey(seed(3)),
      hex('02 07a0'),
      postQuantum.publicKey,
    );
    expect(toHex(hybrid.publicKey)).toBe(toHex(expected));
    expect(toHex(hybrid.fingerprint)).toBe(toHex(sha256(expected)));
    expect([hybrid.isHybrid, identity.isHybrid]).toEqual([true, false]);
    expect(hybrid.exportSecret()).toMatch(/^AQAg[\w-]{90}$/);
    expect(Identity.fromSecret(hybrid.exportSecret()).fingerprintText).toBe(hybrid.fingerprintText);
    expect(thumbprintOf(hybrid.publicKey)).toBe('');
  });

  test('of two keys is verified when both have signed, and not by either alone [HS-12] [HS-26]', () => {
    const signature = hybrid.sign('client', HASH);
    const verified = (key: Uint8Array, one: Uint8Array) => verifyIdentity(key, 'client', HASH, one);
    expect(verified(hybrid.publicKey, signature)).toBe(true);
    for (const at of [0, 2, 40, 67, 69, 71, 3_000])
      expect(verified(hybrid.publicKey, changed(signature, at))).toBe(false);
    for (const at of [0, 20, 35, 37, 1_000])
      expect(verified(changed(hybrid.publicKey, at), signature)).toBe(false);
    const classical = hybrid.publicKey.slice(0, 35);
    expect(verified(classical, signature.slice(0, 67))).toBe(true);
    expect(verified(hybrid.publicKey, signature.slice(0, 67))).toBe(false);
    expect(verified(classical, signature)).toBe(false);
    // ML-DSA-65 alone, the two in another order, and one of them twice
    expect(verified(hybrid.publicKey.slice(35), signature.slice(67))).toBe(false);
    const turned = (bytes: Uint8Array, at: number) => joined(bytes.slice(at), bytes.slice(0, at));
    expect(verified(turned(hybrid.publicKey, 35), turned(signature, 67))).toBe(false);
    expect(
      verified(joined(classical, classical), joined(signature.slice(0, 67), signature.slice(0, 67))),
    ).toBe(false);
  });

  test.each(VECTORS)(
    'of two keys takes the signatures that OpenSSL made of the same secret: $name [HS-26]',
    ({ input, output }) => {
      const one = Identity.fromSecret(Buffer.from(input.secret, 'hex').toString('base64url'));
      expect([toHex(one.publicKey), toHex(one.fingerprint)]).toEqual([output.publicKey, output.fingerprint]);
      const verified = (signer: 'server' | 'client') =>
        verifyIdentity(one.publicKey, signer, hex(input.transcriptHash), hex(input.signature));
      expect([verified('server'), verified('client')]).toEqual([output.isServers, output.isClients]);
    },
  );

  test('never throws, and is not verified, for a key or a signature that was changed [HS-12]', () => {
    const signature = hybrid.sign('server', HASH);
    fc.assert(
      fc.property(
        fc.boolean(),
        fc.nat(3_375),
        fc.nat(3_375),
        fc.uint8Array({ maxLength: 8 }),
        (ofKey, at, cut, noise) => {
          const whole = ofKey ? hybrid.publicKey : signature;
          const other = joined(whole.slice(0, at % whole.length), noise, whole.slice(cut % whole.length));
          if (toHex(other) === toHex(whole)) return;
          const [key, value] = ofKey ? [other, signature] : [hybrid.publicKey, other];
          expect(verifyIdentity(key, 'server', HASH, value)).toBe(false);
        },
      ),
      { numRuns: 200 },
    );
  });

  test('compares fingerprints of any length without throwing', () => {
    expect(equalSecrets(HASH, HASH.slice())).toBe(true);
    expect(equalSecrets(HASH, changed(HASH, 31))).toBe(false);
    expect(equalSecrets(HASH, HASH.slice(1))).toBe(false);
    expect(equalSecrets(HASH, new Uint8Array(0))).toBe(false);
  });
});

function changed(bytes: Uint8Array, at: number): Uint8Array {
  const copy = bytes.slice();
  copy[at] ^= 1;
  return copy;
}

/** All points whose order divides 8, by their y and the sign of their x, also as they are not to be written. */
const SMALL_ORDER = [
  '00'.repeat(32),
  `01${'00'.repeat(31)}`,
  `ec${'ff'.repeat(30)}7f`,
  `ed${'ff'.repeat(30)}7f`,
  `ee${'ff'.repeat(30)}7f`,
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
].flatMap((y) => [hex(y), hex(y).map((byte, i) => (i === 31 ? byte | 0x80 : byte))]);
