import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Broker } from '../../../../src/broker/index.ts';
import type { BrokerClient } from '../../../../src/client/index.ts';
import { NatsServer, natsProgram } from '../nats-server.ts';
import { Brokers, until } from './brokers.ts';

const program = natsProgram();

describe.skipIf(program === null)('live messages between brokers on NATS', () => {
  let server: NatsServer;
  let brokers: Brokers;

  let nodes: Broker[];

  beforeAll(async () => {
    server = await NatsServer.start(program as string);
    brokers = new Brokers(() => server.url);
    nodes = await Promise.all(['a', 'b', 'c'].map((node) => brokers.start(node)));
  });
  afterAll(async () => {
    await brokers.close();
    await server.remove();
  });

  async function three() {
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

  test('of a shared group come to one member of all brokers [CLU-9]', async () => {
    const { clients } = await three();
    const texts = await Promise.all(clients.slice(1).map((client) => taken(client, '$share/workers/jobs/#')));
    const all = await taken(clients[2], 'jobs/#');
    for (let i = 0; i < 300; i++) clients[i % 3].publish('jobs/new', String(i));
    await until(() => texts.flat().length >= 300 && all.length >= 300, 'all have come');
    expect(
      texts
        .flat()
        .map(Number)
        .sort((a, b) => a - b),
    ).toEqual(Array.from({ length: 300 }, (_, i) => i));
    for (const each of texts) expect(each.length).toBeGreaterThan(50);
    expect(new Set(all).size).toBe(300);
  });

  test('are answered across brokers, and refused only when nobody anywhere wants them [CLU-12]', async () => {
    const { clients } = await three();
    const [asking, other] = clients;
    const served = await other.reply('add', (request) =>
      String(request.json<number[]>().reduce((a, b) => a + b)),
    );
    expect((await asking.request('add', '[1,2,3]')).text()).toBe('6');
    await served.close();
    const refused = { code: 'ERR_JSP_NO_RESPONDERS' };
    const codes: unknown[] = [];
    // What comes before NATS has heard that the service is gone, nobody answers.
    for (let i = 0; i < 20 && codes[codes.length - 1] !== refused.code; i++) {
      const error = await asking.request('add', '[1]', { timeoutMs: 250 }).catch((reason: unknown) => reason);
      codes.push((error as { code?: unknown }).code);
    }
    expect(codes.pop()).toBe(refused.code);
    expect(codes.filter((code) => code !== 'ERR_JSP_TIMEOUT')).toEqual([]);
    await expect(asking.request('nobody/here', '')).rejects.toMatchObject(refused);
  });

  test('reach who is here while NATS is gone, and all again when it is back, with what is missing told [CLU-5] [CLU-8]', async () => {
    const { nodes, clients } = await three();
    const [first, second] = clients;
    const here = await taken(first, 'x/#');
    const there: string[] = [];
    const subscription = await second.subscribe('x/#', (message) => void there.push(message.text()));
    subscription.on('missed', (count, reason) => there.push(`${count} ${reason}`));
    first.publish('x/1', 'before');
    await until(() => there.length === 1, 'one has come');
    await server.stop();
    await until(() => !nodes.some(connected), 'cut off');
    for (let i = 0; i < 3; i++) first.publish('x/1', `meanwhile ${i}`);
    const late = await taken(first, 'y'); // answered all the same
    await until(() => here.length === 4, 'those who are here have all');
    await server.start();
    await until(() => nodes.every(connected), 'all are back');
    await until(() => {
      first.publish('x/1', 'after');
      clients[2].publish('y', 'z');
      return there.length >= 3 && late.length > 0;
    }, 'others get them again');
    expect(there.slice(0, 3)).toEqual(['before', '3 cluster', 'after']);
  }, 40_000);

  test('are not lost to a client whose broker stops: it is told where the others are [CLU-13]', async () => {
    const { nodes, clients } = await three();
    const texts = await taken(clients[0], 'news');
    const before = nodes[1].metrics().clients + nodes[2].metrics().clients;
    const online = new Promise<void>((resolve) => {
      clients[0].on('state', (state) => state === 'online' && resolve());
    });
    void nodes[0].close({ drainMs: 2_000 });
    await online;
    const others = () => nodes[1].metrics().clients + nodes[2].metrics().clients;
    await until(() => others() > before, 'it is at another one');
    // It is there before its subscription is, which nothing here sees; until then what is published with QoS 0 is for nobody.
    let published = 0;
    const isHeard = () => {
      clients[1].publish('news', `still here ${published++}`);
      return texts.length > 0;
    };
    await until(isHeard, 'it gets messages there');
    expect(texts).toEqual([...new Set(texts)]);
  });

  function connected(broker: Broker): boolean {
    return broker.metrics().backplane?.isConnected === true;
  }
});
