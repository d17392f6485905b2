import { describe, expect, it } from 'vitest';
import { Acknowledged, acknowledge } from '../../../src/protocol/recovery/acknowledge.ts';
import { PacketState } from '../../../src/protocol/recovery/packet-state.ts';
import { SentLedger } from '../../../src/protocol/recovery/sent-ledger.ts';
import { CloseCode } from '../../../src/protocol/wire/close-code.ts';

function ledgerOf(count: number): SentLedger {
  const ledger = new SentLedger(8);
  for (let n = 0; n < count; n++) {
    ledger.begin(n, n);
    ledger.commit(1_000, true, true);
  }
  return ledger;
}

function ack(ledger: SentLedger, ...ranges: number[]): number[] {
  const out = new Acknowledged();
  expect(acknowledge(ledger, Float64Array.from(ranges), ranges.length / 2, -1, out)).toBe(0);
  return Array.from(out.acked.numbers.subarray(0, out.acked.count));
}

describe('acknowledgements', () => {
  it('report each packet once, newest first', () => {
    const ledger = ledgerOf(10);
    expect(ack(ledger, 6, 9, 2, 4)).toEqual([8, 7, 6, 3, 2]);
    expect(ack(ledger, 5, 10, 1, 4)).toEqual([9, 5, 1]);
    expect(ack(ledger, 0, 10)).toEqual([4, 0]);
    expect(ledger.bytesInFlight).toBe(0);
    expect(ledger.ackElicitingInFlight).toBe(0);
  });

  it('may arrive in any order [REC-11]', () => {
    const ledger = ledgerOf(10);
    expect(ack(ledger, 0, 8)).toHaveLength(8);
    expect(ack(ledger, 2, 5)).toEqual([]);
    expect(ledger.largestAcked).toBe(7);
    expect(ack(ledger, 0, 10)).toEqual([9, 8]);
  });

  it('of a number that was never sent are a protocol violation [FRM-9]', () => {
    const ledger = ledgerOf(3);
    const out = new Acknowledged();
    expect(acknowledge(ledger, Float64Array.of(0, 4), 1, -1, out)).toBe(CloseCode.PROTOCOL_VIOLATION);
  });

  it('of a skipped number are a protocol violation [FRM-9] [PKT-23]', () => {
    const ledger = ledgerOf(3);
    ledger.begin(5, 0);
    ledger.commit(1_000, true, true);
    const out = new Acknowledged();
    expect(acknowledge(ledger, Float64Array.of(5, 6, 0, 3), 2, -1, out)).toBe(0);
    expect(acknowledge(ledger, Float64Array.of(3, 6), 1, -1, out)).toBe(CloseCode.PROTOCOL_VIOLATION);
  });

  it('of the skipped number are a protocol violation also when its record is gone', () => {
    const ledger = ledgerOf(3);
    ack(ledger, 0, 3);
    for (let n = 4; n < 60; n++) {
      ledger.begin(n, n);
      ledger.commit(1_000, true, true);
      if (n < 59) ack(ledger, n, n + 1);
    }
    expect(ledger.base).toBeGreaterThan(3);
    const out = new Acknowledged();
    expect(acknowledge(ledger, Float64Array.of(59, 60, 0, 4), 2, -1, out)).toBe(CloseCode.PROTOCOL_VIOLATION);
  });

  it('count towards the window only what was sent after the recovery period began', () => {
    const ledger = ledgerOf(10);
    const out = new Acknowledged();
    acknowledge(ledger, Float64Array.of(0, 10), 1, 6, out);
    expect(out.acked.count).toBe(10);
    expect(out.ackedBytes).toBe(3_000);
  });

  it('step over known runs: a frame that repeats old ranges costs next to nothing', () => {
    const count = 20_000;
    const ledger = ledgerOf(count);
    let reads = 0;
    // One packet stays outstanding at the low end, so that nothing can be freed.
    ledger.state = countReads(ledger.state, () => reads++);
    for (let end = 11; end < count; end += 10) ack(ledger, 1, end);
    ack(ledger, 1, count);
    expect(ledger.bytesInFlight).toBe(1_000);
    // One read a packet and a few a frame, not one a packet a frame (20 million).
    expect(reads).toBeLessThan(2 * count);
  });

  it('tell packets declared lost apart', () => {
    const ledger = ledgerOf(4);
    ledger.state[1] |= PacketState.LOST;
    const out = new Acknowledged();
    acknowledge(ledger, Float64Array.of(0, 4), 1, -1, out);
    expect(Array.from(out.acked.numbers.subarray(0, out.acked.count))).toEqual([3, 2, 0]);
    expect(Array.from(out.spurious.numbers.subarray(0, out.spurious.count))).toEqual([1]);
  });
});

/** The same array, counting how often an element is read. */
function countReads(array: Uint8Array, onRead: () => void): Uint8Array {
  return new Proxy(array, {
    get(target, key) {
      if (typeof key === 'string' && /^\d+$/.test(key)) onRead();
      const value = Reflect.get(target, key);
      return typeof value === 'function' ? value.bind(target) : value;
    },
    set: (target, key, value) => Reflect.set(target, key, value),
  });
}
