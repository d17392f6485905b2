/**
 * The whole stack, its packet size left to the library, beside what we measure ourselves against: TLS 1.3 over TCP. One way, sender and
 * receiver in separate processes.
 *
 *     node benches/run.js peers [--json] [--size 64,1400,8192,65536] [--only tls,'tls cork',stack] [--seconds 3] [--runs 3]
 */
import { runWorkload } from '../src/cli/bench/harness.ts';
import { STREAMING } from '../src/cli/bench/stack.ts';
import { benchArguments, printResults } from './arguments.ts';
import { workloads as tls } from './peers/tls.ts';

const options = benchArguments({ mtu: '0', size: '64,1400,8192,65536', only: 'tls,tls cork,stack' });
await printResults(options, async function* () {
  for (const size of options.sizes) {
    for (const workload of [...tls, STREAMING]) {
      if (options.only.includes(workload.name))
        yield await runWorkload(workload, { ...options, mtu: 0, size });
    }
  }
});
