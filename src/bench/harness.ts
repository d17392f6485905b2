/**
 * Runs a workload: opens its receiver and its sender, each in a process of its own, lets them warm up, reads their counts at the beginning
 * and the end of the measurement, waits for the last messages, and makes one result of it. Several runs are one result, the median's.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { BenchResult, LatencyMicros } from './figures.ts';
import { type WorkerFailure, WorkerProcess } from './worker-process.ts';
import type { Counts, Target, Workload, WorkloadOptions } from './workload.ts';

export interface RunOptions {
  readonly size: number;
  readonly mtu: number;
  readonly settings?: WorkloadOptions['settings'];
  /** Default 2. */
  readonly seconds?: number;
  /** Time before the measurement, in which code gets compiled and buffers grow. Default: as long as the measurement. */
  readonly warmUpSeconds?: number;
  /** Runs of which the median is taken. Default 3. */
  readonly runs?: number;
  /** Cores of sender and receiver, or null to leave that to the system (the default). Needs `taskset`. */
  readonly cores?: Cores | null;
}

/** Runs a workload several times, in fresh processes each time, and answers the median run. */
export async function runWorkload(workload: Workload, options: RunOptions): Promise<BenchResult> {
  const runs: BenchResult[] = [];
  for (let i = 0; i < (options.runs ?? 3); i++) runs.push(await runOnce(workload, options));
  return medianRun(runs);
}

/** Runs a workload once: opens receiver and sender, warms up, measures, lets the last messages arrive, and ends both. */
export async function runOnce(workload: Workload, options: RunOptions): Promise<BenchResult> {
  const { environment, module, name } = workload;
  const { size, mtu, settings = {}, seconds = 2, warmUpSeconds = seconds, cores = null } = options;
  const workloadOptions: WorkloadOptions = { size, mtu, settings };
  const receiver: HarnessWorker = new WorkerProcess(WORKER, cores?.receiver, environment);
  const sender: HarnessWorker = new WorkerProcess(WORKER, cores?.sender, environment);
  try {
    const opened = await receiver.ask({ ask: 'receiver', module, workload: name, options: workloadOptions });
    const target = opened.target as Target;
    await sender.ask({ ask: 'sender', module, workload: name, options: workloadOptions, target });
    await sender.ask({ ask: 'start' });
    await sleep(warmUpSeconds * 1_000);
    const before = await sampleBoth(sender, receiver);
    await sleep(seconds * 1_000);
    const after = await sampleBoth(sender, receiver);
    await sender.ask({ ask: 'stop' });
    const drained = await drain(sender, receiver);
    // The receiver last: what it has not acknowledged yet the sender waits for.
    await sender.ask({ ask: 'close' });
    await receiver.ask({ ask: 'close' });
    return resultOf(name, mtu, before, after, drained);
  } finally {
    sender.end();
    receiver.end();
  }
}

/** The run in the middle by messages per second, the lower of the two middle ones. */
export function medianRun(runs: readonly BenchResult[]): BenchResult {
  if (runs.length === 0) throw new RangeError('there is no median of no runs');
  const sorted = [...runs].sort((a, b) => a.messagesPerSecond - b.messagesPerSecond);
  return sorted[(sorted.length - 1) >> 1];
}

/** Cores for {@link RunOptions.cores}. */
export interface Cores {
  readonly sender: number;
  readonly receiver: number;
}

/**
 * Both processes on one core, where the system has `taskset`, else null. A round trip then takes what the code takes; on two
 * cores of a virtual machine it takes mostly what waking up the other core does.
 */
export function oneCore(): Cores | null {
  const tried = spawnSync('taskset', ['-c', '0', process.execPath, '--version'], { stdio: 'ignore' });
  return tried.status === 0 ? { sender: 0, receiver: 0 } : null;
}

/** What the harness asks of a worker process; each request has one answer. */
export type WorkerRequest =
  | { ask: 'receiver'; module: string; workload: string; options: WorkloadOptions }
  | { ask: 'sender'; module: string; workload: string; options: WorkloadOptions; target: Target }
  | { ask: 'start' }
  | { ask: 'stop' }
  | { ask: 'sample' }
  | { ask: 'close' };

export interface WorkerAnswer extends WorkerFailure {
  /** Of a receiver that was opened. */
  target?: Target;
  sample?: Sample;
}

/** A worker's state at one time. */
export interface Sample {
  /** Of the monotonic clock, which all processes share. */
  atMicros: number;
  counts: Counts;
  /** CPU time used since the worker began. */
  cpuMicros: number;
  /** Of the time since the last sample. */
  latencyMicros: LatencyMicros | null;
}

type HarnessWorker = WorkerProcess<WorkerRequest, WorkerAnswer>;

interface BothSamples {
  readonly sender: Sample;
  readonly receiver: Sample;
  readonly machine: CpuTicks | null;
}

/** Waits until all that was sent has arrived, or nothing more arrives. */
async function drain(sender: HarnessWorker, receiver: HarnessWorker): Promise<BothSamples> {
  let arrived = -1;
  for (let quiet = 0; ; ) {
    await sleep(DRAIN_MS);
    const samples = await sampleBoth(sender, receiver);
    quiet = samples.receiver.counts.messages > arrived ? 0 : quiet + 1;
    arrived = samples.receiver.counts.messages;
    if (arrived >= samples.sender.counts.messages || quiet === QUIET_SAMPLES) return samples;
  }
}

async function sampleBoth(sender: HarnessWorker, receiver: HarnessWorker): Promise<BothSamples> {
  const [fromSender, fromReceiver] = await Promise.all([sampleOf(sender), sampleOf(receiver)]);
  return { sender: fromSender, receiver: fromReceiver, machine: cpuTicks() };
}

async function sampleOf(worker: HarnessWorker): Promise<Sample> {
  return (await worker.ask({ ask: 'sample' })).sample as Sample;
}

function resultOf(
  name: string,
  mtu: number,
  before: BothSamples,
  after: BothSamples,
  drained: BothSamples,
): BenchResult {
  const from = before.receiver;
  const to = after.receiver;
  const seconds = (to.atMicros - from.atMicros) / 1e6;
  const messages = to.counts.messages - from.counts.messages;
  const bytes = to.counts.bytes - from.counts.bytes;
  return {
    workload: name,
    size: messages === 0 ? 0 : Math.round(bytes / messages),
    mtu,
    seconds,
    messages,
    lost: lostOf(messages, drained),
    messagesPerSecond: messages / seconds,
    megabitsPerSecond: (bytes * 8) / seconds / 1e6,
    packetsPerSecond: (to.counts.packets - from.counts.packets) / seconds,
    latencyMicros: after.sender.latencyMicros,
    cpu: { sender: cpuShare(before.sender, after.sender), receiver: cpuShare(from, to) },
    stolen: stolenShare(before.machine, after.machine),
  };
}

/**
 * Messages lost in the measurement, as a share of those of the whole run: what was under way when the measurement began would
 * blur its own figure.
 */
function lostOf(messages: number, drained: BothSamples): number {
  const sent = drained.sender.counts.messages;
  const arrived = drained.receiver.counts.messages;
  return arrived === 0 ? sent : Math.round((messages * Math.max(0, sent - arrived)) / arrived);
}

function cpuShare(from: Sample, to: Sample): number {
  return (to.cpuMicros - from.cpuMicros) / (to.atMicros - from.atMicros);
}

/** CPU time of all cores of this machine since it started, in ticks of the system. */
export interface CpuTicks {
  readonly total: number;
  /** What a virtual machine's host gave to others although this one wanted it. */
  readonly stolen: number;
}

/** Null where the system does not tell: everywhere but on Linux. */
export function cpuTicks(): CpuTicks | null {
  try {
    return parseCpuTicks(readFileSync('/proc/stat', 'latin1'));
  } catch {
    return null;
  }
}

/** The first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal; what follows is part of user and nice. */
export function parseCpuTicks(stat: string): CpuTicks | null {
  const match = /^cpu +((?:\d+ ){7}\d+)/.exec(stat);
  if (match === null) return null;
  const ticks = match[1].split(' ').map(Number);
  return { total: ticks.reduce((sum, value) => sum + value), stolen: ticks[7] };
}

/** Share of the machine's CPU time that was stolen between two readings; null when unknown. */
export function stolenShare(from: CpuTicks | null, to: CpuTicks | null): number | null {
  if (from === null || to === null || to.total <= from.total) return null;
  return (to.stolen - from.stolen) / (to.total - from.total);
}

/** Between two looks at what has arrived after the end. */
const DRAIN_MS = 150;
/** After so many in a row without anything new, what is missing is lost. */
const QUIET_SAMPLES = 6;
/** The same extension as this file has: the workers run from where the harness runs. */
const WORKER = fileURLToPath(new URL(`./worker${extname(import.meta.url)}`, import.meta.url));
