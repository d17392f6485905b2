/**
 * A subscriber that its test kills inside its handler: a process of its own. It writes what it gets, and what it has handled, a line of JSON each, by the time that
 * it has: what it wrote, it wrote, however it ends.
 */
import { writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectClient } from '../../dist/client/index.js';

const [, , url, session, filter, durable] = process.argv;
const tell = (line) => writeSync(1, `${JSON.stringify(line)}\n`);

process.on('unhandledRejection', (error) => {
  tell({ kind: 'fault', error: String(error) });
  process.exit(1);
});

const client = await connectClient(url, { session, reconnect: { minMs: 5, maxMs: 100 } });
const subscription = await client.subscribe(
  filter,
  async (message) => {
    const { topic, offset, epoch, redelivered } = message;
    const text = message.text().trimEnd();
    tell({ kind: 'got', topic, offset, epoch, redelivered, text });
    await sleep(Math.random() * 3);
    tell({ kind: 'done', text });
  },
  { qos: 1, durable, maxUnacked: 32 },
);
subscription.on('gap', ({ missed }) => tell({ kind: 'gap', missed }));
tell({ kind: 'ready' });
