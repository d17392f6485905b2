import { describe, expect, test } from 'vitest';
import { FrameType, MessageFlag, Space } from '../../../../src/protocol/wire/frame-type.ts';
import { type RecordOwner, SentFrames } from '../../../../src/protocol/wire/frames/sent-frames.ts';
import { recorded } from '../recorded.ts';

describe('the record of a frame', () => {
  test('is read back by the names of its form', () => {
    expect(recorded((sent) => sent.run(FrameType.DROPPED, 4, 10, 3, Space.BEST_EFFORT))).toMatchObject({
      type: FrameType.DROPPED,
      stream: 4,
      sequence: 10,
      count: 3,
      space: Space.BEST_EFFORT,
    });
    expect(recorded((sent) => sent.part(FrameType.MESSAGE, 4, 10, 500, 70))).toMatchObject({
      sequence: 10,
      offset: 500,
      length: 70,
    });
    expect(recorded((sent) => sent.limit(FrameType.MAX_DATA, 0, 2 ** 50))).toMatchObject({ limit: 2 ** 50 });
    expect(recorded((sent) => sent.ack(FrameType.ACK, 90, 12, 5))).toMatchObject({
      largest: 90,
      lowest: 12,
      number: 5,
    });
  });

  test('tells best-effort messages from all others', () => {
    const { MESSAGE, MESSAGES, MESSAGES_BEST_EFFORT, STREAM_FIN } = FrameType;
    const isBestEffort = (type: number) => recorded((sent) => sent.plain(type)).isBestEffort;
    for (const type of [MESSAGES_BEST_EFFORT, MESSAGE | MessageFlag.BEST_EFFORT]) {
      expect(isBestEffort(type)).toBe(true);
    }
    for (const type of [MESSAGE, MESSAGE | MessageFlag.FRAGMENT, MESSAGES, STREAM_FIN]) {
      expect(isBestEffort(type)).toBe(false);
    }
  });
});

describe('the records of packets', () => {
  test('of one that was not committed are forgotten', () => {
    const sent = new SentFrames();
    sent.begin();
    sent.plain(FrameType.PING);
    sent.begin();
    expect(sent.commit()).toBe(0);
  });

  test('grow only when their owner has none to let go of', () => {
    let asked = 0;
    const owner: RecordOwner = {
      onRecordsFull() {
        asked++;
        sent.forgetBefore(sent.head);
      },
    };
    const sent = new SentFrames(4, owner);
    for (let i = 0; i < 20; i++) {
      sent.begin();
      sent.ofStream(FrameType.STREAM_FIN, i);
      const first = sent.head;
      expect(sent.commit()).toBe(1);
      expect(sent.read(first).stream).toBe(i);
    }
    expect(asked).toBeGreaterThan(2);
  });
});
