import { Prng } from '../../../src/base/random.ts';
import type { BrokerLimits } from '../../../src/broker/core/state.ts';
import { isShared, sharedFilter } from '../../../src/pubsub/topic.ts';
import type { WorldPlan } from '../broker/run.ts';
import {
  clientOf,
  durableOf,
  eventOf,
  type PublisherPlan,
  pick,
  type WeatherEvent,
} from '../broker/scenario.ts';
import type { NatsWeather } from './model-nats.ts';

/** What happens to a cluster, its clients, and what connects it: all of it follows from the seed. */
export interface ClusterScenario extends WorldPlan {
  readonly brokers: number;
  readonly limits: Required<Pick<BrokerLimits, 'queueMessagesMax' | 'queueBytesPerClientMax' | 'stallMs'>> & {
    readonly queueBytesPerClientMax: number;
  };
  /** As long as the weather is not clear. */
  readonly nats: NatsWeather;
}

/** Without shared groups, whose owner is one of the nodes: they have worlds of their own. */
export function clusterScenarioOf(seed: number): ClusterScenario {
  return withLegacies(scenarioOf(seed, false));
}

export function groupsScenarioOf(seed: number): ClusterScenario {
  return scenarioOf(seed, true);
}

/** The world of {@link clusterScenarioOf} without what clients leave behind. */
export function barePlanOf(seed: number): ClusterScenario {
  return scenarioOf(seed, false);
}

/**
 * What clients leave behind: wills, where one client may die for good, and last values, each topic with one publisher; and some know one broker alone, so that they are at one that is cut off.
 * By a random source of its own: the rest of a world is what it is without.
 */
function withLegacies(plan: ClusterScenario): ClusterScenario {
  const random = new Prng(plan.seed + LEGACY_SEEDS);
  const { durationMs } = plan;
  const clients = plan.clients.map((client) => {
    const will = { topic: pick(random, ['a/b', 'a/c']), delayMs: pick(random, [0, 0, 500, 3_000]) };
    const values: PublisherPlan = {
      ...{ topic: `v/${client.name}`, qos: 1, retain: true, ttlMs: 0, burst: pick(random, [1, 1, 3]) },
      ...{ fromMs: random.below(durationMs / 2), everyMs: pick(random, [20, 200, 1_000]) },
      ...{ count: random.between(1, 8), payloadBytes: 20 },
    };
    const publishers = random.chance(0.5) ? [...client.publishers, values] : client.publishers;
    const isBound = random.chance(0.2);
    return random.chance(0.5) ? { ...client, publishers, isBound, will } : { ...client, publishers, isBound };
  });
  const atMs = random.below(durationMs);
  const client = clients.findLastIndex(({ will }) => will !== undefined);
  if (client < 1) return { ...plan, clients };
  const death = { kind: 'die', atMs, client, noticedMs: pick(random, [0, 100, 5_000]) } as const;
  return { ...plan, clients, weather: [...plan.weather, death].sort((a, b) => a.atMs - b.atMs) };
}

function scenarioOf(seed: number, hasGroups: boolean): ClusterScenario {
  const random = new Prng(seed);
  const durationMs = random.between(2_000, 10_000);
  const durables = Array.from({ length: random.between(1, 2) }, (_, i) => {
    const durable = durableOf(random, i);
    const filter = hasGroups || !isShared(durable.filter) ? durable.filter : sharedFilter(durable.filter);
    return { ...durable, filter, isShared: hasGroups && durable.isShared };
  });
  const clients = Array.from({ length: random.between(2, 4) }, (_, i) => {
    const client = clientOf(random, `c${i}`, durationMs, durables);
    const publishers = client.publishers.map((plan) => ({ ...plan, burst: Math.min(plan.burst, BURST_MAX) }));
    return { ...client, publishers };
  });
  const brokers = pick(random, [2, 3, 3]);
  const weather = Array.from({ length: random.chance(0.1) ? 0 : random.between(1, 6) }, () =>
    happeningOf(random, durationMs, brokers, clients.length, durables.length),
  );
  weather.sort((a, b) => a.atMs - b.atMs);
  const limits = {
    queueMessagesMax: pick(random, [30, 1_000]),
    queueBytesPerClientMax: pick(random, [20_000, 16 * 1024 * 1024]),
    stallMs: pick(random, [0, 2_000, 30_000]),
  };
  const isRough = random.chance(0.5);
  const nats = {
    latencyMs: pick(random, [0.2, 2, 30]),
    jitterMs: pick(random, [0.2, 2, 20]),
    lost: isRough ? pick(random, [0, 0.05, 0.3]) : 0,
    doubled: isRough ? pick(random, [0, 0.05, 0.3]) : 0,
    overtaken: isRough ? pick(random, [0, 0.05, 0.3]) : 0,
    unacknowledged: isRough ? pick(random, [0, 0.05, 0.3]) : 0,
  };
  return { seed, durationMs, brokers, limits, nats, durables, clients, weather };
}

function happeningOf(
  random: Prng,
  durationMs: number,
  brokers: number,
  clients: number,
  durables: number,
): WeatherEvent {
  const atMs = random.below(durationMs);
  const broker = random.below(brokers);
  const client = random.below(clients);
  const nearMs = pick(random, [0, 500, 5_000]);
  const farMs = pick(random, [0, 500, 5_000]);
  const downMs = pick(random, [1, 500, 4_000, 15_000]);
  switch (
    pick(random, ['crash', 'crash', 'leave', 'cut', 'cut', 'nats', 'move', 'move', 'other', 'other'] as const)
  ) {
    case 'crash':
      return { kind: 'crash', atMs, broker, downMs, noticedMs: pick(random, [0, 100, 5_000]) };
    case 'leave':
      return { kind: 'leave', atMs, broker, downMs };
    case 'cut':
      return { kind: 'cut', atMs, broker, nearMs, farMs, forMs: pick(random, [100, 2_000, 7_000, 20_000]) };
    case 'nats':
      return { kind: 'nats', atMs, broker: 0, downMs };
    case 'move':
      return { kind: 'move', atMs, client, nearMs, farMs, forMs: random.between(100, 10_000) };
    case 'other': {
      const event = eventOf(random, durationMs, clients, durables);
      // Each broker has its own idea of when it began; here all clocks are right.
      return event.kind === 'clock' || event.kind === 'crash'
        ? { kind: 'move', atMs, client, nearMs, farMs, forMs: 1_000 }
        : event;
    }
  }
}

const BURST_MAX = 4;
const LEGACY_SEEDS = 0x5eed_0000;
