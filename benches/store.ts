/**
 * The store on a disk by itself: records appended one by one and in groups, read back, and how long a start takes, also of `jsp broker` as a whole.
 *
 *     npm run bench store -- [--json] [--seconds 1.5] [--size 256] [--groups 1,16,64,256,1000] [--start 1024] [--directory DIR]
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { formatTable, median, whole } from '../src/bench/figures.ts';
import type { LogPort, LogRecord } from '../src/broker/core/store-port.ts';
import type { DiskStore } from '../src/broker/store/disk-store.ts';
import { openStore } from '../src/broker/store/open-store.ts';
import { positiveNumber, wholeNumber, wholeNumbers } from '../src/cli/arguments.ts';

interface Settings {
  readonly seconds: number;
  readonly size: number;
  readonly groups: readonly number[];
  /** MiB of the log that a start finds. */
  readonly start: number;
  /** Where the store's folder is made. */
  readonly directory: string;
  readonly json?: boolean;
}

/** How long the same thing takes, again and again. */
class Latencies {
  private readonly all: number[] = [];
  private sum = 0;

  async measure(work: () => Promise<void>): Promise<void> {
    const startedAt = performance.now();
    await work();
    const ms = performance.now() - startedAt;
    this.all.push(ms);
    this.sum += ms;
  }

  get aSecond(): number {
    return (this.all.length / this.sum) * 1_000;
  }

  get p50Ms(): number {
    return this.all.sort((a, b) => a - b)[this.all.length >> 1];
  }
}

const options = new Command()
  .option('--seconds <s>', 'of each measurement', positiveNumber, 1.5)
  .option('--size <bytes>', 'of a payload', wholeNumber(0, 65_536), 256)
  .option(
    '--groups <n,...>',
    'records that are stored at once',
    wholeNumbers(1, 100_000),
    [1, 16, 64, 256, 1_000],
  )
  .option('--start <MiB>', 'of the log that a start finds', wholeNumber(1, 65_536), 1_024)
  .option('--directory <dir>', 'on the disk that is meant', tmpdir())
  .option('--json', 'a line of JSON')
  .parse()
  .opts<Settings>();
/** `jsp` as it is built: what is compiled here is two folders further down. */
const PROGRAM = fileURLToPath(
  new URL(
    import.meta.url.includes('/.cache/benches/') ? '../../../dist/cli/main.js' : '../dist/cli/main.js',
    import.meta.url,
  ),
);
const BROKER_STARTS = 5;
const folder = mkdtempSync(join(options.directory, 'jsp-store-'));
const logs = [{ name: 'default', maxBytes: 64 * 2 ** 30 }];
const results: Record<string, number> = {};
/** Records made so far. */
let made = 0;

try {
  for (const group of options.groups) await appendInGroups(group);
  await startWith(options.start);
  if (options.json) console.log(JSON.stringify(results));
  else
    console.log(
      formatTable(
        ['', 'figure'],
        Object.entries(results).map(([name, value]) => [name, whole(value)]),
      ),
    );
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/**
 * So many records at once, and the next when all of them are stored. In turn with that, what a disk does at best: as many bytes are written behind one another
 * and synced, and nothing else.
 */
async function appendInGroups(group: number): Promise<void> {
  const directory = join(folder, `group-${group}`);
  const { store, unlock } = await openStore({ directory, logs });
  const bare = await open(join(directory, 'bare'), 'w');
  const bytes = Buffer.alloc(group * (record().command.length + 48));
  const [log] = store.logs;
  const heard = hearing(store);
  const ours = new Latencies();
  const rung = new Latencies();
  const end = performance.now() + 2 * options.seconds * 1_000;
  while (performance.now() < end) {
    await ours.measure(async () => {
      for (let i = 0; i < group; i++) log.append(record());
      while (log.synced < log.head) await heard();
    });
    await rung.measure(async () => {
      await bare.write(bytes);
      await bare.datasync();
    });
  }
  results[`records/s, stored ${group === 1 ? 'one by one' : `${group} at a time`}`] = group * ours.aSecond;
  results[`  ${group} at a time, written and synced by nothing else`] = group * rung.aSecond;
  results[`  p50 of ${group} at a time, µs`] = ours.p50Ms * 1_000;
  results[`  p50 of ${group} at a time, written and synced by nothing else, µs`] = rung.p50Ms * 1_000;
  await bare.close();
  await store.close();
  unlock();
}

/** Fills a log with so many MiB, starts anew, and reads all of it. */
async function startWith(mib: number): Promise<void> {
  const directory = join(folder, 'start');
  const first = await openStore({ directory, logs });
  const [filled] = first.store.logs;
  const heard = hearing(first.store);
  const bytes = record().command.length + 48;
  const records = Math.floor((mib * 2 ** 20) / bytes);
  for (let i = 0; i < records; ) {
    for (const end = Math.min(records, i + 20_000); i < end; i++) filled.append(record());
    while (filled.synced < filled.head) await heard();
  }
  await first.store.close();
  first.unlock();

  const startedAt = performance.now();
  const { store, unlock, report } = await openStore({ directory, logs });
  results[`ms to open ${mib} MiB`] = performance.now() - startedAt;
  results[`  MiB of it read`] = report.bytesVerified / 2 ** 20;
  const [log] = store.logs;
  results['records/s, read back'] = await readAll(store, log);
  await store.close();
  unlock();

  const starts: number[] = [];
  for (let i = 0; i < BROKER_STARTS; i++) starts.push(await startBroker(directory));
  results[`ms from the start of a broker's process until it is ready, with ${mib} MiB`] = median(starts);
}

/** Until `jsp broker` has printed its URL, which is when it can be connected to. */
async function startBroker(directory: string): Promise<number> {
  const described = join(folder, 'logs.json');
  writeFileSync(described, JSON.stringify(logs));
  const state = join(folder, 'state');
  const startedAt = performance.now();
  const broker = spawn(
    process.execPath,
    [PROGRAM, 'broker', '--port', '0', '--state', state, '--store', directory, '--logs', described],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  const ended = once(broker, 'exit');
  const [line] = await Promise.race([once(createInterface(broker.stdout), 'line'), ended]);
  const ms = performance.now() - startedAt;
  broker.kill();
  await ended;
  if (!String(line).startsWith('jsp://')) throw new Error('the broker has ended before it was ready');
  return ms;
}

async function readAll(store: DiskStore, log: LogPort): Promise<number> {
  const heard = hearing(store);
  const startedAt = performance.now();
  let next = log.earliest;
  let count = 0;
  while (next < log.synced) {
    const records = log.read(next, log.synced, 256 * 1024);
    if (records === null) await heard();
    else {
      count += records.length;
      next = records[records.length - 1].offset + 1;
    }
  }
  return (count / (performance.now() - startedAt)) * 1_000;
}

/** A function that waits for the next news of a store. */
function hearing(store: DiskStore): () => Promise<void> {
  let wake = (): void => {};
  const ignore = (): void => {};
  const events = {
    stored: ignore,
    placed: ignore,
    stateStored: ignore,
    loaded: ignore,
    trimmed: ignore,
    storeFailed: ignore,
  };
  store.listener = {
    onNews: () => {
      store.tell(events);
      wake();
    },
    onFinding: ignore,
    onFailure: ignore,
  };
  return () =>
    new Promise((resolve) => {
      wake = resolve;
    });
}

function record(): LogRecord {
  const command = new Uint8Array(16 + options.size);
  command[0] = 1;
  command[1] = 1;
  command[3] = 8;
  return {
    command,
    topicEnd: 16,
    session: 1 + (made++ % 16),
    sequence: 0,
    id: made,
    expiresAt: 0,
    publishedAt: Date.now(),
  };
}
