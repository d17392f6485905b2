/**
 * A cipher suite: how packets are sealed, under a number on the wire, and how much one key may do. Both suites have keys of 32 bytes, IVs of 12,
 * tags of 16 and SHA-256, so that the key schedule is the same for both. [HS-60]
 */
export interface CipherSuite {
  /** On the wire. */
  readonly id: number;
  readonly name: CipherSuiteName;
  /** Packets that may be sealed under one key: the confidentiality limit of RFC 9001 section 6.6. [PKT-26] */
  readonly sealedMax: number;
}

export type CipherSuiteName = 'chacha20-poly1305' | 'aes-256-gcm';

/** Its limit on sealed packets is above the number of packets that a connection can have. */
export const CHACHA20_POLY1305: CipherSuite = {
  id: 0x01,
  name: 'chacha20-poly1305',
  sealedMax: Number.MAX_SAFE_INTEGER,
};

/** Its limit holds for packets of any size that UDP carries (RFC 9001 appendix B.1). */
export const AES_256_GCM: CipherSuite = {
  id: 0x02,
  name: 'aes-256-gcm',
  sealedMax: 2 ** 23,
};
