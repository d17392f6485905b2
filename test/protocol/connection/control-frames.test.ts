import { expect, test } from 'vitest';
import { FrameType } from '../../../src/protocol/wire/frame-type.ts';
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
