import { expect, test } from 'vitest';
import { FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { CONTROL_FRAME_BYTES_MAX, FrameWriter } from '../../../src/protocol/wire/frame-writer.ts';
import type { SentFrame } from '../../../src/protocol/wire/frames/sent-frames.ts';
import { internalsOf } from './internals.ts';
import { Pair } from './pair.ts';

const lost = (type: number): SentFrame => ({ type }) as SentFrame;

test('HANDSHAKE_DONE is said again when it is lost, a HEARTBEAT is not [FRM-5]', () => {
  const { control } = internalsOf(new Pair().connected().server.core);
  control.onFrameLost(lost(FrameType.HEARTBEAT));
  expect(control.isDue).toBe(false);
  control.onFrameLost(lost(FrameType.HANDSHAKE_DONE));
  expect(control.isHandshakeDoneDue).toBe(true);
  expect(control.isDue).toBe(true);
});

test('a recorded frame that no part knows is a fault of ours, not lost in silence', () => {
  const { control } = internalsOf(new Pair().connected().server.core);
  expect(() => control.onFrameLost(lost(FrameType.EXTENSION))).toThrow('when it is lost');
});

test('what fits a packet goes with it, and the rest waits for the next', () => {
  const { control } = internalsOf(new Pair().connected().server.core);
  const frames = new FrameWriter();
  control.isHandshakeDoneDue = true;
  control.isPingDue = true;
  // A byte for the first is taken of the room for one frame of any size.
  frames.begin(new Uint8Array(100), 0, CONTROL_FRAME_BYTES_MAX);
  control.write(frames);
  expect([...frames.out.subarray(0, frames.at)]).toEqual([FrameType.HANDSHAKE_DONE]);
  expect([control.isHandshakeDoneDue, control.isPingDue, control.isDue]).toEqual([false, true, true]);
  frames.begin(new Uint8Array(100), 0, CONTROL_FRAME_BYTES_MAX);
  control.write(frames);
  expect([...frames.out.subarray(0, frames.at)]).toEqual([FrameType.PING]);
  expect(control.isDue).toBe(false);
});
