/**
 * A server that takes early data: a process of its own. It writes a line of JSON for what it listens on, for each message that it hears, and, for each line
 * that it reads, what it has counted.
 */
import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Identity, listen } from '../../dist/index.js';

const [, , secret, key, port] = process.argv;
const tell = (line) => writeSync(1, `${JSON.stringify(line)}\n`);

const listener = await listen({
  identity: Identity.fromSecret(secret),
  host: '127.0.0.1',
  port: Number(port),
  tickets: { keys: { current: Buffer.from(key, 'hex') } },
});
listener.on('connection', (connection) => {
  connection.on('stream', (stream) =>
    stream.on('message', (message) => tell({ kind: 'heard', text: message.toString() })),
  );
});
createInterface({ input: process.stdin }).on('line', () => {
  const { datagramsReceived } = listener.metrics();
  tell({ kind: 'counted', datagramsReceived });
});
tell({ kind: 'listens', url: listener.url, port: listener.port });
