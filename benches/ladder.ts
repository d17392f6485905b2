/**
 * The ladder: what each layer costs, from bare datagrams up to the whole stack. Datagrams are filled by one message.
 *
 *     npm run bench ladder -- [--json] [--mtu 64,1472,16384] [--size 0] [--only raw,aead] [--seconds 3] [--runs 3]
 */
import { runWorkload } from '../src/bench/harness.ts';
import { STREAMING } from '../src/bench/workloads.ts';
import { benchArguments, printResults } from './arguments.ts';
import { workloads as rungs } from './ladder/rungs.ts';

/** The rungs of the lower layers can be measured with the smallest datagrams; the stack has a least packet size. */
const STACK_MTU_MIN = 512;
const workloads = [
  ...rungs.filter(({ name }) => !name.startsWith('pure')),
  STREAMING,
  ...rungs.filter(({ name }) => name.startsWith('pure')),
];
const options = benchArguments({ mtu: [64, 1_472, 16_384], size: [0], only: workloads.map((w) => w.name) });
await printResults(options, async function* () {
  for (const mtu of options.mtu) {
    for (const size of options.size) {
      for (const workload of workloads) {
        if (workload.name.endsWith(STREAMING.name) && mtu < STACK_MTU_MIN) continue;
        if (options.only.includes(workload.name))
          yield await runWorkload(workload, { ...options, settings: options.set, mtu, size });
      }
    }
  }
});
