/** The LZ4 block format, read as its description says it, one byte at a time: a twin that shares nothing with what it checks. */

export interface Sequence {
  literals: number[];
  /** Null in the last one. */
  match: { offset: number; length: number } | null;
}

/** The sequences of a block; null when it is none. */
export function slowSequences(block: Uint8Array): Sequence[] | null {
  const bytes = [...block];
  const sequences: Sequence[] = [];
  const extended = (half: number): number => {
    let length = half;
    if (half !== 15) return length;
    for (;;) {
      const byte = bytes.shift();
      if (byte === undefined) return Number.NaN;
      length += byte;
      if (byte !== 255) return length;
    }
  };
  for (;;) {
    const token = bytes.shift();
    if (token === undefined) return null;
    const count = extended(token >> 4);
    if (!(count <= bytes.length)) return null;
    const literals = bytes.splice(0, count);
    if (bytes.length === 0) {
      sequences.push({ literals, match: null });
      return sequences;
    }
    if (bytes.length < 2) return null;
    const [low, high] = bytes.splice(0, 2);
    const length = 4 + extended(token & 15);
    if (Number.isNaN(length)) return null;
    sequences.push({ literals, match: { offset: low + 256 * high, length } });
  }
}

/** What a block inflates to; null when it is none, or reaches back too far. */
export function slowInflate(block: Uint8Array, dictionary: Uint8Array = new Uint8Array(0)): number[] | null {
  const sequences = slowSequences(block);
  if (sequences === null) return null;
  const all = [...dictionary];
  for (const { literals, match } of sequences) {
    for (const byte of literals) all.push(byte);
    if (match === null) continue;
    if (match.offset < 1 || match.offset > all.length) return null;
    for (let i = 0; i < match.length; i++) all.push(all[all.length - match.offset]);
  }
  return all.slice(dictionary.length);
}

/** A block of these sequences. */
export function slowBlock(sequences: readonly Sequence[]): Uint8Array {
  const bytes: number[] = [];
  const extend = (rest: number): void => {
    let left = rest;
    for (; left >= 255; left -= 255) bytes.push(255);
    bytes.push(left);
  };
  for (const { literals, match } of sequences) {
    const rest = match === null ? 0 : match.length - 4;
    bytes.push((Math.min(15, literals.length) << 4) | Math.min(15, rest));
    if (literals.length >= 15) extend(literals.length - 15);
    bytes.push(...literals);
    if (match === null) continue;
    bytes.push(match.offset & 255, match.offset >> 8);
    if (rest >= 15) extend(rest - 15);
  }
  return Uint8Array.from(bytes);
}
