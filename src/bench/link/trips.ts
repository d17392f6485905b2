/** What round trips say: their times, their jitter, and how the clocks of both ends stand to each other. */
import { quantileOf } from '../figures.ts';
import type { Quantiles } from './control.ts';
import { type RoundTrip, roundTripMicros } from './probe.ts';
import type { Clocks, RoundTrips } from './report.ts';

/** Of values in any order; null of none. */
export function quantiles(values: readonly number[]): Quantiles | null {
  if (values.length === 0) return null;
  const sorted = Float64Array.from(values).sort();
  const at = (share: number): number => quantileOf(sorted, share);
  return { min: sorted[0], p50: at(0.5), p95: at(0.95), p99: at(0.99), max: sorted[sorted.length - 1] };
}

/** @param sent - probes, those that did not come back included */
export function roundTripsOf(trips: readonly RoundTrip[], sent: number, clocks: Clocks): RoundTrips | null {
  const times = quantiles(trips.map((trip) => roundTripMicros(trip) / 1e3));
  if (times === null) return null;
  const ahead = clocks.kind === 'estimated' ? clocks.serverAheadMs : 0;
  const isKnown = clocks.kind !== 'unknown';
  return {
    ...times,
    sent,
    returned: trips.length,
    jitterMs: jitterOf(trips),
    upMs: isKnown ? quantiles(trips.map((trip) => (trip.cameAt - trip.sentAt) / 1e3 - ahead)) : null,
    downMs: isKnown ? quantiles(trips.map((trip) => (trip.returnedAt - trip.wentAt) / 1e3 + ahead)) : null,
  };
}

/** RFC 3550 section 6.4.1, of the way there and back. */
function jitterOf(trips: readonly RoundTrip[]): number {
  let jitter = 0;
  for (let i = 1; i < trips.length; i++) {
    const difference = roundTripMicros(trips[i]) - roundTripMicros(trips[i - 1]);
    jitter += (Math.abs(difference) - jitter) / 16;
  }
  return jitter / 1e3;
}

/**
 * How the clocks of both ends stand. Processes of one machine share one, which is believed when nothing arrived before it was sent.
 * Otherwise the shortest round trip tells, as in NTP: it has met the least queues, so that its two ways differ the least.
 */
export function clocksOf(trips: readonly RoundTrip[], isSameHost: boolean): Clocks {
  if (trips.length === 0) return { kind: 'unknown' };
  const isForward = trips.every((t) => t.cameAt >= t.sentAt && t.returnedAt >= t.wentAt);
  if (isSameHost && isForward) return { kind: 'same' };
  const best = trips.reduce((a, b) => (roundTripMicros(b) < roundTripMicros(a) ? b : a));
  return {
    kind: 'estimated',
    serverAheadMs: (best.cameAt - best.sentAt + best.wentAt - best.returnedAt) / 2e3,
    uncertaintyMs: roundTripMicros(best) / 2e3,
  };
}
