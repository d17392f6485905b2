import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { rawKeys } from './raw-keys.ts';

/** Ed25519 (RFC 8032) on raw 32-byte keys, computed by OpenSSL. */

export const ED25519_SEED_BYTES = 32;
export const ED25519_KEY_BYTES = 32;
export const ED25519_SIGNATURE_BYTES = 64;

/** The private key of a 32-byte seed. */
export function ed25519PrivateKey(seed: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: 'der', type: 'pkcs8' });
}

/** The raw public key of a private key. */
export function ed25519PublicKey(privateKey: KeyObject): Uint8Array {
  const key = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  return new Uint8Array(key.subarray(key.length - ED25519_KEY_BYTES));
}

export function ed25519Sign(privateKey: KeyObject, message: Uint8Array): Uint8Array {
  return sign(null, message, privateKey);
}

/** False for a signature or a public key that is wrong or malformed. */
export function ed25519Verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== ED25519_KEY_BYTES || signature.length !== ED25519_SIGNATURE_BYTES) return false;
  try {
    return verify(null, message, publicKeyOf(publicKey), signature);
  } catch {
    return false;
  }
}

function publicKeyOf(bytes: Uint8Array): KeyObject {
  if (rawKeys !== null) return rawKeys.publicKey('ed25519', bytes);
  const x = Buffer.from(bytes).toString('base64url');
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
}

/** PrivateKeyInfo of RFC 8410 up to the 32 key bytes. */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
