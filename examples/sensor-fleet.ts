/**
 * A fleet of sensors whose readings all arrive, although the broker is restarted: `npm run ts examples/sensor-fleet.ts [sensors] [readings]`.
 *
 * Sensors publish with QoS 1 and keep what they could not deliver in a bounded buffer; the broker stores readings on its disk; the ingest has a durable
 * subscription, so it goes on where it was.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { generateIdentity } from 'jetstream-proto';
import { startBroker } from 'jetstream-proto/broker';
import { type BrokerClient, connectClient, jsonCodec } from 'jetstream-proto/client';

interface Reading {
  sensor: number;
  number: number;
  celsius: number;
}

const sensors = Number(process.argv[2] ?? 5);
const readings = Number(process.argv[3] ?? 40);
const directory = mkdtempSync(join(tmpdir(), 'sensor-fleet-'));
const reconnect = { minMs: 50, maxMs: 500 };

// Readings of a day at most, and 100 MB at most: then the oldest go, whether somebody has read them or not.
const broker = {
  identity: generateIdentity(),
  store: { directory },
  logs: [{ name: 'readings', filters: ['fleet/#'], maxAgeMs: 86_400_000, maxBytes: 100_000_000 }],
};
const first = await startBroker({ ...broker, port: 0 });
const { url, port } = first;

// The ingest: a reading is acknowledged when its handler is done, and comes again if the process dies before.
const seen = new Set<string>();
let again = 0;
const ingest = await connectClient(url, { reconnect });
const subscription = await ingest.subscribe(
  'fleet/+/readings',
  ({ value, redelivered }) => {
    const key = `${value.sensor}/${value.number}`;
    if (seen.has(key)) again++; // at least once: whoever stores readings stores them by their key
    if (seen.has(key) && !redelivered) throw new Error(`${key} came twice, and nobody said so`);
    seen.add(key);
  },
  { qos: 1, durable: 'ingest', from: 'earliest', codec: jsonCodec<Reading>() },
);
subscription.on('resumed', ({ recovered }) =>
  console.log(`ingest goes on ${recovered ? 'where it was' : 'from now on'}`),
);
subscription.on('gap', ({ missed }) => console.log(`ingest has missed ${missed} readings`));

const fleet = await Promise.all(Array.from({ length: sensors }, () => openSensor()));
const stored = fleet.map((sensor, number) => measure(sensor, number));

await sleep(200);
console.log('the broker goes away');
await first.close();
await sleep(300);
const second = await startBroker({ ...broker, port });
console.log('the broker is back');

const receipts = (await Promise.all(stored)).flat();
while (seen.size < sensors * readings) await sleep(20);
console.log(`${receipts.length} readings stored, ${seen.size} ingested, ${again} of them came again`);

await Promise.all([...fleet, ingest].map((client) => client.close()));
await second.close();
rmSync(directory, { recursive: true });

/** While it has no connection it keeps the newest 10,000 readings, for an hour. */
function openSensor(): Promise<BrokerClient> {
  return connectClient(url, {
    profile: 'iot',
    reconnect,
    buffer: { messages: 10_000, ageMs: 3_600_000, policy: 'dropOldest' },
  });
}

/** Measures on, whether there is a connection or not. Resolves when the broker has stored all. */
async function measure(sensor: BrokerClient, number: number) {
  const receipts = [];
  for (let i = 0; i < readings; i++) {
    const reading: Reading = {
      sensor: number,
      number: i,
      celsius: Math.round(200 + 50 * Math.random()) / 10,
    };
    receipts.push(sensor.publish(`fleet/${number}/readings`, JSON.stringify(reading), { qos: 1 }));
    await sleep(20);
  }
  return Promise.all(receipts);
}
