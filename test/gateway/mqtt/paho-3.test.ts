/**
 * The cases of Eclipse Paho's interoperability suite for MQTT 3.1.1 (client_test.py of eclipse/paho.mqtt.testing), by their names and each whole, written anew: what they wait for by
 * seconds is waited for by what comes, and seconds that have to pass are passed. Publishers of QoS 2 have its whole exchange, subscribers are granted QoS 1.
 */

import { describe, expect, test } from 'vitest';
import { type Heard, MqttPeer } from './mqtt-peer.ts';
import { FORBIDDEN, PahoWorld } from './paho-world.ts';

const TOPICS = ['TopicA', 'TopicA/B', 'Topic/C', 'TopicA/C', '/TopicA'] as const;
const WILD_TOPICS = ['TopicA/+', '+/C', '#', '/#', '/+', '+/+', 'TopicA/#'] as const;

const world = new PahoWorld(4, TOPICS);
const { clock, a, b } = world;

function kinds(messages: readonly Heard[]): string[] {
  return messages.map(({ topic, payload, qos }) => `${topic} ${payload} ${qos}`).sort();
}

describe('client_test.py, MQTT 3.1.1', () => {
  test('testBasic: connects, subscribes, hears what it publishes with each QoS; a second CONNECT and another protocol close the connection', async () => {
    await (await a()).disconnect();
    const client = await a();
    expect(client.connack.sessionPresent).toBe(false);
    expect(await client.subscribe(TOPICS[0], 2)).toEqual([1]);
    await client.publish(TOPICS[0], 'qos 0');
    expect(await client.publish(TOPICS[0], 'qos 1', { qos: 1 })).toMatchObject({ cmd: 'puback' });
    expect(await client.publish(TOPICS[0], 'qos 2', { qos: 2 })).toMatchObject({ cmd: 'pubcomp' });
    expect(kinds(await client.messages(3))).toEqual([
      `${TOPICS[0]} qos 0 0`,
      `${TOPICS[0]} qos 1 1`,
      `${TOPICS[0]} qos 2 1`,
    ]);
    expect(await client.rest()).toEqual([]);
    await client.disconnect();

    const twice = await a();
    twice.connect({ protocolVersion: 4, clientId: 'myclientid' }).catch(() => {});
    await twice.closed;

    const stranger = await MqttPeer.dial(world.server.port, 4);
    stranger.sayBytes(Buffer.from([0x10, 12, 0, 2, 0x68, 0x6a, 4, 2, 0, 0, 0, 2, 0x61, 0x62])); // protocol name "hj"
    await stranger.closed; // with or without a CONNACK that says why
    expect((await stranger.hear('connack').catch(() => null))?.returnCode).not.toBe(0);
  });

  test('test_retained_messages: the last values of three topics come once to who subscribes, and no more when they were taken away', async () => {
    const retained = { retain: true } as const;
    for (const [payload, count] of [['it', 3] as const, ['', 0] as const]) {
      const client = await a();
      for (const qos of [0, 1, 2] as const)
        await client.publish(TOPICS[qos + 1], payload, { qos, ...retained });
      await client.subscribe(WILD_TOPICS[5], 2);
      const messages = await client.messages(count);
      expect(messages.map(({ topic, retain }) => [topic, retain])).toEqual(
        expect.arrayContaining(TOPICS.slice(1, 1 + count).map((topic) => [topic, true])),
      );
      expect(await client.rest()).toEqual([]);
      await client.disconnect();
    }
  });

  test('will_message_test: who goes without a word leaves its will, once', async () => {
    const will = {
      topic: TOPICS[2],
      payload: Buffer.from('client not disconnected'),
      qos: 0,
      retain: false,
    } as const;
    const mortal = await a({ will, keepalive: 2 });
    const heir = await b({ clean: false });
    await heir.subscribe(TOPICS[2], 2);
    mortal.terminate();
    expect(await heir.texts(1)).toEqual(['client not disconnected']);
    await clock.pass(5);
    expect(await heir.rest()).toEqual([]);
    await heir.disconnect();
  });

  test('test_zero_length_clientid: is refused with a session that is to last, and taken with a clean one', async () => {
    const refused = await MqttPeer.answered(world.server.port, {
      protocolVersion: 4,
      clientId: '',
      clean: false,
    });
    expect(refused.connack.returnCode).toBe(2); // identifier rejected
    await refused.closed;
    const taken = await world.welcomed({ clientId: '', clean: true });
    await taken.disconnect();
  });

  test('test_offline_message_queueing: what was published while the client was away waits for it, in order', async () => {
    const before = await a({ clean: false });
    await before.subscribe(WILD_TOPICS[5], 2);
    await before.disconnect();
    const publisher = await b();
    expect(publisher.connack.sessionPresent).toBe(false);
    for (const qos of [0, 1, 2] as const) await publisher.publish(TOPICS[qos + 1], `qos ${qos}`, { qos });
    await publisher.ping();
    await publisher.disconnect();
    const back = await a({ clean: false });
    expect(back.connack.sessionPresent).toBe(true);
    const messages = [...(await back.messages(2)), ...(await back.rest())].map(({ payload }) =>
      String(payload),
    );
    expect(messages.filter((text) => text !== 'qos 0')).toEqual(['qos 1', 'qos 2']);
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
    await client.publish(TOPICS[3], 'overlapping topic filters', { qos: 2 });
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
    const first = await b({ clean: false });
    await first.subscribe(WILD_TOPICS[6], 2);
    first.acknowledges = false;
    await first.publish(TOPICS[1], 'one', { qos: 1 });
    await first.publish(TOPICS[3], 'two', { qos: 2 });
    expect(await first.texts(2)).toEqual(['one', 'two']);
    await first.disconnect();
    const second = await b({ clean: false });
    expect(second.connack.sessionPresent).toBe(true);
    const again = await second.messages(2);
    expect(again.map(({ payload, dup }) => [String(payload), dup])).toEqual([
      ['one', true],
      ['two', true],
    ]);
    expect(await second.rest()).toEqual([]);
    await second.disconnect();
    const third = await b({ clean: false });
    expect(await third.rest()).toEqual([]);
    await third.disconnect();
  });

  test('test_subscribe_failure: a filter that is not allowed is answered 0x80, and those beside it are granted', async () => {
    const client = await a();
    expect(await client.subscribe(FORBIDDEN, 2)).toEqual([0x80]);
    expect(await client.subscribe([TOPICS[0], FORBIDDEN], 2)).toEqual([1, 0x80]);
    await client.disconnect();
  });

  test('test_dollar_topics: a filter that begins with a wildcard does not match a topic that begins with $', async () => {
    const listener = await b();
    await listener.subscribe([WILD_TOPICS[5], '#'], 2);
    const publisher = await a();
    await publisher.publish(`$${TOPICS[1]}`, 'dollar', { qos: 1 }).catch(() => {}); // such topics are the broker's: it may close
    expect(await listener.rest()).toEqual([]);
    publisher.terminate();
    await listener.disconnect();
  });

  test('test_unsubscribe: of three filters the one that was taken back hears nothing more', async () => {
    const listener = await b();
    for (const topic of TOPICS.slice(0, 3)) await listener.subscribe(topic, 2);
    expect(await listener.unsubscribe(TOPICS[0])).toMatchObject({ cmd: 'unsuback' });
    const publisher = await a();
    for (const topic of TOPICS.slice(0, 3)) await publisher.publish(topic, topic, { qos: 1 });
    expect((await listener.texts(2)).sort()).toEqual([TOPICS[2], TOPICS[1]].sort());
    expect(await listener.rest()).toEqual([]);
    await listener.disconnect();
    await publisher.disconnect();
  });
});
