import { createHash } from 'node:crypto';
import { Prng } from '../../src/base/random.ts';
import {
  type Encapsulation,
  ML_KEM_CIPHERTEXT_BYTES,
  ML_KEM_KEY_BYTES,
  type MlKem,
  type MlKemKeyPair,
} from '../../src/protocol/crypto/hybrid-kem.ts';

/**
 * Not a KEM: whoever sees a ciphertext knows its secret. It has the sizes of ML-KEM-768, costs a hundredth of it, and gives both ends the
 * same secret only when neither key nor ciphertext changed on the way. For simulations only.
 */
export const cheapKem: MlKem = {
  // Implementations are known by their names; this one must look like one of them.
  name: 'noble',
  keyPair(seed: Uint8Array): MlKemKeyPair {
    const encapsulationKey = expand(seed, ML_KEM_KEY_BYTES);
    return {
      encapsulationKey,
      decapsulate: (ciphertext) => secretOf(encapsulationKey, ciphertext),
      wipe: () => {},
    };
  },
  encapsulate(key: Uint8Array, random: Uint8Array): Encapsulation {
    const ciphertext = expand(random, ML_KEM_CIPHERTEXT_BYTES);
    return { ciphertext, secret: secretOf(key, ciphertext) };
  },
};

function expand(seed: Uint8Array, bytes: number): Uint8Array {
  const expanded = new Uint8Array(bytes);
  const digest = createHash('sha256').update(seed).digest();
  new Prng(digest.readUIntBE(0, 6)).fill(expanded);
  return expanded;
}

function secretOf(key: Uint8Array, ciphertext: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update(key).update(ciphertext).digest());
}
