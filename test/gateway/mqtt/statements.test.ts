/** Statements of the standards, by their numbers in MQTT 5 ([MQTT-...]), that no client which keeps to them meets: each is said in bytes, and what comes of it. */

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Connecting, connectBytes, MqttPeer } from './mqtt-peer.ts';
import { mqttInMemory, type TestMqtt } from './mqtt-server.ts';

let server: TestMqtt;
beforeAll(async () => {
  server = await mqttInMemory();
});
afterAll(async () => {
  expect(server.faults).toEqual([]);
  await server.close();
});

/** What MQTT 5 is told when it says this behind its CONNECT: the code of DISCONNECT. */
async function codeFor(...parts: (number[] | string)[]): Promise<number> {
  const peer = await server.welcomed();
  peer.sayBytes(Buffer.concat(parts.map((part) => Buffer.from(part as string))));
  const { reasonCode } = await peer.hear('disconnect');
  await peer.closed;
  return reasonCode;
}

/** What is answered to a first packet: the code of CONNACK or DISCONNECT, or that it was closed without a word. */
async function answerTo(first: Buffer, version: 3 | 4 | 5 = 5): Promise<number | 'closed'> {
  const peer = await MqttPeer.dial(server.port, version);
  peer.sayBytes(first);
  await peer.closed;
  for (const command of ['connack', 'disconnect']) {
    const packet = await peer.hear(command).catch(() => null);
    if (packet !== null) return packet.reasonCode ?? packet.returnCode;
  }
  return 'closed';
}

/** A CONNECT of which some bytes are others. */
function changedConnect(connecting: Connecting, change: (bytes: Buffer) => void): Buffer {
  const bytes = connectBytes({ clientId: 'changed', ...connecting });
  change(bytes);
  return bytes;
}

const FLAGS_AT = 9;

describe('CONNECT', () => {
  const REFUSED = [0x81, 0x82, 'closed'];

  test.each([
    [
      'the reserved flag is set [MQTT-3.1.2-3]',
      changedConnect({}, (bytes) => {
        bytes[FLAGS_AT] |= 1;
      }),
    ],
    [
      'there is no will, but a QoS of it [MQTT-3.1.2-11]',
      changedConnect({}, (bytes) => {
        bytes[FLAGS_AT] |= 8;
      }),
    ],
    [
      'there is no will, but it is to be kept [MQTT-3.1.2-13]',
      changedConnect({}, (bytes) => {
        bytes[FLAGS_AT] |= 0x20;
      }),
    ],
    [
      'the will has QoS 3 [MQTT-3.1.2-12]',
      changedConnect({ will: { topic: 'a', payload: Buffer.from('x'), qos: 1, retain: false } }, (bytes) => {
        bytes[FLAGS_AT] |= 0x18;
      }),
    ],
    [
      'the fixed header has flags [MQTT-2.1.3-1]',
      changedConnect({}, (bytes) => {
        bytes[0] |= 1;
      }),
    ],
    [
      'the client identifier is not UTF-8 [MQTT-1.5.4-1]',
      changedConnect({ clientId: 'xx' }, (bytes) => {
        bytes[bytes.length - 1] = 0xff;
      }),
    ],
    [
      'the client identifier has a U+0000 [MQTT-1.5.4-2]',
      changedConnect({ clientId: 'xx' }, (bytes) => {
        bytes[bytes.length - 1] = 0;
      }),
    ],
    [
      'a receive maximum of 0',
      changedConnect({ properties: { receiveMaximum: 1 } }, (bytes) => {
        bytes[bytes.indexOf(Buffer.of(0x21, 0, 1)) + 2] = 0;
      }),
    ],
    [
      'a maximum packet size of 0',
      changedConnect({ properties: { maximumPacketSize: 1 } }, (bytes) => {
        bytes[bytes.indexOf(Buffer.of(0x27, 0, 0, 0, 1)) + 4] = 0;
      }),
    ],
    [
      'a property of another packet',
      changedConnect({ properties: { receiveMaximum: 1 } }, (bytes) => {
        bytes[bytes.indexOf(Buffer.of(0x21, 0, 1))] = 0x13;
      }),
    ],
    [
      'a property that nobody knows',
      changedConnect({ properties: { receiveMaximum: 1 } }, (bytes) => {
        bytes[bytes.indexOf(Buffer.of(0x21, 0, 1))] = 0x7e;
      }),
    ],
  ])('is refused where %s', async (_, first) => {
    expect(REFUSED).toContain(await answerTo(first));
  });

  test('is refused where it is of a version that there is not yet [MQTT-3.1.2-2]', async () => {
    expect([0x84, 1]).toContain(
      await answerTo(
        changedConnect({}, (bytes) => {
          bytes[8] = 6;
        }),
      ),
    );
    expect([0x84, 1]).toContain(
      await answerTo(
        changedConnect({ protocolVersion: 4 }, (bytes) => {
          bytes[6] = 2;
        }),
        4,
      ),
    );
  });

  test('is refused where it wants an authentication that there is not, and AUTH is none of the packets here [MQTT-4.12.0-1]', async () => {
    expect(
      await answerTo(
        connectBytes({
          properties: { authenticationMethod: 'SCRAM-SHA-1', authenticationData: Buffer.from('x') },
        }),
      ),
    ).toBe(0x8c);
    expect(await codeFor([0xf0, 2, 0x19, 0])).toBe(0x82);
  });

  test('of MQTT 3.1.1 with a password and no user name is closed [MQTT-3.1.2-22 of 3.1.1]', async () => {
    const bytes = connectBytes({
      protocolVersion: 4,
      clientId: 'a',
      username: 'u',
      password: Buffer.from('p'),
    });
    bytes[FLAGS_AT] &= ~0x80;
    expect(await answerTo(bytes, 4)).not.toBe(0);
  });

  test('comes first: another packet closes without a word [MQTT-3.1.0-1]', async () => {
    expect(await answerTo(Buffer.of(0xc0, 0))).toBe('closed');
    for (const stranger of ['GET / HTTP/1.1\r\n', 'SSH-2.0-x\r\n', '\x16\x03\x01\x02']) {
      expect(await answerTo(Buffer.from(stranger, 'latin1'))).toBe('closed');
    }
  });

  test('packets right behind it are not lost [MQTT-3.1.4-5 allows them]', async () => {
    const peer = await MqttPeer.dial(server.port);
    peer.sayBytes(
      Buffer.concat([
        connectBytes({ clientId: 'eager' }),
        Buffer.from([0x82, 7, 0, 9, 0, 0, 1, 0x61, 0]),
        Buffer.of(0xc0, 0),
      ]),
    );
    await peer.hear('connack');
    expect((await peer.hear('suback', 9)).granted).toEqual([0]);
    await peer.hear('pingresp');
    await peer.disconnect();
  });

  test('tells what there is: CONNACK says what a client may use', async () => {
    const peer = await server.welcomed({
      properties: { sessionExpiryInterval: 60, requestResponseInformation: true },
    });
    const { properties } = peer.connack;
    expect(properties).toMatchObject({
      maximumQoS: 1,
      topicAliasMaximum: 64,
      maximumPacketSize: 1024 * 1024,
    });
    for (const available of [
      'retainAvailable',
      'wildcardSubscriptionAvailable',
      'subscriptionIdentifiersAvailable',
      'sharedSubscriptionAvailable',
    ]) {
      expect(properties[available]).not.toBe(false);
    }
    await peer.disconnect();
  });
});

describe('SUBSCRIBE and UNSUBSCRIBE', () => {
  test('are malformed or against the protocol where they are not as the standard has them', async () => {
    expect(await codeFor([0x80, 7, 0, 1, 0, 0, 1, 0x61, 0])).toBe(0x81); // flags [MQTT-3.8.1-1]
    expect([0x81, 0x82]).toContain(await codeFor([0x82, 3, 0, 1, 0])); // no filter [MQTT-3.8.3-2]
    expect([0x81, 0x82]).toContain(await codeFor([0x82, 7, 0, 0, 0, 0, 1, 0x61, 0])); // identifier 0 [MQTT-2.2.1-3]
    expect([0x81, 0x82]).toContain(await codeFor([0x82, 7, 0, 1, 0, 0, 1, 0x61, 3])); // QoS 3
    expect([0x81, 0x82]).toContain(await codeFor([0x82, 7, 0, 1, 0, 0, 1, 0x61, 0x30])); // retain handling 3
    expect([0x81, 0x82]).toContain(await codeFor([0x82, 7, 0, 1, 0, 0, 1, 0x61, 0xc0])); // reserved options [MQTT-3.8.3-5]
    expect([0x81, 0x82]).toContain(await codeFor([0x82, 9, 0, 1, 2, 0x0b, 0, 0, 1, 0x61, 0])); // subscription identifier 0
    expect(await codeFor([0xa0, 6, 0, 1, 0, 0, 1, 0x61])).toBe(0x81); // flags [MQTT-3.10.1-1]
    expect([0x81, 0x82]).toContain(await codeFor([0xa2, 3, 0, 1, 0])); // no filter [MQTT-3.10.3-2]
    expect(await codeFor([0x82, 16, 0, 1, 0, 0, 10], '$share/g/a', [0x04])).toBe(0x82); // shared, no local [MQTT-3.8.3-4]
  });

  test('are answered for each filter: those that are none with 0x8f', async () => {
    const peer = await server.welcomed();
    const filters = ['a/#/b', 'a+', '#a', '$share/g', '$share//a', '$share/g+/a', '$share/g/', 'fine/+'];
    expect(await peer.subscribe(filters, 1)).toEqual([...new Array(7).fill(0x8f), 1]);
    expect((await peer.unsubscribe('fine/+', 'fine/+')).granted).toEqual([0, 0x11]);
    await peer.disconnect();
    const old = await server.welcomed({ protocolVersion: 4, clientId: 'old' });
    expect(await old.subscribe(['a/#/b', 'fine'], 2)).toEqual([0x80, 1]);
    await old.disconnect();
  });

  test('the same filter again takes the place of what was asked for with it [MQTT-3.8.4-3]', async () => {
    const peer = await server.welcomed();
    expect(await peer.subscribe('again', 0)).toEqual([0]);
    expect(await peer.subscribe('again', 1, { subscriptionIdentifier: 9 })).toEqual([1]);
    await peer.publish('again', 'x', { qos: 1 });
    const [message, ...more] = [...(await peer.messages(1)), ...(await peer.rest())];
    expect([message.qos, message.properties.subscriptionIdentifier, more]).toEqual([1, 9, []]);
    await peer.disconnect();
  });
});

describe('PUBLISH', () => {
  test('is malformed or against the protocol where it is not as the standard has it', async () => {
    expect([0x81, 0x82]).toContain(await codeFor([0x36, 6, 0, 1, 0x61, 0, 1, 0])); // QoS 3 [MQTT-3.3.1-4]
    expect([0x81, 0x82]).toContain(await codeFor([0x38, 4, 0, 1, 0x61, 0])); // a duplicate of QoS 0 [MQTT-3.3.1-2]
    expect([0x81, 0x82]).toContain(await codeFor([0x32, 6, 0, 1, 0x61, 0, 0, 0])); // identifier 0 [MQTT-2.2.1-3]
    expect([0x81, 0x82]).toContain(await codeFor([0x30, 3, 0, 0, 0])); // no topic, no alias
    expect([0x81, 0x82, 0x90]).toContain(await codeFor([0x30, 6, 0, 3], 'a/#', [0])); // a wildcard [MQTT-3.3.2-2]
    expect([0x81, 0x82, 0x90]).toContain(await codeFor([0x30, 6, 0, 3], '+/a', [0]));
    expect([0x81, 0x82]).toContain(await codeFor([0x30, 5, 0, 2, 0xc0, 0x80, 0])); // no UTF-8
    expect([0x81, 0x82]).toContain(await codeFor([0x30, 6, 0, 1, 0x61, 2, 0x0b, 1])); // a subscription identifier of its own [MQTT-3.3.4-6]
    expect([0x81, 0x82]).toContain(await codeFor([0x30, 8, 0, 1, 0x61, 4, 0x01, 0, 0x01, 0])); // a property twice
    expect([0x81, 0x82]).toContain(await codeFor([0x30, 6, 0, 1, 0x61, 2, 0x01, 2])); // a payload format that there is not
    expect([0x81, 0x82]).toContain(await codeFor([0x30, 5, 0, 1, 0x61, 9, 0])); // properties beyond its end
  });

  test('is told that its topic is none of its own, and the connection goes on', async () => {
    const peer = await server.welcomed();
    expect([0, 0x10]).toContain((await peer.publish('nobody/wants/it', 'x', { qos: 1 }))?.reasonCode ?? 0);
    await peer.subscribe('somebody', 1);
    expect((await peer.publish('somebody', 'x', { qos: 1 }))?.reasonCode ?? 0).toBe(0);
    expect((await peer.publish('$sys/x', 'x', { qos: 1 }))?.reasonCode).toBeGreaterThanOrEqual(0x80);
    await peer.ping();
    await peer.disconnect();
  });

  test('an empty one that is to be kept takes the value away, and reaches who is subscribed now [MQTT-3.3.1-6]', async () => {
    const [peer, late] = [await server.welcomed(), await server.welcomed()];
    await peer.publish('taken/away', 'x', { qos: 1, retain: true });
    await peer.subscribe('taken/away', 1);
    expect((await peer.messages(1))[0]).toMatchObject({ retain: true });
    await peer.publish('taken/away', '', { qos: 1, retain: true });
    expect((await peer.messages(1))[0]).toMatchObject({ retain: false, payload: Buffer.alloc(0) });
    await late.subscribe('taken/away', 1);
    expect(await late.rest()).toEqual([]);
    await peer.disconnect();
    await late.disconnect();
  });

  test('properties of users keep their order among each other [MQTT-3.3.2-18], names that objects have by themselves are names like others', async () => {
    const peer = await server.welcomed();
    await peer.subscribe('order', 0);
    const pairs = [
      ['b', '1'],
      ['a', '2'],
      ['b', '3'],
      ['__proto__', '4'],
      ['constructor', '5'],
    ];
    const property = (text: string): Buffer =>
      Buffer.concat([Buffer.of(0, Buffer.byteLength(text)), Buffer.from(text)]);
    const properties = Buffer.concat(
      pairs.flatMap(([name, value]) => [Buffer.of(0x26), property(name), property(value)]),
    );
    const body = Buffer.concat([
      property('order'),
      Buffer.of(properties.length),
      properties,
      Buffer.from('x'),
    ]);
    const seen: Buffer[] = [];
    peer.socket.on('data', (bytes: Buffer) => seen.push(bytes));
    peer.sayBytes(Buffer.concat([Buffer.of(0x30, body.length), body]));
    await peer.messages(1);
    expect(Buffer.concat(seen).includes(properties)).toBe(true);
    await peer.disconnect();
  });
});

describe('QoS 2 of MQTT 3.1.1', () => {
  test('a message is taken once by its identifier, whatever comes again, until it is released', async () => {
    const [sender, listener] = [
      await server.welcomed({ protocolVersion: 4, clientId: 'twice' }),
      await server.welcomed(),
    ];
    await listener.subscribe('twice', 1);
    const publish = (payload: string, dup: boolean): void =>
      sender.say({
        cmd: 'publish',
        topic: 'twice',
        payload,
        qos: 2,
        dup,
        retain: false,
        messageId: 7,
      } as never);
    publish('one', false);
    publish('one', true);
    expect((await sender.hear('pubrec')).messageId).toBe(7);
    publish('one', true);
    await sender.hear('pubrec');
    sender.say({ cmd: 'pubrel', messageId: 7 } as never);
    expect((await sender.hear('pubcomp')).messageId).toBe(7);
    sender.say({ cmd: 'pubrel', messageId: 7 } as never); // again: it was lost on its way
    await sender.hear('pubcomp');
    publish('two', false);
    await sender.hear('pubrec');
    expect(await listener.texts(2)).toEqual(['one', 'two']);
    expect(await listener.rest()).toEqual([]);
    await sender.disconnect();
    await listener.disconnect();
  });

  test('an identifier that was not released is known when the session comes back', async () => {
    const connecting = { protocolVersion: 4, clientId: 'again', clean: false } as const;
    const listener = await server.welcomed();
    await listener.subscribe('once', 1);
    const publish = { cmd: 'publish', topic: 'once', payload: 'once', qos: 2, retain: false, messageId: 5 };
    const first = await server.welcomed(connecting);
    first.say({ ...publish, dup: false } as never);
    await first.hear('pubrec');
    first.terminate();
    const second = await server.welcomed(connecting);
    second.say({ ...publish, dup: true } as never);
    await second.hear('pubrec');
    second.say({ cmd: 'pubrel', messageId: 5 } as never);
    await second.hear('pubcomp');
    expect(await listener.texts(1)).toEqual(['once']);
    expect(await listener.rest()).toEqual([]);
    await second.disconnect();
    await listener.disconnect();
  });
});

describe('sessions', () => {
  test('a second client of the same identifier takes it: the first is told 0x8e, and closed', async () => {
    const first = await server.welcomed({ clientId: 'taken', properties: { sessionExpiryInterval: 60 } });
    await first.subscribe('taken', 1);
    const second = await server.welcomed({
      clientId: 'taken',
      clean: false,
      properties: { sessionExpiryInterval: 60 },
    });
    expect(second.connack.sessionPresent).toBe(true);
    expect((await first.hear('disconnect')).reasonCode).toBe(0x8e);
    await first.closed;
    await second.publish('taken', 'x', { qos: 1 });
    expect(await second.texts(1)).toEqual(['x']);
    const third = await server.welcomed({ protocolVersion: 4, clientId: 'taken', clean: true });
    expect(third.connack.sessionPresent).toBe(false);
    await third.publish('taken', 'y', { qos: 1 });
    expect(await third.rest()).toEqual([]);
    await third.disconnect();
  });

  test('DISCONNECT with 0x04 leaves the will, with 0 it does not [MQTT-3.14.4-3]', async () => {
    const listener = await server.welcomed();
    await listener.subscribe('last/words', 1);
    for (const reasonCode of [0, 4]) {
      const will = {
        topic: 'last/words',
        payload: Buffer.from(`${reasonCode}`),
        qos: 1,
        retain: false,
      } as const;
      const peer = await server.welcomed({ will });
      await peer.disconnect(undefined, reasonCode);
    }
    expect(await listener.texts(1)).toEqual(['4']);
    expect(await listener.rest()).toEqual([]);
    await listener.disconnect();
  });

  test('an acknowledgement of what was not sent does nothing', async () => {
    const peer = await server.welcomed();
    peer.say({ cmd: 'puback', messageId: 77 } as never);
    await peer.ping();
    await peer.disconnect();
  });

  test('an acknowledgement settles its message whatever reason it has', async () => {
    const peer = await server.welcomed({ properties: { receiveMaximum: 1 } });
    await peer.subscribe('reasons', 1);
    peer.acknowledges = false;
    for (const text of ['1', '2']) await peer.publish('reasons', text, { qos: 1 });
    const [first] = await peer.messages(1);
    expect(await peer.rest()).toEqual([]);
    peer.say({ cmd: 'puback', messageId: first.messageId, reasonCode: 0x83 } as never);
    expect(await peer.texts(1)).toEqual(['2']);
    await peer.disconnect();
  });
});

test('what clients publish, what of it is not taken, and what they are sent is counted [MQT-24]', async () => {
  const reader = await server.welcomed({ properties: { maximumPacketSize: 200 } });
  const publisher = await server.welcomed();
  await reader.subscribe('counted/#', 1);
  const before = server.mqtt.metrics();
  await publisher.publish('counted/0', 'x');
  await publisher.publish('$sys/x', 'x'); // nobody is told of that at QoS 0
  for (const topic of ['counted/1', 'counted/2', '$sys/x']) await publisher.publish(topic, 'x', { qos: 1 });
  await publisher.publish('counted/large', Buffer.alloc(500));
  await publisher.publish('counted/last', 'x');
  expect(await reader.texts(4)).toEqual(['x', 'x', 'x', 'x']);
  const after = server.mqtt.metrics();
  const grown = (name: keyof typeof before) => after[name] - before[name];
  const NAMES = ['published', 'refused', 'delivered', 'deliveredQos1', 'tooLarge'] as const;
  expect(NAMES.map(grown)).toEqual([7, 2, 4, 2, 1]);
  for (const peer of [reader, publisher]) await peer.disconnect();
});

test('a goodbye may say that a session which ends with its connection does [MQT-10]', async () => {
  const { protocolErrors } = server.mqtt.metrics();
  const peer = await server.welcomed();
  await peer.disconnect({ sessionExpiryInterval: 0 });
  expect(server.mqtt.metrics().protocolErrors).toBe(protocolErrors);
  const wrong = await server.welcomed();
  await wrong.disconnect({ sessionExpiryInterval: 1 });
  expect(server.mqtt.metrics().protocolErrors).toBe(protocolErrors + 1);
});
