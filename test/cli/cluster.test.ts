import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Broker, startBroker } from '../../src/broker/index.ts';
import type { ClusterReport } from '../../src/broker/operations/snapshot.ts';
import { nodeTable } from '../../src/cli/cluster.ts';
import { generateIdentity } from '../../src/index.ts';
import { Brokers } from '../broker/backplane/nats/brokers.ts';
import { NatsServer, natsProgram } from '../broker/backplane/nats-server.ts';
import { emptyFolder } from '../empty-folder.ts';
import { ownPort } from '../own-port.ts';
import { Jsp, jsp } from './jsp.ts';

const program = natsProgram();

describe.skipIf(program === null)('jsp cluster status', () => {
  let server: NatsServer;
  let brokers: Brokers;
  let first: Broker;

  beforeAll(async () => {
    server = await NatsServer.start(program as string);
    brokers = new Brokers(() => server.url);
    [first] = await Promise.all([brokers.start('paris'), brokers.start('oslo')]);
  });
  afterAll(async () => {
    await brokers.close();
    await server.remove();
  });

  test('shows all nodes, whichever was asked, as tables and as JSON', async () => {
    const client = await brokers.client(first);
    await client.subscribe('a/#', () => {});
    const [table, json] = await Promise.all([
      jsp(['cluster', 'status', '--url', first.url]),
      jsp(['cluster', 'status', '--url', first.url, '--json']),
    ]);
    expect([table.exitCode, json.exitCode]).toEqual([0, 0]);
    expect(table.out).toMatch(
      /^cluster c\d+, asked: paris; NATS answers in \d+\.\d ms\nnode +state +since +clients/,
    );
    expect(table.out).toMatch(/\noslo +up .*\nparis \* +up .*jsp:\/\//);
    const report = JSON.parse(json.out) as ClusterReport;
    expect(report.nodes.map(({ node, isAsked }) => [node, isAsked])).toEqual([
      ['oslo', false],
      ['paris', true],
    ]);
    expect(report.nodes[1].urls).toEqual([first.url]);
    expect(table.out).toMatch(/\nclaims +handed over +lost\n *1 +0 +0\n/);
    expect(report.figures).toMatchObject({ connected: true, nodes: 2, missed: 0 });
    expect(report.figures).toMatchObject({ claims: 1, handedOver: 0, lost: 0 });
    expect(report.figures?.interest).toBeGreaterThanOrEqual(1);
  });

  test('says of a broker that is alone how it becomes one of several', async () => {
    const alone = await startBroker({ identity: generateIdentity(), port: 0 });
    try {
      const { out, err, exitCode } = await jsp(['cluster', 'status', '--url', alone.url]);
      expect([exitCode, out]).toEqual([0, '']);
      expect(err).toContain('--backplane nats://');
    } finally {
      await alone.close({ drainMs: 0 });
    }
  });

  test('names the other nodes that a broker has found when it starts, which does not open its store', async () => {
    const store = join(emptyFolder(), 'store');
    const { cluster } = brokers;
    const broker = new Jsp([
      'broker',
      '--port',
      '0',
      '--backplane',
      server.url,
      '--cluster',
      cluster,
      '--node',
      'rome',
      '--store',
      store,
    ]);
    await broker.until(({ err }) => err.includes('listens on'));
    broker.process.kill('SIGTERM');
    const { err } = await broker.ended;
    expect(err).toContain(`node rome of the cluster ${cluster}; also there: oslo, paris\n`);
    expect(err).toContain('--store: [store] directory has no effect');
    expect(existsSync(store)).toBe(false);
  });

  test('is not there where NATS is not: jsp broker says what to do, and ends', async () => {
    const port = await ownPort();
    const url = `nats://127.0.0.1:${port}`;
    const { err, exitCode } = await jsp(['broker', '--port', '0', '--backplane', url]);
    expect(exitCode).toBe(1);
    expect(err).toContain('ERR_JSP_BACKPLANE_FAILED');
    expect(err).toContain('nats-server -js');
  });

  test('has names of nodes that cannot act on a terminal', () => {
    const node = { node: 'x\u001b[2J', isAsked: false, urls: ['jsp://\u202e'], version: '1', startedAt: 0 };
    const figures = { clients: 0, sessions: 0, claims: 0, interest: 0, lagMs: 1, draining: true };
    const report = { nodes: [{ ...node, ...figures }], at: 90_000_000, logs: [], figures: null };
    const table = nodeTable({ ...report, cluster: 'c', node: 'x' });
    expect(table).toContain('draining');
    expect(table.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Bidi_Control}]/u);
  });
});
