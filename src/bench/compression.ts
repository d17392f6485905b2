/** What compression makes of the corpus, and what it costs: by implementation, with and without a dictionary, everything in one process. */
import { performance } from 'node:perf_hooks';
import {
  CompressionMethod,
  chooseLz4,
  Dictionary,
  DictionarySet,
  EnvelopeReader,
  EnvelopeWriter,
  type Lz4Preference,
  trainDictionary,
} from '../protocol/compress/index.ts';
import { type CorpusGroup, corpus } from './corpus/corpus.ts';
import { median } from './figures.ts';

/** An implementation of LZ4, or DEFLATE. */
export type BenchedCodec = Lz4Preference | 'deflate';

/** One kind of messages, or a whole group of kinds, by one implementation. */
export interface CompressionResult {
  readonly group: string;
  /** Null: all of the group together. */
  readonly kind: string | null;
  readonly codec: BenchedCodec;
  /** Bytes of the dictionary that was trained with other messages of the group; 0 for none. */
  readonly dictionaryBytes: number;
  readonly messages: number;
  /** Of all messages, as they are and as they are sent: in their envelopes, or as they are where that is not larger. */
  readonly bytes: number;
  readonly sentBytes: number;
  readonly ratio: number;
  /** Mean time a message, and bytes of messages a microsecond, which are MB/s. */
  readonly deflate: Speed;
  /** Of those that were made smaller; null when none was. */
  readonly inflate: Speed | null;
}

export interface Speed {
  readonly microsPerMessage: number;
  readonly megabytesPerSecond: number;
}

export interface CompressionBenchOptions {
  readonly lz4: readonly Lz4Preference[];
  /** How long each figure is measured. */
  readonly seconds: number;
  readonly dictionaryBytes: number;
}

/** Measures kind after kind, without a dictionary, and then with one where the corpus has samples to train it with. */
export function* benchCompression(options: CompressionBenchOptions): Generator<CompressionResult> {
  for (const group of corpus()) {
    const dictionary = dictionaryFor(group, options.dictionaryBytes);
    for (const used of dictionary === null ? [null] : [null, dictionary]) {
      for (const codec of [...options.lz4, 'deflate'] as const) {
        const results: CompressionResult[] = [];
        for (const { name, messages } of group.kinds) {
          const result = measure(messages, codec, used, options.seconds);
          results.push({ group: group.name, kind: name, ...result });
        }
        yield* results;
        if (group.name !== 'for comparison') yield together(group.name, results);
      }
    }
  }
}

/** One for all kinds of the group, each of which gives as many samples. */
function dictionaryFor({ samples }: CorpusGroup, bytes: number): Dictionary | null {
  if (samples.length === 0) return null;
  const mixed = samples[0].messages.flatMap((_, i) => samples.map(({ messages }) => messages[i]));
  return new Dictionary(trainDictionary(mixed, { bytes }));
}

function measure(
  messages: readonly Buffer[],
  name: BenchedCodec,
  dictionary: Dictionary | null,
  seconds: number,
): Omit<CompressionResult, 'group' | 'kind'> {
  const codec = chooseLz4(name === 'deflate' ? 'js' : name);
  const method = name === 'deflate' ? CompressionMethod.DEFLATE : CompressionMethod.LZ4;
  const writer = new EnvelopeWriter(codec);
  const reader = new EnvelopeReader(codec, new DictionarySet(dictionary === null ? [] : [dictionary]));
  const deflate = (message: Buffer): Uint8Array | null =>
    writer.deflate(message, message.length - 1, dictionary, 0, method);
  const bytes = sum(messages);
  let sentBytes = 0;
  const smaller: { envelope: Uint8Array; bytes: number }[] = [];
  for (const message of messages) {
    const envelope = deflate(message);
    sentBytes += envelope?.length ?? message.length;
    if (envelope !== null) smaller.push({ envelope: Buffer.from(envelope), bytes: message.length });
  }
  const inflate = ({ envelope, bytes }: { envelope: Uint8Array; bytes: number }): unknown =>
    reader.inflate(envelope, 0, envelope.length, bytes);
  return {
    codec: name,
    dictionaryBytes: dictionary?.bytes.length ?? 0,
    messages: messages.length,
    bytes,
    sentBytes,
    ratio: bytes / sentBytes,
    deflate: speedOf(messages, deflate, bytes, seconds),
    inflate:
      smaller.length === 0
        ? null
        : speedOf(
            smaller,
            inflate,
            smaller.reduce((total, each) => total + each.bytes, 0),
            seconds,
          ),
  };
}

/** Goes through all of `items` again and again, and takes the median of the times that took. */
function speedOf<T>(items: readonly T[], act: (item: T) => unknown, bytes: number, seconds: number): Speed {
  for (let i = 0; i < WARM_UP; i++) act(items[i % items.length]);
  const end = performance.now() + seconds * 1_000;
  const rounds: number[] = [];
  do {
    const start = performance.now();
    for (const item of items) act(item);
    rounds.push(performance.now() - start);
  } while (performance.now() < end);
  const micros = median(rounds) * 1_000;
  return { microsPerMessage: micros / items.length, megabytesPerSecond: bytes / micros };
}

/** All kinds of a group as one. */
function together(group: string, results: readonly CompressionResult[]): CompressionResult {
  const total = (of: (result: CompressionResult) => number): number =>
    results.reduce((all, each) => all + of(each), 0);
  const messages = total((each) => each.messages);
  const bytes = total((each) => each.bytes);
  const sentBytes = total((each) => each.sentBytes);
  const speed = (of: (result: CompressionResult) => Speed | null): Speed => {
    const micros = total((each) => (of(each)?.microsPerMessage ?? 0) * each.messages);
    return { microsPerMessage: micros / messages, megabytesPerSecond: bytes / micros };
  };
  const { codec, dictionaryBytes } = results[0];
  return {
    group,
    kind: null,
    codec,
    dictionaryBytes,
    messages,
    bytes,
    sentBytes,
    ratio: bytes / sentBytes,
    deflate: speed((each) => each.deflate),
    inflate: speed((each) => each.inflate),
  };
}

function sum(messages: readonly Uint8Array[]): number {
  return messages.reduce((total, { length }) => total + length, 0);
}

/** Calls before the first that is timed. */
const WARM_UP = 2_000;
