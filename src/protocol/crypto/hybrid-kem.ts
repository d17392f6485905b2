import { createPrivateKey, createPublicKey, diffieHellman, type KeyObject } from 'node:crypto';
import { ml_kem768 } from '@noble/post-quantum/ml-kem.js';
import { loadSodium, privateKeyOf, publicKeyOf, rawKeys, rawPublicKey } from './native.ts';

/**
 * X25519 and ML-KEM-768 (FIPS 203) side by side: the secret holds as long as one of the two does. [HS-16]
 *
 *     share        X25519 key bytes[32], ML-KEM encapsulation key bytes[1184]
 *     ciphertext   X25519 key bytes[32], ML-KEM ciphertext bytes[1088]
 *     secret       X25519 secret bytes[32], ML-KEM secret bytes[32]
 */

/** A client's ephemeral key pair, whatever it is made of. */
export interface KemKey {
  /** What the peer encapsulates to. */
  readonly share: Uint8Array;
  /** The secret in a peer's ciphertext; null when that is no ciphertext. */
  decapsulate(ciphertext: Uint8Array): Uint8Array | null;
  /** Forgets the secret key; the key pair cannot be used afterwards. */
  wipe(): void;
}

/** The key pair of a client that knows nothing of its server but who it is. */
export class HybridKemKey implements KemKey {
  readonly share: Uint8Array;
  private readonly x25519: X25519KeyPair;
  private readonly mlKem: MlKemKeyPair;

  /** @param seed - {@link KEM_SEED_BYTES} random bytes; an ML-KEM that draws its own leaves those for it alone */
  constructor(seed: Uint8Array, mlKem: MlKem) {
    this.x25519 = x25519KeyPair(seed.subarray(0, X25519_BYTES));
    this.mlKem = mlKem.freshKeyPair?.() ?? mlKem.keyPair(seed.subarray(X25519_BYTES));
    this.share = concatenate(this.x25519.publicKey, this.mlKem.encapsulationKey);
  }

  /** The 64-byte secret in a peer's ciphertext; null when that is no ciphertext. */
  decapsulate(ciphertext: Uint8Array): Uint8Array | null {
    if (ciphertext.length !== KEM_CIPHERTEXT_BYTES) return null;
    const classical = x25519(this.x25519.privateKey, ciphertext.subarray(0, X25519_BYTES));
    if (classical === null) return null;
    // A forged ML-KEM ciphertext gives a secret nobody else knows (implicit rejection), so FINISHED fails.
    return joinSecrets(classical, this.mlKem.decapsulate(ciphertext.subarray(X25519_BYTES)));
  }

  /** Forgets both secret keys; the key pair cannot be used afterwards. */
  wipe(): void {
    wipeX25519(this.x25519.privateKey);
    this.mlKem.wipe();
  }
}

/** A secret, and what brings it to the owner of a share. */
export interface Encapsulation {
  readonly ciphertext: Uint8Array;
  readonly secret: Uint8Array;
}

/**
 * A fresh 64-byte secret for the owner of `share`; null when that is no valid share. [HS-18]
 * @param random - {@link KEM_RANDOM_BYTES} random bytes
 */
export function encapsulate(share: Uint8Array, random: Uint8Array, mlKem: MlKem): Encapsulation | null {
  if (share.length !== KEM_SHARE_BYTES) return null;
  const own = x25519KeyPair(random.subarray(0, X25519_BYTES));
  const classical = x25519(own.privateKey, share.subarray(0, X25519_BYTES));
  wipeX25519(own.privateKey);
  if (classical === null) return null;
  const postQuantum = mlKem.encapsulate(share.subarray(X25519_BYTES), random.subarray(X25519_BYTES));
  if (postQuantum === null) return null;
  return {
    ciphertext: concatenate(own.publicKey, postQuantum.ciphertext),
    secret: joinSecrets(classical, postQuantum.secret),
  };
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

// ---- ML-KEM ----

/** An implementation of ML-KEM-768 (FIPS 203). All of them understand each other; which one is used is the driver's choice. */
export interface MlKem {
  readonly name: MlKemName;
  /** @param seed - {@link ML_KEM_SEED_BYTES} random bytes; the implementation keeps no view of them */
  keyPair(seed: Uint8Array): MlKemKeyPair;
  /** A key pair of random bytes that the implementation draws itself, where that is cheaper than to be given them. */
  freshKeyPair?(): MlKemKeyPair;
  /**
   * A fresh 32-byte secret for the owner of an encapsulation key; null when the key fails the modulus check of FIPS 203 section 7.2.
   *
   * @param key - {@link ML_KEM_KEY_BYTES}
   * @param random - {@link ML_KEM_RANDOM_BYTES} random bytes; one that cannot be told what to draw uses its own
   */
  encapsulate(key: Uint8Array, random: Uint8Array): Encapsulation | null;
}

export type MlKemName = 'node' | 'noble';

export interface MlKemKeyPair {
  readonly encapsulationKey: Uint8Array;
  /**
   * The 32-byte secret in a ciphertext of {@link ML_KEM_CIPHERTEXT_BYTES}; for a forged one a secret that nobody else knows (implicit
   * rejection).
   */
  decapsulate(ciphertext: Uint8Array): Uint8Array;
  /** Forgets the decapsulation key; the pair cannot be used afterwards. */
  wipe(): void;
}

/**
 * In JavaScript, everywhere, and made of the random bytes alone: what seeded runs need. An operation takes 0.5 to 1.2 ms, where OpenSSL
 * takes 0.03 to 0.1.
 */
export const nobleMlKem: MlKem = {
  name: 'noble',
  keyPair(seed: Uint8Array): MlKemKeyPair {
    const own = new Uint8Array(seed); // the library wants a plain array, not a view into a pool
    const { publicKey, secretKey } = ml_kem768.keygen(own);
    own.fill(0);
    return {
      encapsulationKey: publicKey,
      decapsulate: (ciphertext) => ml_kem768.decapsulate(new Uint8Array(ciphertext), secretKey),
      wipe: () => {
        secretKey.fill(0);
      },
    };
  },
  encapsulate(key: Uint8Array, random: Uint8Array): Encapsulation | null {
    const own = new Uint8Array(random);
    try {
      const { cipherText, sharedSecret } = ml_kem768.encapsulate(new Uint8Array(key), own);
      return { ciphertext: cipherText, secret: sharedSecret };
    } catch {
      return null;
    } finally {
      own.fill(0);
    }
  },
};

// ---- X25519 (RFC 7748) on raw 32-byte keys ----

export interface X25519KeyPair {
  readonly privateKey: X25519PrivateKey;
  readonly publicKey: Uint8Array;
}

/** The secret itself for libsodium. */
export type X25519PrivateKey = Uint8Array | KeyObject;

/** The key pair of a 32-byte secret, of which no view is kept. */
export function x25519KeyPair(secret: Uint8Array): X25519KeyPair {
  return fromSodium(secret) ?? fromRaw(secret) ?? fromJwk(secret) ?? fromPkcs8(secret);
}

/** The shared secret; null when the peer's key makes it all zero, or is no key. [HS-17] */
export function x25519(privateKey: X25519PrivateKey, peerPublicKey: Uint8Array): Uint8Array | null {
  let shared: Uint8Array;
  try {
    if (privateKey instanceof Uint8Array) {
      shared = new Uint8Array(X25519_BYTES);
      loadSodium()?.crypto_scalarmult(shared, privateKey, peerPublicKey);
    } else {
      shared = diffieHellman({ privateKey, publicKey: publicKeyOf('x25519', peerPublicKey) });
    }
  } catch {
    return null; // both refuse a zero secret themselves
  }
  let bits = 0;
  for (let i = 0; i < shared.length; i++) bits |= shared[i];
  return bits === 0 ? null : shared;
}

/** Zeroes a private key, where that can be done; OpenSSL clears one when its object is collected. */
export function wipeX25519(privateKey: X25519PrivateKey): void {
  if (privateKey instanceof Uint8Array) privateKey.fill(0);
}

function fromSodium(secret: Uint8Array): X25519KeyPair | null {
  const sodium = loadSodium();
  if (sodium === null) return null;
  const privateKey = new Uint8Array(secret);
  const publicKey = new Uint8Array(X25519_BYTES);
  sodium.crypto_scalarmult_base(publicKey, privateKey);
  return { privateKey, publicKey };
}

function fromRaw(secret: Uint8Array): X25519KeyPair | null {
  if (rawKeys === null) return null;
  const privateKey = rawKeys.privateKey('x25519', secret);
  return { privateKey, publicKey: rawKeys.bytesOf(createPublicKey(privateKey)) };
}

/**
 * Ten times faster than the DER decoder. JWK wants the public key, too, which is not known yet; OpenSSL derives it from
 * the secret and Node does not look at ours. Should it come to, this returns null.
 */
function fromJwk(secret: Uint8Array): X25519KeyPair | null {
  try {
    const key = { kty: 'OKP', crv: 'X25519', d: Buffer.from(secret).toString('base64url'), x: UNKNOWN };
    const privateKey = createPrivateKey({ key, format: 'jwk' });
    const { x } = privateKey.export({ format: 'jwk' });
    if (x === undefined || x === UNKNOWN) return null;
    return { privateKey, publicKey: new Uint8Array(Buffer.from(x, 'base64url')) };
  } catch {
    return null;
  }
}

function fromPkcs8(secret: Uint8Array): X25519KeyPair {
  const privateKey = privateKeyOf(X25519_PREFIX, secret);
  return { privateKey, publicKey: rawPublicKey(privateKey) };
}

export const X25519_BYTES = 32;
/** Random bytes of a key pair: d 32 and z 32 (FIPS 203 section 7.1). */
export const ML_KEM_SEED_BYTES = 64;
/** Random bytes of an encapsulation: m (FIPS 203 section 7.2). */
export const ML_KEM_RANDOM_BYTES = 32;
export const ML_KEM_KEY_BYTES = 1184;
export const ML_KEM_CIPHERTEXT_BYTES = 1088;
/** Random bytes of a key pair: X25519 secret 32, ML-KEM d 32 and z 32. */
export const KEM_SEED_BYTES = X25519_BYTES + ML_KEM_SEED_BYTES;
/** Random bytes of an encapsulation: X25519 secret 32, ML-KEM m 32. */
export const KEM_RANDOM_BYTES = X25519_BYTES + ML_KEM_RANDOM_BYTES;
export const KEM_SHARE_BYTES = X25519_BYTES + ML_KEM_KEY_BYTES;
export const KEM_CIPHERTEXT_BYTES = X25519_BYTES + ML_KEM_CIPHERTEXT_BYTES;
const UNKNOWN = Buffer.alloc(X25519_BYTES).toString('base64url');
/** PrivateKeyInfo of RFC 8410 up to the 32 key bytes. */
const X25519_PREFIX = Buffer.from('302e020100300506032b656e04220420', 'hex');
