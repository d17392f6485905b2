import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { StatePort } from '../../../src/broker/core/store-port.ts';
import { inspectStore } from '../../../src/broker/store/inspect.ts';
import { repairStore } from '../../../src/broker/store/repair.ts';
import { systemSurroundings } from '../../../src/broker/store/surroundings.ts';
import type { FaultyFileSystem } from './faulty-file-system.ts';
import { checkDamaged } from './simulation.ts';
import { settled } from './store-clock.ts';
import { allOf, Bench, DIRECTORY, payloadOf, recordOf, stored } from './stores.ts';

/** A small store: two logs, one of several segments, and a state that was written in several batches. */
async function smallStore(
  isClosed: boolean,
): Promise<{ bench: Bench; logs: Map<string, string[]>; state: string }> {
  const bench = new Bench();
  bench.logs = [{ name: 'default' }, { name: 'a', filters: ['a/#'] }];
  bench.settings = { segmentBytes: 500 };
  const { store } = await bench.open();
  for (let i = 0; i < 3; i++) {
    await stored(
      store,
      store.logs[0],
      [1, 2].map((n) => recordOf({ session: 3, id: 2 * i + n, payload: `p${2 * i + n}` })),
    );
    store.state.put(`cursor/${i % 2}`, Buffer.from(`${i}`));
    await store.idle();
  }
  await stored(store, store.logs[1], [recordOf({ payload: 'q1' })]);
  await bench.clock.pass(200);
  if (isClosed) await store.close();
  else {
    bench.files.operationsLeft = 0;
    bench.files = bench.files.afterKill();
  }
  const logs = new Map<string, string[]>();
  for (const log of store.logs) logs.set(log.name, await contentOf(log));
  return {
    bench,
    logs,
    state: stateOf(store.state),
  };
}

async function contentOf(log: Parameters<typeof allOf>[0]): Promise<string[]> {
  return (await allOf(log)).map((record) => `${record.offset} ${payloadOf(record)}`);
}

function stateOf(state: StatePort): string {
  return [...state.entries('cursor/')]
    .map(([key, value]) => `${key}=${Buffer.from(value)}`)
    .sort()
    .join();
}

/** Opens what is left of the store, and looks that whatever is not there was said to be lost. */
async function lookAt(
  { bench, logs, state }: Awaited<ReturnType<typeof smallStore>>,
  disk: FaultyFileSystem,
  path: string,
): Promise<string> {
  const other = new Bench();
  other.logs = bench.logs;
  other.settings = bench.settings;
  other.files = disk;
  let isWhole = true;
  const verdict = await checkDamaged(other, path, async (findings, store) => {
    for (const log of store.logs) {
      const there = await contentOf(log);
      for (const record of logs.get(log.name) as string[]) {
        if (there.includes(record)) continue;
        isWhole = false;
        const offset = Number(record.split(' ')[0]);
        const isTold = findings.some(
          ({ log: name, from, until }) => name === log.name && from <= offset && offset < until,
        );
        if (!isTold) throw new Error(`record ${record} of ${log.name} is gone, and nobody said so`);
      }
      const known = logs.get(log.name) as string[];
      for (const record of there) if (!known.includes(record)) throw new Error(`record ${record} is new`);
    }
    const now = stateOf(store.state);
    if (now === state) return;
    isWhole = false;
    if (!findings.some(({ log, file }) => log === '' && file.startsWith('state')))
      throw new Error(`the state is ${now}`);
  });
  if (verdict === 'unharmed' && !isWhole) throw new Error('something is lost, and nobody said so');
  return verdict;
}

test.each([
  ['closed', true],
  ['killed', false],
])(
  'of a store that was %s each byte is flipped, one at a time: it is refused with the file, or says what it has found, or is whole [STO-12] [STO-25]',
  async (_, isClosed) => {
    const small = await smallStore(isClosed);
    const verdicts = new Map<string, number>();
    const failures: string[] = [];
    let flips = 0;
    for (const path of small.bench.files.paths()) {
      const content = small.bench.files.contentOf(path);
      for (let byte = 0; byte < content.length; byte++) {
        const disk = small.bench.files.copy();
        const flipped = content.slice();
        flipped[byte] ^= 1 << (byte % 8);
        disk.overwrite(path, flipped);
        flips++;
        try {
          const verdict = await lookAt(small, disk, path);
          verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
          // Only a hint, the index of a segment, may be wrong without a word.
          if (verdict === 'unharmed' && !path.endsWith('.idx'))
            failures.push(`${path} ${byte}: nothing was said`);
        } catch (error) {
          failures.push(`${path} ${byte}: ${(error as Error).message}`);
        }
      }
    }
    expect(failures.slice(0, 5)).toEqual([]);
    expect(flips).toBeGreaterThan(2_000);
    expect(verdicts.get('refused')).toBeGreaterThan(1_000);
    expect(verdicts.get('told')).toBeGreaterThan(100);
  },
);

test('the last segment of a store that was closed is cut at every byte: it is refused, or whole', async () => {
  const small = await smallStore(true);
  const path = small.bench.files
    .paths()
    .filter((each) => each.includes('log-1') && each.endsWith('.seg'))
    .sort()
    .at(-1) as string;
  const content = small.bench.files.contentOf(path);
  const failures: string[] = [];
  for (let bytes = 0; bytes < content.length; bytes++) {
    const disk = small.bench.files.copy();
    disk.overwrite(path, content.slice(0, bytes));
    try {
      const verdict = await lookAt(small, disk, path);
      if (verdict === 'unharmed' && bytes < content.length - 96) failures.push(`${bytes}: nothing was said`);
    } catch (error) {
      failures.push(`${bytes}: ${(error as Error).message}`);
    }
  }
  expect(failures.slice(0, 5)).toEqual([]);
});

test.each(['manifest.0', 'state', 'log-1'])(
  '%s that is gone is told, and what is left goes on after a repair [STO-12]',
  async (name) => {
    const small = await smallStore(true);
    const disk = small.bench.files.copy();
    const path = small.bench.files
      .paths()
      .find((each) => each.includes(name) && !each.endsWith('.idx')) as string;
    await disk.remove(path);
    expect(await lookAt(small, disk, path)).toBe(name === 'manifest.0' ? 'told' : 'refused');
  },
);

test('with both manifests gone a repair finds the logs by their segments, and readers begin anew [STO-2] [STO-16]', async () => {
  const small = await smallStore(true);
  const { bench } = small;
  const epoch = (await bench.open()).store.logs[0].epoch;
  bench.files.operationsLeft = 0;
  const disk = bench.files.copy();
  for (const name of ['manifest.0', 'manifest.1']) await disk.remove(`${DIRECTORY}/${name}`);
  bench.files = disk;
  await expect(bench.open()).rejects.toThrow(/neither of the two files/);
  const { store, report } = await bench.open({ onCorruption: 'quarantine' });
  expect(await contentOf(store.logs[0])).toEqual(small.logs.get('default'));
  expect(await contentOf(store.logs[1])).toEqual(small.logs.get('a'));
  expect(store.logs[0].epoch).not.toBe(epoch);
  expect(report.logs.map(({ epochIsNew }) => epochIsNew)).toEqual([true, true]);
});

test('a check writes nothing [STO-26]', async () => {
  const { bench } = await smallStore(false);
  const before = bench.files
    .paths()
    .map((path) => `${path} ${Buffer.from(bench.files.contentOf(path)).toString('hex')}`);
  const writes = bench.files.counts.writes;
  await inspectStore(bench.files, DIRECTORY, { verifyBytes: Number.POSITIVE_INFINITY });
  expect(
    bench.files.paths().map((path) => `${path} ${Buffer.from(bench.files.contentOf(path)).toString('hex')}`),
  ).toEqual(before);
  expect(bench.files.counts.writes).toBe(writes);
});

test('onCorruption: quarantine opens a damaged store, sets the file aside and says what is lost; what is sound stays [STO-12]', async () => {
  const { bench, logs } = await smallStore(true);
  const path = bench.files.paths().find((each) => each.endsWith('log-1/0000000000000001.seg')) as string;
  const content = bench.files.contentOf(path).slice();
  content[content.indexOf(0x70, 300)] ^= 0xff; // the payload of the first record
  bench.files.overwrite(path, content);
  await expect(bench.open()).rejects.toMatchObject({ code: 'ERR_JSP_STORE_DAMAGED' });
  const { store, report } = await bench.open({ onCorruption: 'quarantine' });
  const there = await contentOf(store.logs[0]);
  const gone = (logs.get('default') as string[]).filter((record) => !there.includes(record));
  expect(gone).toHaveLength(1);
  expect(report.findings.some(({ isLoss, file }) => isLoss && path.endsWith(file))).toBe(true);
  expect(bench.files.paths().some((each) => each.startsWith(`${DIRECTORY}/lost/`))).toBe(true);
  expect(store.logs[0].head).toBe(7);
});

test('of a log whose last segment is missing, the one before is changed once: what is lost is counted once, and set aside is what was there [STO-25]', async () => {
  const { bench } = await smallStore(true);
  const paths = bench.files.paths().filter((each) => each.includes('log-1') && each.endsWith('.seg'));
  const [before, last] = paths.sort().slice(-2);
  const damaged = bench.files.contentOf(before).slice();
  damaged[damaged.length - 1] ^= 1; // of the last record that it has
  bench.files.overwrite(before, damaged);
  const missing = 7 - Number(last.slice(-20, -4));
  await bench.files.remove(last);
  const report = await repairStore(bench.files, DIRECTORY, systemSurroundings(bench.surroundings()));
  expect(report.recordsLost).toBe(missing + 1);
  const aside = report.setAside.map((file) => Buffer.from(bench.files.contentOf(join(DIRECTORY, file))));
  expect(aside).toEqual([Buffer.from(damaged)]);
  const { store } = await bench.open();
  expect(store.logs[0].head).toBeGreaterThanOrEqual(7);
});

test('a repair that a power cut ends, at whichever step, has lost nothing that was sound: the next one has it [STO-25]', async () => {
  const { bench, logs } = await smallStore(true);
  for (const [name, what] of [
    ['log-1/0000000000000001.seg', 'p1'],
    ['state/0000000000000001.seg', 'cursor/0'],
  ]) {
    const path = join(DIRECTORY, name);
    const content = bench.files.contentOf(path).slice();
    content[Buffer.from(content).indexOf(what)] ^= 1;
    bench.files.overwrite(path, content);
  }
  const on = (files: FaultyFileSystem) =>
    Object.assign(new Bench(), { logs: bench.logs, settings: bench.settings, files });
  const repaired = async (files: FaultyFileSystem) => {
    const { store } = await on(files).open({ onCorruption: 'quarantine' });
    const contents = await Promise.all(store.logs.map(contentOf));
    return { contents, state: stateOf(store.state) };
  };
  const whole = await repaired(bench.files.copy());
  expect(whole.contents[0]).toHaveLength((logs.get('default') as string[]).length - 1);
  expect(whole.state).not.toBe('');
  let steps = 0;
  for (let isDone = false; !isDone; steps++) {
    const disk = bench.files.copy();
    disk.operationsLeft = steps;
    void repairStore(disk, DIRECTORY, systemSurroundings(on(disk).surroundings())).then(() => {
      isDone = true;
    });
    await settled(1_000);
    expect(await repaired(disk.afterPowerCut()), `after ${steps} steps`).toEqual(whole);
  }
  expect(steps).toBeGreaterThan(50);
});
