import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  batchBytes,
  type Change,
  decodeBatchHeader,
  decodeChange,
  decodeRecord,
  decodeSegmentHeader,
  eachRecord,
  encodeChanges,
  encodeMark,
  encodeRecords,
  encodeSegmentHeader,
  isBodySound,
  type OutgoingRecord,
  type SegmentKind,
} from '../../../src/broker/store/format.ts';
import { decodeManifest, encodeManifest } from '../../../src/broker/store/manifest.ts';
import { scanSegment } from '../../../src/broker/store/scan.ts';
import { decodeIndex, encodeIndex, SegmentIndex } from '../../../src/broker/store/segment-index.ts';
import { decodeCheckpoints, decodeProven } from '../../../src/broker/store/state-keys.ts';
import {
  type SlowHeader,
  type SlowRecord,
  slowBatch,
  slowChange,
  slowRecord,
  slowSegmentHeader,
} from './slow-format.ts';

const FILE = new URL('../../../spec/vectors/store.json', import.meta.url);

interface Vectors {
  comment: string;
  segments: (SlowHeader & { hex: string })[];
  logBatches: {
    base: number;
    syncedBefore: number;
    time: number;
    salt: number;
    records: (Omit<SlowRecord, 'command'> & { command: string })[];
    hex: string;
  }[];
  stateBatches: {
    base: number;
    syncedBefore: number;
    time: number;
    salt: number;
    changes: [string, string | null][];
    hex: string;
  }[];
  marks: { base: number; syncedBefore: number; time: number; flags: number; salt: number; hex: string }[];
}

const vectors = JSON.parse(readFileSync(FILE, 'utf8')) as Vectors;
const bytesOf = (hex: string) => [...Buffer.from(hex, 'hex')];
const hexOf = (bytes: Iterable<number>) => Buffer.from([...bytes]).toString('hex');

describe('vectors of the store', () => {
  test('are what the specification says, field by field', () => {
    const slow: Vectors = {
      comment: vectors.comment,
      segments: vectors.segments.map((each) => ({ ...each, hex: hexOf(slowSegmentHeader(each)) })),
      logBatches: vectors.logBatches.map((each) => ({
        ...each,
        hex: hexOf(
          slowBatch({
            ...each,
            flags: 0,
            records: each.records.map((record) =>
              slowRecord({ ...record, command: bytesOf(record.command) }),
            ),
          }),
        ),
      })),
      stateBatches: vectors.stateBatches.map((each) => ({
        ...each,
        hex: hexOf(
          slowBatch({
            ...each,
            flags: 0,
            records: each.changes.map(([key, value]) =>
              slowChange(key, value === null ? null : bytesOf(value)),
            ),
          }),
        ),
      })),
      marks: vectors.marks.map((each) => ({ ...each, hex: hexOf(slowBatch({ ...each, records: [] })) })),
    };
    expect(slow).toEqual(vectors);
  });

  test('are what is written, and are read as what they are [STO-3] [STO-4] [STO-5] [STO-6] [STO-8]', () => {
    for (const { hex, ...header } of vectors.segments) {
      expect(hexOf(encodeSegmentHeader({ ...header, kind: header.kind as SegmentKind }))).toBe(hex);
      expect(decodeSegmentHeader(Buffer.from(hex, 'hex'))).toEqual(header);
    }
    for (const { hex, base, syncedBefore, time, salt, records } of vectors.logBatches) {
      const outgoing: OutgoingRecord[] = records.map((record, i) => {
        const command = new Uint8Array(Buffer.from(record.command, 'hex'));
        return { ...record, command, topicEnd: 8 + command[3], offset: base + i };
      });
      expect(hexOf(encodeRecords(outgoing, syncedBefore, time, salt, null))).toBe(hex);
      expect(hexOf(encodeRecords(outgoing, syncedBefore, time, salt, Buffer.alloc(10_000, 0xff)))).toBe(hex);
      const bytes = Buffer.from(hex, 'hex');
      const header = decodeBatchHeader(bytes, 0, salt);
      expect(header).toMatchObject({ base, syncedBefore, time, count: records.length, flags: 0 });
      expect(isBodySound(bytes, 0, header as NonNullable<typeof header>, salt)).toBe(true);
      expect(decodeBatchHeader(bytes, 0, salt + 1)).toBeNull();
      const read: unknown[] = [];
      const body = bytes.subarray(48);
      eachRecord(body, records.length, true, salt, (i, start, end) => {
        read.push(decodeRecord(body, base + i, start, end));
        expect(decodeRecord(body.subarray(start, end), base + i)).toEqual(read.at(-1));
      });
      expect(read).toEqual(outgoing);
    }
    for (const { hex, base, syncedBefore, time, salt, changes } of vectors.stateBatches) {
      const given = changes.map(
        ([key, value]): Change => [key, value === null ? null : new Uint8Array(bytesOf(value))],
      );
      expect(hexOf(encodeChanges(given, base, syncedBefore, time, salt))).toBe(hex);
      const read: unknown[] = [];
      const body = Buffer.from(hex, 'hex').subarray(48);
      eachRecord(body, given.length, true, salt, (_, start, end) =>
        read.push(decodeChange(body.subarray(start, end))),
      );
      expect(read).toEqual(given);
    }
    for (const { hex, base, syncedBefore, time, flags, salt } of vectors.marks)
      expect(hexOf(encodeMark(base, syncedBefore, time, flags, salt))).toBe(hex);
  });
});

test('no bytes make a reader fail, or believe in what is not there', () => {
  const parts = vectors.logBatches.map(({ hex }) => Buffer.from(hex, 'hex'));
  const any = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.tuple(fc.constantFrom(...parts), fc.nat(), fc.nat(255)).map(([part, at, value]) => {
      const bytes = new Uint8Array(part);
      bytes[at % bytes.length] ^= value;
      return bytes;
    }),
  );
  fc.assert(
    fc.property(any, fc.nat(100), (bytes, count) => {
      decodeSegmentHeader(bytes);
      decodeManifest(bytes);
      decodeIndex(bytes, 1, bytes.length, 7);
      decodeRecord(bytes, 1);
      decodeChange(bytes);
      decodeProven(bytes);
      decodeCheckpoints(bytes);
      const header = decodeBatchHeader(bytes, 0, 7);
      if (header !== null) expect(batchBytes(header)).toBeGreaterThanOrEqual(48);
      for (const isSound of [true, false]) eachRecord(bytes, count, isSound, 7, () => {});
      const segment = new Uint8Array(128 + bytes.length);
      segment.set(bytes, 128);
      const scan = scanSegment(segment, 1, 7);
      expect(scan.end).toBeLessThanOrEqual(segment.length);
    }),
    { numRuns: 2_000 },
  );
});

test('an index is of its segment as it is, or of none [STO-15]', () => {
  const index = new SegmentIndex(5);
  for (let i = 0; i < 10; i++)
    index.add({ position: 128 + 100 * i, size: 100, base: 5 + i, count: 1, time: 50 + i }, 250, 1e9);
  expect(index.offsets).toEqual([5, 8, 11, 14]);
  expect([1, 5, 7, 8, 100].map((offset) => index.entryAt(offset))).toEqual([0, 0, 0, 1, 3]);
  const bytes = encodeIndex(index, 9);
  expect(decodeIndex(bytes, 5, 1_128, 9)).toMatchObject({
    offsets: index.offsets,
    positions: index.positions,
    times: index.times,
    next: 15,
  });
  expect([
    decodeIndex(bytes, 5, 1_129, 9),
    decodeIndex(bytes, 6, 1_128, 9),
    decodeIndex(bytes, 5, 1_128, 8),
  ]).toEqual([null, null, null]);
});

test('an entry of an index has the latest time of its batches, though the clock was set back between them [STO-15]', () => {
  const index = new SegmentIndex(1);
  for (const [i, time] of [50, 40, 30, 60].entries())
    index.add({ position: 128 + 100 * i, size: 100, base: 1 + i, count: 1, time }, 150, 1e9);
  expect(index.offsets).toEqual([1, 3]);
  expect(index.times).toEqual([50, 60]);
});

test('a manifest that is not as it was written is none, and what is behind it is not looked at [STO-2]', () => {
  const manifest = {
    version: 1,
    generation: 3,
    salt: 7,
    boot: 'b',
    closed: 0,
    state: { segment: 1, proven: 2 },
    logs: [],
  };
  const bytes = encodeManifest(manifest);
  expect(decodeManifest(bytes)).toEqual(manifest);
  expect(decodeManifest(Buffer.concat([bytes, Buffer.from('rest')]))).toEqual(manifest);
  for (let i = 0; i < bytes.length; i++) {
    const flipped = Buffer.from(bytes);
    flipped[i] ^= 1;
    expect(decodeManifest(flipped)).toBeNull();
  }
  expect(decodeManifest(encodeManifest({ ...manifest, closed: 2 }))).toBeNull();
});
