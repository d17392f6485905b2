/** The simulation by itself, over as many seeds as there is patience for: see {@link USAGE}. */
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { runStoreSeed, storePlanOf } from '../broker/store/simulation.ts';
import { runBrokerSeed } from './broker/run.ts';
import { brokerScenarioOf } from './broker/scenario.ts';
import { runClusterSeed, runGroupsSeed } from './cluster/run.ts';
import { clusterScenarioOf, groupsScenarioOf } from './cluster/scenario.ts';
import { faultPlanOf, runFaultySeed } from './faults.ts';
import { INTEROP, interopPlanOf, runInteropSeed } from './interop/scenarios.ts';
import { runSeed } from './run.ts';
import { scenarioOf } from './scenario.ts';
import { Totals } from './totals.ts';

const USAGE = `npm run sim -- [--scenario traffic | faults | broker | workers | cluster | groups | store] [--seeds N] [--from N] [--jobs N]   many seeds; says which fail
npm run sim -- [--scenario traffic | faults | broker | workers | cluster | groups | store] --seed N                               one seed, with its scenario and all that it met
npm run sim -- --interop NAME ...                                                                    the same of a case of the QUIC interop runner, or of all

  --scenario   traffic: streams over bad links; faults: listeners, sockets and our own code throw;
               broker: a broker, its clients and its store in storms; workers: the same with clients in threads of their own, which crash;
               cluster: brokers that are one over a model of NATS, in storms; groups: the same, with shared groups;
               store: a store on a disk that fails as disks do   (default traffic)
  --interop    ${INTEROP.map(({ name }) => name).join(', ')}, or all of them
  --seeds      how many                                                                              (default 1000)
  --from       the first                                                                             (default 1)
  --jobs       how many at a time                                                                    (default: one a processor)`;

/** Of the scenarios that are cases of the interop runner. */
const INTEROP_PREFIX = 'interop ';
/** Seeds that a worker is given at once. */
const RANGE = 20;

/** What a worker is asked. */
interface Range {
  readonly scenario: string;
  readonly from: number;
  readonly to: number;
}

interface Runner {
  readonly planOf: (seed: number) => unknown;
  readonly run: (seed: number) => Totals | Promise<Totals>;
}

const SCENARIOS: Readonly<Record<string, Runner>> = {
  traffic: { planOf: scenarioOf, run: runSeed },
  faults: { planOf: faultPlanOf, run: runFaultySeed },
  broker: { planOf: brokerScenarioOf, run: runBrokerSeed },
  workers: { planOf: brokerScenarioOf, run: (seed) => runBrokerSeed(seed, 2) },
  cluster: { planOf: clusterScenarioOf, run: runClusterSeed },
  groups: { planOf: groupsScenarioOf, run: runGroupsSeed },
  store: { planOf: storePlanOf, run: runStoreSeed },
  ...Object.fromEntries(
    INTEROP.map((of) => [
      `${INTEROP_PREFIX}${of.name}`,
      { planOf: (seed: number) => interopPlanOf(of, seed), run: (seed: number) => runInteropSeed(of, seed) },
    ]),
  ),
};

/** What a worker answers about a range of seeds. */
interface RangeResult {
  readonly runs: number;
  readonly totals: Record<string, number>;
  readonly failures: readonly Failure[];
}

interface Failure {
  readonly seed: number;
  readonly message: string;
}

if (isMainThread) await main();
else
  parentPort?.on('message', async ({ scenario, from, to }: Range) =>
    parentPort?.postMessage(await runRange(SCENARIOS[scenario], from, to)),
  );

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      scenario: { type: 'string', default: 'traffic' },
      interop: { type: 'string' },
      seed: { type: 'string' },
      seeds: { type: 'string', default: '1000' },
      from: { type: 'string', default: '1' },
      jobs: { type: 'string', default: String(availableParallelism()) },
      help: { type: 'boolean' },
    },
  });
  if (values.help) return console.log(USAGE);
  for (const scenario of scenariosOf(values.scenario, values.interop)) {
    if (values.seed !== undefined) await runOne(SCENARIOS[scenario], Number(values.seed));
    else await runMany(scenario, Number(values.from), Number(values.seeds), Number(values.jobs));
  }
}

function scenariosOf(scenario: string, interop: string | undefined): readonly string[] {
  const names = Object.keys(SCENARIOS);
  if (interop === 'all') return names.filter((name) => name.startsWith(INTEROP_PREFIX));
  const chosen = interop === undefined ? scenario : `${INTEROP_PREFIX}${interop}`;
  if (names.includes(chosen)) return [chosen];
  const option = interop === undefined ? 'scenario' : 'interop';
  const choices = names
    .filter((name) => name.startsWith(INTEROP_PREFIX) === (interop !== undefined))
    .map((name) => name.replace(INTEROP_PREFIX, ''));
  throw new RangeError(`--${option} is one of ${choices.join(', ')}, not "${interop ?? scenario}"`);
}

async function runOne({ planOf, run }: Runner, seed: number): Promise<void> {
  console.log(
    JSON.stringify(planOf(seed), (_, value) => (value === Number.POSITIVE_INFINITY ? 'infinite' : value), 1),
  );
  console.log((await run(seed)).toString());
}

async function runMany(scenario: string, from: number, seeds: number, jobs: number): Promise<void> {
  const end = from + seeds;
  const totals = new Totals();
  const failures: Failure[] = [];
  const startedAt = Date.now();
  let next = from;
  let done = 0;
  const progress = setInterval(
    () => console.error(`${scenario}: ${progressLine(done, seeds, failures.length, startedAt)}`),
    5_000,
  );
  const work = async (): Promise<void> => {
    const worker = new Worker(fileURLToPath(import.meta.url));
    while (next < end) {
      const range = { scenario, from: next, to: Math.min(next + RANGE, end) };
      next = range.to;
      const result = await answerOf(worker, range);
      done += result.runs;
      totals.addAll('', result.totals);
      for (const failure of result.failures) report(scenario, failure);
      failures.push(...result.failures);
    }
    await worker.terminate();
  };
  await Promise.all(Array.from({ length: jobs }, work));
  clearInterval(progress);
  console.log(totals.toString());
  console.log(`${scenario}: ${progressLine(done, seeds, failures.length, startedAt)}`);
  if (failures.length > 0) process.exitCode = 1;
}

async function runRange({ run }: Runner, from: number, to: number): Promise<RangeResult> {
  const totals = new Totals();
  const failures: Failure[] = [];
  for (let seed = from; seed < to; seed++) {
    try {
      totals.merge(await run(seed));
    } catch (error) {
      failures.push({ seed, message: error instanceof Error ? error.message : String(error) });
    }
  }
  return { runs: to - from, totals: totals.toObject(), failures };
}

function answerOf(worker: Worker, range: Range): Promise<RangeResult> {
  return new Promise((resolve, reject) => {
    worker.once('error', reject);
    worker.once('message', (result: RangeResult) => {
      worker.removeListener('error', reject);
      resolve(result);
    });
    worker.postMessage(range);
  });
}

function report(scenario: string, { seed, message }: Failure): void {
  const option = scenario.startsWith(INTEROP_PREFIX)
    ? `--interop ${scenario.slice(INTEROP_PREFIX.length)}`
    : `--scenario ${scenario}`;
  console.log(`${message}\n    replay: npm run sim -- ${option} --seed ${seed}`);
}

function progressLine(done: number, seeds: number, failures: number, startedAt: number): string {
  const seconds = (Date.now() - startedAt) / 1_000;
  return `${done} of ${seeds} seeds in ${seconds.toFixed(0)} s, ${failures} failed`;
}
