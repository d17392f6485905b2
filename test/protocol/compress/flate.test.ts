import { constants, deflateRawSync, inflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import { FlateDeflater, FlateIndex } from '../../../src/protocol/compress/flate-deflater.ts';
import { BLOCKS_MAX, FlateInflater } from '../../../src/protocol/compress/flate-inflater.ts';
import { BROKEN, TOO_LONG } from '../../../src/protocol/compress/lz4-block.ts';
import { messages, noise, reading } from './messages.ts';
import { slowFlate } from './slow-flate.ts';

const ROOM = 70_000;
const NONE = new Uint8Array(0);
const deflater = new FlateDeflater();
const inflater = new FlateInflater();
const out = new Uint8Array(ROOM);

function deflated(message: Uint8Array, dictionary: Uint8Array = NONE): Buffer {
  const end = deflater.deflate(
    message,
    out,
    0,
    ROOM,
    dictionary.length === 0 ? null : new FlateIndex(dictionary),
  );
  return Buffer.from(out.subarray(0, end));
}

function inflated(data: Uint8Array, max = 65_536, dictionary: Uint8Array = NONE): Buffer | number {
  const length = inflater.inflate(data, 0, data.length, max, dictionary);
  return length < 0 ? length : inflater.take();
}

const dictionaries = fc.oneof(
  fc.constant(NONE),
  messages,
  fc.constant(Buffer.alloc(40_000, reading(new Prng(5)))),
);
const zlibOptions = fc.record({
  level: fc.integer({ min: 0, max: 9 }),
  memLevel: fc.integer({ min: 1, max: 9 }),
  strategy: fc.constantFrom(
    constants.Z_DEFAULT_STRATEGY,
    constants.Z_HUFFMAN_ONLY,
    constants.Z_RLE,
    constants.Z_FIXED,
  ),
});

describe('DEFLATE data', () => {
  test('that we make is inflated to the message by us and by zlib [CMP-12]', () => {
    fc.assert(
      fc.property(messages, dictionaries, (message, dictionary) => {
        const data = deflated(message, dictionary);
        expect(inflated(data, message.length, dictionary)).toEqual(Buffer.from(message));
        expect(slowFlate(data, dictionary)).toEqual([...message]);
      }),
      { numRuns: 400 },
    );
  });

  test('that zlib makes, of any level and kind of blocks, is inflated by us [CMP-12]', () => {
    fc.assert(
      fc.property(messages, dictionaries, zlibOptions, (message, dictionary, options) => {
        const data = deflateRawSync(message, dictionary.length === 0 ? options : { ...options, dictionary });
        expect(inflated(data, 65_536, dictionary)).toEqual(Buffer.from(message));
      }),
      { numRuns: 400 },
    );
  });

  test('is hardly longer than that of zlib', () => {
    const prng = new Prng(11);
    const message = Buffer.concat(Array.from({ length: 200 }, () => reading(prng)));
    expect(deflated(message).length).toBeLessThan(1.03 * deflateRawSync(message).length);
  });

  test('of the longest message there is comes back, what cannot become smaller, too', () => {
    for (const message of [noise(65_536), Buffer.alloc(65_536, 'abc'), Buffer.alloc(65_536)]) {
      const data = deflated(message);
      expect((inflated(data) as Buffer).equals(message)).toBe(true);
      expect(inflateRawSync(data).equals(message)).toBe(true);
    }
  });

  test('has no code of more than 15 bits, however rare a byte is', () => {
    // counts as in Fibonacci's row make the longest codes
    const bytes: number[] = [];
    for (
      let [byte, count, next] = [0, 1, 1];
      bytes.length + count <= 65_536;
      [count, next] = [next, count + next]
    )
      for (let n = 0, value = byte++ * 7; n < count; n++) bytes.push(value % 256);
    const prng = new Prng(3);
    for (let i = bytes.length - 1; i > 0; i--) {
      const k = prng.below(i + 1);
      [bytes[i], bytes[k]] = [bytes[k], bytes[i]];
    }
    const message = Buffer.from(bytes);
    expect(inflateRawSync(deflated(message)).equals(message)).toBe(true);
  });

  test('is not made where it would take more than it may, and writes nothing behind that', () => {
    fc.assert(
      fc.property(messages, (message) => {
        const made = deflated(message);
        const room = new Uint8Array(made.length + 8).fill(0xaa);
        expect(deflater.deflate(message, room, 2, 2 + made.length, null)).toBe(2 + made.length);
        expect([...room.subarray(0, 2), ...room.subarray(2 + made.length)]).toEqual(Array(8).fill(0xaa));
        expect(deflater.deflate(message, room, 2, 1 + made.length, null)).toBe(0);
      }),
      { numRuns: 100 },
    );
  });

  test('is the same whatever was deflated before, also when positions begin anew', () => {
    const prng = new Prng(9);
    const short = new FlateDeflater(5_000);
    for (let i = 0; i < 200; i++) {
      const message = Buffer.concat([reading(prng), reading(prng)]);
      const end = short.deflate(message, out, 0, ROOM, null);
      const data = Buffer.from(out.subarray(0, end));
      expect(data.equals(deflated(message))).toBe(true);
      expect(inflateRawSync(data).equals(message)).toBe(true);
    }
  });
});

describe('fuzz: DEFLATE data of whatever bytes', () => {
  test('is inflated as zlib does, or refused where zlib refuses it, and never throws [CMP-12]', () => {
    let taken = 0;
    const changes = fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 3 });
    const data = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      // a block with codes of its own, which are noise
      fc.uint8Array({ maxLength: 80 }).map((bytes) => Uint8Array.of(0x05, ...bytes)),
      fc.tuple(messages, zlibOptions, changes).map(([message, options, changed]) => {
        const made = Uint8Array.from(deflateRawSync(message, options));
        for (const [at, byte] of changed) if (at < made.length) made[at] = byte;
        return made;
      }),
    );
    fc.assert(
      fc.property(data, dictionaries, (bytes, dictionary) => {
        const mine = inflated(bytes, 65_536, dictionary);
        const slow = slowFlate(bytes, dictionary);
        if (slow !== null) taken++;
        expect(typeof mine === 'number' ? null : [...mine]).toEqual(slow);
      }),
      { numRuns: 3_000 },
    );
    expect(taken).toBeGreaterThan(300);
  });

  test('that becomes longer than it may is refused, at 64 KiB at the latest [CMP-12]', () => {
    const bomb = deflateRawSync(Buffer.alloc(65_537));
    expect(inflated(bomb)).toBe(TOO_LONG);
    expect(inflated(bomb, 2 ** 30)).toBe(TOO_LONG);
    expect(inflated(deflateRawSync(Buffer.alloc(1_001)), 1_000)).toBe(TOO_LONG);
    expect(inflated(deflateRawSync(noise(1_001), { level: 0 }), 1_000)).toBe(TOO_LONG);
    expect(inflated(deflateRawSync(noise(1_001), { strategy: constants.Z_HUFFMAN_ONLY }), 1_000)).toBe(
      TOO_LONG,
    );
  });

  test('of blocks without end is refused after some', () => {
    const empty = Buffer.of(0, 0, 0, 0xff, 0xff);
    const blocks = (count: number) =>
      Buffer.concat([...Array.from({ length: count - 1 }, () => empty), Buffer.of(1, 0, 0, 0xff, 0xff)]);
    expect(inflated(blocks(BLOCKS_MAX))).toEqual(Buffer.alloc(0));
    expect(inflated(blocks(BLOCKS_MAX + 1))).toBe(BROKEN);
  });

  test('that goes on behind its last block is refused [CMP-12]', () => {
    const data = deflated(reading(new Prng(1)));
    expect(inflated(Buffer.concat([data, Buffer.of(0)]))).toBe(BROKEN);
  });
});
