/**
 * The whole stack, its packet size left to the library, beside what we measure ourselves against: TLS 1.3 over TCP. One way, sender and
 * receiver in separate processes.
 *
 *     npm run bench peers -- [--json] [--size 64,1400,8192,65536] [--only tls,'tls cork',stack] [--seconds 3] [--runs 3]
 */
import { runWorkload } from '../src/bench/harness.ts';
import { STREAMING } from '../src/bench/workloads.ts';
import { benchArguments, printResults } from './arguments.ts';
import { TLS, TLS_CORK } from './peers/tls.ts';

const workloads = [TLS, TLS_CORK, STREAMING];
const options = benchArguments({
  mtu: [0],
  size: [64, 1_400, 8_192, 65_536],
  only: workloads.map((workload) => workload.name),
});
await printResults(options, async function* () {
  for (const size of options.size) {
    for (const workload of workloads) {
      if (options.only.includes(workload.name))
        yield await runWorkload(workload, { ...options, settings: options.set, mtu: 0, size });
    }
  }
});
