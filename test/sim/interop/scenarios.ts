import { Prng } from '../../../src/base/random.ts';
import type { Totals } from '../totals.ts';
import { amplificationLimit } from './amplification-limit.ts';
import { blackHole } from './black-hole.ts';
import { crossTraffic } from './cross-traffic.ts';
import { goodput } from './goodput.ts';
import { handshakeCorruption } from './handshake-corruption.ts';
import { handshakeLoss } from './handshake-loss.ts';
import { keyUpdate } from './key-update.ts';
import { longRtt } from './long-rtt.ts';
import { moving } from './moving.ts';
import { multiplexing } from './multiplexing.ts';
import { connectionMigration, rebindAddress, rebindPort } from './rebinding.ts';
import { resumption } from './resumption.ts';
import { retry } from './retry.ts';
import type { InteropScenario } from './scenario.ts';
import { versionNegotiation } from './version-negotiation.ts';
import { zeroRtt } from './zero-rtt.ts';

/** A scenario whose plan is its own affair. */
function scenario<Plan>(of: InteropScenario<Plan>): InteropScenario {
  return of as InteropScenario;
}

/** All of them, in the order of the interop runner's list. */
export const INTEROP: readonly InteropScenario[] = [
  scenario(versionNegotiation),
  scenario(multiplexing),
  scenario(retry),
  scenario(resumption),
  scenario(zeroRtt),
  scenario(longRtt),
  scenario(amplificationLimit),
  scenario(keyUpdate),
  scenario(blackHole),
  scenario(handshakeLoss),
  scenario(handshakeCorruption),
  scenario(goodput),
  scenario(crossTraffic),
  scenario(rebindPort),
  scenario(rebindAddress),
  scenario(connectionMigration),
  scenario(moving),
];

/** The plan of a seed: the same one every time. */
export function interopPlanOf({ planOf }: InteropScenario, seed: number): unknown {
  return planOf(new Prng(seed));
}

export function runInteropSeed(of: InteropScenario, seed: number): Totals {
  return of.play(interopPlanOf(of, seed), seed);
}
