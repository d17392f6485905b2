import { describe, expect, test } from 'vitest';
import { SECOND } from '../../../src/base/time.ts';
import { AckFrequencyRequest, AckThreshold } from '../../../src/protocol/recovery/ack-frequency.ts';
import { ThinSender } from '../../../src/protocol/recovery/thin-sender.ts';
import { FrameReader } from '../../../src/protocol/wire/frame-reader.ts';
import { FrameWriter } from '../../../src/protocol/wire/frame-writer.ts';
import { nextFrame } from '../../../src/protocol/wire/frames/index.ts';

const { NONE, EACH, SECOND: EACH_SECOND } = AckThreshold;

describe('what a thin sender asks of its peer [REC-48]', () => {
  test.each([
    ['for each acknowledgement at once where packets are far apart', 20_000, EACH, 1_000],
    ['for each second one where they are not', 10_000, EACH_SECOND, 12_500],
    ['for nothing where there are more than 500 a second', 1_900, NONE, 0],
  ])('is asked %s', (_, interval, threshold, delay) => {
    const sender = senderOf(interval);
    sender.onSettled(true, 3, 50_000, 0);
    expect(sender.acks.asked).toBe(threshold);
    expect(sender.acks.isDue).toBe(threshold !== NONE);
    if (threshold !== NONE) expect(written(sender.acks)).toEqual({ number: 0, threshold, delay });
  });

  test('is nothing on a path that loses nothing, and by one that has much to send', () => {
    for (const [isLossy, packets] of [
      [false, 1],
      [true, 9],
    ] as const) {
      const sender = senderOf(20_000);
      sender.onSettled(isLossy, packets, 50_000, 0);
      expect(sender.acks.isDue).toBe(false);
    }
  });

  test('does not change with each packet: some go on for a second, others down to three quarters', () => {
    const sender = senderOf(13_000);
    sender.onSettled(true, 1, 50_000, 0);
    sender.interval = 9_400;
    sender.onSettled(true, 9, 50_000, SECOND - 1);
    expect(sender.acks.asked).toBe(EACH);
    sender.onSettled(true, 1, 50_000, SECOND - 1);
    expect(sender.acks.asked).toBe(EACH);
    sender.interval = 9_300;
    sender.onSettled(true, 1, 50_000, SECOND);
    expect(sender.acks.asked).toBe(EACH_SECOND);
    sender.onSettled(false, 1, 50_000, 2 * SECOND);
    expect(sender.acks.asked).toBe(NONE);
    expect(written(sender.acks)).toEqual({ number: 0, threshold: 0, delay: 25_000 });
    sender.onSettled(false, 1, 50_000, 9 * SECOND);
    expect(sender.acks.isDue).toBe(false);
  });

  test('is nothing of a peer that does not understand it, and no less than what another can', () => {
    const plain = new AckFrequencyRequest();
    plain.onPeerParameters(null, 25_000);
    plain.update(EACH, 50_000, 0);
    expect([plain.isDue, plain.peerDelay]).toEqual([false, 25_000]);
    const slow = new AckFrequencyRequest();
    slow.onPeerParameters(4_000, 25_000);
    slow.update(EACH, 50_000, 0);
    expect(written(slow).delay).toBe(4_000);
  });

  test('is said until it has arrived, and counts from then on [REC-14]', () => {
    const acks = new AckFrequencyRequest();
    acks.onPeerParameters(1_000, 25_000);
    acks.update(EACH, 50_000, 0);
    expect(written(acks).number).toBe(0);
    acks.onFrameLost(0);
    expect(acks.isDue).toBe(true);
    expect(written(acks).number).toBe(1);
    acks.onFrameAcked(0);
    expect(acks.peerDelay).toBe(25_000);
    acks.onFrameAcked(1);
    expect(acks.peerDelay).toBe(1_000);
    acks.onFrameLost(0);
    expect(acks.isDue).toBe(false);
    acks.update(EACH_SECOND, 50_000, 1);
    expect(acks.peerDelay).toBe(25_000);
  });
});

function senderOf(interval: number): ThinSender {
  const sender = new ThinSender();
  sender.acks.onPeerParameters(1_000, 25_000);
  sender.interval = interval;
  return sender;
}

function written(acks: AckFrequencyRequest): { number: number; threshold: number; delay: number } {
  const w = new FrameWriter();
  const r = new FrameReader();
  w.begin(new Uint8Array(64), 0, 64);
  acks.write(w);
  r.reset(w.out, 0, w.at);
  expect(nextFrame(r)).toBe(true);
  const { number, threshold, delay } = r;
  return { number, threshold, delay };
}
