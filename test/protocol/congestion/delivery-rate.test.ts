import { describe, expect, test } from 'vitest';
import { Delivery, PacketReport, RateSample } from '../../../src/protocol/congestion/delivery-rate.ts';

/** Sends a packet: what it will be reported with. */
function send(delivery: Delivery, bytes: number, bytesInFlight: number, now: number): PacketReport {
  delivery.onPacketSent(bytes, bytesInFlight, now);
  const { delivered, deliveredTime, firstSentTime, inFlight, isAppLimited, lost } = delivery;
  const number = 0;
  return Object.assign(new PacketReport(), {
    number,
    bytes,
    sentTime: now,
    delivered,
    deliveredTime,
    firstSentTime,
    inFlight,
    isAppLimited,
    lost,
  });
}

function sampleOf(delivery: Delivery, packets: readonly PacketReport[], now: number, rttMin = 0): RateSample {
  const sample = new RateSample();
  for (const packet of packets) {
    sample.onPacketAcked(packet);
    delivery.onPacketAcked(packet, now);
  }
  sample.finish(delivery, rttMin, now);
  return sample;
}

describe('a sample of the delivery rate', () => {
  test('is what was delivered over the longer of sending and acknowledging it [REC-65]', () => {
    const delivery = new Delivery();
    const packets = [0, 1, 2, 3].map((i) => send(delivery, 1_000, 1_000 * i, 100 * i));
    expect(sampleOf(delivery, packets.slice(0, 1), 1_000).rate).toBe(1);
    const later = send(delivery, 1_000, 3_000, 1_000);
    // Three that were held up come at once with the next: sending them took 300 us, their way 1,000.
    const sample = sampleOf(delivery, [later, ...packets.slice(1).reverse()], 2_000);
    expect(sample.delivered).toBe(4_000);
    expect(sample.rate).toBe(4);
    expect(sample.newlyAcked).toBe(4_000);
  });

  test('is not faster than the packets were sent, however close their acknowledgements come [REC-65]', () => {
    const delivery = new Delivery();
    const packets = Array.from({ length: 10 }, (_, i) => send(delivery, 1_000, 1_000 * i, 1_000 * i));
    sampleOf(delivery, [packets[0]], 20_000);
    const next = send(delivery, 1_000, 9_000, 20_000);
    sampleOf(delivery, packets.slice(1).reverse(), 20_001);
    expect(sampleOf(delivery, [next], 20_002).rate).toBeLessThan(1);
  });

  test('is none below the shortest round trip [REC-65]', () => {
    const delivery = new Delivery();
    expect(sampleOf(delivery, [send(delivery, 1_000, 0, 0)], 100, 101).rate).toBe(0);
    expect(sampleOf(new Delivery(), [send(new Delivery(), 1_000, 0, 100)], 100).rate).toBe(0);
  });

  test('counts a late packet as delivered, and as lost no more [REC-65]', () => {
    const delivery = new Delivery();
    const [first, second] = [0, 1].map((i) => send(delivery, 1_000, 1_000 * i, i));
    delivery.onPacketLost(first);
    expect(delivery.lost).toBe(1_000);
    delivery.onSpuriousLoss(first, 90);
    expect(delivery).toMatchObject({ lost: 0, delivered: 1_000, deliveredTime: 90 });
    expect(sampleOf(delivery, [second], 100).delivered).toBe(2_000);
  });

  test('stays true beyond 2^32 bytes: totals do not wrap [REC-65]', () => {
    const delivery = new Delivery();
    delivery.delivered = 2 ** 40;
    delivery.lost = 2 ** 33;
    const sample = sampleOf(delivery, [send(delivery, 1_000, 0, 0)], 1_000);
    expect(sample).toMatchObject({ delivered: 1_000, lost: 0, rate: 1 });
  });

  test('is of the application while nothing that was sent after it had no more is delivered [REC-65]', () => {
    const delivery = new Delivery();
    const first = send(delivery, 1_000, 0, 0);
    delivery.onAppLimited(1_000, 500); // the window was full
    expect(delivery.isAppLimited).toBe(false);
    delivery.onAppLimited(1_000, 5_000);
    const second = send(delivery, 1_000, 1_000, 10);
    sampleOf(delivery, [first], 100);
    expect(delivery.isAppLimited).toBe(true);
    expect(sampleOf(delivery, [second], 110).isAppLimited).toBe(true);
    expect(delivery.isAppLimited).toBe(false);
  });
});
