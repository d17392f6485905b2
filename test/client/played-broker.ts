import { connectClientBy } from '../../src/client/broker-client.ts';
import type { BrokerClientOptions } from '../../src/client/index.ts';
import { Command } from '../../src/pubsub/command.ts';
import { decodeProperties, endOfProperties } from '../../src/pubsub/properties.ts';
import { encodeWelcome } from '../../src/pubsub/session-commands.ts';
import { settled, until } from './fake-broker.ts';
import { type FakeConnection, FakeNetwork, type FakeStream } from './fake-transport.ts';

interface Sent {
  readonly id: number;
  readonly text: string;
  readonly priority: string;
  readonly ttlMs: number | undefined;
}

/** A client of a broker that the test plays: it welcomes with the ids that the test says, and answers nothing by itself. */
export async function playedBroker(options: BrokerClientOptions = {}) {
  const network = new FakeNetwork();
  const lastIds = [0, 0, 0, 0];
  const world = {
    connections: [] as FakeConnection[],
    sent: [] as Sent[],
    lastIds,
    isPresent: true,
    epoch: 1,
    isReachable: true,
  };
  let publishing: FakeStream | null = null;
  const connectBy = async () => {
    if (!world.isReachable) throw new Error('no way');
    const [near, far] = network.connect();
    world.connections.push(near);
    far.on('stream', (stream: FakeStream) =>
      stream.on('message', (message: Buffer) => {
        const id = message.readUInt32BE(4);
        if (message[0] === Command.HELLO) {
          const { epoch } = world;
          const isPresent = world.isPresent && world.connections.length > 1;
          const rest = { expiryMs: 1, aliases: 0, messageBytesMax: 1e6, filtersMax: 1, serverTimeMs: 1 };
          stream.send(
            encodeWelcome(id, { version: 1, isPresent, epoch, lastIds, ...rest, credentialsMs: 0 }),
          );
        } else if (message[0] === Command.PUBLISH) {
          publishing = stream;
          const topicEnd = 8 + message.readUInt16BE(2);
          const start = (message[1] & 0x10) === 0 ? topicEnd : endOfProperties(message, topicEnd);
          const ttlMs = start === topicEnd ? undefined : decodeProperties(message, topicEnd).ttlMs;
          world.sent.push({ id, text: message.toString('utf8', start), priority: stream.priority, ttlMs });
        }
      }),
    );
    return near;
  };
  const client = await connectClientBy(connectBy, 'jsp://broker', { reconnect: { maxMs: 1 }, ...options });
  const answer = (command: Uint8Array): void => void publishing?.send(command);
  const reconnect = async (): Promise<void> => {
    const { length } = world.connections;
    world.sent.length = 0;
    world.connections.at(-1)?.break();
    await until(() => world.connections.length > length && client.state === 'online');
    await settled();
  };
  return { client, world, answer, reconnect };
}
