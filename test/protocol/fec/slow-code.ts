/** The code of spec/protection.md once more, from its definitions and without any tables: slow, to check the fast one against. */

/** A product in GF(256) with 0x11d: polynomials multiplied and reduced, bit by bit. */
export function times(a: number, b: number): number {
  let product = 0;
  for (let bit = 0; bit < 8; bit++) if ((b & (1 << bit)) !== 0) product ^= a << bit;
  for (let bit = 14; bit >= 8; bit--) if ((product & (1 << bit)) !== 0) product ^= 0x11d << (bit - 8);
  return product;
}

/** Found by trying. */
export function inverseOf(a: number): number {
  for (let b = 1; b < 256; b++) if (times(a, b) === 1) return b;
  throw new Error(`${a} has no inverse`);
}

/** c(i, j). [FEC-22] */
export function slowCoefficient(row: number, number: number): number {
  return row === 255 ? 1 : inverseOf(row ^ (128 + (number % 128)));
}

/** Length and bytes. [FEC-20] */
function coded(symbol: Uint8Array): number[] {
  return [Math.floor(symbol.length / 256), symbol.length % 256, ...symbol];
}

/** The parity of a row over symbols by number. [FEC-22] */
export function slowParity(row: number, symbols: ReadonlyMap<number, Uint8Array>): Uint8Array {
  const length = 2 + Math.max(...[...symbols.values()].map((symbol) => symbol.length));
  const parity = new Uint8Array(length);
  for (const [number, symbol] of symbols) {
    const factor = slowCoefficient(row, number);
    coded(symbol).forEach((byte, i) => {
      parity[i] ^= times(factor, byte);
    });
  }
  return parity;
}

/** What a REPAIR says: its row, the numbers that it covers, its parity. */
export interface SlowRepair {
  readonly row: number;
  readonly numbers: readonly number[];
  readonly parity: Uint8Array;
}

/** All symbols that follow from those known and from the repairs, by elimination over all equations at once. */
export function slowRecover(
  known: ReadonlyMap<number, Uint8Array>,
  repairs: readonly SlowRepair[],
): Map<number, Uint8Array> {
  const unknowns = [...new Set(repairs.flatMap(({ numbers }) => numbers))]
    .filter((n) => !known.has(n))
    .sort((a, b) => a - b);
  const length = Math.max(2, ...repairs.map(({ parity }) => parity.length));
  const rows = repairs.map(({ row, numbers, parity }) => {
    const values = Array.from({ length }, (_, i) => parity[i] ?? 0);
    for (const number of numbers) {
      const symbol = known.get(number);
      if (symbol === undefined) continue;
      const factor = slowCoefficient(row, number);
      coded(symbol).forEach((byte, i) => {
        values[i] ^= times(factor, byte);
      });
    }
    const factors = unknowns.map((number) => (numbers.includes(number) ? slowCoefficient(row, number) : 0));
    return [...factors, ...values];
  });
  let top = 0;
  for (let column = 0; column < unknowns.length; column++) {
    const at = rows.findIndex((row, i) => i >= top && row[column] !== 0);
    if (at < 0) continue;
    [rows[top], rows[at]] = [rows[at], rows[top]];
    const factor = inverseOf(rows[top][column]);
    const pivot = rows[top].map((value) => times(factor, value));
    rows[top] = pivot;
    rows.forEach((row, i) => {
      if (i !== top && row[column] !== 0)
        rows[i] = row.map((value, n) => value ^ times(row[column], pivot[n]));
    });
    top++;
  }
  const found = new Map<number, Uint8Array>();
  for (const row of rows) {
    const left = unknowns.filter((_, i) => row[i] !== 0);
    if (left.length !== 1) continue;
    const [high, low, ...bytes] = row.slice(unknowns.length);
    found.set(left[0], Uint8Array.from(bytes.slice(0, high * 256 + low)));
  }
  return found;
}
