import {
  type Encapsulation,
  type KemKey,
  wipeX25519,
  X25519_BYTES,
  type X25519KeyPair,
  x25519,
  x25519KeyPair,
} from './hybrid-kem.ts';

/**
 * X25519 alone, for handshakes with a ticket: there the post-quantum part of the secret is the ticket's key, which a hybrid handshake has made, and
 * a hello is so small that it fits one datagram with what the application says. [HS-50]
 *
 *     share, ciphertext   X25519 key bytes[32]
 *     secret              X25519 secret bytes[32]
 */

/** A client's ephemeral key pair. */
export class X25519KemKey implements KemKey {
  readonly share: Uint8Array;
  private readonly pair: X25519KeyPair;

  /** @param seed - {@link X25519_BYTES} random bytes */
  constructor(seed: Uint8Array) {
    this.pair = x25519KeyPair(seed);
    this.share = this.pair.publicKey;
  }

  decapsulate(ciphertext: Uint8Array): Uint8Array | null {
    return ciphertext.length === X25519_BYTES ? x25519(this.pair.privateKey, ciphertext) : null;
  }

  wipe(): void {
    wipeX25519(this.pair.privateKey);
  }
}

/**
 * A fresh 32-byte secret for the owner of `share`; null when that is no valid share. [HS-17]
 * @param random - {@link X25519_BYTES} random bytes
 */
export function encapsulateX25519(share: Uint8Array, random: Uint8Array): Encapsulation | null {
  if (share.length !== X25519_BYTES) return null;
  const own = x25519KeyPair(random);
  const secret = x25519(own.privateKey, share);
  wipeX25519(own.privateKey);
  return secret === null ? null : { ciphertext: own.publicKey, secret };
}
