import { createPrivateKey, createPublicKey, diffieHellman, type KeyObject } from 'node:crypto';
import { rawKeys } from './raw-keys.ts';

/** X25519 (RFC 7748) on raw 32-byte keys, computed by OpenSSL. */

export const X25519_BYTES = 32;

export interface X25519KeyPair {
  readonly privateKey: KeyObject;
  readonly publicKey: Uint8Array;
}

/** The key pair of a 32-byte secret. */
export function x25519KeyPair(secret: Uint8Array): X25519KeyPair {
  return fromRaw(secret) ?? fromJwk(secret) ?? fromPkcs8(secret);
}

/** The shared secret; null when the peer's key makes it all zero, or is no key. [HS-17] */
export function x25519(privateKey: KeyObject, peerPublicKey: Uint8Array): Uint8Array | null {
  let shared: Uint8Array;
  try {
    shared = diffieHellman({ privateKey, publicKey: publicKeyOf(peerPublicKey) });
  } catch {
    return null; // OpenSSL refuses a zero secret itself
  }
  let bits = 0;
  for (const byte of shared) bits |= byte;
  return bits === 0 ? null : shared;
}

function publicKeyOf(bytes: Uint8Array): KeyObject {
  if (rawKeys !== null) return rawKeys.publicKey('x25519', bytes);
  const x = Buffer.from(bytes).toString('base64url');
  return createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x }, format: 'jwk' });
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
  const key = Buffer.concat([PKCS8_PREFIX, secret]);
  const privateKey = createPrivateKey({ key, format: 'der', type: 'pkcs8' });
  const publicKey = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  return { privateKey, publicKey: new Uint8Array(publicKey.subarray(publicKey.length - X25519_BYTES)) };
}

const UNKNOWN = Buffer.alloc(X25519_BYTES).toString('base64url');
/** PrivateKeyInfo of RFC 8410 up to the 32 key bytes. */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b656e04220420', 'hex');
