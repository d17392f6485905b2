import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { AppendFault, type LogPort, type StoreEvents } from '../../../src/broker/core/store-port.ts';
import type { DiskStore } from '../../../src/broker/store/disk-store.ts';
import type { FileSystem } from '../../../src/broker/store/file-system.ts';
import { decodeManifest, encodeManifest, type Manifest } from '../../../src/broker/store/manifest.ts';
import { openStore } from '../../../src/broker/store/open-store.ts';
import { emptyFolder } from '../../empty-folder.ts';
import { settled } from './store-clock.ts';
import { allOf, Bench, DIRECTORY, payloadOf, recordOf, stored } from './stores.ts';

const payloads = (count: number, from = 1) =>
  Array.from({ length: count }, (_, i) => recordOf({ payload: `p${from + i}` }));

/** What a store tells, in words, from now on. */
function newsOf(store: DiskStore): string[] {
  const told: string[] = [];
  const events: StoreEvents = {
    stored: (log) => told.push(`stored ${log.synced}`),
    placed: () => {},
    stateStored: () => told.push('state stored'),
    loaded: () => told.push('loaded'),
    trimmed: (log) => told.push(`trimmed ${log.earliest}`),
    storeFailed: (log, { fault }) =>
      told.push(`${fault === AppendFault.FULL ? 'full' : 'failed'} ${log?.name ?? 'state'}`),
  };
  store.listener = { onNews: () => store.tell(events), onFinding: () => {}, onFailure: () => {} };
  if (store.hasNews) store.tell(events);
  return told;
}

describe('what was stored', () => {
  test('is there after a restart, with its offsets and epoch, and with the low half of its offset as id', async () => {
    const bench = new Bench();
    const first = await bench.open();
    expect(first.report).toMatchObject({ isNew: true, findings: [], recordsDropped: 0 });
    const [log] = first.store.logs;
    expect(await stored(first.store, log, payloads(5))).toEqual([1, 2, 3, 4, 5]);
    expect([log.earliest, log.head, log.synced]).toEqual([1, 6, 6]);
    first.store.state.put('k', new Uint8Array([7]));
    await first.store.close();

    const second = await bench.open();
    expect(second.report).toMatchObject({ isNew: false, wasClosed: true, findings: [], unused: [] });
    expect(second.report.logs[0]).toMatchObject({ name: 'default', earliest: 1, head: 6, epochIsNew: false });
    const [again] = second.store.logs;
    expect(again.epoch).toBe(log.epoch);
    const records = await allOf(again);
    expect(records.map(payloadOf)).toEqual(['p1', 'p2', 'p3', 'p4', 'p5']);
    expect(records.map(({ offset, command }) => [offset, command[7]])).toEqual(
      [1, 2, 3, 4, 5].map((n) => [n, n]),
    );
    expect(second.store.state.get('k')).toEqual(new Uint8Array([7]));
    expect(again.append(recordOf())).toBe(6);
  });

  test('is told of when the disk has it, not before; and what came meanwhile is one write [STO-9]', async () => {
    const bench = new Bench();
    const { store } = await bench.open();
    const told = newsOf(store);
    const [log] = store.logs;
    const { counts } = bench.files;
    const { writes } = counts;
    log.append(recordOf());
    await settled(3); // it is being written
    for (const record of payloads(50)) log.append(record);
    await store.idle();
    expect(told).toEqual(['stored 2', 'stored 52']);
    expect(counts.writes - writes).toBe(2);
    bench.files.operationsLeft = 1; // a write, and no sync
    log.append(recordOf());
    await settled();
    expect([log.head, log.synced, log.read(52, 53, 100)]).toEqual([53, 52, []]);
  });

  test('is read from memory while it is new, and from many segments when it is not [STO-14]', async () => {
    const bench = new Bench();
    bench.settings = { segmentBytes: 2_048, cacheBytes: 1_000 };
    const { store } = await bench.open();
    const [log] = store.logs;
    for (let i = 0; i < 60; i++) await stored(store, log, payloads(5, 5 * i + 1));
    expect(store.metrics().logs[0].segments).toBeGreaterThan(5);
    expect(log.read(300, 301, 100)?.map(payloadOf)).toEqual(['p300']);
    expect(log.read(1, 10, 100)).toBeNull();
    expect((await allOf(log)).map(payloadOf)).toEqual(Array.from({ length: 300 }, (_, i) => `p${i + 1}`));
    await store.close();
    bench.settings = { ...bench.settings, verifyBytes: 0 }; // by their indexes
    const again = await bench.open();
    expect(again.report.bytesVerified).toBeLessThan(again.report.bytes / 2);
    expect((await allOf(again.store.logs[0])).length).toBe(300);
  });

  test('is told of when it was loaded, though nothing else happens meanwhile [STO-14]', async () => {
    const bench = new Bench();
    bench.settings = { cacheBytes: 1_000, segmentBytes: 2_048 };
    const { store } = await bench.open();
    for (let i = 0; i < 20; i++) await stored(store, store.logs[0], payloads(5, 5 * i + 1));
    const told = newsOf(store);
    told.length = 0;
    expect(store.logs[0].read(1, 5, 100)).toBeNull();
    await settled(200);
    expect(told).toEqual(['loaded']);
  });

  test('is read for four at a time, however many want what is not in memory, and in the end for all [STO-14]', async () => {
    const bench = new Bench();
    bench.settings = { segmentBytes: 2_048, cacheBytes: 1_000 };
    const { store } = await bench.open();
    const [log] = store.logs;
    for (let i = 0; i < 60; i++) await stored(store, log, payloads(5, 5 * i + 1));
    newsOf(store);
    const { counts } = bench.files;
    const before = counts.reads;
    const wanted = new Set(Array.from({ length: 10 }, (_, i) => 20 * i + 1));
    for (const offset of wanted) expect(log.read(offset, offset + 1, 100)).toBeNull();
    await settled();
    expect(counts.reads - before).toBe(4);
    for (let rounds = 0; wanted.size > 0 && rounds < 100; rounds++) {
      for (const offset of wanted) {
        const found = log.read(offset, offset + 1, 100);
        if (found === null) continue;
        expect(found.map(payloadOf)).toEqual([`p${offset}`]);
        wanted.delete(offset);
      }
      await settled();
    }
    expect(wanted.size).toBe(0);
  });

  test('keeps a few of the stretches that were read last, and no more however much is read [STO-14]', async () => {
    const bench = new Bench();
    bench.settings = { segmentBytes: 1_024, cacheBytes: 100 };
    const { store } = await bench.open();
    const [log] = store.logs;
    for (let i = 0; i < 30; i++) await stored(store, log, payloads(50, 50 * i + 1));
    expect(store.metrics().logs[0].segments).toBeGreaterThanOrEqual(30);
    expect((await allOf(log)).length).toBe(1_500);
    await settled();
    const { counts } = bench.files;
    const before = counts.reads;
    for (let i = 20; i < 30; i++) {
      const offset = 50 * i + 1;
      expect(log.read(offset, offset + 1, 100)?.map(payloadOf)).toEqual([`p${offset}`]);
    }
    expect(counts.reads).toBe(before);
    expect(log.read(1, 2, 100)).toBeNull(); // it is read again
    await settled();
    expect(log.read(1, 2, 100)?.map(payloadOf)).toEqual(['p1']);
  });

  test('is found by time, in memory and on the disk', async () => {
    const bench = new Bench();
    bench.settings = { segmentBytes: 2_048, cacheBytes: 500 };
    const { store } = await bench.open();
    const [log] = store.logs;
    for (let i = 1; i <= 100; i++) {
      await bench.clock.pass(10);
      await stored(store, log, [recordOf({ publishedAt: bench.clock.wallMs(), payload: 'x'.repeat(50) })]);
    }
    const start = bench.clock.wallMs() - 1_000;
    const find = async (time: number): Promise<number> => {
      for (let i = 0; i < 100; i++) {
        const found = log.firstAt(time);
        if (found !== null) return found;
        await settled(100);
      }
      throw new Error('it is never found');
    };
    expect([
      await find(0),
      await find(start + 15),
      await find(start + 500),
      await find(start + 995),
      await find(start + 2_000),
    ]).toEqual([1, 2, 50, 100, 101]);
  });

  test('reaches the oldest reader through holes that a repair has left, which are told [STO-13]', async () => {
    const bench = new Bench();
    bench.settings = { cacheBytes: 10, segmentBytes: 600, verifyBytes: 0 };
    const { store } = await bench.open();
    for (let i = 0; i < 20; i++) await stored(store, store.logs[0], payloads(2, 2 * i + 1));
    await store.close();
    const path = bench.files.paths().find((each) => each.endsWith('log-1/0000000000000001.seg')) as string;
    const content = bench.files.contentOf(path).slice();
    content[content.indexOf(0x70, 200)] ^= 1;
    bench.files.overwrite(path, content);
    const { store: again } = await bench.open();
    const findings: string[] = [];
    again.listener = {
      onNews: () => {},
      onFinding: ({ message }) => findings.push(message),
      onFailure: () => {},
    };
    const offsets = (await allOf(again.logs[0])).map(({ offset }) => offset);
    expect(offsets).toHaveLength(39);
    expect(findings).toEqual([expect.stringContaining('cannot be read any more')]);
    expect(again.metrics().recordsDamaged).toBe(1);
  });
});

describe('bounds [STO-24]', () => {
  const logOf = async (options: object) => {
    const bench = new Bench();
    bench.logs = [{ name: 'default', ...options }];
    bench.settings = { segmentBytes: 2_000 };
    const { store } = await bench.open();
    return { bench, store, log: store.logs[0], told: newsOf(store) };
  };

  test('by count are exact, and segments of which nothing is kept are removed [STO-16]', async () => {
    const { bench, store, log, told } = await logOf({ maxMessages: 10 });
    for (let i = 0; i < 100; i++) await stored(store, log, payloads(1, i + 1));
    expect([log.earliest, log.head]).toEqual([91, 101]);
    expect(told.at(-1)).toBe('stored 101');
    expect(told).toContain('trimmed 91');
    await settled(500);
    expect(
      bench.files.paths().filter((path) => path.includes('log-1') && path.endsWith('.seg')).length,
    ).toBeLessThan(4);
    await store.close();
    const again = await bench.open();
    expect([again.store.logs[0].earliest, again.store.logs[0].head]).toEqual([91, 101]);
  });

  test('by bytes hold to within an entry of the index', async () => {
    const { store, log } = await logOf({ maxBytes: 10_000 });
    for (let i = 0; i < 100; i++) await stored(store, log, [recordOf({ payload: 'x'.repeat(300) })]);
    expect(store.metrics().logs[0].bytes).toBeLessThan(14_000);
    expect(log.head - log.earliest).toBeGreaterThan(15);
  });

  test('by age free the disk of a log to which nothing comes any more; the offset never goes back', async () => {
    const { bench, store, log } = await logOf({ maxAgeMs: 5_000 });
    for (let i = 0; i < 20; i++)
      await stored(store, log, [recordOf({ payload: 'x'.repeat(100), publishedAt: bench.clock.wallMs() })]);
    await bench.clock.pass(8_000);
    await settled(500);
    expect([log.earliest, log.head]).toEqual([21, 21]);
    await store.close();
    const again = await bench.open();
    expect([again.store.logs[0].head, again.store.logs[0].append(recordOf())]).toEqual([21, 21]);
  });

  test('with discard new are told to the publisher, who can go on when the old have gone', async () => {
    const { bench, store, log } = await logOf({ maxMessages: 3, discard: 'new', maxAgeMs: 2_000 });
    await stored(store, log, payloads(3));
    expect(log.append(recordOf({ publishedAt: bench.clock.wallMs() }))).toBe(AppendFault.FULL);
    await bench.clock.pass(4_000);
    expect(log.append(recordOf({ publishedAt: bench.clock.wallMs() }))).toBe(4);
  });
});

describe('a disk', () => {
  test('that is full makes a log refuse, which comes back when there is room; nothing stored is touched [STO-18]', async () => {
    const bench = new Bench();
    const { store } = await bench.open();
    const told = newsOf(store);
    const [log] = store.logs;
    await stored(store, log, payloads(3));
    bench.files.faults.room = bench.files.usedBytes + 100;
    expect(log.append(recordOf({ payload: 'x'.repeat(5_000), session: 4, sequence: 1, id: 9 }))).toBe(4);
    expect(store.lastIds(4)).toEqual([0, 9, 0, 0]);
    await settled(200);
    expect(told.at(-1)).toBe('full default');
    expect([log.head, log.synced, store.lastIds(4)]).toEqual([4, 4, [0, 0, 0, 0]]);
    expect(log.append(recordOf())).toBe(AppendFault.FULL);
    await bench.clock.pass(3_000);
    expect(log.append(recordOf())).toBe(AppendFault.FULL);
    expect(store.metrics().logs[0].life).toBe('full');
    bench.files.faults.room = Number.POSITIVE_INFINITY;
    await bench.clock.pass(1_100);
    await settled(200);
    expect(await stored(store, log, payloads(2, 4))).toEqual([4, 5]);
    expect((await allOf(log)).map(payloadOf)).toEqual(['p1', 'p2', 'p3', 'p4', 'p5']);
  });

  test('whose sync fails is never asked again: the log refuses from then on, others go on, and what was stored stays [STO-19]', async () => {
    const bench = new Bench();
    bench.logs = [{ name: 'default' }, { name: 'a', filters: ['a/#'] }];
    const { store } = await bench.open();
    const told = newsOf(store);
    const [log, other] = store.logs;
    await stored(store, log, payloads(2));
    bench.files.faults.failingSyncs = 1;
    log.append(recordOf({ payload: 'lost' }));
    await settled(100);
    bench.files.faults.failingSyncs = 0;
    expect(told.at(-1)).toBe('failed default');
    const { syncs } = bench.files.counts;
    expect([log.append(recordOf()), log.head, log.synced]).toEqual([AppendFault.FAILED, 3, 3]);
    await bench.clock.pass(10_000);
    expect(bench.files.counts.syncs - syncs).toBeLessThan(2); // that of the state at most
    expect(await stored(store, other, payloads(1))).toEqual([1]);
    expect((await allOf(log)).map(payloadOf)).toEqual(['p1', 'p2']);
    bench.files = bench.files.afterPowerCut();
    expect((await allOf((await bench.open()).store.logs[0])).map(payloadOf).slice(0, 2)).toEqual([
      'p1',
      'p2',
    ]);
  });

  test('that cannot be read any more takes nothing of what was being written: it stays refused, until the next start [STO-19]', async () => {
    const bench = new Bench();
    bench.settings = { cacheBytes: 100 };
    const { store } = await bench.open();
    const [log] = store.logs;
    await stored(store, log, payloads(20));
    const told = newsOf(store);
    bench.files.faults.failingReads = 1;
    expect(log.read(1, log.synced, 10_000)).toBe(null);
    for (let turns = 0; turns < 100 && !told.includes('failed default'); turns++) {
      if (turns === 2) log.append(recordOf({ payload: 'refused' }));
      await settled(1);
    }
    await store.idle();
    expect(told).toContain('failed default');
    expect([log.head, log.synced]).toEqual([21, 21]);
    expect(told).not.toContain('stored 22');
    expect(log.read(20, log.synced, 10_000)?.map(payloadOf)).toEqual(['p20']);
    bench.files.operationsLeft = 0;
    bench.files = bench.files.afterKill();
    const next = await bench.open();
    expect((await allOf(next.store.logs[0])).slice(0, 20)).toHaveLength(20);
  });
});

describe('a log that does not wait for the disk [STO-23]', () => {
  const lived = async (boot: string) => {
    const bench = new Bench();
    bench.logs = [{ name: 'default', sync: 'interval' }];
    const { store } = await bench.open();
    const [log] = store.logs;
    const { syncs } = bench.files.counts;
    await stored(store, log, payloads(5));
    expect([log.synced, bench.files.counts.syncs]).toEqual([6, syncs]);
    await bench.clock.pass(1_500);
    await settled(50);
    expect(bench.files.counts.syncs).toBe(syncs + 1);
    const { epoch } = log;
    bench.files.operationsLeft = 0;
    bench.files = bench.files.afterKill();
    bench.settings = { boot };
    const again = await bench.open();
    return {
      isSame: again.store.logs[0].epoch === epoch,
      report: again.report,
      head: again.store.logs[0].head,
    };
  };

  test('keeps everything when the process is killed', async () => {
    expect(await lived('one')).toMatchObject({ isSame: true, head: 6 });
  });

  test('forgets the ids of what the disk has lost, at that start and at those after it [STO-21]', async () => {
    for (let seed = 1; seed <= 30; seed++) {
      const bench = new Bench(seed);
      bench.logs = [{ name: 'default', sync: 'interval' }];
      bench.settings = { boot: 'one', checkpointBytes: 100 };
      const publish = (store: DiskStore, from: number) => {
        const ids = Array.from({ length: 6 - from + 1 }, (_, i) => from + i);
        return stored(
          store,
          store.logs[0],
          ids.map((id) => recordOf({ session: 7, id, payload: `${id}` })),
        );
      };
      const first = (await bench.open()).store;
      await publish(first, 1);
      await bench.clock.pass(50); // the state is written and synced, the log is not
      await settled(20);
      bench.files.operationsLeft = 0;
      bench.files = bench.files.afterPowerCut();
      bench.settings = { ...bench.settings, boot: 'two' };
      const second = (await bench.open()).store;
      const kept = second.logs[0].head - 1;
      expect(second.lastIds(7)[0], `seed ${seed}`).toBe(kept);
      await publish(second, kept + 1);
      bench.files.operationsLeft = 0;
      bench.files = bench.files.afterKill();
      const third = (await bench.open()).store;
      expect(third.lastIds(7)[0], `seed ${seed}`).toBe(6);
      expect((await allOf(third.logs[0])).map(payloadOf)).toEqual(['1', '2', '3', '4', '5', '6']);
    }
  });

  test('has another epoch when the machine has started anew, or does not say', async () => {
    for (const boot of ['two', '']) {
      const { isSame, report } = await lived(boot);
      expect([isSame, report.logs[0].epochIsNew]).toEqual([false, true]);
    }
  });
});

describe('the state', () => {
  test('is written 10 ms after the last time, though a mark of that is due later [STO-22]', async () => {
    const bench = new Bench();
    const { store } = await bench.open();
    store.state.put('k', new Uint8Array([1]));
    await settled();
    expect(store.state.synced).toBe(store.state.written);
    await bench.clock.pass(5);
    store.state.put('k', new Uint8Array([2]));
    await settled();
    expect(store.state.synced).toBeLessThan(store.state.written); // small changes do not keep the disk from the logs
    await bench.clock.pass(5);
    await settled();
    expect(store.state.synced).toBe(store.state.written);
    await bench.clock.pass(20);
    store.state.put('k', new Uint8Array([3]));
    await settled();
    expect(store.state.synced).toBe(store.state.written);
  });

  test('is merged when half of it is dead, and a crash in between costs nothing [STO-22]', async () => {
    for (let operations = 1; operations < 60; operations += 3) {
      const bench = new Bench(operations);
      const { store } = await bench.open();
      for (let i = 0; i < 12; i++) {
        store.state.put(`key/${i % 2}`, new Uint8Array(100_000).fill(i));
        await store.idle();
        await bench.clock.pass(15);
      }
      if (operations === 1) expect(store.metrics().stateBytes).toBeLessThan(800_000);
      bench.files.faults.shortWrites = 1;
      bench.files.operationsLeft = operations;
      for (let i = 12; i < 24; i++) {
        store.state.put(`key/${i % 2}`, new Uint8Array(100_000).fill(i));
        await bench.clock.pass(15);
      }
      bench.files.operationsLeft = 0;
      bench.files = bench.files.afterPowerCut();
      const { state } = (await bench.open()).store;
      const values = [0, 1].map((key) => state.get(`key/${key}`)?.[50] as number);
      expect(Math.min(...values)).toBeGreaterThanOrEqual(10);
      expect(bench.files.paths().filter((path) => path.includes('/state/')).length).toBe(1);
    }
  });

  test('says how far the logs were: a log that lacks its end is not taken for one that never had it [STO-11]', async () => {
    const bench = new Bench();
    const { store } = await bench.open();
    await stored(store, store.logs[0], payloads(3));
    store.state.put('cursor', new Uint8Array([3]));
    await store.idle();
    bench.files.operationsLeft = 0;
    bench.files = bench.files.afterKill();
    const path = bench.files.paths().find((each) => each.includes('log-1')) as string;
    bench.files.overwrite(path, bench.files.contentOf(path).slice(0, 128)); // as if nothing had come
    await expect(bench.open()).rejects.toThrow(/the end is missing, with records 1 to 3 of log default/);
    const { store: again, report } = await bench.open({ onCorruption: 'quarantine' });
    expect([again.logs[0].head, report.logs[0].epochIsNew]).toEqual([4, true]);
  });
});

describe('ids of publishers', () => {
  const ids = (log: LogPort, id: number) =>
    log.append(recordOf({ session: 7, sequence: 2, id, payload: `${log.name} ${id}` }));

  test('are known after a crash, from the last checkpoint and what came since [STO-21]', async () => {
    const bench = new Bench();
    bench.settings = { checkpointBytes: 400 };
    const { store } = await bench.open();
    for (let id = 1; id <= 40; id++) {
      ids(store.logs[0], id);
      await store.idle();
    }
    store.logs[0].append(recordOf({ session: 8, id: 4_000_000_000 }));
    store.forgetSession(8);
    await store.idle();
    bench.files.operationsLeft = 0;
    bench.files = bench.files.afterKill();
    const { store: again } = await bench.open();
    expect([again.lastIds(7), again.lastIds(8), again.lastIds(9)]).toEqual([
      [0, 0, 40, 0],
      [0, 0, 0, 0],
      [0, 0, 0, 0],
    ]);
    expect([ids(again.logs[0], 40), ids(again.logs[0], 39), ids(again.logs[0], 41)]).toEqual([
      AppendFault.DUPLICATE,
      AppendFault.DUPLICATE,
      42,
    ]);
  });

  test('of which one log has lost some are told up to there, and those that another log has are duplicates in it [STO-20]', async () => {
    const bench = new Bench();
    bench.logs = [{ name: 'default' }, { name: 'a', filters: ['a/#'] }];
    const { store } = await bench.open();
    const [log, other] = store.logs;
    ids(log, 1);
    await store.idle();
    bench.files.faults.failingSyncs = 0;
    ids(log, 2);
    ids(other, 3);
    ids(log, 4);
    await store.idle();
    bench.files.operationsLeft = 0;
    bench.files = bench.files.afterKill();
    const path = bench.files.paths().find((each) => each.includes('log-1')) as string;
    const content = bench.files.contentOf(path);
    const second = content.indexOf(0x4a, 140); // the batch behind the first
    bench.files.overwrite(path, content.slice(0, second));
    const { store: again } = await bench.open();
    expect(again.lastIds(7)).toEqual([0, 0, 1, 0]);
    expect([ids(again.logs[0], 2), ids(again.logs[1], 3), ids(again.logs[0], 4)]).toEqual([
      2,
      AppendFault.DUPLICATE,
      3,
    ]);
    expect(again.lastIds(7)).toEqual([0, 0, 4, 0]);
  });

  test('that were refused are known as such after a crash, whatever came behind them, in whichever log [STO-20]', async () => {
    for (const checkpointBytes of [100, 1_000_000]) {
      const bench = new Bench();
      bench.settings = { checkpointBytes };
      bench.logs = [{ name: 'default' }, { name: 'a', filters: ['a/#'] }];
      const { store } = await bench.open();
      const [log, other] = store.logs;
      ids(log, 1);
      ids(log, 4);
      ids(other, 6);
      ids(other, 7);
      ids(log, 5);
      await store.idle();
      bench.files.operationsLeft = 0;
      bench.files = bench.files.afterKill();
      const { store: again } = await bench.open();
      expect(again.lastIds(7)).toEqual([0, 0, 7, 0]);
      const missing = [1, 2, 3, 4, 5, 6, 7, 8].filter((id) => again.isMissing(7, 2, id));
      expect(missing, `checkpoint each ${checkpointBytes} B`).toEqual([2, 3]);
      expect(again.isMissing(7, 1, 2)).toBe(false);
    }
  });

  test('of a log that was full are known as refused [STO-20]', async () => {
    const bench = new Bench();
    bench.logs = [{ name: 'default' }, { name: 'a', filters: ['a/#'] }];
    const { store } = await bench.open();
    const [log, other] = store.logs;
    ids(log, 1);
    await store.idle();
    bench.files.faults.room = bench.files.usedBytes;
    ids(log, 2);
    await store.idle();
    bench.files.faults.room = Number.POSITIVE_INFINITY;
    ids(other, 3);
    await store.idle();
    bench.files.operationsLeft = 0;
    bench.files = bench.files.afterKill();
    const { store: again } = await bench.open();
    expect([1, 2, 3].map((id) => again.isMissing(7, 2, id))).toEqual([false, true, false]);
  });

  test('are in the next checkpoint when a log has failed under one [STO-21]', async () => {
    const bench = new Bench();
    bench.settings = { checkpointBytes: 100 };
    bench.logs = [{ name: 'default' }, { name: 'a', filters: ['a/#'] }];
    const { store } = await bench.open();
    const [log, other] = store.logs;
    bench.files.faults.room = bench.files.usedBytes + 1_000;
    other.append(recordOf({ payload: 'stored, which begins a checkpoint' }));
    await settled(1);
    ids(log, 5);
    other.append(recordOf({ session: 8, id: 1, payload: 'x'.repeat(2_000) }));
    await store.idle();
    expect(store.metrics().logs.map(({ life }) => life)).toEqual(['open', 'full']);
    bench.files.faults.room = Number.POSITIVE_INFINITY;
    await bench.clock.pass(2_000);
    await settled(200);
    expect(other.append(recordOf({ session: 8, id: 2, payload: 'x'.repeat(2_000) }))).toBe(2);
    await store.idle();
    bench.files.operationsLeft = 0;
    bench.files = bench.files.afterKill();
    const { store: again } = await bench.open();
    expect([again.lastIds(7), again.lastIds(8)]).toEqual([
      [0, 0, 5, 0],
      [2, 0, 0, 0],
    ]);
  });
});

test('a store on a real disk is had by one at a time, and goes to the next when it is closed [STO-1]', async () => {
  const directory = join(emptyFolder(), 'store');
  const first = await openStore({ directory });
  await expect(openStore({ directory })).rejects.toMatchObject({ code: 'ERR_JSP_STORE_IN_USE' });
  await stored(first.store, first.store.logs[0], payloads(3));
  await first.store.close();
  first.unlock();
  const second = await openStore({ directory });
  expect(second.report).toMatchObject({ wasClosed: true, findings: [] });
  const [log] = second.store.logs;
  while (log.read(1, 4, 1e6) === null) await new Promise((resolve) => setImmediate(resolve));
  expect(log.read(1, 4, 1e6)?.map(payloadOf)).toEqual(['p1', 'p2', 'p3']);
  await second.store.close();
  second.unlock();
});

test('logs that nobody configures any more are kept, and told', async () => {
  const bench = new Bench();
  bench.logs = [{ name: 'default' }, { name: 'old', filters: ['x'] }];
  const { store } = await bench.open();
  await stored(store, store.logs[1], payloads(2));
  await store.close();
  bench.logs = [];
  const without = await bench.open();
  expect([without.report.unused, without.store.logs.length]).toEqual([['old'], 1]);
  await without.store.close();
  bench.logs = [{ name: 'old', filters: ['x'] }];
  expect((await allOf((await bench.open()).store.logs[1])).map(payloadOf)).toEqual(['p1', 'p2']);
  expect(bench.files.paths().some((path) => path.startsWith(DIRECTORY))).toBe(true);
});

test('a log goes on where the first of several batches that were never synced is torn, as if those behind it had never been [STO-10]', async () => {
  const bench = new Bench();
  bench.logs = [{ name: 'default', sync: 'interval' }];
  const { store } = await bench.open();
  for (const payload of ['p1', 'p2', 'p3', 'p4']) await stored(store, store.logs[0], [recordOf({ payload })]);
  bench.files.operationsLeft = 0;
  bench.files = bench.files.afterKill();
  const path = bench.files.paths().find((each) => /log-.*seg$/.test(each)) as string;
  const bytes = Buffer.from(bench.files.contentOf(path));
  bytes[bytes.indexOf('p2')] ^= 1;
  bench.files.overwrite(path, bytes);
  const again = (await bench.open()).store;
  expect(await stored(again, again.logs[0], [recordOf({ payload: 'new' })])).toEqual([2]);
  await again.close();
  const { logs } = (await bench.open()).store;
  expect((await allOf(logs[0])).map(payloadOf)).toEqual(['p1', 'new']);
});

describe('a log that nobody configures any more', () => {
  const both = [{ name: 'default' }, { name: 'old', filters: ['x'] }];

  test('lacks nothing that was stored without being told, whatever was started meanwhile [STO-11]', async () => {
    const bench = new Bench();
    bench.logs = both;
    const { store } = await bench.open();
    await stored(store, store.logs[1], payloads(3));
    bench.files.operationsLeft = 0;
    bench.files = bench.files.afterKill();
    bench.logs = [];
    const without = await bench.open();
    await stored(without.store, without.store.logs[0], payloads(3));
    without.store.state.put('k', new Uint8Array(1));
    await without.store.idle();
    bench.files.operationsLeft = 0;
    bench.files = bench.files.afterKill();
    const path = bench.files.paths().find((each) => each.includes('log-2')) as string;
    bench.files.overwrite(path, bench.files.contentOf(path).slice(0, 140)); // its first batch is cut short
    bench.logs = both;
    await expect(bench.open()).rejects.toThrow(/it concerns records 1 to 3 of log old/);
  });

  test('gets another epoch when the disk may not have had all of it, however late it is asked for again [STO-23]', async () => {
    const bench = new Bench();
    bench.logs = [{ name: 'old', filters: ['x'], sync: 'interval' }];
    const { store } = await bench.open();
    await stored(store, store.logs[1], payloads(3));
    bench.files.operationsLeft = 0;
    bench.files = bench.files.afterKill();
    bench.settings = { boot: 'two' };
    const { logs } = bench;
    bench.logs = [];
    await (await bench.open()).store.close();
    bench.logs = logs;
    const again = (await bench.open()).store;
    expect(again.logs[1].epoch).not.toBe(store.logs[1].epoch);
  });

  test('is not read from its beginning at each start: what a checkpoint says of it stays [STO-21]', async () => {
    const bench = new Bench();
    bench.logs = [{ name: 'old', filters: ['x'] }];
    bench.settings = { segmentBytes: 1_000, verifyBytes: 0 };
    const { store } = await bench.open();
    for (let i = 0; i < 20; i++) await stored(store, store.logs[1], payloads(5));
    await store.close();
    bench.logs = [];
    const without = await bench.open();
    await stored(without.store, without.store.logs[0], payloads(1));
    await without.store.close();
    const { report } = await bench.open();
    expect(report.bytes).toBeGreaterThan(3_000);
    expect(report.bytesVerified).toBeLessThan(report.bytes / 2);
  });
});

test('a segment in the place of another one is not taken for it [STO-3]', async () => {
  for (const verifyBytes of [0, 1_000_000]) {
    const bench = new Bench();
    bench.logs = [{ name: 'b', filters: ['b'] }];
    bench.settings = { verifyBytes };
    const { store } = await bench.open();
    for (const log of store.logs) await stored(store, log, [recordOf({ payload: log.name })]);
    await store.close();
    const [one, two] = bench.files.paths().filter((path) => /log-.*seg$/.test(path));
    const contents = [one, two].map((path) => bench.files.contentOf(path).slice());
    bench.files.overwrite(one, contents[1]);
    bench.files.overwrite(two, contents[0]);
    await expect(bench.open()).rejects.toThrow(
      /another file is in its place: the segment of log b that was log-2/,
    );
    const { store: again, report } = await bench.open({ onCorruption: 'quarantine' });
    expect(report.logs.map(({ epochIsNew }) => epochIsNew)).toEqual([true, true]);
    for (const log of again.logs) {
      expect(log.head).toBe(2);
      expect(await allOf(log)).toEqual([]);
    }
  }
});

test('a manifest that is torn is made anew before the one that counts is touched [STO-2]', async () => {
  for (const torn of ['manifest.0', 'manifest.1']) {
    const bench = new Bench();
    await (await bench.open()).store.close();
    const path = join(DIRECTORY, torn);
    bench.files.overwrite(path, bench.files.contentOf(path).slice(0, 20));
    const written: string[] = [];
    const files: FileSystem = bench.files;
    const open = files.open.bind(files);
    files.open = (file, access) => {
      if (access === 'write' && file.includes('manifest')) written.push(file);
      return open(file, access);
    };
    await bench.open();
    expect(written[0]).toBe(path);
    expect(written.length).toBe(2);
  }
});

test('a store of another version is refused as that, and not repaired', async () => {
  const bench = new Bench();
  const { store } = await bench.open();
  await stored(store, store.logs[0], payloads(3));
  await store.close();
  for (const name of ['manifest.0', 'manifest.1']) {
    const path = join(DIRECTORY, name);
    const manifest = decodeManifest(bench.files.contentOf(path)) as Manifest;
    bench.files.overwrite(path, encodeManifest({ ...manifest, version: 2 }));
  }
  const before = bench.files.paths().map((path) => [path, bench.files.contentOf(path)]);
  for (const onCorruption of ['refuse', 'quarantine'] as const)
    await expect(bench.open({ onCorruption })).rejects.toMatchObject({ code: 'ERR_JSP_STORE_VERSION' });
  expect(bench.files.paths().map((path) => [path, bench.files.contentOf(path)])).toEqual(before);
});
