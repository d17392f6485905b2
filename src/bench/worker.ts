/** The process of a sender or a receiver: does what the harness asks over the channel to its parent, and ends with it. */

import { performance } from 'node:perf_hooks';
import { percentilesOf } from './figures.ts';
import type { WorkerAnswer, WorkerRequest } from './harness.ts';
import { failureOf } from './worker-process.ts';
import type { Receiver, Sender, Workload } from './workload.ts';

let sender: Sender | null = null;
let receiver: Receiver | null = null;

process.on('message', (message) => {
  answer(message as WorkerRequest).then(
    (reply) => process.send?.(reply),
    (error: unknown) => process.send?.(failureOf(error)),
  );
});
process.on('disconnect', () => process.exit());

async function answer(request: WorkerRequest): Promise<WorkerAnswer> {
  switch (request.ask) {
    case 'receiver': {
      const workload = await load(request.module, request.workload);
      receiver = await workload.openReceiver(request.options);
      return { target: receiver.target };
    }
    case 'sender': {
      const workload = await load(request.module, request.workload);
      sender = await workload.openSender(request.options, request.target);
      return {};
    }
    case 'start':
      sender?.start();
      return {};
    case 'stop':
      sender?.stop();
      return {};
    case 'sample':
      return sample();
    case 'close':
      await Promise.all([sender?.close(), receiver?.close()]);
      return {};
  }
}

async function load(module: string, name: string): Promise<Workload> {
  const { workloads } = (await import(module)) as { workloads: readonly Workload[] };
  const workload = workloads.find((candidate) => candidate.name === name);
  if (workload === undefined) throw new Error(`no workload ${name} in ${module}`);
  return workload;
}

function sample(): WorkerAnswer {
  const side = sender ?? receiver;
  if (side === null) throw new Error('nothing is open yet');
  const cpu = process.cpuUsage();
  const latencies = sender?.latencies ?? null;
  const latencyMicros = latencies === null ? null : percentilesOf(latencies);
  latencies?.reset();
  return {
    sample: {
      atMicros: (performance.timeOrigin + performance.now()) * 1_000,
      counts: { ...side.counts() },
      cpuMicros: cpu.user + cpu.system,
      latencyMicros,
    },
  };
}
