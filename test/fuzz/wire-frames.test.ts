import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FrameReader } from '../../src/protocol/wire/frame-reader.ts';
import { frame } from '../protocol/wire/arbitrary-frames.ts';
import { readAll } from '../protocol/wire/fast-frames.ts';
import { mutated } from '../protocol/wire/mutation.ts';
import { slowDecode } from '../protocol/wire/slow-decoder.ts';
import { slowEncode } from '../protocol/wire/slow-encoder.ts';
import { Malformed, type SlowFrame } from '../protocol/wire/slow-frames.ts';

/** Used for all payloads: what one leaves behind must not show in the next. */
const reader = new FrameReader();

/** The reader and its slow twin take or refuse a payload alike, and read the same. [FRM-1] */
function agree(payload: Uint8Array): void {
  const fast = readAll(payload, reader);
  let slow: SlowFrame[];
  try {
    slow = slowDecode(payload);
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    expect(fast.error).toBe(error.code);
    return;
  }
  expect(fast).toEqual({ frames: slow.map(asKept), error: null });
}

/** The reader keeps 256 ranges and recovered numbers of an ACK. */
function asKept(frame: SlowFrame): SlowFrame {
  if (frame.type !== 'ACK') return frame;
  const kept = { ...frame, ranges: frame.ranges.slice(0, 256) };
  return kept.recovered === undefined ? kept : { ...kept, recovered: kept.recovered.slice(0, 256) };
}

describe('fuzz: the frame reader and its slow twin agree', () => {
  test('on random bytes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), agree), { numRuns: 3_000 });
  });

  test('on random bytes behind each type', () => {
    const small = fc.oneof(fc.nat(8), fc.nat(255));
    const body = fc.array(small, { maxLength: 60 });
    fc.assert(
      fc.property(fc.nat(0x41), body, (type, rest) => agree(Uint8Array.from([type, ...rest]))),
      { numRuns: 5_000 },
    );
  });

  test('on valid payloads with a few bytes changed, cut, put in or doubled', () => {
    const payload = fc
      .array(frame, { minLength: 1, maxLength: 4 })
      .map((frames) => new Uint8Array(Buffer.concat(frames.map((one) => slowEncode(one)))));
    fc.assert(fc.property(mutated(payload), agree), { numRuns: 3_000 });
  });
});
