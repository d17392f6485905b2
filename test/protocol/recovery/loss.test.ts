import { describe, expect, test } from 'vitest';
import { NEVER } from '../../../src/base/time.ts';
import { TimeoutResult } from '../../../src/protocol/recovery/recovery.ts';
import { PacketSpace } from '../../../src/protocol/wire/packet-header.ts';
import { holds, numbersOf, Sender } from './sender.ts';

describe('loss detection', () => {
  test('declares packets lost that are three numbers behind [REC-6]', () => {
    const sender = new Sender();
    sender.send(6);
    sender.now += 10_000;
    sender.ack([4, 5]);
    expect(numbersOf(sender.recovery.fates.lost)).toEqual([0, 1]);
    expect(sender.recovery.path.bytesInFlight).toBe(3 * 1_200);
  });

  test('tells the path what it lost of what had to be acknowledged [REC-55]', () => {
    const sender = new Sender();
    sender.sampleRtt(50_000);
    sender.send(4); // 1 to 4
    sender.send(1, PacketSpace.APPLICATION, true); // 5 looks for a larger size
    sender.sendAckOnly();
    sender.send(3); // 7 to 9
    sender.now += 50_000;
    sender.ack([7, 10, 4, 5, 1, 2]);
    expect(numbersOf(sender.recovery.fates.lost)).toEqual([2, 3, 5]);
    const { loss } = sender.recovery.path;
    expect([loss.rate, loss.runPackets]).toEqual([2 / 8, 2]);
    sender.ack([2, 3]);
    expect(loss.rate).toBe(1 / 8);
  });

  test('waits a little longer than a round trip for packets less far behind [REC-6] [REC-7] [REC-9]', () => {
    const sender = new Sender();
    const sentAt = sender.now;
    sender.send(3);
    sender.now += 40_000;
    sender.ack([2, 3]);
    expect(sender.recovery.fates.lost.count).toBe(0);
    expect(sender.recovery.nextTimeout()).toBe(sentAt + 45_000);
    expect(sender.fireTimeout()).toBe(TimeoutResult.LOST);
    expect(numbersOf(sender.recovery.fates.lost)).toEqual([0, 1]);
    expect(sender.recovery.fates.space).toBe(PacketSpace.APPLICATION);
    expect(sender.recovery.path.bytesInFlight).toBe(0);
    expect(sender.recovery.nextTimeout()).toBe(NEVER);
  });

  test('never waits less than a millisecond [REC-9]', () => {
    const sender = new Sender();
    const sentAt = sender.now;
    sender.send(2);
    sender.now += 100;
    sender.ack([1, 2]);
    expect(sender.recovery.nextTimeout()).toBe(sentAt + 1_000);
  });

  test('does nothing when a timeout comes too early', () => {
    const sender = new Sender();
    sender.send(2);
    sender.now += 40_000;
    sender.ack([1, 2]);
    expect(sender.recovery.onTimeout(sender.now)).toBe(TimeoutResult.NONE);
    expect(sender.recovery.fates.lost.count).toBe(0);
  });

  test('never declares a packet lost that is not in flight [REC-6]', () => {
    const sender = new Sender();
    const acknowledgement = sender.sendAckOnly();
    sender.send(5);
    sender.now += 40_000;
    sender.ack([1, 6]);
    expect(sender.recovery.fates.lost.count).toBe(0);
    expect(sender.recovery.nextTimeout()).toBe(NEVER);
    sender.ack([0, 1]);
    expect(numbersOf(sender.recovery.fates.acked)).toEqual([acknowledgement]);
  });

  test('samples the RTT only from a new largest number in an ack-eliciting acknowledgement [REC-2]', () => {
    const sender = new Sender();
    sender.sendAckOnly();
    sender.now += 30_000;
    sender.ack([0, 1]);
    expect(sender.recovery.path.rtt.hasSample).toBe(false);
    sender.send(2);
    sender.now += 30_000;
    sender.ack([2, 3]);
    expect(sender.recovery.path.rtt.latest).toBe(30_000);
    sender.now += 5_000;
    sender.ack([1, 3]);
    expect(sender.recovery.path.rtt.latest).toBe(30_000);
  });

  test('bounds the reported delay once the handshake is confirmed, and ignores it before [REC-5]', () => {
    const sender = new Sender();
    sender.sampleRtt(10_000);
    sender.send();
    sender.now += 100_000;
    sender.ack([1, 2], 80_000);
    expect(sender.recovery.path.rtt.smoothed).toBe(0.875 * 10_000 + 0.125 * 75_000);

    const early = new Sender({ isConfirmed: false });
    for (const [number, rtt] of [10_000, 100_000].entries()) {
      early.send(1, PacketSpace.INITIAL);
      early.now += rtt;
      early.ack([number, number + 1], 80_000, PacketSpace.INITIAL);
    }
    expect(early.recovery.path.rtt.smoothed).toBe(0.875 * 10_000 + 0.125 * 100_000);
  });

  test('recognises that a lost packet was only late [REC-8]', () => {
    const sender = new Sender();
    sender.send(6);
    sender.now += 10_000;
    sender.ack([4, 6]);
    expect(numbersOf(sender.recovery.fates.lost)).toEqual([0, 1, 2]);
    sender.now += 1_000;
    sender.ack([4, 6, 1, 2]);
    expect(numbersOf(sender.recovery.fates.spurious)).toEqual([1]);
    expect(sender.recovery.fates.acked.count).toBe(0);
    expect(sender.recovery.path.bytesInFlight).toBe(1_200);
  });

  test('forgets lost packets in time [REC-8]', () => {
    const sender = new Sender();
    sender.sampleRtt(10_000);
    sender.send(6);
    sender.now += 10_000;
    sender.ack([5, 7]);
    expect(numbersOf(sender.recovery.fates.lost)).toEqual([1, 2, 3]);
    sender.now += 100_000;
    sender.send(200);
    expect(holds(sender.recovery.sentPackets(PacketSpace.APPLICATION), 2)).toBe(false);
    sender.ack([5, 7, 2, 3]);
    expect(sender.recovery.fates.spurious.count).toBe(0);
  });

  test('takes more reordering for granted after a spurious loss by number [REC-10]', () => {
    const sender = new Sender();
    sender.send(10);
    sender.now += 10_000;
    sender.ack([6, 7]);
    expect(numbersOf(sender.recovery.fates.lost)).toEqual([0, 1, 2, 3]);
    // Packet 2 was overtaken by four: 3, 4, 5 and 6.
    sender.ack([6, 7, 2, 3]);
    const next = sender.send(10) - 9;
    sender.now += 10_000;
    sender.ack([next + 4, next + 5, 4, 10]);
    expect(numbersOf(sender.recovery.fates.lost)).toEqual([]);
    sender.ack([next + 5, next + 6]);
    expect(numbersOf(sender.recovery.fates.lost)).toEqual([next]);
  });

  test('waits longer after a spurious loss by time [REC-10]', () => {
    const sender = new Sender();
    sender.send(2);
    sender.now += 40_000;
    sender.ack([1, 2]);
    sender.fireTimeout();
    expect(numbersOf(sender.recovery.fates.lost)).toEqual([0]);
    sender.ack([0, 2]);
    expect(numbersOf(sender.recovery.fates.spurious)).toEqual([0]);
    const sentAt = sender.now;
    sender.send(2);
    sender.now += 40_000;
    sender.ack([3, 4]);
    expect(sender.recovery.nextTimeout()).toBe(sentAt + 50_000);
  });

  test('trusts the order of the path again after sixteen recovery periods [REC-10]', () => {
    const sender = new Sender();
    sender.send(2);
    sender.now += 40_000;
    sender.ack([1, 2]);
    sender.fireTimeout();
    sender.ack([0, 2]);
    for (let period = 0; period < 17; period++) {
      sender.now += 1;
      const first = sender.send(4) - 3;
      sender.now += 40_000;
      sender.ack([first + 1, first + 4]);
      expect(sender.recovery.fates.lost.count).toBe(1);
    }
    sender.now += 1;
    const sentAt = sender.now;
    const first = sender.send(2) - 1;
    sender.now += 40_000;
    sender.ack([first + 1, first + 2]);
    expect(sender.recovery.nextTimeout()).toBe(sentAt + 45_000);
  });

  test('withdraws what the peer can never have accepted, without a congestion signal', () => {
    const sender = new Sender();
    sender.send(5);
    const { window } = sender.recovery.path.congestion;
    sender.recovery.withdraw(PacketSpace.APPLICATION, 3);
    expect(numbersOf(sender.recovery.fates.lost)).toEqual([0, 1, 2]);
    expect(sender.recovery.path.bytesInFlight).toBe(2_400);
    expect(sender.recovery.path.congestion.window).toBe(window);
  });
});
