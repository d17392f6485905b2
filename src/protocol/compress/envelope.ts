/**
 * The envelope of a message: one byte in front of it that says how its bytes are to be opened, and behind that, where the byte says so, the
 * hash of a dictionary. It is the first part of the message's bytes, so that whoever only hands the message on need not know of it. [CMP-2]
 *
 *     0x00          stored: the message follows as it is
 *     0x01          an LZ4 block follows
 *     0x03          the hash of a dictionary (8 bytes), then an LZ4 block made with it
 *     0x05 + 16 n   an LZ4 block follows, made with the dictionary that is number n of the receiver's transport parameters
 *     + 0x08        what follows is DEFLATE data instead of an LZ4 block
 */

import { Buffer } from 'node:buffer';
import { hexOf, shortLivedBuffer } from '../../base/bytes.ts';
import type { Lz4Codec } from './codec.ts';
import { DEFLATE_BYTES_MAX, deflateTo, inflateFrom } from './deflate.ts';
import { type Dictionary, type DictionarySet, HASH_BYTES } from './dictionary.ts';
import { inflatedLength, TOO_LONG } from './lz4-block.ts';

/** How messages are compressed. */
export const CompressionMethod = {
  /** LZ4 blocks: fast. */
  LZ4: 0,
  /** DEFLATE data (RFC 1951): smaller. Only of messages up to `DEFLATE_BYTES_MAX`, for it is slow. [CMP-12] */
  DEFLATE: 1,
} as const;
export type CompressionMethod = (typeof CompressionMethod)[keyof typeof CompressionMethod];

/** Why a message cannot be opened. */
export const EnvelopeFault = {
  NONE: 0,
  /** It has no envelope, an unknown one, or no block in it. */
  BROKEN: 1,
  /** It would be longer than is allowed. */
  TOO_LONG: 2,
  /** It was made with a dictionary that is not here. */
  DICTIONARY_UNKNOWN: 3,
} as const;
export type EnvelopeFault = (typeof EnvelopeFault)[keyof typeof EnvelopeFault];

/** Puts messages into envelopes, compressed. */
export class EnvelopeWriter {
  readonly codec: Lz4Codec;
  private scratch = new Uint8Array(SCRATCH_BYTES);

  constructor(codec: Lz4Codec) {
    this.codec = codec;
  }

  /**
   * The message compressed in its envelope, if that takes at most `bytesMax`; else null. What it returns is good until the next call.
   *
   * @param dictionary - to make it with
   * @param number - of the dictionary among the receiver's; -1 to name it by its hash
   * @param method - that is wanted; what is too long for it is an LZ4 block
   */
  deflate(
    data: Uint8Array,
    bytesMax: number,
    dictionary: Dictionary | null = null,
    number = -1,
    method: CompressionMethod = CompressionMethod.LZ4,
  ): Uint8Array | null {
    const out = this.room(bytesMax);
    let at = 1;
    if (dictionary === null) out[0] = Envelope.LZ4;
    else if (number >= 0) out[0] = Envelope.NUMBERED | (number << 4);
    else {
      out[0] = Envelope.NAMED;
      out.set(dictionary.hash, 1);
      at += HASH_BYTES;
    }
    const limit = Math.min(bytesMax, out.length);
    let end: number;
    if (method === CompressionMethod.DEFLATE && data.length <= DEFLATE_BYTES_MAX) {
      out[0] |= Envelope.DEFLATE;
      end = deflateTo(data, out, at, limit, dictionary);
    } else end = this.codec.deflate(data, out, at, limit, dictionary);
    return end === 0 ? null : out.subarray(0, end);
  }

  /** The message as it is, in an envelope. What it returns is good until the next call. */
  store(data: Uint8Array): Uint8Array {
    const bytes = 1 + data.length;
    const out = this.room(bytes);
    out[0] = Envelope.STORED;
    out.set(data, 1);
    return out.subarray(0, bytes);
  }

  /** Scratch memory that is kept is small; a large message has its own. */
  private room(bytes: number): Uint8Array {
    if (bytes <= this.scratch.length) return this.scratch;
    const scratch = Buffer.allocUnsafeSlow(bytes);
    if (bytes <= SCRATCH_BYTES_MAX) this.scratch = scratch;
    return scratch;
  }
}

/** True when the message in the envelope at `at` is not compressed. */
export function isStored(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === Envelope.STORED;
}

/** What a reader looks dictionaries up in. */
export type Dictionaries = Pick<DictionarySet, 'all' | 'find'>;

/** Takes messages out of their envelopes. Nothing is allocated for a message in an LZ4 block before its length is known, and allowed. [CMP-5] */
export class EnvelopeReader {
  /** Why {@link inflate} gave nothing. */
  fault: EnvelopeFault = EnvelopeFault.NONE;
  private readonly codec: Lz4Codec;
  private readonly dictionaries: Dictionaries;
  private readonly takesNumbers: boolean;

  /** @param takesNumbers - false where the peer has not been told the dictionaries' numbers [CMP-40] */
  constructor(codec: Lz4Codec, dictionaries: Dictionaries, takesNumbers = true) {
    this.codec = codec;
    this.dictionaries = dictionaries;
    this.takesNumbers = takesNumbers;
  }

  /** The message whose envelope begins at bytes[start, end), in memory of its own; null with a {@link fault} when it cannot be opened. */
  inflate(bytes: Uint8Array, start: number, end: number, bytesMax: number): Buffer | null {
    const first = start < end ? bytes[start] : UNKNOWN;
    const isDeflate = (first & Envelope.DEFLATE) !== 0;
    const kind = first & ~Envelope.DEFLATE;
    let at = start + 1;
    let dictionary: Dictionary | null = null;
    if ((kind & 0xf) === Envelope.NUMBERED && this.takesNumbers) {
      dictionary = this.dictionaries.all[kind >>> 4] ?? null;
      if (dictionary === null) return this.fail(EnvelopeFault.DICTIONARY_UNKNOWN);
    } else if (kind === Envelope.NAMED) {
      if (at + HASH_BYTES > end) return this.fail(EnvelopeFault.BROKEN);
      dictionary = this.dictionaries.find(bytes, at);
      if (dictionary === null) return this.fail(EnvelopeFault.DICTIONARY_UNKNOWN);
      at += HASH_BYTES;
    } else if (first === Envelope.STORED) {
      if (end - at > bytesMax) return this.fail(EnvelopeFault.TOO_LONG);
      const message = shortLivedBuffer(end - at);
      message.set(bytes.subarray(at, end));
      return message;
    } else if (kind !== Envelope.LZ4) return this.fail(EnvelopeFault.BROKEN);
    if (isDeflate) {
      const message = inflateFrom(bytes, at, end, bytesMax, dictionary);
      return typeof message === 'number' ? this.failAs(message) : message;
    }
    const before = dictionary === null ? 0 : dictionary.bytes.length;
    const length = inflatedLength(bytes, at, end, bytesMax, before);
    if (length < 0) return this.failAs(length);
    const message = this.codec.inflate(bytes, at, end, length, dictionary);
    return message === null ? this.fail(EnvelopeFault.BROKEN) : message;
  }

  /** Of what {@link inflatedLength} and {@link inflateFrom} say instead of a message. */
  private failAs(fault: number): null {
    return this.fail(fault === TOO_LONG ? EnvelopeFault.TOO_LONG : EnvelopeFault.BROKEN);
  }

  private fail(fault: EnvelopeFault): null {
    this.fault = fault;
    return null;
  }
}

/** The name of the dictionary that an envelope names by its hash; null for any other. */
export function dictionaryNameOf(envelope: Uint8Array): string | null {
  if ((envelope[0] & ~Envelope.DEFLATE) !== Envelope.NAMED || envelope.length < ENVELOPE_BYTES_MAX)
    return null;
  return hexOf(envelope.subarray(1, ENVELOPE_BYTES_MAX));
}

/** Bytes that an envelope takes at most. */
export const ENVELOPE_BYTES_MAX = 1 + HASH_BYTES;

/** The first byte, and the bit in it that says that it is not LZ4. */
const Envelope = { STORED: 0x00, LZ4: 0x01, NAMED: 0x03, NUMBERED: 0x05, DEFLATE: 0x08 } as const;
/** One that means nothing. */
const UNKNOWN = 0xff;
const SCRATCH_BYTES = 4_096;
const SCRATCH_BYTES_MAX = 262_144;
