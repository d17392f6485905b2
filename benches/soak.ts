/**
 * Half an hour of mixed load on a durable broker, and what memory and rates do meanwhile: telemetry at QoS 0, orders at QoS 1 for a durable subscriber and a
 * shared group that refuses some, retained state, requests, a subscriber that is too slow, and clients that come and go. Broker, publishers and subscribers
 * are processes of their own.
 *
 *     npm run bench soak -- [--minutes 30] [--every 10] [--record docs/soak.json] [--plot docs/soak.svg] [--json]
 *
 * Fails when the memory of one of them is not flat, and when something that was acknowledged was lost, doubled or out of order.
 */
import { type ChildProcess, execFileSync, fork } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { formatTable } from '../src/bench/figures.ts';
import { positiveNumber } from '../src/cli/arguments.ts';
import { judge, type Memory, type SoakRecord, type SoakSample } from './soak/record.ts';
import { drawOverTime, type TimeCurve } from './soak/time-plot.ts';
import type { SoakAnswer, SoakOrder } from './soak/worker.ts';

const ROLES = ['broker', 'publishers', 'subscribers'] as const;
const COLOURS = { broker: '#2da44e', publishers: '#4c9be8', subscribers: '#c69026' } as const;
const RATE_COLOURS = ['#2da44e', '#4c9be8', '#a371f7', '#c69026', '#cf5b56', '#7d8590'];

const { minutes, every, record, plot, json } = new Command()
  .option('--minutes <n>', 'of load', positiveNumber, 30)
  .option('--every <s>', 'between two looks', positiveNumber, 10)
  .option('--record <file>', 'write what was measured as JSON')
  .option('--plot <file>', 'draw it as SVG')
  .option('--json', 'print what was measured instead of a table')
  .parse()
  .opts<{ minutes: number; every: number; record?: string; plot?: string; json?: boolean }>();

async function soak(): Promise<SoakRecord> {
  const folder = mkdtempSync(join(tmpdir(), 'jsp-soak-'));
  const startedAt = new Date();
  const faults: string[] = [];
  const processes = ROLES.map((role) => new SoakProcess(role, faults));
  const samples: SoakSample[] = [];
  try {
    const [broker, publishers, subscribers] = processes;
    const url = (await broker.ask({ order: 'serve', folder })) as string;
    await subscribers.ask({ order: 'subscribe', url });
    await publishers.ask({ order: 'publish', url });
    const begun = performance.now();
    let before = begun;
    while (performance.now() - begun < minutes * 60_000) {
      await sleep(every * 1_000);
      const reports = await Promise.all(processes.map((each) => each.report()));
      const now = performance.now();
      const rates: Record<string, number> = {};
      for (const { counts } of reports)
        for (const [name, count] of Object.entries(counts)) rates[name] = (count * 1_000) / (now - before);
      before = now;
      const memory = Object.fromEntries(ROLES.map((role, i) => [role, reports[i].memory]));
      samples.push({ seconds: (now - begun) / 1_000, memory, rates });
      if (!json) progress((now - begun) / 60_000, memory);
      if (faults.length > 0) break;
    }
    if (faults.length === 0) {
      await publishers.ask({ order: 'finish' });
      await subscribers.ask({ order: 'finish' });
    }
  } catch (error) {
    faults.push((error as Error).message);
  } finally {
    for (const each of processes) each.kill();
    rmSync(folder, { recursive: true, force: true });
  }
  return {
    command: ['npm run bench soak --', ...process.argv.slice(2)].join(' '),
    commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim(),
    node: process.version,
    startedAt: startedAt.toISOString(),
    seconds: samples.at(-1)?.seconds ?? 0,
    samples,
    verdict: judge(samples, faults),
  };
}

/** One of the processes, in which a garbage collection comes before each look. */
class SoakProcess {
  private readonly role: string;
  private readonly child: ChildProcess;

  constructor(role: string, faults: string[]) {
    this.role = role;
    this.child = fork(WORKER, [role], { execArgv: [...process.execArgv, '--expose-gc'] });
    this.child.on('message', (answer: SoakAnswer) => {
      if (answer.kind === 'fault') faults.push(`${role}: ${answer.text}`);
    });
    this.child.on('exit', (code, signal) => {
      if (signal !== 'SIGKILL') faults.push(`${role} ended with ${code ?? signal}`);
    });
  }

  ask(order: SoakOrder): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const onExit = () => reject(new Error(`${this.role} is gone`));
      const onMessage = (answer: SoakAnswer) => {
        if (answer.kind === 'fault') return;
        this.child.off('message', onMessage);
        this.child.off('exit', onExit);
        if (answer.kind === 'failed') reject(new Error(`${this.role}: ${answer.text}`));
        else resolve(answer.result);
      };
      this.child.on('message', onMessage);
      this.child.once('exit', onExit);
      this.child.send(order);
    });
  }

  async report(): Promise<{ memory: Memory; counts: Record<string, number> }> {
    return (await this.ask({ order: 'report' })) as { memory: Memory; counts: Record<string, number> };
  }

  kill(): void {
    this.child.kill('SIGKILL');
  }
}

function progress(minute: number, memory: Record<string, Memory>): void {
  const parts = Object.entries(memory).map(
    ([role, { rssMb, heapMb }]) => `${role} ${rssMb.toFixed(0)}/${heapMb.toFixed(1)} MB`,
  );
  const line = `${minute.toFixed(1)} of ${minutes} min, RSS/heap: ${parts.join(', ')}`;
  if (process.stderr.isTTY) process.stderr.write(`\r${line}\x1b[K`);
  else console.error(line);
}

function reportOf({ verdict, samples, seconds }: SoakRecord): string {
  const rows = verdict.growth.map(({ process: role, figure, fromMb, toMb, isFlat }) => [
    role,
    figure,
    fromMb.toFixed(1),
    toMb.toFixed(1),
    isFlat ? 'flat' : 'GROWS',
  ]);
  const rates = Object.keys(samples.at(-1)?.rates ?? {}).map((name) => {
    const mean = samples.reduce((sum, sample) => sum + (sample.rates[name] ?? 0), 0) / samples.length;
    return [name, mean.toFixed(0)];
  });
  const faults = verdict.faults.map((fault) => `FAULT ${fault}\n`).join('');
  return `\n${(seconds / 60).toFixed(1)} minutes\n${formatTable(['process', 'figure', 'first third', 'last third', ''], rows)}\n\n${formatTable(['messages', 'a second'], rates)}\n${faults}`;
}

function pictureOf({ samples, seconds, commit, node }: SoakRecord): string {
  const memory = (figure: keyof Memory): TimeCurve[] =>
    ROLES.map((role) => ({
      label: role,
      colour: COLOURS[role],
      points: samples.map(({ seconds: at, memory }) => [at, memory[role][figure]] as const),
    }));
  const rates = Object.keys(samples.at(-1)?.rates ?? {}).map((name, i) => ({
    label: name,
    colour: RATE_COLOURS[i % RATE_COLOURS.length],
    points: samples.map(({ seconds: at, rates }) => [at, rates[name] ?? 0] as const),
  }));
  return drawOverTime(
    `${(seconds / 60).toFixed(0)} minutes of mixed load`,
    `a durable broker, its publishers and its subscribers, each a process; commit ${commit}, Node ${node}`,
    [
      { unit: 'RSS, MB', curves: memory('rssMb') },
      { unit: 'heap after a collection, MB', curves: memory('heapMb') },
      { unit: 'messages a second', curves: rates },
    ],
  );
}

/** The same extension as this file has. */
const WORKER = fileURLToPath(new URL(`./soak/worker${extname(import.meta.url)}`, import.meta.url));

const result = await soak();
if (record !== undefined) writeFileSync(record, `${JSON.stringify(result, null, 1)}\n`);
if (plot !== undefined) writeFileSync(plot, pictureOf(result));
if (json) console.log(JSON.stringify(result));
else console.log(reportOf(result));
if (!result.verdict.isFlat || result.verdict.faults.length > 0) process.exitCode = 1;
