import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import { generate, type IPublishPacket, type Packet, parser } from 'mqtt-packet';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGateway } from '../../../src/gateway/index.ts';
import { PacketType } from '../../../src/gateway/mqtt/codes.ts';
import type { MqttLimitOptions } from '../../../src/gateway/mqtt/limits.ts';
import { readPacket, writeAnswer } from '../../../src/gateway/mqtt/packets.ts';
import { OutgoingPublish } from '../../../src/gateway/mqtt/publish.ts';
import { Command, PublishFlag } from '../../../src/pubsub/command.ts';
import { PropertyType } from '../../../src/pubsub/properties.ts';
import { emptyFolder } from '../../empty-folder.ts';
import { ONE } from '../certificates.ts';
import { mqttInMemory, StandingClock, type TestMqtt, turns, until } from './mqtt-server.ts';

const RECEIVE_MAX = 8;
const PARTIAL_BYTES_MAX = 256 * 1024;
let server: TestMqtt;
beforeAll(async () => {
  const limits = { receiveMax: RECEIVE_MAX, partialBytesMax: PARTIAL_BYTES_MAX };
  server = await mqttInMemory({ limits, clock: new StandingClock() });
});
afterAll(async () => {
  expect(server.faults).toEqual([]);
  await server.close();
});

/** What a whole packet of MQTT 5 says. */
function parsed(bytes: Buffer): Packet[] {
  const packets: Packet[] = [];
  const reader = parser({ protocolVersion: 5 });
  reader.on('packet', (packet) => packets.push(packet));
  reader.on('error', (error: Error) => {
    throw error;
  });
  expect(reader.parse(bytes)).toBe(0);
  return packets;
}

function text(value: string | Buffer): Buffer {
  const bytes = Buffer.from(value as string);
  return Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length), bytes]);
}

/** The body of an UNSUBSCRIBE of MQTT 5. */
function unsubscribeBody(filters: readonly (string | Buffer)[]): Buffer {
  return Buffer.concat([Buffer.of(0, 1, 0), ...filters.map(text)]);
}

test('a client of MQTT 3.1.1 that has more of QoS 2 unreleased than may be unanswered is heard when it releases them [MQT-19] [MQT-12]', async () => {
  const client = await server.welcomed({ protocolVersion: 4, clientId: 'unreleased' });
  const ids = Array.from({ length: 4 * RECEIVE_MAX }, (_, i) => i + 1);
  const message = { cmd: 'publish', topic: 'a', payload: '', qos: 2, dup: false, retain: false };
  for (const messageId of ids) client.say({ ...message, messageId } as never);
  for (const id of ids) await client.hear('pubrec', id);
  for (const messageId of ids) client.say({ cmd: 'pubrel', messageId } as never);
  for (const id of ids) await client.hear('pubcomp', id);
  await client.disconnect();
});

test.each([1, 119, 120, 121, 124, 125, 600])(
  'an answer with a reason of %i bytes is well-formed [MQT-13]',
  (bytes) => {
    const reasonString = 'x'.repeat(bytes);
    expect(parsed(writeAnswer(PacketType.PUBACK, 7, 0x87, reasonString))).toMatchObject([
      { cmd: 'puback', messageId: 7, reasonCode: 0x87, properties: { reasonString } },
    ]);
  },
);

test('of one SUBSCRIBE nobody is asked for more filters than a client may have [MQT-14]', async () => {
  const client = await server.welcomed({ clientId: 'flood' });
  const codes = await client.subscribe(
    Array.from({ length: 5_000 }, (_, i) => `f/${i % 1_500}`),
    0,
  );
  expect(codes.slice(0, 1_024).every((code) => code === 0)).toBe(true);
  expect(codes.slice(1_024).every((code) => code === 0x97)).toBe(true);
  await client.disconnect();
});

describe('texts', () => {
  test('may have U+FFFD, and are refused where they become it, and where a name has U+0000 [MQT-4]', () => {
    const head = 0xa2;
    const good = unsubscribeBody(['a\ufffd', 'a\ufffd\ufffd', 'b']);
    expect(readPacket(head, good, 5)).toMatchObject({ unsubscriptions: ['a\ufffd', 'a\ufffd\ufffd', 'b'] });
    const bad = unsubscribeBody(['a\ufffd', Buffer.of(0x61, 0xff)]);
    expect(() => readPacket(head, bad, 5)).toThrow('not UTF-8');
    const property = Buffer.concat([Buffer.of(0x26), text('a\0'), text('b')]);
    const named = Buffer.concat([Buffer.of(0, 1, property.length), property, text('a')]);
    expect(() => readPacket(head, named, 5)).toThrow('U+0000');
  });

  test('with U+FFFD, 40,000 of them, are looked at once [MQT-4]', () => {
    const filters = Array.from({ length: 40_000 }, (_, i) => `\ufffd${i}`);
    const packet = readPacket(0xa2, unsubscribeBody(filters), 5);
    expect(packet.cmd === 'unsubscribe' && packet.unsubscriptions.length).toBe(filters.length);
  });
});

test('an alias of a topic that there may not be stands for nothing that is kept, and what uses it is refused [MQT-17]', async () => {
  const client = await server.welcomed({ clientId: 'alias' });
  const properties = { topicAlias: 3 };
  for (const topic of ['t'.repeat(60_000), '']) {
    const answer = await client.publish(topic, 'x', { qos: 1, properties });
    expect(answer?.reasonCode).toBe(0x90);
  }
  await client.publish('good', 'x', { qos: 0, properties });
  expect((await client.publish('', 'x', { qos: 1, properties }))?.reasonCode).toBe(0);
  await client.disconnect();
});

test('properties that grow on their way are left out where they have no room, and never cut [MQT-20]', () => {
  const user = Buffer.concat([Buffer.of(1, 0x6b), Buffer.alloc(21_843, 0xff)]); // becomes three times as long
  const entry = (type: number, value: Buffer): Buffer =>
    Buffer.concat([Buffer.of(type, value.length >> 8, value.length), value]);
  for (const last of [0, 1, 2, 3, 5, 8, 13]) {
    const more = Buffer.concat([
      entry(PropertyType.USER, user),
      entry(PropertyType.USER, user.subarray(0, user.length - last)),
      entry(PropertyType.CONTENT_TYPE, Buffer.from('text/plain')),
    ]);
    const rest = Buffer.concat([Buffer.of(more.length >> 8, more.length), more]);
    const topic = Buffer.of(Command.PUBLISH, PublishFlag.PROPERTIES, 0, 1, 0, 0, 0, 0, 0x61);
    const message = Buffer.concat([topic, rest]);
    const packet = new OutgoingPublish().write(
      message,
      topic.length,
      Buffer.from('payload'),
      {
        ...{ qos: 1, isRetained: false, isDuplicate: false, packetId: 1 },
        ...{ topicAlias: 2, isAliasKnown: false, subscriptionIds: Array<number>(4_000).fill(0x0fff_ffff) },
      },
      true,
    );
    const [{ payload, properties }] = parsed(packet) as IPublishPacket[];
    expect(String(payload)).toBe('payload');
    expect(properties).toMatchObject({ topicAlias: 2, contentType: 'text/plain' });
  }
});

test('those who have not been let in keep no more of the broker, all together, than is allowed [MQT-3]', async () => {
  const before = server.mqtt.metrics().connections;
  const half = Buffer.concat([Buffer.of(0x10, 0xa0, 0x8d, 0x06), Buffer.alloc(30_000)]);
  const sockets: Socket[] = [];
  for (let i = 0; i < 20; i++) {
    const socket = connect(server.port, '127.0.0.1');
    socket.on('error', () => {});
    await once(socket, 'connect');
    socket.write(half);
    sockets.push(socket);
  }
  await until(() => server.mqtt.metrics().connections - before <= PARTIAL_BYTES_MAX / half.length);
  for (const socket of sockets) socket.destroy();
  const client = await server.welcomed({ clientId: 'after' });
  await client.disconnect();
});

test('half a frame of a WebSocket counts as half a packet does [MQT-3]', async () => {
  const limits = { partialBytesMax: PARTIAL_BYTES_MAX };
  const gateway = await startGateway({ broker: server.broker, port: 0, mqtt: limits });
  const socket = connect(gateway.port, '127.0.0.1');
  socket.write(
    `GET /mqtt HTTP/1.1\r\nHost: 127.0.0.1:${gateway.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n`,
  );
  const [answer] = (await once(socket, 'data')) as [Buffer];
  expect(String(answer)).toMatch(/^HTTP\/1.1 101 /);
  socket.on('error', () => {});
  socket.write(Buffer.of(0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0)); // of 1 MiB
  socket.write(Buffer.alloc(2 * PARTIAL_BYTES_MAX));
  await new Promise((resolve) => socket.once('close', resolve));
  await gateway.close({ drainMs: 0 });
});

test('what waited for its client to be let in is counted until it is read, and not as long as he is there [MQT-3]', async () => {
  const sockets: Socket[] = [];
  const payload = Buffer.alloc(40_000);
  for (let i = 0; i * payload.length <= PARTIAL_BYTES_MAX; i++) {
    const socket = connect(server.port, '127.0.0.1');
    sockets.push(socket);
    const connecting = generate({
      cmd: 'connect',
      clientId: `at-once-${i}`,
      clean: true,
      keepalive: 0,
    } as never);
    const publish = generate({ cmd: 'publish', topic: 'a', payload, qos: 0, dup: false, retain: false });
    socket.write(Buffer.concat([connecting, publish]));
    await once(socket, 'data');
  }
  const honest = connect(server.port, '127.0.0.1');
  sockets.push(honest);
  const connecting = generate({ cmd: 'connect', clientId: 'honest', clean: true, keepalive: 0 } as never);
  const before = server.mqtt.metrics().connections;
  honest.write(connecting.subarray(0, 5));
  await until(() => server.mqtt.metrics().connections > before);
  await turns(20);
  honest.write(connecting.subarray(5));
  await once(honest, 'data');
  for (const socket of sockets) socket.destroy();
});

async function securedMqtt(limits: MqttLimitOptions): Promise<TestMqtt> {
  const folder = emptyFolder();
  const tls = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
  writeFileSync(tls.cert, ONE.cert);
  writeFileSync(tls.key, ONE.key);
  return await mqttInMemory({ tls, limits });
}

test('strangers who connect and do not speak TLS are closed, and keep nobody out [MQT-5]', async () => {
  const secured = await securedMqtt({ connectMs: 100, connectionsMax: 1 });
  await once(connect(secured.port, '127.0.0.1').resume(), 'close');
  const client = tlsConnect({ port: secured.port, host: '127.0.0.1', rejectUnauthorized: false });
  await once(client, 'secureConnect');
  client.destroy();
  await secured.close();
});

test.each(['another call', 'a signal'])(
  'a door that closes waits for no stranger longer than one of those says who close it: %s [MQT-5]',
  async (who) => {
    const secured = await securedMqtt({ connectMs: 600_000 });
    const stranger = connect(secured.port, '127.0.0.1').resume();
    await once(stranger, 'connect');
    // Whoever comes behind him is accepted behind him.
    const client = tlsConnect({ port: secured.port, host: '127.0.0.1', rejectUnauthorized: false });
    await once(client, 'secureConnect');
    client.destroy();
    const controller = new AbortController();
    const closed = secured.mqtt.close({ drainMs: 600_000, signal: controller.signal });
    if (who === 'a signal') controller.abort();
    else await secured.mqtt.close({ drainMs: 0 });
    await closed;
    await once(stranger, 'close');
    await secured.close();
  },
);
