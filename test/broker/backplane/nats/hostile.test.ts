import { jetstream } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { NatsLive } from '../../../../src/broker/backplane/nats/live.ts';
import { NatsClaims } from '../../../../src/broker/backplane/nats/nats-claims.ts';
import { NodeMessages } from '../../../../src/broker/backplane/nats/node-messages.ts';
import { NatsNodes } from '../../../../src/broker/backplane/nats/nodes.ts';
import { StreamReader } from '../../../../src/broker/backplane/nats/stream-reader.ts';
import { NatsValues } from '../../../../src/broker/backplane/nats/values.ts';
import { type Broker, startBroker } from '../../../../src/broker/index.ts';
import { connectClient } from '../../../../src/client/index.ts';
import { generateIdentity } from '../../../../src/index.ts';
import { NatsServer, natsProgram } from '../nats-server.ts';
import { until } from './brokers.ts';

const program = natsProgram();

/** Of a node with this name, as each kind of message begins with it. */
function named(name: string, ...rest: (number | Uint8Array)[]): Buffer {
  const bytes = rest.map((part) => (typeof part === 'number' ? Buffer.of(part) : part));
  return Buffer.concat([Buffer.of(name.length), Buffer.from(name), ...bytes]);
}

/** A claim of such a node, with one entry of its state. */
function claim(node: string, key = '', value = ''): Buffer {
  const head = Buffer.of(1, 0, 0, 0, 0, 7, 0, 0, 0, 1);
  const entry = Buffer.from(
    `\0${String.fromCharCode(key.length)}${key}\0\0\0${String.fromCharCode(value.length)}${value}`,
  );
  return Buffer.concat([head, named(node), ...(key === '' ? [] : [entry])]);
}

/** The next call of a method throws, and is written down. */
function failOnce(
  { prototype, name }: { prototype: object; name: string },
  method: string,
  failed: string[],
) {
  const methods = prototype as Record<string, unknown>;
  const whole = methods[method];
  methods[method] = () => {
    methods[method] = whole;
    failed.push(`${name}.${method}`);
    throw new Error(`${name}.${method}`);
  };
}

describe.skipIf(program === null)('what others publish on the account of a cluster', () => {
  let server: NatsServer;
  let broker: Broker;
  let stranger: NatsConnection;
  const faults: unknown[] = [];

  beforeAll(async () => {
    server = await NatsServer.start(program as string);
    broker = await startBroker({
      ...{ identity: generateIdentity(), port: 0 },
      backplane: { kind: 'nats', urls: [server.url], cluster: 'odd', node: 'one' },
    });
    broker.on('fault', (fault) => faults.push(fault));
    stranger = await connect({ servers: `127.0.0.1:${server.port}` });
  });
  afterAll(async () => {
    await stranger.close();
    await broker.close({ drainMs: 0 });
    await server.remove();
  });

  test('and is none of its messages costs nobody anything [CLU-10] [CLU-11] [CLU-25] [CLU-44]', async () => {
    const frame = Buffer.alloc(16);
    frame.set([1, 1]);
    const kick = Buffer.of(2, 1, 0, 0, 0, 1, 0, 1, 65, 0, 1, 65);
    const asks = Buffer.concat([Buffer.of(1, 1), named('a b', Buffer.from('s/x'))]);
    for (const odd of ['', 'a b', 'a\r\nPUB x 0', '>', 'x'.repeat(65)]) {
      for (const body of [frame, kick]) {
        stranger.publish('jsp.odd.n.one.m', Buffer.concat([Buffer.of(1), named(odd, body)]));
        stranger.publish('jsp.odd.a.m', Buffer.concat([Buffer.of(1), named(odd, body)]));
      }
      for (let word = 0; word < 6; word++) {
        const said = Buffer.concat([Buffer.of(1, word), named(odd, Buffer.from('s/x'))]);
        stranger.publish('jsp.odd.n.one.c', said);
      }
    }
    for (const subject of ['n.one.m', 'a.m', 'n.one.c', 'n.one.u.1', 'n.one.u.x', 'm.x']) {
      for (let length = 0; length < asks.length; length++)
        stranger.publish(`jsp.odd.${subject}`, asks.subarray(0, length));
    }
    const stored: [string, Uint8Array][] = [
      ['jsp.odd.r.a', Buffer.of(1)],
      ['jsp.odd.r.b', Buffer.concat([Buffer.of(1, 1), named('a b', Buffer.alloc(80, 3))])],
      ['jsp.odd.q.default.a', Buffer.alloc(100, 1)],
      ['jsp.odd.q.default.b', Buffer.alloc(0)],
      ['$KV.jsp_odd_nodes.bad', Buffer.from('null')],
      ['$KV.jsp_odd_nodes.a.b', Buffer.from('{"node":"a.b","number":1}')],
      ['$KV.jsp_odd_claims.s.cut', Buffer.of(1, 0, 0)],
      ['$KV.jsp_odd_claims.s.odd', claim('a b')],
      ...['session/junk0', 'note/junk1', 'ids/junk2', 'will/junk3', 'x'].map(
        (key, i): [string, Uint8Array] => [`$KV.jsp_odd_claims.s.junk${i}`, claim('other', key, 'junk')],
      ),
    ];
    for (const [subject, bytes] of stored) await jetstream(stranger).publish(subject, bytes);
    await stranger.flush();

    const sessions = ['cut', 'odd', 'junk0', 'junk1', 'junk2', 'junk3', 'junk4'];
    for (const session of sessions) {
      const client = await connectClient(broker.url, { session, sessionExpiryMs: 60_000 });
      await client.close();
    }
    const client = await connectClient(broker.url);
    const heard: string[] = [];
    await client.subscribe('#', (message) => void heard.push(message.text()));
    await client.publish('a', 'well', { qos: 1 });
    await until(() => heard.length > 0, 'a message');
    expect(heard).toEqual(['well']);
    await client.close();
    const { backplane } = broker.metrics();
    expect([backplane?.reconnects, backplane?.nodes, faults]).toEqual([0, 1, []]);
  }, 20_000);

  test('and is something that the broker fails at is left out and told as a fault, and its lines go on [CLU-14]', async () => {
    const client = await connectClient(broker.url, { session: 'steady', sessionExpiryMs: 60_000 });
    const heard: string[] = [];
    await client.subscribe('#', (message) => void heard.push(message.text()), { qos: 1 });
    await client.subscribe('live/+', (message) => void heard.push(message.text()));
    await client.publish('a', 'before', { qos: 1 });
    await until(() => heard.length > 0, 'a message');
    faults.length = 0;
    const failed: string[] = [];
    failOnce(NatsLive, 'take', failed);
    failOnce(NodeMessages, 'take', failed);
    failOnce(NatsClaims, 'hear', failed);
    failOnce(NatsNodes, 'hear', failed);
    failOnce(NatsValues, 'take', failed);
    failOnce(StreamReader, 'take', failed);
    for (const subject of ['m.live.x', 'a.m', 'n.one.c']) stranger.publish(`jsp.odd.${subject}`, 'x');
    for (const subject of ['$KV.jsp_odd_nodes.x', 'jsp.odd.r.c', 'jsp.odd.q.default.c'])
      await jetstream(stranger).publish(subject, 'x');
    await until(() => failed.length === 6 && faults.length === 3, 'a fault of each line');
    expect(faults.map((fault) => (fault as Error).message).every((what) => failed.includes(what))).toBe(true);

    await client.publish('live/a', 'live');
    await client.publish('a', 'stored', { qos: 1 });
    await client.publish('b', 'kept', { qos: 1, retain: true }); // answered when NATS has it
    const after = ['live', 'stored', 'kept'];
    await until(() => after.every((text) => heard.includes(text)), 'the messages after it');
    const other = await connectClient(broker.url, { session: 'steady', sessionExpiryMs: 60_000 });
    await other.close();
    expect(broker.metrics().backplane?.reconnects).toBe(0);
  }, 20_000);
});
