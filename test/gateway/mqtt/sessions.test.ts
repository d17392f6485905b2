import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Heard, MqttPeer } from './mqtt-peer.ts';
import { mqttInMemory, StandingClock, type TestMqtt } from './mqtt-server.ts';

const clock = new StandingClock();
let server: TestMqtt;
beforeAll(async () => {
  server = await mqttInMemory({ clock }, { clock, logs: [{ name: 'sensors', filters: ['s/#'] }] });
});
afterAll(async () => {
  expect(server.faults).toEqual([]);
  await server.close();
});

const KEPT = { sessionExpiryInterval: 3_600 };
const durables = (): number => server.broker.metrics().durables;
const texts = (messages: readonly Heard[]): string[] => messages.map(({ payload }) => String(payload));

async function publisher(): Promise<MqttPeer> {
  return await server.welcomed({ clientId: 'publisher' });
}

describe('a subscription of QoS 1', () => {
  test('whose filter matches topics of several logs reads all of them, and has what is in none once [BRK-132] [MQT-14]', async () => {
    const from = await publisher();
    const client = await server.welcomed({ clientId: 'all', properties: KEPT });
    expect(await client.subscribe('#', 1)).toEqual([1]);
    await from.publish('s/1', 'sensor', { qos: 1 });
    await from.publish('t/1', 'other', { qos: 1 });
    await from.publish('t/2', 'unstored', { qos: 0 });
    await from.publish('s/2', 'stored all the same', { qos: 0 });
    const heard = [...(await client.messages(4)), ...(await client.rest())];
    expect(texts(heard).sort()).toEqual(['other', 'sensor', 'stored all the same', 'unstored']);
    await client.disconnect();
    await from.publish('s/3', 'while away', { qos: 1 });
    await from.publish('t/3', 'while away, too', { qos: 1 });
    const back = await server.welcomed({ clientId: 'all', clean: false, properties: KEPT });
    expect((await back.texts(2)).sort()).toEqual(['while away', 'while away, too']);
    expect(await back.rest()).toEqual([]);
    await back.disconnect({ sessionExpiryInterval: 0 });
    await from.disconnect();
  });

  test('is over with its session: at a clean start, at DISCONNECT with an expiry of 0, and when its time is over [BRK-133] [MQT-14]', async () => {
    const before = durables();
    const client = await server.welcomed({ clientId: 'c', properties: KEPT });
    await client.subscribe('t/#', 1);
    expect(durables()).toBe(before + 1);
    client.terminate();
    const anew = await server.welcomed({ clientId: 'c', properties: KEPT });
    expect(durables()).toBe(before);
    await anew.subscribe('t/#', 1);
    await anew.disconnect({ sessionExpiryInterval: 0 });
    const again = await server.welcomed({
      clientId: 'c',
      clean: false,
      properties: { sessionExpiryInterval: 5 },
    });
    expect(again.connack.sessionPresent).toBe(false);
    expect(durables()).toBe(before);
    await again.subscribe('t/#', 1);
    await again.disconnect();
    expect((await server.welcomed({ clientId: 'other' })).connack.sessionPresent).toBe(false);
    expect(durables()).toBe(before + 1);
    await clock.pass(6);
    expect(durables()).toBe(before);
  });

  test('is taken back by UNSUBSCRIBE, and nothing comes of it when the client is back [MQT-14]', async () => {
    const from = await publisher();
    const client = await server.welcomed({ clientId: 'c', properties: KEPT });
    await client.subscribe(['a/#', 'b/#'], 1);
    expect((await client.unsubscribe('a/#', 'never')).granted).toEqual([0, 0x11]);
    await client.disconnect();
    await from.publish('a/1', 'a', { qos: 1 });
    await from.publish('b/1', 'b', { qos: 1 });
    const back = await server.welcomed({ clientId: 'c', clean: false });
    expect(await back.texts(1)).toEqual(['b']);
    expect(await back.rest()).toEqual([]);
    await back.disconnect();
    await from.disconnect();
  });
});

test('a session that has subscribed to more than can be remembered is told so, and keeps what there was room for [MQT-14]', async () => {
  const client = await server.welcomed({ clientId: 'long', properties: KEPT });
  const filters = Array.from({ length: 70 }, (_, i) => `${i}/${'x'.repeat(1_000)}`);
  const codes: number[] = [];
  for (const filter of filters) codes.push(...(await client.subscribe(filter, 0)));
  const granted = codes.filter((code) => code === 0).length;
  expect([granted > 60, granted < 66, codes.at(-1)]).toEqual([true, true, 0x97]);
  await client.disconnect();
  const back = await server.welcomed({ clientId: 'long', clean: false, properties: KEPT });
  await back.publish(filters[0], 'kept');
  await back.publish(filters[69], 'not kept');
  expect(await back.texts(1)).toEqual(['kept']);
  expect(await back.rest()).toEqual([]);
  await back.disconnect({ sessionExpiryInterval: 0 });
});

describe('a message that comes again', () => {
  test('has DUP and the packet identifier that it had, and an acknowledgement of an earlier connection settles no other [MQT-16]', async () => {
    const from = await publisher();
    const client = await server.welcomed({ clientId: 'c', properties: KEPT });
    await client.subscribe('r/#', 1);
    client.acknowledges = false;
    for (const text of ['1', '2', '3']) await from.publish('r/1', text, { qos: 1 });
    const first = await client.messages(3);
    client.say({ cmd: 'puback', messageId: first[1].messageId as number });
    await client.ping();
    client.terminate();
    const back = await MqttPeer.dial(server.port);
    back.acknowledges = false;
    await back.connect({ clientId: 'c', clean: false, properties: KEPT });
    const again = await back.messages(2);
    expect(texts(again)).toEqual(['1', '3']);
    expect(again.map(({ dup }) => dup)).toEqual([true, true]);
    expect(again.map(({ messageId }) => messageId)).toEqual([first[0].messageId, first[2].messageId]);
    back.say({ cmd: 'puback', messageId: first[1].messageId as number }); // of the earlier connection
    await back.ping();
    back.terminate();
    const last = await server.welcomed({ clientId: 'c', clean: false, properties: KEPT });
    expect(texts(await last.messages(2))).toEqual(['1', '3']);
    await last.disconnect({ sessionExpiryInterval: 0 });
    await from.disconnect();
  });
});

describe('last values', () => {
  test('come with the QoS that they were published with, as far as the subscription has it, and RETAIN stays where it is asked for [BRK-131]', async () => {
    const from = await publisher();
    await from.publish('v/0', 'zero', { qos: 0, retain: true });
    await from.publish('v/1', 'one', { qos: 1, retain: true });
    const client = await server.welcomed({ clientId: 'c' });
    await client.subscribe({ topic: 'v/#', qos: 1 });
    const values = await client.messages(2);
    const byTopic = Object.fromEntries(values.map(({ topic, qos, retain }) => [topic, [qos, retain]]));
    expect(byTopic).toEqual({ 'v/0': [0, true], 'v/1': [1, true] });
    await client.subscribe({ topic: 'v/1', qos: 0, rap: true, rh: 2 });
    await from.publish('v/1', 'live', { qos: 1, retain: true });
    const live = await client.messages(2);
    expect(live.map(({ qos, retain }) => [qos, retain]).sort()).toEqual([
      [0, true],
      [1, false],
    ]);
    for (const topic of ['v/0', 'v/1']) await from.publish(topic, '', { qos: 1, retain: true });
    await client.disconnect();
    await from.disconnect();
  });
});
