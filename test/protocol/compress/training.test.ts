import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import { corpus } from '../../../src/bench/corpus/corpus.ts';
import {
  chooseLz4,
  DICTIONARY_BYTES,
  DICTIONARY_BYTES_MAX,
  DICTIONARY_BYTES_MIN,
  Dictionary,
  EnvelopeWriter,
  SAMPLES_MIN,
  trainDictionary,
  trainingSteps,
} from '../../../src/protocol/compress/index.ts';

const text = (count: number): Uint8Array[] =>
  Array.from({ length: count }, (_, i) =>
    Buffer.from(`{"sensor":"s-${i * 7919}","value":${i * 31},"unit":"celsius"}`),
  );

describe('a trained dictionary', () => {
  test('is of the samples alone: the same ones give the same bytes', () => {
    expect(trainDictionary(text(50))).toEqual(trainDictionary(text(50)));
    expect(trainDictionary(text(50))).not.toEqual(trainDictionary(text(60)));
  });

  test('holds what the samples have in common, the most frequent at its end', () => {
    const dictionary = Buffer.from(trainDictionary(text(200), { bytes: 64 }));
    expect(dictionary.length).toBeLessThanOrEqual(64);
    expect(dictionary.toString()).toContain('celsius"}');
    const rare = Array.from({ length: 20 }, (_, i) =>
      Buffer.from(`${i}: a rare sentence that few messages have ${i}`),
    );
    const both = Buffer.from(trainDictionary([...text(200), ...rare]));
    expect(both.lastIndexOf('celsius')).toBeGreaterThan(both.lastIndexOf('a rare sentence'));
  });

  test('is shorter than it may be where the samples have no more in common', () => {
    expect(trainDictionary(text(50), { bytes: 16_384 }).length).toBeLessThan(4_096);
  });

  test('is empty where they have nothing in common, or nothing in them', () => {
    const prng = new Prng(1);
    const noise = Array.from({ length: 50 }, () => new Uint8Array(200));
    for (const sample of noise) prng.fill(sample);
    expect(trainDictionary(noise).length).toBe(0);
    expect(trainDictionary(noise.map(() => new Uint8Array(0))).length).toBe(0);
    expect(trainDictionary(noise.map(() => Buffer.from('short'))).length).toBe(0);
  });

  test('is never longer than asked, whatever the samples are, and is made of pieces of them', () => {
    const sample = fc.oneof(fc.uint8Array({ maxLength: 90 }), fc.constantFrom(...text(9)));
    const samples = fc.array(sample, { minLength: SAMPLES_MIN, maxLength: 40 });
    fc.assert(
      fc.property(samples, fc.integer({ min: DICTIONARY_BYTES_MIN, max: 1_000 }), (all, bytes) => {
        const dictionary = trainDictionary(all, { bytes });
        expect(dictionary.length).toBeLessThanOrEqual(bytes);
        const known = new Set(all.flatMap((each) => [...each]));
        expect([...dictionary].every((byte) => known.has(byte))).toBe(true);
      }),
      { numRuns: 30 },
    );
  });

  test('of more samples than it is made of has all kinds, though they take turns', () => {
    const kinds = ['pressure of the pump', 'heading of the vessel', 'depth below the keel'];
    const samples = Array.from({ length: 24 * 64 }, (_, i) =>
      Buffer.from(`${i * 7919} ${kinds[i % kinds.length]} ${i * 31}`),
    );
    const total = samples.reduce((sum, { length }) => sum + length, 0);
    const dictionary = Buffer.from(trainDictionary(samples, { bytes: DICTIONARY_BYTES_MIN * 2 }));
    expect(total).toBeGreaterThan(3 * 128 * DICTIONARY_BYTES_MIN);
    for (const kind of kinds) expect(dictionary.includes(kind)).toBe(true);
  });

  test('has nothing of what stands so far behind in a message that no match reaches from there', () => {
    const samples = Array.from({ length: SAMPLES_MIN }, (_, i) => {
      const sample = Buffer.alloc(70_000, `${i}`);
      sample.write('near enough, and in all', 60_000);
      sample.write('too far behind, although in all', 65_600);
      return sample;
    });
    const dictionary = Buffer.from(trainDictionary(samples, { bytes: 256 }));
    expect(dictionary.includes('near enough, and in all')).toBe(true);
    expect(dictionary.includes('too far')).toBe(false);
  });

  test('of the small JSON of the corpus makes other such messages less than half as long, its name included', () => {
    for (const { name, kinds, samples } of corpus()) {
      if (name !== 'JSON of 100 to 200 B') continue;
      const dictionary = new Dictionary(
        trainDictionary(samples.flatMap(({ messages }) => messages.slice(0, 100))),
      );
      const writer = new EnvelopeWriter(chooseLz4('js'));
      const messages = kinds.flatMap((kind) => kind.messages);
      const sum = (lengthOf: (message: Buffer) => number): number =>
        messages.reduce((total, message) => total + lengthOf(message), 0);
      const bytes = sum(({ length }) => length);
      const numbered = sum(
        (message) => writer.deflate(message, message.length, dictionary, 0)?.length ?? message.length,
      );
      const named = sum(
        (message) => writer.deflate(message, message.length, dictionary)?.length ?? message.length,
      );
      expect(bytes / numbered).toBeGreaterThan(2.3);
      expect(bytes / named).toBeGreaterThan(2);
    }
  });
});

test('training tells how far it is', () => {
  const shares = [...trainingSteps(text(20), { bytes: 256 })];
  expect(shares).toEqual([...shares].sort((a, b) => a - b));
  expect(shares.at(0)).toBeGreaterThan(0);
  expect(shares.at(-1)).toBeLessThanOrEqual(1);
});

test('too few samples and sizes that no dictionary has are refused by name', () => {
  expect(() => trainDictionary(text(SAMPLES_MIN - 1))).toThrow(/samples must be at least 8/);
  for (const bytes of [0, DICTIONARY_BYTES_MIN - 1, DICTIONARY_BYTES_MAX + 1, 1.5, Number.NaN]) {
    expect(() => trainDictionary(text(20), { bytes })).toThrow(RangeError);
  }
  expect(DICTIONARY_BYTES).toBeLessThanOrEqual(DICTIONARY_BYTES_MAX);
});
