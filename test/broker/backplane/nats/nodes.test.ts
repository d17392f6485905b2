import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { NodeRecord } from '../../../../src/broker/backplane/backplane.ts';
import { NatsLine } from '../../../../src/broker/backplane/nats/line.ts';
import { loadNats, type NatsModules } from '../../../../src/broker/backplane/nats/modules.ts';
import { News } from '../../../../src/broker/backplane/nats/news.ts';
import { NodeMessages } from '../../../../src/broker/backplane/nats/node-messages.ts';
import { LEASE_MS, NatsNodes, NODES_MAX } from '../../../../src/broker/backplane/nats/nodes.ts';
import { NatsServer, natsProgram } from '../nats-server.ts';
import { Brokers, until } from './brokers.ts';

const program = natsProgram();

describe.skipIf(program === null)('nodes of a cluster on NATS', () => {
  let server: NatsServer;
  let modules: NatsModules;
  let brokers: Brokers;
  const open: (() => Promise<void>)[] = [];
  let clusters = 0;

  beforeAll(async () => {
    server = await NatsServer.start(program as string);
    modules = await loadNats();
  });
  afterEach(async () => {
    for (const close of open.splice(0)) await close();
  });
  afterAll(() => server.remove());

  async function line(noEcho = true): Promise<NatsLine> {
    const options = { kind: 'nats', urls: [server.url] } as const;
    const opened = await NatsLine.open(modules, options, { purpose: 'test', noEcho });
    open.push(() => opened.close());
    return opened;
  }

  /** A node in a time of its own, and what it was told. */
  async function join(cluster: string, node: string, number: number, startedAt = 0) {
    const told: string[] = [];
    const time = { nowMs: 0 };
    const nodes = await NatsNodes.open(modules, await line(), {
      ...{ cluster, replicas: 1, node, number, startedAt, version: '' },
      nowMs: () => time.nowMs,
    });
    nodes.listener = {
      came: (name) => told.push(`came ${name}`),
      gone: (name) => told.push(`gone ${name}`),
      lapsed: (isLapsed) => told.push(isLapsed ? 'lapsed' : 'back'),
      replaced: ({ number: by }: NodeRecord) => told.push(`replaced by ${by}`),
    };
    open.push(() => nodes.close());
    return { nodes, told, time };
  }

  test('know each other, and hear at once of one that leaves [CLU-11]', async () => {
    const cluster = `n${++clusters}`;
    const a = await join(cluster, 'a', 1);
    const b = await join(cluster, 'b', 2);
    await until(() => a.told.length > 0, 'a hears of b');
    expect([a.nodes.has('b'), b.nodes.has('a'), b.nodes.has('c')]).toEqual([true, true, false]);
    expect(b.nodes.list.map(({ node }) => node).sort()).toEqual(['a', 'b']);
    await b.nodes.close();
    await until(() => a.told.length > 1, 'a hears that b is gone');
    expect(a.told).toEqual(['came b', 'gone b']);
    expect(a.nodes.has('b')).toBe(false);
  });

  test('know at most so many, and none by an entry that is larger than theirs [CLU-11]', async () => {
    const cluster = `n${++clusters}`;
    const { nodes, told } = await join(cluster, 'a', 1);
    const stranger = await line();
    const prefix = `$KV.jsp_${cluster}_nodes.`;
    const write = (node: string, version = '') =>
      stranger.nats.publish(prefix + node, JSON.stringify({ node, number: 2, version }));
    write('large', 'x'.repeat(64 * 1_024));
    for (let i = 0; i < NODES_MAX + 20; i++) write(`x${i}`);
    // A bucket keeps the last entry of each node alone: one that is deleted before it was read never was.
    await until(() => nodes.has('x0'), 'the first of them');
    await (await new modules.kv.Kvm(stranger.nats).open(`jsp_${cluster}_nodes`)).delete('x0');
    await until(() => told.includes('gone x0'), 'the last of it');
    expect(nodes.has('large')).toBe(false);
    expect(nodes.list.length).toBe(NODES_MAX - 1);
  });

  test('take one for gone that does not write for as long as the lease is, and itself before that [CLU-11]', async () => {
    const cluster = `n${++clusters}`;
    const a = await join(cluster, 'a', 1);
    const b = await join(cluster, 'b', 2);
    await until(() => a.nodes.has('b'), 'a knows b');
    b.time.nowMs = LEASE_MS - 500; // it has not come to write, and wakes up
    b.nodes.look();
    expect(b.told).toEqual(['lapsed']);
    a.time.nowMs = LEASE_MS + 1;
    a.nodes.writeSoon();
    await until(() => a.nodes.lastWrittenMs > LEASE_MS, 'a has written');
    a.nodes.judge();
    expect(a.told).toEqual(['came b', 'gone b']);
    b.nodes.writeSoon();
    await until(() => b.told.length > 1, 'b is one again');
    await until(() => a.told.length > 2, 'a hears of it');
    expect([b.told, a.told.slice(2)]).toEqual([['lapsed', 'back'], ['came b']]);
  });

  test('judge nobody while they are cut off themselves [CLU-11]', async () => {
    const cluster = `n${++clusters}`;
    const a = await join(cluster, 'a', 1);
    await join(cluster, 'b', 2);
    await until(() => a.nodes.has('b'), 'a knows b');
    a.time.nowMs = LEASE_MS * 3;
    a.nodes.look();
    a.nodes.judge();
    expect(a.told).toEqual(['came b', 'lapsed']);
    expect(a.nodes.has('b')).toBe(true);
  });

  test('of one name are two runs, of which the older one hears of the newer [CLU-11]', async () => {
    const cluster = `n${++clusters}`;
    const a = await join(cluster, 'a', 1);
    const before = await join(cluster, 'b', 2, 100);
    await until(() => a.nodes.has('b'), 'a knows b');
    await join(cluster, 'b', 3, 200);
    await until(() => before.told.length > 0 && a.told.length > 2, 'both hear of it');
    expect(before.told).toEqual(['replaced by 3']);
    expect(a.told).toEqual(['came b', 'gone b', 'came b']);
  });

  test('send each other messages, and all of them, with who they are from [CLU-10]', async () => {
    const told: Record<string, string[]> = { a: [], b: [], c: [] };
    const messages: Record<string, NodeMessages> = {};
    const prefix = `jsp.n${++clusters}.`;
    for (const node of Object.keys(told)) {
      const news = new News();
      const events = {
        received: (from: string, bytes: Uint8Array) => told[node].push(`${from}: ${Buffer.from(bytes)}`),
      };
      news.onNews = () => news.tell(events as never);
      const own = await line();
      messages[node] = new NodeMessages(own, news, prefix, node);
      await own.settled();
    }
    messages.a.send('b', Buffer.from('one'));
    messages.a.broadcast(Buffer.from('two'));
    messages.a.send('b', Buffer.from('three'));
    (await line()).nats.publish(`${prefix}n.b.m`, Buffer.from([1, 200, 7]));
    await until(() => told.b.length > 2 && told.c.length > 0 && messages.b.invalid > 0, 'all have come');
    expect(told).toEqual({ a: [], b: ['a: one', 'a: two', 'a: three'], c: ['a: two'] });
  });

  test('that are brokers end where a newer one has their name, with an error that says so [CLU-11]', async () => {
    brokers = new Brokers(() => server.url);
    open.push(() => brokers.close());
    const first = await brokers.start('same');
    await brokers.start('same');
    expect(await first.closed).toMatchObject({
      code: 'ERR_JSP_BACKPLANE_FAILED',
      message: expect.stringContaining('"same"'),
    });
  });
});
