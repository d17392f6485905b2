import { setTimeout as sleep } from 'node:timers/promises';
import { type BenchResult, medianRun } from './result.ts';
import { type CpuTicks, cpuTicks, stolenShare } from './stolen.ts';
import { type Sample, WorkerProcess } from './worker-process.ts';
import type { Target, Workload, WorkloadOptions } from './workload.ts';

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
  readonly cores?: { readonly sender: number; readonly receiver: number } | null;
}

/** Runs a workload several times, in fresh processes each time, and answers the median run. */
export async function runWorkload(workload: Workload, options: RunOptions): Promise<BenchResult> {
  const runs: BenchResult[] = [];
  for (let i = 0; i < (options.runs ?? 3); i++) runs.push(await runOnce(workload, options));
  return medianRun(runs);
}

/** Runs a workload once: opens receiver and sender, warms up, measures, lets the last messages arrive, and ends both. */
export async function runOnce(workload: Workload, options: RunOptions): Promise<BenchResult> {
  const { module, name } = workload;
  const { size, mtu, settings = {}, seconds = 2, warmUpSeconds = seconds, cores = null } = options;
  const workloadOptions: WorkloadOptions = { size, mtu, settings };
  const receiver = new WorkerProcess(cores?.receiver ?? null);
  const sender = new WorkerProcess(cores?.sender ?? null);
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
    await Promise.all([sender.ask({ ask: 'close' }), receiver.ask({ ask: 'close' })]);
    return resultOf(name, mtu, before, after, drained);
  } finally {
    sender.end();
    receiver.end();
  }
}

interface BothSamples {
  readonly sender: Sample;
  readonly receiver: Sample;
  readonly machine: CpuTicks | null;
}

/** Waits until all that was sent has arrived, or nothing more arrives. */
async function drain(sender: WorkerProcess, receiver: WorkerProcess): Promise<BothSamples> {
  let arrived = -1;
  for (let quiet = 0; ; ) {
    await sleep(DRAIN_MS);
    const samples = await sampleBoth(sender, receiver);
    quiet = samples.receiver.counts.messages > arrived ? 0 : quiet + 1;
    arrived = samples.receiver.counts.messages;
    if (arrived >= samples.sender.counts.messages || quiet === QUIET_SAMPLES) return samples;
  }
}

async function sampleBoth(sender: WorkerProcess, receiver: WorkerProcess): Promise<BothSamples> {
  const [fromSender, fromReceiver] = await Promise.all([sender.sample(), receiver.sample()]);
  return { sender: fromSender, receiver: fromReceiver, machine: cpuTicks() };
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

/** Between two looks at what has arrived after the end. */
const DRAIN_MS = 150;
/** After so many in a row without anything new, what is missing is lost. */
const QUIET_SAMPLES = 6;
