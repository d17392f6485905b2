/**
 * libsodium, by way of the optional `sodium-native`: the fastest for short packets, curve operations and hashes. Node's own functions come to
 * OpenSSL by key objects, one of which costs as much as the operation itself, or several times that where Node learns by exceptions of what
 * kind a key is (24 and newer).
 */

import { createRequire } from 'node:module';

/** What is used of `sodium-native`, which has no types of its own. All sizes have to be right, or it throws. */
export interface Sodium {
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
  crypto_scalarmult_base: (publicKey: Uint8Array, secret: Uint8Array) => void;
  /** Throws when the result is zero. */
  crypto_scalarmult: (shared: Uint8Array, secret: Uint8Array, peerPublicKey: Uint8Array) => void;
  crypto_sign_verify_detached: (signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array) => boolean;
  crypto_hash_sha256: (out: Uint8Array, data: Uint8Array) => void;
}

/** Null where the package is not installed, or has no binary for this machine. */
export function loadSodium(): Sodium | null {
  if (loaded === undefined) {
    try {
      loaded = createRequire(import.meta.url)('sodium-native') as Sodium;
    } catch {
      loaded = null;
    }
  }
  return loaded;
}

let loaded: Sodium | null | undefined;
