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
  /** What the broker finds when its process starts again: all that it had in memory, nothing, or what a disk in memory has after a kill or a power cut. */
  readonly store: 'kept' | 'lost' | 'disk';
  readonly durables: readonly DurablePlan[];
  readonly clients: readonly ClientPlan[];
  readonly weather: readonly WeatherEvent[];
}

/** A durable subscription, or a shared group: whoever holds it. */
export interface DurablePlan {
  readonly name: string;
  readonly filter: string;
  readonly isShared: boolean;
  readonly maxUnacked: number;
  readonly ackWaitMs: number;
  readonly backoffMs: readonly number[];
  /** 0: without end. */
  readonly maxDeliveries: number;
}

export interface ClientPlan {
  readonly name: string;
  readonly latencyMs: number;
  readonly jitterMs: number;
  /** How long its session outlives its connections. */
  readonly sessionExpiryMs: number;
  readonly subscriptions: readonly SubscriptionPlan[];
  readonly publishers: readonly PublisherPlan[];
  /** What it leaves with the broker, another message on each connection. */
  readonly will?: WillPlan;
  /** It knows one broker, and no other. */
  readonly isBound?: boolean;
}

export interface WillPlan {
  readonly topic: string;
  readonly delayMs: number;
}

export interface SubscriptionPlan {
  readonly filter: string;
  readonly qos: 0 | 1;
  /** Null: it is this client's alone, and lives no longer than its session. */
  readonly durable: DurablePlan | null;
  readonly overflow: 'block' | 'dropOldest' | 'dropNewest';
  readonly queueMessages: number;
  readonly concurrency: number;
  /** How long the handler takes, at most; 0: it answers at once. */
  readonly handlerMs: number;
  /** How often it fails, as long as the weather is bad. */
  readonly failures: number;
}

export interface PublisherPlan {
  readonly topic: string;
  readonly qos: 0 | 1;
  readonly ttlMs: number;
  readonly fromMs: number;
  readonly everyMs: number;
  readonly burst: number;
  readonly count: number;
  readonly payloadBytes: number;
  /** Each is the topic's last value, which nobody else writes. */
  readonly retain?: boolean;
}

export type WeatherEvent =
  /** The path is gone for good; each end notices after its own time. */
  | {
      readonly kind: 'break';
      readonly atMs: number;
      readonly client: number;
      readonly nearMs: number;
      readonly farMs: number;
    }
  /** What is sent meanwhile arrives afterwards. */
  | { readonly kind: 'freeze'; readonly atMs: number; readonly client: number; readonly forMs: number }
  /** The client's process ends without a word, and another of the same session begins. */
  | {
      readonly kind: 'kill';
      readonly atMs: number;
      readonly client: number;
      readonly downMs: number;
      readonly noticedMs: number;
    }
  /** The same, and it is never seen again. */
  | { readonly kind: 'die'; readonly atMs: number; readonly client: number; readonly noticedMs: number }
  /** Its handlers take so long. */
  | { readonly kind: 'stuck'; readonly atMs: number; readonly client: number; readonly forMs: number }
  /** It subscribes to a durable, whoever holds it. */
  | { readonly kind: 'takeover'; readonly atMs: number; readonly client: number; readonly durable: number }
  /** The path to its broker is gone for good, and to this broker it does not come back for a while. */
  | {
      readonly kind: 'move';
      readonly atMs: number;
      readonly client: number;
      readonly nearMs: number;
      readonly farMs: number;
      readonly forMs: number;
    }
  | BrokerEvent
  /** The wall clocks are set. */
  | { readonly kind: 'clock'; readonly atMs: number; readonly byMs: number };

export type BrokerEvent =
  /** The broker's process ends without a word, and another begins. */
  | {
      readonly kind: 'crash';
      readonly atMs: number;
      readonly broker: number;
      readonly downMs: number;
      readonly noticedMs: number;
    }
  /** Of a cluster: it is told to end, and does so in order. */
  | { readonly kind: 'leave'; readonly atMs: number; readonly broker: number; readonly downMs: number }
  /** Of a cluster: it does not reach what connects it with the others; each end notices after its own time. */
  | {
      readonly kind: 'cut';
      readonly atMs: number;
      readonly broker: number;
      readonly nearMs: number;
      readonly farMs: number;
      readonly forMs: number;
    }
  /** Of a cluster: what connects all of them dies, and comes back. */
  | { readonly kind: 'nats'; readonly atMs: number; readonly broker: number; readonly downMs: number };

export function brokerScenarioOf(seed: number): BrokerScenario {
  const random = new Prng(seed);
  const durationMs = random.between(3_000, 20_000);
  const durables = Array.from({ length: random.between(1, 2) }, (_, i) => durableOf(random, i));
  const clients = Array.from({ length: random.between(2, 4) }, (_, i) =>
    clientOf(random, `c${i}`, durationMs, durables),
  );
  const weather = Array.from({ length: random.chance(0.15) ? 0 : random.between(1, 6) }, () =>
    eventOf(random, durationMs, clients.length, durables.length),
  );
  weather.sort((a, b) => a.atMs - b.atMs);
  const limits = {
    queueMessagesMax: pick(random, [4, 30, 1_000]),
    queueBytesPerClientMax: pick(random, [2_000, 20_000, 16 * 1024 * 1024]),
    stallMs: pick(random, [0, 2_000, 30_000]),
  };
  const store = pick(random, ['kept', 'kept', 'kept', 'lost', 'disk'] as const);
  return { seed, durationMs, limits, store, durables, clients, weather };
}

export function durableOf(random: Prng, i: number): DurablePlan {
  const isShared = random.chance(0.3);
  const filter = pick(random, ['a/#', '#', 'a/b']);
  return {
    name: `d${i}`,
    filter: isShared ? `$share/g${i}/${filter}` : filter,
    isShared,
    maxUnacked: pick(random, [1, 3, 20, 1_000]),
    ackWaitMs: pick(random, [500, 3_000, 30_000]),
    backoffMs: pick(random, [[10], [50, 400], [1_000]]),
    maxDeliveries: pick(random, [0, 0, 0, 3]),
  };
}

export function clientOf(
  random: Prng,
  name: string,
  durationMs: number,
  durables: readonly DurablePlan[],
): ClientPlan {
  return {
    name,
    latencyMs: pick(random, [0, 1, 20, 150]),
    jitterMs: pick(random, [0, 0, 5, 50]),
    sessionExpiryMs: pick(random, [120_000, 120_000, 1_000]),
    subscriptions: Array.from({ length: random.below(4) }, () => subscriptionOf(random, durables)),
    publishers: Array.from({ length: random.between(0, 2) }, () => ({
      topic: pick(random, TOPICS),
      qos: pick(random, [0, 1, 1] as const),
      ttlMs: random.chance(0.2) ? pick(random, [1, 300, 3_000]) : 0,
      fromMs: random.below(durationMs / 2),
      everyMs: pick(random, [10, 100, 500]),
      burst: pick(random, [1, 1, 4, 10]),
      count: random.between(1, 18),
      payloadBytes: pick(random, [20, 20, 100, 400]),
    })),
  };
}

function subscriptionOf(random: Prng, durables: readonly DurablePlan[]): SubscriptionPlan {
  const isDurable = random.chance(0.4);
  const qos = isDurable || random.chance(0.4) ? 1 : 0;
  const durable = isDurable ? pick(random, durables) : null;
  return {
    filter: durable?.filter ?? pick(random, FILTERS),
    qos,
    durable,
    overflow: qos === 1 ? 'block' : pick(random, ['block', 'block', 'dropOldest', 'dropNewest'] as const),
    queueMessages: pick(random, [0, 0, 2, 10]),
    concurrency: qos === 1 ? pick(random, [1, 1, 4]) : 1,
    handlerMs: pick(random, [0, 0, 0, 5, 200]),
    failures: qos === 1 ? pick(random, [0, 0, 0.05, 0.4]) : 0,
  };
}

export function eventOf(random: Prng, durationMs: number, clients: number, durables: number): WeatherEvent {
  const atMs = random.below(durationMs);
  const client = random.below(clients);
  const noticedMs = pick(random, [0, 100, 5_000]);
  const downMs = pick(random, [1, 500, 4_000]);
  switch (
    pick(random, ['break', 'break', 'freeze', 'kill', 'stuck', 'crash', 'clock', 'takeover'] as const)
  ) {
    case 'break':
      return {
        ...{ kind: 'break', atMs, client },
        nearMs: pick(random, [0, 500, 15_000]),
        farMs: pick(random, [0, 500, 15_000]),
      };
    case 'freeze':
      return { kind: 'freeze', atMs, client, forMs: random.between(100, 6_000) };
    case 'kill':
      return { kind: 'kill', atMs, client, downMs, noticedMs };
    case 'stuck':
      return { kind: 'stuck', atMs, client, forMs: random.between(500, 8_000) };
    case 'takeover':
      return { kind: 'takeover', atMs, client, durable: random.below(durables) };
    case 'crash':
      return { kind: 'crash', atMs, broker: 0, downMs, noticedMs };
    case 'clock':
      return { kind: 'clock', atMs, byMs: pick(random, [-3_600_000, -500, 500, 60_000]) };
  }
}

export function pick<T>(random: Prng, choices: readonly T[]): T {
  return choices[random.below(choices.length)];
}

const TOPICS = ['a', 'a/b', 'a/c', 'b'] as const;
const FILTERS = ['a', 'a/b', 'a/+', '#', 'a/#', 'b'] as const;
