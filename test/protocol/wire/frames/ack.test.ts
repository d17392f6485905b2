import { describe, expect, test } from 'vitest';
import { RangeSet } from '../../../../src/base/ranges.ts';
import { FrameReader } from '../../../../src/protocol/wire/frame-reader.ts';
import { FrameWriter } from '../../../../src/protocol/wire/frame-writer.ts';
import {
  ACK_RANGES_MAX,
  ACK_RANGES_SENT_MAX,
  type EcnCounts,
  writeAck,
} from '../../../../src/protocol/wire/frames/ack.ts';
import { readAll } from '../fast-frames.ts';
import { slowEncode } from '../slow-encoder.ts';
import type { SlowAck } from '../slow-frames.ts';

/** Every `step`-th number, `count` of them. */
function scattered(count: number, step: number): RangeSet {
  const set = new RangeSet();
  for (let i = 0; i < count; i++) set.add(i * step, i * step + 1);
  return set;
}

function ackOf(ranges: RangeSet, room: number): { frame: SlowAck; bytes: number } {
  const { frames, error, bytes } = write(ranges, room);
  expect(error).toBe(null);
  return { frame: frames[0] as SlowAck, bytes };
}

/** Writes an ACK where there is so much room, and a byte for a PING. */
function write(
  ranges: RangeSet,
  room: number,
  delay = 0,
  ecn: EcnCounts | null = null,
  recovered = [] as number[],
) {
  const w = new FrameWriter();
  w.begin(new Uint8Array(room + 50).fill(0xff), 3, 3 + room + 1);
  const isWritten = writeAck(w, ranges, delay, 0, ecn, recovered);
  const bytes = w.at - 3;
  expect(isWritten).toBe(bytes > 0);
  expect(w.out.subarray(w.at).every((byte) => byte === 0xff)).toBe(true);
  return { ...readAll(w.out.subarray(3, w.at)), bytes };
}

describe('writing an ACK', () => {
  test('keeps the 64 newest ranges [FRM-9]', () => {
    const { frame } = ackOf(scattered(100, 3), 1_200);
    expect(frame.ranges.length).toBe(ACK_RANGES_SENT_MAX);
    expect(frame.ranges[0]).toEqual([297, 297]);
    expect(frame.ranges[63]).toEqual([108, 108]);
  });

  test('keeps the newest ranges that fit into the room there is', () => {
    const ranges = scattered(20, 3);
    for (let room = 5; room < 60; room++) {
      const { frame, bytes } = ackOf(ranges, room);
      expect(bytes).toBeLessThanOrEqual(room);
      expect(frame.ranges.length).toBe(Math.min(20, 1 + Math.floor((room - 5) / 2)));
      expect(frame.ranges[0]).toEqual([57, 57]);
    }
  });

  test('writes nothing when not even the newest range fits', () => {
    expect(write(scattered(2, 3), 4).bytes).toBe(0);
    expect(write(scattered(2, 3), 7, 25_000).bytes).toBe(0);
  });

  test('counts ECN counts and recovered numbers as part of the room', () => {
    const ranges = scattered(10, 3);
    const ecn = { ect0: 1, ect1: 2, ce: 3 };
    expect(write(ranges, 5 + 3 + 2 - 1, 0, ecn, [27]).bytes).toBe(0);
    expect(write(ranges, 5 + 3 + 2 + 2, 0, ecn, [27]).frames).toEqual([
      {
        type: 'ACK',
        delay: 0,
        ranges: [
          [27, 27],
          [24, 24],
        ],
        ecn,
        recovered: [27],
      },
    ]);
  });
});

describe('reading an ACK', () => {
  const many: SlowAck = { type: 'ACK', delay: 0, ranges: [] };
  for (let i = 1_000; i > 0; i--) many.ranges.push([i * 3, i * 3]);

  test('keeps the newest 256 ranges and goes on behind the others [FRM-9]', () => {
    const payload = Buffer.concat([slowEncode(many), slowEncode({ type: 'PING' })]);
    const { frames, error } = readAll(payload);
    expect(error).toBe(null);
    expect(frames).toEqual([{ ...many, ranges: many.ranges.slice(0, ACK_RANGES_MAX) }, { type: 'PING' }]);
  });

  test('checks the ranges that it does not keep [FRM-9]', () => {
    const payload = slowEncode(many);
    payload[payload.length - 1] = 10; // the oldest range, at 3, now reaches below 0
    expect(readAll(payload).error).toBe('FRAME_ENCODING_ERROR');
  });

  test('keeps the first 256 recovered numbers', () => {
    const recovered = Array.from({ length: 600 }, (_, i) => 1_000 - i);
    const frame: SlowAck = { type: 'ACK', delay: 0, ranges: [[0, 1_000]], recovered };
    expect(readAll(slowEncode(frame)).frames).toEqual([{ ...frame, recovered: recovered.slice(0, 256) }]);
  });

  test('allocates nothing once the reader has grown', () => {
    const reader = new FrameReader();
    const payload = slowEncode({ ...many, recovered: Array.from({ length: 300 }, (_, i) => i) });
    readAll(payload, reader);
    const { ackRanges, recovered } = reader;
    expect(ackRanges.length).toBe(2 * ACK_RANGES_MAX);
    readAll(payload, reader);
    expect(reader.ackRanges).toBe(ackRanges);
    expect(reader.recovered).toBe(recovered);
  });
});
