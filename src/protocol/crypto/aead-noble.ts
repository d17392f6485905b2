import { chacha20poly1305 } from '@noble/ciphers/chacha.js';
import { type AeadKey, type AeadProvider, type HeaderKey, TAG_BYTES } from './aead.ts';
import { ChachaHeaderKey } from './header-key.ts';

/** ChaCha20-Poly1305 in JavaScript: slow, and there is nothing it needs from the machine. */
export function loadNobleAead(): AeadProvider {
  return new NobleAead();
}

class NobleAead implements AeadProvider {
  readonly name = 'noble';

  createKey(key: Uint8Array): AeadKey {
    return new NobleKey(key);
  }

  createHeaderKey(key: Uint8Array): HeaderKey {
    return new ChachaHeaderKey(key);
  }
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

/** Not a key: the cipher refuses its length. */
const WIPED = new Uint8Array(0);
