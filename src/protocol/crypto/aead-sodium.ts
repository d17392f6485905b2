import { createRequire } from 'node:module';
import { type AeadKey, type AeadProvider, type HeaderKey, TAG_BYTES } from './aead.ts';
import { ChachaHeaderKey } from './header-key.ts';

/**
 * ChaCha20-Poly1305 from libsodium, the fastest of the three. Null where the optional `sodium-native` is not installed or
 * has no binary for this machine.
 */
export function loadSodiumAead(): AeadProvider | null {
  try {
    return new SodiumAead(createRequire(import.meta.url)('sodium-native') as Sodium);
  } catch {
    return null;
  }
}

/** What is used of `sodium-native`, which has no types of its own. */
interface Sodium {
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
}

class SodiumAead implements AeadProvider {
  readonly name = 'sodium';
  private readonly sodium: Sodium;

  constructor(sodium: Sodium) {
    this.sodium = sodium;
  }

  createKey(key: Uint8Array): AeadKey {
    return new SodiumKey(this.sodium, key);
  }

  createHeaderKey(key: Uint8Array): HeaderKey {
    return new ChachaHeaderKey(key);
  }
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

/** Longer headers exist only while a connection is set up. */
const COPIED_HEADER_BYTES_MAX = 32;
const HEADERS: (Uint8Array | null)[] = new Array(COPIED_HEADER_BYTES_MAX + 1).fill(null);
/** Not a key: libsodium refuses its length. */
const WIPED = new Uint8Array(0);
