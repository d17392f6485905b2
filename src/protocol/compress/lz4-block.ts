/**
 * The LZ4 block format (lz4_Block_format.md of the LZ4 project), deflated and inflated in TypeScript, with dictionaries.
 *
 * A block is a row of sequences: a token, literals, and a match that repeats what lies `offset` bytes back.
 *
 *     token u8: literal length in the high half, match length - 4 in the low half; 15 says that bytes follow, to be added up to one below 255
 *     [literal length u8 ..] literals [offset u16, little-endian, 1 to 65,535] [match length u8 ..]
 *
 * The last sequence has no match. The last 5 bytes are literals, and no match begins in the last 12. A dictionary lies before the beginning
 * as if it had been the end of what was inflated before.
 */

import { NO_BYTES } from '../../base/bytes.ts';

/** What {@link inflatedLength} says of a block that cannot be inflated. */
export const BROKEN = -1;
/** What it says of one that would become longer than is allowed. */
export const TOO_LONG = -2;

/**
 * The length that block[start, end) inflates to, counted sequence by sequence, so that nothing has to be believed or allocated before it is
 * known; {@link BROKEN} when it is no block, {@link TOO_LONG} when that is above `max`.
 *
 * @param before - bytes of dictionary that matches may reach into
 */
export function inflatedLength(
  block: Uint8Array,
  start: number,
  end: number,
  max: number,
  before: number,
): number {
  let length = 0;
  let at = start;
  while (at < end) {
    const token = block[at++];
    let literals = token >>> 4;
    if (literals === 15) {
      let more = 255;
      while (more === 255) {
        if (at >= end) return BROKEN;
        more = block[at++];
        literals += more;
      }
    }
    at += literals;
    length += literals;
    if (at >= end) return at > end ? BROKEN : length > max ? TOO_LONG : length;
    if (at + 2 > end) return BROKEN;
    const offset = block[at] | (block[at + 1] << 8);
    if (offset === 0 || offset > length + before) return BROKEN;
    at += 2;
    let match = token & 15;
    if (match === 15) {
      let more = 255;
      while (more === 255) {
        if (at >= end) return BROKEN;
        more = block[at++];
        match += more;
      }
    }
    length += match + MATCH_MIN;
    if (length > max) return TOO_LONG;
  }
  return BROKEN; // nothing, or a match at the end
}

/**
 * Inflates block[start, end), of which {@link inflatedLength} has told the length, into `out`, which is so long.
 * @param dictionary - what lies before the beginning
 */
export function inflateBlock(
  block: Uint8Array,
  start: number,
  end: number,
  out: Uint8Array,
  dictionary: Uint8Array,
): void {
  let to = 0;
  let at = start;
  for (;;) {
    const token = block[at++];
    let literals = token >>> 4;
    if (literals === 15) {
      let more = 255;
      while (more === 255) {
        more = block[at++];
        literals += more;
      }
    }
    if (literals > LOOP_BYTES_MAX) {
      out.set(block.subarray(at, at + literals), to);
      to += literals;
      at += literals;
    } else {
      for (const stop = at + literals; at < stop; ) out[to++] = block[at++];
    }
    if (at >= end) return;
    const offset = block[at] | (block[at + 1] << 8);
    at += 2;
    let match = (token & 15) + MATCH_MIN;
    if (match === 15 + MATCH_MIN) {
      let more = 255;
      while (more === 255) {
        more = block[at++];
        match += more;
      }
    }
    let from = to - offset;
    const stop = to + match;
    if (from < 0) {
      // in the dictionary, and perhaps on into what is inflated
      for (let d = dictionary.length + from; d < dictionary.length && to < stop; )
        out[to++] = dictionary[d++];
      from = to - offset;
    }
    if (stop - to > LOOP_BYTES_MAX && offset >= stop - to) {
      out.copyWithin(to, from, from + stop - to);
      to = stop;
    } else {
      while (to < stop) out[to++] = out[from++];
    }
  }
}

/** A dictionary with its four-byte words indexed, once for all messages. */
export class IndexedDictionary {
  /** The part of it that a match can reach. */
  readonly bytes: Uint8Array;
  /** By the hash of a word, one more than where it stands last; 0 for nowhere. */
  readonly places: Uint16Array;
  /** The hash is this many bits less than 32 wide. */
  readonly shift: number;

  /** @param bytes - of which the last {@link OFFSET_MAX} are used, without a copy */
  constructor(bytes: Uint8Array) {
    this.bytes = bytes.length > OFFSET_MAX ? bytes.subarray(bytes.length - OFFSET_MAX) : bytes;
    const { length } = this.bytes;
    this.shift = Math.max(32 - INDEX_BITS_MAX, Math.min(32 - INDEX_BITS_MIN, Math.clz32(length) - 1));
    this.places = new Uint16Array(2 ** (32 - this.shift));
    for (let i = 0; i + MATCH_MIN <= length; i++) {
      this.places[Math.imul(wordAt(this.bytes, i), PRIME) >>> this.shift] = i + 1;
    }
  }
}

/**
 * Makes blocks: greedily, by a table of where each four-byte word was seen last, in ever larger steps while nothing is found, so that what
 * cannot be compressed costs little.
 */
export class BlockDeflater {
  /** By the hash of a word, {@link origin} and where it was seen last; what is below the origin is of an earlier block. */
  private readonly places = new Int32Array(2 ** TABLE_BITS);
  private origin = 1;
  private readonly originMax: number;

  /** @param originMax - positions count on over blocks, so that the table need not be cleared for each, up to here */
  constructor(originMax = 2 ** 30) {
    this.originMax = originMax;
  }

  /**
   * Deflates `data` to out[at, limit). Returns where the block ends, or 0 when it does not fit: with a limit nearer than the data's own
   * length that means that it is not worth while.
   */
  deflate(
    data: Uint8Array,
    out: Uint8Array,
    at: number,
    limit: number,
    dictionary: IndexedDictionary | null,
  ): number {
    const { length } = data;
    const { places } = this;
    if (this.origin + length > this.originMax) {
      places.fill(0);
      this.origin = 1;
    }
    const { origin } = this;
    this.origin += length;
    const startMax = length - MATCH_START_MARGIN;
    const matchEnd = length - LAST_LITERALS;
    const before = dictionary === null ? NO_BYTES : dictionary.bytes;
    let to = at;
    let anchor = 0;
    let i = 0;
    let tries = TRIES_A_STEP;
    while (i <= startMax) {
      const word = wordAt(data, i);
      const hash = Math.imul(word, PRIME);
      const slot = hash >>> (32 - TABLE_BITS);
      let from = places[slot] - origin;
      places[slot] = origin + i;
      let match = 0;
      if (from >= 0 && i - from <= OFFSET_MAX && wordAt(data, from) === word) {
        match = MATCH_MIN + common(data, i + MATCH_MIN, data, from + MATCH_MIN, matchEnd);
      }
      let source = data;
      if (dictionary !== null) {
        const place = dictionary.places[hash >>> dictionary.shift] - 1;
        if (place >= 0 && i + before.length - place <= OFFSET_MAX && wordAt(before, place) === word) {
          const end = Math.min(matchEnd, i + before.length - place);
          const ofDictionary = MATCH_MIN + common(data, i + MATCH_MIN, before, place + MATCH_MIN, end);
          if (ofDictionary > match) {
            match = ofDictionary;
            source = before;
            from = place;
          }
        }
      }
      if (match === 0) {
        i += tries++ >>> STEP_BITS;
        continue;
      }
      const offset = source === data ? i - from : i + before.length - from;
      while (i > anchor && from > 0 && data[i - 1] === source[from - 1]) {
        i--;
        from--;
        match++;
      }
      const literals = i - anchor;
      const need =
        3 +
        literals +
        (literals >= 15 ? 1 + (((literals - 15) / 255) | 0) : 0) +
        (match >= 19 ? 1 + (((match - 19) / 255) | 0) : 0);
      if (to + need > limit) return 0;
      to = putLiterals(data, anchor, literals, match - MATCH_MIN, out, to);
      out[to++] = offset;
      out[to++] = offset >>> 8;
      if (match >= 15 + MATCH_MIN) to = putLength(match - MATCH_MIN - 15, out, to);
      i += match;
      anchor = i;
      tries = TRIES_A_STEP;
      if (i <= startMax) places[Math.imul(wordAt(data, i - 2), PRIME) >>> (32 - TABLE_BITS)] = origin + i - 2;
    }
    const literals = length - anchor;
    if (to + 1 + literals + (literals >= 15 ? 1 + (((literals - 15) / 255) | 0) : 0) > limit) return 0;
    return putLiterals(data, anchor, literals, 0, out, to);
  }
}

/** The four bytes at `at` as one number. */
function wordAt(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
}

/** How many bytes from `i` on, up to `end`, are those of `source` from `from` on. */
function common(data: Uint8Array, i: number, source: Uint8Array, from: number, end: number): number {
  const start = i;
  while (i < end && data[i] === source[from]) {
    i++;
    from++;
  }
  return i - start;
}

/** Writes a token and its literals. Returns where they end. */
function putLiterals(
  data: Uint8Array,
  start: number,
  length: number,
  match: number,
  out: Uint8Array,
  to: number,
): number {
  const low = Math.min(match, 15);
  if (length < 15) out[to++] = (length << 4) | low;
  else {
    out[to++] = 0xf0 | low;
    to = putLength(length - 15, out, to);
  }
  if (length > LOOP_BYTES_MAX) {
    out.set(data.subarray(start, start + length), to);
    return to + length;
  }
  for (let i = start; i < start + length; i++) out[to++] = data[i];
  return to;
}

function putLength(rest: number, out: Uint8Array, to: number): number {
  for (; rest >= 255; rest -= 255) out[to++] = 255;
  out[to++] = rest;
  return to;
}

/** No match is shorter. */
const MATCH_MIN = 4;
/** The last bytes are literals. */
const LAST_LITERALS = 5;
/** No match begins nearer to the end. */
const MATCH_START_MARGIN = 12;
export const OFFSET_MAX = 65_535;
/** Knuth's multiplicative hash: 2^32 divided by the golden ratio. */
const PRIME = 0x9e3779b1 | 0;
const TABLE_BITS = 13;
const INDEX_BITS_MIN = 8;
const INDEX_BITS_MAX = 15;
/** After so many tries that found nothing the step grows by one. */
const STEP_BITS = 6;
const TRIES_A_STEP = 1 << STEP_BITS;
/** So few bytes are copied faster one by one. */
const LOOP_BYTES_MAX = 24;
