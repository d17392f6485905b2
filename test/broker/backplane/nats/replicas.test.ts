import { type JetStreamManager, jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { NatsServer, natsProgram } from '../nats-server.ts';
import { Brokers, until } from './brokers.ts';

const program = natsProgram();

describe.skipIf(program === null)('a broker whose store is to be kept by three servers of NATS', () => {
  const servers: NatsServer[] = [];
  let alone: NatsServer;
  let nats: NatsConnection;
  let brokers: Brokers;

  beforeAll(async () => {
    alone = await NatsServer.start(program as string);
    servers.push(...(await NatsServer.startCluster(program as string, 3)));
    nats = await connect({ servers: servers.map(({ port }) => `127.0.0.1:${port}`) });
    await managed(nats);
  }, 60_000);
  afterEach(async () => {
    await brokers.close();
  });
  afterAll(async () => {
    await nats.close();
    for (const server of [...servers, alone]) await server.remove();
  });

  const urls = () => servers.map(({ url }) => url);
  const start = (node: string, replicas: number, at: string[]) =>
    brokers.start(node, {
      backplane: { kind: 'nats', urls: at, cluster: brokers.cluster, node, replicas },
    });

  test('does not start on one that is alone, and says what it takes, whether there are streams already or not [CLU-37]', async () => {
    brokers = new Brokers(() => alone.url);
    const refusal = {
      code: 'ERR_JSP_BACKPLANE_FAILED',
      message: expect.stringMatching(/replicas = 3 takes 3 servers of NATS .*, or set replicas = 1\.$/),
    };
    await expect(start('one', 3, [alone.url])).rejects.toMatchObject(refusal);
    const before = await start('one', 1, [alone.url]);
    await before.close({ drainMs: 0 });
    await expect(start('one', 3, [alone.url])).rejects.toMatchObject(refusal);
  }, 60_000);

  test('does not start where the cluster has fewer than it asks for [CLU-37]', async () => {
    brokers = new Brokers(() => servers[0].url);
    await expect(start('one', 5, urls())).rejects.toMatchObject({
      code: 'ERR_JSP_BACKPLANE_FAILED',
      message: expect.stringContaining('replicas = 5 takes 5 servers of NATS'),
    });
  }, 60_000);

  test('has all that is stored changed so, and goes on without loss when one of them is killed [CLU-34] [CLU-37]', async () => {
    brokers = new Brokers(() => servers[0].url);
    const before = await start('one', 1, urls());
    await before.close({ drainMs: 0 });
    const [one, two] = [await start('one', 3, urls()), await start('two', 3, urls())];
    const manager = await managed(nats);
    const replicas: number[] = [];
    for await (const { config } of manager.streams.list())
      if (config.name.includes(`_${brokers.cluster}_`)) replicas.push(config.num_replicas);
    expect(replicas).toEqual([3, 3, 3, 3]);

    const reader = await brokers.client(two, { session: 'reader' });
    const got: string[] = [];
    await reader.subscribe('log/#', (message) => void got.push(message.text()), { durable: 'd' });
    const publisher = await brokers.client(one, { session: 'publisher' });
    const publish = async (text: string) => {
      for (;;) {
        try {
          await publisher.publish('log/t', text, { qos: 1 });
          return;
        } catch (error) {
          // No majority had it within 8 s, on a machine that has much else to do.
          expect(error).toMatchObject({ code: 'ERR_JSP_STORE_FAILED' });
        }
      }
    };
    for (let i = 0; i < 20; i++) await publish(`${i}`);
    const { cluster } = await manager.streams.info(`JSP_${brokers.cluster}_default`);
    const leader = servers[Number(cluster?.leader?.slice(1)) - 1];
    await leader.stop();
    try {
      for (let i = 20; i < 40; i++) await publish(`${i}`);
      await until(() => new Set(got).size === 40, 'all have come');
      expect([...new Set(got)]).toEqual(Array.from({ length: 40 }, (_, i) => `${i}`));
    } finally {
      await leader.start();
    }
  }, 120_000);
});

/** Streams can be had: the servers have found each other, and who leads them. */
async function managed(nats: NatsConnection): Promise<JetStreamManager> {
  for (let tries = 1; ; tries++) {
    try {
      const manager = await jetstreamManager(nats);
      for await (const _ of manager.streams.list()) break;
      return manager;
    } catch (error) {
      if (tries === 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}
