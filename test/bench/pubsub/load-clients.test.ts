import { spawn } from 'node:child_process';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type PubsubLoad, STAMP_BYTES } from '../../../src/bench/pubsub/load.ts';
import type { LoadClient } from '../../../src/bench/pubsub/load-client.ts';
import { connectLoadClient } from '../../../src/bench/pubsub/open-client.ts';
import { startBroker } from '../../../src/broker/server.ts';
import { generateIdentity } from '../../../src/index.ts';
import { NatsServer, natsProgram } from '../../broker/backplane/nats-server.ts';
import { jsp, jspTogether } from '../../cli/jsp.ts';
import { ownPort } from '../../own-port.ts';
import { ProgramFolder } from '../../program-folder.ts';
import { systemProgram } from '../../system-program.ts';

/** By kind, the URL of a broker; undefined: its program is not there. */
const urls: Record<string, string | undefined> = {};
const ends: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  const broker = await startBroker({ identity: generateIdentity(), port: 0 });
  urls.jsp = broker.url;
  ends.push(() => broker.close({ drainMs: 0 }));
  const nats = natsProgram();
  if (nats !== null) {
    const server = await NatsServer.start(nats);
    urls.nats = server.url;
    ends.push(() => server.remove());
  }
  const program = systemProgram(
    ['mosquitto', '/usr/sbin/mosquitto'],
    'mosquitto',
    'jsp bench of MQTT',
    [0, 3],
  );
  if (program === null) return;
  const port = await ownPort();
  const mosquitto = spawn(program, ['-p', `${port}`], { stdio: ['ignore', 'ignore', 'pipe'] });
  const folder = new ProgramFolder('jsp-mosquitto-');
  folder.runs(mosquitto);
  ends.push(() => folder.remove());
  await new Promise<void>((resolve) => {
    mosquitto.stderr.on('data', (text: Buffer) => text.includes('running') && resolve());
  });
  urls.mqtt = `mqtt://127.0.0.1:${port}`;
});

afterAll(async () => {
  for (const end of ends) await end();
});

const LOAD: PubsubLoad = {
  prefix: 'bench/0',
  topics: 3,
  size: STAMP_BYTES,
  publishers: 1,
  subscribers: 2,
  shared: false,
  overflow: 'block',
  qos: 0,
  window: 100,
  durable: false,
  rate: 0,
  warmUpSeconds: 0,
  seconds: 1,
};

/** 600 messages from the same memory, as the bench publishes them; what came to each of two subscribers, once all is there. */
async function through(url: string, load: PubsubLoad): Promise<number[][]> {
  const clients: LoadClient[] = await Promise.all([0, 1, 2].map(() => connectLoadClient(url, load)));
  const [publisher, ...subscribers] = clients;
  const failures: string[] = [];
  for (const client of clients) client.onEnd = (reason) => failures.push(reason);
  const came: number[][] = [[], []];
  for (const [i, subscriber] of subscribers.entries())
    await subscriber.subscribe(load, i, (payload) => came[i].push(payload.readUInt32BE(0)));
  const message = Buffer.alloc(STAMP_BYTES);
  const acknowledged: Promise<unknown>[] = [];
  for (let i = 0; i < 600; i++) {
    message.writeUInt32BE(i);
    const topic = `${load.prefix}/${i % load.topics}`;
    if (load.qos === 1) acknowledged.push(publisher.publishAcknowledged(topic, message));
    else if (!publisher.publish(topic, message))
      await new Promise<void>((resolve) => {
        publisher.onDrain = resolve;
      });
  }
  await Promise.all(acknowledged);
  expect(await publisher.flush(AbortSignal.timeout(10_000))).toBe(0);
  const expected = load.shared ? 600 : 1_200;
  await expect.poll(() => came[0].length + came[1].length).toBe(expected);
  for (const client of clients) await client.close();
  expect(failures).toEqual([]);
  return came;
}

const ALL = Array.from({ length: 600 }, (_, i) => i);

test.for(['jsp', 'nats', 'mqtt'])(
  'what is measured of %s with QoS 0 comes once and in order',
  async (kind, { skip }) => {
    const url = urls[kind];
    if (url === undefined) return skip();
    expect(await through(url, LOAD)).toEqual([ALL, ALL]);
  },
);

test.for(['jsp', 'nats', 'mqtt'])(
  'what is measured of %s with QoS 1, of a durable subscription, comes once to one of a shared group',
  async (kind, { skip }) => {
    const url = urls[kind];
    if (url === undefined) return skip();
    const came = await through(url, { ...LOAD, prefix: 'bench/1', qos: 1, durable: true, shared: true });
    expect(came.flat().sort((a, b) => a - b)).toEqual(ALL);
  },
);

test('of a stream of NATS that a run has made nothing is left', async ({ skip }) => {
  if (urls.nats === undefined) return skip();
  const connection = await connect({ servers: urls.nats.replace('nats://', '') });
  const { streams } = await (await jetstreamManager(connection)).getAccountInfo();
  expect(streams).toBe(0);
  await connection.close();
});

test('jsp bench pubsub --broker measures another broker, and says what cannot be measured, and who does not answer', async ({
  skip,
}) => {
  const said = await jspTogether([
    ['bench', 'pubsub', '--broker', 'http://127.0.0.1'],
    ['bench', 'pubsub', 'jsp://x', '--broker', 'mqtt://127.0.0.1'],
    ['bench', 'pubsub', '--broker', 'nats://127.0.0.1', '--overflow', 'dropOldest'],
  ]);
  expect(said.map(({ exitCode }) => exitCode)).toEqual([2, 2, 2]);
  for (const [i, word] of ['mqtts://', 'one broker', '--overflow'].entries())
    expect(said[i].err).toContain(word);
  const nowhere = `nats://me:secret@127.0.0.1:${await ownPort()}`;
  await expect(connectLoadClient(nowhere, LOAD)).rejects.toMatchObject({
    code: 'ERR_JSP_SOCKET',
    message: expect.not.stringContaining('secret'),
  });
  if (urls.mqtt === undefined) return skip();
  const few = ['--rate', '200', '--seconds', '0.2', '--warm-up', '0.1'];
  const { exitCode, out } = await jsp(['bench', 'pubsub', '--broker', urls.mqtt, ...few]);
  expect(exitCode).toBe(0);
  expect(out).toMatch(/^MQTT 5 broker at 127\.0\.0\.1:\d+, not encrypted; 0\.2 s each/m);
  expect(out).toMatch(/^200\/s +40 +(\d+) +\1 +0 +\1 +0 +0 +0$/m);
});
