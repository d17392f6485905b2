import { createCipheriv, createDecipheriv, getCiphers } from 'node:crypto';
import { freeNow, LARGE_BUFFER_BYTES } from '../../base/bytes.ts';
import { type AeadKey, type AeadProvider, type HeaderKey, TAG_BYTES } from './aead.ts';
import { ChachaHeaderKey } from './header-key.ts';

/** ChaCha20-Poly1305 from the OpenSSL inside Node. Null where that was built without it. */
export function loadNodeAead(): AeadProvider | null {
  return getCiphers().includes(AEAD) ? new NodeAead() : null;
}

class NodeAead implements AeadProvider {
  readonly name = 'node';

  createKey(key: Uint8Array): AeadKey {
    return new NodeKey(key);
  }

  createHeaderKey(key: Uint8Array): HeaderKey {
    return new ChachaHeaderKey(key);
  }
}

class NodeKey implements AeadKey {
  private key: Uint8Array;

  constructor(key: Uint8Array) {
    this.key = new Uint8Array(key);
  }

  seal(buffer: Uint8Array, adStart: number, start: number, end: number, nonce: Uint8Array): void {
    const cipher = createCipheriv(AEAD, this.key, nonce, TAG_LENGTH);
    if (adStart < start) cipher.setAAD(buffer.subarray(adStart, start), NO_OPTIONS);
    if (start < end) put(buffer, cipher.update(buffer.subarray(start, end)), start);
    cipher.final();
    buffer.set(cipher.getAuthTag(), end);
  }

  open(buffer: Uint8Array, adStart: number, start: number, end: number, nonce: Uint8Array): boolean {
    if (end - start < TAG_BYTES) return false;
    const tagStart = end - TAG_BYTES;
    const decipher = createDecipheriv(AEAD, this.key, nonce, TAG_LENGTH);
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

const AEAD = 'chacha20-poly1305';
const TAG_LENGTH = { authTagLength: TAG_BYTES };
const NO_OPTIONS = { plaintextLength: 0 };
/** Not a key: OpenSSL refuses its length. */
const WIPED = new Uint8Array(0);
