import { Prng } from '../../../src/base/random.ts';

/** What happens to whom, and when: all of it follows from the seed. */
export interface BrokerScenario {
  readonly seed: number;
  readonly durationMs: number;
  readonly limits: {
    readonly queueMessagesMax: number;
    readonly queueBytesPerClientMax: number;
    readonly stallMs: number;
  };
  readonly clients: readonly ClientPlan[];
  readonly weather: readonly WeatherEvent[];
}

export interface ClientPlan {
  readonly name: string;
  readonly latencyMs: number;
  readonly jitterMs: number;
  readonly subscriptions: readonly SubscriptionPlan[];
  readonly publishers: readonly PublisherPlan[];
}

export interface SubscriptionPlan {
  readonly filter: string;
  readonly qos: 0 | 1;
  readonly overflow: 'block' | 'dropOldest' | 'dropNewest';
  readonly queueMessages: number;
  /** How long the handler takes, at most; 0: it answers at once. */
  readonly handlerMs: number;
}

export interface PublisherPlan {
  readonly topic: string;
  readonly qos: 0 | 1;
  readonly fromMs: number;
  readonly everyMs: number;
  readonly burst: number;
  readonly count: number;
  readonly payloadBytes: number;
}

export type WeatherEvent =
  | {
      readonly kind: 'break';
      readonly atMs: number;
      readonly client: number;
      readonly nearMs: number;
      readonly farMs: number;
    }
  | { readonly kind: 'freeze'; readonly atMs: number; readonly client: number; readonly forMs: number }
  | {
      readonly kind: 'kill';
      readonly atMs: number;
      readonly client: number;
      readonly downMs: number;
      readonly noticedMs: number;
    }
  | { readonly kind: 'stuck'; readonly atMs: number; readonly client: number; readonly forMs: number }
  | { readonly kind: 'crash'; readonly atMs: number; readonly downMs: number; readonly noticedMs: number }
  | { readonly kind: 'clock'; readonly atMs: number; readonly byMs: number };

export function brokerScenarioOf(seed: number): BrokerScenario {
  const random = new Prng(seed);
  const durationMs = random.between(3_000, 20_000);
  const clients = Array.from({ length: random.between(2, 4) }, (_, i) =>
    clientOf(random, `c${i}`, durationMs),
  );
  const weather = Array.from({ length: random.chance(0.15) ? 0 : random.between(1, 6) }, () =>
    eventOf(random, durationMs, clients.length),
  );
  weather.sort((a, b) => a.atMs - b.atMs);
  const limits = {
    queueMessagesMax: pick(random, [4, 30, 1_000]),
    queueBytesPerClientMax: pick(random, [2_000, 20_000, 16 * 1024 * 1024]),
    stallMs: pick(random, [0, 2_000, 30_000]),
  };
  return { seed, durationMs, limits, clients, weather };
}

function clientOf(random: Prng, name: string, durationMs: number): ClientPlan {
  return {
    name,
    latencyMs: pick(random, [0, 1, 20, 150]),
    jitterMs: pick(random, [0, 0, 5, 50]),
    subscriptions: Array.from({ length: random.below(4) }, () => ({
      filter: pick(random, FILTERS),
      qos: 0 as const,
      overflow: pick(random, ['block', 'block', 'dropOldest', 'dropNewest'] as const),
      queueMessages: pick(random, [0, 0, 2, 10]),
      handlerMs: pick(random, [0, 0, 0, 5, 200]),
    })),
    publishers: Array.from({ length: random.between(0, 2) }, () => ({
      topic: pick(random, TOPICS),
      qos: 0 as const,
      fromMs: random.below(durationMs / 2),
      everyMs: pick(random, [10, 100, 500]),
      burst: pick(random, [1, 1, 5, 20]),
      count: random.between(1, 40),
      payloadBytes: pick(random, [20, 20, 100, 400]),
    })),
  };
}

function eventOf(random: Prng, durationMs: number, clients: number): WeatherEvent {
  const atMs = random.below(durationMs);
  const client = random.below(clients);
  const noticedMs = pick(random, [0, 100, 5_000]);
  switch (pick(random, ['break', 'break', 'freeze', 'kill', 'stuck', 'crash', 'clock'] as const)) {
    case 'break':
      return {
        kind: 'break',
        atMs,
        client,
        nearMs: pick(random, [0, 500, 15_000]),
        farMs: pick(random, [0, 500, 15_000]),
      };
    case 'freeze':
      return { kind: 'freeze', atMs, client, forMs: random.between(100, 6_000) };
    case 'kill':
      return { kind: 'kill', atMs, client, downMs: pick(random, [1, 500, 5_000]), noticedMs };
    case 'stuck':
      return { kind: 'stuck', atMs, client, forMs: random.between(500, 8_000) };
    case 'crash':
      return { kind: 'crash', atMs, downMs: pick(random, [1, 500, 4_000]), noticedMs };
    case 'clock':
      return { kind: 'clock', atMs, byMs: pick(random, [-3_600_000, -500, 500, 60_000]) };
  }
}

const TOPICS = ['a', 'a/b', 'a/c', 'b'] as const;
const FILTERS = ['a', 'a/b', 'a/+', '#', 'a/#', 'b'] as const;

function pick<T>(random: Prng, choices: readonly T[]): T {
  return choices[random.below(choices.length)];
}
