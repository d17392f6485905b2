import assert from 'node:assert/strict';
import { describe, expect, test } from 'vitest';
import { acknowledge, PacketFates, withdraw } from '../../../src/protocol/recovery/loss-detection.ts';
import { PACKETS_MAX, SentPackets } from '../../../src/protocol/recovery/sent-packets.ts';
import { pathOf } from '../path/path-of.ts';
import { MESSAGE, PING } from './frames.ts';
import { holds } from './sender.ts';

/** The parts of messages that a packet carried. */
function partsOf(sent: SentPackets, number: number) {
  const parts: { type: number; stream: number; sequence: number; offset: number; length: number }[] = [];
  for (let i = sent.framesStart(number), end = sent.framesEnd(number); i < end; i++) {
    const { type, stream, sequence, offset, length } = sent.frames.read(i);
    parts.push({ type, stream, sequence, offset, length });
  }
  return parts;
}

function send(sent: SentPackets, number: number, now = 0, parts = 1): void {
  sent.begin(number, now);
  for (let i = 0; i < parts; i++) sent.frames.part(MESSAGE, number, i, number * 10, 2 ** 40 + i);
  sent.commit(1_200, true, true);
}

function expectParts(sent: SentPackets, number: number, count: number): void {
  const expected = Array.from({ length: count }, (_, i) => {
    return { type: MESSAGE, stream: number, sequence: i, offset: number * 10, length: 2 ** 40 + i };
  });
  expect(partsOf(sent, number)).toEqual(expected);
}

function ack(sent: SentPackets, ...ranges: number[]): PacketFates {
  const out = new PacketFates();
  assert.equal(acknowledge(sent, Float64Array.from(ranges), ranges.length / 2, pathOf(), out, 0), 0);
  return out;
}

describe('the sent packets', () => {
  test('records what a packet carried', () => {
    const sent = new SentPackets();
    sent.begin(0, 5);
    sent.frames.part(MESSAGE, 4, 100, 10, 7);
    sent.frames.plain(PING);
    sent.commit(900, true, true);
    expect(partsOf(sent, 0)).toEqual([
      { type: MESSAGE, stream: 4, sequence: 100, offset: 10, length: 7 },
      { type: PING, stream: 0, sequence: 0, offset: 0, length: 0 },
    ]);
    expect(sent.reportOf(0).sentTime).toBe(5);
    expect(sent.reportOf(0).bytes).toBe(900);
    expect(sent.flight.bytes).toBe(900);
    expect(sent.flight.ackEliciting).toBe(1);
    expect(sent.flight.lastAckElicitingTime).toBe(5);
  });

  test('knows the oldest packet in flight that carries something: what a probe timeout sends again', () => {
    const sent = new SentPackets();
    expect(sent.oldestInFlight).toBe(-1);
    sent.begin(0, 0);
    sent.commit(1_452, true, true, true); // a probe for the packet size
    expect(sent.oldestInFlight).toBe(-1);
    send(sent, 1);
    send(sent, 2);
    expect(sent.oldestInFlight).toBe(1);
    acknowledge(sent, Float64Array.of(1, 2), 1, pathOf(), new PacketFates(), 0);
    expect(sent.oldestInFlight).toBe(2);
  });

  test('forgets a cancelled packet and lets its number be used again', () => {
    const sent = new SentPackets();
    sent.begin(0, 0);
    sent.frames.plain(PING);
    sent.cancel();
    expect(sent.largestSent).toBe(-1);
    send(sent, 0, 1, 2);
    expectParts(sent, 0, 2);
  });

  test('does not count packets that are not in flight', () => {
    const sent = new SentPackets();
    sent.begin(0, 9);
    sent.commit(40, false, false);
    expect(sent.flight.bytes).toBe(0);
    expect(sent.flight.ackEliciting).toBe(0);
    expect(sent.flight.lastAckElicitingTime).toBe(0);
  });

  test('grows both rings and keeps every record', () => {
    const sent = new SentPackets(4);
    const count = 1_000;
    for (let n = 0; n < count; n++) send(sent, n, n, n % 5);
    for (let n = 0; n < count; n++) {
      expect(holds(sent, n)).toBe(true);
      expect(sent.reportOf(n).sentTime).toBe(n);
      expectParts(sent, n, n % 5);
    }
    expect(sent.flight.bytes).toBe(count * 1_200);
  });

  test('reuses its rings without growing while the window stays small', () => {
    const sent = new SentPackets(32);
    send(sent, 0);
    const { state } = sent.ring;
    for (let n = 1; n < 100_000; n++) {
      send(sent, n, n, 1);
      if (n >= 10) ack(sent, n - 10, n - 9);
      if (n >= 10 && n % 997 === 0) for (let held = n - 9; held <= n; held++) expectParts(sent, held, 1);
    }
    expect(sent.ring.state).toBe(state);
  });

  test('grows in the middle of a packet with many frames', () => {
    const sent = new SentPackets(4);
    send(sent, 0, 0, 3);
    send(sent, 1, 0, 500);
    expectParts(sent, 0, 3);
    expectParts(sent, 1, 500);
  });

  test('keeps frames readable when their positions wrap around 2^32', () => {
    const sent = new SentPackets(4);
    sent.frames.head = 2 ** 32 - 5;
    sent.frames.forgetBefore(2 ** 32 - 5);
    for (let n = 0; n < 20; n++) send(sent, n, 0, 3);
    for (let n = 0; n < 20; n++) expectParts(sent, n, 3);
    ack(sent, 0, 20);
    for (let n = 20; n < 60; n++) send(sent, n, 0, 3);
    for (let n = 20; n < 60; n++) expectParts(sent, n, 3);
  });

  test('works with packet numbers far above 2^32', () => {
    const sent = new SentPackets(4);
    const first = 2 ** 45 + 3;
    for (let n = first; n < first + 100; n++) send(sent, n, 1, 2);
    for (let n = first; n < first + 100; n++) expectParts(sent, n, 2);
    expect(ack(sent, first + 10, first + 100).acked.count).toBe(90);
    expect(sent.flight.bytes).toBe(12_000);
  });

  test('lets acknowledgements and probes through at its bound, but no data [REC-12]', () => {
    const sent = new SentPackets();
    for (let n = 0; n < PACKETS_MAX; n++) send(sent, n, 0, 0);
    expect(sent.isFull(1)).toBe(true);
    send(sent, PACKETS_MAX, 1, 1);
    expectParts(sent, PACKETS_MAX, 1);
    ack(sent, 0, 100);
    expect(sent.isFull(1)).toBe(false);
  });

  test('lets data through where what fills it is lost, though that could be acknowledged late [REC-12] [REC-23]', () => {
    const sent = new SentPackets(8, 64);
    for (let n = 0; n < 63; n++) send(sent, n, 0, 0);
    withdraw(sent, 63, pathOf(), new PacketFates());
    send(sent, 63, 1, 0);
    expect(sent.ring.base).toBe(0); // as long as there is room it is known what was spurious
    expect(sent.isFull(2)).toBe(false);
    expect(sent.ring.base).toBe(63);
  });

  test('frees acknowledgement-only packets nobody will acknowledge, without growing', () => {
    const sent = new SentPackets(32);
    send(sent, 0);
    ack(sent, 0, 1);
    const { state } = sent.ring;
    for (let n = 1; n < 10_000; n++) {
      sent.begin(n, n);
      sent.frames.plain(PING);
      sent.commit(40, false, false);
    }
    expect(sent.ring.state).toBe(state);
  });

  test('has no room before its first packet, and shares that with all that have none', () => {
    const [one, other] = [new SentPackets(), new SentPackets()];
    expect(one.ring.state.length).toBe(0);
    expect(one.ring.state).toBe(other.ring.state);
    send(one, 7);
    expect(one.ring.state.length).toBe(8);
    expect(other.ring.state.length).toBe(0);
    expectParts(one, 7, 1);
  });

  test('gives its memory back when idle', () => {
    const sent = new SentPackets(32);
    for (let n = 0; n < 5_000; n++) send(sent, n, 0, 2);
    sent.trim();
    expect(sent.ring.state.length).toBeGreaterThan(4_096);
    ack(sent, 0, 5_000);
    sent.trim();
    expect(sent.ring.state.length).toBe(0);
    send(sent, 5_000, 0, 2);
    expect(sent.ring.state.length).toBe(32);
    expectParts(sent, 5_000, 2);
    expect(ack(sent, 4_000, 5_001).acked.count).toBe(1);
  });

  test('refuses a number that does not grow', () => {
    const sent = new SentPackets();
    send(sent, 3);
    expect(() => sent.begin(3, 0)).toThrow(/packet numbers grow/);
  });
});
