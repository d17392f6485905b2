import { ml_dsa65 } from '@noble/post-quantum/ml-dsa.js';

/**
 * ML-DSA-65 (FIPS 204), pure and with an empty context: the half of a hybrid identity that a quantum computer does not forge. [HS-26]
 * All implementations understand each other; which one is used is the driver's choice.
 */
export interface MlDsa {
  readonly name: MlDsaName;
  /** @param seed - {@link ML_DSA_SEED_BYTES} secret bytes; the implementation keeps no view of them */
  keyPair(seed: Uint8Array): MlDsaKeyPair;
  /** False for a signature or a public key that is wrong or malformed. */
  verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean;
}

export type MlDsaName = 'node' | 'noble';

export interface MlDsaKeyPair {
  readonly publicKey: Uint8Array;
  sign(message: Uint8Array): Uint8Array;
}

/**
 * In JavaScript, everywhere, and in the deterministic variant of FIPS 204 section 3.4, which needs no random bytes: what seeded runs need. A
 * signature takes 10 ms, where OpenSSL takes 1.
 */
export const nobleMlDsa: MlDsa = {
  name: 'noble',
  keyPair(seed: Uint8Array): MlDsaKeyPair {
    const own = new Uint8Array(seed); // the library wants a plain array, not a view into a pool
    const { publicKey, secretKey } = ml_dsa65.keygen(own);
    own.fill(0);
    return {
      publicKey,
      sign: (message) => ml_dsa65.sign(new Uint8Array(message), secretKey, { extraEntropy: false }),
    };
  },
  verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
    if (publicKey.length !== ML_DSA_KEY_BYTES || signature.length !== ML_DSA_SIGNATURE_BYTES) return false;
    try {
      return ml_dsa65.verify(new Uint8Array(signature), new Uint8Array(message), new Uint8Array(publicKey));
    } catch {
      return false;
    }
  },
};

export const ML_DSA_SEED_BYTES = 32;
export const ML_DSA_KEY_BYTES = 1952;
export const ML_DSA_SIGNATURE_BYTES = 3309;
