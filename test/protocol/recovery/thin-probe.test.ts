import { describe, expect, test } from 'vitest';
import { PacketState, SentPackets } from '../../../src/protocol/recovery/sent-packets.ts';
import {
  carriesMessages,
  newestCopyOf,
  newestInFlight,
  oldestToMend,
} from '../../../src/protocol/recovery/thin-probe.ts';
import { FrameType, Space } from '../../../src/protocol/wire/frame-type.ts';

const { MESSAGE, MESSAGES, MESSAGES_BEST_EFFORT } = FrameType;

describe('what a thin sender probes for [REC-58]', () => {
  test('is the oldest packet in flight that carries something', () => {
    const sent = sentOf([[]], [[MESSAGES, 4, 0, 1]], [[MESSAGES, 4, 1, 1]]);
    expect(oldestToMend(sent)).toBe(1);
    acknowledge(sent, 1);
    expect(oldestToMend(sent)).toBe(2);
    acknowledge(sent, 2);
    expect(oldestToMend(sent)).toBe(-1);
  });

  test('is none whose last message has arrived in another', () => {
    const sent = sentOf(
      [[MESSAGES, 4, 0, 1]],
      [[MESSAGES, 4, 0, 1]],
      [[MESSAGES, 4, 0, 2]],
      [[MESSAGES, 4, 2, 1]],
    );
    acknowledge(sent, 1);
    expect(oldestToMend(sent)).toBe(2);
    acknowledge(sent, 3);
    expect(oldestToMend(sent)).toBe(2);
  });

  test('is told by what it carries itself, not by what the next one does', () => {
    const sent = sentOf([[FrameType.PING, 0, 0, 0]], [[MESSAGES, 4, 0, 1]]);
    expect([0, 1].map((number) => carriesMessages(sent, number))).toEqual([false, true]);
  });

  test('waits for the newest copy of it that is under way', () => {
    const sent = sentOf(
      [[MESSAGES, 4, 0, 2]],
      [[MESSAGES, 4, 1, 2]],
      [[MESSAGES, 4, 1, 3]],
      [[MESSAGES, 4, 3, 1]],
    );
    expect(newestCopyOf(sent, 0)).toBe(2);
    acknowledge(sent, 2);
    expect(newestCopyOf(sent, 0)).toBe(1);
    expect(newestCopyOf(sent, 3)).toBe(3);
  });

  test('tells streams, spaces and parts of messages apart', () => {
    const sent = sentOf(
      [[MESSAGES, 4, 0, 1]],
      [[MESSAGES, 8, 0, 1]],
      [[MESSAGES_BEST_EFFORT, 4, 0, 1]],
      [[FrameType.STREAM_FIN, 4, 0, 0]],
      [[MESSAGE, 4, 0, 0]],
    );
    expect(newestCopyOf(sent, 0)).toBe(4);
    expect(newestCopyOf(sent, 1)).toBe(1);
    acknowledge(sent, 4);
    expect(newestCopyOf(sent, 0)).toBe(0);
    expect(oldestToMend(sent)).toBe(1);
  });

  test('brings the newest packet, too, which was sent last, or by a certain time', () => {
    const sent = sentOf([[MESSAGES, 4, 0, 1]], [[MESSAGES, 4, 1, 1]], [[]]);
    expect(newestInFlight(sent)).toBe(1);
    expect(newestInFlight(sent, 9_999)).toBe(0);
    expect(newestInFlight(sent, -1)).toBe(-1);
  });
});

/** Packets 10 ms apart with these frames each: type, stream, sequence, count. */
function sentOf(...packets: readonly (readonly (readonly number[])[])[]): SentPackets {
  const sent = new SentPackets();
  packets.forEach((frames, number) => {
    sent.begin(number, number * 10_000);
    for (const [type, stream, sequence, count] of frames) {
      if (type === undefined) continue;
      if (type === MESSAGE) sent.frames.part(type, stream, sequence, 0, 64);
      else sent.frames.run(type, stream, sequence, count, Space.RELIABLE);
    }
    sent.commit(100, true, true);
  });
  return sent;
}

function acknowledge({ ring }: SentPackets, number: number): void {
  ring.state[number & ring.mask] |= PacketState.ACKED;
}
