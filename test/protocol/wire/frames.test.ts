import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FrameReader } from '../../../src/protocol/wire/frame-reader.ts';
import { frame as anyFrame, widened, widening } from './arbitrary-frames.ts';
import { readAll, writeFrame } from './fast-frames.ts';
import { fromHex, toHex } from './hex.ts';
import { slowDecode } from './slow-decoder.ts';
import { slowEncode } from './slow-encoder.ts';
import type { Malformed, SlowFrame } from './slow-frames.ts';
import { typesOfSpec } from './spec-frames.ts';

interface FrameVectors {
  frames: { name: string; hex: string; frame: SlowFrame; canonical?: boolean }[];
  invalid: { name: string; hex: string; error: Malformed['code']; rule: string }[];
}

const vectors: FrameVectors = JSON.parse(
  readFileSync(new URL('../../../spec/vectors/frames.json', import.meta.url), 'utf8'),
);

describe('frame vectors', () => {
  for (const { name, hex, frame, canonical } of vectors.frames) {
    const bytes = fromHex(hex);
    test(`${name} is read as the spec says`, () => {
      expect(readAll(bytes)).toEqual({ frames: [frame], error: null });
      expect(slowDecode(bytes)).toEqual([frame]);
    });
    if (canonical === false) continue;
    test(`${name} is written as the spec says`, () => {
      expect(toHex(writeFrame(frame))).toBe(toHex(bytes));
      expect(toHex(slowEncode(frame))).toBe(toHex(bytes));
    });
  }

  for (const { name, hex, error, rule } of vectors.invalid) {
    test(`${name} is refused with ${error} [${rule}]`, () => {
      expect(readAll(fromHex(hex)).error).toBe(error);
      expect(() => slowDecode(fromHex(hex))).toThrow(error);
    });
  }

  test('hold every frame type of the spec', () => {
    const types = new Set(vectors.frames.map(({ hex }) => fromHex(hex)[0]));
    const missing = [];
    for (const [type, name] of typesOfSpec()) {
      const isOneFlag = name !== 'MESSAGE' || (type & 0xf & ((type & 0xf) - 1)) === 0; // or none
      if (isOneFlag && name !== 'extension' && !types.has(type)) missing.push(type);
    }
    expect(missing).toEqual([]);
  });

  test('prove every rule about decoding [FRM-1] [FRM-2] [FRM-6] [FRM-8] [FRM-9] [FRM-10] [FRM-12] [FRM-18] [FRM-22] [FEC-21]', () => {
    const rules = [...new Set(vectors.invalid.map(({ rule }) => rule))].sort();
    expect(rules).toEqual([
      'FEC-21',
      'FRM-1',
      'FRM-10',
      'FRM-12',
      'FRM-18',
      'FRM-2',
      'FRM-22',
      'FRM-6',
      'FRM-8',
      'FRM-9',
    ]);
  });

  test('are refused wherever they are cut short [FRM-1]', () => {
    for (const { name, hex, frame } of vectors.frames) {
      if (frame.type === 'PADDING') continue;
      const bytes = fromHex(hex);
      for (let length = 1; length < bytes.length; length++) {
        const { frames, error } = readAll(bytes.subarray(0, length));
        expect({ name, length, frames, error }).toEqual({
          name,
          length,
          frames: [],
          error: 'FRAME_ENCODING_ERROR',
        });
      }
    }
  });
});

describe('frames', () => {
  const payload = fc.array(anyFrame, { minLength: 1, maxLength: 8 }).map(joinPadding);

  test('are made up of every type that there is', () => {
    const madeUp = fc.sample(anyFrame, { numRuns: 2_000, seed: 1 }).map(({ type }) => type);
    expect(new Set(madeUp)).toEqual(new Set(vectors.frames.map(({ frame }) => frame.type)));
  });

  test('written by the fast writers are what the slow decoder reads', () => {
    fc.assert(
      fc.property(payload, (frames) => {
        const bytes = Buffer.concat(frames.map(writeFrame));
        expect(slowDecode(bytes)).toEqual(frames.map(asWritten));
      }),
    );
  });

  test('written by the slow encoder, with varints of any form, are what the fast reader reads', () => {
    fc.assert(
      fc.property(payload, widening, (frames, extra) => {
        const form = widened(extra);
        const bytes = Buffer.concat(frames.map((frame) => slowEncode(frame, form)));
        expect(readAll(bytes)).toEqual({ frames, error: null });
      }),
    );
  });

  test('leave no trace in the reader that the next payload could see', () => {
    fc.assert(
      fc.property(payload, payload, (before, frames) => {
        const first = Buffer.concat(before.map((frame) => slowEncode(frame)));
        const second = Buffer.concat(frames.map((frame) => slowEncode(frame)));
        const used = new FrameReader();
        readAll(first, used);
        expect(readAll(second, used)).toEqual(readAll(second));
      }),
      { numRuns: 50 },
    );
  });
});

/** Rows of PADDING run together, on the wire and in what a reader says. */
function joinPadding(frames: SlowFrame[]): SlowFrame[] {
  return frames.filter((frame, i) => frame.type !== 'PADDING' || frames[i - 1]?.type !== 'PADDING');
}

/** An ACK of ours keeps 64 ranges. */
function asWritten(frame: SlowFrame): SlowFrame {
  return frame.type === 'ACK' ? { ...frame, ranges: frame.ranges.slice(0, 64) } : frame;
}
