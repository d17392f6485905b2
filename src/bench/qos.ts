/**
 * What a busy connection does to those of its messages that cannot wait: urgent ones beside transfers that take all that the path carries, and
 * the states of a game on a path that carries fewer than there are.
 */
import { MILLISECOND, type Micros } from '../base/time.ts';
import type { Connection } from '../transport/connection.ts';
import type { Priority, TransportOptions } from '../transport/options.ts';
import type { Stream } from '../transport/stream.ts';
import { type Quantiles, quantilesOf } from './figures.ts';
import { LabPath, PERFECT_PATH } from './lab-path.ts';

export interface QosScenario {
  readonly seed: number;
  readonly rttMs: number;
  readonly bitsPerSecond: number;
  /** Bytes that wait before the rate. */
  readonly queueBytes: number;
  readonly congestion: TransportOptions['congestion'];
  /** Option of the sender; undefined: its default. */
  readonly queueDelayMaxMs?: TransportOptions['queueDelayMaxMs'];
  readonly seconds: number;
}

/** Classes that send as much as they can, by their shares. */
export const SATURATING = { media: 4, chat: 2, bulk: 1 } as const;
export type Saturating = keyof typeof SATURATING;

export interface PriorityResult {
  readonly scenario: QosScenario;
  /** One way, of `system` messages alone on the path, and beside the transfers. */
  readonly idleMs: Quantiles | null;
  readonly loadedMs: Quantiles | null;
  /** Of the loaded ones: from `send` until the datagram is on the path. What is left of their time is spent in the path's queue. */
  readonly waitMs: Quantiles | null;
  /** Of the bytes that arrived. */
  readonly shares: Readonly<Record<Saturating, number>>;
  /** The longest time in which nothing of a class arrived. */
  readonly longestGapMs: number;
  readonly megabitsPerSecond: number;
}

/** Urgent messages alone, then beside one transfer of each other class. */
export async function runPriorities(scenario: QosScenario): Promise<PriorityResult> {
  const idle = await urgentMessages(scenario, []);
  const loaded = await urgentMessages(scenario, Object.keys(SATURATING) as Saturating[]);
  const bytes = [...loaded.transfers.values()].reduce((sum, transfer) => sum + transfer.bytes, 0);
  const shares = Object.fromEntries(
    [...loaded.transfers].map(([priority, transfer]) => [priority, transfer.bytes / bytes]),
  );
  return {
    scenario,
    idleMs: idle.tookMs,
    loadedMs: loaded.tookMs,
    waitMs: loaded.waitMs,
    shares: shares as Record<Saturating, number>,
    longestGapMs: Math.max(...[...loaded.transfers.values()].map((transfer) => transfer.longestGapMs)),
    megabitsPerSecond: (bytes * 8) / scenario.seconds / 1e6,
  };
}

interface UrgentMessages {
  readonly tookMs: Quantiles | null;
  readonly waitMs: Quantiles | null;
  readonly transfers: ReadonlyMap<Priority, Transfer>;
}

async function urgentMessages(scenario: QosScenario, loads: readonly Saturating[]): Promise<UrgentMessages> {
  const { seconds, congestion, queueDelayMaxMs } = scenario;
  const path = await LabPath.open({ ...PERFECT_PATH, ...scenario }, { congestion, queueDelayMaxMs });
  const transfers = new Map(loads.map((priority) => [priority as Priority, new Transfer(() => path.now)]));
  const departures = new Departures(path, scenario.bitsPerSecond);
  const took: number[] = [];
  const waited: number[] = [];
  let measuring = false;
  path.server.on('stream', (stream) => {
    const transfer = transfers.get(stream.priority);
    stream.on('message', (message) => {
      if (!measuring) return;
      if (transfer !== undefined) return transfer.onMessage(message);
      const sentAt = new DataView(message.buffer, message.byteOffset, message.length).getFloat64(0);
      took.push((path.now - sentAt) / MILLISECOND);
      waited.push((departures.ofArrival(path.now) - sentAt) / MILLISECOND);
    });
  });
  for (const priority of loads) saturate(path.client, priority);
  const urgent = path.client.openStream({ priority: 'system' });
  const message = new Uint8Array(URGENT_BYTES);
  const from = path.now;
  const measureFrom = from + WARM_UP_MS * MILLISECOND;
  const until = measureFrom + seconds * 1_000 * MILLISECOND;
  while (path.now < until) {
    if (!measuring && path.now >= measureFrom) {
      measuring = true;
      for (const transfer of transfers.values()) transfer.begin();
    }
    new DataView(message.buffer).setFloat64(0, path.now);
    urgent.send(message);
    await path.lab.run(URGENT_INTERVAL_MS);
  }
  path.client.destroy();
  await path.lab.run(1);
  return {
    tookMs: quantilesOf(took.sort(ascending)),
    waitMs: quantilesOf(waited.sort(ascending)),
    transfers,
  };
}

/** Sends as much as the stream takes, for as long as it is open. */
function saturate(connection: Connection, priority: Priority): void {
  const stream: Stream = connection.openStream({ priority });
  const message = new Uint8Array(BULK_BYTES);
  const fill = (): void => {
    while (stream.send(message));
  };
  stream.on('drain', fill);
  stream.on('error', () => {});
  fill();
}

/** What arrives of one class. */
class Transfer {
  bytes = 0;
  longestGapMs = 0;
  private latestAt: Micros = 0;
  private readonly now: () => Micros;

  constructor(now: () => Micros) {
    this.now = now;
  }

  begin(): void {
    this.latestAt = this.now();
  }

  onMessage(message: Uint8Array): void {
    const now = this.now();
    this.bytes += message.length;
    this.longestGapMs = Math.max(this.longestGapMs, (now - this.latestAt) / MILLISECOND);
    this.latestAt = now;
  }
}

/** When datagrams went onto the path, by when they come out of it. The path keeps their order. */
class Departures {
  private readonly departedAt: Micros[] = [];
  private readonly arrivesAt: Micros[] = [];
  private next = 0;

  constructor(path: LabPath, bitsPerSecond: number) {
    const { network } = path.lab;
    const { uplink } = path;
    network.tap = (data, from, _host, _port, now) => {
      if (from.home !== path.clientHost) return;
      const inFront = uplink.queuedBytes(now) + data.length;
      this.departedAt.push(now);
      this.arrivesAt.push(now + (inFront * 8e6) / bitsPerSecond + path.oneWayMs * MILLISECOND);
    };
  }

  /** Departure of the datagram that arrives now; calls come in the order of time. */
  ofArrival(now: Micros): Micros {
    while (this.next + 1 < this.arrivesAt.length && this.arrivesAt[this.next + 1] <= now + ROUNDING) {
      this.next++;
    }
    return this.departedAt[this.next];
  }
}

export interface GameScenario extends QosScenario {
  /** States a second, and bytes of each. */
  readonly rate: number;
  readonly size: number;
}

export interface GameResult {
  readonly scenario: GameScenario;
  /** How old a state is when it arrives. */
  readonly ageMs: Quantiles | null;
  /** States that arrive, of a second. */
  readonly perSecond: number;
  /** The longest time without one. */
  readonly longestGapMs: number;
  /** What a player sees at worst: the oldest that the newest state there was ever became. */
  readonly oldestShownMs: number;
}

/** Sends the states of a game, best effort and in order, over a path that may carry fewer. */
export async function runGame(scenario: GameScenario): Promise<GameResult> {
  const { seconds, rate, size, congestion, queueDelayMaxMs } = scenario;
  const path = await LabPath.open({ ...PERFECT_PATH, ...scenario }, { congestion, queueDelayMaxMs });
  const ages: number[] = [];
  let shownSentAt: Micros = path.now;
  let latestAt: Micros = path.now;
  let longestGapMs = 0;
  let oldestShownMs = 0;
  path.server.on('stream', (stream) =>
    stream.on('message', (message) => {
      const { now } = path;
      longestGapMs = Math.max(longestGapMs, (now - latestAt) / MILLISECOND);
      if (ages.length > 0) oldestShownMs = Math.max(oldestShownMs, (now - shownSentAt) / MILLISECOND);
      shownSentAt = new DataView(message.buffer, message.byteOffset, message.length).getFloat64(0);
      latestAt = now;
      ages.push((now - shownSentAt) / MILLISECOND);
    }),
  );
  const states = path.client.openStream({ priority: 'media', delivery: 'bestEffort' });
  const state = new Uint8Array(size);
  const begin = path.now;
  for (let i = 0; i < seconds * rate; i++) {
    await path.runUntil(begin + Math.round((i * 1e6) / rate));
    new DataView(state.buffer).setFloat64(0, path.now);
    states.send(state);
  }
  const perSecond = ages.length / seconds;
  await path.lab.run(DRAIN_MS);
  path.client.destroy();
  return { scenario, ageMs: quantilesOf(ages.sort(ascending)), perSecond, longestGapMs, oldestShownMs };
}

function ascending(a: number, b: number): number {
  return a - b;
}

/** Bytes of a number or a time in front of a message. */
export const STATE_BYTES_MIN = 8;
const URGENT_BYTES = 64;
const URGENT_INTERVAL_MS = 19;
const BULK_BYTES = 4_096;
/** Until the controller knows the path. */
const WARM_UP_MS = 3_000;
const DRAIN_MS = 3_000;
const ROUNDING: Micros = 5;
