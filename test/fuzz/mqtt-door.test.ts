import { setImmediate as turn } from 'node:timers/promises';
import { generate, type Packet } from 'mqtt-packet';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Prng } from '../../src/base/random.ts';
import { connectBytes, MqttPeer } from '../gateway/mqtt/mqtt-peer.ts';
import { mqttInMemory, type TestMqtt, until } from '../gateway/mqtt/mqtt-server.ts';

const SEEDS = 150;

let server: TestMqtt;
let bystander: MqttPeer;
beforeAll(async () => {
  server = await mqttInMemory({ limits: { packetBytesMax: 4_096, receiveMax: 8 } });
  bystander = await server.welcomed({ clientId: 'bystander' });
  await bystander.subscribe('bystander', 1);
});
afterAll(async () => {
  expect(server.faults).toEqual([]);
  await server.close();
});

test('clients that say whatever they like, in whatever pieces, are answered or closed, and nobody else notices [MQT-3] [MQT-4]', async () => {
  for (let seed = 1; seed <= SEEDS; seed += 10) {
    await Promise.all(Array.from({ length: 10 }, (_, i) => converse(seed + i)));
    if (server.faults.length > 0) throw new Error(`seed ${seed} to ${seed + 9}: ${server.faults[0]}`);
  }
  await until(() => server.mqtt.metrics().connections === 1 && server.broker.metrics().clients === 1);
  await bystander.publish('bystander', 'still here', { qos: 1 });
  expect(await bystander.texts(1)).toEqual(['still here']);
  expect(await bystander.rest()).toEqual([]);
  const { connected, published, protocolErrors } = server.mqtt.metrics();
  expect(connected).toBe(1);
  // It was no use if all of them were cut off at once, or none.
  expect(published).toBeGreaterThan(SEEDS / 4);
  expect(protocolErrors).toBeGreaterThan(SEEDS / 4);
});

/** Says what `seed` makes of a conversation, and waits until the door has closed it. */
async function converse(seed: number): Promise<void> {
  const random = new Prng(seed);
  const version = pick(random, [3, 4, 5, 5] as const);
  const peer = await MqttPeer.dial(server.port, version);
  peer.acknowledges = random.chance(0.5);
  const clientId = version !== 3 && random.chance(0.3) ? '' : `fuzz-${random.below(5)}`;
  const parts: Buffer[] = [
    connectBytes({
      protocolVersion: version,
      clientId,
      clean: random.chance(0.7),
      keepalive: random.below(100),
    }),
  ];
  for (let count = random.below(12); count > 0; count--) {
    parts.push(
      random.chance(0.05)
        ? noise(random, random.below(200))
        : generate(packetOf(random, version), { protocolVersion: version }),
    );
  }
  const wire = Buffer.concat(parts);
  for (let count = random.chance(0.6) ? random.between(1, 4) : 0; count > 0; count--) {
    // Past CONNECT mostly, for what comes after it has more to go wrong.
    const from = random.chance(0.8) ? parts[0].length : 0;
    if (wire.length > from) wire[from + random.below(wire.length - from)] = random.below(256);
  }
  for (let at = 0; at < wire.length && !peer.socket.destroyed; ) {
    const end = at + (random.chance(0.7) ? wire.length : random.between(1, 20));
    peer.sayBytes(wire.subarray(at, end));
    at = end;
    if (random.chance(0.3)) await turn();
  }
  if (random.chance(0.2)) peer.terminate();
  else peer.socket.end();
  await peer.closed;
}

function packetOf(random: Prng, version: number): Packet {
  const messageId = random.between(1, 4);
  const qos = pick(random, [0, 1, 1, 2] as const);
  const topic = pick(random, ['a', 'a/b', '/', 'é', 'bystander/not', '$sys/x', '$share/g/a']);
  const filter = pick(random, ['a', '#', '+/+', '$share/g/a', '$share/g', 'a/#/b', '$sys/#']);
  switch (random.below(8)) {
    case 0:
      return {
        cmd: 'subscribe',
        messageId,
        subscriptions: [filter, topic].map((each) => ({
          topic: each,
          qos,
          nl: false,
          rap: random.chance(0.5),
          rh: random.below(3),
        })),
      } as Packet;
    case 1:
      return { cmd: 'unsubscribe', messageId, unsubscriptions: [filter] };
    case 2:
      return { cmd: pick(random, ['puback', 'pubrel', 'pubrec', 'pubcomp'] as const), messageId } as Packet;
    case 3:
      return random.chance(0.3) ? { cmd: 'disconnect' } : { cmd: 'pingreq' };
    default: {
      const properties = {
        topicAlias: random.between(1, 70),
        messageExpiryInterval: random.below(3),
        userProperties: { a: 'b' },
      };
      const payload = noise(random, random.chance(0.1) ? random.below(5_000) : random.below(50));
      return {
        cmd: 'publish',
        topic,
        payload,
        qos,
        messageId,
        retain: random.chance(0.2),
        dup: false,
        ...(version === 5 && random.chance(0.3) ? { properties } : {}),
      } as Packet;
    }
  }
}

function noise(random: Prng, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random.below(256)));
}

function pick<T>(random: Prng, from: readonly T[]): T {
  return from[random.below(from.length)];
}
