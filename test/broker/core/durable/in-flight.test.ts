import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FlightState, InFlight } from '../../../../src/broker/core/durable/in-flight.ts';

type Step = readonly [act: number, which: number];

/** The same, as a list of objects. */
class SlowFlight {
  all: { offset: number; state: FlightState; attempts: number }[] = [];

  get unsettled() {
    return this.all.filter(({ state }) => state !== FlightState.SETTLED);
  }

  of(state: FlightState) {
    return this.unsettled.filter((entry) => entry.state === state);
  }
}

describe('what is in flight', () => {
  test('is what a list says, whatever is added, answered, put off and given again [BRK-66] [BRK-62]', () => {
    const step = fc.tuple(fc.nat(6), fc.nat(1_000));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const fast = new InFlight();
        const slow = new SlowFlight();
        let next = 1;
        for (const one of steps) {
          next = take(fast, slow, next, one);
          compare(fast, slow);
        }
      }),
      { numRuns: 150 },
    );
  });

  test('takes no more room than twice what is unsettled at most, and none when nothing is', () => {
    const flight = new InFlight();
    flight.add(1, 1, 0);
    for (let offset = 2; offset < 100_000; offset++) {
      flight.add(offset, 1, 0);
      flight.settle(flight.find(offset));
    }
    expect(flight.count).toBe(1);
    expect(flight.limit).toBeLessThanOrEqual(16);
    expect(flight.floor).toBe(1);
  });
});

function take(fast: InFlight, slow: SlowFlight, next: number, [act, which]: Step): number {
  const { unsettled } = slow;
  const entry = unsettled[which % Math.max(1, unsettled.length)];
  switch (act) {
    case 0:
    case 1: {
      const offset = next + (which % 3);
      if (act === 0) fast.add(offset, 1, which);
      else fast.restore(offset, 2);
      slow.all.push({
        offset,
        state: act === 0 ? FlightState.SENT : FlightState.READY,
        attempts: act === 0 ? 1 : 2,
      });
      return offset + 1;
    }
    case 2: {
      const place = fast.nextReady();
      const first = slow.of(FlightState.READY).at(0);
      expect(place < 0 ? undefined : fast.offsetAt(place)).toBe(first?.offset);
      if (first === undefined) break;
      fast.resend(place, 2, which);
      first.state = FlightState.SENT;
      first.attempts++;
      break;
    }
    case 3:
    case 4:
    case 5:
    case 6:
      if (entry === undefined) break;
      change(fast, entry, act);
  }
  return next;
}

function change(fast: InFlight, entry: { offset: number; state: FlightState }, act: number): void {
  const place = fast.find(entry.offset);
  if (act === 3) {
    fast.settle(place);
    entry.state = FlightState.SETTLED;
  } else if (act === 4 && entry.state === FlightState.SENT) {
    fast.delay(place, 1);
    entry.state = FlightState.WAITING;
  } else if (act === 5) {
    fast.release(place);
    entry.state = FlightState.READY;
  } else if (act === 6) {
    fast.condemn(place);
    entry.state = FlightState.DYING;
  }
}

function compare(fast: InFlight, slow: SlowFlight): void {
  const { unsettled } = slow;
  const found = [];
  for (let place = fast.first; place < fast.limit; place++) {
    const state = fast.stateAt(place);
    if (state === FlightState.SETTLED) continue;
    found.push({ offset: fast.offsetAt(place), state, attempts: fast.attemptsAt(place) });
  }
  expect(found).toEqual(unsettled);
  expect(fast.count).toBe(unsettled.length);
  expect(fast.floor).toBe(unsettled[0]?.offset ?? Number.POSITIVE_INFINITY);
  expect(fast.readyCount).toBe(slow.of(FlightState.READY).length);
  expect(fast.waitingCount).toBe(slow.of(FlightState.WAITING).length);
  for (const { offset, state } of slow.all.slice(-3)) {
    expect(fast.find(offset) >= 0).toBe(state !== FlightState.SETTLED);
  }
}
