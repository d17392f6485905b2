import { expect, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import { MILLISECOND } from '../../../src/base/time.ts';
import type { BackplaneEvents } from '../../../src/broker/core/backplane/backplane-port.ts';
import { AppendFault, type StoreEvents } from '../../../src/broker/core/store-port.ts';
import { publishPrefix, topicEndOf } from '../../../src/pubsub/command.ts';
import { VirtualClock } from '../../../src/testing/virtual-clock.ts';
import { ModelNode } from './model-backplane.ts';
import { FINE_WEATHER, ModelNats, type NatsWeather } from './model-nats.ts';

/** Nodes, and what they are told, a line each. */
class Nodes {
  readonly clock = new VirtualClock();
  readonly nats: ModelNats;
  readonly said = new Map<ModelNode, string[]>();

  constructor(weather: Partial<NatsWeather> = {}) {
    this.nats = new ModelNats(this.clock, new Prng(7), { ...FINE_WEATHER, ...weather });
  }

  add(name: string): ModelNode {
    const node = new ModelNode(this.nats, name);
    const lines: string[] = [];
    this.said.set(node, lines);
    const say =
      (what: string) =>
      (...about: unknown[]) =>
        void lines.push([what, ...about].join(' '));
    const events: BackplaneEvents & StoreEvents = {
      connected: say('connected'),
      disconnected: say('disconnected'),
      wanted: say('wanted'),
      message: (message, priority, _deadline, group) =>
        say('message')(Buffer.from(message.subarray(topicEndOf(message))).toString(), priority, group ?? ''),
      missed: say('missed'),
      unanswered: say('unanswered'),
      claimed: (key, entries) => say('claimed')(key, [...entries.keys()]),
      claimedByOther: say('claimedByOther'),
      claimDenied: say('claimDenied'),
      claimLost: say('claimLost'),
      claimAsked: say('claimAsked'),
      nodeGone: say('nodeGone'),
      valueChanged: ({ topic, record, number }) =>
        say('value')(topic, record === null ? '-' : Buffer.from(record), number),
      valuePlaced: say('valuePlaced'),
      valueOutdone: say('valueOutdone'),
      valuesReread: say('valuesReread'),
      valuesComplete: say('valuesComplete'),
      valuesStored: say('valuesStored'),
      received: (from, bytes) => say('received')(from, Buffer.from(bytes).toString()),
      cutOff: say('cutOff'),
      stored: (log) => say('stored')(log.synced),
      stateStored: say('stateStored'),
      loaded: say('loaded'),
      trimmed: say('trimmed'),
      placed: (_log, ticket, offset, isDuplicate) =>
        say('placed')(ticket, offset, isDuplicate ? 'again' : ''),
      storeFailed: say('storeFailed'),
    };
    node.onNews = () => {
      node.tell(events);
      node.store.tell(events);
    };
    return node;
  }

  run(ms: number): void {
    const end = this.clock.now() + ms * MILLISECOND;
    while (this.clock.nextAt <= end) this.clock.runNext();
    this.clock.advanceTo(end);
  }

  /** What a node was told since this was asked last, but for what nobody asked about. */
  take(node: ModelNode, what = ''): string[] {
    const lines = this.said.get(node) ?? [];
    return lines.splice(0).filter((line) => line.startsWith(what));
  }
}

const publish = (node: ModelNode, topic: string, text: string, request = 0) => {
  const message = Buffer.concat([publishPrefix(topic), Buffer.from(text)]);
  node.publish(message, topicEndOf(message), 2, Number.POSITIVE_INFINITY, request);
};
const record = (session: number, id: number, text = 'x') => {
  const command = Buffer.concat([publishPrefix('t'), Buffer.from(text)]);
  return { command, topicEnd: topicEndOf(command), session, sequence: 2, id, expiresAt: 0, publishedAt: 1 };
};

test('a live message reaches each other node that wants it once, also where two filters match it, and in order', () => {
  const nodes = new Nodes();
  const [a, b, c] = ['a', 'b', 'c'].map((name) => nodes.add(name));
  b.want('t/#');
  b.want('t/1');
  c.want('u');
  nodes.run(10);
  expect(nodes.take(b, 'wanted')).toEqual(['wanted t/#', 'wanted t/1']);
  for (let i = 0; i < 20; i++) publish(a, 't/1', `${i}`);
  nodes.run(100);
  expect(nodes.take(b, 'message')).toEqual(Array.from({ length: 20 }, (_, i) => `message ${i} 2 `));
  expect(nodes.take(c, 'message')).toEqual([]);
  expect(nodes.take(a, 'message')).toEqual([]);
});

test('messages that come twice or too late are dropped: what comes is in order, and nothing twice', () => {
  const nodes = new Nodes({ lost: 0.2, doubled: 0.3, overtaken: 0.2 });
  const [a, b] = ['a', 'b'].map((name) => nodes.add(name));
  b.want('#');
  nodes.run(10);
  for (let i = 0; i < 500; i++) publish(a, 't', `${i}`);
  nodes.run(1_000);
  const numbers = nodes.take(b, 'message').map((line) => Number(line.split(' ')[1]));
  expect(numbers.length).toBeGreaterThan(100);
  expect(numbers.length).toBeLessThan(450);
  expect(numbers).toEqual([...new Set(numbers)].sort((x, y) => x - y));
});

test('a group gets each message at one of its nodes, the publisher its own among them', () => {
  const nodes = new Nodes();
  const all = ['a', 'b', 'c'].map((name) => nodes.add(name));
  for (const node of all) node.want('$share/g/t');
  nodes.run(10);
  for (let i = 0; i < 60; i++) publish(all[0], 't', `${i}`);
  nodes.run(100);
  const counts = all.map((node) => nodes.take(node, 'message').length);
  expect(counts.reduce((sum, count) => sum + count)).toBe(60);
  expect(Math.min(...counts)).toBeGreaterThan(5);
});

test('a request that nobody wants is told, and one that somebody wants is not', () => {
  const nodes = new Nodes();
  const [a, b] = ['a', 'b'].map((name) => nodes.add(name));
  b.want('asked');
  nodes.run(10);
  publish(a, 'asked', '', 1);
  publish(a, 'nobody', '', 2);
  nodes.run(10);
  expect(nodes.take(a, 'unanswered')).toEqual(['unanswered 2']);
});

test('records are placed in the order in which they were handed in, whatever acknowledgements get lost, and no id twice', () => {
  const nodes = new Nodes({ unacknowledged: 0.3 });
  const [a, b] = ['a', 'b'].map((name) => nodes.add(name));
  nodes.run(10);
  const [log] = a.store.logs;
  for (let id = 1; id <= 50; id++) expect(log.append(record(9, id))).toBe(AppendFault.PENDING);
  nodes.run(30_000);
  expect(nodes.take(a, 'placed')).toEqual(Array.from({ length: 50 }, (_, i) => `placed ${i + 1} ${i + 1} `));
  nodes.nats.weather = FINE_WEATHER;
  b.store.logs[0].append(record(9, 17));
  b.store.logs[0].follow(true);
  nodes.run(30_000);
  expect(nodes.take(b, 'placed')).toEqual(['placed 1 17 again']);
  expect(b.store.logs[0].synced).toBe(51);
  expect(b.store.logs[0].read(1, 51, 1e6)).toBeNull();
  nodes.run(10);
  expect(b.store.logs[0].read(1, 51, 1e6)).toHaveLength(50);
});

test('a server that dies takes nothing with it that it has acknowledged; what is under way goes on when it comes back soon, and fails when it does not', () => {
  const nodes = new Nodes();
  const a = nodes.add('a');
  nodes.run(10);
  const [log] = a.store.logs;
  log.append(record(9, 1));
  nodes.run(10);
  nodes.nats.crash();
  log.append(record(9, 2));
  nodes.run(2_000);
  nodes.nats.start();
  nodes.run(2_000);
  expect(nodes.take(a, 'placed')).toEqual(['placed 1 1 ', 'placed 2 2 ']);
  nodes.nats.crash();
  log.append(record(9, 3));
  nodes.run(10_000);
  expect(nodes.take(a, 'placed')).toEqual([`placed 3 ${AppendFault.UNREACHABLE} `]);
  expect(log.append(record(9, 4))).toBe(AppendFault.UNREACHABLE);
  nodes.nats.start();
  nodes.run(2_000);
  expect(log.append(record(9, 5))).toBe(AppendFault.PENDING);
});

test('a claim is one node its own: asked for, it is handed over with what was written; forced, it is lost at once', () => {
  const nodes = new Nodes();
  const [a, b] = ['a', 'b'].map((name) => nodes.add(name));
  nodes.run(10);
  a.claim('s/x', 'ask');
  nodes.run(10);
  expect(nodes.take(a, 'claim')).toEqual(['claimed s/x ']);
  a.store.state.put('session/x', Buffer.from('1'));
  expect(a.store.state.synced).toBeLessThan(a.store.state.written);
  nodes.run(10);
  expect(a.store.state.synced).toBe(a.store.state.written);
  b.claim('s/x', 'ask');
  nodes.run(10);
  expect(nodes.take(a, 'claim')).toEqual(['claimAsked s/x b 0']);
  a.store.state.put('session/x', Buffer.from('2'));
  a.release('s/x');
  nodes.run(10);
  expect(nodes.take(b, 'claim')).toEqual(['claimed s/x session/x']);
  expect(b.store.state.get('session/x')).toEqual(Buffer.from('2'));
  expect(a.store.state.get('session/x')).toBeUndefined();
  a.claim('s/x', 'ask');
  nodes.run(3_000);
  expect(nodes.take(a, 'claim')).toEqual(['claimedByOther s/x b false']);
  a.claim('s/x', 'force');
  nodes.run(10);
  expect(nodes.take(a, 'claim')).toEqual(['claimed s/x session/x']);
  expect(nodes.take(b, 'claim')).toEqual(['claimAsked s/x a 0', 'claimLost s/x']);
});

test('a node that is cut off gives up what it had before its lease is over; then others are told that it is gone, and may have it', () => {
  const nodes = new Nodes();
  const [a, b] = ['a', 'b'].map((name) => nodes.add(name));
  nodes.run(10);
  a.claim('d/x', 'ask');
  nodes.run(10);
  nodes.take(a);
  nodes.nats.cut('a', 1_000, 3_000);
  let lostAt = 0;
  for (let ms = 0; ms < 15_000 && b.hasNode('a'); ms += 100) {
    nodes.run(100);
    if (lostAt === 0 && nodes.take(a, 'claimLost').length > 0) lostAt = nodes.clock.now();
  }
  expect(lostAt).toBeGreaterThan(0);
  expect(lostAt).toBeLessThan(nodes.clock.now());
  nodes.run(10);
  expect(nodes.take(b).slice(-2)).toEqual(['nodeGone a', 'claimed d/x ']); // it was left, and is taken on
  nodes.nats.mend('a');
  nodes.run(1_000);
  a.claim('d/x', 'ask');
  nodes.run(10);
  expect(nodes.take(b, 'claimAsked')).toEqual(['claimAsked d/x a 0']);
});

const put = (node: ModelNode, topic: string, text: string | null, ifRevision = 0) =>
  node.values.put({
    ...{ topic, record: text === null ? null : Buffer.from(text), place: null },
    ...{ revision: ifRevision, isConditional: ifRevision > 0 },
  });

test('all nodes hear of changes of values in one order, those that were away, and those that come later', () => {
  const nodes = new Nodes();
  const [a, b] = ['a', 'b'].map((name) => nodes.add(name));
  nodes.run(10);
  put(a, 't', '1');
  put(b, 't', '2');
  nodes.run(10);
  nodes.nats.cut('b', 10, 10);
  nodes.run(100);
  put(a, 'u', '3');
  put(b, 'v', '4');
  put(b, 'v', null, 999);
  nodes.run(100);
  nodes.nats.mend('b');
  nodes.run(1_000);
  const c = nodes.add('c');
  nodes.run(10);
  const ofA = nodes.take(a, 'value ').map((line) => line.replace(/ \d$/, ''));
  expect(ofA).toEqual(nodes.take(b, 'value ').map((line) => line.replace(/ \d$/, '')));
  expect(ofA.slice(2)).toEqual(['value u 3', 'value v 4']);
  expect(nodes.take(c, 'value')).toEqual([`${ofA[1]} 0`, 'value u 3 0', 'value v 4 0', 'valuesComplete']);
  expect(b.values.synced).toBe(3);
});

test('where nobody does anything, nothing passes', () => {
  const nodes = new Nodes();
  for (const name of ['a', 'b', 'c']) nodes.add(name);
  nodes.run(1_000);
  const before = nodes.nats.traffic;
  nodes.run(60_000);
  expect(nodes.nats.traffic).toBe(before);
});
