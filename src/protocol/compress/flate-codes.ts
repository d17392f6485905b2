/**
 * What both sides of DEFLATE (RFC 1951) know of its codes: the alphabets, and the lengths of the fixed ones. "Flate" stands for the format where
 * "deflate" and "inflate" stand for the two directions, whatever the method.
 */

/** The symbol that ends a block. */
export const END_OF_BLOCK = 256;
/** Symbols for literals, the end and lengths, of which the last two never occur; of distances, of which the same holds. */
export const LITERAL_CODES = 288;
export const LITERAL_CODES_USED = 286;
export const DISTANCE_CODES = 32;
export const DISTANCE_CODES_USED = 30;
/** Symbols for the lengths of codes, in the order in which a block names theirs. */
export const LENGTH_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15] as const;
/** Bits of the longest code of literals and distances, and of lengths of codes. */
export const CODE_BITS_MAX = 15;
export const LENGTH_CODE_BITS_MAX = 7;

export const MATCH_BYTES_MIN = 3;
export const MATCH_BYTES_MAX = 258;
/** As far as a match reaches back. */
export const DISTANCE_MAX = 32_768;
/** Most that one message may have: neither side's work for one is ever more than some milliseconds. [CMP-12] */
export const FLATE_BYTES_MAX = 65_536;

/** Kinds of blocks. */
export const BlockKind = { STORED: 0, FIXED: 1, DYNAMIC: 2 } as const;

/** By code less 257, the shortest match, and the bits that follow and add to it. */
export const LENGTH_BASES = new Uint16Array(29);
export const LENGTH_EXTRA_BITS = new Uint8Array(29);
/** By code, the least distance, and the bits that follow and add to it. */
export const DISTANCE_BASES = new Uint16Array(DISTANCE_CODES_USED);
export const DISTANCE_EXTRA_BITS = new Uint8Array(DISTANCE_CODES_USED);

for (let code = 0, base = MATCH_BYTES_MIN; code < 28; code++) {
  LENGTH_EXTRA_BITS[code] = code < 8 ? 0 : (code >> 2) - 1;
  LENGTH_BASES[code] = base;
  base += 1 << LENGTH_EXTRA_BITS[code];
}
LENGTH_BASES[28] = MATCH_BYTES_MAX; // which the code before could name, too
for (let code = 0, base = 1; code < DISTANCE_CODES_USED; code++) {
  DISTANCE_EXTRA_BITS[code] = code < 4 ? 0 : (code >> 1) - 1;
  DISTANCE_BASES[code] = base;
  base += 1 << DISTANCE_EXTRA_BITS[code];
}

/** Lengths of the fixed codes of literals and distances. */
export function fixedLengths(): { literals: Uint8Array; distances: Uint8Array } {
  const literals = new Uint8Array(LITERAL_CODES).fill(8);
  literals.fill(9, 144, 256);
  literals.fill(7, 256, 280);
  return { literals, distances: new Uint8Array(DISTANCE_CODES).fill(5) };
}
