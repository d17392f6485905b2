import { MILLISECOND } from '../../../src/base/time.ts';
import type { PlannedPath } from '../../../src/protocol/fec/planner.ts';

/** A path that loses nothing, 50 ms there and back. */
export function cleanPath(): PlannedPath {
  return lossyPath({ rate: 0, rateUpper: 0, isLossy: false });
}

/** One that loses, by itself and a tenth of all packets unless said otherwise. */
export function lossyPath(loss: Partial<PlannedPath['loss']> = {}, rttMs = 50): PlannedPath {
  return {
    loss: { isLossy: true, rate: 0.1, rateUpper: 0.1, runPackets: 1, ...loss },
    rtt: { hasSample: true, smoothed: rttMs * MILLISECOND, variance: MILLISECOND },
    mtu: 1_200,
  };
}
