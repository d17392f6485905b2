import { createHash, type KeyObject, sign, timingSafeEqual, verify } from 'node:crypto';
import { NO_BYTES } from '../../base/bytes.ts';
import { JspError } from '../../base/errors.ts';
import { type RandomSource, randomBytes } from '../../base/random.ts';
import { RESET_TOKEN_BYTES } from '../wire/packet-header.ts';
import { expandLabel, extract, HASH_BYTES, hmac } from './key-schedule.ts';
import {
  ML_DSA_KEY_BYTES,
  ML_DSA_SEED_BYTES,
  ML_DSA_SIGNATURE_BYTES,
  type MlDsa,
  type MlDsaKeyPair,
  nobleMlDsa,
} from './ml-dsa.ts';
import { loadSodium, privateKeyOf, publicKeyOf, rawPublicKey, type Sodium } from './native.ts';

/**
 * The key of stateless resets that follows from an identity: who has that has it, so that a server that is started anew can end what its
 * predecessor began. Null for what only looks like an identity and has no secret. No member, for applications have no use for it. [PKT-22]
 */
export let resetKeyOf: (identity: Identity) => Uint8Array | null;
/** The secret of address tokens that follows from an identity, in the same way: all servers that have it take each other's tokens. [HS-31] */
export let tokenSecretOf: (identity: Identity) => Uint8Array | null;
let deriveKey: (identity: Identity, label: string) => Uint8Array | null;

/**
 * Who an endpoint is: a raw key, named by its fingerprint, as in SSH and WireGuard.
 *
 * Keys, signatures and secrets have one form: entries of `algorithm u8, length u16, bytes`, one for each algorithm of the identity [HS-9]. That
 * is Ed25519, and in a hybrid identity ML-DSA-65 beside it: who wants to be taken for it has to forge both. [HS-26]
 */
export class Identity {
  /** The key as it is sent and hashed: 35 bytes, or 1,990 of a hybrid identity. */
  readonly publicKey: Uint8Array;
  /** SHA-256 of {@link publicKey}: what a client pins. */
  readonly fingerprint: Uint8Array;
  /** It has a second key, ML-DSA-65, that also holds against who has a quantum computer. */
  readonly isHybrid: boolean;
  readonly #seeds: readonly Uint8Array[];
  readonly #privateKey: Ed25519PrivateKey;
  /** Of the ML-DSA half, made by the implementation that was asked for last. */
  #postQuantum: { readonly mlDsa: MlDsa; readonly pair: MlDsaKeyPair } | null = null;

  static {
    resetKeyOf = (identity) => deriveKey(identity, 'stateless reset');
    tokenSecretOf = (identity) => deriveKey(identity, 'address token');
    deriveKey = (identity, label) =>
      #seeds in identity ? derivedKey(entries(identity.#seeds), label) : null;
  }

  private constructor(seeds: readonly Uint8Array[]) {
    this.#seeds = seeds;
    this.#privateKey = ed25519PrivateKey(seeds[0]);
    this.isHybrid = seeds.length === 2;
    const keys = [this.#privateKey.publicKey];
    if (this.isHybrid) keys.push(this.#pairBy(nobleMlDsa).publicKey);
    this.publicKey = entries(keys);
    this.fingerprint = fingerprintOf(this.publicKey);
  }

  /** A new identity. Keep what {@link exportSecret} gives, or it is gone with the process. */
  static generate(random: RandomSource, options: { readonly hybrid?: boolean | undefined } = {}): Identity {
    const seeds = [randomBytes(random, ED25519_SEED_BYTES)];
    if (options.hybrid === true) seeds.push(randomBytes(random, ML_DSA_SEED_BYTES));
    return new Identity(seeds);
  }

  /**
   * The identity that {@link exportSecret} gave.
   * @throws {@link JspError} `ERR_JSP_IDENTITY_INVALID` when the text is no such secret
   */
  static fromSecret(secret: string): Identity {
    const bytes = Buffer.from(secret, 'base64url');
    const seeds = entryValues(bytes, SEED_BYTES);
    if (seeds === null || bytes.toString('base64url') !== secret) {
      throw new JspError(
        'ERR_JSP_IDENTITY_INVALID',
        `an identity's secret is ${SECRET_CHARACTERS} characters of base64url, or ${HYBRID_CHARACTERS} of a hybrid one, as exportSecret() gives it`,
      );
    }
    return new Identity(seeds.map((seed) => seed.slice()));
  }

  /** The secret as text: 47 characters of base64url, or 94 of a hybrid identity. Who has it is this identity. */
  exportSecret(): string {
    return Buffer.from(entries(this.#seeds)).toString('base64url');
  }

  /** {@link fingerprint} as text: 43 characters of base64url. */
  get fingerprintText(): string {
    return Buffer.from(this.fingerprint).toString('base64url');
  }

  /**
   * Signs a transcript hash as the side that `signer` names. [HS-11]
   * @param mlDsa - what a hybrid identity's second signature is computed by
   */
  sign(signer: Signer, transcriptHash: Uint8Array, mlDsa: MlDsa = nobleMlDsa): Uint8Array {
    const content = signedContent(signer, transcriptHash);
    const signatures = [ed25519Sign(this.#privateKey, content)];
    if (this.isHybrid) signatures.push(this.#pairBy(mlDsa).sign(content));
    return entries(signatures);
  }

  #pairBy(mlDsa: MlDsa): MlDsaKeyPair {
    if (this.#postQuantum?.mlDsa !== mlDsa)
      this.#postQuantum = { mlDsa, pair: mlDsa.keyPair(this.#seeds[1]) };
    return this.#postQuantum.pair;
  }
}

/** What a signature is for: one is worth nothing as another. A broker's client signs what its connection exports [AUT-4], in the place of a transcript hash. */
export type Signer = 'client' | 'server' | 'broker client';

/** The fingerprint of a public key in the form of {@link Identity.publicKey}. [HS-9] */
export function fingerprintOf(publicKey: Uint8Array): Uint8Array {
  return createHash('sha256').update(publicKey).digest();
}

/**
 * How others name the same key: the thumbprint of its JWK (RFC 7638), 43 characters of base64url. Empty: it is no key in the form of an identity,
 * or of a hybrid one, which is more than the one key that a JWK has.
 */
export function thumbprintOf(publicKey: Uint8Array): string {
  const keys = entryValues(publicKey, KEY_BYTES);
  if (keys?.length !== 1) return '';
  const jwk = `{"crv":"Ed25519","kty":"OKP","x":"${Buffer.from(keys[0]).toString('base64url')}"}`;
  return createHash('sha256').update(jwk).digest('base64url');
}

/** Compares two values in a time that tells nothing of them but whether they are of one length. */
export function equalSecrets(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && timingSafeEqual(one, other);
}

/**
 * True when `signature` over a transcript hash is that of `publicKey`, both in the form of {@link Identity}: all the signatures of a hybrid
 * one. False also when either has an unknown algorithm or is malformed, or they are not of the same algorithms. [HS-12] [HS-26]
 */
export function verifyIdentity(
  publicKey: Uint8Array,
  signer: Signer,
  transcriptHash: Uint8Array,
  signature: Uint8Array,
  mlDsa: MlDsa = nobleMlDsa,
): boolean {
  const keys = entryValues(publicKey, KEY_BYTES);
  const values = entryValues(signature, SIGNATURE_BYTES);
  if (keys === null || values?.length !== keys.length) return false;
  const content = signedContent(signer, transcriptHash);
  if (!ed25519Verify(keys[0], content, values[0])) return false;
  return keys.length === 1 || mlDsa.verify(keys[1], content, values[1]);
}

/** The token that ends the connection whose server gave it this id. [PKT-22] */
export function resetToken(resetKey: Uint8Array, id: Uint8Array): Uint8Array {
  return hmac(resetKey, id).subarray(0, RESET_TOKEN_BYTES);
}

/** @param secret - in the form of an exported secret; zeroed */
function derivedKey(secret: Uint8Array, label: string): Uint8Array {
  const extracted = extract(ZEROS, secret);
  const key = expandLabel(extracted, label, NO_BYTES, HASH_BYTES);
  secret.fill(0);
  extracted.fill(0);
  return key;
}

/** As RFC 8446 section 4.4.3: blanks, a context that names protocol and signer, a zero byte, the hash. */
function signedContent(signer: Signer, transcriptHash: Uint8Array): Uint8Array {
  return Buffer.concat([CONTEXTS[signer], transcriptHash]);
}

/** One entry for each algorithm: of Ed25519 and, where there is a second value, of ML-DSA-65. */
function entries(values: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(values.reduce((sum, value) => sum + ENTRY_HEADER_BYTES + value.length, 0));
  let at = 0;
  for (const [i, value] of values.entries()) {
    bytes.set([ALGORITHMS[i], value.length >> 8, value.length], at);
    bytes.set(value, at + ENTRY_HEADER_BYTES);
    at += ENTRY_HEADER_BYTES + value.length;
  }
  return bytes;
}

/**
 * The values of the entries that `bytes` must be: one of Ed25519, or that and one of ML-DSA-65; null when they are anything else.
 * @param lengths - of the value of each algorithm
 */
function entryValues(bytes: Uint8Array, lengths: readonly number[]): Uint8Array[] | null {
  const values: Uint8Array[] = [];
  let at = 0;
  for (const [i, length] of lengths.entries()) {
    if (i > 0 && at === bytes.length) break;
    const isEntry =
      bytes[at] === ALGORITHMS[i] && bytes[at + 1] === length >> 8 && bytes[at + 2] === (length & 0xff);
    const end = at + ENTRY_HEADER_BYTES + length;
    if (!isEntry || end > bytes.length) return null;
    values.push(bytes.subarray(at + ENTRY_HEADER_BYTES, end));
    at = end;
  }
  return at === bytes.length ? values : null;
}

// ---- Ed25519 (RFC 8032) on raw 32-byte keys ----

/** A private key, in the form that each of the libraries takes. */
export interface Ed25519PrivateKey {
  readonly openssl: KeyObject;
  /** Seed and public key, for libsodium. */
  readonly secretKey: Uint8Array;
  readonly publicKey: Uint8Array;
}

/** The Ed25519 private key of a 32-byte seed. */
export function ed25519PrivateKey(seed: Uint8Array): Ed25519PrivateKey {
  const openssl = privateKeyOf(ED25519_PREFIX, seed);
  const publicKey = rawPublicKey(openssl);
  const secretKey = new Uint8Array(ED25519_SEED_BYTES + ED25519_KEY_BYTES);
  secretKey.set(seed);
  secretKey.set(publicKey, ED25519_SEED_BYTES);
  return { openssl, secretKey, publicKey };
}

/** By libsodium, in half the time that OpenSSL takes (30 us for 60), where that is there; the signature is the same. */
export function ed25519Sign(
  { openssl, secretKey }: Ed25519PrivateKey,
  message: Uint8Array,
  sodium: Sodium | null = loadSodium(),
): Uint8Array {
  if (sodium === null) return sign(null, message, openssl);
  const signature = new Uint8Array(ED25519_SIGNATURE_BYTES);
  sodium.crypto_sign_detached(signature, message, secretKey);
  return signature;
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
/** Ed25519 and ML-DSA-65. */
const ALGORITHMS = [0x01, 0x02] as const;
const SEED_BYTES = [ED25519_SEED_BYTES, ML_DSA_SEED_BYTES] as const;
const KEY_BYTES = [ED25519_KEY_BYTES, ML_DSA_KEY_BYTES] as const;
const SIGNATURE_BYTES = [ED25519_SIGNATURE_BYTES, ML_DSA_SIGNATURE_BYTES] as const;
const ENTRY_HEADER_BYTES = 3;
const SECRET_CHARACTERS = 47;
const HYBRID_CHARACTERS = 94;
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
