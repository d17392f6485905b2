import { describe, expect, test } from 'vitest';
import { BrokerCore } from '../../../../src/broker/core/broker-core.ts';
import { MemoryStore } from '../../../../src/broker/core/store/memory-store.ts';
import {
  AppendFault,
  type LogOptions,
  type LogRecord,
  type StoreEvents,
} from '../../../../src/broker/core/store-port.ts';

function recordOf(id: number, publishedAt = 0, bytes = 8): LogRecord {
  const command = new Uint8Array(8 + bytes);
  command[0] = 1;
  return { command, topicEnd: 8, session: 7, sequence: 1, id, expiresAt: 0, publishedAt };
}

function logOf(options: Partial<LogOptions> = {}) {
  const store = new MemoryStore([{ name: 'default', ...options }]);
  return { store, log: store.logs[0] };
}

/** What a store has to tell, in words. */
function newsOf(store: MemoryStore): string[] {
  const told: string[] = [];
  const events: StoreEvents = {
    stored: (log) => told.push(`stored ${log.synced}`),
    placed: () => {},
    stateStored: () => told.push('state'),
    loaded: () => told.push('loaded'),
    trimmed: (log) => told.push(`trimmed ${log.earliest}`),
    storeFailed: () => told.push('failed'),
  };
  while (store.hasNews) store.tell(events);
  return told;
}

describe('a log in memory', () => {
  test('gives offsets from 1 on, writes their low half into the id, and has everything stored at once', () => {
    const { store, log } = logOf();
    const records = [recordOf(1), recordOf(2)];
    expect(records.map((record) => log.append(record))).toEqual([1, 2]);
    expect([...records[1].command.subarray(4, 8)]).toEqual([0, 0, 0, 2]);
    expect([log.earliest, log.head, log.synced, log.isDurable]).toEqual([1, 3, 3, false]);
    expect(newsOf(store)).toEqual(['stored 3']);
    expect(newsOf(store)).toEqual([]);
  });

  test('is read from anywhere, by bytes, and never answers nothing where there is something', () => {
    const { log } = logOf();
    for (let i = 1; i <= 10; i++) log.append(recordOf(i, 100 * i));
    const offsets = (from: number, until: number, bytes: number) =>
      log.read(from, until, bytes)?.map(({ offset }) => offset);
    expect(offsets(3, 6, 1_000)).toEqual([3, 4, 5]);
    expect(offsets(3, 11, 32)).toEqual([3, 4]);
    expect(offsets(3, 11, 1)).toEqual([3]);
    expect(offsets(11, 20, 1)).toEqual([]);
    expect([0, 100, 101, 1_000, 1_001].map((time) => log.firstAt(time))).toEqual([1, 1, 2, 10, 11]);
  });

  test('drops the old by count, bytes and age, and says so', () => {
    const byCount = logOf({ maxMessages: 3 });
    for (let i = 1; i <= 5; i++) byCount.log.append(recordOf(i));
    expect([byCount.log.earliest, byCount.log.head]).toEqual([3, 6]);
    expect(newsOf(byCount.store)).toEqual(['trimmed 3', 'stored 6']);

    const byBytes = logOf({ maxBytes: 1_400 });
    for (let i = 1; i <= 20; i++) byBytes.log.append(recordOf(i, 0, 32));
    expect(byBytes.log.head - byBytes.log.earliest).toBe(5); // 280 bytes each are charged
    expect(byBytes.log.append(recordOf(21, 0, 2_000))).toBe(AppendFault.FULL);

    const byAge = logOf({ maxAgeMs: 50 });
    for (let i = 1; i <= 5; i++) byAge.log.append(recordOf(i, i * 20));
    expect(byAge.log.earliest).toBe(3);
    byAge.store.trim(1_000);
    expect([byAge.log.earliest, byAge.log.head]).toEqual([6, 6]);
  });

  test('refuses the new where it is told to, and takes them again when the old have gone', () => {
    const { store, log } = logOf({ maxMessages: 2, discard: 'new', maxAgeMs: 100 });
    expect([1, 2, 3].map((id) => log.append(recordOf(id)))).toEqual([1, 2, AppendFault.FULL]);
    store.trim(101);
    expect(log.append(recordOf(4, 101))).toBe(3);
    expect([log.earliest, log.head]).toEqual([3, 4]);
  });

  test('does not grow with what it has dropped', () => {
    const { log } = logOf({ maxMessages: 10 });
    for (let i = 1; i <= 10_000; i++) log.append(recordOf(i));
    const { records } = log as unknown as { records: unknown[] };
    expect(records.length).toBeLessThan(3_000);
    expect(log.read(log.earliest, log.head, 1e9)?.map(({ id }) => id)).toEqual(
      Array.from({ length: 10 }, (_, i) => 9_991 + i),
    );
  });
});

test('a store has the log default first, and the others as they were configured', () => {
  const options = [{ name: 'a', filters: ['a/#'] }, { name: 'default', maxMessages: 1 }, { name: 'b' }];
  const store = new MemoryStore(options, 9);
  expect(store.logs.map(({ name, epoch }) => [name, epoch])).toEqual([
    ['default', 9],
    ['a', 9],
    ['b', 9],
  ]);
  expect(store.logs[1].filters).toEqual(['a/#']);
});

test('a store knows the last id of each sequence of a session, until the session is forgotten', () => {
  const { store, log } = logOf();
  log.append(recordOf(5));
  log.append({ ...recordOf(9), sequence: 3 });
  log.append({ ...recordOf(1), session: 0 });
  expect(store.lastIds(7)).toEqual([0, 5, 0, 9]);
  expect(store.lastIds(0)).toEqual([0, 0, 0, 0]);
  store.forgetSession(7);
  expect(store.lastIds(7)).toEqual([0, 0, 0, 0]);
});

test('state in memory is what was put and not deleted', () => {
  const { store } = logOf();
  const { state } = store;
  state.put('a/1', new Uint8Array([1]));
  state.put('a/2', new Uint8Array([2]));
  state.put('b/1', new Uint8Array([3]));
  state.delete('a/1');
  state.delete('a/1');
  expect([...state.entries('a/')]).toEqual([['a/2', new Uint8Array([2])]]);
  expect([state.get('b/1'), state.get('a/1')]).toEqual([new Uint8Array([3]), undefined]);
  expect([state.written, state.synced]).toEqual([4, 4]);
  expect(newsOf(store)).toEqual(['state']);
});

test('the core hears what its store has to tell when it polls', () => {
  const { store, log } = logOf();
  const core = new BrokerCore({}, undefined, store);
  const heard: string[] = [];
  const { state } = core as unknown as { state: { storeListeners: Partial<StoreEvents>[] } };
  state.storeListeners.push({
    stored: (each) => {
      heard.push(`${each.name} ${each.synced}`);
      if (each.head < 3) each.append(recordOf(each.head)); // news of the next time
    },
  });
  log.append(recordOf(1));
  expect(core.poll()).toBeNull();
  expect(heard).toEqual(['default 2', 'default 3']);
});
