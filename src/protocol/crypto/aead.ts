/** ChaCha20-Poly1305 (RFC 8439) as the packet protection uses it: in place, on a range of a larger buffer. [PKT-10] */

export const KEY_BYTES = 32;
export const NONCE_BYTES = 12;
export const TAG_BYTES = 16;
/** Bytes of ciphertext that header protection samples. */
export const SAMPLE_BYTES = 16;
/** Bytes of a header protection mask. */
export const MASK_BYTES = 5;

export type AeadName = 'sodium' | 'node' | 'noble';

/** One implementation of the cipher. All of them give the same bytes. */
export interface AeadProvider {
  readonly name: AeadName;
  /** A packet key from 32 bytes, which are copied. */
  createKey(key: Uint8Array): AeadKey;
  /** A header protection key from 32 bytes, which are copied. */
  createHeaderKey(key: Uint8Array): HeaderKey;
}

export interface AeadKey {
  /**
   * Encrypts `buffer[start, end)` in place, authenticates it together with `buffer[adStart, start)` and writes the
   * 16-byte tag at `end`.
   * @param nonce - 12 bytes, never used before with this key
   */
  seal(buffer: Uint8Array, adStart: number, start: number, end: number, nonce: Uint8Array): void;
  /**
   * Opens `buffer[start, end)`, whose last 16 bytes are the tag, in place. False when it does not verify; the range is
   * then undefined.
   */
  open(buffer: Uint8Array, adStart: number, start: number, end: number, nonce: Uint8Array): boolean;
  /** Zeroes the key; it cannot be used afterwards. */
  wipe(): void;
}

export interface HeaderKey {
  /** Writes the mask for the 16 bytes of ciphertext at `sampleStart` to the first 5 bytes of `mask`. [PKT-13] */
  mask(buffer: Uint8Array, sampleStart: number, mask: Uint8Array): void;
  /** Zeroes the key; it cannot be used afterwards. */
  wipe(): void;
}
