import { afterEach, describe, expect, test } from 'vitest';
import type { BrokerState } from '../../../src/broker/core/state.ts';
import { HISTORY_FIGURES, type Snapshot } from '../../../src/broker/operations/snapshot.ts';
import { jsonOn, OperatedWorld } from './operated.ts';

const open: OperatedWorld[] = [];

function operated(): OperatedWorld {
  const world = new OperatedWorld();
  open.push(world);
  return world;
}

afterEach(() => {
  for (const { operations } of open.splice(0)) operations.close();
});

describe('what a broker tells on $sys [OPS-2]', () => {
  test('is a snapshot each second while somebody is subscribed, whose figures are those of metrics()', () => {
    const world = operated();
    const publisher = world.client().open();
    world.subscriber('t');
    publisher.publish('t', 'before');
    world.pass(2);
    const feed = world.subscriber('$sys/feed');
    for (let i = 0; i < 5; i++) publisher.publish('t', 'x');
    world.pass(3);
    const snapshots = jsonOn(feed, '$sys/feed') as Snapshot[];
    expect(snapshots).toHaveLength(3);
    const [first, second] = snapshots;
    expect(second.at - first.at).toBe(1_000);
    const { messagesIn, bytesIn, clients, subscriptions } = world.world.core.metrics();
    expect(first).toMatchObject({ in: { messages: messagesIn, bytes: bytesIn }, clients, subscriptions });
    expect(first).toMatchObject({ state: 'ready', http: null, logs: [{ name: 'default', durable: false }] });
    // Each snapshot is a message that goes out as well.
    expect(second.out.messages).toBe(first.out.messages + 1);
    feed.end();
    world.pass(2);
    expect(jsonOn(feed, '$sys/feed')).toHaveLength(3);
  });

  test('is each event, and nobody who is subscribed to # hears of either', () => {
    const world = operated();
    const events = world.subscriber('$sys/#');
    const all = world.subscriber('#');
    world.operations.note({ what: 'takeover', principal: 'anna', detail: 'of a session' });
    world.pass(1);
    expect(jsonOn(events, '$sys/events')).toMatchObject([
      { number: 1, what: 'takeover', principal: 'anna', door: '' },
    ]);
    expect(jsonOn(all, '$sys/events')).toEqual([]);
  });
});

describe('events [OPS-5]', () => {
  test('are numbered, and the last thousand are kept', () => {
    const world = operated();
    for (let second = 0; second < 12; second++) {
      for (let i = 0; i < 100; i++) world.operations.note({ what: 'denied', detail: `${second * 100 + i}` });
      world.pass(1);
    }
    const all = world.operations.events();
    expect(all).toHaveLength(1_000);
    expect(all[0]).toMatchObject({ number: 201, detail: '200' });
    expect(world.operations.events(1_198).map(({ number }) => number)).toEqual([1_199, 1_200]);
    expect(world.operations.events(0, 3).map(({ number }) => number)).toEqual([1_198, 1_199, 1_200]);
  });

  test('of a flood are 100 of a kind a second, and one that says how many there were beside', () => {
    const world = operated();
    for (let i = 0; i < 5_000; i++) world.operations.note({ what: 'denied', detail: 'x'.repeat(5_000) });
    world.pass(1);
    const all = world.operations.events();
    expect(all).toHaveLength(101);
    expect(all[100]).toMatchObject({ what: 'suppressed', detail: 'more events in one second: 4900 denied' });
    expect(all[0].detail).toHaveLength(512);
  });
});

describe('the past of a broker [OPS-4]', () => {
  test('is rates and levels, a set each second, for 15 minutes and no longer', async () => {
    const world = operated();
    const publisher = world.client().open();
    for (let second = 0; second < 1_000; second++) {
      if (second >= 990) for (let i = 0; i < 7; i++) publisher.publish('t', 'x');
      world.pass(1);
    }
    const history = await world.ask('history');
    expect(history.at).toHaveLength(900);
    expect(Object.keys(history.columns)).toEqual([...HISTORY_FIGURES]);
    for (const figure of HISTORY_FIGURES) expect(history.columns[figure]).toHaveLength(900);
    expect(history.columns.in.slice(-12)).toEqual([0, 0, ...Array(10).fill(7)]);
    expect(history.columns.clients.at(-1)).toBe(1);
    expect((await world.ask('history', { seconds: 5 })).at).toHaveLength(5);
  });

  test('has nulls where the process slept', async () => {
    const world = operated();
    world.pass(3);
    world.world.wallMs += 60_000;
    world.pass(2);
    const { at, columns } = await world.ask('history');
    expect(at.slice(1).map((time: number, i: number) => time - at[i])).toEqual([1_000, 1_000, 60_000, 1_000]);
    expect(columns.clients).toEqual([0, 0, null, 0, 0]);
  });
});

describe('requests of operators [OPS-1]', () => {
  test.each([
    ['nonsense', {}, 404, 'UNKNOWN_VERB'],
    ['constructor', {}, 404, 'UNKNOWN_VERB'],
    ['clients', '{', 400, 'BAD_REQUEST'],
    ['clients', '[1]', 400, 'BAD_REQUEST'],
    ['clients', 'null', 400, 'BAD_REQUEST'],
    ['clients', { limit: 1_001 }, 400, 'BAD_REQUEST'],
    ['clients', { serach: 'x' }, 400, 'BAD_REQUEST'],
    ['clients', { sort: '-__proto__' }, 400, 'BAD_REQUEST'],
    ['clients', ' '.repeat(70_000), 413, 'TOO_LARGE'],
    ['dead-letters', { log: 'nowhere' }, 404, 'NOT_FOUND'],
    ['dead-letters', { topic: 'a/#/b' }, 400, 'BAD_REQUEST'],
    ['redrive', { offsets: [-1] }, 400, 'BAD_REQUEST'],
    ['kick', {}, 400, 'BAD_REQUEST'],
    ['kick', { client: 99 }, 404, 'NOT_FOUND'],
    ['kick', { session: 'nobody' }, 404, 'NOT_FOUND'],
  ])('of %s with %j are refused with %i %s', async (verb, request, status, code) => {
    expect(await operated().ask(verb, request)).toMatchObject({
      status,
      code,
      detail: expect.stringMatching(/.{5,}/),
    });
  });

  test('to redrive name at most 1,000 offsets', async () => {
    const offsets = Array.from({ length: 1_001 }, (_, i) => i);
    expect(await operated().ask('redrive', { offsets })).toMatchObject({ status: 400, code: 'BAD_REQUEST' });
    expect(await operated().ask('redrive', { offsets: offsets.slice(1) })).not.toHaveProperty('code');
  });

  test('for clients are pages: sorted, searched, of the length asked for [OPS-3]', async () => {
    const world = operated();
    for (let i = 0; i < 30; i++) {
      const stream = world.client().open();
      for (let j = 0; j < i; j++) stream.publish('t', 'x');
    }
    world.pass(1);
    const page = await world.ask('clients', { sort: '-messagesIn', limit: 3, offset: 1 });
    expect(page).toMatchObject({ total: 30, matched: 30 });
    expect(page.items.map(({ messagesIn }: { messagesIn: number }) => messagesIn)).toEqual([28, 27, 26]);
    world.pass(10);
    await world.ask('clients');
    world.pass(2);
    expect((await world.ask('clients', { sort: 'rateIn' })).items.at(-1)).toMatchObject({ rateIn: 0 });
    expect(await world.ask('clients', { search: 'nobody' })).toMatchObject({
      total: 30,
      matched: 0,
      items: [],
    });
  });

  test('for durable subscriptions tell lag in messages and in time, and how it moves', async () => {
    const world = operated();
    const reader = world.world.subscriber().subscribe('a', { name: 'd', unackedMax: 2 });
    world.world.append('a=1', 'a=2', 'a=3', 'a=4');
    world.pass(5);
    reader.take();
    expect((await world.ask('durables')).items).toEqual([
      expect.objectContaining({
        name: 'd',
        subscribers: 1,
        lag: 4,
        unacked: 2,
        position: 3,
        lagMs: 5_000,
        lagChange: 0,
      }),
    ]);
    reader.ack(1, 2);
    world.pass(2);
    const [durable] = (await world.ask('durables', { sort: '-lag' })).items;
    expect(durable).toMatchObject({ lag: 2, unacked: 2, lagMs: 0, lagChange: -1 });
    reader.stream.end();
    world.world.append('a=5');
    world.pass(1);
    const [idle] = (await world.ask('durables')).items;
    expect(idle).toMatchObject({ subscribers: 0, lag: 3 }); // of which 2 had been handed out
  });

  test('to kick close that connection and no other, with the code KICKED, and are an event', async () => {
    const world = operated();
    const [victim, other] = [world.client(), world.client()];
    const { items } = await world.ask('clients');
    expect(await world.ask('kick', { client: items[0].id, reason: 'too loud' })).toEqual({ kicked: 1 });
    expect([victim.peer.closedWith, other.peer.closedWith]).toEqual([0x1c, null]);
    expect(await world.ask('kick', { client: items[0].id })).toMatchObject({ status: 404 });
  });

  test('for topics count from the first one on, and cease when nobody asks any more [OPS-7]', async () => {
    const world = operated();
    world.subscriber('hot');
    const publisher = world.client().open();
    const second = () => {
      for (let i = 0; i < 20; i++) publisher.publish('hot', 'x');
      publisher.publish('cold', 'x');
      world.pass(1);
    };
    second();
    expect((await world.ask('topics')).topics).toEqual([]);
    for (let i = 0; i < 5; i++) second();
    const { topics } = await world.ask('topics');
    expect(topics).toMatchObject([
      { topic: 'hot', subscribers: 1, rate: 20 },
      { topic: 'cold', subscribers: 0, rate: 1 },
    ]);
    world.pass(32);
    const { state } = world.world.core as unknown as { state: BrokerState };
    expect(state.topicSketch).toBe(null);
  });

  test('for dead letters find them and send them back, once each; a forged one only by name and with force [OPS-8]', async () => {
    const world = operated();
    const options = { name: 'd', deliveriesMax: 1, deadLetter: 'dead/a' };
    const reader = world.world.subscriber().subscribe('a', options);
    world.world.append('a=1', 'a=2');
    reader.nack(1, 0, 'no paper');
    reader.nack(2, 0, 'no paper');
    const origin = { epoch: 1, offset: 1, topic: 'secret', attempts: 1, reason: 'trust me' };
    const forged = world.world.appendWith('dead/a=!', { origin });
    const { items } = await world.ask('dead-letters', { topic: 'dead/#', origin: 'a' });
    expect(items).toMatchObject([
      { originTopic: 'a', originOffset: 2, attempts: 1, reason: 'no paper', certain: true, bytes: 1 },
      { originOffset: 1, preview: Buffer.from('1').toString('base64') },
    ]);
    const spy = world.world.subscriber().subscribe('#');
    expect(await world.ask('redrive', {})).toEqual({
      redriven: 2,
      failed: [{ offset: forged, reason: expect.stringContaining('force') }],
      next: null,
    });
    expect(spy.messages().map((line) => line.replace(/^\d+ /, ''))).toEqual(['a=1', 'a=2']);
    expect(await world.ask('redrive', { origin: 'a' })).toEqual({ redriven: 0, failed: [], next: null });
    expect(await world.ask('redrive', { offsets: [forged, 999], force: true })).toMatchObject({
      redriven: 1,
      failed: [{ offset: 999 }],
    });
    expect(world.operations.events().map(({ what, principal }) => `${what} by ${principal}`)).toEqual([
      'redriven by root',
      'redriven by root',
    ]);
  });
});

describe('whether a broker is ready [OPS-9]', () => {
  test('depends on its store, and on whether it closes; each with a reason', async () => {
    const world = operated();
    expect(world.operations.readiness()).toEqual({ ready: true, state: 'ready', reasons: [] });
    const log = {
      name: 'default',
      earliest: 1,
      head: 1,
      bytes: 0,
      segments: 1,
      recordsStored: 0,
      bytesStored: 0,
      batches: 0,
    };
    const store = { stateEntries: 0, stateBytes: 0, recordsDamaged: 0 };
    world.store = { ...store, logs: [{ ...log, life: 'full' }], stateLife: 'open' };
    expect(world.operations.readiness()).toMatchObject({
      ready: false,
      state: 'readOnly',
      reasons: [expect.stringContaining('full')],
    });
    world.store = { ...store, logs: [{ ...log, life: 'open' }], stateLife: 'failed' };
    expect(world.operations.readiness()).toMatchObject({
      ready: false,
      reasons: [expect.stringContaining('state')],
    });
    world.isDraining = true;
    world.pass(1);
    expect(await world.ask('status')).toMatchObject({
      state: 'draining',
      reasons: [expect.stringContaining('closed'), expect.anything()],
    });
    expect(world.operations.snapshot().state).toBe('draining');
  });
});

describe('the page for Prometheus [OPS-10]', () => {
  test('has the figures of the snapshot, and as many series with 500 clients on 500 topics as with none', async () => {
    const world = operated();
    world.pass(1);
    const empty = samplesOf((await world.operations.exposition()).text);
    for (let i = 0; i < 500; i++) world.client().open().publish(`topic/${i}`, 'x');
    world.pass(1);
    const { contentType, text } = await world.operations.exposition();
    const full = samplesOf(text);
    expect(contentType).toContain('text/plain');
    expect([...full.keys()]).toEqual([...empty.keys()]);
    const snapshot = world.operations.snapshot();
    expect(full.get('jsp_messages_in_total')).toBe(snapshot.in.messages);
    expect(full.get('jsp_clients')).toBe(500);
    expect([full.has('jsp_store_free_bytes'), full.has('jsp_websockets')]).toEqual([false, false]);
    expect(full.get('jsp_state{state="ready"}')).toBe(1);
    expect(full.get('jsp_log_writable{log="default"}')).toBe(1);
    expect(full.get('jsp_messages_dropped_total{reason="expired"}')).toBe(0);
  });

  test('has distributions whose buckets only grow, to the right and with time', async () => {
    const world = operated();
    const subscriber = world.client().open(1);
    subscriber.subscribe(1, 't');
    const publisher = world.client().open();
    let before: number[] = [];
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 10; i++) publisher.publish('t', 'x');
      world.world.pass(30);
      for (let i = 0; i < 12; i++) subscriber.carry();
      world.pass(1);
      const samples = [...samplesOf((await world.operations.exposition()).text)];
      const buckets = samples
        .filter(([name]) => name.startsWith('jsp_deliver_seconds_bucket'))
        .map(([, value]) => value);
      expect(buckets).toEqual([...buckets].sort((a, b) => a - b));
      for (const [i, count] of before.entries()) expect(buckets[i]).toBeGreaterThanOrEqual(count);
      before = buckets;
    }
    const { text } = await world.operations.exposition();
    const samples = samplesOf(text);
    expect(samples.get('jsp_deliver_seconds_count')).toBe(before.at(-1));
    expect(samples.get('jsp_deliver_seconds_bucket{le="0.025"}')).toBeLessThan(before.at(-1) ?? 0);
    expect(text).toContain('# TYPE jsp_deliver_seconds histogram');
  });
});

/** By the kind of a family and the end of a name, which label a sample has to have, and no other may have (promtool check metrics). */
const RESERVED_LABELS: Record<string, Record<string, string>> = {
  histogram: { _bucket: 'le' },
  summary: { '': 'quantile' },
};

/** The samples of a page, which is to be well-formed: HELP and TYPE before each family, a name and a number a line. */
function samplesOf(page: string): Map<string, number> {
  const samples = new Map<string, number>();
  let [family, kind] = ['', ''];
  for (const line of page.trimEnd().split('\n')) {
    if (line === '') continue;
    const type = /^# TYPE (\S+) (counter|gauge|histogram|summary)$/.exec(line);
    if (type !== null) [, family, kind] = type;
    if (line.startsWith('#')) continue;
    const sample = /^([a-z_]+)(\{[a-z]+="[^"\\\n]*"\})? (-?[0-9.e+-]+)$/.exec(line);
    expect(sample, line).not.toBe(null);
    const [, name, labels = '', value] = sample as RegExpExecArray;
    expect(/\{(le|quantile)=/.exec(labels)?.[1], line).toBe(
      RESERVED_LABELS[kind]?.[name.slice(family.length)],
    );
    expect(name.startsWith(family), `${name} of ${family}`).toBe(true);
    expect(samples.has(name + labels), `${name}${labels} twice`).toBe(false);
    samples.set(name + labels, Number(value));
  }
  return samples;
}
