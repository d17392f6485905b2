import { expect, test } from 'vitest';
import { IncomingAnswer } from '../../../src/protocol/connection/admission.ts';
import { FrameReader } from '../../../src/protocol/wire/frame-reader.ts';
import { nextFrame } from '../../../src/protocol/wire/frames/index.ts';

/** What a client makes of ADMITTED frames with this whole, in two parts where it is long enough. */
function answerOf(whole: readonly number[]): IncomingAnswer {
  const answer = new IncomingAnswer();
  const half = whole.length >> 1;
  for (const [from, to] of [
    [half, whole.length],
    [0, half],
  ]) {
    if (from === to) continue;
    const frame = Uint8Array.of(0x1e, from, whole.length, to - from, ...whole.slice(from, to));
    const reader = new FrameReader();
    reader.reset(frame, 0, frame.length);
    expect(nextFrame(reader)).toBe(true);
    expect(answer.onFrame(reader)).toBe(0);
  }
  expect(answer.take()).toBe(true);
  return answer;
}

test('what a server says with ADMITTED is a byte 0, or a byte 1 and an answer, and nothing else [HS-44]', () => {
  expect(answerOf([0])).toMatchObject({ isBroken: false, payload: null });
  expect(answerOf([1])).toMatchObject({ isBroken: false, payload: new Uint8Array(0) });
  expect(answerOf([1, 7, 8])).toMatchObject({ isBroken: false, payload: Uint8Array.of(7, 8) });
  for (const broken of [[0, 7], [2], [255, 1, 2]]) expect(answerOf(broken).isBroken).toBe(true);
});
