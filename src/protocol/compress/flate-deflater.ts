/**
 * Makes DEFLATE data (RFC 1951), one block a message:
 *
 *   1. find matches, each put off by one byte where that makes it longer, and count how often each symbol is used;
 *   2. make the codes that are shortest for these counts, and see whether they or the fixed ones take fewer bits, themselves included;
 *   3. write, now that it is known how much it will be, or leave it.
 *
 * `node:zlib` makes the same format, of the same size; but a call of it takes some twenty microseconds before the first byte, and indexes a dictionary
 * anew for each message.
 */

import { CodeSet } from './flate-code-set.ts';
import {
  BlockKind,
  CODE_BITS_MAX,
  DISTANCE_BASES,
  DISTANCE_CODES,
  DISTANCE_CODES_USED,
  DISTANCE_EXTRA_BITS,
  DISTANCE_MAX,
  END_OF_BLOCK,
  FLATE_BYTES_MAX,
  fixedLengths,
  LENGTH_BASES,
  LENGTH_CODE_BITS_MAX,
  LENGTH_EXTRA_BITS,
  LENGTH_ORDER,
  LITERAL_CODES,
  MATCH_BYTES_MAX,
  MATCH_BYTES_MIN,
} from './flate-codes.ts';

/** A dictionary with its words indexed, once for all messages. */
export class FlateIndex {
  /** The part of it that a match can reach. */
  readonly bytes: Uint8Array;
  /** By the hash of a word, one more than where it stands last; 0 for nowhere. */
  readonly heads: Uint16Array;
  /** By place, one more than where the same hash stands before. */
  readonly links: Uint16Array;

  /** @param bytes - of which the last {@link DISTANCE_MAX} are used, without a copy */
  constructor(bytes: Uint8Array) {
    this.bytes = bytes.length > DISTANCE_MAX ? bytes.subarray(bytes.length - DISTANCE_MAX) : bytes;
    this.heads = new Uint16Array(1 << HASH_BITS);
    this.links = new Uint16Array(this.bytes.length);
    for (let i = 0; i + MATCH_BYTES_MIN <= this.bytes.length; i++) {
      const hash = hashAt(this.bytes, i);
      this.links[i] = this.heads[hash];
      this.heads[hash] = i + 1;
    }
  }
}

/** One for all messages of a process. */
export class FlateDeflater {
  /** By the hash of a word, {@link origin} and where it was seen last; what is below the origin is of an earlier message. */
  private readonly heads = new Int32Array(1 << HASH_BITS);
  /** By place, the origin and where the same hash was seen before. */
  private links = new Int32Array(ROOM_AT_FIRST);
  private origin = 1;
  private readonly originMax: number;
  /** Literals, and matches as length << 16 | distance. */
  private tokens = new Uint32Array(ROOM_AT_FIRST);
  private readonly literals = new CodeSet(LITERAL_CODES, CODE_BITS_MAX);
  private readonly distances = new CodeSet(DISTANCE_CODES, CODE_BITS_MAX);
  private readonly lengthCodes = new CodeSet(LENGTH_ORDER.length, LENGTH_CODE_BITS_MAX);
  private readonly fixedLiterals: CodeSet;
  private readonly fixedDistances: CodeSet;
  /** Lengths of codes as a block names them: symbols of `lengthCodes`, and what is added to each. */
  private readonly named = new Uint8Array(LITERAL_CODES + DISTANCE_CODES);
  private readonly namedExtra = new Uint8Array(LITERAL_CODES + DISTANCE_CODES);
  private namedCount = 0;
  /** Bits of extra lengths and distances. */
  private extraBits = 0;
  /** Where the best match lies that {@link find} has found: so many bytes back. */
  private distance = 0;

  /** @param originMax - positions count on over messages, so that the table need not be cleared for each, up to here */
  constructor(originMax = 2 ** 30) {
    this.originMax = originMax;
    const { literals, distances } = fixedLengths();
    this.fixedLiterals = new CodeSet(LITERAL_CODES, CODE_BITS_MAX);
    this.fixedDistances = new CodeSet(DISTANCE_CODES, CODE_BITS_MAX);
    this.fixedLiterals.bits.set(literals);
    this.fixedDistances.bits.set(distances);
    this.fixedLiterals.assign();
    this.fixedDistances.assign();
  }

  /** Deflates `data`, of at most `FLATE_BYTES_MAX`, to out[at, limit). Returns where that ends, or 0 when it does not fit. */
  deflate(
    data: Uint8Array,
    out: Uint8Array,
    at: number,
    limit: number,
    dictionary: FlateIndex | null,
  ): number {
    const count = this.tokenize(data, dictionary);
    const { literals, distances, fixedLiterals, fixedDistances } = this;
    literals.counts[END_OF_BLOCK] = 1;
    literals.make();
    distances.make();
    this.nameLengths();
    const own = DYNAMIC_HEADER_BITS + this.namedBits() + literals.total() + distances.total();
    const fixed = fixedLiterals.total(literals.counts) + fixedDistances.total(distances.counts);
    const isFixed = fixed <= own;
    const end = at + ((KIND_BITS + (isFixed ? fixed : own) + this.extraBits + 7) >>> 3);
    if (end > limit) return 0;
    const w = new BitWriter(out, at);
    w.put(1 | ((isFixed ? BlockKind.FIXED : BlockKind.DYNAMIC) << 1), KIND_BITS);
    if (isFixed) this.write(w, count, fixedLiterals, fixedDistances);
    else {
      this.writeCodes(w);
      this.write(w, count, literals, distances);
    }
    return w.finish();
  }

  /** Puts literals and matches into `tokens`, and counts symbols. Returns how many tokens. */
  private tokenize(data: Uint8Array, dictionary: FlateIndex | null): number {
    const { length } = data;
    this.makeRoom(length);
    if (this.origin + length > this.originMax) {
      this.heads.fill(0);
      this.origin = 1;
    }
    const { tokens } = this;
    const literals = this.literals.counts;
    const distances = this.distances.counts;
    literals.fill(0);
    distances.fill(0);
    this.extraBits = 0;
    let count = 0;
    /** The match that began a byte before, as long as it is not known whether a longer one begins here. */
    let heldLength = 0;
    let heldDistance = 0;
    let i = 0;
    while (i < length) {
      let found = this.find(data, i, heldLength, dictionary);
      if (found === MATCH_BYTES_MIN && this.distance > SHORT_MATCH_REACH) found = 0;
      if (heldLength > 0) {
        if (found <= heldLength) {
          tokens[count++] = (heldLength << 16) | heldDistance;
          this.countMatch(heldLength, heldDistance);
          const next = i - 1 + heldLength;
          for (i++; i < next; i++) this.insert(data, i);
          heldLength = 0;
          continue;
        }
        const byte = data[i - 1];
        tokens[count++] = byte;
        literals[byte]++;
      }
      if (found > 0) {
        heldLength = found;
        heldDistance = this.distance;
        if (found < LAZY_BYTES) {
          i++;
          continue;
        }
        tokens[count++] = (found << 16) | heldDistance;
        this.countMatch(found, heldDistance);
        const next = i + found;
        for (i++; i < next; i++) this.insert(data, i);
        heldLength = 0;
        continue;
      }
      const byte = data[i++];
      tokens[count++] = byte;
      literals[byte]++;
    }
    if (heldLength > 0) {
      // the last byte of the message was looked at, and the match before it reaches no further
      tokens[count++] = (heldLength << 16) | heldDistance;
      this.countMatch(heldLength, heldDistance);
    }
    this.origin += length;
    return count;
  }

  /** The longest match at `i`, if it is longer than `least`; 0 when there is none. Its `distance` is in the field. */
  private find(data: Uint8Array, i: number, least: number, dictionary: FlateIndex | null): number {
    const rest = data.length - i;
    if (rest < MATCH_BYTES_MIN) return 0;
    const { origin, links } = this;
    const hash = hashAt(data, i);
    let from = this.heads[hash] - origin;
    this.heads[hash] = origin + i;
    links[i] = origin + from;
    const max = Math.min(rest, MATCH_BYTES_MAX);
    let best = Math.max(least, MATCH_BYTES_MIN - 1);
    if (best >= max) return 0;
    let found = 0;
    const chain = least >= GOOD_BYTES ? CHAIN_MAX >> 2 : CHAIN_MAX;
    for (let tries = chain; tries > 0 && from >= 0 && i - from <= DISTANCE_MAX; tries--) {
      if (data[from + best] === data[i + best] && data[from] === data[i]) {
        let k = 1;
        while (k < max && data[from + k] === data[i + k]) k++;
        if (k > best) {
          best = k;
          found = k;
          this.distance = i - from;
          if (k >= ENOUGH_BYTES || k === max) return k;
        }
      }
      from = links[from] - origin;
    }
    if (dictionary === null) return found;
    const { bytes } = dictionary;
    let place = dictionary.heads[hash] - 1;
    for (let tries = chain; tries > 0 && place >= 0; tries--) {
      const distance = i + bytes.length - place;
      if (distance > DISTANCE_MAX) break;
      const most = Math.min(max, bytes.length - place);
      if (best < most && bytes[place + best] === data[i + best]) {
        let k = 0;
        while (k < most && bytes[place + k] === data[i + k]) k++;
        if (k > best) {
          best = k;
          found = k;
          this.distance = distance;
          if (k >= ENOUGH_BYTES) return k;
        }
      }
      place = dictionary.links[place] - 1;
    }
    return found;
  }

  /** A place that a match covers. */
  private insert(data: Uint8Array, i: number): void {
    if (i + MATCH_BYTES_MIN > data.length) return;
    const hash = hashAt(data, i);
    this.links[i] = this.heads[hash];
    this.heads[hash] = this.origin + i;
  }

  private countMatch(length: number, distance: number): void {
    const lengthCode = CODE_OF_LENGTH[length];
    const distanceCode = distanceCodeOf(distance);
    this.literals.counts[257 + lengthCode]++;
    this.distances.counts[distanceCode]++;
    this.extraBits += LENGTH_EXTRA_BITS[lengthCode] + DISTANCE_EXTRA_BITS[distanceCode];
  }

  private makeRoom(length: number): void {
    if (length <= this.links.length) return;
    const room = Math.min(FLATE_BYTES_MAX, 2 ** Math.ceil(Math.log2(length)));
    this.links = new Int32Array(room);
    this.tokens = new Uint32Array(room);
  }

  // ---- the codes of a block ----

  /** The lengths of both sets, as a row in which what repeats itself is named once, and the codes of this row. */
  private nameLengths(): void {
    const { literals, distances, lengthCodes, named, namedExtra } = this;
    const literalCount = literals.usedUpTo(257);
    const all = literalCount + distances.usedUpTo(1);
    const lengthAt = (i: number): number =>
      i < literalCount ? literals.bits[i] : distances.bits[i - literalCount];
    const { counts } = lengthCodes;
    counts.fill(0);
    let count = 0;
    for (let i = 0; i < all; ) {
      const bits = lengthAt(i);
      let run = 1;
      while (i + run < all && lengthAt(i + run) === bits) run++;
      i += run;
      if (bits !== 0) {
        named[count] = bits;
        namedExtra[count++] = 0;
        counts[bits]++;
        run--;
      }
      const shortest = 3;
      while (run >= shortest) {
        const symbol = bits !== 0 ? 16 : run <= 10 ? 17 : 18;
        const part = Math.min(run, symbol === 16 ? 6 : symbol === 17 ? 10 : 138);
        named[count] = symbol;
        namedExtra[count++] = part - (symbol === 18 ? 11 : 3);
        counts[symbol]++;
        run -= part;
      }
      for (; run > 0; run--) {
        named[count] = bits;
        namedExtra[count++] = 0;
        counts[bits]++;
      }
    }
    this.namedCount = count;
    lengthCodes.make();
  }

  private namedBits(): number {
    const { counts } = this.lengthCodes;
    return (
      this.lengthCodes.total() + 3 * this.lengthCodeCount() + 2 * counts[16] + 3 * counts[17] + 7 * counts[18]
    );
  }

  private lengthCodeCount(): number {
    let count = LENGTH_ORDER.length;
    while (count > 4 && this.lengthCodes.bits[LENGTH_ORDER[count - 1]] === 0) count--;
    return count;
  }

  private writeCodes(w: BitWriter): void {
    const { lengthCodes } = this;
    const count = this.lengthCodeCount();
    w.put(this.literals.usedUpTo(257) - 257, 5);
    w.put(this.distances.usedUpTo(1) - 1, 5);
    w.put(count - 4, 4);
    for (let i = 0; i < count; i++) w.put(lengthCodes.bits[LENGTH_ORDER[i]], 3);
    for (let i = 0; i < this.namedCount; i++) {
      const symbol = this.named[i];
      w.put(lengthCodes.codes[symbol], lengthCodes.bits[symbol]);
      if (symbol >= 16) w.put(this.namedExtra[i], symbol === 16 ? 2 : symbol === 17 ? 3 : 7);
    }
  }

  private write(w: BitWriter, count: number, literals: CodeSet, distances: CodeSet): void {
    const { tokens } = this;
    for (let i = 0; i < count; i++) {
      const token = tokens[i];
      if (token < 256) {
        w.put(literals.codes[token], literals.bits[token]);
        continue;
      }
      const length = token >>> 16;
      const distance = token & 0xffff;
      const lengthCode = CODE_OF_LENGTH[length];
      const symbol = 257 + lengthCode;
      w.put(literals.codes[symbol], literals.bits[symbol]);
      w.put(length - LENGTH_BASES[lengthCode], LENGTH_EXTRA_BITS[lengthCode]);
      const distanceCode = distanceCodeOf(distance);
      w.put(distances.codes[distanceCode], distances.bits[distanceCode]);
      w.put(distance - DISTANCE_BASES[distanceCode], DISTANCE_EXTRA_BITS[distanceCode]);
    }
    w.put(literals.codes[END_OF_BLOCK], literals.bits[END_OF_BLOCK]);
  }
}

/** Puts bits behind each other, the lowest first. */
class BitWriter {
  private readonly out: Uint8Array;
  private at: number;
  private held = 0;
  private bits = 0;

  constructor(out: Uint8Array, at: number) {
    this.out = out;
    this.at = at;
  }

  /** At most 16. */
  put(value: number, count: number): void {
    this.bits |= value << this.held;
    this.held += count;
    while (this.held >= 8) {
      this.out[this.at++] = this.bits;
      this.bits >>>= 8;
      this.held -= 8;
    }
  }

  /** Fills the last byte. Returns where the bytes end. */
  finish(): number {
    if (this.held > 0) this.out[this.at++] = this.bits;
    return this.at;
  }
}

function hashAt(bytes: Uint8Array, at: number): number {
  const word = bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16);
  return Math.imul(word, PRIME) >>> (32 - HASH_BITS);
}

function distanceCodeOf(distance: number): number {
  return distance <= 256 ? CODE_OF_NEAR[distance - 1] : CODE_OF_FAR[(distance - 1) >>> 7];
}

/** By length of a match, its code less 257. */
const CODE_OF_LENGTH = new Uint8Array(MATCH_BYTES_MAX + 1);
/** Codes of the distances up to 256, less one, and of larger ones in steps of 128. */
const CODE_OF_NEAR = new Uint8Array(256);
const CODE_OF_FAR = new Uint8Array(256);
for (let code = 0; code < LENGTH_BASES.length; code++) {
  const end = code + 1 < LENGTH_BASES.length ? LENGTH_BASES[code + 1] : MATCH_BYTES_MAX + 1;
  CODE_OF_LENGTH.fill(code, LENGTH_BASES[code], end);
}
for (let code = 0; code < DISTANCE_CODES_USED; code++) {
  const start = DISTANCE_BASES[code] - 1;
  const end = start + (1 << DISTANCE_EXTRA_BITS[code]);
  if (start < 256) CODE_OF_NEAR.fill(code, start, end);
  else CODE_OF_FAR.fill(code, start >>> 7, end >>> 7);
}

const KIND_BITS = 3;
/** How many codes of each kind there are. */
const DYNAMIC_HEADER_BITS = 14;
const HASH_BITS = 12;
/** Knuth's multiplicative hash: 2^32 divided by the golden ratio. */
const PRIME = 0x9e3779b1 | 0;
const ROOM_AT_FIRST = 4_096;
/** Earlier places that are looked at for a match; a quarter when there is a good one. zlib's level 6 looks at 128. */
const CHAIN_MAX = 32;
const GOOD_BYTES = 8;
/** A match so long is taken without looking on. */
const ENOUGH_BYTES = 128;
/** A match so long is not put off. */
const LAZY_BYTES = 16;
/** The shortest match from further back takes more bits than its literals. */
const SHORT_MATCH_REACH = 4_096;
