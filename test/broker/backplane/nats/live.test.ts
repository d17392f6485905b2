import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { BrokerClient } from '../../../../src/client/index.ts';
import { NatsServer, natsProgram } from '../nats-server.ts';
import { Brokers, until } from './brokers.ts';

const program = natsProgram();

describe.skipIf(program === null)('live messages between brokers on NATS', () => {
  let server: NatsServer;
  let brokers: Brokers;

  beforeAll(async () => {
    server = await NatsServer.start(program as string);
  });
  afterEach(() => brokers.close());
  afterAll(() => server.remove());

  async function three() {
    brokers = new Brokers(() => server.url);
    const nodes = await Promise.all(['a', 'b', 'c'].map((node) => brokers.start(node)));
    return { nodes, clients: await Promise.all(nodes.map((node) => brokers.client(node))) };
  }

  /** What a client gets of a filter, as text. */
  async function taken(client: BrokerClient, filter: string): Promise<string[]> {
    const texts: string[] = [];
    await client.subscribe(filter, (message) => void texts.push(message.text()));
    return texts;
  }

  test('come once to every subscriber of every broker, those of this one too, in order [CLU-5] [CLU-7]', async () => {
    const { clients } = await three();
    const [first] = clients;
    const all = await Promise.all(
      clients.flatMap((client) => [taken(client, 'game/+/state'), taken(client, 'game/#')]),
    );
    for (let i = 0; i < 500; i++) first.publish('game/1/state', String(i));
    await until(() => all.every((texts) => texts.length >= 500), 'all have come');
    await first.flush();
    const expected = Array.from({ length: 500 }, (_, i) => String(i));
    for (const texts of all) expect(texts).toEqual(expected);
  });
});
