/**
 * What a bad link does to the time that messages take: a client sends one of the same size every few milliseconds, and each is timed from
 * `send` to the server's `message` event.
 */
import { MILLISECOND, type Micros } from '../base/time.ts';
import type { Delivery, TransportOptions } from '../transport/options.ts';
import type { Protection } from '../transport/protection.ts';
import { type Quantiles, quantilesOf } from './figures.ts';
import { LabPath, type PathOptions, PERFECT_PATH, type Traffic } from './lab-path.ts';

export interface LossyScenario extends PathOptions {
  /** Of the stream. */
  readonly protection: Protection;
  /** Without it the library chooses by the protection. */
  readonly congestion?: TransportOptions['congestion'];
  readonly ordered: boolean;
  readonly delivery: Delivery;
  /** Of messages that are not reliable; 0: none. */
  readonly lifetimeMs: number;
  /** From one message to the next. */
  readonly intervalMs: number;
  /** Bytes of a message. */
  readonly size: number;
  /** Messages that are timed. */
  readonly messages: number;
  /** Messages are sent for so long before the first that is timed: the link is then known to both sides. */
  readonly warmUpMs: number;
}

export interface LossyResult {
  readonly scenario: LossyScenario;
  /** From `send` to the `message` event; null when nothing arrived. */
  readonly oneWayMs: Quantiles | null;
  /** Share of messages that arrived later than the path's time one way and 12 ms, or never. */
  readonly late: number;
  /** Messages that never arrived: none of reliable ones. */
  readonly missing: number;
  /** What the client sent while it sent the timed messages, and what came back. */
  readonly up: Traffic;
  readonly down: Traffic;
  /** Bytes beside those of the same messages unprotected over a path without loss: of the client, and of both sides. */
  readonly bytesUp: number;
  readonly bytesBoth: number;
  /** Datagrams of the client that the path lost. */
  readonly lost: number;
  /** What protection did, by the counts of both sides. */
  readonly spent: Spent;
}

export interface Spent {
  /** Messages that went again in advance, and those of them whose first packet was lost. */
  readonly repeats: number;
  readonly repeatsUsed: number;
  /** Repairs sent, and packets that they brought back. */
  readonly repairs: number;
  readonly recovered: number;
}

/** Both directions of one run, without what they are compared with. */
type Run = Omit<LossyResult, 'bytesUp' | 'bytesBoth'>;

/** Runs scenarios; what several of them are compared with is run once. */
export class LossyBench {
  private readonly baselines = new Map<string, Run>();

  async run(scenario: LossyScenario): Promise<LossyResult> {
    const baseline = await this.baselineOf(scenario);
    const run = await timed(scenario);
    return {
      ...run,
      bytesUp: run.up.bytes / baseline.up.bytes,
      bytesBoth: (run.up.bytes + run.down.bytes) / (baseline.up.bytes + baseline.down.bytes),
    };
  }

  /** The same messages, unprotected, over a path that loses, holds back and delays nothing. */
  private async baselineOf(scenario: LossyScenario): Promise<Run> {
    const { seed, rttMs } = scenario;
    const perfect: LossyScenario = { ...scenario, ...PERFECT_PATH, seed, rttMs, protection: 'off' };
    const key = JSON.stringify(perfect);
    const known = this.baselines.get(key) ?? (await timed(perfect));
    this.baselines.set(key, known);
    return known;
  }
}

async function timed(scenario: LossyScenario): Promise<Run> {
  const { intervalMs, messages, delivery, ordered, lifetimeMs } = scenario;
  const { congestion, protection } = scenario;
  const path = await LabPath.open(scenario, { congestion, protection });
  const warmUp = Math.ceil(scenario.warmUpMs / intervalMs);
  const timer = new MessageTimer(warmUp + messages, scenario.size, () => path.now);
  path.server.on('stream', (stream) => stream.on('message', timer.onMessage));
  const stream = path.client.openStream({
    ordered,
    delivery,
    lifetimeMs: lifetimeMs > 0 ? lifetimeMs : undefined,
  });
  const begin = path.now;
  const dueAt = (i: number): Micros => begin + Math.round(i * intervalMs * MILLISECOND);
  let before = countsOf(path);
  for (let i = 0; i < warmUp + messages; i++) {
    await path.runUntil(dueAt(i));
    if (i === warmUp) before = countsOf(path);
    stream.send(timer.next());
  }
  await path.runUntil(dueAt(warmUp + messages));
  const after = countsOf(path);
  const giveUpAt = path.now + GIVE_UP_MS * MILLISECOND;
  while (timer.arrived < warmUp + messages && path.now < giveUpAt) await path.lab.run(DRAIN_MS);
  path.client.destroy();
  return {
    scenario,
    ...timer.report(warmUp, path.oneWayMs + LATE_MS),
    up: difference(before.up, after.up),
    down: difference(before.down, after.down),
    lost: after.lost - before.lost,
    spent: {
      repeats: after.spent.repeats - before.spent.repeats,
      repeatsUsed: after.spent.repeatsUsed - before.spent.repeatsUsed,
      repairs: after.spent.repairs - before.spent.repairs,
      recovered: after.spent.recovered - before.spent.recovered,
    },
  };
}

/** Numbers messages, and notes when each was sent and when it came. */
class MessageTimer {
  arrived = 0;
  private sent = 0;
  private readonly sentAt: Float64Array;
  private readonly took: Float64Array;
  private readonly message: Uint8Array;
  private readonly now: () => Micros;

  constructor(count: number, size: number, now: () => Micros) {
    this.sentAt = new Float64Array(count);
    this.took = new Float64Array(count).fill(Number.NaN);
    this.message = new Uint8Array(size).fill(0x5a);
    this.now = now;
  }

  /** The bytes of the next message, which is sent now. */
  next(): Uint8Array {
    new DataView(this.message.buffer).setUint32(0, this.sent);
    this.sentAt[this.sent++] = this.now();
    return this.message;
  }

  readonly onMessage = (message: Uint8Array): void => {
    const i = new DataView(message.buffer, message.byteOffset, message.length).getUint32(0);
    if (!Number.isNaN(this.took[i])) throw new Error(`message ${i} was delivered twice`);
    this.took[i] = (this.now() - this.sentAt[i]) / MILLISECOND;
    this.arrived++;
  };

  /** About the messages from number `from` on. */
  report(from: number, lateMs: number): Pick<LossyResult, 'oneWayMs' | 'late' | 'missing'> {
    const measured = this.took.subarray(from);
    const took = measured.filter((ms) => !Number.isNaN(ms)).sort();
    const missing = measured.length - took.length;
    const late = took.reduce((count, ms) => (ms > lateMs ? count + 1 : count), missing);
    return { oneWayMs: quantilesOf(took), late: late / measured.length, missing };
  }
}

interface PathCounts {
  readonly up: Traffic;
  readonly down: Traffic;
  readonly lost: number;
  readonly spent: Spent;
}

function countsOf(path: LabPath): PathCounts {
  const { repeatsSent, repeatsUsed, repairsSent } = path.client.metrics();
  const { packetsRecovered } = path.server.metrics();
  return {
    up: path.up,
    down: path.down,
    lost: path.uplink.counters.dropped,
    spent: { repeats: repeatsSent, repeatsUsed, repairs: repairsSent, recovered: packetsRecovered },
  };
}

function difference(before: Traffic, after: Traffic): Traffic {
  return { packets: after.packets - before.packets, bytes: after.bytes - before.bytes };
}

/** What a message needs to be numbered. */
export const NUMBER_BYTES = 4;
/** What may be felt: a message that comes this much later than the path takes is late. */
const LATE_MS = 12;
/** Messages that have not come so long after the last was sent never do. */
const GIVE_UP_MS = 5_000;
const DRAIN_MS = 100;
