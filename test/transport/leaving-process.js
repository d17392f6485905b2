/** A process of its own that uses a connection, and then has nothing left to do. It must end by itself. */

import { connect, generateIdentity, listen } from '../../dist/index.js';

const [part, url] = process.argv.slice(2);
const listener = await listen({ identity: generateIdentity(), port: 0 });
listener.on('connection', (connection) =>
  connection.on('stream', (stream) => stream.on('message', (message) => stream.send(message))),
);

switch (part) {
  case 'client':
  case 'server': {
    const connection = await connect(listener.url);
    const stream = connection.openStream();
    stream.send('hello');
    for await (const _ of stream) break;
    if (part === 'client') await connection.close();
    await listener.close();
    break;
  }
  case 'aborted': {
    const pin = generateIdentity().fingerprintText;
    const url = `jsp://${pin}@127.0.0.1:${listener.port}`;
    await connect(url, { signal: AbortSignal.timeout(20) }).catch(() => {});
    await listener.close();
    break;
  }
  case 'unreferenced': {
    const connection = await connect(listener.url);
    connection.openStream().send('hello');
    // Both stay open, with their heartbeats.
    connection.ref().unref();
    listener.ref().unref();
    break;
  }
  case 'delay':
    await leave({ seed: 1, outgoing: { delayMs: 40 } });
    await listener.close();
    break;
  case 'loss':
    await Promise.all(
      Array.from({ length: 10 }, (_, i) => leave({ seed: 100 + i, outgoing: { loss: 0.3 } })),
    );
    await listener.close();
    break;
  case 'refused':
    await connect(listener.url, { mtu: 1 }).catch(() => {});
    await listen({ identity: generateIdentity(), port: 0, mtu: 1 }).catch(() => {});
    await listener.close();
    break;
}
process.send('done', () => process.disconnect());

/** Says something over a bad network, and good-bye. */
async function leave(impairment) {
  const connection = await connect(url, { impairment });
  const stream = connection.openStream();
  stream.send('hello');
  for await (const _ of stream) break;
  await connection.close();
}
