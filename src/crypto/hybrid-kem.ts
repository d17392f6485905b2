import { ml_kem768 } from '@noble/post-quantum/ml-kem.js';
import { X25519_BYTES, type X25519KeyPair, x25519, x25519KeyPair } from './x25519.ts';

/**
 * X25519 and ML-KEM-768 (FIPS 203) side by side: the secret holds as long as one of the two does. [HS-16]
 *
 *     share        X25519 key bytes[32], ML-KEM encapsulation key bytes[1184]
 *     ciphertext   X25519 key bytes[32], ML-KEM ciphertext bytes[1088]
 *     secret       X25519 secret bytes[32], ML-KEM secret bytes[32]
 */

/** Random bytes of a key pair: X25519 secret 32, ML-KEM d 32 and z 32. */
export const KEM_SEED_BYTES = 96;
/** Random bytes of an encapsulation: X25519 secret 32, ML-KEM m 32. */
export const KEM_RANDOM_BYTES = 64;
export const KEM_SHARE_BYTES = 32 + 1184;
export const KEM_CIPHERTEXT_BYTES = 32 + 1088;

/** A client's ephemeral key pair. */
export class HybridKemKey {
  /** What the peer encapsulates to. */
  readonly share: Uint8Array;
  private readonly x25519: X25519KeyPair;
  private readonly decapsulationKey: Uint8Array;

  /** @param seed - {@link KEM_SEED_BYTES} random bytes */
  constructor(seed: Uint8Array) {
    this.x25519 = x25519KeyPair(seed.subarray(0, X25519_BYTES));
    const kemSeed = new Uint8Array(seed.subarray(X25519_BYTES));
    const { publicKey, secretKey } = ml_kem768.keygen(kemSeed);
    kemSeed.fill(0);
    this.decapsulationKey = secretKey;
    this.share = concatenate(this.x25519.publicKey, publicKey);
  }

  /** The 64-byte secret in a peer's ciphertext; null when that is no ciphertext. */
  decapsulate(ciphertext: Uint8Array): Uint8Array | null {
    if (ciphertext.length !== KEM_CIPHERTEXT_BYTES) return null;
    const classical = x25519(this.x25519.privateKey, ciphertext.subarray(0, X25519_BYTES));
    if (classical === null) return null;
    // A forged ML-KEM ciphertext gives a secret nobody else knows (implicit rejection), so FINISHED fails.
    const postQuantum = ml_kem768.decapsulate(
      new Uint8Array(ciphertext.subarray(X25519_BYTES)),
      this.decapsulationKey,
    );
    return joinSecrets(classical, postQuantum);
  }

  /** Zeroes the ML-KEM key; the key pair cannot be used afterwards. */
  wipe(): void {
    this.decapsulationKey.fill(0);
  }
}

/** What {@link encapsulate} gives. */
export interface Encapsulation {
  readonly ciphertext: Uint8Array;
  readonly secret: Uint8Array;
}

/**
 * A fresh 64-byte secret for the owner of `share`; null when that is no valid share.
 * @param random - {@link KEM_RANDOM_BYTES} random bytes
 */
export function encapsulate(share: Uint8Array, random: Uint8Array): Encapsulation | null {
  if (share.length !== KEM_SHARE_BYTES) return null;
  const own = x25519KeyPair(random.subarray(0, X25519_BYTES));
  const classical = x25519(own.privateKey, share.subarray(0, X25519_BYTES));
  if (classical === null) return null;
  const kemRandom = new Uint8Array(random.subarray(X25519_BYTES));
  try {
    const encapsulationKey = new Uint8Array(share.subarray(X25519_BYTES));
    const { cipherText, sharedSecret } = ml_kem768.encapsulate(encapsulationKey, kemRandom);
    return {
      ciphertext: concatenate(own.publicKey, cipherText),
      secret: joinSecrets(classical, sharedSecret),
    };
  } catch {
    return null; // [HS-18] the key fails the modulus check of FIPS 203 section 7.2
  } finally {
    kemRandom.fill(0);
  }
}

/** Both secrets in one buffer; the single ones are zeroed. */
function joinSecrets(classical: Uint8Array, postQuantum: Uint8Array): Uint8Array {
  const secret = concatenate(classical, postQuantum);
  classical.fill(0);
  postQuantum.fill(0);
  return secret;
}

function concatenate(first: Uint8Array, second: Uint8Array): Uint8Array {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}
