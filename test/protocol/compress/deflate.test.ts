import assert from 'node:assert/strict';
import { constants, deflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import { DEFLATE_BYTES_MAX, deflateTo, inflateFrom } from '../../../src/protocol/compress/deflate.ts';
import { Dictionary } from '../../../src/protocol/compress/index.ts';
import { BROKEN, TOO_LONG } from '../../../src/protocol/compress/lz4-block.ts';
import { messages, noise, reading } from './messages.ts';

const ROOM = 70_000;

function deflated(message: Uint8Array, dictionary: Dictionary | null = null): Buffer {
  const out = Buffer.alloc(ROOM);
  return out.subarray(0, deflateTo(message, out, 0, ROOM, dictionary));
}

function inflated(data: Uint8Array, max = DEFLATE_BYTES_MAX, dictionary: Dictionary | null = null) {
  return inflateFrom(data, 0, data.length, max, dictionary);
}

const dictionaries = fc.oneof(
  fc.constant(null),
  messages.map((bytes) => (bytes.length === 0 ? null : new Dictionary(bytes))),
  // more than DEFLATE reaches
  fc.constant(new Dictionary(Buffer.concat([noise(30_000), Buffer.alloc(10_000, reading(new Prng(5)))]))),
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
  test('is inflated to the message, with and without a dictionary [CMP-12]', () => {
    fc.assert(
      fc.property(messages, dictionaries, (message, dictionary) => {
        const data = deflated(message, dictionary);
        assert.deepEqual(inflated(data, message.length, dictionary), Buffer.from(message));
        if (message.length > 0) expect(inflated(data, message.length - 1, dictionary)).toBe(TOO_LONG);
      }),
      { numRuns: 400 },
    );
  });

  test('of any level and kind of blocks is inflated [CMP-12]', () => {
    fc.assert(
      fc.property(messages, dictionaries, zlibOptions, (message, dictionary, options) => {
        const data = deflateRawSync(
          message,
          dictionary === null ? options : { ...options, dictionary: dictionary.bytes },
        );
        assert.deepEqual(inflated(data, message.length, dictionary), Buffer.from(message));
      }),
      { numRuns: 400 },
    );
  });

  test('is as small as with the largest window, whatever the window is that was chosen', () => {
    for (const count of [1, 3, 10, 30, 100, 300]) {
      const prng = new Prng(count);
      const message = Buffer.concat(Array.from({ length: count }, () => reading(prng)));
      for (const dictionary of [
        null,
        new Dictionary(message.subarray(0, 2_000)),
        new Dictionary(noise(9_000)),
      ]) {
        const options = dictionary === null ? {} : { dictionary: dictionary.bytes };
        const most = deflateRawSync(message, options).length * 1.002 + 1;
        expect(deflated(message, dictionary).length).toBeLessThanOrEqual(most);
      }
    }
  });

  test('reaches the last of a dictionary and no byte of others', () => {
    const dictionary = new Dictionary(noise(65_535));
    const message = dictionary.bytes.subarray(40_000, 41_000);
    const data = deflated(message, dictionary);
    expect(data.length).toBeLessThan(50);
    expect(inflated(data, 1_000, dictionary)).toEqual(message);
    expect(inflated(data, 1_000, null)).toBe(BROKEN);
    expect(inflated(data, 1_000, new Dictionary(noise(500)))).toBe(BROKEN);
  });

  test('of the longest message there is comes back; of one that cannot become smaller, none is made [CMP-12]', () => {
    for (const message of [Buffer.alloc(65_536, 'abc'), Buffer.alloc(65_536)])
      expect((inflated(deflated(message)) as Buffer).equals(message)).toBe(true);
    expect(deflated(noise(65_536)).length).toBe(0);
  });

  test('is not made where it would take more than it may, and writes nothing behind that', () => {
    fc.assert(
      fc.property(messages, (message) => {
        const made = deflated(message);
        const room = new Uint8Array(made.length + 8).fill(0xaa);
        expect(deflateTo(message, room, 2, 2 + made.length, null)).toBe(2 + made.length);
        expect([...room.subarray(0, 2), ...room.subarray(2 + made.length)]).toEqual(Array(8).fill(0xaa));
        expect(deflateTo(message, room, 2, 1 + made.length, null)).toBe(0);
      }),
      { numRuns: 100 },
    );
  });

  test('gives a message that is in memory of its own, and no larger', () => {
    const message = inflated(deflated(reading(new Prng(1)))) as Buffer;
    expect(message.buffer.byteLength).toBe(message.length);
  });
});

describe('fuzz: DEFLATE data of whatever bytes', () => {
  test('gives a message of no more than is allowed, or is refused, and never throws [CMP-12]', () => {
    const seen = { taken: 0, broken: 0, tooLong: 0 };
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
    const lengths = fc.oneof(fc.nat(300), fc.constant(2 ** 30));
    fc.assert(
      fc.property(data, dictionaries, lengths, (bytes, dictionary, max) => {
        const opened = inflated(bytes, max, dictionary);
        if (opened === BROKEN) seen.broken++;
        else if (opened === TOO_LONG) seen.tooLong++;
        else {
          seen.taken++;
          expect((opened as Buffer).length).toBeLessThanOrEqual(Math.min(max, DEFLATE_BYTES_MAX));
        }
      }),
      { numRuns: 3_000 },
    );
    expect(Math.min(seen.taken, seen.broken, seen.tooLong)).toBeGreaterThan(200);
  });

  test('that becomes longer than it may is refused, at 64 KiB at the latest [CMP-12]', () => {
    expect((inflated(deflateRawSync(Buffer.alloc(65_536)), 2 ** 30) as Buffer).length).toBe(65_536);
    for (const bomb of [Buffer.alloc(65_537), Buffer.alloc(40_000_000)]) {
      const data = deflateRawSync(bomb);
      expect(inflated(data)).toBe(TOO_LONG);
      expect(inflated(data, 2 ** 30)).toBe(TOO_LONG);
    }
    expect(inflated(deflateRawSync(Buffer.alloc(1_001)), 1_000)).toBe(TOO_LONG);
    expect(inflated(deflateRawSync(noise(1_001), { level: 0 }), 1_000)).toBe(TOO_LONG);
    expect(inflated(deflateRawSync(Buffer.of(1)), 0)).toBe(TOO_LONG);
    expect(inflated(deflateRawSync(Buffer.alloc(0)), 0)).toEqual(Buffer.alloc(0));
  });

  test('of blocks that hold nothing is refused above 64 KiB [CMP-12]', () => {
    const empty = Buffer.of(0, 0, 0, 0xff, 0xff);
    const blocks = (count: number) =>
      Buffer.concat([...Array.from({ length: count - 1 }, () => empty), Buffer.of(1, 0, 0, 0xff, 0xff)]);
    expect(inflated(blocks(13_107))).toEqual(Buffer.alloc(0));
    expect(inflated(blocks(13_108))).toBe(BROKEN);
  });

  test('that goes on behind its last block is refused, and so is what ends before that [CMP-12]', () => {
    const data = deflated(reading(new Prng(1)));
    for (const more of [Buffer.of(0), Buffer.of(0xff), data, noise(1_000)])
      expect(inflated(Buffer.concat([data, more]))).toBe(BROKEN);
    for (let length = 0; length < data.length; length++)
      expect(inflated(data.subarray(0, length))).toBe(BROKEN);
  });
});
