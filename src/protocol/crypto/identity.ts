import { createHash, type KeyObject, sign, timingSafeEqual, verify } from 'node:crypto';
import { NO_BYTES } from '../../base/bytes.ts';
import { JspError } from '../../base/errors.ts';
import { type RandomSource, randomBytes } from '../../base/random.ts';
import { RESET_TOKEN_BYTES } from '../wire/packet-header.ts';
import { expandLabel, extract, HASH_BYTES, hmac } from './key-schedule.ts';
import { loadSodium, privateKeyOf, publicKeyOf, rawPublicKey } from './native.ts';

/**
 * The key of stateless resets that follows from an identity: who has that has it, so that a server that is started anew can end what its
 * predecessor began. Null for what only looks like an identity and has no secret. No member, for applications have no use for it. [PKT-22]
 */
export let resetKeyOf: (identity: Identity) => Uint8Array | null;

/**
 * Who an endpoint is: a raw key, named by its fingerprint, as in SSH and WireGuard.
 *
 * Keys, signatures and secrets have one form: entries of `algorithm u8, length u16, bytes`, one for each algorithm of the
 * identity. There is one algorithm now, Ed25519. [HS-9]
 */
export class Identity {
  /** The key as it is sent and hashed: 35 bytes. */
  readonly publicKey: Uint8Array;
  /** SHA-256 of {@link publicKey}: what a client pins. */
  readonly fingerprint: Uint8Array;
  readonly #seed: Uint8Array;
  readonly #privateKey: KeyObject;

  static {
    resetKeyOf = (identity) => (#seed in identity ? deriveResetKey(entry(identity.#seed)) : null);
  }

  private constructor(seed: Uint8Array) {
    this.#seed = seed;
    this.#privateKey = ed25519PrivateKey(seed);
    this.publicKey = entry(rawPublicKey(this.#privateKey));
    this.fingerprint = fingerprintOf(this.publicKey);
  }

  /** A new identity. Keep what {@link exportSecret} gives, or it is gone with the process. */
  static generate(random: RandomSource): Identity {
    return new Identity(randomBytes(random, ED25519_SEED_BYTES));
  }

  /**
   * The identity that {@link exportSecret} gave.
   * @throws {@link JspError} `ERR_JSP_IDENTITY_INVALID` when the text is no such secret
   */
  static fromSecret(secret: string): Identity {
    const bytes = Buffer.from(secret, 'base64url');
    const seed = entryValue(bytes, ED25519_SEED_BYTES);
    if (seed === null || bytes.toString('base64url') !== secret) {
      throw new JspError(
        'ERR_JSP_IDENTITY_INVALID',
        `an identity's secret is ${SECRET_CHARACTERS} characters of base64url, as exportSecret() gives it`,
      );
    }
    return new Identity(seed.slice());
  }

  /** The secret as text (47 characters of base64url). Who has it is this identity. */
  exportSecret(): string {
    return Buffer.from(entry(this.#seed)).toString('base64url');
  }

  /** {@link fingerprint} as text: 43 characters of base64url. */
  get fingerprintText(): string {
    return Buffer.from(this.fingerprint).toString('base64url');
  }

  /** Signs a transcript hash as the side that `signer` names. [HS-11] */
  sign(signer: Signer, transcriptHash: Uint8Array): Uint8Array {
    return entry(ed25519Sign(this.#privateKey, signedContent(signer, transcriptHash)));
  }
}

/** What a signature is for: one is worth nothing as another. A broker's client signs what its connection exports [AUT-4], in the place of a transcript hash. */
export type Signer = 'client' | 'server' | 'broker client';

/** The fingerprint of a public key in the form of {@link Identity.publicKey}. [HS-9] */
export function fingerprintOf(publicKey: Uint8Array): Uint8Array {
  return createHash('sha256').update(publicKey).digest();
}

/** How others name the same key: the thumbprint of its JWK (RFC 7638), 43 characters of base64url. Empty: it is no key in the form of an identity. */
export function thumbprintOf(publicKey: Uint8Array): string {
  const key = entryValue(publicKey, ED25519_KEY_BYTES);
  if (key === null) return '';
  const jwk = `{"crv":"Ed25519","kty":"OKP","x":"${Buffer.from(key).toString('base64url')}"}`;
  return createHash('sha256').update(jwk).digest('base64url');
}

/** Compares two values of 32 bytes in constant time. */
export function equalSecrets(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && timingSafeEqual(one, other);
}

/**
 * True when `signature` over a transcript hash is that of `publicKey`, both in the form of {@link Identity}. False also when
 * either has an unknown algorithm or is malformed. [HS-12]
 */
export function verifyIdentity(
  publicKey: Uint8Array,
  signer: Signer,
  transcriptHash: Uint8Array,
  signature: Uint8Array,
): boolean {
  const key = entryValue(publicKey, ED25519_KEY_BYTES);
  const value = entryValue(signature, ED25519_SIGNATURE_BYTES);
  return key !== null && value !== null && ed25519Verify(key, signedContent(signer, transcriptHash), value);
}

/** The token that ends the connection whose server gave it this id. [PKT-22] */
export function resetToken(resetKey: Uint8Array, id: Uint8Array): Uint8Array {
  return hmac(resetKey, id).subarray(0, RESET_TOKEN_BYTES);
}

/** @param secret - in the form of an exported secret; zeroed */
function deriveResetKey(secret: Uint8Array): Uint8Array {
  const extracted = extract(ZEROS, secret);
  const key = expandLabel(extracted, 'stateless reset', NO_BYTES, HASH_BYTES);
  secret.fill(0);
  extracted.fill(0);
  return key;
}

/** As RFC 8446 section 4.4.3: blanks, a context that names protocol and signer, a zero byte, the hash. */
function signedContent(signer: Signer, transcriptHash: Uint8Array): Uint8Array {
  return Buffer.concat([CONTEXTS[signer], transcriptHash]);
}

function entry(value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(ENTRY_HEADER_BYTES + value.length);
  bytes[0] = ALGORITHM_ED25519;
  bytes[2] = value.length;
  bytes.set(value, ENTRY_HEADER_BYTES);
  return bytes;
}

/** The value of the one entry that `bytes` must be; null when they are anything else. */
function entryValue(bytes: Uint8Array, length: number): Uint8Array | null {
  const isEntry =
    bytes.length === ENTRY_HEADER_BYTES + length &&
    bytes[0] === ALGORITHM_ED25519 &&
    bytes[1] === 0 &&
    bytes[2] === length;
  return isEntry ? bytes.subarray(ENTRY_HEADER_BYTES) : null;
}

// ---- Ed25519 (RFC 8032) on raw 32-byte keys ----

/** The Ed25519 private key of a 32-byte seed. */
export function ed25519PrivateKey(seed: Uint8Array): KeyObject {
  return privateKeyOf(ED25519_PREFIX, seed);
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
    // libsodium looks for that itself.
    return !hasSmallOrder(publicKey) && verify(null, message, publicKeyOf('ed25519', publicKey), signature);
  } catch {
    return false;
  }
}

/** Whether a key is one of the few points for which nobody need know a secret: anybody could sign as such an identity. [HS-12] */
function hasSmallOrder(publicKey: Uint8Array): boolean {
  const y = Buffer.from(publicKey);
  y[ED25519_KEY_BYTES - 1] &= 0x7f; // without the sign of x
  return SMALL_ORDER.includes(y.toString('hex'));
}

export const ED25519_SEED_BYTES = 32;
export const ED25519_KEY_BYTES = 32;
export const ED25519_SIGNATURE_BYTES = 64;
export const RESET_KEY_BYTES = 32;
const ZEROS = new Uint8Array(HASH_BYTES);
const ALGORITHM_ED25519 = 0x01;
const ENTRY_HEADER_BYTES = 3;
const SECRET_CHARACTERS = 47;
const CONTEXTS: Record<Signer, Uint8Array> = {
  client: Buffer.from(`${' '.repeat(64)}JetStreamProto 1 client identity\0`),
  server: Buffer.from(`${' '.repeat(64)}JetStreamProto 1 server identity\0`),
  'broker client': Buffer.from(`${' '.repeat(64)}JetStreamProto 1 broker client identity\0`),
};
/** PrivateKeyInfo of RFC 8410 up to the 32 key bytes. */
const ED25519_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
/** The y of the points whose order divides 8, also beyond the prime. */
const SMALL_ORDER: readonly string[] = [
  '00'.repeat(32),
  `01${'00'.repeat(31)}`,
  `ec${'ff'.repeat(30)}7f`,
  `ed${'ff'.repeat(30)}7f`,
  `ee${'ff'.repeat(30)}7f`,
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
];
