/**
 * What we measure ourselves against: TLS 1.3 over TCP, one way, sender and receiver in separate processes.
 *
 *     node benches/run.js peers [--json] [--size 64,1400,8192,65536] [--only tls,'tls cork'] [--seconds 2] [--runs 3]
 */
import { runWorkload } from '../src/cli/bench/harness.ts';
import { benchArguments, printResults } from './arguments.ts';
import { workloads } from './peers/tls.ts';

const options = benchArguments({ mtu: '0', size: '64,1400,8192,65536', only: 'tls,tls cork' });
await printResults(options, async function* () {
  for (const size of options.sizes) {
    for (const workload of workloads) {
      if (options.only.includes(workload.name))
        yield await runWorkload(workload, { ...options, mtu: 0, size });
    }
  }
});
