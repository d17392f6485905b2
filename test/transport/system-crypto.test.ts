import { shake256 } from '@noble/hashes/sha3.js';
import { describe, expect, test } from 'vitest';
import { connect, generateIdentity, listen } from '../../src/index.ts';
import {
  encapsulate,
  HybridKemKey,
  KEM_RANDOM_BYTES,
  KEM_SEED_BYTES,
  type MlKem,
  nobleMlKem,
} from '../../src/protocol/crypto/hybrid-kem.ts';
import { type MlDsa, nobleMlDsa } from '../../src/protocol/crypto/ml-dsa.ts';
import { loadNodeMlDsa, loadNodeMlKem } from '../../src/transport/system-crypto.ts';
import { toHex } from '../protocol/crypto/bytes.ts';

const native = loadNodeMlKem();
const nativeMlDsa = loadNodeMlDsa();
const [major, minor] = process.versions.node.split('.').map(Number);
const seedOf = (i: number): Uint8Array => shake256(Uint8Array.of(i), { dkLen: 64 });

test('is there from Node 24.7 on, and nowhere before', () => {
  expect(native !== null).toBe(major > 24 || (major === 24 && minor >= 7));
});

describe.runIf(native !== null)('ML-KEM-768 of Node', () => {
  const node = native as MlKem;

  test('makes the same key of a seed as the one in JavaScript', () => {
    for (let i = 0; i < 20; i++) {
      const [ours, theirs] = [node, nobleMlKem].map((kem) => kem.keyPair(seedOf(i)));
      expect(toHex(ours.encapsulationKey)).toBe(toHex(theirs.encapsulationKey));
    }
  });

  test('and the one in JavaScript understand each other, both ways [HS-16]', () => {
    for (let i = 0; i < 20; i++) {
      for (const [owner, sender] of [
        [node, nobleMlKem],
        [nobleMlKem, node],
      ]) {
        const pair = owner.keyPair(seedOf(i));
        const made = sender.encapsulate(pair.encapsulationKey, seedOf(i + 100).slice(0, 32));
        expect(made?.secret).toHaveLength(32);
        expect(toHex(pair.decapsulate(made?.ciphertext as Uint8Array))).toBe(
          toHex(made?.secret as Uint8Array),
        );
      }
    }
  });

  test('rejects a forged ciphertext implicitly, with the same secret as the one in JavaScript', () => {
    for (let i = 0; i < 20; i++) {
      const forged = shake256(Uint8Array.of(i, 1), { dkLen: 1088 });
      const secrets = [node, nobleMlKem].map((kem) => toHex(kem.keyPair(seedOf(i)).decapsulate(forged)));
      expect(secrets[0]).toBe(secrets[1]);
    }
  });

  test('refuses a key with a coefficient that is not reduced [HS-18]', () => {
    const key = node.keyPair(seedOf(1)).encapsulationKey;
    for (const at of [0, 600, 1149]) {
      const malformed = key.slice().fill(0xff, at, at + 3);
      expect(node.encapsulate(malformed, new Uint8Array(0))).toBeNull();
    }
  });

  test('uses no random bytes but the system’s to encapsulate, so no two ciphertexts are alike', () => {
    const { encapsulationKey } = node.keyPair(seedOf(1));
    const made = [1, 2].map(() => node.encapsulate(encapsulationKey, new Uint8Array(32)));
    expect(toHex(made[0]?.ciphertext as Uint8Array)).not.toBe(toHex(made[1]?.ciphertext as Uint8Array));
  });

  test('draws a fresh key pair from the system, whatever seed its client has, which the one in JavaScript encapsulates to [HS-16]', () => {
    const seed = new Uint8Array(KEM_SEED_BYTES).fill(3);
    const keys = [1, 2].map(() => new HybridKemKey(seed, node));
    expect(toHex(keys[0].share)).not.toBe(toHex(keys[1].share));
    for (const key of keys) {
      const made = encapsulate(key.share, new Uint8Array(KEM_RANDOM_BYTES).fill(5), nobleMlKem);
      expect(toHex(key.decapsulate(made?.ciphertext as Uint8Array) as Uint8Array)).toBe(
        toHex(made?.secret as Uint8Array),
      );
    }
  });

  test('forgets its key when it is wiped', () => {
    const key = new HybridKemKey(new Uint8Array(KEM_SEED_BYTES), node);
    const made = encapsulate(key.share, new Uint8Array(KEM_RANDOM_BYTES).fill(5), node);
    key.wipe();
    expect(() => key.decapsulate(made?.ciphertext as Uint8Array)).toThrow();
  });

  test.each([
    ['node', 'noble'],
    ['noble', 'node'],
  ] as const)('carries a handshake of a client with %s and a server with %s', async (ours, theirs) => {
    await using listener = await listen({ identity: generateIdentity(), port: 0, mlKem: theirs });
    await using connection = await connect(listener.url, { mlKem: ours });
    expect(connection.isOpen).toBe(true);
  });
});

test.runIf(native === null)('asked for where this Node has none is an error that says so', async () => {
  await expect(listen({ identity: generateIdentity(), port: 0, mlKem: 'node' })).rejects.toMatchObject({
    code: 'ERR_JSP_OPTION_INVALID',
    message: expect.stringContaining('24.7'),
  });
});

test('signatures of ML-DSA-65 are computed by Node from 24.6 on, and nowhere before', () => {
  expect(nativeMlDsa !== null).toBe(major > 24 || (major === 24 && minor >= 6));
});

describe.runIf(nativeMlDsa !== null)('ML-DSA-65 of Node', () => {
  const node = nativeMlDsa as MlDsa;
  const message = shake256(Uint8Array.of(7), { dkLen: 130 });

  test('and the one in JavaScript have the same key of a seed, and verify what the other signs, and nothing else [HS-26]', () => {
    for (const [signer, verifier] of [
      [node, nobleMlDsa],
      [nobleMlDsa, node],
    ]) {
      const pair = signer.keyPair(seedOf(1).slice(0, 32));
      expect(toHex(pair.publicKey)).toBe(toHex(verifier.keyPair(seedOf(1).slice(0, 32)).publicKey));
      const signature = pair.sign(message);
      expect(verifier.verify(pair.publicKey, message, signature)).toBe(true);
      for (const length of [0, 3_308])
        expect(verifier.verify(pair.publicKey, message, signature.subarray(0, length))).toBe(false);
      expect(verifier.verify(pair.publicKey.subarray(1), message, signature)).toBe(false);
      expect(verifier.verify(pair.publicKey, message.subarray(1), signature)).toBe(false);
      const forged = Uint8Array.from(signature);
      forged[100] ^= 1;
      expect(verifier.verify(pair.publicKey, message, forged)).toBe(false);
    }
  });
});

test('a server with a hybrid identity is pinned and reached as any other, in small datagrams, too [HS-26]', async () => {
  await using listener = await listen({ identity: generateIdentity({ hybrid: true }), port: 0 });
  for (const mtu of [512, 1_200]) {
    await using connection = await connect(listener.url, { mtu });
    expect(listener.url).toContain(Buffer.from(connection.peerFingerprint ?? []).toString('base64url'));
  }
});
