import { type AeadKey, type HeaderKey, NONCE_BYTES } from './aead.ts';

/** What protects the packets of one direction in one space and phase. */
export class PacketKeys {
  readonly aead: AeadKey;
  readonly iv: Uint8Array;
  readonly header: HeaderKey;

  /** @param iv - 12 bytes, owned by the keys from now on */
  constructor(aead: AeadKey, iv: Uint8Array, header: HeaderKey) {
    this.aead = aead;
    this.iv = iv;
    this.header = header;
  }

  /** The nonce for a packet number, in a buffer that the next call, on any keys, overwrites. [PKT-11] */
  nonceFor(packetNumber: number): Uint8Array {
    const { iv } = this;
    const high = Math.floor(packetNumber / 2 ** 32);
    // The path number is 0, so the first four bytes are those of the IV.
    NONCE[0] = iv[0];
    NONCE[1] = iv[1];
    NONCE[2] = iv[2];
    NONCE[3] = iv[3];
    NONCE[4] = iv[4] ^ (high >>> 24);
    NONCE[5] = iv[5] ^ (high >>> 16);
    NONCE[6] = iv[6] ^ (high >>> 8);
    NONCE[7] = iv[7] ^ high;
    NONCE[8] = iv[8] ^ (packetNumber >>> 24);
    NONCE[9] = iv[9] ^ (packetNumber >>> 16);
    NONCE[10] = iv[10] ^ (packetNumber >>> 8);
    NONCE[11] = iv[11] ^ packetNumber;
    return NONCE;
  }

  /** Zeroes the keys when their space or phase is over; they cannot be used afterwards. */
  wipe(): void {
    this.aead.wipe();
    this.header.wipe();
    this.iv.fill(0);
  }
}

/** The two directions of one space, as one endpoint sees them. */
export interface KeyPair {
  readonly seal: PacketKeys;
  readonly open: PacketKeys;
  /** Zeroes both directions when the space is over. [HS-25] */
  wipe(): void;
}

const NONCE = new Uint8Array(NONCE_BYTES);
