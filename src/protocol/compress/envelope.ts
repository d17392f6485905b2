/**
 * The envelope of a message: one byte in front of it that says how its bytes are to be opened, and behind that, where the byte says so, the
 * hash of a dictionary. It is the first part of the message's bytes, so that whoever only hands the message on need not know of it. [CMP-2]
 *
 *     0x00          stored: the message follows as it is
 *     0x01          an LZ4 block follows
 *     0x03          the hash of a dictionary (8 bytes), then an LZ4 block made with it
 *     0x05 + 16 n   an LZ4 block follows, made with the dictionary that is number n of the receiver's transport parameters
 */

import { Buffer } from 'node:buffer';
import { hexOf } from '../../base/bytes.ts';
import type { Lz4Codec } from './codec.ts';
import { type Dictionary, type DictionarySet, HASH_BYTES } from './dictionary.ts';
import { inflatedLength, TOO_LONG } from './lz4-block.ts';

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
   */
  deflate(
    data: Uint8Array,
    bytesMax: number,
    dictionary: Dictionary | null = null,
    number = -1,
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
    const end = this.codec.deflate(data, out, at, Math.min(bytesMax, out.length), dictionary);
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

/** Takes messages out of their envelopes. Nothing is allocated for a message before its length is known, and allowed. [CMP-5] */
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
    const kind = start < end ? bytes[start] : UNKNOWN;
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
    } else if (kind === Envelope.STORED) {
      if (end - at > bytesMax) return this.fail(EnvelopeFault.TOO_LONG);
      const message = Buffer.allocUnsafeSlow(end - at);
      message.set(bytes.subarray(at, end));
      return message;
    } else if (kind !== Envelope.LZ4) return this.fail(EnvelopeFault.BROKEN);
    const before = dictionary === null ? 0 : dictionary.bytes.length;
    const length = inflatedLength(bytes, at, end, bytesMax, before);
    if (length < 0) return this.fail(length === TOO_LONG ? EnvelopeFault.TOO_LONG : EnvelopeFault.BROKEN);
    const message = this.codec.inflate(bytes, at, end, length, dictionary);
    return message === null ? this.fail(EnvelopeFault.BROKEN) : message;
  }

  private fail(fault: EnvelopeFault): null {
    this.fault = fault;
    return null;
  }
}

/** The name of the dictionary that an envelope names by its hash; null for any other. */
export function dictionaryNameOf(envelope: Uint8Array): string | null {
  if (envelope[0] !== Envelope.NAMED || envelope.length < ENVELOPE_BYTES_MAX) return null;
  return hexOf(envelope.subarray(1, ENVELOPE_BYTES_MAX));
}

/** Bytes that an envelope takes at most. */
export const ENVELOPE_BYTES_MAX = 1 + HASH_BYTES;

/** The first byte. */
const Envelope = { STORED: 0x00, LZ4: 0x01, NAMED: 0x03, NUMBERED: 0x05 } as const;
/** One that means nothing. */
const UNKNOWN = 0xff;
const SCRATCH_BYTES = 4_096;
const SCRATCH_BYTES_MAX = 262_144;
