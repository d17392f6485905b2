/**
 * A client that does not mind that its server is started anew, or replaced: `npm run ts examples/restart.ts [readings]`.
 *
 * It writes to one stream all the time. In a third of that time the server is killed and comes back; later it says that it goes, and where to, and the
 * client has moved before it is gone.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, generateIdentity, type Listener, listen } from 'jetstream-proto';

const readings = Number(process.argv[2] ?? 90);
const PACE_MS = 10;
const identity = generateIdentity();

/** What the servers were told, by reading, with how often. */
const heard = new Map<string, number>();
let server = await serve(0);
const connection = await connect(server.url, { reconnect: { backoffMaxMs: 1_000 } });
const stream = connection.openStream({ label: 'readings', reopen: true });

connection.on('reconnecting', ({ attempt }) => {
  if (attempt === 1) console.log(`${connection.state}: looks for a server`);
});
connection.on('reconnected', ({ undelivered }) => {
  console.log('online again');
  // What the server may not have is ours to send again, or not. In here it goes ahead of what waits.
  for (const { stream: of, data } of undelivered) if (of === stream) stream.send(data);
});
connection.on('goaway', ({ withinMs }) => console.log(`the server goes within ${withinMs} ms`));

const writing = write();
await sleep((readings * PACE_MS) / 3);
const { port } = server;
await server.close({ timeoutMs: 0 }); // as if it had been killed, but that it says so
await sleep(100);
server = await serve(port);
while (connection.state !== 'online') await sleep(PACE_MS);
await writing;

const successor = await serve(0);
const isGone = server.goAway({ url: successor.url, withinMs: 5_000 });
await stream.sendTracked('while it goes');
await isGone;
await stream.sendTracked('afterwards');
await connection.close();
await successor.close();

const twice = [...heard.values()].filter((times) => times > 1).length;
console.log(`${heard.size} of ${readings + 2} messages arrived, ${twice} of them twice`);

async function write(): Promise<void> {
  for (let i = 1; i < readings; i++) {
    stream.send(`reading ${i}`);
    await sleep(PACE_MS);
  }
  await stream.sendTracked(`reading ${readings}`);
}

async function serve(at: number): Promise<Listener> {
  const listener = await listen({ identity, port: at });
  listener.on('connection', (client) =>
    client.on('stream', (from) =>
      from.on('message', (message) => heard.set(`${message}`, (heard.get(`${message}`) ?? 0) + 1)),
    ),
  );
  return listener;
}
