/**
 * Makes a dictionary out of samples of what will be sent, after FASTCOVER (Zstandard's `fastcover.c`; Liao, Petri, Moffat, Wirth: "Effective
 * construction of relative Lempel-Ziv dictionaries", WWW 2016):
 *
 *   0. Of more samples than teach anything new take some from all over them.
 *   1. Count in how many samples each short word of the bytes occurs, by its hash.
 *   2. Cut the samples into epochs. From one epoch after another take the segment whose words occur most, and count these words no more.
 *   3. Until the dictionary is full, or nothing is left that two samples share. What was taken first stands last.
 *
 * How long words and segments are best depends on the samples, so several lengths are tried, and the dictionary is kept with which samples that it was not
 * made of deflate best. No clock and no chance: the same samples in the same order give the same bytes.
 */
import { DICTIONARY_BYTES_MAX } from './dictionary.ts';
import { BlockDeflater, IndexedDictionary } from './lz4-block.ts';

export interface TrainingOptions {
  /** The most that the dictionary may have; it gets shorter where the samples have less in common. Default: `DICTIONARY_BYTES`. */
  bytes?: number | undefined;
}

/** Of a dictionary unless told otherwise: where more bytes begin to bring little, for messages of some 100 bytes to some KB. */
export const DICTIONARY_BYTES = 8_192;
export const DICTIONARY_BYTES_MIN = 64;
/** Of fewer samples nobody could say what they have in common. */
export const SAMPLES_MIN = 8;
/** Of all samples together. */
export const SAMPLES_BYTES_MAX = 256 * 1024 * 1024;

/**
 * Trains a dictionary for messages like `samples`.
 *
 * @returns its bytes, raw, as any LZ4 takes them; none when no dictionary helps, for the samples have nothing in common
 * @throws RangeError for fewer than `SAMPLES_MIN` samples, more than `SAMPLES_BYTES_MAX` bytes of them, or `bytes` out of range
 * @example
 * const dictionary = trainDictionary(readings.map((reading) => Buffer.from(JSON.stringify(reading))));
 */
export function trainDictionary(samples: readonly Uint8Array[], options: TrainingOptions = {}): Uint8Array {
  const steps = trainingSteps(samples, options);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** As {@link trainDictionary}, in steps of which each yields the share that is done, from 0 to 1. */
export function* trainingSteps(
  samples: readonly Uint8Array[],
  { bytes = DICTIONARY_BYTES }: TrainingOptions = {},
): Generator<number, Uint8Array> {
  assertTrainable(samples, bytes);
  const taken = enoughOf(samples, Math.min(bytes * TAUGHT_BY, TAUGHT_BYTES_MAX));
  const judges = taken.filter((_, i) => i % JUDGE_EVERY === JUDGE_EVERY - 1);
  const teachers = taken.filter((_, i) => i % JUDGE_EVERY !== JUDGE_EVERY - 1);
  let best: Trial = { word: 0, segment: 0, cost: deflatedBytes(judges, new Uint8Array(0)) };
  let done = 0;
  const steps = WORD_BYTES.length * SEGMENT_BYTES.length + 1;
  for (const word of WORD_BYTES) {
    const counts = new WordCounts(teachers, word);
    for (const segment of SEGMENT_BYTES) {
      if (segment <= bytes) {
        const cost = deflatedBytes(judges, counts.cover(bytes, segment));
        if (cost < best.cost) best = { word, segment, cost };
      }
      yield ++done / steps;
    }
  }
  if (best.word === 0) return new Uint8Array(0);
  return new WordCounts(taken, best.word).cover(bytes, best.segment);
}

/**
 * Of many samples as many as have about `bytes` together, from all over them: what more of the same would teach is little, and it would take minutes. Where
 * samples of several kinds take turns, no kind is left out: of each row of them the one is taken that chance would, by a fixed sequence. Of a long
 * one only what a dictionary reaches.
 */
function enoughOf(samples: readonly Uint8Array[], bytes: number): readonly Uint8Array[] {
  const cut = samples.map((sample) => sample.subarray(0, REACH));
  const row = Math.min(bytesOf(cut) / bytes, cut.length / SAMPLES_MIN);
  if (row <= 1) return cut;
  const rows = Math.floor(cut.length / row);
  return Array.from({ length: rows }, (_, i) => cut[Math.floor((i + ((i * GOLDEN) % 1)) * row)]);
}

function bytesOf(samples: readonly Uint8Array[]): number {
  return samples.reduce((sum, { length }) => sum + length, 0);
}

/** What all of `messages` deflate to, without what an envelope would add. */
function deflatedBytes(messages: readonly Uint8Array[], dictionary: Uint8Array): number {
  const deflater = new BlockDeflater();
  const indexed = dictionary.length === 0 ? null : new IndexedDictionary(dictionary);
  let room = new Uint8Array(0);
  let total = 0;
  for (const message of messages) {
    if (room.length < message.length) room = new Uint8Array(message.length);
    const end = message.length === 0 ? 0 : deflater.deflate(message, room, 0, message.length, indexed);
    total += end === 0 ? message.length : end;
  }
  return total;
}

interface Trial {
  readonly word: number;
  readonly segment: number;
  readonly cost: number;
}

/** In how many samples each word occurs, and the segments that this chooses. */
class WordCounts {
  private readonly samples: readonly Uint8Array[];
  private readonly wordBytes: number;
  private readonly totalBytes: number;
  /** Where the words of each sample begin in `words`. */
  private readonly starts: Uint32Array;
  /**
   * The word at each place of the samples, by its number; 0 for one that only one sample has, which is of no use to others. What is asked of a word
   * so stands in tables as small as what the samples share, which caches hold: four times as fast as asking by hash.
   */
  private readonly words: Uint32Array;
  /** How many samples have the word of each number. */
  private readonly all: Uint32Array;
  /** The same while a dictionary is made: words that it has are worth nothing any more. */
  private readonly left: Uint32Array;
  /** How often a word stands in the window that is looked at. */
  private readonly inWindow: Uint16Array;

  constructor(samples: readonly Uint8Array[], wordBytes: number) {
    this.samples = samples;
    this.wordBytes = wordBytes;
    this.totalBytes = bytesOf(samples);
    this.starts = new Uint32Array(samples.length);
    this.words = new Uint32Array(this.totalBytes);
    const hashes = countedHashes(samples, wordBytes, this.totalBytes);
    const numbers = new Uint32Array(hashes.counts.length);
    const all = [0];
    let at = 0;
    samples.forEach((sample, i) => {
      this.starts[i] = at;
      for (let from = 0; from + wordBytes <= sample.length; from++) {
        const hash = hashAt(sample, from, wordBytes, hashes.shift);
        if (hashes.counts[hash] > 1 && numbers[hash] === 0) numbers[hash] = all.push(hashes.counts[hash]) - 1;
        this.words[at++] = numbers[hash];
      }
    });
    this.all = Uint32Array.from(all);
    this.left = new Uint32Array(all.length);
    this.inWindow = new Uint16Array(all.length);
  }

  /** Puts a dictionary of at most `bytes` together from segments of at most `segmentBytes`. */
  cover(bytes: number, segmentBytes: number): Uint8Array {
    this.left.set(this.all);
    const dictionary = new Uint8Array(bytes);
    const epochs = this.epochsFor(bytes, segmentBytes);
    let start = bytes;
    let idle = 0;
    for (let epoch = 0; start > 0 && idle < epochs.length; epoch = (epoch + 1) % epochs.length) {
      const segment = this.takeBest(epochs[epoch], Math.min(segmentBytes, start));
      if (segment === null) {
        idle++;
        continue;
      }
      idle = 0;
      start -= segment.length;
      dictionary.set(segment, start);
    }
    return dictionary.slice(start);
  }

  /** Numbers of samples, each epoch about as many bytes, at least enough to choose from. */
  private epochsFor(bytes: number, segmentBytes: number): { from: number; to: number }[] {
    const wanted = Math.max(1, Math.floor(bytes / segmentBytes / PASSES));
    const epochBytes = Math.max(segmentBytes * CHOICE, Math.ceil(this.totalBytes / wanted));
    const epochs: { from: number; to: number }[] = [];
    let from = 0;
    let size = 0;
    this.samples.forEach((sample, i) => {
      size += sample.length;
      if (size < epochBytes && i < this.samples.length - 1) return;
      epochs.push({ from, to: i + 1 });
      from = i + 1;
      size = 0;
    });
    return epochs;
  }

  /** The part of one sample whose words are worth most, which are worth nothing from now on; null when none is worth anything. */
  private takeBest(epoch: { from: number; to: number }, segmentBytes: number): Uint8Array | null {
    const { left, inWindow, starts, wordBytes, samples, words } = this;
    if (segmentBytes < wordBytes) return null;
    const windowWords = segmentBytes - wordBytes + 1;
    let bestWorth = 0;
    let bestSample = 0;
    let bestStart = 0;
    let bestEnd = 0;
    for (let number = epoch.from; number < epoch.to; number++) {
      const first = starts[number];
      const end = first + samples[number].length - wordBytes + 1;
      let worth = 0;
      let start = first;
      for (let i = first; i < end; i++) {
        const word = words[i];
        if (inWindow[word]++ === 0) worth += left[word];
        if (i - start >= windowWords) {
          const leaving = words[start++];
          if (--inWindow[leaving] === 0) worth -= left[leaving];
        }
        if (worth > bestWorth) {
          bestWorth = worth;
          bestSample = number;
          bestStart = start;
          bestEnd = i + 1;
        }
      }
      for (; start < end; start++) inWindow[words[start]] = 0;
    }
    if (bestWorth === 0) return null;
    // Words at its beginning that are worth nothing; at its end there is none, for it would not have been the first so good.
    while (left[words[bestStart]] === 0) bestStart++;
    for (let i = bestStart; i < bestEnd; i++) left[words[i]] = 0;
    const from = bestStart - starts[bestSample];
    return samples[bestSample].subarray(from, from + bestEnd - bestStart + wordBytes - 1);
  }
}

/** In how many samples a word of each hash occurs; `shift` is what 32 bits of a hash are cut by. */
function countedHashes(
  samples: readonly Uint8Array[],
  wordBytes: number,
  totalBytes: number,
): { counts: Uint32Array; shift: number } {
  const shift = Math.max(32 - TABLE_BITS_MAX, Math.clz32(totalBytes) - 3);
  const counts = new Uint32Array(2 ** (32 - shift));
  const lastSample = new Uint32Array(counts.length);
  samples.forEach((sample, number) => {
    for (let i = 0; i + wordBytes <= sample.length; i++) {
      const hash = hashAt(sample, i, wordBytes, shift);
      if (lastSample[hash] === number + 1) continue;
      lastSample[hash] = number + 1;
      counts[hash]++;
    }
  });
  return { counts, shift };
}

function hashAt(bytes: Uint8Array, at: number, wordBytes: number, shift: number): number {
  const first = wordAt(bytes, at);
  const last = wordAt(bytes, at + wordBytes - 4);
  return Math.imul(Math.imul(first, PRIME_1) ^ (last + (first >>> 15)), PRIME_2) >>> shift;
}

function assertTrainable(samples: readonly Uint8Array[], bytes: number): void {
  if (!Number.isInteger(bytes) || bytes < DICTIONARY_BYTES_MIN || bytes > DICTIONARY_BYTES_MAX) {
    throw new RangeError(
      `bytes must be a whole number from ${DICTIONARY_BYTES_MIN} to ${DICTIONARY_BYTES_MAX}`,
    );
  }
  if (samples.length < SAMPLES_MIN) {
    throw new RangeError(
      `samples must be at least ${SAMPLES_MIN}, and better some hundreds; got ${samples.length}`,
    );
  }
  const total = bytesOf(samples);
  if (total > SAMPLES_BYTES_MAX) {
    throw new RangeError(`samples must have at most ${SAMPLES_BYTES_MAX} bytes together; they have ${total}`);
  }
}

/** The four bytes at `at` as one number. */
function wordAt(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
}

/** A dictionary is made of so many times its bytes: with five times as many samples it was as good. */
const TAUGHT_BY = 128;
/** And of no more than this, which takes a few seconds. */
const TAUGHT_BYTES_MAX = 2 * 1024 * 1024;
/** Of a message no dictionary makes more smaller: a match reaches back no further. */
const REACH = 65_535;
const GOLDEN = (Math.sqrt(5) - 1) / 2;
/** Every fifth sample judges the dictionaries made of the others. */
const JUDGE_EVERY = 5;
/** LZ4 finds no match of less than 4 bytes, and one of 4 saves a single byte. */
const WORD_BYTES = [6, 8];
const SEGMENT_BYTES = [16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1_024];
/** Times that the samples are gone through for one dictionary: its parts are of all of them, and the best of each comes first. */
const PASSES = 4;
/** An epoch has at least so many times the bytes of a segment. */
const CHOICE = 10;
const TABLE_BITS_MAX = 22;
const PRIME_1 = 0x9e3779b1 | 0;
const PRIME_2 = 0x85ebca77 | 0;
