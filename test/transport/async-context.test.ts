import { AsyncLocalStorage } from 'node:async_hooks';
import { describe, expect, test } from 'vitest';
import { type Connection, connect, generateIdentity, listen, type Stream } from '../../src/index.ts';
import { next } from './served.ts';

const who = new AsyncLocalStorage<string>();

describe('listeners run in the AsyncLocalStorage context [CON-31]', () => {
  test('of their own connection or listener, whoever connected first and whoever woke the process up', async () => {
    const seen: string[] = [];
    const note = (what: string) => () => void seen.push(`${what}: ${who.getStore()}`);
    const listener = await who.run('server', () => listen({ identity: generateIdentity(), port: 0 }));
    const accepted: Connection[] = [];
    listener.on('connection', (connection) => {
      note('connection')();
      accepted.push(connection);
      connection.on('close', note('accepted close'));
      // What the application does for one client must not become the context of another.
      who.run(`for client ${accepted.length}`, () => {
        connection.on('stream', (stream) => {
          note('stream')();
          stream.on('message', (data) => {
            note('message')();
            stream.send(data);
          });
        });
      });
    });
    const clients: Connection[] = [];
    for (const name of ['first', 'second']) {
      const client = await who.run(name, () => connect(listener.url));
      client.on('close', note(`${name} close`));
      clients.push(client);
    }
    for (const [i, client] of clients.entries()) {
      const stream = who.run(`request ${i}`, () => client.openStream());
      const answer = next<Buffer>(stream, 'message');
      stream.on('message', note('answer'));
      who.run('somebody who sends', () => stream.send('x'));
      await answer;
      const closed = next(stream, 'close');
      stream.once('end', note('end'));
      who.run('somebody who ends', () => stream.end());
      await closed;
    }
    await who.run('somebody who closes', () => listener.close());
    await Promise.all(clients.map(({ closed }) => closed));
    expect(seen.sort()).toEqual(
      [
        ...Array(2).fill('accepted close: server'),
        ...Array(2).fill('connection: server'),
        ...Array(2).fill('message: server'),
        ...Array(2).fill('stream: server'),
        'answer: request 0',
        'answer: request 1',
        'end: request 0',
        'end: request 1',
        'first close: first',
        'second close: second',
      ].sort(),
    );
  });

  test('also when they were added late, or reading was resumed by somebody else', async () => {
    const listener = await who.run('server', () => listen({ identity: generateIdentity(), port: 0 }));
    const client = await connect(listener.url);
    await client.openStream().sendTracked('x');
    const accepted = await who.run('late', () => next<Connection>(listener, 'connection'));
    const stream = await who.run('late', () => next<Stream>(accepted, 'stream'));
    const at: (string | undefined)[] = [];
    stream.pause().on('message', () => at.push(who.getStore()));
    await new Promise(setImmediate);
    who.run('somebody', () => stream.resume());
    expect(at).toEqual(['server']);
    await client.close();
    await listener.close();
  });
});
