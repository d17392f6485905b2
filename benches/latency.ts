/**
 * Round trips of one message at a time, both processes on one core where the system can do that.
 *
 *     node benches/run.js latency [--json] [--size 64] [--seconds 3] [--runs 3]
 */
import { runWorkload } from '../src/cli/bench/harness.ts';
import { oneCore } from '../src/cli/bench/pinning.ts';
import { workloads as raw } from '../src/cli/bench/rungs/ping-pong.ts';
import { PING_PONG } from '../src/cli/bench/stack.ts';
import { benchArguments, printResults } from './arguments.ts';
import { workloads as tls } from './peers/tls.ts';

const workloads = [...raw, PING_PONG, ...tls.filter((workload) => workload.name === 'tls ping-pong')];
const names = workloads.map((workload) => workload.name).join(',');
const options = benchArguments({ mtu: '0', size: '64', only: names });
const cores = oneCore();
if (cores === null) console.error('no taskset here: the processes are not pinned');
await printResults(options, async function* () {
  for (const size of options.sizes) {
    for (const workload of workloads) {
      if (options.only.includes(workload.name))
        yield await runWorkload(workload, { ...options, mtu: 0, size, cores });
    }
  }
});
