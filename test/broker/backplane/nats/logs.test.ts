import { jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { epochOf, streamName, subjectPrefix } from '../../../../src/broker/backplane/nats/stream-config.ts';
import { AppendFault } from '../../../../src/broker/core/store-port.ts';
import { NatsServer, natsProgram } from '../nats-server.ts';
import { LogsNode, recordOf, textOf } from './logs-world.ts';

const program = natsProgram();

test('two logs, of whatever clusters, have different streams and subjects [CLU-35]', () => {
  const cluster = fc.stringMatching(/^[A-Za-z0-9_-]{1,6}$/);
  const log = fc.stringMatching(/^[A-Za-z0-9._-]{1,8}$/);
  fc.assert(
    fc.property(cluster, log, cluster, log, (a, b, c, d) => {
      const isSame = a === c && b === d;
      expect(streamName(a, b) === streamName(c, d)).toBe(isSame);
      expect(subjectPrefix(a, b) === subjectPrefix(c, d)).toBe(isSame);
      expect(streamName(a, b)).toMatch(/^[^\s.*>\\/]+$/);
    }),
  );
  expect(streamName('a_b', 'c')).not.toBe(streamName('a', 'b_c'));
  expect([streamName('main', 'default'), streamName('main', 'a.b'), streamName('main', 'retained')]).toEqual([
    'JSP_main_default',
    'JSP_main_a%2Eb',
    'JSP_main_%72etained',
  ]);
});

describe.skipIf(program === null)('logs on NATS', () => {
  let server: NatsServer;
  let nats: NatsConnection;
  const nodes: LogsNode[] = [];

  beforeAll(async () => {
    server = await NatsServer.start(program as string, { config: 'max_payload: 100000' });
    nats = await connect({ servers: `127.0.0.1:${server.port}` });
  });

  afterAll(async () => {
    await Promise.all(nodes.map((node) => node.close()));
    await nats.close();
    await server.remove();
  });

  async function open(
    ...how: Parameters<typeof LogsNode.open> extends [string, ...infer Rest] ? Rest : never
  ) {
    const node = await LogsNode.open(server.url, ...how);
    nodes.push(node);
    return node;
  }

  test('are streams with the bounds that they are configured with, also where those were others before [CLU-35]', async () => {
    const manager = await jetstreamManager(nats);
    const configOf = async () => (await manager.streams.info('JSP_bounds_o')).config;
    await open(
      'a',
      [{ name: 'o', filters: ['o/#'], maxAgeMs: 60_000, maxMessages: 10, discard: 'new' }],
      'bounds',
    );
    const first = await configOf();
    expect(first).toMatchObject({
      ...{ subjects: ['jsp.bounds.q.o.>'], storage: 'file', num_replicas: 1, discard: 'new' },
      ...{ max_age: 60_000e6, max_msgs: 10, max_bytes: -1, duplicate_window: 60_000e6, allow_direct: true },
    });
    await open('b', [{ name: 'o', filters: ['o/#'], maxBytes: 1_000_000 }], 'bounds');
    expect(await configOf()).toMatchObject({
      ...{ max_age: 7 * 24 * 3_600_000e6, max_bytes: 1_000_000, max_msgs: -1, discard: 'old' },
      description: first.description,
    });
    expect(epochOf(first.description)).toBeGreaterThan(0);
  });

  test('have what every node appends, at every node, from any offset, and from a time [CLU-33] [CLU-35]', async () => {
    const [one, two] = [await open('a', [], 'both'), await open('b', [], 'both')];
    expect(two.log.epoch).toBe(one.log.epoch);
    for (let i = 0; i < 300; i++)
      (i % 2 === 0 ? one : two).log.append(recordOf(`t/${i % 7}`, `${i}`, { publishedAt: i }));
    await one.until(() => one.placed.length === 150);
    await two.until(() => two.placed.length === 150);
    const head = 301;
    two.log.headNow();
    await two.until(() => two.log.head === head);
    const all = await two.readAll(1, head);
    expect(all.map(({ offset }) => offset)).toEqual(Array.from({ length: 300 }, (_, i) => i + 1));
    expect(new Set(all.map(textOf)).size).toBe(300);
    expect((await two.readAll(77, 78)).map(({ offset }) => offset)).toEqual([77]);
    const late = await open('c', [], 'both');
    expect(await late.readAll(250, head)).toEqual(all.slice(249));
    const later = Date.now() + 60_000;
    expect(late.log.firstAt(later)).toBe(null);
    await late.until(() => late.log.firstAt(later) === head);
    // Who follows is told of what comes.
    late.log.follow(true);
    one.log.append(recordOf('t', 'live'));
    await late.until(() => late.log.head === head + 1);
    expect((await late.readAll(head, head + 1)).map(textOf)).toEqual(['live']);
  });

  test('take a record once, and none that NATS takes not [CLU-32] [CLU-34]', async () => {
    const [one, two] = [await open('a', [], 'once'), await open('b', [], 'once')];
    const record = () => recordOf('t', 'x', { session: 5, sequence: 1, id: 9 });
    one.log.append(record());
    await one.until(() => one.placed.length === 1);
    two.log.append(record());
    await two.until(() => two.placed.length === 1);
    expect([one.placed, two.placed]).toEqual([
      [{ offset: 1, isDuplicate: false }],
      [{ offset: 1, isDuplicate: true }],
    ]);
    expect(one.log.append(recordOf('t', Buffer.alloc(100_000)))).toBe(AppendFault.TOO_LARGE);
    expect(one.log.append(recordOf('t', Buffer.alloc(99_700)))).toBe(AppendFault.PENDING);
    await one.until(() => one.placed.length === 2);
    expect(one.placed[1].offset).toBe(2);
  });

  test('that are full refuse what comes, where the old is to stay', async () => {
    const node = await open('a', [{ name: 'default', maxMessages: 2, discard: 'new' }], 'full');
    for (let i = 0; i < 3; i++) node.log.append(recordOf('t', 'x'));
    await node.until(() => node.placed.length === 3);
    expect(node.placed.map(({ offset }) => offset)).toEqual([1, 2, AppendFault.FULL]);
  });

  test('whose stream is removed while it is in use are made anew, with another epoch [CLU-36]', async () => {
    const node = await open('a', [], 'removed');
    node.log.append(recordOf('t', 'x'));
    await node.until(() => node.placed.length === 1);
    const { epoch } = node.log;
    const manager = await jetstreamManager(nats);
    await manager.streams.delete('JSP_removed_default');
    node.log.headNow();
    await node.until(() => node.log.epoch !== epoch);
    expect([node.log.earliest, node.log.head]).toEqual([1, 1]);
    node.log.append(recordOf('t', 'y'));
    await node.until(() => node.placed.length === 2);
    expect((await node.readAll(1, 2)).map(textOf)).toEqual(['y']);
  });

  test('leave out what somebody else has published there [CLU-31]', async () => {
    const node = await open('a', [], 'strange');
    node.log.append(recordOf('t', 'ours'));
    await node.until(() => node.placed.length === 1);
    const manager = await jetstreamManager(nats);
    await manager.jetstream().publish('jsp.strange.q.default.t', 'theirs');
    node.log.headNow();
    await node.until(() => node.log.head === 3);
    expect((await node.readAll(1, 3)).map(textOf)).toEqual(['ours']);
  });

  test('of a NATS that is killed under load have lost nothing that was acknowledged, and have all in order, once [CLU-34]', async () => {
    const node = await open('a', [], 'killed');
    let id = 0;
    for (let round = 0; round < 2; round++) {
      const until = id + 3_000;
      let stopped: Promise<void> | null = null;
      while (id < until) {
        for (let i = 0; i < 100; i++)
          node.log.append(recordOf('t', 'x', { session: 3, sequence: 0, id: ++id }));
        await new Promise((resolve) => setImmediate(resolve));
        if (id >= until - 1_500) stopped ??= server.stop('SIGKILL');
      }
      await stopped;
      await server.start();
      await node.until(() => node.placed.length === id);
    }
    const records = await node.readAll(1, node.log.head);
    const taken = node.placed.map(({ offset }) => offset);
    expect(taken.every((offset) => offset > 0)).toBe(true);
    expect(records.map((record) => record.id)).toEqual(Array.from({ length: id }, (_, i) => i + 1));
    expect(records.map(({ offset }) => offset)).toEqual(taken);
  });
});
