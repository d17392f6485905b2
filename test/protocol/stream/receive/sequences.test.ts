import { expect, test } from 'vitest';
import { FrameType, MessageFlag } from '../../../../src/protocol/wire/frame-type.ts';
import { Pair } from '../../connection/pair.ts';
import { integers, opening, Rogue } from '../../connection/rogue.ts';

test('DROPPED that goes out ahead of an ACK is sent again when that packet is lost [STR-18]', () => {
  const pair = new Pair().connected();
  const rogue = new Rogue(pair);
  rogue.send(opening(0));
  rogue.send(integers(FrameType.PING));
  // Half of a message that lives for 2 ms; the packet is acknowledged later than that.
  const type = FrameType.MESSAGE | MessageFlag.FRAGMENT | MessageFlag.LIFETIME;
  const half = Buffer.concat([integers(type, 0, 0, 0, 200, 0, 2_000, 100), new Uint8Array(100)]);
  rogue.post(half);
  pair.run(400);
  const first = rogue.heard.find(({ frames }) => frames.some((frame) => frame.type === FrameType.DROPPED));
  expect(first?.frames.some((frame) => frame.type === FrameType.ACK)).toBe(true);
  // Nothing is acknowledged: it must be told again.
  pair.run(4_000);
  expect(rogue.frames(FrameType.DROPPED).length).toBeGreaterThan(1);
});
