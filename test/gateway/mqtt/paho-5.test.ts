/**
 * The cases of Eclipse Paho's interoperability suite for MQTT 5 (client_test5.py of eclipse/paho.mqtt.testing), by their names and each whole, written anew: what they wait for by
 * seconds is waited for by what comes, and seconds that have to pass are passed. The door announces a Maximum QoS of 1: what a case publishes at QoS 2 is published at QoS 1.
 */

import { describe, expect, test } from 'vitest';
import { type Heard, MqttPeer } from './mqtt-peer.ts';
import { mqttInMemory, turns, until } from './mqtt-server.ts';
import { FORBIDDEN, PahoWorld } from './paho-world.ts';

const PREFIX = 'client_test5/';
const TOPICS = ['TopicA', 'TopicA/B', 'Topic/C', 'TopicA/C', '/TopicA'].map((topic) => PREFIX + topic);
const WILD_TOPICS = ['TopicA/+', '+/C', '#', '/#', '/+', '+/+', 'TopicA/#'].map((topic) => PREFIX + topic);
const USER_PROPERTIES = { a: '2', c: '3' };
const FOR_LONG = { sessionExpiryInterval: 99_999 };

const world = new PahoWorld(5, TOPICS);
const { clock, a, b } = world;

/** Publishes one message of each QoS, and hears all of them. */
async function heardOfEachQoS(client: MqttPeer, properties: object): Promise<Heard[]> {
  for (const qos of [0, 1, 1] as const) await client.publish(TOPICS[0], '', { qos, properties });
  const messages = await client.messages(3);
  expect(messages.map(({ qos }) => qos).sort()).toEqual([0, 1, 1]);
  expect(await client.rest()).toEqual([]);
  return messages;
}

async function setRetained(client: MqttPeer, properties?: object): Promise<void> {
  for (const [i, qos] of ([0, 1, 1] as const).entries()) {
    await client.publish(TOPICS[i + 1], `qos ${qos}`, {
      qos,
      retain: true,
      ...(properties && { properties }),
    });
  }
}

describe('client_test5.py, MQTT 5', () => {
  test('test_basic: connects, subscribes, hears what it publishes; a second CONNECT and another protocol close the connection', async () => {
    await (await a()).disconnect();
    const client = await a();
    expect(client.connack).toMatchObject({ reasonCode: 0, properties: { maximumQoS: 1 } });
    expect(await client.subscribe(TOPICS[0], 2)).toEqual([1]);
    for (const qos of [0, 1, 1] as const) await client.publish(TOPICS[0], `qos ${qos}`, { qos });
    expect((await client.texts(3)).sort()).toEqual(['qos 0', 'qos 1', 'qos 1']);
    await client.disconnect();

    const twice = await a();
    twice.connect({ clientId: 'myclientid' }).catch(() => {});
    expect((await twice.hear('disconnect')).reasonCode).toBe(0x82); // protocol error
    await twice.closed;

    const stranger = await MqttPeer.dial(world.server.port);
    stranger.sayBytes(Buffer.from([0x10, 13, 0, 2, 0x68, 0x6a, 5, 2, 0, 0, 0, 0, 2, 0x61, 0x62])); // protocol name "hj"
    await stranger.closed;
  });

  test('test_basic, QoS 2: is more than was announced, and ends the connection with 0x9b', async () => {
    const client = await a();
    client.publish(TOPICS[0], 'qos 2', { qos: 2 }).catch(() => {});
    expect((await client.hear('disconnect')).reasonCode).toBe(0x9b);
    await client.closed;
    const will = { topic: TOPICS[0], payload: Buffer.from('x'), qos: 2, retain: false } as const;
    const refused = await MqttPeer.answered(world.server.port, { clientId: 'myclientid', will });
    expect(refused.connack.reasonCode).toBe(0x9b);
    await refused.closed;
  });

  test('test_retained_message: the last values of three topics come with their user properties, each at its QoS', async () => {
    const client = await a();
    await setRetained(client, { userProperties: USER_PROPERTIES });
    await client.subscribe(WILD_TOPICS[5], 2);
    const messages = await client.messages(3);
    for (const { properties, retain } of messages) {
      expect([{ ...properties.userProperties }, retain]).toEqual([USER_PROPERTIES, true]);
    }
    expect(messages.map(({ qos }) => qos).sort()).toEqual([0, 1, 1]);
    await client.disconnect();
  });

  test('test_will_message: who lets its keep-alive pass leaves its will, with its properties, once', async () => {
    const properties = { willDelayInterval: 0, userProperties: USER_PROPERTIES };
    const will = {
      topic: TOPICS[2],
      payload: Buffer.from('will message'),
      qos: 0,
      retain: false,
      properties,
    } as const;
    const mortal = await a({ keepalive: 2, will });
    const heir = await b({ clean: false });
    await heir.subscribe(TOPICS[2], 2);
    await clock.pass(4);
    const [message] = await heir.messages(1);
    expect(String(message.payload)).toBe('will message');
    expect({ ...message.properties.userProperties }).toEqual(USER_PROPERTIES);
    expect((await mortal.hear('disconnect')).reasonCode).toBe(0x8d); // keep alive timeout
    await mortal.closed;
    await clock.pass(4);
    expect(await heir.rest()).toEqual([]);
    await heir.disconnect();
  });

  test('test_zero_length_clientid: is taken, with a clean start and without', async () => {
    for (const clean of [false, true]) {
      const client = await world.welcomed({ clientId: '', clean });
      expect(client.connack.sessionPresent).toBe(false);
      await client.disconnect();
    }
  });

  test('test_offline_message_queueing: what was published while the client was away waits for it, in order', async () => {
    const before = await a({ properties: FOR_LONG });
    await before.subscribe(WILD_TOPICS[5], 2);
    await before.disconnect();
    const publisher = await b();
    for (const [i, qos] of ([0, 1, 1] as const).entries())
      await publisher.publish(TOPICS[i + 1], `${i}`, { qos });
    await publisher.disconnect();
    const back = await a({ clean: false });
    expect(back.connack.sessionPresent).toBe(true);
    const texts = [...(await back.messages(2)), ...(await back.rest())].map(({ payload }) => String(payload));
    expect(texts.filter((text) => text !== '0')).toEqual(['1', '2']);
    await back.disconnect();
  });

  test('test_overlapping_subscriptions: a message that two filters match comes once or twice, at the QoS that was granted', async () => {
    const client = await a();
    expect(
      await client.subscribe([
        { topic: WILD_TOPICS[6], qos: 2 },
        { topic: WILD_TOPICS[0], qos: 1 },
      ]),
    ).toEqual([1, 1]);
    await client.publish(TOPICS[3], 'overlapping topic filters', { qos: 1 });
    const messages = [...(await client.messages(1)), ...(await client.rest())];
    expect([1, 2]).toContain(messages.length);
    expect(messages.every(({ qos }) => qos === 1)).toBe(true);
    await client.disconnect();
  });

  test('test_keepalive: who says nothing for one and a half times its keep-alive is closed, and its will is published', async () => {
    const will = {
      topic: TOPICS[4],
      payload: Buffer.from('keepalive expiry'),
      qos: 0,
      retain: false,
    } as const;
    const silent = await a({ keepalive: 5, will });
    const heir = await b({ keepalive: 0 });
    await heir.subscribe(TOPICS[4], 2);
    await clock.pass(7);
    expect(await heir.rest()).toEqual([]);
    await clock.pass(8);
    expect(await heir.texts(1)).toEqual(['keepalive expiry']);
    await silent.closed;
    await heir.disconnect();
  });

  test('test_redelivery_on_reconnect: what was not acknowledged comes again when the client is back', async () => {
    const first = await b({ clean: false, properties: FOR_LONG });
    await first.subscribe(WILD_TOPICS[6], 2);
    first.acknowledges = false;
    await first.publish(TOPICS[1], 'one', { qos: 1 });
    await first.publish(TOPICS[3], 'two', { qos: 1 });
    expect(await first.texts(2)).toEqual(['one', 'two']);
    await first.disconnect();
    const second = await b({ clean: false, properties: FOR_LONG });
    expect((await second.messages(2)).map(({ payload, dup }) => [String(payload), dup])).toEqual([
      ['one', true],
      ['two', true],
    ]);
    expect(await second.rest()).toEqual([]);
    await second.disconnect();
  });

  test('test_subscribe_failure: a filter that is not allowed is answered 0x87, and those beside it are granted', async () => {
    const client = await a();
    expect(await client.subscribe([TOPICS[0], FORBIDDEN], 2)).toEqual([1, 0x87]);
    await client.disconnect();
  });

  test('test_dollar_topics: a filter that begins with a wildcard does not match a topic that begins with $', async () => {
    const listener = await b();
    await listener.subscribe(['+/+', '#'], 2);
    const publisher = await a();
    // Such topics belong to the broker: nobody else may publish to them, which costs the message alone.
    const answer = await publisher.publish(`$${TOPICS[1]}`, 'dollar', { qos: 1 });
    expect(answer?.reasonCode).toBe(0x90); // topic name invalid
    await publisher.ping();
    expect(await listener.rest()).toEqual([]);
    await publisher.disconnect();
    await listener.disconnect();
  });

  test('test_unsubscribe: of three filters the one that was taken back hears nothing more', async () => {
    const listener = await b();
    for (const topic of TOPICS.slice(0, 3)) await listener.subscribe(topic, 2);
    expect((await listener.unsubscribe(TOPICS[0], 'never/subscribed')).granted).toEqual([0, 0x11]);
    const publisher = await a();
    for (const topic of TOPICS.slice(0, 3)) await publisher.publish(topic, topic, { qos: 1 });
    expect((await listener.texts(2)).sort()).toEqual([TOPICS[2], TOPICS[1]].sort());
    expect(await listener.rest()).toEqual([]);
    await listener.disconnect();
    await publisher.disconnect();
  });

  test('test_session_expiry: at 0 it ends with the connection, else after its time; DISCONNECT can change it', async () => {
    const connected = async (
      sessionExpiryInterval: number,
      clean: boolean,
      isPresent: boolean,
    ): Promise<MqttPeer> => {
      const client = await a({ clean, properties: { sessionExpiryInterval } });
      expect(client.connack).toMatchObject({ reasonCode: 0, sessionPresent: isPresent });
      return client;
    };
    let client = await connected(0, true, false);
    await client.subscribe(TOPICS[0], 2);
    await client.disconnect();
    await (await connected(0, false, false)).disconnect();

    client = await connected(5, true, false);
    await client.subscribe(TOPICS[0], 2);
    await client.disconnect();
    await clock.pass(2);
    await (await connected(5, false, true)).disconnect();
    await clock.pass(6);
    await (await connected(5, false, false)).disconnect();

    client = await connected(1, true, false);
    await client.subscribe(TOPICS[0], 2);
    await client.disconnect({ sessionExpiryInterval: 5 });
    await clock.pass(3);
    client = await connected(1, false, true);
    await client.disconnect({ sessionExpiryInterval: 0 });
    await (await connected(1, false, false)).disconnect({ sessionExpiryInterval: 0 });

    // What was 0 cannot become more: that is a protocol error.
    client = await connected(0, true, false);
    client.say({ cmd: 'disconnect', reasonCode: 0, properties: { sessionExpiryInterval: 5 } });
    expect((await client.hear('disconnect')).reasonCode).toBe(0x82);
    await client.closed;
  });

  test('test_user_properties: come as they were given, in their order, doubled names and all', async () => {
    const client = await a();
    await client.subscribe(TOPICS[0], 2);
    for (const { properties } of await heardOfEachQoS(client, { userProperties: USER_PROPERTIES })) {
      expect({ ...properties.userProperties }).toEqual(USER_PROPERTIES);
    }
    const doubled = { userProperties: { a: ['1', '', '2'], '': 'é' } };
    await client.publish(TOPICS[0], '', { properties: doubled });
    const [{ properties }] = await client.messages(1);
    expect({ ...properties.userProperties }).toEqual(doubled.userProperties);
    await client.disconnect();
  });

  test('test_payload_format: payload format and content type come as they were given', async () => {
    const client = await a();
    await client.subscribe(TOPICS[0], 2);
    const given = { payloadFormatIndicator: true, contentType: 'My name' };
    for (const { properties } of await heardOfEachQoS(client, given)) expect(properties).toMatchObject(given);
    await client.disconnect();
  });

  test('test_publication_expiry: what expired while the client was away does not come, and the rest says what is left of its time', async () => {
    const before = await b({ properties: FOR_LONG });
    await before.subscribe(TOPICS[0], 2);
    await before.disconnect({ sessionExpiryInterval: 999_999_999 });
    const publisher = await a();
    for (const messageExpiryInterval of [1, 1, 6, 6]) {
      await publisher.publish(TOPICS[0], `${messageExpiryInterval}`, {
        qos: 1,
        properties: { messageExpiryInterval },
      });
    }
    await clock.pass(3);
    const back = await b({ clean: false });
    const messages = await back.messages(2);
    for (const { payload, properties } of messages) {
      expect(String(payload)).toBe('6');
      expect(properties.messageExpiryInterval).toBe(3);
    }
    expect(await back.rest()).toEqual([]);
    await back.disconnect();
    await publisher.disconnect();
  });

  test('test_subscribe_options, no local: who published it does not hear it, others do', async () => {
    const [publisher, other] = [await a(), await b()];
    for (const client of [publisher, other]) await client.subscribe({ topic: TOPICS[0], qos: 2, nl: true });
    await publisher.publish(TOPICS[0], 'noLocal test', { qos: 1 });
    await publisher.publish(TOPICS[0], 'noLocal test', { qos: 0 });
    expect(await other.texts(2)).toEqual(['noLocal test', 'noLocal test']);
    expect(await publisher.rest()).toEqual([]);
    expect(await other.rest()).toEqual([]);
    await publisher.disconnect();
    await other.disconnect();
  });

  test('test_subscribe_options, retain as published: tells whether it was published to be kept; else it is said of what was kept alone', async () => {
    const [client, plain] = [await a(), await b()];
    await client.subscribe({ topic: TOPICS[0], qos: 2, rap: true });
    await plain.subscribe(TOPICS[0], 2);
    for (const retain of [false, true]) await client.publish(TOPICS[0], `${retain}`, { qos: 1, retain });
    for (const retain of [false, true]) await client.publish(TOPICS[0], `${retain}`, { qos: 0, retain });
    const told = (messages: Heard[]) => messages.map(({ payload, retain }) => `${payload} ${retain}`).sort();
    expect(told(await client.messages(4))).toEqual(['false false', 'false false', 'true true', 'true true']);
    expect(told(await plain.messages(4))).toEqual(['false false', 'false false', 'true false', 'true false']);
    await client.disconnect();
    await plain.disconnect();
  });

  test('test_subscribe_options, retain handling: kept values come at 0 each time, at 1 with a new subscription, at 2 never', async () => {
    const publisher = await a();
    await setRetained(publisher);
    await publisher.disconnect();
    for (const [rh, first, again] of [
      [1, 3, 0],
      [2, 0, 0],
      [0, 3, 3],
    ] as const) {
      const client = await a();
      for (const count of [first, again]) {
        await client.subscribe({ topic: WILD_TOPICS[5], qos: 2, rh });
        expect((await client.messages(count)).map(({ qos }) => qos).sort()).toEqual(
          [0, 1, 1].slice(0, count),
        );
        expect(await client.rest()).toEqual([]);
      }
      await client.disconnect();
    }
  });

  test('test_assigned_clientid: who has no id is given one, by which it can come back', async () => {
    const client = await world.welcomed({ clientId: '', properties: { sessionExpiryInterval: 60 } });
    const clientId: string = client.connack.properties.assignedClientIdentifier;
    expect(clientId).toMatch(/./);
    await client.disconnect();
    const back = await world.welcomed({ clientId, clean: false });
    expect(back.connack.sessionPresent).toBe(true);
    expect(back.connack.properties?.assignedClientIdentifier).toBeUndefined();
    await back.disconnect({ sessionExpiryInterval: 0 });
  });

  test('test_subscribe_identifiers: a message tells which subscriptions it came by', async () => {
    const [one, two] = [await a(), await b()];
    await one.subscribe(TOPICS[0], 2, { subscriptionIdentifier: 456_789 });
    await two.subscribe(TOPICS[0], 2, { subscriptionIdentifier: 2 });
    await two.subscribe(`${TOPICS[0]}/#`, 2, { subscriptionIdentifier: 3 });
    await two.publish(TOPICS[0], 'sub identifier test', { qos: 1 });
    const identifiers = (messages: Heard[]): number[] =>
      messages.flatMap(({ properties }) => [properties.subscriptionIdentifier].flat()).sort();
    expect(identifiers(await one.messages(1))).toEqual([456_789]);
    // One message for all filters that match, or one for each: the standard allows both.
    const messages = [...(await two.messages(1)), ...(await two.rest())];
    expect(identifiers(messages)).toEqual([2, 3]);
    await one.disconnect();
    await two.disconnect();
  });

  test('test_request_response: response topic and correlation data reach the responder, and its answer who asked', async () => {
    const [requester, responder] = [await a(), await b()];
    for (const client of [requester, responder])
      await client.subscribe({ topic: TOPICS[0], qos: 2, nl: true });
    const given = { responseTopic: TOPICS[0], correlationData: Buffer.from('334') };
    await requester.publish(TOPICS[0], 'request', { qos: 1, properties: given });
    const [request] = await responder.messages(1);
    expect(request.properties).toMatchObject(given);
    const { responseTopic, correlationData } = request.properties;
    await responder.publish(responseTopic, 'response', {
      qos: 1,
      properties: { responseTopic, correlationData },
    });
    const [response] = await requester.messages(1);
    expect([String(response.payload), String(response.properties.correlationData)]).toEqual([
      'response',
      '334',
    ]);
    await requester.disconnect();
    await responder.disconnect();
  });

  test('test_client_topic_alias: stands for the topic it was set with, ends with the connection; 0 and an unknown one are refused with 0x94', async () => {
    const zero = await a();
    zero.sayBytes(publishWithAlias(TOPICS[0], 0));
    expect((await zero.hear('disconnect')).reasonCode).toBe(0x94);
    await zero.closed;

    const client = await a({ properties: { topicAliasMaximum: 0, ...FOR_LONG } });
    expect(client.connack.properties.topicAliasMaximum).toBeGreaterThan(0);
    await client.subscribe(TOPICS[0], 2);
    await client.publish(TOPICS[0], 'topic alias 1', { qos: 1, properties: { topicAlias: 1 } });
    await client.publish('', 'topic alias 2', { qos: 1, properties: { topicAlias: 1 } });
    expect(await client.texts(2)).toEqual(['topic alias 1', 'topic alias 2']);
    await client.disconnect();

    const back = await a({ clean: false });
    await back.publish(TOPICS[0], 'topic alias 3', { qos: 1 });
    expect(await back.texts(1)).toEqual(['topic alias 3']);
    back.publish('', 'topic alias 4', { qos: 1, properties: { topicAlias: 1 } }).catch(() => {});
    expect([0x82, 0x94]).toContain((await back.hear('disconnect')).reasonCode);
    await back.closed;
    const beyond = await a();
    const topicAlias = (beyond.connack.properties.topicAliasMaximum as number) + 1;
    beyond.publish(TOPICS[0], '', { properties: { topicAlias } });
    expect((await beyond.hear('disconnect')).reasonCode).toBe(0x94);
    await beyond.closed;
  });

  test('test_server_topic_alias: is used where the client allows it, within what it allows, and nowhere else', async () => {
    const deliveries = async (topicAliasMaximum?: number): Promise<[string, number | undefined][]> => {
      const client = await a(topicAliasMaximum === undefined ? {} : { properties: { topicAliasMaximum } });
      await client.subscribe(TOPICS[0], 2);
      for (const qos of [0, 1, 1] as const) await client.publish(TOPICS[0], 'topic alias 1', { qos });
      const messages = await client.messages(3);
      await client.disconnect();
      return messages.map(({ topic, properties }) => [String(topic), properties?.topicAlias]);
    };
    expect(await deliveries(1)).toEqual([
      [TOPICS[0], 1],
      ['', 1],
      ['', 1],
    ]);
    for (const none of [undefined, 0]) {
      expect(await deliveries(none)).toEqual(Array.from({ length: 3 }, () => [TOPICS[0], undefined]));
    }
  });

  test('test_maximum_packet_size: a packet that is larger than the client takes is not sent to it, and counts as done', async () => {
    const client = await a({ properties: { maximumPacketSize: 64, ...FOR_LONG } });
    await client.subscribe(TOPICS[0], 2);
    await client.publish(TOPICS[0], '.'.repeat(32));
    await client.publish(TOPICS[0], '.'.repeat(64), { qos: 1 });
    await client.publish(TOPICS[0], 'small', { qos: 1 });
    expect((await client.texts(2)).sort()).toEqual(['.'.repeat(32), 'small']);
    await client.disconnect();
    const back = await a({ clean: false });
    expect(await back.rest()).toEqual([]);
    const { maximumPacketSize } = back.connack.properties;
    expect(maximumPacketSize).toBeGreaterThan(65_535);
    // Its header says that it will be larger: nobody waits for the rest.
    back.sayBytes(Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f, 0, 1, 0x61]));
    expect((await back.hear('disconnect')).reasonCode).toBe(0x95);
    await back.closed;
  });

  test('test_server_keep_alive: a client that wants longer than the server waits is told how long that is', async () => {
    const limited = await mqttInMemory({ clock, limits: { keepAliveMaxS: 60 } }, { clock });
    const asked = async (keepalive: number): Promise<number | undefined> => {
      const client = await limited.welcomed({ keepalive });
      await client.disconnect();
      return client.connack.properties.serverKeepAlive;
    };
    expect(await asked(120)).toBe(60);
    expect(await asked(0)).toBe(60);
    expect(await asked(59)).toBeUndefined();
    await limited.close();
  });

  test('test_flow_control1: a client that takes two at a time has the third when it has acknowledged one', async () => {
    const client = await a({ properties: { receiveMaximum: 2, sessionExpiryInterval: 0 } });
    await client.subscribe(TOPICS[0], 2);
    client.acknowledges = false;
    for (const i of [1, 2, 3]) await client.publish(TOPICS[0], `message ${i}`, { qos: 1 });
    const [first, second] = await client.messages(2);
    expect([first, second].map(({ payload, qos }) => `${payload} ${qos}`)).toEqual([
      'message 1 1',
      'message 2 1',
    ]);
    expect(await client.rest()).toEqual([]);
    client.say({ cmd: 'puback', messageId: first.messageId } as never);
    const [third] = await client.messages(1);
    expect(String(third.payload)).toBe('message 3');
    for (const { messageId } of [second, third]) client.say({ cmd: 'puback', messageId } as never);
    await client.disconnect();
  });

  test('test_flow_control2: a client that sends more at once than the server takes is disconnected with 0x93', async () => {
    const small = await mqttInMemory({ limits: { receiveMax: 4 } });
    const client = await small.welcomed({ clientId: 'myclientid' });
    expect(client.connack.properties.receiveMaximum).toBe(4);
    client.socket.cork();
    for (let i = 1; i <= 6; i++) client.publish(TOPICS[0], `message ${i}`, { qos: 1 }).catch(() => {});
    client.socket.uncork();
    expect((await client.hear('disconnect')).reasonCode).toBe(0x93);
    await client.closed;
    await small.close();
  });

  test('test_will_delay: the will comes after its delay, or with the end of the session where that is sooner', async () => {
    for (const [willDelayInterval, sessionExpiryInterval, after] of [
      [3, 5, 3],
      [5, 0, 0],
      [5, 2, 2],
    ] as const) {
      const payload = Buffer.from('test_will_delay will message');
      const will = {
        topic: TOPICS[0],
        payload,
        qos: 0,
        retain: false,
        properties: { willDelayInterval },
      } as const;
      const mortal = await a({ properties: { sessionExpiryInterval }, will });
      const heir = await b();
      await heir.subscribe(TOPICS[0], 2);
      mortal.terminate();
      await until(() => world.server.broker.metrics().clients === 1);
      if (after > 0) {
        await clock.pass(after - 1);
        expect(await heir.rest()).toEqual([]);
      }
      await clock.pass(2);
      expect(await heir.texts(1)).toEqual([String(payload)]);
      await clock.pass(5);
      expect(await heir.rest()).toEqual([]);
      await heir.disconnect();
    }
  });

  test('test_shared_subscriptions: each message goes to one of those who share, and to each who subscribed beside it', async () => {
    const [one, two] = [await a(), await b()];
    for (const client of [one, two]) {
      expect(await client.subscribe([`$share/sharename/${PREFIX}x`, TOPICS[0]], 2)).toEqual([1, 1]);
    }
    await two.publish(TOPICS[0], 'to both');
    expect(await one.texts(1)).toEqual(['to both']);
    expect(await two.texts(1)).toEqual(['to both']);
    for (const qos of [0, 1, 1, 0, 1] as const) await two.publish(`${PREFIX}x`, 'to one', { qos });
    await turns(20);
    expect([...(await one.rest()), ...(await two.rest())]).toHaveLength(5);
    await one.disconnect();
    await two.disconnect();
  });
});

/** A PUBLISH of QoS 0 by an alias that the writer of packets would not write. */
function publishWithAlias(topic: string, alias: number): Buffer {
  const name = Buffer.from(topic);
  const length = 2 + name.length + 1 + 3 + 1;
  return Buffer.concat([
    Buffer.from([0x30, length, name.length >> 8, name.length & 0xff]),
    name,
    Buffer.from([3, 0x23, alias >> 8, alias & 0xff, 0x78]),
  ]);
}
