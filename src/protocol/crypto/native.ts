import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { createRequire } from 'node:module';

/**
 * The native libraries that the cryptography is computed by. libsodium, by way of the optional `sodium-native`, is the fastest for short
 * packets, curve operations and hashes. OpenSSL is always there, inside Node; its functions take key objects, one of which costs as much as
 * the operation itself, or several times that where Node learns by exceptions of what kind a key is (24 and newer).
 */

/** Null where the package is not installed, or has no binary for this machine. */
export function loadSodium(): Sodium | null {
  if (loaded === undefined) {
    try {
      loaded = createRequire(import.meta.url)('sodium-native') as Sodium;
    } catch {
      loaded = null;
    }
  }
  return loaded;
}

/** What is used of `sodium-native`, which has no types of its own. All sizes have to be right, or it throws. */
export interface Sodium {
  crypto_aead_chacha20poly1305_ietf_encrypt: (
    ciphertext: Uint8Array,
    message: Uint8Array,
    ad: Uint8Array | null,
    secretNonce: null,
    nonce: Uint8Array,
    key: Uint8Array,
  ) => number;
  /** Throws when the tag does not verify. */
  crypto_aead_chacha20poly1305_ietf_decrypt: (
    message: Uint8Array,
    secretNonce: null,
    ciphertext: Uint8Array,
    ad: Uint8Array | null,
    nonce: Uint8Array,
    key: Uint8Array,
  ) => number;
  crypto_scalarmult_base: (publicKey: Uint8Array, secret: Uint8Array) => void;
  /** Throws when the result is zero. */
  crypto_scalarmult: (shared: Uint8Array, secret: Uint8Array, peerPublicKey: Uint8Array) => void;
  /** @param secretKey - the seed, and the public key behind it */
  crypto_sign_detached: (signature: Uint8Array, message: Uint8Array, secretKey: Uint8Array) => void;
  crypto_sign_verify_detached: (signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array) => boolean;
  crypto_hash_sha256: (out: Uint8Array, data: Uint8Array) => void;
}

// ---- keys of OpenSSL ----

/**
 * Keys of OpenSSL from and to their raw bytes, where this Node knows such formats (24 and newer, which the types of the Node floor do not
 * know). The detours that older ones need cost more than the raw way: 30 us to write a key as DER, 20 us and an exception for a JWK.
 */
export interface RawKeys {
  privateKey(type: 'x25519', bytes: Uint8Array): KeyObject;
  publicKey(type: 'x25519' | 'ed25519' | 'ml-kem-768', bytes: Uint8Array): KeyObject;
  /** The raw bytes of a public key. */
  bytesOf(publicKey: KeyObject): Uint8Array;
}

/** Null where Node takes no raw keys. */
export const rawKeys: RawKeys | null = works() ? makeRawKeys() : null;

function makeRawKeys(): RawKeys {
  return {
    privateKey: (type, key) =>
      createPrivateKey({ key, format: 'raw-private', asymmetricKeyType: type } as never),
    publicKey: (type, key) =>
      createPublicKey({ key, format: 'raw-public', asymmetricKeyType: type } as never),
    bytesOf: (publicKey) => new Uint8Array(publicKey.export({ format: 'raw-public' } as never) as Buffer),
  };
}

/** The OpenSSL key of 32 raw bytes. */
export function publicKeyOf(type: 'x25519' | 'ed25519', bytes: Uint8Array): KeyObject {
  if (rawKeys !== null) return rawKeys.publicKey(type, bytes);
  const x = Buffer.from(bytes).toString('base64url');
  return createPublicKey({
    key: { kty: 'OKP', crv: type === 'x25519' ? 'X25519' : 'Ed25519', x },
    format: 'jwk',
  });
}

/** The raw public key of a private key of either kind, by way of DER. */
export function rawPublicKey(privateKey: KeyObject): Uint8Array {
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  return new Uint8Array(spki.subarray(spki.length - KEY_BYTES));
}

/**
 * The OpenSSL key of 32 secret bytes.
 * @param prefix - PrivateKeyInfo of RFC 8410 up to these bytes
 */
export function privateKeyOf(prefix: Uint8Array, secret: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.concat([prefix, secret]), format: 'der', type: 'pkcs8' });
}

/** Tried once, with the first of the calls that a later Node might take away. */
function works(): boolean {
  try {
    const raw = makeRawKeys();
    const key = raw.privateKey('x25519', new Uint8Array(32).fill(1));
    const bytes = raw.bytesOf(createPublicKey(key));
    return Buffer.from(raw.bytesOf(raw.publicKey('x25519', bytes))).equals(bytes);
  } catch {
    return false;
  }
}

/** Of a public key of either curve. */
const KEY_BYTES = 32;
let loaded: Sodium | null | undefined;
