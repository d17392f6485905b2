import { describe, expect, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import { MILLISECOND } from '../../../src/base/time.ts';
import { Delivery } from '../../../src/protocol/wire/frame-type.ts';
import { type Scenario, World } from './world.ts';

const { RELIABLE, PARTIAL, BEST_EFFORT } = Delivery;
const RUNS = 60;
/** JSP_SEED=n replays one run of each kind. */
const SEED = process.env.JSP_SEED;

function scenario(seed: number, deliveries: Delivery[], ending: Scenario['ending']): Scenario {
  const random = new Prng(seed);
  const lengthMax = random.chance(0.3) ? 40_000 : random.between(100, 5_000);
  const windowBytes = lengthMax + 128 + random.below(random.chance(0.5) ? 2_000 : 100_000);
  const mtuMin = random.between(300, 1_500);
  return {
    seed,
    streams: random.between(1, 3),
    ordered: random.chance(0.5),
    deliveries,
    lossRate: random.chance(0.2) ? 0 : random.float() * 0.4,
    duplicateRate: random.chance(0.5) ? 0 : random.float() * 0.2,
    spuriousRate: random.chance(0.5) ? 0 : random.float() * 0.05,
    delayMax: random.between(1, 40) * MILLISECOND,
    mtuMin,
    mtuMax: mtuMin + random.below(random.chance(0.3) ? 20_000 : 1_000),
    windowBytes,
    connectionWindowBytes: windowBytes + random.below(windowBytes),
    budgetBytes: random.chance(0.5) ? 1 << 20 : lengthMax + 128 + random.below(5_000),
    messagesPerStream: random.between(10, 150),
    lengthMax,
    lifetimeMax: random.between(5, 300) * MILLISECOND,
    readRate: random.chance(0.3) ? 0.05 : 0.8,
    ending,
  };
}

function runAll(deliveries: Delivery[], ending: Scenario['ending'], salt: number): void {
  if (SEED !== undefined) {
    new World(scenario(Number(SEED), deliveries, ending)).run();
    return;
  }
  for (let run = 0; run < RUNS; run++) new World(scenario(salt * 1_000 + run, deliveries, ending)).run();
}

describe('streams over a link that loses, reorders and duplicates', () => {
  test('deliver every reliable message exactly once, in order where asked, within credit [STR-7] [STR-8] [STR-28]', () => {
    runAll([RELIABLE], 'close', 1);
  });

  test('deliver messages with a lifetime in time or not at all [STR-16] [STR-17] [STR-26]', () => {
    runAll([PARTIAL], 'close', 2);
  });

  test('deliver best-effort messages at most once and never late [STR-22] [STR-29]', () => {
    runAll([BEST_EFFORT], 'close', 3);
  });

  test('keep their promises when all kinds of messages share a stream [STR-1] [STR-27]', () => {
    runAll([RELIABLE, PARTIAL, BEST_EFFORT], 'close', 4);
  });

  test('leave nothing behind and keep credit exact when the sender resets [STR-24]', () => {
    runAll([RELIABLE, PARTIAL, BEST_EFFORT], 'reset', 5);
  });

  test('leave nothing behind and keep credit exact when the receiver stops the sender [STR-25]', () => {
    runAll([RELIABLE, PARTIAL, BEST_EFFORT], 'stop', 6);
  });

  test('run the same way from the same seed', () => {
    const once = new World(scenario(77, [RELIABLE, PARTIAL, BEST_EFFORT], 'close'));
    const again = new World(scenario(77, [RELIABLE, PARTIAL, BEST_EFFORT], 'close'));
    once.run();
    again.run();
    expect(again.now).toBe(once.now);
    expect(again.sent).toEqual(once.sent);
  });
});
