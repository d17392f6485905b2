/** What one connection compresses and opens: what its two sides have agreed to, what the path is like, and what became of messages. */

import type { Buffer } from 'node:buffer';
import { assert } from '../../base/errors.ts';
import type { Micros, RateLimit } from '../../base/time.ts';
import { CloseCode } from '../wire/close-code.ts';
import { readVarint, varintLength, varintSize, writeVarint } from '../wire/varint.ts';
import { chooseLz4, type Lz4Preference } from './codec.ts';
import { DICTIONARIES_MAX, type Dictionary, DictionarySet, HASH_BYTES } from './dictionary.ts';
import { CompressionMethod, EnvelopeFault, EnvelopeReader, EnvelopeWriter, isStored } from './envelope.ts';

/** Whether messages are compressed. */
export const CompressionMode = {
  OFF: 0,
  /** Those that become smaller by it. */
  ON: 1,
  /** Of those, the ones that arrive earlier by it than they would without. */
  AUTO: 2,
} as const;
export type CompressionMode = (typeof CompressionMode)[keyof typeof CompressionMode];

/** What a connection is told of compression. */
export interface CompressionOptions {
  /** Of messages whose stream does not say. */
  readonly mode: CompressionMode;
  /** The peer is told that this side opens compressed messages. */
  readonly inflates: boolean;
  /** What messages may be compressed with, where the peer has it, too. */
  readonly dictionaries: DictionarySet;
  /** Shorter messages are sent as they are; 0 for what was found to pay. */
  readonly bytesMin: number;
  /** How messages are compressed, where the peer opens that; null: by LZ4, or where that is weighed by DEFLATE, if they arrive earlier by it. */
  readonly method: CompressionMethod | null;
  /** Microseconds that all connections of an endpoint may spend on DEFLATE that nobody asked for; null for none. */
  readonly spareTime: RateLimit | null;
  readonly lz4: Lz4Preference;
  /** What time it is, to measure what compression costs; null when that does not count. */
  readonly clock: (() => Micros) | null;
}

export const COMPRESSION_OFF: CompressionOptions = {
  mode: CompressionMode.OFF,
  inflates: false,
  dictionaries: new DictionarySet([]),
  bytesMin: 0,
  method: null,
  spareTime: null,
  lz4: 'auto',
  clock: null,
};

/** The network that this side is on, as far as somebody has said. */
export type NetworkType = 'wifi' | 'cellular' | 'ethernet' | 'unknown';

/** What of a path says whether compression pays. */
export interface CompressedPath {
  readonly mtu: number;
  readonly rtt: { readonly hasSample: boolean; readonly smoothed: Micros };
  /** Bytes a microsecond at which packets leave. */
  readonly congestion: { readonly pacingRate: number };
  /** The share of packets that are lost, 0 to 1. */
  readonly loss: { readonly rate: number };
}

/** What became of the messages of a connection, as far as compression is concerned. */
export class CompressionCounts {
  /** Messages sent compressed, their bytes, and what they took in their envelopes. */
  messages = 0;
  bytesBefore = 0;
  bytesAfter = 0;
  /** Messages sent as they are, in an envelope all the same, and those that came so. */
  stored = 0;
  openedStored = 0;
  /** Messages that were to be compressed and were sent as they are: the peer does not open them; they are short; they look, or proved, incompressible; it took longer than it saves. */
  skippedNotAgreed = 0;
  skippedSmall = 0;
  skippedIncompressible = 0;
  skippedCostly = 0;
  /** Messages opened, what they took in their envelopes, and their bytes. */
  opened = 0;
  openedBytesBefore = 0;
  openedBytesAfter = 0;
  /** Time spent. */
  deflateTime: Micros = 0;
  inflateTime: Micros = 0;
}

/** A dictionary that both sides have, and its number among the peer's. */
export interface AgreedDictionary {
  readonly dictionary: Dictionary;
  readonly number: number;
}

/** What the streams of a connection share. */
export class ConnectionCompression {
  readonly options: CompressionOptions;
  readonly path: CompressedPath;
  networkType: NetworkType = 'unknown';
  /** The peer opens compressed messages. [CMP-3] */
  isAgreed = false;
  /** With these, too. */
  agreed: readonly AgreedDictionary[] = NONE_AGREED;
  /** How messages are compressed, but for those that {@link weighsMethods} is about. [CMP-12] */
  method: CompressionMethod = CompressionMethod.LZ4;
  /** Of messages for which it is weighed whether compressing pays, it is weighed by which method, too. [CMP-10] */
  weighsMethods = false;
  /** What compressing, and opening at the other side, a byte takes by each method, as measured here; the same for all before. */
  costPerByte: Record<CompressionMethod, Micros> = COSTS_AT_FIRST;
  /** Why {@link inflate} gave nothing: the code to close with. */
  fault = 0;

  private readonly reader: EnvelopeReader | null;
  private writer: EnvelopeWriter | null = null;
  // Made when they are first needed.
  private ownCounts: CompressionCounts | null = null;
  private deflateTimes: TimeSample | null = null;
  private inflateTimes: TimeSample | null = null;

  constructor(options: CompressionOptions, path: CompressedPath) {
    this.options = options;
    this.path = path;
    this.reader = options.inflates ? new EnvelopeReader(chooseLz4(options.lz4), options.dictionaries) : null;
  }

  /** To be read, and asked for each time: what nothing was counted in yet is shared by all, and another one later. */
  get counts(): Readonly<CompressionCounts> {
    return this.ownCounts ?? NO_COUNTS;
  }

  /** To be counted in. */
  get counting(): CompressionCounts {
    this.ownCounts ??= new CompressionCounts();
    return this.ownCounts;
  }

  /** Messages in envelopes are taken. [CMP-6] */
  get isTaking(): boolean {
    return this.reader !== null;
  }

  /** The peer's parameter; null when it sent none. [CMP-3] */
  onPeerParameter(value: Uint8Array | null): void {
    if (value === null) return;
    const methods = readVarint(value, 0, value.length);
    if (methods % 2 === 0) return;
    this.isAgreed = true;
    if (Math.floor(methods / DEFLATE_DATA) % 2 === 1) {
      const { method, spareTime, clock } = this.options;
      this.method = method ?? CompressionMethod.LZ4;
      this.weighsMethods = method === null && spareTime !== null && clock !== null;
    }
    const agreed: AgreedDictionary[] = [];
    const first = varintLength(value[0]);
    for (let number = 0; number < DICTIONARIES_MAX; number++) {
      const at = first + number * HASH_BYTES;
      if (at + HASH_BYTES > value.length) break;
      const dictionary = this.options.dictionaries.find(value, at);
      if (dictionary !== null) agreed.push({ dictionary, number });
    }
    this.agreed = agreed;
  }

  /** Whether there is time to compress a message by DEFLATE although nobody asked for that; if so, it is spent. [CMP-10] */
  spendOnDeflate(length: number): boolean {
    const { spareTime, clock } = this.options;
    const cost = (this.costPerByte[CompressionMethod.DEFLATE] * length) / ROUND_TRIP_COST;
    return spareTime!.take(clock!(), cost);
  }

  /** A message in its envelope, in at most `bytesMax` bytes, which are good until the next one; null when it takes more. */
  deflate(
    data: Uint8Array,
    bytesMax: number,
    agreed: AgreedDictionary | null,
    method: CompressionMethod = this.method,
  ): Uint8Array | null {
    this.writer ??= writerOf(this.options.lz4);
    const { length } = data;
    this.deflateTimes ??= new TimeSample();
    const weight = this.options.clock === null ? 0 : this.deflateTimes.weightOf(length);
    const start = weight === 0 ? 0 : this.options.clock!();
    const made =
      agreed === null
        ? this.writer.deflate(data, bytesMax, null, -1, method)
        : this.writer.deflate(data, bytesMax, agreed.dictionary, agreed.number, method);
    if (weight > 0) {
      const time = this.options.clock!() - start;
      this.counting.deflateTime += time * weight;
      // One that was measured while the machine did something else is no reason to stop.
      const known = this.costPerByte[method];
      const costMax = Math.max(COSTS_AT_FIRST[method], known) * COST_JUMP_MAX;
      const cost = Math.min(costMax, (time * ROUND_TRIP_COST) / Math.max(1, length));
      if (this.costPerByte === COSTS_AT_FIRST) this.costPerByte = { ...COSTS_AT_FIRST };
      this.costPerByte[method] = known + (cost - known) * COST_GAIN;
    }
    return made;
  }

  /** A message as it is, in an envelope, which is good until the next one. */
  store(data: Uint8Array): Uint8Array {
    this.writer ??= writerOf(this.options.lz4);
    return this.writer.store(data);
  }

  /** The message that this side has put into this envelope. */
  undo(envelope: Uint8Array): Uint8Array {
    const all: Dictionary[] = [];
    for (const { dictionary, number } of this.agreed) all[number] = dictionary;
    const reader = new EnvelopeReader(chooseLz4(this.options.lz4), { all, find: () => null });
    const message = reader.inflate(envelope, 0, envelope.length, Number.MAX_SAFE_INTEGER);
    assert(message !== null, 'what this side compressed can be opened');
    return message;
  }

  /** A message was sent compressed. */
  onSent(before: number, after: number): void {
    const counts = this.counting;
    counts.messages++;
    counts.bytesBefore += before;
    counts.bytesAfter += after;
  }

  /** Opens the message in the envelope bytes[start, end), of at most `bytesMax` bytes; null with a {@link fault}. [CMP-5] */
  inflate(bytes: Uint8Array, start: number, end: number, bytesMax: number): Buffer | null {
    const reader = this.reader!;
    this.inflateTimes ??= new TimeSample();
    const weight = this.options.clock === null ? 0 : this.inflateTimes.weightOf(end - start);
    const begin = weight === 0 ? 0 : this.options.clock!();
    const message = reader.inflate(bytes, start, end, bytesMax);
    const counts = this.counting;
    if (weight > 0) counts.inflateTime += (this.options.clock!() - begin) * weight;
    if (message === null) {
      // [CMP-7] what cannot be opened
      const isTooLong = reader.fault === EnvelopeFault.TOO_LONG;
      this.fault = isTooLong ? CloseCode.MESSAGE_TOO_LARGE : CloseCode.COMPRESSION_ERROR;
      return null;
    }
    if (isStored(bytes, start)) {
      counts.openedStored++;
      return message;
    }
    counts.opened++;
    counts.openedBytesBefore += end - start;
    counts.openedBytesAfter += message.length;
    return message;
  }
}

/** The transport parameter that says what this side opens; null when it opens nothing. [CMP-3] */
export function compressionParameter({ inflates, dictionaries }: CompressionOptions): Uint8Array | null {
  if (!inflates) return null;
  const value = new Uint8Array(varintSize(METHODS) + dictionaries.all.length * HASH_BYTES);
  let at = writeVarint(value, 0, METHODS);
  for (const { hash } of dictionaries.all) {
    value.set(hash, at);
    at += HASH_BYTES;
  }
  return value;
}

/** Which messages the clock is looked at for: that takes as long as compressing a short one. */
class TimeSample {
  private ticks = 0;

  /** For how many messages the time that this one takes stands; 0 when it is not to be measured. */
  weightOf(length: number): number {
    if (length >= TIMED_BYTES) return 1;
    this.ticks = (this.ticks + 1) % TIMED_EVERY;
    return this.ticks === 1 ? TIMED_EVERY : 0;
  }
}

/** One for all connections: what it made last is copied before it makes anything else. */
function writerOf(preference: Lz4Preference): EnvelopeWriter {
  let writer = writers.get(preference);
  if (writer === undefined) {
    writer = new EnvelopeWriter(chooseLz4(preference));
    writers.set(preference, writer);
  }
  return writer;
}

/** What all have that compressed nothing yet: never written to. */
const NO_COUNTS = new CompressionCounts();
const NONE_AGREED: readonly AgreedDictionary[] = [];
const writers = new Map<Lz4Preference, EnvelopeWriter>();
/** The bits of LZ4 blocks and of DEFLATE data among the methods. */
const LZ4_BLOCKS = 1;
const DEFLATE_DATA = 2;
const METHODS = LZ4_BLOCKS | DEFLATE_DATA;
/** Before anything was measured: by LZ4 three nanoseconds to compress a byte, and half as much to open it. */
const COSTS_AT_FIRST: Record<CompressionMethod, Micros> = {
  [CompressionMethod.LZ4]: 0.0045,
  [CompressionMethod.DEFLATE]: 0.03,
};
/** What compressing and opening take, as a multiple of compressing. */
const ROUND_TRIP_COST = 1.5;
const COST_GAIN = 1 / 8;
/** By how much one message may seem to cost more than those before. */
const COST_JUMP_MAX = 4;
/** From so many bytes on the time of each message is measured; of shorter ones, one in so many. */
const TIMED_BYTES = 1_024;
const TIMED_EVERY = 8;
