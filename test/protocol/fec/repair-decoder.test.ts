import { describe, expect, test } from 'vitest';
import { MemoryAccount, MemoryBudget } from '../../../src/base/memory-budget.ts';
import { arrive, bytesOf, type CarriedRepair, Link, receive, recovered, repairOf } from './link.ts';
import { slowParity } from './slow-code.ts';

describe('a block of k symbols and r repairs over all of them', () => {
  test('is whole with any k of them, exhaustively to 6 + 4, the first repair being the sum [FEC-22]', () => {
    for (let k = 1; k <= 6; k++) for (let r = 1; r <= 4; r++) everyLoss(k, r);
  });
});

describe('a decoder', () => {
  test('recovers a symbol in whatever order symbols and repairs come [FEC-25]', () => {
    const { link, symbols, repairs, first } = block(4, 2, 50);
    const steps: ((decoder: ReturnType<Link['decoder']>) => void)[] = [
      (decoder) => arrive(decoder, first, symbols[0]),
      (decoder) => arrive(decoder, first + 3, symbols[3]),
      (decoder) => receive(decoder, repairs[0]),
      (decoder) => receive(decoder, repairs[1]),
    ];
    for (const order of permutations([0, 1, 2, 3])) {
      const decoder = link.decoder();
      const found = new Map<number, Uint8Array>();
      for (const i of order) {
        expect(found.size).toBe(0);
        steps[i](decoder);
        for (const [number, symbol] of recovered(decoder)) found.set(number, symbol);
      }
      expect(found).toEqual(
        new Map([
          [51, symbols[1]],
          [52, symbols[2]],
        ]),
      );
      expect(decoder.counts.recovered).toBe(2);
    }
  });

  test('says nothing of a symbol that came late, nor twice of one', () => {
    const { link, symbols, repairs, first } = block(2, 2, 10);
    const decoder = link.decoder();
    arrive(decoder, first, symbols[0]);
    receive(decoder, repairs[0]);
    expect([...recovered(decoder).keys()]).toEqual([11]);
    arrive(decoder, 11, symbols[1]);
    receive(decoder, repairs[1]);
    expect(decoder.poll()).toBe(null);
    expect(decoder.counts).toMatchObject({ received: 2, recovered: 1, useless: 1, ignored: 0, corrupt: 0 });
  });

  test('says that a packet came when the nearest lower number did, or a higher one before that; of one ahead of all that came nobody knows [FEC-44]', () => {
    const { link, symbols, repairs } = block(5, 2, 100);
    const decoder = link.decoder();
    arrive(decoder, 101, symbols[1], 1_000);
    arrive(decoder, 103, symbols[3], 900);
    arrive(decoder, 104, symbols[4], 1_100);
    receive(decoder, repairs[0]);
    receive(decoder, repairs[1]);
    const found = [decoder.poll(), decoder.poll()].map((symbol) => [symbol?.number, symbol?.arrivedAt]);
    expect(new Map(found as [number, number][])).toEqual(
      new Map([
        [100, Number.NEGATIVE_INFINITY],
        [102, 900],
      ]),
    );
  });

  test('looks at 64 numbers: a repair that covers an older one is useless [FEC-25]', () => {
    const { link, symbols, repairs } = block(3, 1, 100);
    const [near, far] = [link.decoder(), link.decoder()];
    for (const decoder of [near, far]) for (const i of [0, 2]) arrive(decoder, 100 + i, symbols[i]);
    arrive(near, 163, bytesOf(1, 10));
    arrive(far, 164, bytesOf(1, 10));
    for (const decoder of [near, far]) receive(decoder, repairs[0]);
    expect([...recovered(near).keys()]).toEqual([101]);
    expect([...recovered(far).keys()]).toEqual([]);
    expect(far.counts.useless).toBe(1);
  });

  test('forgets an equation when what it waits for is too old [FEC-25]', () => {
    const { link, symbols, repairs } = block(3, 2, 100);
    const decoder = link.decoder();
    arrive(decoder, 100, symbols[0]);
    receive(decoder, repairs[0]); // waits for 101 and 102
    arrive(decoder, 165, bytesOf(1, 10)); // 101 is out of sight
    receive(decoder, repairs[1]);
    arrive(decoder, 102, symbols[2]);
    expect(decoder.poll()).toBe(null);
  });

  test('refuses a span below number 0, and ignores an unknown code [FEC-21]', () => {
    const { link } = block(3, 1, 100);
    const decoder = link.decoder();
    expect(receive(decoder, repairOf({ carrying: 3, group: 1, row: 0, span: 4, parity: [0, 1, 1] }))).toBe(
      false,
    );
    expect(receive(decoder, repairOf({ carrying: 3, group: 1, row: 0, span: 3, parity: [0, 1, 1] }))).toBe(
      true,
    );
    expect(
      receive(decoder, repairOf({ code: 9, carrying: 3, group: 1, row: 0, span: 4, parity: [0, 1, 1] })),
    ).toBe(true);
    expect(decoder.counts.ignored).toBe(1);
  });

  test('is paid by the bytes of honest packets for all that late ones cost, however long that goes on [FEC-28]', () => {
    const decoder = new Link().decoder();
    for (let first = 64; first < 64 * 150; first += 64) {
      const { symbols, repairs } = block(4, 2, first);
      arrive(decoder, first, symbols[0]);
      for (const repair of repairs) receive(decoder, repair);
      arrive(decoder, first + 3, symbols[3]); // which both wait for
      expect(new Set(recovered(decoder).keys())).toEqual(new Set([first + 1, first + 2]));
    }
    expect(decoder.counts).toMatchObject({ ignored: 0, useless: 0 });
  });

  test('gives its memory back when 65 numbers had no symbols [FEC-26]', () => {
    const { link, symbols, repairs } = block(3, 1, 100);
    const decoder = link.decoder();
    arrive(decoder, 100, symbols[0]);
    receive(decoder, repairs[0]);
    expect(decoder.charged).toBeGreaterThan(0);
    decoder.trim(102 + 64);
    expect(decoder.charged).toBeGreaterThan(0);
    decoder.trim(102 + 65);
    expect(decoder.charged).toBe(0);
    arrive(decoder, 101, symbols[1]);
    expect(decoder.poll()).toBe(null);
  });

  test('recovers again after it has given memory back', () => {
    const decoder = new Link().decoder();
    for (const first of [100, 1_000]) {
      const { symbols, repairs } = block(3, 1, first);
      arrive(decoder, first, symbols[0]);
      arrive(decoder, first + 1, symbols[1]);
      receive(decoder, repairs[0]);
      expect(recovered(decoder)).toEqual(new Map([[first + 2, symbols[2]]]));
      decoder.trim(first + 500);
    }
  });

  test('holds no more memory than it has told, and keeps no symbol for which there is none [FEC-27]', () => {
    for (const bytesMax of [0, 5_000, 8_384, 20_000, 131_072]) {
      const decoder = new Link().decoder(bytesMax);
      for (let number = 0; number < 200; number += 2) {
        arrive(decoder, number, bytesOf(number, 1 + ((number * 67) % 1_500)));
        const span = Math.min(number + 1, 33);
        receive(
          decoder,
          repairOf({
            carrying: number + 1,
            group: 1,
            row: number % 128,
            span,
            parity: [5, ...bytesOf(3, 1_501)],
          }),
        );
        expect(decoder.charged).toBeLessThanOrEqual(bytesMax);
      }
      recovered(decoder);
    }
  });

  test('takes memory in steps, by the longest symbol, and gives back all of it [FEC-27]', () => {
    const account = new MemoryAccount(new MemoryBudget(2 ** 30), 0);
    const decoder = new Link().decoder(131_072, account);
    const steps = [100, 126, 127, 1_500].map((length, number) => {
      arrive(decoder, number, new Uint8Array(length));
      expect(decoder.charged).toBeLessThanOrEqual(account.reserved);
      return account.reserved;
    });
    expect(steps[0]).toBe(64 * 128 + 32 * (64 + 128));
    expect(steps[1]).toBe(steps[0]);
    expect(steps[2]).toBe(64 * 256 + 32 * (64 + 256));
    expect(steps[3]).toBeGreaterThan(96_000);
    expect(steps[3]).toBeLessThanOrEqual(131_072);
    decoder.clear();
    expect([account.reserved, decoder.charged]).toEqual([0, 0]);
  });

  test('goes by where there is no memory for it, with all that is too long [FEC-27]', () => {
    const account = new MemoryAccount(new MemoryBudget(100_000), 0);
    const decoder = new Link().decoder(131_072, account);
    const { symbols, repairs } = block(3, 1, 100);
    arrive(decoder, 99, new Uint8Array(1_500));
    expect(account.reserved).toBe(0);
    arrive(decoder, 100, symbols[0]);
    arrive(decoder, 102, symbols[2]);
    receive(decoder, repairs[0]);
    expect(recovered(decoder)).toEqual(new Map([[101, symbols[1]]]));
  });

  test('throws away what is no symbol, and ignores repairs after the fourth [FEC-29]', () => {
    const decoder = new Link().decoder();
    const corrupt = [
      [0, 0, 0, 0], // empty
      [0, 3, 1, 1], // longer than the parity
      [0, 1, 1, 1], // not padded with zeros
    ];
    corrupt.forEach((parity, i) => {
      receive(decoder, repairOf({ carrying: 10 + i, group: 1, row: 255, span: 1, parity }));
      expect(decoder.counts.corrupt).toBe(i + 1);
    });
    expect(receive(decoder, repairOf({ carrying: 13, group: 1, row: 255, span: 1, parity: [0, 1, 7] }))).toBe(
      true,
    );
    expect(recovered(decoder)).toEqual(new Map([[12, Uint8Array.of(7)]]));
    decoder.onCorrupt(); // which cannot be read as frames
    expect(decoder.charged).toBe(0);
    receive(decoder, repairOf({ carrying: 14, group: 1, row: 255, span: 1, parity: [0, 1, 7] }));
    expect(decoder.poll()).toBe(null);
    expect(decoder.counts).toMatchObject({ recovered: 1, corrupt: 4, ignored: 1 });
  });

  test('finds repairs that contradict what came, or each other [FEC-29]', () => {
    const decoder = new Link().decoder();
    const symbol = bytesOf(1, 20);
    arrive(decoder, 1, symbol);
    receive(decoder, repairOf({ carrying: 3, group: 1, row: 255, span: 2, parity: [0, 1, 7] })); // shorter than a symbol in it
    expect(decoder.counts.corrupt).toBe(1);
    const parity = [
      ...slowParity(
        255,
        new Map([
          [4, symbol],
          [5, symbol],
        ]),
      ),
    ];
    receive(decoder, repairOf({ carrying: 6, group: 1, row: 255, span: 2, parity }));
    receive(decoder, repairOf({ carrying: 6, group: 1, row: 255, span: 2, parity: [1, ...parity.slice(1)] }));
    expect(decoder.counts.corrupt).toBe(2);
    receive(decoder, repairOf({ carrying: 6, group: 1, row: 255, span: 2, parity }));
    expect(decoder.counts.corrupt).toBe(2);
    arrive(decoder, 4, bytesOf(2, 21)); // longer than the repair that covers it
    expect(decoder.counts.corrupt).toBe(3);
    expect(decoder.poll()).toBe(null);
  });
});

/** All ways to lose up to r packets of a block. */
function everyLoss(k: number, r: number): void {
  const { symbols, repairs, first, link } = block(k, r, k * 1_000 + r * 100);
  for (let mask = 0; mask < 2 ** (k + r); mask++) {
    if (bitsOf(mask) > r) continue;
    const decoder = link.decoder();
    symbols.forEach((symbol, i) => {
      if ((mask & (1 << i)) === 0) arrive(decoder, first + i, symbol);
    });
    repairs.forEach((repair, i) => {
      if ((mask & (1 << (k + i))) === 0) expect(receive(decoder, repair)).toBe(true);
    });
    const missing = symbols.flatMap((symbol, i): [number, Uint8Array][] =>
      (mask & (1 << i)) === 0 ? [] : [[first + i, symbol]],
    );
    expect(recovered(decoder)).toEqual(new Map(missing));
  }
}

/** k symbols of different lengths from a number on, and r repairs behind them, one a packet. */
function block(k: number, r: number, first: number) {
  const link = new Link();
  const symbols = Array.from({ length: k }, (_, i) => bytesOf(first + i, 1 + ((i * 37) % 90)));
  symbols.forEach((symbol, i) => {
    link.encoder.keep(first + i, symbol, 0, symbol.length);
  });
  const repairs: CarriedRepair[] = Array.from({ length: r }, (_, i) =>
    link.repair(first + k + i, first, first + k - 1, i === 0),
  );
  return { link, symbols, repairs, first };
}

function bitsOf(mask: number): number {
  let bits = 0;
  for (let rest = mask; rest !== 0; rest &= rest - 1) bits++;
  return bits;
}

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length === 0) return [[]];
  return items.flatMap((item, i) => permutations(items.toSpliced(i, 1)).map((rest) => [item, ...rest]));
}
