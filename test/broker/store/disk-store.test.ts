import { describe, expect, test } from 'vitest';
import { AppendFault } from '../../../src/broker/core/store-port.ts';
import { allOf, Bench, payloadOf, recordOf, stored } from './stores.ts';

const payloads = (count: number, from = 1) =>
  Array.from({ length: count }, (_, i) => recordOf({ payload: `p${from + i}` }));

test('what was stored is there after a restart, with its offsets, epoch, and the low half of its offset as id', async () => {
  const bench = new Bench();
  const first = await bench.open();
  expect(first.report).toMatchObject({ isNew: true, findings: [], recordsDropped: 0 });
  const [log] = first.store.logs;
  expect(await stored(first.store, log, payloads(5))).toEqual([1, 2, 3, 4, 5]);
  expect([log.earliest, log.head, log.synced]).toEqual([1, 6, 6]);
  first.store.state.put('k', new Uint8Array([7]));
  await first.store.close();

  const second = await bench.open();
  expect(second.report).toMatchObject({ isNew: false, wasClosed: true, findings: [] });
  const [again] = second.store.logs;
  expect(again.epoch).toBe(log.epoch);
  expect([again.earliest, again.head, again.synced]).toEqual([1, 6, 6]);
  const records = await allOf(again);
  expect(records.map(payloadOf)).toEqual(['p1', 'p2', 'p3', 'p4', 'p5']);
  expect(records.map(({ offset, command }) => [offset, command[7]])).toEqual([
    [1, 1],
    [2, 2],
    [3, 3],
    [4, 4],
    [5, 5],
  ]);
  expect(second.store.state.get('k')).toEqual(new Uint8Array([7]));
  expect(again.append(recordOf({ payload: 'p6' }))).toBe(6);
  await second.store.close();
});

test('a log goes over many segments, and is read over all of them', async () => {
  const bench = new Bench();
  bench.settings = { segmentBytes: 2_048, cacheBytes: 1_000 };
  const { store } = await bench.open();
  const [log] = store.logs;
  for (let i = 0; i < 60; i++) await stored(store, log, payloads(5, 5 * i + 1));
  expect(store.metrics().logs[0].segments).toBeGreaterThan(5);
  const before = await allOf(log);
  expect(before.map(payloadOf)).toEqual(Array.from({ length: 300 }, (_, i) => `p${i + 1}`));
  await store.close();
  const again = await bench.open();
  expect((await allOf(again.store.logs[0])).map(payloadOf)).toEqual(before.map(payloadOf));
});

describe('the system was given records and the disk was not', () => {
  test('nobody is told that they are stored until the disk has them', async () => {
    const bench = new Bench();
    const { store } = await bench.open();
    const [log] = store.logs;
    bench.files.operationsLeft = 1; // the write, not the sync
    log.append(recordOf({ payload: 'x' }));
    for (let i = 0; i < 100; i++) await null;
    expect([log.head, log.synced, log.read(1, 2, 100)]).toEqual([2, 1, []]);
    void AppendFault;
  });
});
