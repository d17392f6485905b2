import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { coefficient } from '../../../src/protocol/fec/gf256.ts';
import { fromHex, toHex } from '../wire/hex.ts';
import { slowDecode } from '../wire/slow-decoder.ts';
import { arrive, type CarriedRepair, Link, receive, recovered } from './link.ts';
import { slowCoefficient, slowParity, slowRecover } from './slow-code.ts';

type Symbols = Readonly<Record<string, string>>;

interface RepairVectors {
  coefficients: { row: number; number: number; value: number }[];
  repairs: { name: string; carrying: number; row: number; symbols: Symbols; frame: string }[];
  blocks: {
    name: string;
    symbols: Symbols;
    repairs: { carrying: number; frame: string }[];
    lost: number[];
  }[];
}

const vectors: RepairVectors = JSON.parse(
  readFileSync(new URL('../../../spec/vectors/repairs.json', import.meta.url), 'utf8'),
);

test('coefficients are those of the vectors [FEC-22]', () => {
  for (const { row, number, value } of vectors.coefficients) {
    expect({ row, number, value: coefficient(row, number) }).toEqual({ row, number, value });
    expect(slowCoefficient(row, number)).toBe(value);
  }
});

describe('repairs', () => {
  for (const { name, carrying, row, symbols, frame } of vectors.repairs) {
    const covered = symbolsOf(symbols);
    const numbers = [...covered.keys()];

    test(`${name}: the encoder writes it [FEC-21] [FEC-22]`, () => {
      const link = new Link();
      for (const [number, symbol] of covered) link.encoder.keep(number, symbol, 0, symbol.length);
      const write = () => link.repair(carrying, numbers[0], numbers[numbers.length - 1], row === 255);
      for (let earlier = 0; earlier < row % 255; earlier++) write();
      expect(toHex(write().frame)).toBe(frame);
    });

    test(`${name}: its parity is what the definition gives [FEC-20] [FEC-22]`, () => {
      const [repair] = slowDecode(fromHex(frame));
      if (repair.type !== 'REPAIR') throw new Error(`${repair.type} is no REPAIR`);
      const { code, group, index, k, r, data } = repair;
      expect({ code, newest: carrying - group, index, k }).toEqual({
        code: 1,
        newest: Math.max(...numbers),
        index: row,
        k: Math.max(...numbers) - Math.min(...numbers) + 1,
      });
      expect(data.slice(2 * r)).toBe(toHex(slowParity(row, covered)));
    });
  }
});

describe('blocks', () => {
  for (const { name, symbols, repairs, lost } of vectors.blocks) {
    const all = symbolsOf(symbols);
    const missing = new Map([...all].filter(([number]) => lost.includes(number)));
    const there = new Map([...all].filter(([number]) => !lost.includes(number)));

    test(`${name}: what is lost comes back [FEC-22] [FEC-25]`, () => {
      const decoder = new Link().decoder();
      for (const [number, symbol] of there) arrive(decoder, number, symbol);
      for (const repair of repairs.map(carried)) receive(decoder, repair);
      expect(recovered(decoder)).toEqual(missing);
    });

    test(`${name}: what is lost follows by elimination [FEC-22]`, () => {
      const equations = repairs.map(({ frame }) => {
        const [repair] = slowDecode(fromHex(frame));
        if (repair.type !== 'REPAIR') throw new Error(`${repair.type} is no REPAIR`);
        return { row: repair.index, numbers: [...all.keys()], parity: fromHex(repair.data) };
      });
      expect(slowRecover(there, equations)).toEqual(missing);
    });
  }
});

function carried({ carrying, frame }: { carrying: number; frame: string }): CarriedRepair {
  return { carrying, frame: fromHex(frame) };
}

function symbolsOf(symbols: Symbols): Map<number, Uint8Array> {
  return new Map(Object.entries(symbols).map(([number, hex]) => [Number(number), fromHex(hex)]));
}
