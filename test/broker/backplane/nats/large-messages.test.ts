import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Broker } from '../../../../src/broker/index.ts';
import type { BrokerClient } from '../../../../src/client/index.ts';
import { NatsServer, natsProgram } from '../nats-server.ts';
import { Brokers, until } from './brokers.ts';

const program = natsProgram();
const SMALL = 'max_payload: 700000';
const LARGE = 'max_payload: 2000000';

describe.skipIf(program === null)('a message that is larger than NATS takes', () => {
  let server: NatsServer;
  let brokers: Brokers;
  let one: Broker;
  let two: Broker;
  let publisher: BrokerClient;
  const got: Record<string, string[]> = { here: [], there: [] };
  const told: string[] = [];

  beforeAll(async () => {
    server = await NatsServer.start(program as string, { config: SMALL });
    brokers = new Brokers(() => server.url);
    one = await brokers.start('one');
    two = await brokers.start('two');
    publisher = await brokers.client(one, { session: 'p' });
    publisher.on('notice', ({ text }) => void told.push(text));
    for (const [name, broker] of [
      ['here', one],
      ['there', two],
    ] as const) {
      const reader = await brokers.client(broker);
      await reader.subscribe('t/#', ({ topic }) => void got[name].push(topic));
    }
  }, 60_000);
  afterEach(() => {
    for (const list of [got.here, got.there, told]) list.length = 0;
  });
  afterAll(async () => {
    await brokers.close();
    await server.remove();
  });

  const large = new Uint8Array(800_000);

  /** What was published before is delivered, at both nodes. */
  async function settled(): Promise<void> {
    await publisher.publish('t/end', 'x');
    await until(() => got.here.includes('t/end') && got.there.includes('t/end'), 'the last has come');
  }

  test('reaches, with QoS 0, its own node alone, and its publisher is told; what follows comes everywhere [CLU-5]', async () => {
    await publisher.publish('t/large', large);
    await until(() => got.here.length > 0, 'its own node has it');
    await settled();
    expect(got).toEqual({ here: ['t/large', 't/end'], there: ['t/end'] });
    await until(() => told.length > 0, 'the notice');
    expect(told).toEqual(['message bytes of the cluster']);
    for (const broker of [one, two]) expect(broker.metrics().backplane?.isConnected).toBe(true);
  });

  test('is refused with QoS 1, to a log and to none, and as a last value; nobody gets it, and what follows is stored [CLU-5] [CLU-34]', async () => {
    const tooLarge = { code: 'ERR_JSP_MESSAGE_TOO_LARGE' };
    await expect(publisher.publish('t/1', large, { qos: 1 })).rejects.toMatchObject(tooLarge);
    await expect(publisher.publish('t/2', large, { qos: 1, class: 'durable' })).rejects.toMatchObject(
      tooLarge,
    );
    await publisher.publish('t/small', 'x', { qos: 1, class: 'durable' });
    await settled();
    expect(got).toEqual({ here: ['t/small', 't/end'], there: ['t/small', 't/end'] });
  });

  test('is taken when NATS takes it after a new start, and refused again when it does not any more [CLU-5]', async () => {
    const restart = async (config: string) => {
      const before = [one, two].map((broker) => broker.metrics().backplane?.reconnects ?? 0);
      await server.stop();
      server.configure(config);
      await server.start();
      await until(
        () =>
          [one, two].every((broker, i) => {
            const { isConnected = false, reconnects = 0 } = broker.metrics().backplane ?? {};
            return isConnected && reconnects > before[i];
          }),
        'both are connected again',
        20_000,
      );
    };
    await restart(LARGE);
    await publisher.publish('t/large', large);
    await publisher.publish('t/stored', large, { qos: 1, class: 'durable' });
    await settled();
    await until(() => got.there.length >= 3, 'the large ones have come');
    expect(new Set(got.there)).toEqual(new Set(['t/large', 't/stored', 't/end']));
    await restart(SMALL);
    await expect(publisher.publish('t/2', large, { qos: 1, class: 'durable' })).rejects.toMatchObject({
      code: 'ERR_JSP_MESSAGE_TOO_LARGE',
    });
  }, 60_000);

  test('is more than a broker can do with where it is much less: it does not start, and says what is needed [CLU-14]', async () => {
    const narrow = await NatsServer.start(program as string, { config: 'max_payload: 100000' });
    await expect(brokers.start('three', {}, [narrow.url])).rejects.toMatchObject({
      code: 'ERR_JSP_BACKPLANE_FAILED',
      message: expect.stringMatching(/max_payload to 655360 or more/),
    });
    await narrow.remove();
  });
});
