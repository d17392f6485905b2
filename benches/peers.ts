/**
 * The whole stack, with packets as large as the library makes them on loopback (an mtu of 0) and with those of the internet, beside what we
 * measure ourselves against: TLS 1.3 over TCP. One way, sender and receiver in separate processes. Workloads take turns within each run.
 *
 *     npm run bench peers -- [--json] [--size 64,1400,8192,65536] [--mtu 0,1472] [--only tls,'tls cork',stack] [--seconds 3] [--runs 3]
 */
import { medianRun, runOnce } from '../src/bench/harness.ts';
import { STREAMING } from '../src/bench/workloads.ts';
import { benchArguments, printResults } from './arguments.ts';
import { TLS, TLS_CORK } from './peers/tls.ts';
import { byTurns } from './turns.ts';

const workloads = [TLS, TLS_CORK, STREAMING];
const options = benchArguments({
  mtu: [0, 1_472],
  size: [64, 1_400, 8_192, 65_536],
  only: workloads.map((workload) => workload.name),
});
const { runs, seconds, set: settings } = options;

await printResults(options, async function* () {
  for (const size of options.size) {
    const entries = workloads
      .filter(({ name }) => options.only.includes(name))
      .flatMap((workload) => (workload === STREAMING ? options.mtu : [0]).map((mtu) => ({ workload, mtu })))
      .map((entry) => ({ ...entry, name: `${entry.workload.name} ${entry.mtu}` }));
    const results = await byTurns(entries, runs, ({ mtu, workload }) =>
      runOnce(workload, { seconds, settings, mtu, size }),
    );
    for (const each of results.values()) yield medianRun(each);
  }
});
