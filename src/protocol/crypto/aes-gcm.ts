import { createCipheriv, getCiphers } from 'node:crypto';
import { assert } from '../../base/errors.ts';
import { type AeadProvider, nativeProvider, OpensslKey, sealsAs } from './aead.ts';
import { AES_256_GCM } from './cipher-suite.ts';
import type { HeaderKey } from './packet-keys.ts';
import { KEY_BYTES, MASK_BYTES, SAMPLE_BYTES } from './packet-protection.ts';

/**
 * AES-256-GCM (NIST SP 800-38D), with header protection by AES-256 (RFC 9001 section 5.4.3), of the OpenSSL inside Node alone: it is worth its
 * while where the processor computes AES, and in JavaScript its tables would tell the key to who measures the time. [PKT-10]
 *
 * Null where OpenSSL was built without it.
 * @param isNative - by way of the native addon, where that serves
 */
export function loadAesGcm(isNative = false): AeadProvider | null {
  if (loaded === undefined) {
    const ciphers = getCiphers();
    const isThere = ciphers.includes(AEAD) && ciphers.includes(BLOCK_CIPHER);
    loaded = isThere && sealsAs(PROVIDER, PROBE_SEALED) ? PROVIDER : null;
  }
  if (!isNative || loaded === null) return loaded;
  native ??= nativeProvider(loaded);
  return native ?? loaded;
}

/**
 * A mask is the first bytes of the sample's ciphertext. One cipher does for all packets: blocks know nothing of each other in ECB. It is made with the first
 * mask, for where the native addon serves most connections never ask for one.
 */
class AesHeaderKey implements HeaderKey {
  private key: Uint8Array;
  private cipher: ReturnType<typeof createCipheriv> | null = null;

  /** @param key - 32 bytes, which are copied */
  constructor(key: Uint8Array) {
    if (key.length !== KEY_BYTES)
      throw new RangeError(`a header key has ${KEY_BYTES} bytes, not ${key.length}`);
    this.key = new Uint8Array(key);
  }

  mask(buffer: Uint8Array, sampleStart: number, mask: Uint8Array): void {
    assert(this.key.length !== 0, 'a wiped header key was used');
    this.cipher ??= createCipheriv(BLOCK_CIPHER, this.key, null).setAutoPadding(false);
    const block = this.cipher.update(buffer.subarray(sampleStart, sampleStart + SAMPLE_BYTES));
    for (let i = 0; i < MASK_BYTES; i++) mask[i] = block[i];
  }

  /** OpenSSL zeroes its own copy when the cipher is collected. */
  wipe(): void {
    this.key.fill(0);
    this.key = WIPED;
    this.cipher = null;
  }
}

const AEAD = 'aes-256-gcm';
const BLOCK_CIPHER = 'aes-256-ecb';
const WIPED = new Uint8Array(0);
const PROVIDER: AeadProvider = {
  name: 'node',
  suite: AES_256_GCM,
  createKey: (key) => new OpensslKey(AEAD, key),
  createHeaderKey: (key) => new AesHeaderKey(key),
};
/** Four zero bytes of associated data, then eight zero bytes sealed under the zero key and nonce. */
const PROBE_SEALED = '00000000cea7403d4d606b6e0942d0d5d3069f1a916ca6c80ab3b008';
let loaded: AeadProvider | null | undefined;
let native: AeadProvider | null = null;
