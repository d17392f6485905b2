import type { Prng } from '../../../src/base/random.ts';
import type { Totals } from '../totals.ts';

/** One case of the QUIC interop runner, as far as it applies to us, in many worlds that differ by their seed. */
export interface InteropScenario<Plan = unknown> {
  /** As the interop runner calls it. */
  readonly name: string;
  /** What it shows: the title of its test, with the rules it proves. */
  readonly shows: string;
  /** Totals that are not 0 after some dozens of runs, or these have proved little. */
  readonly met: readonly string[];
  /** What is particular about one run: plain data, drawn from the seed, that is printed when it is asked for. */
  readonly planOf: (random: Prng) => Plan;
  /** Plays a plan to its end. Throws, naming the seed, when something does not hold. */
  readonly play: (plan: Plan, seed: number) => Totals;
}
