import { createPrivateKey, createPublicKey, diffieHellman, type KeyObject, sign, verify } from 'node:crypto';
import { loadSodium } from './sodium.ts';

/** X25519 (RFC 7748) and Ed25519 (RFC 8032) on raw 32-byte keys, computed by libsodium where it is there, else by OpenSSL. */

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
  for (const byte of shared) bits |= byte;
  return bits === 0 ? null : shared;
}

/** Zeroes a private key, where that can be done; OpenSSL clears one when its object is collected. */
export function wipeX25519(privateKey: X25519PrivateKey): void {
  if (privateKey instanceof Uint8Array) privateKey.fill(0);
}

/** The raw public key of a private key of either kind, by way of DER. */
export function rawPublicKey(privateKey: KeyObject): Uint8Array {
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  return new Uint8Array(spki.subarray(spki.length - KEY_BYTES));
}

/** The Ed25519 private key of a 32-byte seed. */
export function ed25519PrivateKey(seed: Uint8Array): KeyObject {
  return fromDer(ED25519_PREFIX, seed);
}

export function ed25519Sign(privateKey: KeyObject, message: Uint8Array): Uint8Array {
  return sign(null, message, privateKey);
}

/** False for a signature or a public key that is wrong or malformed. */
export function ed25519Verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== ED25519_KEY_BYTES || signature.length !== ED25519_SIGNATURE_BYTES) return false;
  try {
    const sodium = loadSodium();
    if (sodium !== null) return sodium.crypto_sign_verify_detached(signature, message, publicKey);
    return verify(null, message, publicKeyOf('ed25519', publicKey), signature);
  } catch {
    return false;
  }
}

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

function publicKeyOf(type: 'x25519' | 'ed25519', bytes: Uint8Array): KeyObject {
  if (rawKeys !== null) return rawKeys.publicKey(type, bytes);
  const x = Buffer.from(bytes).toString('base64url');
  return createPublicKey({
    key: { kty: 'OKP', crv: type === 'x25519' ? 'X25519' : 'Ed25519', x },
    format: 'jwk',
  });
}

function fromDer(prefix: Uint8Array, secret: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.concat([prefix, secret]), format: 'der', type: 'pkcs8' });
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
  const privateKey = fromDer(X25519_PREFIX, secret);
  return { privateKey, publicKey: rawPublicKey(privateKey) };
}

export const X25519_BYTES = 32;
export const ED25519_SEED_BYTES = 32;
export const ED25519_KEY_BYTES = 32;
export const ED25519_SIGNATURE_BYTES = 64;
/** Of a public key of either kind. */
const KEY_BYTES = 32;
const UNKNOWN = Buffer.alloc(X25519_BYTES).toString('base64url');
/** PrivateKeyInfo of RFC 8410 up to the 32 key bytes. */
const X25519_PREFIX = Buffer.from('302e020100300506032b656e04220420', 'hex');
const ED25519_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
