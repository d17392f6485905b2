import { describe, expect, it } from 'vitest';
import { Acknowledged, acknowledge } from '../../../src/protocol/recovery/acknowledge.ts';
import { PACKETS_MAX, SentLedger } from '../../../src/protocol/recovery/sent-ledger.ts';
import { MESSAGES, PING } from './frames.ts';

interface Entry {
  readonly kind: number;
  readonly id: number;
  readonly a: number;
  readonly b: number;
  readonly c: number;
}

function entriesOf(ledger: SentLedger, number: number): Entry[] {
  const entries: Entry[] = [];
  for (let e = ledger.entryStart(number), end = ledger.entryEnd(number); e < end; e++) {
    entries.push({
      kind: ledger.entryKind(e),
      id: ledger.entryId(e),
      a: ledger.entryA(e),
      b: ledger.entryB(e),
      c: ledger.entryC(e),
    });
  }
  return entries;
}

function send(ledger: SentLedger, number: number, now = 0, entries = 1): void {
  ledger.begin(number, now);
  for (let i = 0; i < entries; i++) ledger.add(MESSAGES, number, i, number * 10, 2 ** 40 + i);
  ledger.commit(1_200, true, true);
}

function expectEntries(ledger: SentLedger, number: number, count: number): void {
  const expected = Array.from({ length: count }, (_, i) => ({
    kind: MESSAGES,
    id: number,
    a: i,
    b: number * 10,
    c: 2 ** 40 + i,
  }));
  expect(entriesOf(ledger, number)).toEqual(expected);
}

function ack(ledger: SentLedger, ...ranges: number[]): Acknowledged {
  const out = new Acknowledged();
  expect(acknowledge(ledger, Float64Array.from(ranges), ranges.length / 2, -1, out)).toBe(0);
  return out;
}

describe('the sent ledger', () => {
  it('records what a packet carried', () => {
    const ledger = new SentLedger();
    ledger.begin(0, 5);
    ledger.add(MESSAGES, 4, 100, 10, 0);
    ledger.add(PING, 0, 0, 0, 0);
    ledger.commit(900, true, true);
    expect(entriesOf(ledger, 0)).toEqual([
      { kind: MESSAGES, id: 4, a: 100, b: 10, c: 0 },
      { kind: PING, id: 0, a: 0, b: 0, c: 0 },
    ]);
    expect(ledger.sentTimeOf(0)).toBe(5);
    expect(ledger.bytesOf(0)).toBe(900);
    expect(ledger.bytesInFlight).toBe(900);
    expect(ledger.ackElicitingInFlight).toBe(1);
    expect(ledger.lastAckElicitingTime).toBe(5);
  });

  it('knows the oldest packet in flight that carries something: what a probe timeout sends again', () => {
    const ledger = new SentLedger();
    expect(ledger.oldestInFlight).toBe(-1);
    ledger.begin(0, 0);
    ledger.commit(1_452, true, true, true); // a probe for the packet size
    expect(ledger.oldestInFlight).toBe(-1);
    send(ledger, 1);
    send(ledger, 2);
    expect(ledger.oldestInFlight).toBe(1);
    acknowledge(ledger, Float64Array.of(1, 2), 1, -1, new Acknowledged());
    expect(ledger.oldestInFlight).toBe(2);
  });

  it('forgets a cancelled packet and lets its number be used again', () => {
    const ledger = new SentLedger();
    ledger.begin(0, 0);
    ledger.add(PING, 0, 0, 0, 0);
    ledger.cancel();
    expect(ledger.largestSent).toBe(-1);
    send(ledger, 0, 1, 2);
    expectEntries(ledger, 0, 2);
  });

  it('does not count packets that are not in flight', () => {
    const ledger = new SentLedger();
    ledger.begin(0, 9);
    ledger.commit(40, false, false);
    expect(ledger.bytesInFlight).toBe(0);
    expect(ledger.ackElicitingInFlight).toBe(0);
    expect(ledger.lastAckElicitingTime).toBe(0);
  });

  it('grows both rings and keeps every record', () => {
    const ledger = new SentLedger(4);
    const count = 1_000;
    for (let n = 0; n < count; n++) send(ledger, n, n, n % 5);
    for (let n = 0; n < count; n++) {
      expect(ledger.holds(n)).toBe(true);
      expect(ledger.sentTimeOf(n)).toBe(n);
      expectEntries(ledger, n, n % 5);
    }
    expect(ledger.bytesInFlight).toBe(count * 1_200);
  });

  it('reuses its rings without growing while the window stays small', () => {
    const ledger = new SentLedger(32);
    const { state } = ledger;
    for (let n = 0; n < 100_000; n++) {
      send(ledger, n, n, 1);
      if (n >= 10) ack(ledger, n - 10, n - 9);
      if (n >= 10 && n % 997 === 0) for (let held = n - 9; held <= n; held++) expectEntries(ledger, held, 1);
    }
    expect(ledger.state).toBe(state);
  });

  it('grows in the middle of a packet with many entries', () => {
    const ledger = new SentLedger(4);
    send(ledger, 0, 0, 3);
    send(ledger, 1, 0, 500);
    expectEntries(ledger, 0, 3);
    expectEntries(ledger, 1, 500);
  });

  it('keeps entries readable when their positions wrap around 2^32', () => {
    const ledger = new SentLedger(4);
    const near = ledger as unknown as { entryHead: number; entryTail: number };
    near.entryHead = 2 ** 32 - 5;
    near.entryTail = 2 ** 32 - 5;
    for (let n = 0; n < 20; n++) send(ledger, n, 0, 3);
    for (let n = 0; n < 20; n++) expectEntries(ledger, n, 3);
    ack(ledger, 0, 20);
    for (let n = 20; n < 60; n++) send(ledger, n, 0, 3);
    for (let n = 20; n < 60; n++) expectEntries(ledger, n, 3);
  });

  it('works with packet numbers far above 2^32', () => {
    const ledger = new SentLedger(4);
    const first = 2 ** 45 + 3;
    for (let n = first; n < first + 100; n++) send(ledger, n, 1, 2);
    for (let n = first; n < first + 100; n++) expectEntries(ledger, n, 2);
    expect(ack(ledger, first + 10, first + 100).acked.count).toBe(90);
    expect(ledger.bytesInFlight).toBe(12_000);
  });

  it('lets acknowledgements and probes through at its bound, but no data [REC-12]', () => {
    const ledger = new SentLedger();
    for (let n = 0; n < PACKETS_MAX; n++) send(ledger, n, 0, 0);
    expect(ledger.isFull(1)).toBe(true);
    send(ledger, PACKETS_MAX, 1, 1);
    expectEntries(ledger, PACKETS_MAX, 1);
    ack(ledger, 0, 100);
    expect(ledger.isFull(1)).toBe(false);
  });

  it('frees acknowledgement-only packets nobody will acknowledge, without growing', () => {
    const ledger = new SentLedger(32);
    const { state } = ledger;
    for (let n = 0; n < 10_000; n++) {
      ledger.begin(n, n);
      ledger.add(PING, 0, n, 0, 0);
      ledger.commit(40, false, false);
    }
    expect(ledger.state).toBe(state);
  });

  it('gives its memory back when idle', () => {
    const ledger = new SentLedger(32);
    for (let n = 0; n < 5_000; n++) send(ledger, n, 0, 2);
    ledger.trim();
    expect(ledger.state.length).toBeGreaterThan(4_096);
    ack(ledger, 0, 5_000);
    ledger.trim();
    expect(ledger.state.length).toBe(32);
    send(ledger, 5_000, 0, 2);
    expectEntries(ledger, 5_000, 2);
    expect(ack(ledger, 4_000, 5_001).acked.count).toBe(1);
  });

  it('refuses a number that does not grow', () => {
    const ledger = new SentLedger();
    send(ledger, 3);
    expect(() => ledger.begin(3, 0)).toThrow(/packet numbers grow/);
  });
});
