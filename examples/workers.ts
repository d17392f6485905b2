/**
 * A server on all cores, which outlives its workers: `npm run ts examples/workers.ts [clients]`. One client finds a bug; its worker ends, another takes its place, and
 * who came to other workers does not notice.
 */
import { once } from 'node:events';
import { type Connection, connect, generateIdentity, listen } from 'jetstream-proto';

const clients = Number(process.argv[2] ?? 8);
const listener = await listen({
  identity: generateIdentity(),
  port: 0,
  workers: 'auto',
  module: new URL('./workers-session.js', import.meta.url),
});
listener.on('worker', ({ worker, state, error }) =>
  console.log(error === null ? `worker ${worker} ${state}` : error.message),
);

const connections = await Promise.all(Array.from({ length: clients }, () => connect(listener.url)));
console.log(`${new Set(await Promise.all(connections.map(ask))).size} of ${listener.workers} workers answer`);

const started = once(listener, 'worker').then(() => once(listener, 'worker'));
connections[0].openStream().send('a bug');
await connections[0].closed;
await started;

const left = connections.filter(({ isOpen }) => isOpen);
await Promise.all(left.map(ask));
const again = await connect(listener.url);
console.log(`${left.length} clients went on, and one came back to ${await ask(again)}`);
await listener.close();

async function ask(connection: Connection): Promise<string> {
  const stream = connection.openStream();
  stream.send('hello');
  const [answer] = (await once(stream, 'message')) as [Buffer];
  return answer.toString();
}
