import { assert } from '../../base/errors.ts';
import { PacketType } from '../wire/packet-header.ts';
import type { CipherSuite } from './cipher-suite.ts';
import type { KeyRow } from './packet-table.ts';

/**
 * What protects the packets of one direction in one epoch and phase. Where the native addon serves they are a row for it, from which what it leaves to
 * JavaScript gets keys of its own when that first asks for them: few connections ever do.
 */
export class PacketKeys {
  private ownAead: AeadKey | null;
  private ownIv: Uint8Array | null;
  private ownHeader: HeaderKey | null;
  /** What the others are made from; null where they were given, and when all is wiped. */
  private row: KeyRow | null = null;
  private maker: KeyMaker | null = null;
  /** The type of the packets. */
  readonly epoch: PacketType;
  /** The key phase that their short headers name, 0 or 1. */
  readonly phase: number;
  /** The keys for the native addon; null where it is not to be used. */
  native: KeyRow | null = null;

  /** @param iv - 12 bytes, owned by the keys from now on */
  constructor(
    aead: AeadKey | null,
    iv: Uint8Array | null,
    header: HeaderKey | null,
    epoch: PacketType = PacketType.ONE_RTT,
    phase = 0,
  ) {
    this.ownAead = aead;
    this.ownIv = iv;
    this.ownHeader = header;
    this.epoch = epoch;
    this.phase = phase;
  }

  /** Keys for the native addon. */
  static ofRow(maker: KeyMaker, row: KeyRow, epoch: PacketType, phase: number): PacketKeys {
    const keys = new PacketKeys(null, null, null, epoch, phase);
    keys.row = row;
    keys.maker = maker;
    keys.native = row;
    return keys;
  }

  get aead(): AeadKey {
    this.ownAead ??= this.made((row, maker) => maker.createKey(row.key));
    return this.ownAead;
  }

  get iv(): Uint8Array {
    this.ownIv ??= this.made((row): Uint8Array => row.iv.slice());
    return this.ownIv;
  }

  get header(): HeaderKey {
    this.ownHeader ??= this.made((row, maker) => maker.createHeaderKey(row.headerKey));
    return this.ownHeader;
  }

  /** The keys of the generation after these: with the other phase, and with the same header key. [PKT-18] */
  updated(maker: KeyMaker, key: Uint8Array, iv: Uint8Array): PacketKeys {
    const { epoch, native } = this;
    const phase = 1 - this.phase;
    if (native === null)
      return new PacketKeys(maker.createKey(key), new Uint8Array(iv), this.header, epoch, phase);
    const next = PacketKeys.ofRow(maker, native.updated(maker.suite, key, iv), epoch, phase);
    next.ownHeader = this.ownHeader;
    return next;
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

  /**
   * Zeroes the keys; they cannot be used afterwards.
   * @param heir - what takes their place, and may go on with their header key [PKT-18]
   */
  wipe(heir: PacketKeys | null = null): void {
    this.ownAead?.wipe();
    if (heir === null || heir.ownHeader !== this.ownHeader) this.ownHeader?.wipe();
    this.ownIv?.fill(0);
    this.row?.wipe();
    this.row = null;
    this.native = null;
  }

  private made<T>(make: (row: KeyRow, maker: KeyMaker) => T): T {
    const { maker, row } = this;
    assert(row !== null && maker !== null, 'wiped keys were used');
    return make(row, maker);
  }
}

/** Makes keys of a suite. */
export interface KeyMaker {
  readonly suite: CipherSuite;
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

export const NONCE_BYTES = 12;
const NONCE = new Uint8Array(NONCE_BYTES);
