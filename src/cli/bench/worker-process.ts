import { type ChildProcess, fork } from 'node:child_process';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { LatencyMicros } from './latency-recorder.ts';
import type { Counts, Target, WorkloadOptions } from './workload.ts';

/** What the harness asks of a worker process; each request has one answer. */
export type WorkerRequest =
  | { ask: 'receiver'; module: string; workload: string; options: WorkloadOptions }
  | { ask: 'sender'; module: string; workload: string; options: WorkloadOptions; target: Target }
  | { ask: 'start' }
  | { ask: 'stop' }
  | { ask: 'sample' }
  | { ask: 'close' };

export interface WorkerAnswer {
  /** Why the request failed. */
  error?: string;
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

/** The harness's end of a worker process. */
export class WorkerProcess {
  private readonly child: ChildProcess;

  /** @param cpu - the core to stay on, or null; needs `taskset` */
  constructor(cpu: number | null) {
    const pinned =
      cpu === null
        ? {}
        : { execPath: 'taskset', execArgv: ['-c', String(cpu), process.execPath, ...process.execArgv] };
    this.child = fork(WORKER, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], ...pinned });
  }

  ask(request: WorkerRequest): Promise<WorkerAnswer> {
    return new Promise((resolve, reject) => {
      const gone = (code: number | null) => reject(new Error(`benchmark process ended with code ${code}`));
      this.child.once('exit', gone);
      this.child.once('error', reject);
      this.child.once('message', (message) => {
        this.child.off('exit', gone);
        this.child.off('error', reject);
        const answer = message as WorkerAnswer;
        if (answer.error === undefined) resolve(answer);
        else reject(new Error(answer.error));
      });
      this.child.send(request);
    });
  }

  async sample(): Promise<Sample> {
    return (await this.ask({ ask: 'sample' })).sample as Sample;
  }

  /** Ends the process: it leaves by itself when the channel closes, or is made to. */
  end(): void {
    const { child } = this;
    child.removeAllListeners();
    child.on('error', () => {});
    if (child.connected) child.disconnect();
    const impatience = setTimeout(() => child.kill('SIGKILL'), LEAVE_MS);
    child.once('exit', () => clearTimeout(impatience));
  }
}

const LEAVE_MS = 2_000;
/** The same extension as this file has: the workers run from where the harness runs. */
const WORKER = fileURLToPath(new URL(`./worker${extname(import.meta.url)}`, import.meta.url));
