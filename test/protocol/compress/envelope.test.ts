import { readFileSync } from 'node:fs';
import { inflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import {
  CompressionMethod,
  chooseLz4,
  Dictionary,
  DictionarySet,
  EnvelopeFault,
  EnvelopeReader,
  EnvelopeWriter,
  type Lz4Codec,
} from '../../../src/protocol/compress/index.ts';
import { messages, reading } from './messages.ts';
import { slowInflate } from './slow-lz4.ts';

const prng = new Prng(7);
const dictionaries = Array.from(
  { length: 16 },
  (_, i) => new Dictionary(Buffer.concat([reading(prng), Buffer.of(i)])),
);
const methods = fc.constantFrom(CompressionMethod.LZ4, CompressionMethod.DEFLATE);
const writer = new EnvelopeWriter(chooseLz4('js'));
const reader = new EnvelopeReader(chooseLz4('js'), new DictionarySet(dictionaries));

describe('an envelope', () => {
  test('is opened to the message, whichever way its dictionary is named [CMP-2]', () => {
    fc.assert(
      fc.property(
        messages,
        fc.integer({ min: -1, max: 15 }),
        fc.boolean(),
        methods,
        (message, which, isNumbered, method) => {
          const dictionary = which < 0 ? null : dictionaries[which];
          const number = isNumbered ? which : -1;
          const made = writer.deflate(message, message.length + 100, dictionary, number, method)!;
          const inside = Buffer.concat([Buffer.of(1, 2, 3), made, Buffer.of(4)]);
          const opened = reader.inflate(inside, 3, inside.length - 1, message.length);
          expect(opened).toEqual(Buffer.from(message));
          if (message.length === 0) return;
          expect(reader.inflate(inside, 3, inside.length - 1, message.length - 1)).toBeNull();
          expect(reader.fault).toBe(EnvelopeFault.TOO_LONG);
        },
      ),
      { numRuns: 300 },
    );
  });

  test('costs one byte, eight more for a dictionary that is named by its hash [CMP-2]', () => {
    const message = reading(new Prng(3));
    const length = (dictionary: Dictionary | null, number = -1) =>
      writer.deflate(message, 1_000, dictionary, number)!.length;
    const out = new Uint8Array(1_000);
    const { codec } = writer;
    expect(length(null)).toBe(1 + codec.deflate(message, out, 0, 1_000, null));
    const block = codec.deflate(message, out, 0, 1_000, dictionaries[5]);
    expect(length(dictionaries[5], 5)).toBe(1 + block);
    expect(length(dictionaries[5])).toBe(9 + block);
    expect(writer.store(message).length).toBe(1 + message.length);
  });

  test('is not made where it would take more than it may', () => {
    const message = reading(new Prng(3));
    const made = writer.deflate(message, 1_000, dictionaries[5], 5)!.length;
    expect(writer.deflate(message, made, dictionaries[5], 5)).not.toBeNull();
    expect(writer.deflate(message, made - 1, dictionaries[5], 5)).toBeNull();
    expect(writer.deflate(message, 0, null)).toBeNull();
  });

  test('with a stored message is opened to it [CMP-2]', () => {
    const stored = writer.store(Buffer.from('as it is'));
    expect(reader.inflate(stored, 0, stored.length, 8)?.toString()).toBe('as it is');
    expect(reader.inflate(stored, 0, stored.length, 7)).toBeNull();
    expect(reader.fault).toBe(EnvelopeFault.TOO_LONG);
  });

  test('is of DEFLATE data for messages up to 64 KiB that ask for it, and of an LZ4 block for longer ones [CMP-12]', () => {
    for (const [bytes, first] of [
      [65_536, 0x09],
      [65_537, 0x01],
    ]) {
      const message = Buffer.alloc(bytes, 'a large message, many times. ');
      const made = writer.deflate(message, bytes, null, -1, CompressionMethod.DEFLATE)!;
      expect(made[0]).toBe(first);
      expect(reader.inflate(made, 0, made.length, bytes)?.equals(message)).toBe(true);
    }
  });

  test('that is large is opened like a small one', () => {
    const message = Buffer.alloc(3_000_000, 'a large message, many times. ');
    const made = writer.deflate(message, message.length)!;
    expect(reader.inflate(made, 0, made.length, message.length)?.equals(message)).toBe(true);
  });
});

describe('fuzz: an envelope of whatever bytes', () => {
  const few = new DictionarySet(dictionaries.slice(0, 3));

  test('is opened as the slow twin opens it, or refused with a reason, and never throws [CMP-2] [CMP-5]', () => {
    const open = new EnvelopeReader(chooseLz4(), few);
    let opened = 0;
    fc.assert(
      fc.property(envelopes, (bytes) => {
        const message = open.inflate(bytes, 0, bytes.length, 50_000);
        const slow = slowOpen(bytes, few);
        if (message === null) {
          expect(slow === null || slow.length > 50_000).toBe(true);
          expect(open.fault).not.toBe(EnvelopeFault.NONE);
          return;
        }
        opened++;
        expect(message.equals(Buffer.from(slow!))).toBe(true);
      }),
      { numRuns: 1_500 },
    );
    expect(opened).toBeGreaterThan(200);
  });

  test('asks the codec for nothing that is broken, or too long [CMP-5]', () => {
    const asked: number[] = [];
    const never: Lz4Codec = {
      ...chooseLz4('js'),
      name: 'js',
      deflate: () => 0,
      inflate: (_, __, ___, length) => {
        asked.push(length);
        return Buffer.alloc(0);
      },
    };
    const open = new EnvelopeReader(never, few);
    const bomb = Buffer.concat([
      Buffer.of(1, 0x1f, 0, 1, 0),
      Buffer.alloc(66_000, 255),
      Buffer.of(0, 0x10, 0),
    ]);
    expect(open.inflate(bomb, 0, bomb.length, 16 * 2 ** 20)).toBeNull();
    expect(open.fault).toBe(EnvelopeFault.TOO_LONG);
    fc.assert(fc.property(envelopes, (bytes) => void open.inflate(bytes, 0, bytes.length, 1_000)));
    expect(Math.max(...asked)).toBeLessThanOrEqual(1_000);
  });
});

interface EnvelopeVectors {
  dictionaries: { name: string; hex: string; hash: string }[];
  envelopes: { name: string; hex: string; message: string }[];
  invalid: { name: string; hex: string; fault: keyof typeof EnvelopeFault }[];
}

describe('the vectors', () => {
  const vectors: EnvelopeVectors = JSON.parse(
    readFileSync(new URL('../../../spec/vectors/envelopes.json', import.meta.url), 'utf8'),
  );
  const set = new DictionarySet(
    vectors.dictionaries.map(({ hex }) => new Dictionary(Buffer.from(hex, 'hex'))),
  );

  test('name their dictionaries by their hashes [CMP-4]', () => {
    expect(set.all.map(({ name }) => name)).toEqual(vectors.dictionaries.map(({ hash }) => hash));
  });

  test.each(['js', 'native'] as const)('are opened by the codec %s [CMP-1] [CMP-2]', (codec) => {
    const open = new EnvelopeReader(chooseLz4(codec), set);
    for (const { name, hex, message } of vectors.envelopes) {
      const bytes = Buffer.from(hex, 'hex');
      expect(open.inflate(bytes, 0, bytes.length, 65_536)?.toString('hex'), name).toBe(message);
      expect(Buffer.from(slowOpen(bytes, set)!).toString('hex'), name).toBe(message);
    }
    for (const { name, hex, fault } of vectors.invalid) {
      const bytes = Buffer.from(hex, 'hex');
      expect(open.inflate(bytes, 0, bytes.length, 65_536), name).toBeNull();
      expect(open.fault, name).toBe(EnvelopeFault[fault]);
    }
  });
});

test('at most 16 dictionaries stand together, each once, and of 1 to 65,535 bytes [CMP-4]', () => {
  const another = new Dictionary(Buffer.from('another'));
  expect(() => new DictionarySet([...dictionaries, another])).toThrow(RangeError);
  expect(() => new DictionarySet([another, new Dictionary(Buffer.from('another'))])).toThrow(RangeError);
  expect(() => new Dictionary(new Uint8Array(0))).toThrow(RangeError);
  expect(() => new Dictionary(new Uint8Array(65_536))).toThrow(RangeError);
  expect(new Dictionary(new Uint8Array(65_535)).bytes.length).toBe(65_535);
});

/** As the specification says it. */
function slowOpen(bytes: Uint8Array, { all }: DictionarySet): number[] | null {
  const [first, ...rest] = bytes;
  if (first === undefined) return null;
  if (first === 0) return rest;
  if (first === 0x08) return null;
  const isDeflate = (first & 0x08) !== 0;
  const open = isDeflate ? inflateWhole : slowInflate;
  const kind = isDeflate ? first - 0x08 : first;
  if (kind === 1) return open(Uint8Array.from(rest));
  if (kind === 3) {
    const hash = Buffer.from(rest.slice(0, 8)).toString('hex');
    const dictionary = all.find(({ name }) => name === hash);
    return dictionary === undefined ? null : open(Uint8Array.from(rest.slice(8)), dictionary.bytes);
  }
  if (kind % 16 !== 5) return null;
  const dictionary = all[(kind - 5) / 16];
  return dictionary === undefined ? null : open(Uint8Array.from(rest), dictionary.bytes);
}

/** What DEFLATE data inflates to, which must end where its last block does: without its last byte it is none any more. [CMP-12] */
function inflateWhole(data: Uint8Array, dictionary: Uint8Array = new Uint8Array(0)): number[] | null {
  const options = dictionary.length === 0 ? {} : { dictionary };
  let message: Buffer;
  try {
    message = inflateRawSync(data, options);
  } catch {
    return null;
  }
  try {
    inflateRawSync(data.subarray(0, -1), options);
    return null;
  } catch {
    return [...message];
  }
}

/** Envelopes as they should be, with a few bytes changed, and noise. */
const envelopes = fc.oneof(
  fc.uint8Array({ maxLength: 60 }),
  fc
    .tuple(
      messages,
      fc.integer({ min: -1, max: 4 }),
      fc.boolean(),
      methods,
      fc.array(fc.tuple(fc.nat(300), fc.nat(255)), { maxLength: 2 }),
    )
    .map(([message, which, isNumbered, method, changes]) => {
      const dictionary = which < 0 ? null : dictionaries[which];
      const made = Uint8Array.from(
        writer.deflate(message, message.length + 100, dictionary, isNumbered ? which : -1, method)!,
      );
      for (const [at, byte] of changes) if (at < made.length) made[at] = byte;
      return made;
    }),
);
