/**
 * A service that answers requests, and how it fails: `npm run ts examples/service.ts [requests]`.
 *
 * Two servers share the requests. A client gets an answer, or learns why there is none: nobody is there, the server says no, or it takes too long.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { generateIdentity } from 'jetstream-proto';
import { startBroker } from 'jetstream-proto/broker';
import {
  type BrokerClient,
  connectClient,
  jsonCodec,
  type Message,
  ReplyError,
} from 'jetstream-proto/client';

const requests = Number(process.argv[2] ?? 100);
const PRICES: Readonly<Record<string, number>> = { coffee: 2.8, cake: 4.2 };

const broker = await startBroker({ identity: generateIdentity(), port: 0 });
const client = await connectClient(broker.url, { codec: jsonCodec() });

// Nobody is subscribed yet: the broker says so at once, and nobody waits for a time-out.
console.log(`without a server: ${await failureOf('price/coffee')}`);

const answered = [0, 0];
const servers = await Promise.all([startServer(0), startServer(1)]);

console.log(`coffee: ${(await client.request('price/coffee', { cups: 2 })).value}`);
await Promise.all(Array.from({ length: requests }, () => client.request('price/cake', { cups: 1 })));
console.log(
  `${answered[0] + answered[1]} requests were answered, by ${answered.filter(Boolean).length} servers`,
);

console.log(`what there is not: ${await failureOf('price/tea')}`);
console.log(`what takes too long: ${await failureOf('price/slow', 100)}`);

await Promise.all([...servers, client].map((each) => each.close()));
await broker.close();

async function startServer(number: number): Promise<BrokerClient> {
  const server = await connectClient(broker.url, { codec: jsonCodec() });
  const answer = async (request: Message<{ cups: number }>) => {
    const item = request.topic.slice('price/'.length);
    if (item === 'slow') await sleep(300);
    if (PRICES[item] === undefined) throw new ReplyError(404, `there is no ${item}`);
    answered[number]++;
    return PRICES[item] * request.value.cups;
  };
  await server.reply('price/+', answer, { group: 'prices', concurrency: 16 });
  return server;
}

/** The code of the error that a request fails with. */
async function failureOf(topic: string, timeoutMs = 2_000): Promise<string> {
  return client.request(topic, { cups: 1 }, { timeoutMs }).then(
    () => 'an answer',
    (error: NodeJS.ErrnoException) => `${error.code}: ${error.message}`,
  );
}
