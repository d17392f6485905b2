import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { expect, onTestFinished, test } from 'vitest';
import { startBroker } from '../../src/broker/server.ts';
import { connectClient } from '../../src/client/index.ts';
import { type FrontServer, startFront } from '../../src/front/index.ts';
import { type Connection, connect, generateIdentity, type Listener, listen } from '../../src/index.ts';
import { ownPort } from '../own-port.ts';

const secret = new Uint8Array(32).fill(5);

function atTheEnd(close: () => Promise<unknown>): void {
  onTestFinished(async () => {
    await close();
  });
}

async function echoServer(identity = generateIdentity(), port = 0): Promise<Listener> {
  const listener = await listen({ identity, port, front: { secret } });
  listener.on('connection', (c) => c.on('stream', (s) => s.on('message', (m) => s.send(m))));
  atTheEnd(() => listener.close({ timeoutMs: 0 }));
  return listener;
}

async function echoed(connection: Connection, text: string): Promise<string> {
  const stream = connection.openStream();
  const answer = new Promise<string>((resolve) => stream.on('message', (m) => resolve(m.toString())));
  stream.send(text);
  return await answer;
}

test('a client that moves to another address on purpose, under another id, stays with its server [FRT-2, FRT-10]', async () => {
  const identity = generateIdentity();
  const servers = [await echoServer(identity), await echoServer(identity), await echoServer(identity)];
  const front = await startFront({ servers: servers.map(({ url }) => url), secret, port: 0 });
  atTheEnd(() => front.close());
  const seen: Connection[] = [];
  for (const server of servers) server.on('connection', (connection) => seen.push(connection));
  const client = await connect(front.url);
  atTheEnd(() => client.close({ timeoutMs: 100 }));
  expect(await echoed(client, 'at first')).toBe('at first');
  for (const localHost of ['127.0.0.2', '127.0.0.3']) {
    await client.rebind({ localHost });
    expect(await echoed(client, localHost)).toBe(localHost);
    expect(seen[0].remoteHost).toBe(localHost);
  }
  expect(seen.length).toBe(1);
  expect(front.metrics().dropped).toEqual({ malformed: 0, noServer: 0, unauthentic: 0, congested: 0 });
});

test('a front is started anew at its port under load, and a client of a broker notices nothing [FRT-16]', async () => {
  const broker = await startBroker({ identity: generateIdentity(), port: 0, front: { secret } });
  atTheEnd(() => broker.close({ drainMs: 0 }));
  const first = await startFront({ servers: [broker.url], secret, port: await ownPort() });
  const client = await connectClient(first.url, { reconnect: false });
  atTheEnd(() => client.close());
  const came: number[] = [];
  await client.subscribe('n', ({ payload }) => void came.push(Number(payload.toString())));
  for (let i = 0; i < 200; i++) client.publish('n', `${i}`);
  await first.close();
  for (let i = 200; i < 300; i++) client.publish('n', `${i}`);
  const second = await startFront({ servers: [broker.url], secret, port: first.port });
  atTheEnd(() => second.close());
  await client.flush();
  await expect.poll(() => came.length).toBe(300);
  expect(came).toEqual(Array.from({ length: 300 }, (_, i) => i));
  await client.close(); // before the front, without which it would wait for an answer until it gives up
});

test('a port where nobody listens any more makes a server gone at once, and an address in IPv6 is one [FRT-5, FRT-14]', async () => {
  const identity = generateIdentity();
  const server = await listen({ identity, host: '::1', port: 0, front: { secret } });
  const front = await startFront({ servers: [server.url], secret, host: '::1', port: 0, probeMs: 20 });
  atTheEnd(() => front.close());
  const client = await connect(front.url);
  expect(client.remoteHost).toBe('::1');
  await client.close();
  const gone = new Promise<FrontServer>((resolve) => front.on('server', resolve));
  await server.close({ timeoutMs: 0 });
  expect((await gone).presence).toMatch(/leaving|gone/);
  await expect.poll(() => front.metrics().servers[0].presence).toBe('gone');
});

test('a server that could not be reached by its name is looked up anew', async () => {
  const server = await echoServer();
  const { port } = new URL(server.url.replace('jsp:', 'http:'));
  const named = server.url.replace('127.0.0.1', 'localhost');
  const nowhere = named.replace('localhost', 'no-such-host.invalid');
  const front = await startFront({ servers: [nowhere, named], secret, port: 0, probeMs: 20 });
  atTheEnd(() => front.close());
  const presences = () => front.metrics().servers.map(({ presence }) => presence);
  await expect.poll(presences).toEqual(['gone', 'accepting']);
  expect(front.metrics().servers[1].url).toContain(`localhost:${port}`);
  expect(front.metrics().servers[0].fault).toContain('no-such-host.invalid');
  const client = await connect(front.url);
  expect(await echoed(client, 'hello')).toBe('hello');
  await client.close();
});

test('a front that is aborted while it starts is none, and its address is free again', async () => {
  const server = await echoServer();
  const silent = createSocket('udp4').bind(0, '127.0.0.1');
  await once(silent, 'listening');
  const servers = [server.url.replace(/:\d+$/, `:${silent.address().port}`)];
  const asked = once(silent, 'message'); // a server that is asked how it is, and does not answer
  for (const until of [Promise.resolve(), asked]) {
    const port = await ownPort();
    const abort = new AbortController();
    const started = startFront({ servers, secret, port, probeMs: 60_000, signal: abort.signal });
    void until.then(() => abort.abort());
    await expect(started).rejects.toMatchObject({ code: 'ERR_JSP_ABORTED' });
    const next = createSocket('udp4').bind(port, '127.0.0.1');
    await once(next, 'listening');
    next.close();
  }
  silent.close();
});

test('a front that is aborted, or whose address is taken, says so and leaves nothing behind', async () => {
  const server = await echoServer();
  const taken = createSocket('udp4').bind(0, '127.0.0.1');
  await new Promise<void>((resolve) => taken.once('listening', resolve));
  const { port } = taken.address();
  await expect(startFront({ servers: [server.url], secret, port })).rejects.toMatchObject({
    code: 'ERR_JSP_SOCKET',
  });
  taken.close();
  const abort = new AbortController();
  const front = await startFront({ servers: [server.url], secret, port: 0, signal: abort.signal });
  const closed = new Promise<void>((resolve) => front.once('close', () => resolve()));
  abort.abort();
  await closed;
  await expect(
    startFront({ servers: [server.url], secret, port: 0, signal: abort.signal }),
  ).rejects.toMatchObject({ code: 'ERR_JSP_ABORTED' });
});
