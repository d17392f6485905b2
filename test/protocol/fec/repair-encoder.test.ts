import { describe, expect, test } from 'vitest';
import { FrameReader } from '../../../src/protocol/wire/frame-reader.ts';
import { FrameWriter } from '../../../src/protocol/wire/frame-writer.ts';
import { nextFrame } from '../../../src/protocol/wire/frames/index.ts';
import { bytesOf, type CarriedRepair, Link } from './link.ts';
import { slowParity } from './slow-code.ts';

describe('a repair', () => {
  test('is the sum of what it covers, each times its coefficient [FEC-20] [FEC-22]', () => {
    const link = new Link();
    const symbols = keep(link, [1_000, 1_001, 1_003, 1_010, 1_011]);
    const { row, numbers, parity } = describeRepair(link.repair(1_012, 1_001, 1_010));
    expect(numbers).toEqual([1_001, 1_003, 1_010]);
    const covered = new Map([...symbols].filter(([number]) => numbers.includes(number)));
    expect(parity).toEqual(slowParity(row, covered));
  });

  test('that is the plain sum has row 255 [FEC-22]', () => {
    const link = new Link();
    const symbols = keep(link, [5, 6]);
    expect(describeRepair(link.repair(7, 0, 6, true))).toEqual({
      row: 255,
      numbers: [5, 6],
      parity: slowParity(255, symbols),
    });
  });

  test('has the next row each time, and none that has covered one of its symbols before [FEC-23]', () => {
    const link = new Link();
    keep(link, [1, 2, 3]);
    for (let row = 0; row < 128; row++) expect(describeRepair(link.repair(4, 1, 3)).row).toBe(row);
    const w = new FrameWriter();
    w.begin(new Uint8Array(500), 0, 500);
    expect(link.encoder.write(w, 4, 1, 3)).toBe(0);
    expect(w.at).toBe(0);
    keep(link, [4]);
    expect(describeRepair(link.repair(5, 4, 4)).row).toBe(0);
  });

  test('covers none of the packet that carries it, nor what is 64 numbers or more before it [FEC-24]', () => {
    const link = new Link();
    keep(
      link,
      Array.from({ length: 100 }, (_, i) => i),
    );
    expect(describeRepair(link.repair(99, 0, 1_000)).numbers).toEqual(
      Array.from({ length: 63 }, (_, i) => 36 + i),
    );
  });

  test('covers no symbol that is settled', () => {
    const link = new Link();
    keep(link, [1, 2, 3, 4]);
    link.encoder.forget(1);
    link.encoder.forget(3);
    expect(describeRepair(link.repair(5, 1, 4)).numbers).toEqual([2, 4]);
    expect([1, 2, 3, 4].map((number) => link.encoder.has(number))).toEqual([false, true, false, true]);
  });

  test('is not written where it does not fit, or where there is nothing to cover', () => {
    const link = new Link();
    keep(link, [1]);
    const w = new FrameWriter();
    const size = link.encoder.size(2, 1, 1);
    w.begin(new Uint8Array(size - 1), 0, size - 1);
    expect(link.encoder.write(w, 2, 1, 1)).toBe(0);
    expect([link.encoder.size(2, 0, 0), link.encoder.size(1, 1, 1), link.encoder.size(65, 1, 1)]).toEqual([
      0, 0, 0,
    ]);
  });
});

describe('an encoder', () => {
  test('keeps symbols of up to 1,500 bytes [FEC-24]', () => {
    const { encoder } = new Link();
    expect(
      [0, 1, 1_500, 1_501].map((length) => encoder.keep(length, new Uint8Array(length), 0, length)),
    ).toEqual([false, true, true, false]);
    expect(encoder.has(1_501)).toBe(false);
  });

  test('has memory for what it keeps: none at first, 8 KiB for small ones, 98,304 bytes at most [FEC-24]', () => {
    const link = new Link();
    const { encoder } = link;
    expect(encoder.charged).toBe(0);
    keep(link, [1, 2, 3]);
    expect(encoder.charged).toBe(8_192);
    for (let number = 0; number < 200; number++) encoder.keep(number, new Uint8Array(1_500), 0, 1_500);
    expect(encoder.charged).toBeLessThanOrEqual(98_304);
    encoder.clear();
    expect(encoder.charged).toBe(0);
    expect(encoder.size(200, 0, 199)).toBe(0);
  });

  test('keeps what it has when a longer symbol comes', () => {
    const link = new Link();
    const symbols = keep(link, [1, 2]);
    const long = bytesOf(3, 700);
    link.encoder.keep(3, long, 0, 700);
    expect(describeRepair(link.repair(4, 1, 3)).parity).toEqual(
      slowParity(0, new Map([...symbols, [3, long]])),
    );
  });
});

/** Symbols of different lengths, kept by the link's encoder. */
function keep(link: Link, numbers: readonly number[]): Map<number, Uint8Array> {
  const symbols = new Map(numbers.map((number) => [number, bytesOf(number, 1 + ((number * 31) % 100))]));
  for (const [number, symbol] of symbols) link.encoder.keep(number, symbol, 0, symbol.length);
  return symbols;
}

function describeRepair({ carrying, frame }: CarriedRepair) {
  const reader = new FrameReader();
  reader.reset(frame, 0, frame.length);
  expect(nextFrame(reader)).toBe(true);
  const { dataStart, dataLength, r, k, group, index } = reader;
  const oldest = carrying - group - k + 1;
  const numbers = Array.from({ length: k }, (_, i) => i).filter(
    (i) => r === 0 || (frame[dataStart + (i >> 3)] >> (i & 7)) & 1,
  );
  return {
    row: index,
    numbers: numbers.map((i) => oldest + i),
    parity: frame.slice(dataStart + r, dataStart + dataLength),
  };
}
