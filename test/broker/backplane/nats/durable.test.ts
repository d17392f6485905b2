import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Broker, startBroker } from '../../../../src/broker/index.ts';
import { type BrokerClient, connectClient } from '../../../../src/client/index.ts';
import { generateIdentity } from '../../../../src/index.ts';
import { NatsServer, natsProgram } from '../nats-server.ts';

const program = natsProgram();

describe.skipIf(program === null)('two brokers on one NATS', () => {
  let server: NatsServer;
  const brokers: Broker[] = [];
  const clients: BrokerClient[] = [];

  beforeAll(async () => {
    server = await NatsServer.start(program as string);
    for (const node of ['one', 'two']) {
      const logs = [{ name: 'orders', filters: ['orders/#'] }];
      const backplane = { kind: 'nats' as const, urls: [server.url], node };
      brokers.push(await startBroker({ identity: generateIdentity(), port: 0, logs, backplane }));
    }
  });

  afterAll(async () => {
    await Promise.all(clients.map((client) => client.close({ timeoutMs: 0 }).catch(() => {})));
    await Promise.all(brokers.map((broker) => broker.close({ drainMs: 0 })));
    await server.remove();
  });

  async function clientOf(broker: number): Promise<BrokerClient> {
    const client = await connectClient(brokers[broker].url);
    clients.push(client);
    return client;
  }

  test('a message of QoS 1 that one has acknowledged comes to subscribers of both, with QoS 1 and with QoS 0, once [CLU-30] [CLU-33]', async () => {
    const [one, two] = [await clientOf(0), await clientOf(1)];
    const got: string[] = [];
    const all = new Promise<void>((resolve) => {
      const take = (who: string) => (message: { text(): string }) => {
        got.push(`${who} ${message.text()}`);
        if (got.length === 8) resolve();
      };
      void Promise.all([
        one.subscribe('t/#', take('one/1'), { qos: 1 }),
        two.subscribe('t/#', take('two/1'), { qos: 1 }),
        one.subscribe('t/#', take('one/0')),
        two.subscribe('t/#', take('two/0')),
      ]).then(async () => {
        await one.publish('t/a', 'x', { qos: 1 });
        await two.publish('t/b', 'y', { qos: 1 });
      });
    });
    await all;
    expect(got.sort()).toEqual([
      'one/0 x',
      'one/0 y',
      'one/1 x',
      'one/1 y',
      'two/0 x',
      'two/0 y',
      'two/1 x',
      'two/1 y',
    ]);
  });

  test('offsets are of the log, whichever has taken the message, and each log has its own', async () => {
    const [one, two] = [await clientOf(0), await clientOf(1)];
    const offsets: (number | null)[] = [];
    for (const client of [one, two, one])
      offsets.push((await client.publish('orders/1', 'x', { qos: 1 })).offset);
    expect(offsets).toEqual([1, 2, 3]);
  });

  test('a log is in the figures of each node, with what that has to do with it', async () => {
    const one = await clientOf(0);
    await one.publish('figures', 'x', { qos: 1 });
    const { logs } = brokers[0].operations.snapshot();
    const [log] = logs;
    expect(log).toMatchObject({ name: 'default', durable: true, state: 'open' });
    expect(log.cluster).toMatchObject({ isReachable: true, pending: 0, resent: 0, unreachable: 0 });
    expect(logs.map(({ name }) => name)).toEqual(['default', 'orders']);
  });
});
