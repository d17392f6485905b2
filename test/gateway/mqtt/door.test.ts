import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import fc from 'fast-check';
import { generate, type IPublishPacket } from 'mqtt-packet';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createWebSocketStream, WebSocket } from 'ws';
import { makeApiKey } from '../../../src/broker/index.ts';
import { connectClient } from '../../../src/client/index.ts';
import { type MqttOptions, startGateway, startMqtt } from '../../../src/gateway/index.ts';
import { PacketReader } from '../../../src/gateway/mqtt/packet-reader.ts';
import { emptyFolder } from '../../empty-folder.ts';
import { ONE } from '../certificates.ts';
import { NEVER_LATE } from '../gateway-server.ts';
import { MqttPeer } from './mqtt-peer.ts';
import { mqttInMemory, StandingClock, type TestMqtt, turns, until } from './mqtt-server.ts';

const key = makeApiKey();
const clock = new StandingClock();
let server: TestMqtt;
beforeAll(async () => {
  const auth = {
    anonymous: {
      rules: [
        { allow: '*', topics: ['#'] },
        { deny: ['publish'], topics: ['denied/#'] },
      ],
    },
    keys: [{ id: key.id, hash: key.hash, name: 'robot', rules: [{ allow: '*', topics: ['robots/#'] }] }],
  } as const;
  const limits = { receiveMax: 4, topicAliasMax: 2, packetBytesMax: 64 * 1024, keepAliveMaxS: 100 };
  server = await mqttInMemory({ clock, limits }, { clock, auth: auth as never });
});
afterAll(async () => {
  expect(server.faults).toEqual([]);
  await server.close();
});

/** What a client hears that says these bytes and nothing else, and then that it is closed. */
async function answerTo(bytes: Uint8Array): Promise<Buffer> {
  const socket = connectTcp({ port: server.port, host: '127.0.0.1' });
  const heard: Buffer[] = [];
  socket.on('data', (chunk) => heard.push(chunk));
  socket.on('error', () => {});
  socket.write(bytes);
  await once(socket, 'close');
  return Buffer.concat(heard);
}

describe('the way in', () => {
  test('is for MQTT 5, 3.1.1 and 3.1, and other versions are told so [MQT-1]', async () => {
    for (const protocolVersion of [3, 4, 5] as const) {
      const client = await server.welcomed({ clientId: `v${protocolVersion}`, protocolVersion });
      await client.disconnect();
    }
    const connect = generate({
      cmd: 'connect',
      clientId: 'x',
      protocolVersion: 4,
      protocolId: 'MQTT',
      clean: true,
    });
    const other = Buffer.from(connect);
    other[8] = 7;
    expect((await answerTo(other)).subarray(0, 4)).toEqual(Buffer.of(0x20, 2, 0, 1));
  });

  test('by TLS, with a certificate of files, is the same [MQT-1]', async () => {
    const folder = emptyFolder();
    const tls = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
    writeFileSync(tls.cert, ONE.cert);
    writeFileSync(tls.key, ONE.key);
    const door = await startMqtt({ broker: server.broker, port: 0, tls, clock });
    expect(door.url).toMatch(/^mqtts:\/\/127\.0\.0\.1:\d+$/);
    const socket = connectTls({ port: door.port, host: '127.0.0.1', rejectUnauthorized: false });
    await once(socket, 'secureConnect');
    const client = new MqttPeer(socket);
    await client.connect({ clientId: 'tls' });
    expect(await client.subscribe('tls/#')).toEqual([1]);
    await client.publish('tls/1', 'sealed', { qos: 1 });
    expect(await client.texts(1)).toEqual(['sealed']);
    door.reload();
    await client.disconnect();
    await door.close();
  });

  test('by the WebSocket /mqtt of the gateway takes packets in any frames, and no texts [MQT-2]', async () => {
    const gateway = await startGateway({ broker: server.broker, port: 0, limits: NEVER_LATE });
    const url = `ws://127.0.0.1:${gateway.port}/mqtt`;
    for (const subprotocol of ['mqtt', 'mqttv3.1']) {
      const webSocket = new WebSocket(url, subprotocol);
      const client = new MqttPeer(createWebSocketStream(webSocket) as Duplex, 4);
      await client.connect({ clientId: 'ws', protocolVersion: 4 });
      expect(webSocket.protocol).toBe(subprotocol);
      const subscribe = generate({
        cmd: 'subscribe',
        messageId: 1,
        subscriptions: [{ topic: 'ws/#', qos: 1 }],
      });
      const publish = generate({
        cmd: 'publish',
        topic: 'ws/1',
        payload: 'framed',
        qos: 0,
        dup: false,
        retain: false,
      });
      for (const byte of subscribe.subarray(0, -3)) client.sayBytes(Buffer.of(byte));
      client.sayBytes(Buffer.concat([subscribe.subarray(-3), publish, publish]));
      await client.hear('suback');
      expect(await client.texts(2)).toEqual(['framed', 'framed']);
      webSocket.send('a text');
      const [code] = await once(webSocket, 'close');
      expect(code).toBe(1003);
    }
    const refused = new WebSocket(url, 'jsp.v1.json');
    const [, response] = (await once(refused, 'unexpected-response')) as [unknown, { statusCode: number }];
    expect(response.statusCode).toBe(400);
    refused.on('error', () => {});
    refused.terminate();
    await gateway.close({ drainMs: 0 });
  });

  test('is not there at a gateway that is to have none', async () => {
    const gateway = await startGateway({ broker: server.broker, port: 0, limits: NEVER_LATE, mqtt: false });
    const refused = new WebSocket(`ws://127.0.0.1:${gateway.port}/mqtt`, 'mqtt');
    const [, response] = (await once(refused, 'unexpected-response')) as [unknown, { statusCode: number }];
    expect(response.statusCode).toBe(404);
    refused.on('error', () => {});
    refused.terminate();
    await gateway.close({ drainMs: 0 });
    const wrong = { broker: server.broker, port: 0, mqtt: true as never };
    await expect(startGateway(wrong)).rejects.toThrow('mqtt must be an object, or false');
  });

  test('says nothing to who has not said CONNECT in time, or says something else first [MQT-5]', async () => {
    const silent = await MqttPeer.dial(server.port);
    let isClosed = false;
    void silent.closed.then(() => {
      isClosed = true;
    });
    while (!isClosed) await clock.pass(1); // from when the server has accepted it, which it may do late
    expect((await answerTo(Buffer.of(0xc0, 0))).length).toBe(0);
  });
});

describe('packets', () => {
  test('are cut out of a stream in any pieces, and kept in at most twice what has come [MQT-3]', () => {
    const packets = fc.array(fc.tuple(fc.integer({ min: 1, max: 15 }), fc.uint8Array({ maxLength: 300 })), {
      maxLength: 8,
    });
    fc.assert(
      fc.property(packets, fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (all, cuts) => {
        const bytes = Buffer.concat(
          all.map(([type, body]) => {
            const length =
              body.length < 128 ? [body.length] : [(body.length & 0x7f) | 0x80, body.length >> 7];
            return Buffer.concat([Buffer.of(type << 4, ...length), body]);
          }),
        );
        const reader = new PacketReader(1_000);
        const found: [number, Uint8Array][] = [];
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const end = Math.min(bytes.length, at + cuts[i % cuts.length]);
          reader.push(bytes.subarray(at, end));
          at = end;
          for (let body = reader.next(); body !== null; body = reader.next()) {
            found.push([reader.head >> 4, Uint8Array.from(body)]);
          }
        }
        expect(found).toEqual(all);
        expect(reader.keptBytes).toBe(0);
      }),
    );
  });

  test('that are larger than is taken end the connection as soon as their length is known [MQT-3]', async () => {
    const client = await server.welcomed({ clientId: 'large' });
    expect(client.connack.properties.maximumPacketSize).toBe(64 * 1024);
    client.sayBytes(Buffer.of(0x30, 0xff, 0xff, 0xff, 0x7f));
    expect((await client.hear('disconnect')).reasonCode).toBe(0x95);
    await client.closed;
  });

  test.each([
    ['a text that is not UTF-8', Buffer.of(0x30, 5, 0, 2, 0xff, 0xfe, 0), 0x81],
    ['a text with U+0000', Buffer.of(0x30, 5, 0, 2, 0x61, 0, 0), 0x81],
    ['a property that is cut off', Buffer.of(0x30, 6, 0, 1, 0x61, 2, 2, 0), 0x81],
    ['a property that is there twice', Buffer.of(0x30, 8, 0, 1, 0x61, 4, 1, 0, 1, 0), 0x82],
    ['a property of another packet', Buffer.of(0x30, 7, 0, 1, 0x61, 3, 0x21, 0, 1), 0x81],
    ['a subscription identifier from a client', Buffer.of(0x30, 6, 0, 1, 0x61, 2, 0x0b, 1), 0x82],
    ['a topic with a wildcard', Buffer.of(0x30, 4, 0, 1, 0x2b, 0), 0x90],
    ['QoS 3', Buffer.of(0x36, 6, 0, 1, 0x61, 0, 1, 0), 0x81],
    ['SUBSCRIBE without a filter', Buffer.of(0x82, 3, 0, 1, 0), 0x82],
    ['SUBSCRIBE with other flags', Buffer.of(0x80, 7, 0, 1, 0, 0, 1, 0x61, 0), 0x81],
    ['a packet of a server', Buffer.of(0xd0, 0), 0x82],
    ['AUTH', Buffer.of(0xf0, 2, 0x18, 0), 0x82],
  ])('that are %s end the connection with a reason [MQT-4] [MQT-9]', async (_, bytes, reason) => {
    const client = await server.welcomed({ clientId: 'odd' });
    client.sayBytes(bytes);
    expect((await client.hear('disconnect')).reasonCode).toBe(reason);
    await client.closed;
  });
});

describe('CONNECT', () => {
  test('names a session, which a client of another kind may have taken over, or takes over [MQT-6]', async () => {
    const first = await server.welcomed({ clientId: 'same' });
    const native = await connectClient(server.broker.url, { session: 'same' });
    expect((await first.hear('disconnect')).reasonCode).toBe(0x8e);
    await native.close();
    const long = await MqttPeer.answered(server.port, { clientId: 'x'.repeat(256) });
    expect(long.connack.reasonCode).toBe(0x85);
    const none = await MqttPeer.answered(server.port, { clientId: '', clean: false, protocolVersion: 4 });
    expect(none.connack.returnCode).toBe(2);
    const given = await server.welcomed({ clientId: '', properties: { requestResponseInformation: true } });
    const { assignedClientIdentifier: name, responseInformation } = given.connack.properties;
    expect(responseInformation).toBe(`$inbox/${name}/`);
    expect(await given.subscribe(`${responseInformation}#`)).toEqual([1]);
    await given.disconnect();
  });

  test('says in its password who it is; the user name is not looked at [MQT-7]', async () => {
    const robot = await server.welcomed({
      clientId: 'r',
      username: 'anybody',
      password: Buffer.from(key.text),
    });
    expect(await robot.subscribe(['robots/1', 'others/1'])).toEqual([1, 0x87]);
    await robot.disconnect();
    const wrong = { clientId: 'w', username: 'u', password: Buffer.from('jspk_wrong') };
    expect((await MqttPeer.answered(server.port, wrong)).connack.reasonCode).toBe(0x86);
    const older = await MqttPeer.answered(server.port, { ...wrong, protocolVersion: 4 });
    expect(older.connack.returnCode).toBe(4);
  });

  test('with an authentication method is refused [MQT-9]', async () => {
    const properties = { authenticationMethod: 'SCRAM-SHA-256', authenticationData: Buffer.of(1) };
    const { connack } = await MqttPeer.answered(server.port, { clientId: 'a', properties });
    expect(connack.reasonCode).toBe(0x8c);
  });

  test('has a keep-alive that is kept, in a version that is told and in one that is not [MQT-8]', async () => {
    const told = await server.welcomed({ clientId: 'k5', keepalive: 1_000 });
    expect(told.connack.properties.serverKeepAlive).toBe(100);
    const older = await server.welcomed({ clientId: 'k4', keepalive: 2, protocolVersion: 4 });
    await clock.pass(2);
    await older.ping();
    await clock.pass(2);
    await older.ping();
    await clock.pass(4);
    await older.closed;
    await told.ping();
    await told.disconnect();
  });
});

describe('DISCONNECT', () => {
  const will = { topic: 'wills/1', payload: Buffer.from('gone'), qos: 1 as const };

  test('takes the will back, unless it says otherwise; what was published before it is published [MQT-10]', async () => {
    const watcher = await server.welcomed({ clientId: 'watcher' });
    await watcher.subscribe(['wills/#', 'last/#']);
    const quiet = await server.welcomed({ clientId: 'q', will });
    for (let i = 0; i < 50; i++) await quiet.publish('last/1', `${i}`);
    await quiet.disconnect();
    expect(await watcher.texts(50)).toEqual(Array.from({ length: 50 }, (_, i) => `${i}`));
    const loud = await server.welcomed({ clientId: 'q', will });
    await loud.disconnect({}, 4);
    expect(await watcher.texts(1)).toEqual(['gone']);
    expect(await watcher.rest()).toEqual([]);
    const kept = await server.welcomed({ clientId: 'q' });
    kept.say({ cmd: 'disconnect', reasonCode: 0, properties: { sessionExpiryInterval: 10 } });
    expect((await kept.hear('disconnect')).reasonCode).toBe(0x82);
    await watcher.disconnect();
  });
});

describe('publishing', () => {
  test('with QoS 2 is not for MQTT 5, and whole for MQTT 3.1.1, where an identifier is taken once [MQT-12]', async () => {
    const watcher = await server.welcomed({ clientId: 'watcher' });
    expect(await watcher.subscribe('two/#', 2)).toEqual([1]); // [MQT-11]
    const refused = await MqttPeer.answered(server.port, {
      clientId: 'w5',
      will: { topic: 'a', payload: Buffer.of(), qos: 2 },
    });
    expect(refused.connack.reasonCode).toBe(0x9b);
    const session = { clientId: 'p4', clean: false, protocolVersion: 4 } as const;
    const client = await server.welcomed(session);
    const packet: IPublishPacket = {
      ...{ cmd: 'publish', topic: 'two/1', payload: 'once', qos: 2, retain: false },
      ...{ dup: false, messageId: 7 },
    };
    client.say(packet);
    await client.hear('pubrec', 7);
    client.say({ ...packet, dup: true });
    await client.hear('pubrec', 7);
    client.terminate();
    await turns(20);
    const back = await server.welcomed(session);
    back.say({ ...packet, dup: true });
    await back.hear('pubrec', 7);
    back.say({ cmd: 'pubrel', messageId: 7 });
    await back.hear('pubcomp', 7);
    back.say({ ...packet, payload: 'another' });
    await back.hear('pubrec', 7);
    back.say({ cmd: 'pubrel', messageId: 7 });
    await back.hear('pubcomp', 7);
    await back.disconnect();
    const last = await server.welcomed(session);
    last.say({ ...packet, payload: 'a third' });
    await last.hear('pubrec', 7);
    expect(await watcher.texts(3)).toEqual(['once', 'another', 'a third']);
    expect(await watcher.rest()).toEqual([]);
    for (const each of [last, watcher]) await each.disconnect();
  });

  test('what is refused has a reason in MQTT 5, and is acknowledged and dropped in 3.1.1 where it would be refused again [MQT-13]', async () => {
    const client = await server.welcomed({ clientId: 'p5' });
    const { properties = {} } = (await client.publish('denied/1', '', { qos: 1 })) ?? {};
    expect(properties.reasonString).toBeDefined();
    expect((await client.publish('$other/1', '', { qos: 1 }))?.reasonCode).toBe(0x90);
    expect((await client.publish('nobody/listens', '', { qos: 1 }))?.reasonCode ?? 0).toBeLessThan(0x80);
    await client.publish('denied/1', '', { qos: 0 });
    await client.ping();
    const older = await server.welcomed({ clientId: 'p4', protocolVersion: 4 });
    for (const topic of ['denied/1', '$other/1']) await older.publish(topic, '', { qos: 1 });
    await older.ping();
    for (const each of [client, older]) await each.disconnect();
  });

  test('of more at once than is taken ends a connection of MQTT 5, and holds one of 3.1.1 up [MQT-19]', async () => {
    const packet = (messageId: number): IPublishPacket => ({
      ...{ cmd: 'publish', topic: 'many/1', payload: 'x', qos: 1, retain: false, dup: false, messageId },
    });
    const many = (version: 4 | 5) =>
      Buffer.concat(
        Array.from({ length: 20 }, (_, i) => generate(packet(i + 1), { protocolVersion: version })),
      );
    const older = await server.welcomed({ clientId: 'm4', protocolVersion: 4 });
    older.sayBytes(many(4));
    for (let id = 1; id <= 20; id++) expect((await older.hear('puback')).messageId).toBe(id);
    const newer = await server.welcomed({ clientId: 'm5' });
    expect(newer.connack.properties.receiveMaximum).toBe(4);
    newer.sayBytes(many(5));
    expect((await newer.hear('disconnect')).reasonCode).toBe(0x93);
    await older.disconnect();
  });
});

describe('subscribing', () => {
  test('with several filters that match brings a message once with all identifiers, and again for another QoS [MQT-15] [MQT-11]', async () => {
    const client = await server.welcomed({ clientId: 's' });
    await client.subscribe('over/#', 1, { subscriptionIdentifier: 1 });
    await client.subscribe('over/+', 2, { subscriptionIdentifier: 2 });
    await client.subscribe('over/1', 0, { subscriptionIdentifier: 3 });
    await client.publish('over/1', 'x', { qos: 1 });
    const messages = [...(await client.messages(2)), ...(await client.rest())];
    const ids = messages.map(({ qos, properties }) => [
      qos,
      [properties.subscriptionIdentifier].flat().sort(),
    ]);
    expect(ids.sort()).toEqual([
      [0, [3]],
      [1, [1, 2]],
    ]);
    await client.disconnect();
  });

  test('by topic aliases abbreviates topics both ways, within what each takes [MQT-17]', async () => {
    const client = await server.welcomed({ clientId: 'al', properties: { topicAliasMaximum: 1 } });
    expect(client.connack.properties.topicAliasMaximum).toBe(2);
    await client.subscribe('aliases/#', 0);
    await client.publish('aliases/of/one', '1', { properties: { topicAlias: 2 } });
    await client.publish('', '2', { properties: { topicAlias: 2 } });
    await client.publish('aliases/of/two', '3');
    const heard = await client.messages(3);
    expect(heard.map(({ topic, properties }) => [topic, properties?.topicAlias])).toEqual([
      ['aliases/of/one', 1],
      ['', 1],
      ['aliases/of/two', undefined],
    ]);
    await client.publish('aliases/x', '', { properties: { topicAlias: 3 } });
    expect((await client.hear('disconnect')).reasonCode).toBe(0x94);
  });

  test('slowly stops nobody: a client that reads nothing costs a publisher nothing, and the others get all [MQT-18]', async () => {
    const slow = await server.welcomed({ clientId: 'slow' });
    await slow.subscribe('flood/#', 0);
    slow.socket.pause();
    const reader = await server.welcomed({ clientId: 'reader' });
    await reader.subscribe('flood/#', 1);
    const from = await server.welcomed({ clientId: 'from' });
    const payload = Buffer.alloc(32 * 1024);
    for (let i = 0; i < 200; i++) await from.publish('flood/1', payload, { qos: 1 });
    expect(await reader.messages(200)).toHaveLength(200);
    slow.terminate();
    for (const each of [reader, from]) await each.disconnect();
  });
});

test('properties and payloads go both ways between clients of MQTT and of jsp [MQT-20]', async () => {
  const client = await server.welcomed({ clientId: 'both' });
  const native = await connectClient(server.broker.url);
  const toNative = await native.subscribe('from/mqtt');
  await client.subscribe('from/jsp');
  const correlationData = Buffer.from('c1');
  await client.publish('from/mqtt', 'hello', {
    qos: 1,
    properties: {
      ...{
        contentType: 'text/plain',
        responseTopic: 'answers/1',
        correlationData,
        messageExpiryInterval: 60,
      },
      userProperties: { a: '1', traceparent: '00-1-2-01', 'jsp-key': 'k' },
    },
  });
  for await (const message of toNative) {
    expect(String(message.payload)).toBe('hello');
    expect(message).toMatchObject({ contentType: 'text/plain', key: 'k', headers: { a: '1' } });
    break;
  }
  await native.publish('from/jsp', 'back', {
    headers: { b: '2' },
    ttlMs: 100_000,
    contentType: 'x/y',
    key: 'k2',
  });
  const [{ payload, properties }] = await client.messages(1);
  expect(String(payload)).toBe('back');
  expect(properties).toMatchObject({ contentType: 'x/y' });
  // In whole seconds, of which some may have passed.
  expect(properties.messageExpiryInterval).toBeGreaterThan(50);
  expect(properties.messageExpiryInterval).toBeLessThanOrEqual(100);
  expect({ ...properties.userProperties }).toMatchObject({ b: '2', 'jsp-key': 'k2' });
  await native.close();
  await client.disconnect();
});

test('figures of clients are told, and the list of clients knows by which door they came [MQT-24]', async () => {
  const client = await server.welcomed({ clientId: 'figures' });
  await client.ping();
  await until(() => server.mqtt.metrics().connections === 1); // those of before have gone
  expect(server.mqtt.metrics()).toMatchObject({ connected: 1, connections: 1 });
  await clock.pass(2); // figures are taken once a second
  expect(server.broker.operations.snapshot().mqtt).toMatchObject({ connected: 1 });
  const { text } = await server.broker.operations.exposition();
  expect(text).toMatch(/^jsp_mqtt_clients 1$/m);
  const asker = { principal: '', address: '' };
  const answer = await server.broker.operations.request('clients', Buffer.from('{}'), asker);
  expect(JSON.stringify(answer.body)).toMatch(/"session":"figures".*"door":"mqtt"/);
  await client.disconnect();
});

test('figures of clients by WebSocket are shown until their gateway closes, though the broker lives on [MQT-24]', async () => {
  const gateway = await startGateway({ broker: server.broker, port: 0, limits: NEVER_LATE, clock });
  const shown = (): number => server.broker.operations.snapshot().mqtt?.packetsIn ?? 0;
  const webSocket = new WebSocket(`ws://127.0.0.1:${gateway.port}/mqtt`, 'mqtt');
  await new MqttPeer(createWebSocketStream(webSocket) as Duplex).connect({ clientId: 'shown' });
  await clock.pass(2);
  expect(shown()).toBe(server.mqtt.metrics().packetsIn + 1);
  await gateway.close({ drainMs: 0 });
  await clock.pass(2);
  expect(shown()).toBe(server.mqtt.metrics().packetsIn);
});

test('a door that has closed leaves no timer behind', async () => {
  const own = new StandingClock();
  const door = await startMqtt({ broker: server.broker, port: 0, clock: own });
  await MqttPeer.welcomed(door.port, { clientId: 'timed' });
  expect(own.pending).toBeGreaterThan(0);
  await door.close();
  expect(own.pending).toBe(0);
});

test('figures of a door that cannot listen are not shown [MQT-24]', async () => {
  let shown = 0;
  const operations = {
    addMqtt: () => {
      shown++;
      return () => shown--;
    },
  };
  const broker = { serve: () => {}, operations } as unknown as MqttOptions['broker'];
  const taken = startMqtt({ broker, port: server.port, clock });
  await expect(taken).rejects.toMatchObject({ code: 'ERR_JSP_SOCKET' });
  expect(shown).toBe(0);
  const door = await startMqtt({ broker, port: 0, clock });
  expect(shown).toBe(1);
  await door.close();
  expect(shown).toBe(0);
});
