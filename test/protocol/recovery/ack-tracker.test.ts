import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NEVER } from '../../../src/base/time.ts';
import { AckTracker, RANGES_MAX } from '../../../src/protocol/recovery/ack-tracker.ts';
import { CloseCode } from '../../../src/protocol/wire/close-code.ts';
import { EcnCodepoint } from '../../../src/protocol/wire/frames/ack.ts';

function tracker(isHandshake = false): AckTracker {
  return new AckTracker({ isHandshake, maxDelay: 25_000 });
}

/** Receives in-order packets `spacing` apart until `count` acknowledgements went out; returns packets per acknowledgement. */
function receive(acks: AckTracker, from: number, count: number, spacing: number): number[] {
  const sizes: number[] = [];
  for (let n = from, now = from * spacing; sizes.length < count; n++, now += spacing) {
    if (now - spacing < acks.deadline && acks.deadline < now) acknowledge(acks, acks.deadline, sizes);
    acks.onPacket(n, true, now);
    if (acks.ackDue(now)) acknowledge(acks, now, sizes);
  }
  return sizes;
}

function acknowledge(acks: AckTracker, now: number, sizes: number[]): void {
  expect(acks.ackDue(now)).toBe(true);
  sizes.push(acks.pending);
  acks.onAckSent(now);
}

describe('acknowledging', () => {
  test('acknowledges the first packet at once, then every second one [REC-36]', () => {
    const acks = tracker();
    acks.onPacket(0, true, 0);
    expect(acks.ackDue(0)).toBe(true);
    acks.onAckSent(0);
    acks.onPacket(1, true, 1_000);
    expect(acks.ackDue(1_000)).toBe(false);
    acks.onPacket(2, true, 2_000);
    expect(acks.ackDue(2_000)).toBe(true);
  });

  test('acknowledges within a millisecond during the handshake, so that it goes with the answer [REC-35]', () => {
    const acks = tracker(true);
    acks.onRtt(400_000);
    for (let n = 0; n < 12; n++) acks.onPacket(n, true, 5_000 + n);
    expect(acks.pending).toBe(12); // which is what goes with a packet that is sent anyway
    expect(acks.ackDue(5_999)).toBe(false);
    expect(acks.deadline).toBe(6_000);
    expect(acks.ackDue(6_000)).toBe(true);
  });

  test('acknowledges a gap and what comes late at once also during the handshake [REC-38]', () => {
    const acks = tracker(true);
    acks.onPacket(1, true, 0);
    expect(acks.ackDue(0)).toBe(true);
    acks.onAckSent(0);
    acks.onPacket(0, true, 0);
    expect(acks.ackDue(0)).toBe(true);
  });

  test('lets best-effort messages alone wait for more of their kind, but not for longer than anything else [REC-97]', () => {
    const acks = tracker();
    acks.onRtt(8_000); // a quarter of which is 2 ms
    acks.onPacket(0, true, 0);
    acks.onAckSent(0);
    const { NOT_ECT } = EcnCodepoint;
    acks.onPacket(1, true, 10_000, NOT_ECT, 10_000, false);
    expect(acks.deadline).toBe(30_000);
    expect(acks.ackDue(26_667)).toBe(false);
    acks.onPacket(2, true, 26_667, NOT_ECT, 26_667, false); // the next state at 60 Hz
    expect(acks.ackDue(26_667)).toBe(true);
    acks.onAckSent(26_667);
    acks.onPacket(3, true, 40_000, NOT_ECT, 40_000, false);
    acks.onPacket(5, true, 50_000, NOT_ECT, 50_000, false); // behind a gap
    expect(acks.ackDue(50_000)).toBe(true);
    acks.onAckSent(50_000);
    acks.onPacket(6, true, 60_000, NOT_ECT, 60_000, false);
    expect(acks.deadline).toBe(80_000);
  });

  test('acknowledges as soon as ever what its sender waits for, also behind best-effort messages [REC-37] [REC-97]', () => {
    const acks = tracker();
    acks.onRtt(8_000);
    receive(acks, 0, 60, 100); // so often that the threshold grows
    acks.onPacket(1_000, true, 1_000_000);
    acks.onAckSent(1_000_000);
    acks.onPacket(1_001, true, 1_010_000, EcnCodepoint.NOT_ECT, 1_010_000, false);
    expect(acks.deadline).toBe(1_030_000);
    acks.onPacket(1_002, true, 1_011_000);
    expect(acks.deadline).toBe(1_013_000);
    expect(acks.ackDue(1_013_000)).toBe(true);
  });

  test('waits no longer than the peer asks for, whatever came [REC-40] [REC-97]', () => {
    const acks = tracker();
    acks.onPacket(0, true, 0);
    acks.onAckSent(0);
    acks.onAckFrequency(0, 10, 3_000);
    acks.onPacket(1, true, 10_000, EcnCodepoint.NOT_ECT, 10_000, false);
    expect(acks.deadline).toBe(13_000);
  });

  test('never acknowledges packets that do not elicit it', () => {
    const acks = tracker();
    for (let n = 0; n < 100; n += 2) acks.onPacket(n, false, n);
    expect(acks.ackDue(1_000_000)).toBe(false);
    expect(acks.deadline).toBe(NEVER);
    expect(acks.ranges.size).toBe(50);
  });

  test('acknowledges a lone packet after the delay: a quarter of the RTT, within bounds [REC-36] [REC-37]', () => {
    for (const [rtt, delay] of [
      [40_000, 10_000],
      [100, 1_000],
      [1_000_000, 25_000],
    ] as const) {
      const acks = tracker();
      acks.onPacket(0, true, 0);
      acks.onAckSent(0);
      acks.onRtt(rtt);
      acks.onPacket(1, true, 500);
      expect(acks.deadline).toBe(500 + delay);
      expect(acks.ackDue(499 + delay)).toBe(false);
      expect(acks.ackDue(500 + delay)).toBe(true);
    }
  });

  test('acknowledges less often when packets come fast, every tenth in the end [REC-41]', () => {
    const acks = tracker();
    const sizes = receive(acks, 0, 40, 10);
    expect(sizes.slice(0, 11)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10]);
    expect(sizes.at(-1)).toBe(10);
  });

  test('acknowledges more often when the delay runs out before the threshold is reached [REC-41]', () => {
    const acks = tracker();
    receive(acks, 0, 40, 10);
    // 8 packets, then silence: as from a sender with a window of 8.
    for (let n = 1_000; n < 1_008; n++) acks.onPacket(n, true, 1_000_000);
    acks.onAckSent(1_000_000);
    for (let n = 1_008; n < 1_016; n++) acks.onPacket(n, true, 1_000_000);
    expect(acks.ackDue(1_000_000)).toBe(false);
    const late = acks.deadline;
    acks.onAckSent(late);
    for (let n = 1_016; n < 1_020; n++) acks.onPacket(n, true, late);
    expect(acks.ackDue(late)).toBe(true);
  });

  test('acknowledges at once what leaves a gap, and again three packets later [REC-38]', () => {
    const acks = tracker();
    receive(acks, 0, 20, 10);
    const from = acks.largest + 1;
    const due: boolean[] = [];
    for (const n of [0, 2, 3, 4, 5]) {
      acks.onPacket(from + n, true, 0);
      due.push(acks.ackDue(0));
      if (acks.ackDue(0)) acks.onAckSent(0);
    }
    // 1 is missing: 2 shows the gap, 4 is three above it.
    expect(due).toEqual([false, true, false, true, false]);
  });

  test('acknowledges at once a packet that comes late [REC-38]', () => {
    const acks = tracker();
    receive(acks, 0, 20, 10);
    const from = acks.largest + 1;
    acks.onPacket(from + 1, true, 0);
    acks.onAckSent(0);
    acks.onPacket(from, true, 0);
    expect(acks.ackDue(0)).toBe(true);
  });

  test('acknowledges at once a packet with a congestion mark [REC-38]', () => {
    const acks = tracker();
    receive(acks, 0, 20, 10);
    acks.onPacket(acks.largest + 1, true, 0, EcnCodepoint.CE);
    expect(acks.ackDue(0)).toBe(true);
  });

  test('counts packets by the ECN codepoint they came with, once there is one [REC-80]', () => {
    const acks = tracker();
    acks.onPacket(0, true, 0);
    expect(acks.ecn).toBeNull();
    for (const ecn of [EcnCodepoint.ECT0, EcnCodepoint.CE, EcnCodepoint.ECT0, EcnCodepoint.ECT1])
      acks.onPacket(acks.largest + 1, false, 0, ecn);
    acks.onPacket(acks.largest + 1, true, 0);
    expect(acks.ecn).toEqual({ ect0: 2, ect1: 1, ce: 1 });
  });

  test('reports the time since the largest number came [REC-42]', () => {
    const acks = tracker();
    acks.onPacket(5, true, 1_000);
    acks.onPacket(4, true, 1_700);
    expect(acks.ackDelay(2_000)).toBe(1_000);
  });

  test('forgets what the peer knows to have been received [REC-39]', () => {
    const acks = tracker();
    for (const n of [0, 1, 2, 5]) acks.onPacket(n, true, 0);
    const frame = acks.onAckSent(0);
    acks.onPacket(6, true, 0);
    acks.onFrameAcked({ largest: 5, lowest: 0, number: frame });
    expect(rangesOf(acks)).toEqual([[6, 7]]);
  });

  test('keeps the ranges that the frame had no room for [REC-39]', () => {
    const acks = tracker();
    for (const n of [0, 4, 8, 12]) acks.onPacket(n, true, 0);
    acks.onFrameAcked({ largest: 12, lowest: 8, number: acks.onAckSent(0) });
    expect(rangesOf(acks)).toEqual([
      [0, 1],
      [4, 5],
    ]);
  });

  test('keeps what came late, until a frame that told it is acknowledged [REC-39]', () => {
    const acks = tracker();
    for (const n of [0, 2]) acks.onPacket(n, true, 0);
    const before = acks.onAckSent(0);
    acks.onPacket(1, true, 1);
    expect(acks.ackDue(1)).toBe(true);
    const lost = acks.onAckSent(1);
    expect(lost).not.toBe(before);
    acks.onFrameAcked({ largest: 2, lowest: 0, number: before });
    expect(rangesOf(acks)).toEqual([[1, 2]]);
    const told = acks.onAckSent(2);
    acks.onFrameAcked({ largest: 1, lowest: 1, number: told });
    expect(acks.ranges.size).toBe(0);
  });

  describe('when many ranges are told again and again [REC-50]', () => {
    test('asks for an acknowledgement above four ranges, once a round trip', () => {
      const acks = tracker();
      acks.onRtt(80_000);
      for (const n of [0, 2, 4, 6]) acks.onPacket(n, true, 1_000_000);
      expect(acks.wantsAcknowledgement(1_000_000)).toBe(false);
      acks.onPacket(8, true, 1_000_000);
      expect(acks.wantsAcknowledgement(1_000_000)).toBe(true);
      acks.onElicitingAckSent(1_000_000);
      expect(acks.wantsAcknowledgement(1_079_999)).toBe(false);
      expect(acks.wantsAcknowledgement(1_080_000)).toBe(true);
    });

    test('does not ask in the spaces of the handshake', () => {
      const acks = tracker(true);
      for (const n of [0, 2, 4, 6, 8]) acks.onPacket(n, true, 1_000_000);
      expect(acks.wantsAcknowledgement(1_000_000)).toBe(false);
    });
  });

  test('remembers at most 64 ranges, the highest [REC-39]', () => {
    const acks = tracker();
    for (let n = 0; n < 1_000; n += 2) acks.onPacket(n, true, 0);
    expect(acks.ranges.size).toBe(RANGES_MAX);
    expect(acks.ranges.largest).toBe(998);
    acks.onPacket(1, true, 0);
    expect(acks.ranges.size).toBe(RANGES_MAX);
    expect(acks.ranges.contains(1)).toBe(false);
  });

  describe('as the peer asks with ACK_FREQUENCY [REC-40]', () => {
    test('takes threshold and delay from it, and keeps them', () => {
      const acks = tracker();
      expect(acks.onAckFrequency(0, 30, 5_000)).toBe(0);
      acks.onRtt(400_000);
      expect(receive(acks, 0, 30, 10).slice(1)).toEqual(Array(29).fill(30));
      const from = acks.largest + 1;
      acks.onPacket(from, true, 0);
      expect(acks.deadline).toBe(5_000);
    });

    test('heeds the newest request only', () => {
      const acks = tracker();
      acks.onAckFrequency(4, 3, 5_000);
      acks.onAckFrequency(3, 50, 5_000);
      acks.onAckFrequency(4, 50, 5_000);
      expect(receive(acks, 0, 3, 10)).toEqual([1, 3, 3]);
    });

    test('bounds threshold and delay', () => {
      const acks = tracker();
      acks.onAckFrequency(0, 1, 90_000);
      acks.onPacket(0, true, 0);
      acks.onAckSent(0);
      acks.onPacket(1, true, 0);
      expect(acks.ackDue(0)).toBe(true);
      expect(acks.deadline).toBe(25_000);
      acks.onAckFrequency(1, 1_000_000, 25_000);
      expect(receive(acks, 2, 2, 1).at(-1)).toBe(1_000);
    });

    test('refuses a delay that it said it cannot keep', () => {
      expect(tracker().onAckFrequency(0, 2, 999)).toBe(CloseCode.PROTOCOL_VIOLATION);
      expect(tracker().onAckFrequency(0, 2, 1_000)).toBe(0);
    });

    test('goes its own way again when asked for nothing', () => {
      const acks = tracker();
      acks.onRtt(40_000);
      acks.onAckFrequency(0, 1, 1_000);
      expect(receive(acks, 0, 3, 10)).toEqual([1, 1, 1]);
      acks.onAckFrequency(1, 0, 25_000);
      acks.onPacket(acks.largest + 1, true, 100);
      expect(acks.ackDue(100)).toBe(false);
      expect(acks.deadline).toBe(100 + 10_000);
    });

    test.each([1, 2])(
      'acknowledges each packet for a round trip after a gap when asked for %i [REC-59]',
      (threshold) => {
        const acks = tracker();
        acks.onRtt(40_000);
        acks.onAckFrequency(0, threshold, 10_000);
        receive(acks, 0, 2, 1);
        acks.onPacket(10, true, 1_000);
        acks.onAckSent(1_000);
        acks.onPacket(11, true, 40_999);
        expect(acks.ackDue(40_999)).toBe(true);
        acks.onAckSent(40_999);
        acks.onPacket(12, true, 41_000);
        acks.onAckSent(41_000); // three above the gap
        acks.onPacket(13, true, 41_000);
        expect(acks.ackDue(41_000)).toBe(threshold === 1);
      },
    );

    test.each([0, 3])('acknowledges no more of them when asked for %i [REC-59]', (threshold) => {
      const acks = tracker();
      acks.onRtt(40_000);
      acks.onAckFrequency(0, threshold, 10_000);
      receive(acks, 0, 2, 1);
      acks.onPacket(10, true, 1_000);
      acks.onAckSent(1_000);
      acks.onPacket(11, true, 2_000);
      expect(acks.ackDue(2_000)).toBe(false);
    });

    test('still acknowledges at once what leaves a gap [REC-38]', () => {
      const acks = tracker();
      acks.onAckFrequency(0, 500, 25_000);
      receive(acks, 0, 1, 1);
      acks.onPacket(10, true, 0);
      expect(acks.ackDue(0)).toBe(true);
    });
  });

  test('has something to report whenever an acknowledgement is due, and forgets nothing that was not told', () => {
    const step = fc.record({
      kind: fc.constantFrom('packet', 'packet', 'packet', 'ack', 'ackAcked'),
      number: fc.integer({ min: 0, max: 400 }),
      eliciting: fc.boolean(),
      wait: fc.integer({ min: 0, max: 30_000 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const acks = tracker();
        const seen = new Set<number>();
        const settled = new Set<number>();
        const frames: { lowest: number; largest: number; told: number[]; number: number }[] = [];
        // The lowest ranges go when there are too many.
        const dropped = () => (acks.ranges.size < RANGES_MAX ? -1 : acks.ranges.start(0));
        let now = 0;
        for (const { kind, number, eliciting, wait } of steps) {
          now += wait;
          if (kind === 'packet' && !seen.has(number)) {
            seen.add(number);
            acks.onPacket(number, eliciting, now);
          } else if (kind === 'ack' && acks.ranges.size > 0) {
            // As much of it as fits: from one of the ranges up.
            const told = Math.floor((number * acks.ranges.size) / 401);
            const frame = { lowest: acks.ranges.start(told), largest: acks.ranges.largest, told: [...seen] };
            frames.push({ ...frame, number: acks.onAckSent(now) });
          } else if (kind === 'ackAcked' && frames.length > 0) {
            const frame = frames[number % frames.length];
            acks.onFrameAcked(frame);
            for (const n of frame.told) if (n >= frame.lowest && n <= frame.largest) settled.add(n);
          }
          if (acks.ackDue(now)) expect(acks.ranges.size).toBeGreaterThan(0);
          for (const n of seen)
            if (!settled.has(n) && n > dropped()) expect(acks.ranges.contains(n)).toBe(true);
          if (acks.pending > 0) expect(acks.deadline).not.toBe(NEVER);
          for (let i = 0; i < acks.ranges.size; i++) expect(seen.has(acks.ranges.start(i))).toBe(true);
        }
      }),
    );
  });
});

test('a packet that comes behind a larger number is told apart', () => {
  const acks = tracker();
  const late = [3, 1, 2, 7, 8, 6].filter((number, i) => acks.onPacket(number, true, i * 1_000));
  expect(late).toEqual([1, 2, 6]);
});

function rangesOf({ ranges }: AckTracker): number[][] {
  return Array.from({ length: ranges.size }, (_, i) => [ranges.start(i), ranges.end(i)]);
}
