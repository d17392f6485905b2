/**
 * A process of its own, so that its memory can be measured: a server, and a client with a running connection to it. Its parent stands
 * between the two, tells it what to do, and is told how it went.
 */

import { setImmediate } from 'node:timers/promises';
import { connect, generateIdentity, listen } from '../../dist/index.js';

const listener = await listen({ identity: generateIdentity(), port: 0, mtu: 1_200 });
listener.on('connection', (connection) =>
  connection.on('stream', (stream) => stream.on('message', (message) => stream.send(message))),
);
let connection;
let stream;
let sent = 0;
let echoed = 0;
let isInOrder = true;

const orders = {
  async connect({ port }) {
    const { username } = new URL(listener.url);
    connection = await connect(`jsp://${username}@127.0.0.1:${port}`, { mtu: 1_200 });
    stream = connection.openStream({ label: 'survivor' });
    stream.on('message', (message) => {
      if (message.readUInt32BE() !== echoed) isInOrder = false;
      echoed++;
    });
  },

  /** Sends messages there and back. */
  async say({ count, bytes }) {
    for (let i = 0; i < count; i++) {
      const message = Buffer.alloc(4 + bytes, sent);
      message.writeUInt32BE(sent++);
      stream.send(message);
    }
    for (let turn = 0; turn < 4; turn++) await setImmediate();
  },

  /** Waits until all that was said is back, and tells how things are. */
  async report() {
    for (let i = 0; i < 2_000 && echoed < sent; i++) await new Promise((done) => setTimeout(done, 5));
    for (let i = 0; i < 4; i++) global.gc();
    const { rss } = process.memoryUsage();
    return { rss, sent, echoed, isInOrder, client: connection.metrics(), server: listener.metrics() };
  },

  async close() {
    await connection.close();
    await listener.close();
    process.disconnect();
  },
};

process.on('message', async (order) => {
  const answer = await orders[order.name](order);
  if (process.connected) process.send(answer ?? {});
});
process.send({ port: listener.port });
