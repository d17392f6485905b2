import { describe, expect, test } from 'vitest';
import {
  hold,
  isRecovered,
  letGo,
  RECOVERED_MAX,
  RecoveredNumbers,
  recover,
  symbolStart,
} from '../../../src/protocol/recovery/recovered-packets.ts';
import { CloseCode } from '../../../src/protocol/wire/close-code.ts';
import { FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { PacketSpace } from '../../../src/protocol/wire/packet-header.ts';
import { PING } from './frames.ts';
import { numbersOf, Sender } from './sender.ts';

const { APPLICATION, INITIAL } = PacketSpace;

/** Acknowledges [start, end) pairs, and tells numbers as recovered; returns the close code. */
function ack(
  sender: Sender,
  ranges: number[],
  recovered: number[],
  space: PacketSpace = APPLICATION,
): number {
  const code = sender.ack(ranges, 0, space);
  const { fates } = sender.recovery;
  const numbers = Float64Array.from(recovered);
  return code || recover(sender.recovery.sentPackets(space), numbers, numbers.length, fates);
}

describe('a packet that the peer recovered', () => {
  test('is told once, and not again when it is acknowledged after all [FEC-47]', () => {
    const sender = new Sender();
    sender.send(3);
    const { fates } = sender.recovery;
    sender.now += 10_000;
    expect(ack(sender, [2, 3], [1])).toBe(0);
    expect(numbersOf(fates.recovered)).toEqual([1]);
    expect(ack(sender, [2, 3], [1])).toBe(0);
    expect(numbersOf(fates.recovered)).toEqual([]);
    expect(ack(sender, [1, 3], [1])).toBe(0);
    expect(numbersOf(fates.recovered)).toEqual([]);
    expect(numbersOf(fates.acked)).toEqual([1]);
    expect(isRecovered(sender.recovery.sentPackets(APPLICATION), 1)).toBe(true);
  });

  test('is passed over when it is acknowledged, or long gone [FRM-17]', () => {
    const sender = new Sender();
    sender.send(40);
    expect(ack(sender, [0, 40], [3])).toBe(0);
    expect(numbersOf(sender.recovery.fates.recovered)).toEqual([]);
    sender.send(40); // takes the places of the first
    expect(ack(sender, [79, 80], [3])).toBe(0);
    expect(numbersOf(sender.recovery.fates.recovered)).toEqual([]);
  });

  test('stays in flight, and is lost with full weight when another would be [FEC-48]', () => {
    const lossy = new Sender();
    const recovering = new Sender();
    for (const sender of [lossy, recovering]) {
      sender.sampleRtt(50_000);
      sender.send(10);
      sender.now += 50_000;
    }
    expect(ack(lossy, [2, 3], [])).toBe(0);
    expect(ack(recovering, [2, 3], [1])).toBe(0);
    expect(recovering.recovery.path.bytesInFlight).toBe(lossy.recovery.path.bytesInFlight);
    for (const sender of [lossy, recovering]) {
      expect(ack(sender, [9, 11], [])).toBe(0);
      expect(numbersOf(sender.recovery.fates.lost)).toContain(1);
    }
    expect(recovering.recovery.path.bytesInFlight).toBe(lossy.recovery.path.bytesInFlight);
    expect(recovering.recovery.path.congestion.window).toBe(lossy.recovery.path.congestion.window);
    expect(recovering.recovery.nextTimeout()).toBe(lossy.recovery.nextTimeout());
  });

  test('gives no RTT sample and resets no probe timeout', () => {
    const sender = new Sender();
    sender.sampleRtt(50_000);
    sender.send(2);
    sender.fireTimeout();
    const { rtt } = sender.recovery.path;
    const before = rtt.latest;
    expect(ack(sender, [0, 1], [1])).toBe(0);
    expect(numbersOf(sender.recovery.fates.recovered)).toEqual([1]);
    expect(rtt.latest).toBe(before);
    expect(sender.recovery.ptoCount).toBe(1);
  });

  test('is undone as any loss is when it was only late', () => {
    const sender = new Sender();
    sender.sampleRtt(50_000);
    sender.send(10);
    sender.now += 50_000;
    const { window } = sender.recovery.path.congestion;
    expect(ack(sender, [9, 11, 2, 7], [1])).toBe(0);
    expect(sender.recovery.path.congestion.window).toBeLessThan(window);
    expect(ack(sender, [1, 11], [])).toBe(0);
    expect(numbersOf(sender.recovery.fates.spurious)).toContain(1);
    expect(sender.recovery.path.congestion.window).toBeGreaterThanOrEqual(window);
  });

  test('is not what a probe sends again', () => {
    const sender = new Sender();
    sender.sampleRtt(50_000);
    sender.send(3);
    expect(ack(sender, [0, 1], [1])).toBe(0);
    expect(sender.recovery.sentPackets(APPLICATION).oldestInFlight).toBe(2);
  });

  test('cannot be one that was never sent, or is of another space [FEC-46] [FRM-17]', () => {
    const sender = new Sender({ isConfirmed: false });
    sender.send(3);
    expect(ack(sender, [2, 3], [3])).toBe(CloseCode.PROTOCOL_VIOLATION);
    sender.send(1, INITIAL);
    expect(ack(sender, [0, 1], [0], INITIAL)).toBe(CloseCode.PROTOCOL_VIOLATION);
    const sent = sender.recovery.sentPackets(APPLICATION);
    sent.begin(4, sender.now); // 3 is left out
    sent.commit(1_000, true, true);
    expect(ack(sender, [2, 3], [3])).toBe(CloseCode.PROTOCOL_VIOLATION);
  });
});

test('a symbol begins with the first frame that need not go ahead of it [FEC-42]', () => {
  const { recovery } = new Sender();
  const sent = recovery.sentPackets(APPLICATION);
  const { ACK_RECOVERED, DROPPED, MAX_DATA, MESSAGES, REPAIR } = FrameType;
  for (const [number, types, ahead] of [
    [0, [DROPPED, ACK_RECOVERED, REPAIR, MESSAGES, DROPPED], 3],
    [1, [MAX_DATA, MESSAGES], 0],
    [2, [REPAIR], 1],
  ] as const) {
    sent.begin(number, 0);
    for (const type of types) sent.frames.plain(type);
    sent.commit(100, true, true);
    expect(symbolStart(sent, number)).toBe(sent.framesStart(number) + ahead);
  }
});

describe('numbers of recovered packets', () => {
  test('are told until an acknowledgement that told them is acknowledged [FEC-46]', () => {
    const recovered = new RecoveredNumbers();
    recovered.add(5);
    recovered.onTold(1, 9);
    recovered.add(7);
    recovered.onTold(2, 9);
    expect(recovered.toTell(9)).toEqual([5, 7]);
    recovered.onFrameAcked(1, 9);
    expect(recovered.toTell(9)).toEqual([7]);
    recovered.onFrameAcked(2, 9);
    expect(recovered.size).toBe(0);
  });

  test('are not told by an acknowledgement of less, and do not count as told by it', () => {
    const recovered = new RecoveredNumbers();
    recovered.add(5);
    expect(recovered.toTell(4)).toEqual([]);
    recovered.onTold(1, 4);
    recovered.onFrameAcked(1, 4);
    expect(recovered.toTell(5)).toEqual([5]);
  });

  test('are forgotten when their packets come, and beyond a bound', () => {
    const recovered = new RecoveredNumbers();
    for (let n = 0; n < 2 * RECOVERED_MAX; n++) {
      recovered.add(n);
      recovered.add(n);
    }
    expect(recovered.size).toBe(RECOVERED_MAX);
    recovered.onArrived(2 * RECOVERED_MAX - 1);
    recovered.onArrived(0);
    expect(recovered.size).toBe(RECOVERED_MAX - 1);
    expect(recovered.toTell(1_000)[0]).toBe(RECOVERED_MAX);
  });
});

describe('a lost packet whose frames wait for a repair', () => {
  test('has its record until it is let go, whatever needs room or becomes idle meanwhile [FEC-50]', () => {
    const sender = new Sender();
    sender.send(10);
    sender.ack([1, 10]);
    const sent = sender.recovery.sentPackets(APPLICATION);
    hold(sent, 0);
    sent.trim();
    for (let i = 0; i < 5; i++) {
      sender.now += 10_000_000;
      sender.send(100);
      const { largestSent } = sent;
      sender.ack([1, largestSent + 1]);
    }
    expect(sent.ring.base).toBe(0);
    expect(sent.frames.read(sent.framesStart(0)).type).toBe(PING);
    letGo(sent, 0);
    sent.trim();
    expect(sent.ring.base).toBe(sent.largestSent + 1);
    letGo(sent, 0); // its record is gone: nothing to do
  });
});
