/**
 * Runs a load on a broker: opens processes for its subscribers and its publishers, and for the broker where there is none, lets the publishers go on for as
 * long as the load has it, waits for what is under way, and makes one result of what each side has counted.
 */
import { randomBytes } from 'node:crypto';
import { extname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Histogram } from '../../base/histogram.ts';
import { cpuTicks, stolenShare } from '../harness.ts';
import { sharedMicros } from '../metronome.ts';
import { WorkerProcess } from '../worker-process.ts';
import { type ArrivalCounts, addCounts, overlapOf } from './arrivals.ts';
import type { PubsubLoad } from './load.ts';
import type { PubsubAnswer, PubsubRequest, PubsubSample } from './orders.ts';
import type { PublisherCounts } from './publisher.ts';

export interface PubsubRunOptions {
  /** Of a broker that runs; null starts one in a process of its own. */
  readonly url: string | null;
  /** Where the broker of its own stores its logs; null: in memory. */
  readonly store: string | null;
  readonly load: Omit<PubsubLoad, 'prefix'>;
  /** Most processes of publishers, and of subscribers. */
  readonly processes: number;
  /** Told a few times a second. */
  readonly onProgress: (progress: PubsubProgress) => void;
  /** Gives the run up. */
  readonly signal: AbortSignal;
}

export interface PubsubProgress {
  readonly phase: 'warm-up' | 'measuring' | 'waiting for what is under way';
  /** A second, since the last time. */
  readonly published: number;
  readonly delivered: number;
  /** Of all that were measured so far. */
  readonly p99Ms: number;
}

/** Latencies in microseconds, from when a message was due to when a subscriber has it. */
export interface PubsubLatencies {
  readonly min: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly p9999: number;
  readonly max: number;
}

export interface PubsubResult extends PublisherCounts, ArrivalCounts {
  readonly load: PubsubLoad;
  /** How many messages the subscribers were to get of those that were published: as many each, or one of a shared group each. */
  readonly expected: number;
  readonly lost: number;
  readonly publishedPerSecond: number;
  /** From the begin of the measurement to the last delivery. */
  readonly deliveringSeconds: number;
  readonly deliveredPerSecond: number;
  readonly deliveredMegabytesPerSecond: number;
  readonly latencyMicros: PubsubLatencies | null;
  /** The same to when its publisher knows that the broker has it, with QoS 1. */
  readonly acknowledgedMicros: PubsubLatencies | null;
  /** Latencies, and how large a share of all did not exceed each: evenly spaced on a logarithmic scale. */
  readonly distribution: readonly (readonly [micros: number, share: number])[];
  /** Of the publishers and the subscribers, the one with the least and the one with the most. */
  readonly publishedLeast: number;
  readonly publishedMost: number;
  readonly deliveredLeast: number;
  readonly deliveredMost: number;
  /** Share of one core that each side used, all its processes together; null of a broker elsewhere. */
  readonly cpu: { readonly publishers: number; readonly broker: number | null; readonly subscribers: number };
  /** Share of the machine's CPU time that its host gave to others. Null when unknown. */
  readonly stolen: number | null;
  /** Why connections ended before the end. */
  readonly failures: readonly string[];
}

export async function runPubsub(options: PubsubRunOptions): Promise<PubsubResult> {
  const run = new PubsubRun(options);
  const aborted = new Promise<never>((_, reject) => {
    options.signal.addEventListener('abort', () => reject(options.signal.reason as Error), { once: true });
  });
  try {
    return await Promise.race([run.toItsEnd(), aborted]);
  } finally {
    run.end();
  }
}

type PubsubProcess = WorkerProcess<PubsubRequest, PubsubAnswer>;

interface Samples {
  readonly atMicros: number;
  readonly publishers: readonly PubsubSample[];
  readonly subscribers: readonly PubsubSample[];
  readonly broker: PubsubSample | null;
}

class PubsubRun {
  private readonly options: PubsubRunOptions;
  private readonly load: PubsubLoad;
  private readonly broker: PubsubProcess | null;
  private readonly publishers: readonly PubsubProcess[];
  private readonly subscribers: readonly PubsubProcess[];
  private last: Samples | null = null;

  constructor(options: PubsubRunOptions) {
    this.options = options;
    const { url, processes } = options;
    // Of its own, so that no other run and no other publisher is in the way.
    this.load = { ...options.load, prefix: `bench/${randomBytes(6).toString('hex')}` };
    this.broker = url === null ? newProcess() : null;
    this.publishers = processesFor(this.load.publishers, processes);
    this.subscribers = processesFor(this.load.subscribers, processes);
  }

  async toItsEnd(): Promise<PubsubResult> {
    const { load } = this;
    const url =
      this.options.url ??
      ((await this.broker?.ask({ ask: 'broker', store: this.options.store }))?.url as string);
    await this.connect('subscribers', this.subscribers, load.subscribers, url);
    await this.connect('publishers', this.publishers, load.publishers, url);
    const startMicros = sharedMicros() + START_DELAY_MICROS;
    await Promise.all(this.publishers.map((each) => each.ask({ ask: 'start', startMicros })));
    const measuredFrom = startMicros + load.warmUpSeconds * 1e6;
    await this.watchUntil(measuredFrom, 'warm-up');
    const before = await this.sample();
    const ticks = cpuTicks();
    await this.watchUntil(measuredFrom + load.seconds * 1e6, 'measuring');
    const after = await this.untilOver();
    const stolen = stolenShare(ticks, cpuTicks());
    await Promise.all(this.publishers.map((each) => each.ask({ ask: 'settle', timeoutMs: SETTLE_MS })));
    await this.untilQuiet();
    const result = await this.result(measuredFrom, before, after, stolen);
    // The broker last: a durable subscription that is being taken back waits for it.
    await Promise.all(this.clients.map((each) => each.ask({ ask: 'close' })));
    await this.broker?.ask({ ask: 'close' });
    return result;
  }

  end(): void {
    for (const each of this.all) each.end();
  }

  private get clients(): PubsubProcess[] {
    return [...this.publishers, ...this.subscribers];
  }

  private get all(): PubsubProcess[] {
    return this.broker === null ? this.clients : [...this.clients, this.broker];
  }

  private async connect(
    ask: 'publishers' | 'subscribers',
    processes: readonly PubsubProcess[],
    clients: number,
    url: string,
  ): Promise<void> {
    const { load } = this;
    let from = 0;
    const asked = processes.map((each, i) => {
      const count = Math.ceil((clients - from) / (processes.length - i));
      const answer = each.ask({ ask, url, load, from, count });
      from += count;
      return answer;
    });
    await Promise.all(asked);
  }

  private async watchUntil(untilMicros: number, phase: PubsubProgress['phase']): Promise<void> {
    for (;;) {
      const leftMs = (untilMicros - sharedMicros()) / 1e3;
      if (leftMs <= 0) return;
      await sleep(Math.min(leftMs, PROGRESS_MS));
      this.tell(phase, await this.sample());
    }
  }

  private async untilOver(): Promise<Samples> {
    for (;;) {
      const samples = await this.sample();
      if (samples.publishers.every(({ over }) => over)) return samples;
      await sleep(OVER_MS);
    }
  }

  /** Waits until the subscribers have everything, or nothing more comes. */
  private async untilQuiet(): Promise<void> {
    const published = (await this.sample()).publishers.reduce((sum, each) => sum + each.published, 0);
    const expected = this.expectedOf(published);
    let arrived = -1;
    for (let quiet = 0; quiet < QUIET_SAMPLES; ) {
      const samples = await this.sample();
      const delivered = sumOf(samples.subscribers, 'delivered');
      if (delivered >= expected) return;
      quiet = delivered > arrived ? 0 : quiet + 1;
      arrived = delivered;
      this.tell('waiting for what is under way', samples);
      await sleep(PROGRESS_MS);
    }
  }

  private async sample(): Promise<Samples> {
    const ask = async (each: PubsubProcess) => (await each.ask({ ask: 'sample' })).sample as PubsubSample;
    const [publishers, subscribers, broker] = await Promise.all([
      Promise.all(this.publishers.map(ask)),
      Promise.all(this.subscribers.map(ask)),
      this.broker === null ? null : ask(this.broker),
    ]);
    return { atMicros: sharedMicros(), publishers, subscribers, broker };
  }

  private tell(phase: PubsubProgress['phase'], samples: Samples): void {
    const { last } = this;
    this.last = samples;
    if (last === null) return;
    const seconds = (samples.atMicros - last.atMicros) / 1e6;
    this.options.onProgress({
      phase,
      published: (sumOf(samples.publishers, 'published') - sumOf(last.publishers, 'published')) / seconds,
      delivered: (sumOf(samples.subscribers, 'delivered') - sumOf(last.subscribers, 'delivered')) / seconds,
      p99Ms: Math.max(...samples.subscribers.map(({ p99Micros }) => p99Micros)) / 1e3,
    });
  }

  private expectedOf(published: number): number {
    return published * (this.load.shared ? 1 : this.load.subscribers);
  }

  private async result(
    measuredFrom: number,
    before: Samples,
    after: Samples,
    stolen: number | null,
  ): Promise<PubsubResult> {
    const { load } = this;
    const ask = (each: PubsubProcess) => each.ask({ ask: 'result' });
    const sent = await Promise.all(this.publishers.map(ask));
    const published = sent.flatMap((each) => each.publishers ?? []);
    const received = await Promise.all(this.subscribers.map(ask));
    const subscribers = received.flatMap((each) => each.subscribers ?? []);
    const latencies = new Histogram();
    for (const { latencies: some } of received) if (some !== undefined) latencies.add(some);
    const acknowledgements = new Histogram();
    for (const { acknowledgements: some } of sent) if (some !== undefined) acknowledgements.add(some);
    const counts: PublisherCounts = { offered: 0, published: 0, acknowledged: 0, refused: 0 };
    for (const each of published) {
      counts.offered += each.offered;
      counts.published += each.published;
      counts.acknowledged += each.acknowledged;
      counts.refused += each.refused;
    }
    const arrivals: ArrivalCounts = { delivered: 0, doubled: 0, redelivered: 0, disordered: 0 };
    for (const each of subscribers) addCounts(arrivals, each.counts);
    if (load.shared) {
      const overlap = overlapOf(subscribers.map(({ seen }) => seen ?? []));
      arrivals.delivered -= overlap;
      arrivals.doubled += overlap;
    }
    const expected = this.expectedOf(counts.published);
    const lastMicros = Math.max(0, ...received.map((each) => each.lastMicros ?? 0));
    const deliveringSeconds = Math.max(load.seconds, (lastMicros - measuredFrom) / 1e6);
    const final = await this.sample();
    return {
      load,
      ...counts,
      expected,
      ...arrivals,
      lost: Math.max(0, expected - arrivals.delivered),
      publishedPerSecond: counts.published / load.seconds,
      deliveringSeconds,
      deliveredPerSecond: arrivals.delivered / deliveringSeconds,
      deliveredMegabytesPerSecond: (arrivals.delivered * load.size) / deliveringSeconds / 1e6,
      latencyMicros: quantilesOf(latencies),
      acknowledgedMicros: quantilesOf(acknowledgements),
      distribution: distributionOf(latencies),
      publishedLeast: Math.min(...published.map((each) => each.published)),
      publishedMost: Math.max(...published.map((each) => each.published)),
      deliveredLeast: Math.min(...subscribers.map((each) => each.counts.delivered)),
      deliveredMost: Math.max(...subscribers.map((each) => each.counts.delivered)),
      cpu: {
        publishers: cpuOf(before, after, ({ publishers }) => publishers),
        broker:
          this.broker === null
            ? null
            : cpuOf(before, after, ({ broker }) => (broker === null ? [] : [broker])),
        subscribers: cpuOf(before, after, ({ subscribers: each }) => each),
      },
      stolen,
      failures: [...final.publishers, ...final.subscribers].flatMap((each) => each.failures),
    };
  }
}

function newProcess(): PubsubProcess {
  return new WorkerProcess(WORKER);
}

function processesFor(clients: number, processesMax: number): PubsubProcess[] {
  return Array.from({ length: Math.min(clients, processesMax) }, newProcess);
}

function sumOf(samples: readonly PubsubSample[], key: 'published' | 'delivered'): number {
  return samples.reduce((sum, sample) => sum + sample[key], 0);
}

function cpuOf(from: Samples, to: Samples, side: (of: Samples) => readonly PubsubSample[]): number {
  const used = (of: Samples): number => side(of).reduce((sum, { cpuMicros }) => sum + cpuMicros, 0);
  return (used(to) - used(from)) / (to.atMicros - from.atMicros);
}

function quantilesOf(latencies: Histogram): PubsubLatencies | null {
  if (latencies.count === 0) return null;
  const at = (share: number): number => latencies.quantile(share);
  return {
    min: at(0),
    p50: at(0.5),
    p90: at(0.9),
    p99: at(0.99),
    p999: at(0.999),
    p9999: at(0.9999),
    max: at(1),
  };
}

/** The first point is below the least of them, the last at or above the most. */
function distributionOf(latencies: Histogram): [number, number][] {
  if (latencies.count === 0) return [];
  const steps = (micros: number): number => Math.log10(Math.max(1, micros)) * STEPS_A_DECADE;
  const first = Math.floor(steps(latencies.quantile(0)));
  const last = Math.ceil(steps(latencies.quantile(1)));
  return Array.from({ length: last - first + 1 }, (_, i) => {
    const micros = 10 ** ((first + i) / STEPS_A_DECADE);
    const share = i === last - first ? 1 : latencies.countUpTo(micros) / latencies.count;
    return [Number(micros.toPrecision(3)), share];
  });
}

const START_DELAY_MICROS = 200_000;
const PROGRESS_MS = 250;
/** Between two looks at whether the publishers are done. */
const OVER_MS = 20;
/** How long the broker may take for what it has not confirmed at the end. */
const SETTLE_MS = 30_000;
/** After so many samples in a row without anything new, what is missing is lost. */
const QUIET_SAMPLES = 12;
const STEPS_A_DECADE = 10;
/** The same extension as this file has: the processes run from where the bench runs. */
const WORKER = fileURLToPath(new URL(`./worker${extname(import.meta.url)}`, import.meta.url));
