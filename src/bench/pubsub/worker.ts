/** A process of `jsp bench pubsub`: the broker, some publishers or some subscribers. Does what the bench asks over the channel to its parent, and ends with it. */

import { Histogram } from '../../base/histogram.ts';
import { type Broker, startBroker } from '../../broker/index.ts';
import { generateIdentity } from '../../transport/system-crypto.ts';
import { Metronome, sharedMicros } from '../metronome.ts';
import { failureOf } from '../worker-process.ts';
import { Arrivals } from './arrivals.ts';
import { dueMicrosOf, numberOf, type PubsubLoad, publisherOf } from './load.ts';
import type { LoadClient } from './load-client.ts';
import { connectLoadClient } from './open-client.ts';
import type { PubsubAnswer, PubsubRequest, PubsubSample } from './orders.ts';
import { LoadPublisher } from './publisher.ts';

let broker: Broker | null = null;
let load: PubsubLoad;
let clients: LoadClient[] = [];
let firstNumber = 0;
let publishers: LoadPublisher[] = [];
let metronome: Metronome | null = null;
let arrivals: Arrivals[] = [];
const latencies = new Histogram();
const acknowledgements = new Histogram();
let delivered = 0;
let lastMicros = 0;
const failures: string[] = [];

process.on('message', (message) => {
  answer(message as PubsubRequest).then(
    (reply) => process.send?.(reply),
    (error: unknown) => process.send?.(failureOf(error)),
  );
});
process.on('disconnect', () => process.exit());
process.on('SIGINT', () => {}); // a terminal gives it to all of them; the parent decides

async function answer(request: PubsubRequest): Promise<PubsubAnswer> {
  switch (request.ask) {
    case 'broker':
      broker = await startBroker({
        identity: generateIdentity(),
        port: 0,
        store: request.store === null ? undefined : { directory: request.store },
      });
      return { url: broker.url };
    case 'publishers':
      await connectAll(request.url, request.load, request.from, request.count);
      return {};
    case 'subscribers':
      await connectAll(request.url, request.load, request.from, request.count);
      arrivals = await Promise.all(clients.map(subscribe));
      return {};
    case 'start':
      start(request.startMicros);
      return {};
    case 'sample':
      return { sample: sample() };
    case 'settle': {
      const signal = AbortSignal.timeout(request.timeoutMs);
      await metronome?.stop();
      await Promise.all(publishers.map((publisher) => publisher.settle(signal)));
      return {};
    }
    case 'result':
      return result();
    case 'close':
      await Promise.all(clients.map((client) => client.close()));
      await broker?.close({ drainMs: 0 });
      return {};
  }
}

/** Some at a time, so that a thousand do not all wait for the broker's answer at once. */
async function connectAll(url: string, of: PubsubLoad, from: number, count: number): Promise<void> {
  load = of;
  firstNumber = from;
  while (clients.length < count) {
    const some = Array.from({ length: Math.min(CONNECTING_MAX, count - clients.length) }, () =>
      connectLoadClient(url, of),
    );
    clients = clients.concat(await Promise.all(some));
  }
  for (const client of clients) client.onEnd = (reason) => failures.push(reason);
}

async function subscribe(client: LoadClient, index: number): Promise<Arrivals> {
  const mine = new Arrivals(load);
  await client.subscribe(load, firstNumber + index, (payload, redelivered) => {
    const number = numberOf(payload);
    if (number === 0) return; // of the warm-up
    const now = sharedMicros();
    latencies.record(now - dueMicrosOf(payload));
    mine.take(publisherOf(payload), number, redelivered);
    delivered++;
    lastMicros = now;
  });
  return mine;
}

function start(startMicros: number): void {
  publishers = clients.map(
    (client, i) => new LoadPublisher(client, load, firstNumber + i, startMicros, acknowledgements),
  );
  const goOn = (): void => {
    for (const publisher of publishers) publisher.goOn();
  };
  if (load.rate === 0) {
    setTimeout(goOn, Math.max(0, startMicros - sharedMicros()) / 1e3);
    return;
  }
  const periodMicros = Math.max(BEAT_MICROS_MIN, (load.publishers * 1e6) / (load.rate * publishers.length));
  metronome = new Metronome(startMicros, periodMicros, goOn);
}

function sample(): PubsubSample {
  const { user, system } = process.cpuUsage();
  return {
    published: publishers.reduce((sum, { counts }) => sum + counts.published, 0),
    delivered,
    p99Micros: latencies.quantile(0.99),
    cpuMicros: user + system,
    over: publishers.every(({ over }) => over),
    failures,
  };
}

function result(): PubsubAnswer {
  return {
    publishers: publishers.map(({ counts }) => counts),
    subscribers: arrivals.map((each) => ({ counts: each.counts, seen: load.shared ? each.seen : null })),
    latencies: latencies.counted,
    acknowledgements: acknowledgements.counted,
    lastMicros,
  };
}

const CONNECTING_MAX = 32;
/** A thread cannot wake up another much more often. */
const BEAT_MICROS_MIN = 50;
