import { describe, expect, test } from 'vitest';
import { acknowledge, PacketFates } from '../../../src/protocol/recovery/loss-detection.ts';
import { PacketState, SentPackets } from '../../../src/protocol/recovery/sent-packets.ts';
import { CloseCode } from '../../../src/protocol/wire/close-code.ts';
import { pathOf } from '../path/path-of.ts';

function sentOf(count: number): SentPackets {
  const sent = new SentPackets(8);
  for (let n = 0; n < count; n++) {
    sent.begin(n, n);
    sent.commit(1_000, true, true);
  }
  return sent;
}

function ack(sent: SentPackets, ...ranges: number[]): number[] {
  const out = new PacketFates();
  expect(acknowledge(sent, Float64Array.from(ranges), ranges.length / 2, pathOf(), out, 0)).toBe(0);
  return Array.from(out.acked.numbers.subarray(0, out.acked.count));
}

describe('acknowledgements', () => {
  test('report each packet once, newest first', () => {
    const sent = sentOf(10);
    expect(ack(sent, 6, 9, 2, 4)).toEqual([8, 7, 6, 3, 2]);
    expect(ack(sent, 5, 10, 1, 4)).toEqual([9, 5, 1]);
    expect(ack(sent, 0, 10)).toEqual([4, 0]);
    expect(sent.flight.bytes).toBe(0);
    expect(sent.flight.ackEliciting).toBe(0);
  });

  test('may arrive in any order [REC-11]', () => {
    const sent = sentOf(10);
    expect(ack(sent, 0, 8)).toHaveLength(8);
    expect(ack(sent, 2, 5)).toEqual([]);
    expect(sent.largestAcked).toBe(7);
    expect(ack(sent, 0, 10)).toEqual([9, 8]);
  });

  test('of a number that was never sent are a protocol violation [FRM-9]', () => {
    const sent = sentOf(3);
    const out = new PacketFates();
    expect(acknowledge(sent, Float64Array.of(0, 4), 1, pathOf(), out, 0)).toBe(CloseCode.PROTOCOL_VIOLATION);
  });

  test('of a skipped number are a protocol violation [FRM-9] [PKT-23]', () => {
    const sent = sentOf(3);
    sent.begin(5, 0);
    sent.commit(1_000, true, true);
    const out = new PacketFates();
    expect(acknowledge(sent, Float64Array.of(5, 6, 0, 3), 2, pathOf(), out, 0)).toBe(0);
    expect(acknowledge(sent, Float64Array.of(3, 6), 1, pathOf(), out, 0)).toBe(CloseCode.PROTOCOL_VIOLATION);
  });

  test('of the skipped number are a protocol violation also when its record is gone', () => {
    const sent = sentOf(3);
    ack(sent, 0, 3);
    for (let n = 4; n < 60; n++) {
      sent.begin(n, n);
      sent.commit(1_000, true, true);
      if (n < 59) ack(sent, n, n + 1);
    }
    expect(sent.ring.base).toBeGreaterThan(3);
    const out = new PacketFates();
    expect(acknowledge(sent, Float64Array.of(59, 60, 0, 4), 2, pathOf(), out, 0)).toBe(
      CloseCode.PROTOCOL_VIOLATION,
    );
  });

  test('step over known runs: a frame that repeats old ranges costs next to nothing', () => {
    const count = 20_000;
    const sent = sentOf(count);
    let reads = 0;
    // One packet stays outstanding at the low end, so that nothing can be freed.
    Object.assign(sent.ring, { state: countReads(sent.ring.state, () => reads++) });
    for (let end = 11; end < count; end += 10) ack(sent, 1, end);
    ack(sent, 1, count);
    expect(sent.flight.bytes).toBe(1_000);
    // One read a packet and a few a frame, not one a packet a frame (20 million).
    expect(reads).toBeLessThan(2 * count);
  });

  test('tell packets declared lost apart', () => {
    const sent = sentOf(4);
    sent.ring.state[1] |= PacketState.LOST;
    const out = new PacketFates();
    acknowledge(sent, Float64Array.of(0, 4), 1, pathOf(), out, 0);
    expect(Array.from(out.acked.numbers.subarray(0, out.acked.count))).toEqual([3, 2, 0]);
    expect(Array.from(out.spurious.numbers.subarray(0, out.spurious.count))).toEqual([1]);
  });
});

/** The same array, counting how often an element is read. */
function countReads(array: Uint16Array, onRead: () => void): Uint16Array {
  return new Proxy(array, {
    get(target, key) {
      if (typeof key === 'string' && /^\d+$/.test(key)) onRead();
      const value = Reflect.get(target, key);
      return typeof value === 'function' ? value.bind(target) : value;
    },
    set: (target, key, value) => Reflect.set(target, key, value),
  });
}
