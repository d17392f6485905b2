/**
 * Round trips of one message at a time, both processes on one core where the system can do that.
 *
 *     npm run bench latency -- [--json] [--size 64] [--seconds 3] [--runs 3]
 */
import { oneCore, runWorkload } from '../src/bench/harness.ts';
import { PING_PONG, RAW_PING_PONG } from '../src/bench/workloads.ts';
import { benchArguments, printResults } from './arguments.ts';
import { TLS_PING_PONG } from './peers/tls.ts';

const workloads = [RAW_PING_PONG, PING_PONG, TLS_PING_PONG];
const options = benchArguments({ mtu: [0], size: [64], only: workloads.map((workload) => workload.name) });
const cores = oneCore();
if (cores === null) console.error('no taskset here: the processes are not pinned');
await printResults(options, async function* () {
  for (const size of options.size) {
    for (const workload of workloads) {
      if (options.only.includes(workload.name))
        yield await runWorkload(workload, { ...options, settings: options.set, mtu: 0, size, cores });
    }
  }
});
