/** Crash tests of real processes, over as many rounds as there is patience for: see {@link USAGE}. */
import { parseArgs } from 'node:util';
import { reusePortFault } from '../../src/udp/bind-socket.ts';
import { natsProgram } from '../broker/backplane/nats-server.ts';
import { cutDatacentres } from './cut-datacentres.ts';
import { killBroker } from './kill-broker.ts';
import { killClient } from './kill-client.ts';
import { killCluster, MISFORTUNES } from './kill-cluster.ts';
import type { CrashReport, Progress } from './load.ts';
import { replayEarlyData } from './replay-early-data.ts';

const USAGE = `npm run crash -- WHAT [--rounds N] [--seconds N] [--json]

  broker     a durable broker under load is killed with SIGKILL and started again          (default 100 rounds)
  workers    the same with its clients in two threads of their own, or one where there cannot be two  (default 100 rounds)
  client     a durable subscriber is killed inside its handler and started again           (default 100 rounds)
  cluster    of three brokers on one NATS under load, one is killed, frozen, cut off or told to leave, or NATS is  (default 100 rounds)
  datacentres  two data centres under load, the way between them cut for so many seconds  (default 60)
  replay     captured first datagrams with early data, so many (--rounds) to each of four servers in processes of their own  (default 10000)
  restarts   a durable broker under load ends by SIGTERM and SIGKILL by turns, and returns (default 50 rounds)

Judged by the oracle of the broker simulation (test/sim/broker/model.ts): no acknowledged message lost, first deliveries in order, others with
REDELIVERED, no offset used again, no gap, no unhandled rejection; clients are helped by nobody.`;

const WORKERS = reusePortFault() === null ? '2' : '1';

type Run = (rounds: number, onRound: Progress) => Promise<CrashReport>;
const RUNS: Readonly<Record<string, { readonly rounds: number; readonly run: Run }>> = {
  broker: { rounds: 100, run: (rounds, onRound) => killBroker({ rounds, signals: ['SIGKILL'], onRound }) },
  workers: {
    rounds: 100,
    run: (rounds, onRound) =>
      killBroker({ rounds, signals: ['SIGKILL', 'SIGTERM'], brokerOptions: ['--workers', WORKERS], onRound }),
  },
  client: { rounds: 100, run: killClient },
  cluster: {
    rounds: 100,
    run: (rounds, onRound) =>
      killCluster({ program: natsProgram() ?? '', rounds, misfortunes: MISFORTUNES, onRound }),
  },
  restarts: {
    rounds: 50,
    run: (rounds, onRound) => killBroker({ rounds, signals: ['SIGTERM', 'SIGKILL'], onRound }),
  },
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    json: { type: 'boolean' },
    help: { type: 'boolean' },
  },
});
const what = RUNS[positionals[0] ?? ''];
const onStep = (step: string): void => void process.stderr.write(`${step}\n`);
/** Those that no broker is in, or no rounds. */
const OTHERS: Readonly<Record<string, () => Promise<object>>> = {
  datacentres: () =>
    cutDatacentres({ program: natsProgram() ?? '', seconds: Number(values.seconds ?? 60), onStep }),
  replay: () => replayEarlyData(Number(values.rounds ?? 10_000), onStep),
};
const other = OTHERS[positionals[0] ?? ''];
if (other !== undefined && !values.help) {
  const report = await other();
  if (values.json) console.log(JSON.stringify({ what: positionals[0], ...report }));
  else
    for (const [name, figure] of Object.entries(report))
      console.log(`${name.padEnd(20)}${typeof figure === 'number' ? Math.round(figure) : (figure ?? '-')}`);
} else if (values.help || what === undefined) {
  console.log(USAGE);
  process.exitCode = values.help ? 0 : 2;
} else {
  const rounds = Number(values.rounds ?? what.rounds);
  const report = await what.run(rounds, (round, { deliveries, redeliveries }) => {
    if (values.json || (!process.stderr.isTTY && round % 10 !== 0)) return;
    const line = `round ${round} of ${rounds}: ${deliveries} deliveries, ${redeliveries} of them again`;
    process.stderr.write(process.stderr.isTTY ? `\r${line}\x1b[K` : `${line}\n`);
  });
  if (process.stderr.isTTY && !values.json) process.stderr.write('\n');
  if (values.json) console.log(JSON.stringify({ what: positionals[0], ...report }));
  else
    for (const [name, figure] of Object.entries(report))
      console.log(`${name.padEnd(14)}${Math.round(figure)}`);
}
