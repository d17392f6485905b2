import { describe, expect, test } from 'vitest';
import { equalBytes } from '../../../src/base/bytes.ts';
import type { RepairDecoder } from '../../../src/protocol/fec/repair-decoder.ts';
import { type CarriedRepair, Link, receive } from './link.ts';

/** A block of k packets and r repairs, of which the first is their sum; sent again and again, 128 numbers later each time. */
class Block {
  readonly k: number;
  readonly r: number;
  private readonly symbols: Uint8Array[];
  private readonly repairs: CarriedRepair[];
  private readonly decoder: RepairDecoder;
  private first = 0;

  constructor(k: number, r: number) {
    const link = new Link();
    this.k = k;
    this.r = r;
    this.symbols = Array.from({ length: k }, (_, i) => Uint8Array.of(i, 2 * i, 3 * i));
    this.symbols.forEach((symbol, i) => {
      link.encoder.keep(i, symbol, 0, symbol.length);
    });
    this.repairs = Array.from({ length: r }, (_, i) => link.repair(k + i, 0, k - 1, i === 0));
    this.decoder = link.decoder();
  }

  /** Sends it; returns how many of its k packets are lost, and how many of these come back as they were. */
  send(isLost: readonly boolean[]): { lost: number; recovered: number } {
    const { k, decoder, symbols } = this;
    this.first += 128; // which has the same coefficients
    symbols.forEach((symbol, i) => {
      if (!isLost[i]) decoder.onSymbol(this.first + i, symbol, 0, symbol.length, 0);
    });
    this.repairs.forEach(({ carrying, frame }, i) => {
      if (!isLost[k + i]) receive(decoder, { carrying: this.first + carrying, frame });
    });
    let recovered = 0;
    for (let symbol = decoder.poll(); symbol !== null; symbol = decoder.poll()) {
      const i = symbol.number - this.first;
      if (!isLost[i] || !equalBytes(symbol.bytes, symbols[i])) expect.fail(`packet ${i} is not as it was`);
      recovered++;
    }
    return { lost: isLost.slice(0, k).filter(Boolean).length, recovered };
  }
}

const CODES: [k: number, r: number][] = [
  [10, 2],
  [4, 1],
  [20, 4],
];

describe('of packets lost at random', () => {
  for (const [k, r] of CODES) {
    test(`${k} + ${r} recovers the share that is binomial, at 1, 5, 10 and 20 % [FEC-22]`, () => {
      const shares = sharesByLosses(new Block(k, r));
      for (const loss of [0.01, 0.05, 0.1, 0.2]) {
        let [lost, recovered] = [0, 0];
        for (const [losses, share] of shares.entries()) {
          const weight = binomial(k + r, loss, losses);
          lost += weight * share.lost;
          recovered += weight * share.recovered;
        }
        // Of the k + r - 1 others at most r - 1 are lost.
        let predicted = 0;
        for (let others = 0; others < r; others++) predicted += binomial(k + r - 1, loss, others);
        expect(Math.abs(recovered / lost - predicted)).toBeLessThan(0.02);
      }
    });
  }
});

/** For each number of losses in a block how many of its k packets are lost, and recovered, on average of some ways to lose them. */
function sharesByLosses(block: Block): { lost: number; recovered: number }[] {
  const random = randomFrom(1);
  const size = block.k + block.r;
  return Array.from({ length: size + 1 }, (_, losses) => {
    const sum = { lost: 0, recovered: 0 };
    for (let way = 0; way < WAYS; way++) {
      const { lost, recovered } = block.send(lossesOf(size, losses, random));
      sum.lost += lost / WAYS;
      sum.recovered += recovered / WAYS;
    }
    return sum;
  });
}

describe('of bursts, wherever they begin', () => {
  for (const [k, r] of CODES) {
    for (const length of [2, 4]) {
      test(`of ${length}, ${k} + ${r} recovers what is in blocks with at most ${r} losses [FEC-22]`, () => {
        const block = new Block(k, r);
        for (let begin = 0; begin < k + r; begin++) {
          const lostAt = Array.from({ length }, (_, i) => begin + i);
          for (const number of [0, 1]) {
            const base = number * (k + r);
            const isLost = Array.from({ length: k + r }, (_, i) => lostAt.includes(base + i));
            const losses = isLost.filter(Boolean).length;
            const result = block.send(isLost);
            expect(result.recovered).toBe(losses <= r ? result.lost : 0);
          }
        }
      });
    }
  }
});

test('any k of k + r packets are enough, for random losses of up to 20 + 4 [FEC-22]', () => {
  const random = randomFrom(7);
  for (let round = 0; round < 150; round++) {
    const k = 1 + Math.floor(random() * 20);
    const r = 1 + Math.floor(random() * 4);
    const block = new Block(k, r);
    for (let again = 0; again < 10; again++) {
      const { lost, recovered } = block.send(lossesOf(k + r, Math.floor(random() * (r + 1)), random));
      expect(recovered).toBe(lost);
    }
  }
});

/** So many of `size` packets, any. */
function lossesOf(size: number, losses: number, random: () => number): boolean[] {
  const isLost = Array.from({ length: size }, (_, i) => i < losses);
  for (let i = size - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [isLost[i], isLost[j]] = [isLost[j], isLost[i]];
  }
  return isLost;
}

/** The probability that just so many of n happen. */
function binomial(n: number, p: number, happen: number): number {
  let ways = 1;
  for (let i = 0; i < happen; i++) ways = (ways * (n - i)) / (i + 1);
  return ways * p ** happen * (1 - p) ** (n - happen);
}

/** Numbers in [0, 1) that are the same each time (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const WAYS = 100;
