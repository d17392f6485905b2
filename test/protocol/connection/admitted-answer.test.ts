import { expect, test } from 'vitest';
import { IncomingAnswer } from '../../../src/protocol/connection/admission.ts';
import { CloseCode } from '../../../src/protocol/wire/close-code.ts';
import { FrameReader } from '../../../src/protocol/wire/frame-reader.ts';
import { nextFrame } from '../../../src/protocol/wire/frames/index.ts';

/** What a client makes of ADMITTED frames with this whole, in two parts where it is long enough: its answer, and the close code of the last. */
function answerOf(whole: readonly number[]): { answer: IncomingAnswer; code: number } {
  const answer = new IncomingAnswer();
  const half = whole.length >> 1;
  let code = 0;
  for (const [from, to] of [
    [half, whole.length],
    [0, half],
  ]) {
    if (from === to) continue;
    const frame = Uint8Array.of(0x1e, from, whole.length, to - from, ...whole.slice(from, to));
    const reader = new FrameReader();
    reader.reset(frame, 0, frame.length);
    expect(nextFrame(reader)).toBe(true);
    expect([code, answer.isWhole]).toEqual([0, false]);
    code = answer.onFrame(reader);
  }
  return { answer, code };
}

test('what a server says with ADMITTED is a byte 0, or a byte 1 and an answer, and nothing else [HS-44]', () => {
  for (const [whole, payload] of [
    [[0], null],
    [[1], new Uint8Array(0)],
    [[1, 7, 8], Uint8Array.of(7, 8)],
  ] as const) {
    expect(answerOf(whole)).toMatchObject({ code: 0, answer: { isWhole: true, payload } });
  }
  for (const broken of [[0, 7], [2], [255, 1, 2]])
    expect(answerOf(broken)).toMatchObject({
      code: CloseCode.PROTOCOL_VIOLATION,
      answer: { isWhole: false, payload: null },
    });
});
