import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import { chooseLz4, Dictionary, type Lz4Codec, type Lz4Name } from '../../../src/protocol/compress/index.ts';
import { BlockDeflater, BROKEN, inflatedLength, TOO_LONG } from '../../../src/protocol/compress/lz4-block.ts';
import { messages, noise, reading } from './messages.ts';
import { slowBlock, slowInflate, slowSequences } from './slow-lz4.ts';

const NAMES: readonly Lz4Name[] = ['js', 'native'];
const codecs = NAMES.map((name) => chooseLz4(name));
const [js, native] = codecs;
const readings = Array.from({ length: 400 }, (_, seed) => reading(new Prng(seed)));
const dictionaries = [
  null,
  new Dictionary(readings[0]),
  new Dictionary(Buffer.concat(readings.slice(0, 30))),
  new Dictionary(Buffer.concat(readings).subarray(0, 8_192)),
  new Dictionary(noise(2_000)),
  new Dictionary(Uint8Array.of(7)),
];

const LONG_READING = Buffer.concat(readings.slice(0, 10));

describe.each(NAMES)('LZ4 blocks, %s', (name) => {
  const codec = chooseLz4(name);

  test('are inflated to what they were made of by all, with and without dictionaries [CMP-1] [CMP-4]', () => {
    fc.assert(
      fc.property(messages, fc.constantFrom(...dictionaries), (message, dictionary) => {
        const block = blockOf(codec, message, dictionary);
        const before = dictionary?.bytes ?? new Uint8Array(0);
        expect(Buffer.from(slowInflate(block, before)!).equals(message)).toBe(true);
        expect(inflatedLength(block, 0, block.length, message.length, before.length)).toBe(message.length);
        for (const { inflate } of codecs.map(bound)) {
          expect(inflate(block, message.length, dictionary)?.equals(message)).toBe(true);
        }
      }),
      { numRuns: 200 },
    );
  });

  test('end with 5 literals, and begin no match in the last 12 bytes [CMP-1]', () => {
    fc.assert(
      fc.property(messages, fc.constantFrom(...dictionaries), (message, dictionary) => {
        const sequences = slowSequences(blockOf(codec, message, dictionary))!;
        let at = 0;
        for (const { literals, match } of sequences) {
          at += literals.length;
          if (match === null) continue;
          expect(at).toBeLessThanOrEqual(message.length - 12);
          expect(match.offset).toBeGreaterThanOrEqual(1);
          at += match.length;
        }
        expect(at).toBe(message.length);
        if (sequences.length > 1) expect(sequences.at(-1)!.literals.length).toBeGreaterThanOrEqual(5);
      }),
      { numRuns: 200 },
    );
  });

  test('that do not fit are not made, and nothing is written beyond the limit', () => {
    fc.assert(
      fc.property(messages, fc.constantFrom(...dictionaries), fc.nat(100), (message, dictionary, percent) => {
        const needed = blockOf(codec, message, dictionary).length;
        const limit = Math.floor((needed * percent) / 100);
        const out = new Uint8Array(needed + 40).fill(0xee);
        const end = codec.deflate(message, out, 3, 3 + limit, dictionary);
        expect(end).toBe(limit < needed ? 0 : 3 + needed);
        expect(out.subarray(3 + limit).every((byte) => byte === 0xee)).toBe(true);
      }),
      { numRuns: 200 },
    );
  });
});

test('long messages go through matches that reach 65,535 bytes back, and no further', () => {
  const random = noise(70_000);
  const piece = noise(40, 2);
  for (const distance of [65_000, 65_535, 65_536, 70_000]) {
    const message = Buffer.alloc(distance + 200, random.subarray(0, distance));
    message.set(piece, 100);
    message.set(piece, 100 + distance);
    for (const codec of codecs) {
      const block = blockOf(codec, message, null);
      expect(inflatedLength(block, 0, block.length, 2 ** 24, 0)).toBe(message.length);
      for (const { inflate } of codecs.map(bound))
        expect(inflate(block, message.length, null)?.equals(message)).toBe(true);
    }
  }
});

test('the positions of a deflater start over after many blocks, and blocks are the same before and after', () => {
  const deflater = new BlockDeflater(10_000);
  const out = new Uint8Array(2_000);
  const ends = new Set<number>();
  for (let i = 0; i < 50; i++) {
    const end = deflater.deflate(LONG_READING, out, 0, out.length, null);
    ends.add(end);
    expect(Buffer.from(slowInflate(out.subarray(0, end))!)).toEqual(LONG_READING);
  }
  expect(ends.size).toBe(1);
});

describe('what claims to be a block', () => {
  test('is counted as its slow twin inflates it, and both codecs inflate what was counted [CMP-1] [CMP-5]', () => {
    let inflated = 0;
    fc.assert(
      fc.property(hostileBlocks, fc.constantFrom(...dictionaries), (block, dictionary) => {
        const before = dictionary?.bytes ?? new Uint8Array(0);
        const length = inflatedLength(block, 0, block.length, 100_000, before.length);
        const slow = slowInflate(block, before);
        if (slow === null || slow.length > 100_000) {
          expect(length).toBeLessThan(0);
          return;
        }
        expect(length).toBe(slow.length);
        inflated++;
        for (const { inflate } of codecs.map(bound)) {
          expect(inflate(block, length, dictionary)?.equals(Buffer.from(slow))).toBe(true);
        }
      }),
      { numRuns: 1_500 },
    );
    expect(inflated).toBeGreaterThan(300);
  });

  test.each([
    ['nothing', []],
    ['a token without its literals', [0x50, 1, 2]],
    ['a literal length that goes on over the end', [0xf0, 255, 255]],
    ['an offset of 0', [0x14, 7, 0, 0, 0x10, 7]],
    ['an offset beyond the beginning', [0x14, 7, 2, 0, 0x10, 7]],
    ['half an offset', [0x14, 7, 1]],
    ['a match length that goes on over the end', [0x1f, 7, 1, 0, 255]],
    ['a match and no literals behind it', [0x14, 7, 1, 0]],
  ])('is none: %s [CMP-1]', (_, bytes) => {
    const block = Uint8Array.from(bytes);
    expect(inflatedLength(block, 0, block.length, 1_000, 0)).toBe(BROKEN);
    expect(slowInflate(block)).toBeNull();
  });

  test('is told as too long before it is inflated, by however little [CMP-5]', () => {
    const bomb = Buffer.concat([Buffer.of(0x1f, 0, 1, 0), Buffer.alloc(1_000, 255), Buffer.of(0, 0x10, 0)]);
    const length = 1 + 19 + 255 * 1_000 + 1;
    expect(inflatedLength(bomb, 0, bomb.length, length, 0)).toBe(length);
    expect(inflatedLength(bomb, 0, bomb.length, length - 1, 0)).toBe(TOO_LONG);
    expect(length / bomb.length).toBeLessThan(255);
  });
});

test('a dictionary of 65,535 bytes is reached to its first byte', () => {
  const dictionary = new Dictionary(noise(65_535));
  const message = Buffer.concat([
    dictionary.bytes.subarray(0, 30),
    noise(20, 2),
    dictionary.bytes.subarray(65_500),
  ]);
  for (const codec of codecs) {
    const block = blockOf(codec, message, dictionary);
    expect(inflatedLength(block, 0, block.length, message.length, 65_535)).toBe(message.length);
    for (const { inflate } of codecs.map(bound)) {
      expect(inflate(block, message.length, dictionary)?.equals(message)).toBe(true);
    }
  }
  const first = Uint8Array.of(0x00, 0xff, 0xff, 0x50, 1, 2, 3, 4, 5); // a match of 4 that is 65,535 bytes back
  const expected = Buffer.concat([dictionary.bytes.subarray(0, 4), Buffer.of(1, 2, 3, 4, 5)]);
  for (const { inflate } of codecs.map(bound)) expect(inflate(first, 9, dictionary)).toEqual(expected);
});

test('dictionaries are named by the first 8 bytes of their SHA-256 [CMP-4]', () => {
  expect(new Dictionary(Buffer.from('abc')).name).toBe('ba7816bf8f01cfea');
});

test('a dictionary makes readings of 100 to 200 bytes small', () => {
  const trained = dictionaries[3];
  let before = 0;
  let after = 0;
  for (const message of readings) {
    before += message.length;
    after += blockOf(js, message, trained).length;
  }
  expect(before / after).toBeGreaterThan(2);
});

test('the codec for short messages and the one for long ones are chosen by length, and answer alike', () => {
  const auto = chooseLz4();
  for (const length of [0, 1, 100, 700, 800, 1_500, 1_600, 20_000]) {
    const message = Buffer.alloc(length, readings[1]);
    for (const dictionary of dictionaries) {
      const block = blockOf(auto, message, dictionary);
      expect(bound(auto).inflate(block, length, dictionary)?.equals(message)).toBe(true);
    }
  }
  expect(native.name).toBe('native');
});

describe('where lz4-napi', () => {
  /** A codec chosen in a module of its own, to which the library is this. */
  const chosenWith = async (library: () => unknown): Promise<typeof chooseLz4> => {
    vi.resetModules();
    vi.doMock('node:module', () => ({ createRequire: () => library }));
    try {
      return (await import('../../../src/protocol/compress/codec.ts')).chooseLz4;
    } finally {
      vi.doUnmock('node:module');
      vi.resetModules();
    }
  };
  const missing = () => {
    throw new Error('not installed');
  };
  const wrong = () => ({
    compressSync: (data: Buffer) => Buffer.concat([Buffer.alloc(4), data.subarray(0, 9)]),
  });

  test.each([
    ['is not installed', missing],
    ['answers wrongly', wrong],
  ])('%s, all is compressed in TypeScript, and asking for it is an error', async (_, library) => {
    const choose = await chosenWith(library);
    expect(choose().name).toBe('js');
    const message = Buffer.concat(readings);
    expect(bound(choose()).inflate(blockOf(choose(), message, null), message.length, null)).toEqual(message);
    expect(() => choose('native')).toThrow(expect.objectContaining({ code: 'ERR_JSP_LZ4_UNAVAILABLE' }));
  });
});

function blockOf(codec: Lz4Codec, message: Uint8Array, dictionary: Dictionary | null): Uint8Array {
  const out = new Uint8Array(message.length + message.length / 255 + 16);
  return out.subarray(0, codec.deflate(message, out, 0, out.length, dictionary));
}

function bound(codec: Lz4Codec) {
  return {
    inflate: (block: Uint8Array, length: number, dictionary: Dictionary | null) =>
      codec.inflate(block, 0, block.length, length, dictionary),
  };
}

/** Rows of sequences that may reach back too far, and the same with some bytes changed. */
const hostileBlocks = fc
  .tuple(
    fc.array(
      fc.record({
        literals: fc.array(fc.nat(255), { maxLength: 40 }),
        match: fc.record({
          offset: fc.oneof(fc.nat(40), fc.nat(65_535)),
          length: fc.oneof(fc.integer({ min: 4, max: 30 }), fc.integer({ min: 4, max: 900 })),
        }),
      }),
      { maxLength: 6 },
    ),
    fc.array(fc.nat(255), { maxLength: 30 }),
    fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 2 }),
  )
  .map(([row, literals, changes]) => {
    const block = slowBlock([...row, { literals, match: null }]);
    for (const [at, byte] of changes) if (at < block.length) block[at] = byte;
    return block;
  });
