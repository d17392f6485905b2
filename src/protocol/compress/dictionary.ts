/** Dictionaries: bytes that messages are likely to repeat, known to both sides, and named by what they are. */

import { createHash } from 'node:crypto';
import { hexOf } from '../../base/bytes.ts';
import { IndexedDictionary, OFFSET_MAX } from './lz4-block.ts';

/** Bytes that messages are compressed with, so that what they have in common with them need not be sent. [CMP-4] */
export class Dictionary {
  /** Not to be changed any more. */
  readonly bytes: Buffer;
  /** SHA-256 of the bytes, the first 8 of it: what it is called on the wire. */
  readonly hash: Uint8Array;
  private indexed: IndexedDictionary | null = null;

  /**
   * @param bytes - 1 to 65,535, of which a copy is made; what is most frequent belongs to the end
   * @throws RangeError when there are none, or more
   */
  constructor(bytes: Uint8Array) {
    if (bytes.length < 1 || bytes.length > DICTIONARY_BYTES_MAX)
      throw new RangeError(`a dictionary has 1 to ${DICTIONARY_BYTES_MAX} bytes, not ${bytes.length}`);
    this.bytes = Buffer.from(bytes);
    this.hash = new Uint8Array(createHash('sha256').update(this.bytes).digest().subarray(0, HASH_BYTES));
  }

  /** The hash in hexadecimal, as people read it. */
  get name(): string {
    return hexOf(this.hash);
  }

  /** For LZ4: made when it is first compressed with, once for all messages. */
  get index(): IndexedDictionary {
    this.indexed ??= new IndexedDictionary(this.bytes);
    return this.indexed;
  }
}

/** The dictionaries of one side, in its order: by their numbers, and by their hashes. */
export class DictionarySet {
  readonly all: readonly Dictionary[];

  /** @throws RangeError for more than {@link DICTIONARIES_MAX}, or the same one twice */
  constructor(all: readonly Dictionary[]) {
    if (all.length > DICTIONARIES_MAX)
      throw new RangeError(`at most ${DICTIONARIES_MAX} dictionaries, not ${all.length}`);
    for (const [i, { hash, name }] of all.entries()) {
      if (this.find(hash, 0, all.slice(0, i)) !== null)
        throw new RangeError(`the dictionary ${name} is there twice`);
    }
    this.all = all;
  }

  /** The one with the hash that begins at `at`; null when there is none. */
  find(bytes: Uint8Array, at: number, among = this.all): Dictionary | null {
    for (const dictionary of among) {
      let i = 0;
      while (i < HASH_BYTES && dictionary.hash[i] === bytes[at + i]) i++;
      if (i === HASH_BYTES) return dictionary;
    }
    return null;
  }
}

/** As far as a match reaches back. */
export const DICTIONARY_BYTES_MAX = OFFSET_MAX;
/** Most of one side. */
export const DICTIONARIES_MAX = 16;
/** Bytes of a hash. */
export const HASH_BYTES = 8;
