import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  encodeSubscribe,
  encodeUnsubscribe,
  Overflow,
  PublishFlag,
  publishPrefix,
} from '../../../src/pubsub/command.ts';
import { DeliveryClass, encodeProperties, type Properties } from '../../../src/pubsub/properties.ts';
import type { FakeStream } from '../core/fake-client.ts';
import { FakeCluster, type FakeNode, given } from './fake-cluster.ts';

function retain(
  stream: FakeStream,
  topic: string,
  payload: string,
  properties: Properties = {},
  id = 0,
): void {
  const flags = PublishFlag.RETAIN | PublishFlag.PROPERTIES | (id > 0 ? PublishFlag.QOS1 : 0);
  stream.send(
    Buffer.concat([publishPrefix(topic, flags, id), encodeProperties(properties), Buffer.from(payload)]),
  );
}

/** The values that a new subscription is given. */
function valuesOf(cluster: FakeCluster, node: FakeNode, filter = '#'): string[] {
  const stream = node.subscribed(filter);
  cluster.pass(1);
  return given(stream)
    .filter((line) => line.includes('!'))
    .sort();
}

describe('last values in a cluster', () => {
  test('are those of all nodes, on each of them, and go with an empty one anywhere [CLU-40]', () => {
    const cluster = new FakeCluster({}, 'a', 'b', 'c');
    retain(cluster.node('a').connect().open(), 'x/1', 'one');
    retain(cluster.node('b').connect().open(), 'x/2', 'two');
    cluster.settle();
    for (const node of cluster.nodes.values())
      expect(valuesOf(cluster, node)).toEqual(['x/1!one', 'x/2!two']);
    retain(cluster.node('c').connect().open(), 'x/1', '');
    cluster.settle();
    for (const node of cluster.nodes.values()) expect(valuesOf(cluster, node)).toEqual(['x/2!two']);
    expect(cluster.values.topics).toEqual(['x/2']);
  });

  test('are the same everywhere in the end, in whatever order nodes hear of each other [CLU-40]', () => {
    const step = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({
          node: fc.nat(2),
          topic: fc.nat(2),
          payload: fc.constantFrom('', '1', '2', '3'),
        }),
      },
      { weight: 2, arbitrary: fc.record({ sends: fc.nat(2) }) },
      { weight: 2, arbitrary: fc.record({ listens: fc.nat(2) }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const cluster = new FakeCluster({}, 'a', 'b', 'c');
        const nodes = [...cluster.nodes.values()];
        const publishers = nodes.map((node) => node.connect().open());
        for (const { backplane } of nodes) backplane.values.isSlow = true;
        for (const each of steps) {
          if ('sends' in each) nodes[each.sends].backplane.values.send();
          else if ('listens' in each) nodes[each.listens].backplane.values.listen();
          else retain(publishers[each.node], `t/${each.topic}`, each.payload);
          cluster.settle();
        }
        for (const { backplane } of nodes) backplane.values.send();
        for (const { backplane } of nodes) backplane.values.listen();
        cluster.settle();
        const [first, ...others] = nodes.map((node) => valuesOf(cluster, node));
        for (const other of others) expect(other).toEqual(first);
        expect(first.map((line) => line.slice(0, 3))).toEqual([...cluster.values.topics].sort());
        expect(cluster.faults).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  test('count at once for the client that keeps them, and a publisher is told when the cluster has them [CLU-40]', () => {
    const cluster = new FakeCluster({}, 'a', 'b');
    const { core, backplane } = cluster.node('a');
    backplane.values.isSlow = true;
    const publisher = cluster.node('a').connect().open();
    const properties = { deliveryClass: DeliveryClass.LATEST };
    retain(publisher, 'x', '1', properties, 1);
    expect(valuesOf(cluster, cluster.node('a'))).toEqual(['x!1']);
    expect(given(publisher)).toEqual([]);
    backplane.values.send();
    cluster.settle();
    expect(given(publisher)).toEqual(['PUBLISHED 1']);
    expect(core.metrics().retainedMessages).toBe(1);
  });

  test('that a node which is cut off has kept do not come back over what was published elsewhere meanwhile, nor stay there [CLU-45]', () => {
    const cluster = new FakeCluster({}, 'a', 'b');
    const { values } = cluster.node('a').backplane;
    const publisher = cluster.node('a').connect().open();
    retain(publisher, 'x', 'before');
    cluster.settle();
    values.cut(true);
    retain(publisher, 'x', 'old');
    retain(publisher, 'y', 'kept');
    cluster.settle();
    expect(valuesOf(cluster, cluster.node('a'))).toEqual(['x!old', 'y!kept']);
    retain(cluster.node('b').connect().open(), 'x', 'new');
    cluster.settle();
    values.cut(false);
    cluster.settle();
    for (const node of cluster.nodes.values()) expect(valuesOf(cluster, node)).toEqual(['x!new', 'y!kept']);
  });

  test('are the same on a node whose change another one has replaced before it was heard of [CLU-40]', () => {
    const cluster = new FakeCluster({}, 'a', 'b');
    const { values } = cluster.node('a').backplane;
    values.hears = false;
    retain(cluster.node('a').connect().open(), 'x', 'ours');
    cluster.settle();
    retain(cluster.node('b').connect().open(), 'x', 'theirs');
    cluster.settle();
    values.readAnew();
    cluster.settle();
    for (const node of cluster.nodes.values()) expect(valuesOf(cluster, node)).toEqual(['x!theirs']);
  });

  test('are complete before a subscription is answered, within 10 s [CLU-41]', () => {
    const cluster = new FakeCluster({}, 'a');
    retain(cluster.node('a').connect().open(), 'x', '1');
    cluster.settle();
    const late = cluster.start('b');
    const stream = late.subscribed('#');
    cluster.pass(9_000);
    expect(given(stream)).toEqual([]);
    late.backplane.values.complete();
    cluster.pass(1);
    expect(given(stream)).toEqual(['SUBSCRIBED 1', 'x!1']);
    const never = cluster.start('c').subscribed('#');
    cluster.pass(10_001);
    expect(given(never)).toEqual(['SUBSCRIBED 1']);
  });

  test('come to who has subscribed before they were known here, once, and not behind a message of the topic [CLU-42]', () => {
    const cluster = new FakeCluster({}, 'a', 'b');
    const b = cluster.node('b');
    b.backplane.values.isSlow = true;
    retain(cluster.node('a').connect().open(), 'x', '1');
    cluster.settle();
    const early = b.subscribed('x');
    const withOther = b.subscribed('#');
    withOther.send(encodeSubscribe(2, 'x', Overflow.BLOCK, 0, 0));
    cluster.pass(10);
    b.connect().open().publish('x', '2');
    const late = b.subscribed('x');
    cluster.pass(10);
    b.backplane.values.listen();
    cluster.pass(10);
    expect(given(early)).toEqual(['SUBSCRIBED 1', 'x=2']);
    expect(given(late)).toEqual(['SUBSCRIBED 1', 'x!1']);
    expect(given(withOther).filter((line) => line.includes('!'))).toEqual([]);
    const muchLater = b.subscribed('y');
    cluster.pass(2_100);
    retain(cluster.node('a').connect().open(), 'y', '1');
    b.backplane.values.listen();
    cluster.pass(10);
    expect(given(muchLater)).toEqual(['SUBSCRIBED 1']);
  });

  test('that come late are the newest of their topics, and those that a subscriber does not take are told as missing [CLU-42] [BRK-43]', () => {
    const cluster = new FakeCluster({}, 'a', 'b');
    const b = cluster.node('b');
    b.backplane.values.isSlow = true;
    const publisher = cluster.node('a').connect().open();
    for (const payload of ['1', '2']) retain(publisher, 'x', payload);
    retain(publisher, 'y', 'y'.repeat(500));
    cluster.settle();
    const small = b.connect().open(undefined, { messageBytesMax: 100 });
    small.subscribe(1, '#');
    cluster.pass(10);
    b.backplane.values.listen();
    cluster.pass(10);
    expect(given(small)).toEqual(['SUBSCRIBED 1', 'x!2', 'DROPPED 1 4']);
  });

  test('come to who has subscribed while the node was cut off from what others had kept, however late, but not to who has left [CLU-42]', () => {
    const cluster = new FakeCluster({}, 'a', 'b');
    const b = cluster.node('b');
    b.backplane.values.isSlow = true;
    retain(cluster.node('a').connect().open(), 'x', '1');
    cluster.settle();
    const stays = b.subscribed('x');
    const hasMessage = b.subscribed('#');
    const leaves = b.subscribed('x');
    cluster.pass(3_000);
    b.connect().open().publish('y', '1');
    leaves.send(encodeUnsubscribe(3, 'x'));
    cluster.pass(60_000);
    given(leaves);
    b.backplane.values.listen();
    cluster.pass(10);
    expect(given(stays)).toEqual(['SUBSCRIBED 1', 'x!1']);
    expect(given(hasMessage)).toEqual(['SUBSCRIBED 1', 'y=1', 'x!1']);
    expect(given(leaves)).toEqual([]);
    cluster.pass(2_100);
    retain(cluster.node('a').connect().open(), 'x', '2');
    b.backplane.values.listen();
    cluster.pass(10);
    expect(given(stays).filter((line) => line.includes('!'))).toEqual([]);
  });

  test('take no more room on a node than it allows, whoever keeps them [CLU-40]', () => {
    const cluster = new FakeCluster({ retainedBytesMax: 20_000 }, 'a', 'b');
    const stream = cluster.node('a').connect().open();
    const others = cluster.node('b');
    others.backplane.values.isSlow = true;
    for (let i = 0; i < 10; i++) retain(others.connect().open(), `b/${i}`, 'x'.repeat(500));
    for (let i = 0; i < 10; i++) retain(stream, `a/${i}`, 'x'.repeat(500));
    others.backplane.values.send();
    cluster.settle();
    const { retainedBytes, retainedMessages } = cluster.node('a').core.metrics();
    expect(retainedBytes).toBeLessThanOrEqual(20_000);
    expect(retainedMessages).toBeGreaterThan(9);
    expect(retainedMessages).toBeLessThan(20);
  });

  test('whose time is over are gone everywhere, and in the cluster [CLU-40]', () => {
    const cluster = new FakeCluster({}, 'a', 'b');
    retain(cluster.node('a').connect().open(), 'x', '1', { ttlMs: 1_000 });
    cluster.settle();
    expect(valuesOf(cluster, cluster.node('b'))).toEqual(['x!1']);
    cluster.pass(1_001);
    expect(valuesOf(cluster, cluster.node('b'))).toEqual([]);
    expect(cluster.values.topics).toEqual([]);
  });
});

describe('the values that a session owns, in a cluster', () => {
  const owned = { owned: 3_000 };

  test('leave once when their owner does, told by the node that it was on [CLU-43]', () => {
    const cluster = new FakeCluster({}, 'a', 'b');
    const client = cluster.node('a').connect();
    retain(client.open(), 'here/1', 'me', owned);
    cluster.settle();
    const watcher = cluster.node('a').subscribed('here/+');
    cluster.pass(1);
    expect(given(watcher)).toEqual(['SUBSCRIBED 1', 'here/1!me']);
    client.disconnect();
    cluster.pass(2_900);
    expect(given(watcher)).toEqual([]);
    cluster.pass(200);
    expect(given(watcher)).toEqual(['here/1=']);
    expect(valuesOf(cluster, cluster.node('b'))).toEqual([]);
  });

  test('leave after their grace when the node dies, and one of the others tells it [CLU-43]', () => {
    const cluster = new FakeCluster({}, 'a', 'b', 'c');
    retain(cluster.node('a').connect().open(), 'here/1', 'me', owned);
    cluster.settle();
    const watchers = ['b', 'c'].map((name) => cluster.node(name).subscribed('here/+'));
    cluster.pass(10);
    cluster.kill('a');
    cluster.pass(60_000);
    expect(cluster.values.topics).toEqual(['here/1']);
    cluster.tellGone('a');
    cluster.pass(2_900);
    expect(cluster.values.topics).toEqual(['here/1']);
    cluster.pass(200);
    expect(cluster.values.topics).toEqual([]);
    const told = watchers.flatMap((watcher) => given(watcher).filter((line) => line === 'here/1='));
    expect(told).toEqual(['here/1=']);
    for (const node of cluster.nodes.values()) expect(valuesOf(cluster, node)).toEqual([]);
  });

  test('leave when their node begins anew without those who own them, and when it had died before a node came [CLU-43]', () => {
    const cluster = new FakeCluster({}, 'a');
    retain(cluster.node('a').connect().open(), 'here/1', 'me', owned);
    cluster.settle();
    cluster.kill('a');
    cluster.start('a').backplane.values.complete();
    cluster.pass(4_900);
    expect(cluster.values.topics).toEqual(['here/1']);
    cluster.pass(200);
    expect(cluster.values.topics).toEqual([]);

    retain(cluster.node('a').connect().open(), 'here/2', 'me', owned);
    cluster.settle();
    cluster.kill('a');
    cluster.start('b').backplane.values.complete();
    cluster.pass(5_100);
    expect(cluster.values.topics).toEqual([]);
  });

  test('stay when their node was only cut off, and come back when others have taken them for gone [CLU-43]', () => {
    const cluster = new FakeCluster({}, 'a', 'b');
    const { backplane } = cluster.node('a');
    const client = cluster.node('a').connect();
    retain(client.open(), 'here/1', 'me', owned);
    cluster.settle();
    cluster.node('b').backplane.push((events) => events.nodeGone('a'));
    cluster.pass(10_000); // for b, it is there again
    expect(cluster.values.topics).toEqual(['here/1']);
    backplane.values.isSlow = true;
    cluster.tellGone('a');
    cluster.pass(3_100);
    expect(cluster.values.topics).toEqual([]);
    const watcher = cluster.node('a').subscribed('here/+');
    cluster.pass(2_500);
    given(watcher);
    backplane.values.isSlow = false;
    backplane.values.listen();
    cluster.settle();
    expect(cluster.values.topics).toEqual(['here/1']);
    expect(given(watcher)).toEqual(['here/1=me']);
    expect(valuesOf(cluster, cluster.node('b'))).toEqual(['here/1!me']);
    client.disconnect();
    cluster.pass(3_100);
    expect(cluster.values.topics).toEqual([]);
  });
});
