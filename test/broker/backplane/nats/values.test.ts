import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { decodeChange, encodeChange } from '../../../../src/broker/backplane/nats/value-form.ts';
import type { Broker } from '../../../../src/broker/index.ts';
import { ownPort } from '../../../own-port.ts';
import { NatsServer, natsProgram } from '../nats-server.ts';
import { TcpWay } from '../tcp-way.ts';
import { Brokers, until } from './brokers.ts';

const program = natsProgram();

describe.skipIf(program === null)('last values of brokers on NATS', () => {
  let server: NatsServer;
  let brokers: Brokers;

  beforeAll(async () => {
    server = await NatsServer.start(program as string);
  });
  afterAll(() => server.remove());
  afterEach(() => brokers.close());

  /** What a new subscriber of a broker has as last values of `filter` when so many have come. */
  async function valuesOf(broker: Broker, filter: string, count: number): Promise<string[]> {
    const client = await brokers.client(broker);
    const values: string[] = [];
    await client.subscribe(filter, (message) => {
      if (message.retained) values.push(`${message.topic}=${message.text()}`);
    });
    await until(() => values.length >= count, `${count} values of ${filter}`);
    client.destroy();
    return values.sort();
  }

  test('are everywhere, also on a broker that comes later, and are gone where they are taken away [CLU-44]', async () => {
    brokers = new Brokers(() => server.url);
    const [a, b] = await Promise.all([brokers.start('a'), brokers.start('b')]);
    const client = await brokers.client(a);
    for (const [topic, text] of [
      ['x/1', 'one'],
      ['x//%2', 'two'],
      ['x/3', 'three'],
    ]) {
      await client.publish(topic, text, { retain: true, qos: 1 });
    }
    await until(() => b.metrics().retainedMessages === 3, 'three values on b');
    expect(await valuesOf(b, 'x/#', 3)).toEqual(['x//%2=two', 'x/1=one', 'x/3=three']);
    await client.publish('x/3', '', { retain: true, qos: 1 });
    await until(() => b.metrics().retainedMessages === 2, 'two values on b');
    const late = await brokers.start('c');
    expect(await valuesOf(late, 'x/1', 1)).toEqual(['x/1=one']);
  });

  test('survive NATS, and what is kept while that is gone is everywhere when it is back [CLU-44]', async () => {
    brokers = new Brokers(() => server.url);
    const [a, b] = await Promise.all([brokers.start('a'), brokers.start('b')]);
    const [clientOfA, clientOfB] = [await brokers.client(a), await brokers.client(b)];
    clientOfA.publish('kept', 'before', { retain: true });
    await until(() => b.metrics().retainedMessages === 1, 'the value on b');
    await server.stop('SIGKILL');
    for (let i = 0; i < 20; i++) {
      clientOfA.publish(`a/${i}`, 'meanwhile', { retain: true });
      clientOfB.publish(`b/${i}`, 'meanwhile', { retain: true });
      clientOfA.publish('kept', `after ${i}`, { retain: true });
    }
    await until(() => a.metrics().retainedMessages === 21, 'all values here');
    await server.start();
    await until(
      () => a.metrics().retainedMessages === 41 && b.metrics().retainedMessages === 41,
      'all values',
      15_000,
    );
    await until(() => b.metrics().retainedMessages === 41, 'all values');
    const late = await brokers.start('c');
    expect(await valuesOf(late, 'kept', 1)).toEqual(['kept=after 19']);
    expect(await valuesOf(b, 'kept', 1)).toEqual(['kept=after 19']);
  }, 30_000);

  test('that a cut between servers of NATS has swallowed come when it is over, though nothing is kept behind them, also to who subscribes before [CLU-40] [CLU-42] [CLU-44]', async () => {
    const port = await ownPort();
    const way = await TcpWay.to(port);
    const leafnodes = `listen: "127.0.0.1:${port}", advertise: "127.0.0.1:${way.port}"`;
    const hub = await NatsServer.start(program as string, {
      ...{ domain: 'jsp', config: `server_name: "hub"\nleafnodes { ${leafnodes} }` },
    });
    const leaf = await NatsServer.start(program as string, {
      config: `server_name: "leaf"\ndefault_js_domain: { "$G": "jsp" }\nleafnodes { reconnect: 1, remotes: [ { url: "nats-leaf://127.0.0.1:${way.port}" } ] }`,
      keepsStreams: false,
    });
    brokers = new Brokers(() => hub.url);
    try {
      const [a, b] = [await brokers.start('a'), await brokers.start('b', {}, [leaf.url])];
      const client = await brokers.client(a);
      const subscriber = await brokers.client(b);
      await client.publish('before', 'it', { retain: true, qos: 1 });
      await until(() => b.metrics().retainedMessages === 1, 'the value of before');
      way.cut();
      await client.publish('meanwhile', 'it', { retain: true, qos: 1 });
      const values: string[] = [];
      await subscriber.subscribe('#', ({ topic }) => void values.push(topic));
      way.mend();
      await until(() => b.metrics().retainedMessages === 2, 'the value of meanwhile');
      await until(() => values.length === 2, 'both values at a subscriber');
      expect(values).toEqual(['before', 'meanwhile']);
    } finally {
      await brokers.close();
      await Promise.all([hub.remove(), leaf.remove(), way.close()]);
    }
  }, 40_000);

  test('that a broker which is cut off has kept do not come back over those that were published elsewhere meanwhile [CLU-45]', async () => {
    const way = await TcpWay.to(server.port);
    brokers = new Brokers(() => server.url);
    try {
      const a = await brokers.start('a', {}, [`nats://127.0.0.1:${way.port}`]);
      const b = await brokers.start('b');
      const [clientOfA, clientOfB] = [await brokers.client(a), await brokers.client(b)];
      await clientOfA.publish('x', 'before', { retain: true, qos: 1 });
      await until(() => b.metrics().retainedMessages === 1, 'the value on b');
      way.cut();
      await until(() => a.metrics().backplane?.isConnected === false, 'a is cut off', 15_000);
      for (const topic of ['x', 'y']) clientOfA.publish(topic, 'old', { retain: true });
      await until(() => a.metrics().retainedMessages === 2, 'the values on a');
      await clientOfB.publish('x', 'new', { retain: true, qos: 1 });
      way.mend();
      await until(() => b.metrics().retainedMessages === 2, 'y on b', 15_000);
      await until(() => a.metrics().backplane?.isConnected === true, 'a is back', 15_000);
      await clientOfA.publish('end', 'it', { retain: true, qos: 1 }); // behind which both have been written
      expect(await valuesOf(b, '+', 3)).toEqual(['end=it', 'x=new', 'y=old']);
      await until(() => a.metrics().retainedMessages === 3, 'all on a');
      expect(await valuesOf(a, '+', 3)).toEqual(['end=it', 'x=new', 'y=old']);
    } finally {
      await brokers.close();
      await way.close();
    }
  }, 60_000);

  test('are complete at once on a broker that comes when the last change is not kept any more [CLU-41]', async () => {
    brokers = new Brokers(() => server.url);
    const client = await brokers.client(await brokers.start('a'));
    await client.publish('x/1', 'one', { retain: true, qos: 1 });
    await client.publish('x/2', 'two', { retain: true, qos: 1 });
    await client.publish('x/2', '', { retain: true, qos: 1 });
    const nats = await connect({ servers: server.url.slice('nats://'.length) });
    const { streams } = await jetstreamManager(nats);
    const stream = `JSP_${brokers.cluster}_retained`;
    const { state } = await streams.info(stream);
    await streams.deleteMessage(stream, state.last_seq, false); // as the nodes do after an hour
    await nats.close();
    const beganMs = performance.now();
    expect(await valuesOf(await brokers.start('b'), 'x/#', 1)).toEqual(['x/1=one']);
    expect(performance.now() - beganMs).toBeLessThan(SUBSCRIBE_WAITS_MS);
  });

  test('of who is there leave with the broker of its client, and that is told once [CLU-43]', async () => {
    brokers = new Brokers(() => server.url);
    const [a, b, c] = await Promise.all([brokers.start('a'), brokers.start('b'), brokers.start('c')]);
    const client = await brokers.client(a);
    client.publish('here/1', 'me', { retain: true, owned: { graceMs: 200 } });
    const told: string[] = [];
    for (const broker of [b, c]) {
      await until(() => broker.metrics().retainedMessages === 1, 'the value');
      const watcher = await brokers.client(broker);
      await watcher.subscribe('here/+', (message) => void told.push(message.text()));
    }
    await until(() => told.length === 2, 'both have the value');
    client.destroy();
    await a.close({ drainMs: 0 });
    await until(() => told.length >= 4, 'both hear that it is gone');
    for (const broker of [b, c]) (await brokers.client(broker)).publish('here/end', 'end');
    await until(() => told.filter((text) => text === 'end').length >= 4, 'what was published behind that');
    expect(told).toEqual(['me', 'me', '', '', 'end', 'end', 'end', 'end']);
    expect([b.metrics().retainedMessages, c.metrics().retainedMessages]).toEqual([0, 0]);
  });
});

/** For so long a subscription waits for values that do not come. */
const SUBSCRIBE_WAITS_MS = 10_000;

test('a change has one form, and what is cut or of another version is none [CLU-44]', () => {
  const change = {
    node: 'node-1',
    run: 0xfedcba98,
    number: 2 ** 40 + 7,
    isConditional: true,
    place: null,
    record: Buffer.from('record'),
  };
  const bytes = encodeChange(change);
  expect(Buffer.from(bytes).toString('hex')).toBe(
    `0103066e6f64652d31fedcba98010000000007${Buffer.from('record').toString('hex')}`,
  );
  expect(decodeChange(bytes)).toEqual({ ...change, record: Uint8Array.from(change.record) });
  const place = { log: 'l.1', epoch: 2 ** 48 - 1, offset: 300 };
  const placed = encodeChange({ ...change, record: Buffer.from('r'), place });
  expect(Buffer.from(placed).toString('hex')).toBe(
    '0107066e6f64652d31fedcba98010000000007036c2e310000ffffffffffff000000000000012c72',
  );
  expect(decodeChange(placed)).toEqual({ ...change, record: Uint8Array.from(Buffer.from('r')), place });
  for (let length = 0; length < 39; length++) expect(decodeChange(placed.subarray(0, length))).toBeNull();
  const none = { ...change, isConditional: false, record: null };
  expect(decodeChange(encodeChange(none))).toEqual(none);
  const noneYet = { ...none, isConditional: true };
  expect(decodeChange(encodeChange(noneYet))).toEqual(noneYet);
  for (let length = 0; length < 19; length++) expect(decodeChange(bytes.subarray(0, length))).toBeNull();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (any) => {
      const decoded = decodeChange(any);
      if (decoded !== null) expect(decodeChange(encodeChange(decoded))).toEqual(decoded);
    }),
  );
});
