/**
 * A sensor on a narrow link, and a dashboard that shows what it measures: `npm run ts examples/iot-sensor.ts [wakes] [sleepMs]`.
 *
 * The sensor sleeps most of the time. When it wakes, it sends the readings of the meantime, compressed with a dictionary that was trained on
 * yesterday's, in datagrams of at most 512 bytes. The broker between the two passes them on unopened; only the dashboard opens them.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, generateIdentity, trainDictionary } from 'jetstream-proto';
import { startBroker } from 'jetstream-proto/broker';
import { connectClient } from 'jetstream-proto/client';

const wakes = Number(process.argv[2] ?? 5);
const sleepMs = Number(process.argv[3] ?? 500);
const READINGS_A_WAKE = 10;
const MINUTE_MS = 60_000;

// What both ends have before the first message: made once, here; in life a file, as `jsp dict train` writes it.
const yesterday = Array.from({ length: 300 }, (_, minute) => Buffer.from(JSON.stringify(measure(minute))));
const dictionary = trainDictionary(yesterday, { bytes: 2_048 });
const compression = { dictionaries: [dictionary] };

// The broker asks rarely, too, whether its clients are there: each question wakes the sensor's radio.
const quiet = { heartbeatMs: 60_000, idleTimeoutMs: 300_000 };
const broker = await startBroker({ identity: generateIdentity(), port: 0, ...quiet });

const dashboard = await connectClient(broker.url, { compression });
const shown: string[] = [];
await dashboard.subscribe('sensors/+', (message) => shown.push(message.text()));

const plain = await report('sensors/plain', false);
const compressed = await report('sensors/compressed', true);

await dashboard.close();
await broker.close();

const saved = Math.round(100 * (1 - compressed / plain));
console.log(`dictionary: ${dictionary.length} bytes from ${yesterday.length} readings of yesterday`);
console.log(`dashboard: ${shown.length} readings, the last one ${shown.at(-1)}`);
console.log(`on the link: ${plain} bytes as they are, ${compressed} compressed, ${saved} % less`);

/** A sensor's days: wakes, sends, sleeps. @returns the bytes that its readings took on the link, with everything that is sent with them */
async function report(topic: string, compresses: boolean): Promise<number> {
  // The profile says: datagrams of 512 bytes, small buffers, a heartbeat every 30 s.
  const link = await connect(broker.url, { profile: 'iot' });
  const sensor = await connectClient(link, { compression: compresses ? compression : false });
  const before = link.metrics().bytesSent;
  for (let wake = 0; wake < wakes; wake++) {
    link.setAppState('foreground');
    for (let i = 0; i < READINGS_A_WAKE; i++) {
      sensor.publish(topic, JSON.stringify(measure(wake * READINGS_A_WAKE + i)));
    }
    await sensor.flush(); // the broker has them
    link.setAppState('background'); // the radio may sleep: heartbeats become rarer
    await sleep(sleepMs);
  }
  const { bytesSent, mtu } = link.metrics();
  await sensor.close();
  console.log(`${topic}: ${wakes * READINGS_A_WAKE} readings in datagrams of at most ${mtu} bytes`);
  return bytesSent - before;
}

/** What the sensor sees at a minute of the day. */
function measure(minute: number) {
  return {
    device: 'greenhouse-7',
    time: new Date(Date.UTC(2026, 5, 1) + minute * MINUTE_MS).toISOString(),
    temperature: Number((21 + 4 * Math.sin(minute / 90) + Math.random() / 5).toFixed(2)),
    humidity: Number((55 + 10 * Math.cos(minute / 120) + Math.random()).toFixed(1)),
    battery: Number((3.6 - minute / 10_000).toFixed(3)),
    status: Math.random() < 0.97 ? 'ok' : 'window open',
  };
}
