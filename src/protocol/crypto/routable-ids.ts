/**
 * Connection ids that say to who has the front secret, and to nobody else, whose they are [FRT-2]: those of draft-ietf-quic-load-balancers-19
 * with a server id of 3 bytes and a nonce of 4. Of 8 bytes the first says which configuration the others are of, and how many they are; these
 * go through a Feistel network of four rounds, each half of 28 bits, with AES as its round function.
 */

import { createCipheriv } from 'node:crypto';
import { NO_BYTES } from '../../base/bytes.ts';
import { type RandomSource, randomBytes } from '../../base/random.ts';
import { expandLabel } from './key-schedule.ts';

/** Writes and reads the ids of one front secret. */
export class RoutableIds {
  private readonly firstOctet: number;
  private readonly cipher: ReturnType<typeof createCipheriv>;
  private readonly block = new Uint8Array(AES_BLOCK_BYTES);

  /** @param configuration - which of seven it is, so that ids of another secret are told apart at a glance */
  constructor(key: Uint8Array, configuration: number) {
    this.firstOctet = (configuration << 5) | ENCRYPTED_BYTES;
    this.cipher = createCipheriv(BLOCK_CIPHER, key, null).setAutoPadding(false);
    this.block[LENGTH_AT] = ENCRYPTED_BYTES;
  }

  /** Those that follow from a front secret. [FRT-1] */
  static of(secret: Uint8Array): RoutableIds {
    const [configuration] = expandLabel(secret, 'front config', NO_BYTES, 1);
    const key = expandLabel(secret, 'front id', NO_BYTES, KEY_BYTES);
    return new RoutableIds(key, configuration % CONFIGURATIONS);
  }

  /**
   * The id of a server's connection.
   *
   * @param serverId - 24 bits
   * @param nonce - 32 bits, which the server has not used before
   */
  encode(serverId: number, nonce: number): Uint8Array {
    let left = ((serverId << 8) | ((nonce >>> 24) & 0xf0)) & LEFT_BITS;
    let right = nonce & RIGHT_BITS;
    right ^= this.round(left, 1) & RIGHT_BITS;
    left ^= this.round(right, 2) & LEFT_BITS;
    right ^= this.round(left, 3) & RIGHT_BITS;
    left ^= this.round(right, 4) & LEFT_BITS;
    return Uint8Array.of(
      this.firstOctet,
      left >>> 24,
      left >>> 16,
      left >>> 8,
      (left & 0xf0) | (right >>> 24),
      right >>> 16,
      right >>> 8,
      right,
    );
  }

  /** The server id in the 8 bytes at `at`; -1 when they are of another configuration. Of bytes that are no such id it is any number. */
  serverIdOf(buffer: Uint8Array, at: number): number {
    if (buffer[at] !== this.firstOctet) return -1;
    const middle = buffer[at + 4];
    let left = (buffer[at + 1] << 24) | (buffer[at + 2] << 16) | (buffer[at + 3] << 8) | (middle & 0xf0);
    let right = ((middle & 0x0f) << 24) | (buffer[at + 5] << 16) | (buffer[at + 6] << 8) | buffer[at + 7];
    left ^= this.round(right, 4) & LEFT_BITS;
    right ^= this.round(left, 3) & RIGHT_BITS;
    left ^= this.round(right, 2) & LEFT_BITS;
    return left >>> 8;
  }

  /** The first bytes of what AES makes of one half and the number of the round. Blocks know nothing of each other in ECB. */
  private round(half: number, pass: number): number {
    const { block } = this;
    block[0] = half >>> 24;
    block[1] = half >>> 16;
    block[2] = half >>> 8;
    block[3] = half;
    block[PASS_AT] = pass;
    const output = this.cipher.update(block);
    return (output[0] << 24) | (output[1] << 16) | (output[2] << 8) | output[3];
  }
}

/** Where a server takes the ids of its connections from, in place of random bytes. */
export interface ConnectionIdSource {
  /** Another id. */
  next(): Uint8Array;
}

/** Those of one server behind a front. [FRT-3] */
export class ServerIdSource implements ConnectionIdSource {
  private readonly ids: RoutableIds;
  private readonly serverId: number;
  private nonce: number;

  constructor(secret: Uint8Array, serverId: number, random: RandomSource) {
    const [a, b, c, d] = randomBytes(random, NONCE_BYTES);
    this.ids = RoutableIds.of(secret);
    this.serverId = serverId;
    this.nonce = (a << 24) | (b << 16) | (c << 8) | d;
  }

  next(): Uint8Array {
    this.nonce = (this.nonce + 1) >>> 0;
    return this.ids.encode(this.serverId, this.nonce);
  }
}

/** Length of such an id, as of every other that is issued here. */
export const ROUTABLE_ID_BYTES = 8;
/** Server ids are below. */
export const SERVER_IDS = 2 ** 24;
export const FRONT_SECRET_BYTES = 32;

const BLOCK_CIPHER = 'aes-128-ecb';
const KEY_BYTES = 16;
const AES_BLOCK_BYTES = 16;
const NONCE_BYTES = 4;
/** What follows the first octet: server id and nonce. */
const ENCRYPTED_BYTES = 7;
/** Of the 8 that three bits have, the last says that an id has no server's. */
const CONFIGURATIONS = 7;
/** Each half in 32 bits, as the draft has them: 28 bits, and 4 that are 0. */
const LEFT_BITS = 0xffff_fff0 | 0;
const RIGHT_BITS = 0x0fff_ffff;
const LENGTH_AT = 14;
const PASS_AT = 15;
