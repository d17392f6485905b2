import { createCipheriv, createDecipheriv, getCiphers } from 'node:crypto';
import { chacha20poly1305 } from '@noble/ciphers/chacha.js';
import { freeNow, LARGE_BUFFER_BYTES } from '../../base/bytes.ts';
import { JspError } from '../../base/errors.ts';
import { nativeAddon, whyNotNative } from '../../base/native-addon.ts';
import { TAG_BYTES } from '../wire/packet-header.ts';
import { CHACHA20_POLY1305 } from './cipher-suite.ts';
import { loadSodium, type Sodium } from './native.ts';
import type { AeadKey, KeyMaker } from './packet-keys.ts';
import { ChachaHeaderKey } from './packet-protection.ts';

/**
 * ChaCha20-Poly1305 (RFC 8439), of which there are four implementations: the native addon's, libsodium, the OpenSSL inside Node, and one
 * in JavaScript. All give the same bytes; {@link chooseAead} finds the fastest that this machine has. [PKT-10]
 */

/** One implementation of a cipher suite: of this one, or of AES-256-GCM. */
export interface AeadProvider extends KeyMaker {
  readonly name: AeadName;
  /** Packets are sealed and opened by the native addon, and only those that it leaves by these keys. Default false. */
  readonly isNative?: boolean;
}

export type AeadName = 'native' | 'sodium' | 'node' | 'noble';
export type OpensslCipher = 'chacha20-poly1305' | 'aes-256-gcm';
export type AeadPreference = 'auto' | AeadName;

/**
 * The cipher implementation to use: the named one, or with `'auto'` the fastest of those that load (the native addon; else `sodium-native`, but
 * `node:crypto` for packets of 12 KB and more; else `node:crypto`, else `@noble/ciphers`).
 * @throws {@link JspError} `ERR_JSP_AEAD_UNAVAILABLE` when the named one does not load here
 */
export function chooseAead(preference: AeadPreference = 'auto'): AeadProvider {
  if (preference !== 'auto') {
    const named = load(preference);
    if (named !== null) return named;
    throw new JspError(
      'ERR_JSP_AEAD_UNAVAILABLE',
      `the cipher implementation '${preference}' is not available here: ${remedyFor(preference)}`,
    );
  }
  fastest ??= load('native') ?? chooseFastest();
  return fastest;
}

/** Of those that take one packet at a time. */
function chooseFastest(): AeadProvider {
  const sodium = load('sodium');
  const node = load('node');
  if (sodium !== null && node !== null) return aeadBySize(sodium, node, LONG_PACKET_BYTES);
  return sodium ?? node ?? loadNobleAead();
}

function load(name: AeadName): AeadProvider | null {
  let provider = LOADED.get(name);
  if (provider === undefined) {
    const loader = Object.hasOwn(LOADERS, name) ? LOADERS[name] : null;
    if (loader === null)
      throw new TypeError(
        `aead must be 'auto', 'native', 'sodium', 'node' or 'noble', not '${String(name)}'`,
      );
    provider = loader();
    if (provider !== null && !sealsAs(provider, PROBE_SEALED)) provider = null;
    LOADED.set(name, provider);
  }
  return provider;
}

/**
 * A native module that loads but answers wrongly must not carry traffic: it seals one known packet first.
 * @param sealed - what comes of it, in hex
 */
export function sealsAs(provider: AeadProvider, sealed: string): boolean {
  try {
    const buffer = new Uint8Array(PROBE_BYTES + TAG_BYTES);
    const key = provider.createKey(new Uint8Array(32));
    key.seal(buffer, 0, 4, PROBE_BYTES, PROBE_NONCE);
    return (
      Buffer.from(buffer).toString('hex') === sealed && key.open(buffer, 0, 4, buffer.length, PROBE_NONCE)
    );
  } catch {
    return false;
  }
}

// ---- the implementations ----

/** Header keys are the same for all: a block in JavaScript costs less than a call into a library. */
function chachaProvider(name: AeadName, createKey: (key: Uint8Array) => AeadKey): AeadProvider {
  return { name, suite: CHACHA20_POLY1305, createKey, createHeaderKey: (key) => new ChachaHeaderKey(key) };
}

/** `short` for short packets, `long` for those of `longBytes` and more. */
export function aeadBySize(short: AeadProvider, long: AeadProvider, longBytes: number): AeadProvider {
  return chachaProvider(
    short.name,
    (key) => new KeyBySize(short.createKey(key), long.createKey(key), longBytes),
  );
}

class KeyBySize implements AeadKey {
  private readonly short: AeadKey;
  private readonly long: AeadKey;
  private readonly longBytes: number;

  constructor(short: AeadKey, long: AeadKey, longBytes: number) {
    this.short = short;
    this.long = long;
    this.longBytes = longBytes;
  }

  seal(buffer: Uint8Array, adStart: number, start: number, end: number, nonce: Uint8Array): void {
    const key = end - start < this.longBytes ? this.short : this.long;
    key.seal(buffer, adStart, start, end, nonce);
  }

  open(buffer: Uint8Array, adStart: number, start: number, end: number, nonce: Uint8Array): boolean {
    const key = end - start < this.longBytes ? this.short : this.long;
    return key.open(buffer, adStart, start, end, nonce);
  }

  wipe(): void {
    this.short.wipe();
    this.long.wipe();
  }
}

/**
 * What has a whole packet sealed or opened by the native addon, header protection included, and most of them many at a time: 1.3 us for one of 1,452 bytes
 * with ChaCha20 and 0.75 us with AES-256, where libsodium takes 2.3 us and a call into OpenSSL for each packet 6 us. Null where the addon does not serve.
 */
export function nativeProvider(forOthers: AeadProvider): AeadProvider | null {
  if (nativeAddon() === null) return null;
  return {
    name: 'native',
    suite: forOthers.suite,
    isNative: true,
    createKey: (key) => forOthers.createKey(key),
    createHeaderKey: (key) => forOthers.createHeaderKey(key),
  };
}

/**
 * ChaCha20-Poly1305 from libsodium, the fastest that takes one packet at a time. Null where the optional `sodium-native` is not installed or
 * has no binary for this machine.
 */
function loadSodiumAead(): AeadProvider | null {
  const sodium = loadSodium();
  return sodium === null ? null : chachaProvider('sodium', (key) => new SodiumKey(sodium, key));
}

class SodiumKey implements AeadKey {
  private readonly encrypt: Sodium['crypto_aead_chacha20poly1305_ietf_encrypt'];
  private readonly decrypt: Sodium['crypto_aead_chacha20poly1305_ietf_decrypt'];
  private key: Uint8Array;

  constructor(sodium: Sodium, key: Uint8Array) {
    this.encrypt = sodium.crypto_aead_chacha20poly1305_ietf_encrypt;
    this.decrypt = sodium.crypto_aead_chacha20poly1305_ietf_decrypt;
    this.key = new Uint8Array(key);
  }

  seal(buffer: Uint8Array, adStart: number, start: number, end: number, nonce: Uint8Array): void {
    // libsodium's combined mode writes over its input when both begin at the same address.
    const memory = buffer.buffer;
    const at = buffer.byteOffset + start;
    const message = new Uint8Array(memory, at, end - start);
    const sealed = new Uint8Array(memory, at, end - start + TAG_BYTES);
    this.encrypt(sealed, message, headerOf(buffer, adStart, start), null, nonce, this.key);
  }

  open(buffer: Uint8Array, adStart: number, start: number, end: number, nonce: Uint8Array): boolean {
    if (end - start < TAG_BYTES) return false;
    const memory = buffer.buffer;
    const at = buffer.byteOffset + start;
    const message = new Uint8Array(memory, at, end - start - TAG_BYTES);
    const sealed = new Uint8Array(memory, at, end - start);
    const header = headerOf(buffer, adStart, start);
    try {
      this.decrypt(message, null, sealed, header, nonce, this.key);
      return true;
    } catch {
      return false;
    }
  }

  wipe(): void {
    this.key.fill(0);
    this.key = WIPED;
  }
}

/** The header's bytes, in a reused buffer of that length: copying a dozen bytes is cheaper than another view. */
function headerOf(buffer: Uint8Array, start: number, end: number): Uint8Array | null {
  const length = end - start;
  if (length === 0) return null;
  if (length > COPIED_HEADER_BYTES_MAX)
    return new Uint8Array(buffer.buffer, buffer.byteOffset + start, length);
  HEADERS[length] ??= new Uint8Array(length);
  const header = HEADERS[length];
  for (let i = 0; i < length; i++) header[i] = buffer[start + i];
  return header;
}

/** ChaCha20-Poly1305 from the OpenSSL inside Node. Null where that was built without it. */
function loadNodeAead(): AeadProvider | null {
  return getCiphers().includes(AEAD) ? chachaProvider('node', (key) => new OpensslKey(AEAD, key)) : null;
}

/** A key of one of OpenSSL's ciphers with associated data. */
export class OpensslKey implements AeadKey {
  private readonly cipher: OpensslCipher;
  private key: Uint8Array;

  constructor(cipher: OpensslCipher, key: Uint8Array) {
    this.cipher = cipher;
    this.key = new Uint8Array(key);
  }

  seal(buffer: Uint8Array, adStart: number, start: number, end: number, nonce: Uint8Array): void {
    const cipher = createCipheriv(this.cipher as 'chacha20-poly1305', this.key, nonce, TAG_LENGTH);
    if (adStart < start) cipher.setAAD(buffer.subarray(adStart, start), NO_OPTIONS);
    if (start < end) put(buffer, cipher.update(buffer.subarray(start, end)), start);
    cipher.final();
    buffer.set(cipher.getAuthTag(), end);
  }

  open(buffer: Uint8Array, adStart: number, start: number, end: number, nonce: Uint8Array): boolean {
    if (end - start < TAG_BYTES) return false;
    const tagStart = end - TAG_BYTES;
    const decipher = createDecipheriv(this.cipher as 'chacha20-poly1305', this.key, nonce, TAG_LENGTH);
    decipher.setAuthTag(buffer.subarray(tagStart, end));
    if (adStart < start) decipher.setAAD(buffer.subarray(adStart, start), NO_OPTIONS);
    const opened = start < tagStart ? decipher.update(buffer.subarray(start, tagStart)) : null;
    try {
      decipher.final();
    } catch {
      return false;
    }
    if (opened !== null) put(buffer, opened, start);
    return true;
  }

  wipe(): void {
    this.key.fill(0);
    this.key = WIPED;
  }
}

/** OpenSSL's results come in memory of their own. */
function put(buffer: Uint8Array, result: Uint8Array, at: number): void {
  buffer.set(result, at);
  if (result.length >= LARGE_BUFFER_BYTES) freeNow(result);
}

/** ChaCha20-Poly1305 in JavaScript: slow, and there is nothing it needs from the machine. */
function loadNobleAead(): AeadProvider {
  return chachaProvider('noble', (key) => new NobleKey(key));
}

class NobleKey implements AeadKey {
  private key: Uint8Array;

  constructor(key: Uint8Array) {
    this.key = new Uint8Array(key);
  }

  seal(buffer: Uint8Array, adStart: number, start: number, end: number, nonce: Uint8Array): void {
    const cipher = chacha20poly1305(this.key, nonce, buffer.subarray(adStart, start));
    cipher.encrypt(buffer.subarray(start, end), buffer.subarray(start, end + TAG_BYTES));
  }

  open(buffer: Uint8Array, adStart: number, start: number, end: number, nonce: Uint8Array): boolean {
    if (end - start < TAG_BYTES) return false;
    const cipher = chacha20poly1305(this.key, nonce, buffer.subarray(adStart, start));
    try {
      cipher.decrypt(buffer.subarray(start, end), buffer.subarray(start, end - TAG_BYTES));
      return true;
    } catch {
      return false;
    }
  }

  wipe(): void {
    this.key.fill(0);
    this.key = WIPED;
  }
}

function remedyFor(name: AeadName): string {
  if (name !== 'native') return REMEDY[name];
  return `the addon does not serve (${whyNotNative()}); 'npm run native' builds it in a clone, or choose 'auto'`;
}

const LOADERS: Record<AeadName, () => AeadProvider | null> = {
  native: () => nativeProvider(chooseFastest()),
  sodium: loadSodiumAead,
  node: loadNodeAead,
  noble: loadNobleAead,
};
let fastest: AeadProvider | null = null;
const LOADED = new Map<AeadName, AeadProvider | null>();
const REMEDY: Record<Exclude<AeadName, 'native'>, string> = {
  sodium: "install the optional dependency 'sodium-native', or choose 'auto'",
  node: "this Node was built without chacha20-poly1305; choose 'auto'",
  noble: "choose 'auto'",
};
/**
 * From here on OpenSSL (9 us a packet and 0.25 us a KB with AVX-512, half the speed with AVX2) is ahead of libsodium (1 us and 1 us).
 */
const LONG_PACKET_BYTES = 12_288;
const PROBE_BYTES = 12;
const PROBE_NONCE = new Uint8Array(12);
/** Four zero bytes of associated data, then eight zero bytes sealed under the zero key and nonce. */
const PROBE_SEALED = '000000009f07e7be5551387a5e9314c6395188c1724f994d7592fe08';
/** Longer headers exist only while a connection is set up. */
const COPIED_HEADER_BYTES_MAX = 32;
const HEADERS: (Uint8Array | null)[] = new Array(COPIED_HEADER_BYTES_MAX + 1).fill(null);
const AEAD = 'chacha20-poly1305';
const TAG_LENGTH = { authTagLength: TAG_BYTES };
const NO_OPTIONS = { plaintextLength: 0 };
/** Not a key: every implementation refuses its length. */
const WIPED = new Uint8Array(0);
