import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, describe, expect, test } from 'vitest';
import { JspError } from '../../src/base/errors.ts';
import { addressFamily } from '../../src/base/ip-address.ts';
import { TransmitBatch } from '../../src/protocol/datagram/index.ts';
import { localAddresses } from '../../src/udp/addresses.ts';
import type { DatagramSocket, SocketOptions } from '../../src/udp/datagram-socket.ts';
import { ownPort } from '../own-port.ts';
import { type Bind, batchOf, collect, has6, put, twins } from './twin-sockets.ts';

const open: DatagramSocket[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((socket) => socket.close()));
});

describe.each(twins)('a %s socket', (name, bindTwin) => {
  const bind = opened(bindTwin);

  test('says which path it is', async () => {
    expect((await bind({ host: '127.0.0.1' })).path).toBe(name);
    expect((await bind({ host: '0.0.0.0' })).path).toBe(name);
  });

  test.each(
    [
      ['127.0.0.1', 'IPv4'],
      ['::1', 'IPv6'],
    ].filter(([host]) => has6 || host !== '::1'),
  )('carries batches both ways over %s', async (host) => {
    const server = await bind({ host });
    const client = await bind({ connectTo: { host, port: server.localPort } });
    expect(client.remote).toEqual({ host, port: server.localPort });

    const atServer = collect(server, 3);
    expect(client.send(batchOf(['a', 'bc', ''], host, server.localPort))).toBe(true);
    const request = await atServer;
    expect(request.map((d) => d.text)).toEqual(['a', 'bc', '']);
    expect(request[0]).toMatchObject({ host, port: client.localPort });

    const atClient = collect(client, 1);
    expect(server.send(batchOf(['answer'], request[0].host, request[0].port))).toBe(true);
    expect(await atClient).toEqual([{ text: 'answer', host, port: server.localPort }]);
    expect(client.counters).toMatchObject({
      datagramsSent: 3,
      bytesSent: 3,
      datagramsReceived: 1,
      bytesReceived: 6,
    });
    expect(server.counters).toMatchObject({
      datagramsSent: 1,
      bytesSent: 6,
      datagramsReceived: 3,
      bytesReceived: 3,
    });
  });

  test('sends one batch to several destinations', async () => {
    const a = await bind({ host: '127.0.0.1' });
    const b = await bind({ host: '127.0.0.1' });
    const sender = await bind({ host: '127.0.0.1' });
    const batch = new TransmitBatch(1_024, 8);
    put(batch, 'to a', '127.0.0.1', a.localPort);
    put(batch, 'to b', '127.0.0.1', b.localPort);
    put(batch, 'to a again', '127.0.0.1', a.localPort);
    const arrived = Promise.all([collect(a, 2), collect(b, 1)]);
    sender.send(batch);
    const texts = (await arrived).map((datagrams) => datagrams.map((d) => d.text));
    expect(texts).toEqual([['to a', 'to a again'], ['to b']]);
  });

  test('lets its arena be filled anew, with datagrams in other places, as soon as send answered true', async () => {
    const server = await bind({ host: '127.0.0.1' });
    const client = await bind({ connectTo: { host: '127.0.0.1', port: server.localPort } });
    const arrived = collect(server, 5);
    const batch = batchOf(['first', 'second'], '127.0.0.1', server.localPort);
    client.send(batch);
    batch.clear();
    put(batch, 'third, longer', '127.0.0.1', server.localPort);
    put(batch, 'fourth', '127.0.0.1', server.localPort);
    put(batch, 'fifth', '127.0.0.1', server.localPort);
    client.send(batch);
    expect((await arrived).map((d) => d.text)).toEqual([
      'first',
      'second',
      'third, longer',
      'fourth',
      'fifth',
    ]);
  });

  test.runIf(has6)('reaches an IPv4 peer from a socket that listens on both families', async () => {
    const server = await bind({ host: '127.0.0.1' });
    const both = await bind({ host: '::' });
    const arrived = collect(server, 1);
    both.send(batchOf(['hello'], '127.0.0.1', server.localPort));
    const [request] = await arrived;
    const answered = collect(both, 1);
    server.send(batchOf(['answer'], request.host, request.port));
    const [answer] = await answered;
    expect(answer).toEqual({ text: 'answer', host: '127.0.0.1', port: server.localPort });

    const again = collect(server, 1);
    both.send(batchOf(['again'], answer.host, answer.port));
    expect((await again)[0].text).toBe('again');
  });

  test('reports a peer that is gone as news, not as an exception', async () => {
    const server = await bind({ host: '127.0.0.1' });
    const client = await bind({ connectTo: { host: '127.0.0.1', port: server.localPort } });
    await server.close();
    const reported = new Promise<[string, boolean]>((resolve) => {
      client.onError = (error, fatal) => resolve([(error as NodeJS.ErrnoException).code ?? '', fatal]);
    });
    client.send(batchOf(['anyone there?', 'hello?'], '127.0.0.1', server.localPort));
    expect(await reported).toEqual(['ECONNREFUSED', false]);
    expect(client.counters.sendErrors + client.counters.receiveErrors).toBeGreaterThan(0);
  });

  test('reports a datagram that no packet can hold and goes on', async () => {
    const server = await bind({ host: '127.0.0.1' });
    const client = await bind({ host: '127.0.0.1' });
    const reported = new Promise<string>((resolve) => {
      client.onTooLarge = (bytes, host, port) => resolve(`${bytes} to ${host}:${port}`);
    });
    const errors: Error[] = [];
    client.onError = (error) => errors.push(error);
    const large = new TransmitBatch(70_000, 1);
    large.push(65_508, '127.0.0.1', server.localPort);
    expect(client.send(large)).toBe(true);
    expect(await reported).toBe(`65508 to 127.0.0.1:${server.localPort}`);
    expect(client.counters).toMatchObject({ sendErrors: 1, errorCodes: { EMSGSIZE: 1 } });
    expect(errors).toEqual([]);

    const arrived = collect(server, 1);
    client.send(batchOf(['small'], '127.0.0.1', server.localPort));
    expect((await arrived)[0].text).toBe('small');
  });

  test('skips datagrams for port 0, to which nothing can be sent', async () => {
    const server = await bind({ host: '127.0.0.1' });
    const client = await bind({ host: '127.0.0.1' });
    const batch = new TransmitBatch(1_024, 8);
    put(batch, 'lost', '127.0.0.1', 0);
    put(batch, 'found', '127.0.0.1', server.localPort);
    put(batch, 'lost', '127.0.0.1', 0);
    const arrived = collect(server, 1);
    expect(client.send(batch)).toBe(true);
    expect((await arrived)[0].text).toBe('found');
    expect(client.counters).toMatchObject({ datagramsSent: 1, sendErrors: 2 });
  });

  test('says which address it cannot have', async () => {
    const taken = await bind({ host: '127.0.0.1' });
    const failure = await bind({ host: '127.0.0.1', port: taken.localPort }).catch((e) => e);
    expect(failure).toBeInstanceOf(JspError);
    expect(failure).toMatchObject({ code: 'ERR_JSP_SOCKET', cause: { code: 'EADDRINUSE' } });
    expect(failure.message).toContain(`127.0.0.1:${taken.localPort}`);
  });

  test('shares an address with another where both allow it', async () => {
    const first = await bind({ host: '127.0.0.1', reuseAddress: true });
    const second = await bind({ host: '127.0.0.1', port: first.localPort, reuseAddress: true });
    expect(second.localPort).toBe(first.localPort);
    const selfish = await bind({ host: '127.0.0.1', port: first.localPort }).catch((e) => e);
    expect(selfish).toMatchObject({ code: 'ERR_JSP_SOCKET', cause: { code: 'EADDRINUSE' } });
  });

  test.runIf(has6)('on IPv6 only leaves the port of IPv4 to others', async () => {
    const six = await bind({ host: '::', port: await ownPort(), ipv6Only: true });
    const four = await bind({ host: '0.0.0.0', port: six.localPort });
    const client = await bind({ connectTo: { host: '127.0.0.1', port: four.localPort } });
    const arrived = collect(four, 1);
    client.send(batchOf(['four'], '127.0.0.1', four.localPort));
    expect((await arrived)[0].text).toBe('four');
    const both = await bind({ host: '::' });
    const taken = await bind({ host: '0.0.0.0', port: both.localPort }).catch((e) => e);
    expect(taken).toMatchObject({ cause: { code: 'EADDRINUSE' } });
  });

  test('that is connected hears nobody but its peer', async () => {
    const peer = await bind({ host: '127.0.0.1' });
    const stranger = await bind({ host: '127.0.0.1' });
    const client = await bind({ connectTo: { host: '127.0.0.1', port: peer.localPort } });
    const arrived = collect(client, 1);
    stranger.send(batchOf(['not heard'], '127.0.0.1', client.localPort));
    peer.send(batchOf(['heard'], '127.0.0.1', client.localPort));
    expect((await arrived).map(({ text }) => text)).toEqual(['heard']);
    expect(client.counters.datagramsReceived).toBe(1);
  });

  test('says which name it cannot resolve', async () => {
    const failure = await bind({ connectTo: { host: 'name.invalid', port: 1 } }).catch((e) => e);
    expect(failure).toMatchObject({ code: 'ERR_JSP_SOCKET' });
    expect(failure.message).toContain('name.invalid');
  });

  test('calls nobody once it is closed, and closes twice without complaint', async () => {
    const server = await bind({ host: '127.0.0.1' });
    const client = await bind({ connectTo: { host: '127.0.0.1', port: server.localPort } });
    let calls = 0;
    server.onBatch = () => {
      calls++;
    };
    client.send(batchOf(['too late'], '127.0.0.1', server.localPort));
    await Promise.all([server.close(), server.close()]);
    server.ref();
    server.unref();
    expect(server.send(batchOf(['too late'], '127.0.0.1', client.localPort))).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(calls).toBe(0);
    expect(server.counters.datagramsSent).toBe(0);
  });
  test('are counted for every datagram of a batch, whatever its place', async () => {
    const server = await bind({ host: '127.0.0.1' });
    const socket = await bind({ host: '127.0.0.1' });
    const tooLarge: unknown[] = [];
    socket.onTooLarge = (...refused) => tooLarge.push(refused);
    const batch = new TransmitBatch(300_000, 8);
    for (const bytes of [65_508, 3, 65_508, 4, 65_507]) batch.push(bytes, '127.0.0.1', server.localPort);
    batch.push(5, '255.255.255.255', 9); // broadcast, which is not allowed
    batch.push(6, '127.0.0.1', server.localPort);
    const arrived = collect(server, 4);
    socket.send(batch);
    expect((await arrived).map(({ text }) => text.length)).toEqual([3, 4, 65_507, 6]);
    expect(socket.counters).toMatchObject({ sendErrors: 3, errorCodes: { EMSGSIZE: 2, EACCES: 1 } });
    expect(tooLarge).toEqual([
      [65_508, '127.0.0.1', server.localPort],
      [65_508, '127.0.0.1', server.localPort],
    ]);
  });
});

describe.each(
  twins.flatMap(([name, bindTwin]) => ['0.0.0.0', '::'].map((wildcard) => ({ name, bindTwin, wildcard }))),
)('a $name socket on $wildcard', ({ bindTwin, wildcard }) => {
  const bind = opened(bindTwin);
  const hosts = localAddresses().filter((host) => wildcard === '::' || addressFamily(host) === 4);

  // [CON-60]
  test.skipIf(wildcard === '::' && !has6).each(hosts)('answers from %s when that was asked', async (host) => {
    const server = await bind({ host: wildcard });
    expect(await ask(bind, server, host)).toBe('answer');
  });

  // [CON-60]
  test.runIf(process.platform === 'linux' && (wildcard === '0.0.0.0' || has6))(
    'answers from an address that no interface has, too',
    async () => {
      const server = await bind({ host: wildcard });
      for (const host of ['127.0.0.2', '127.1.2.3', '127.0.0.2'])
        expect(await ask(bind, server, host)).toBe('answer');
    },
  );
});

describe.each(twins)('a %s socket on all addresses', (_name, bindTwin) => {
  const bind = opened(bindTwin);

  test('is the only one on its port', async () => {
    const server = await bind({ host: '0.0.0.0' });
    const inUse = { code: 'ERR_JSP_SOCKET', cause: { code: 'EADDRINUSE' } };
    const { localPort: port } = server;
    for (const host of ['0.0.0.0', '127.0.0.1'])
      await expect(bind({ host, port })).rejects.toMatchObject(inUse);
    const other = createSocket('udp4').bind(0, '127.0.0.1');
    await once(other, 'listening');
    await expect(bind({ host: '0.0.0.0', port: other.address().port })).rejects.toMatchObject(inUse);
    other.close();
  });

  test.runIf(process.platform === 'linux')('sends a batch from several addresses, in order', async () => {
    const server = await bind({ host: '0.0.0.0' });
    const hosts = ['127.0.0.1', '127.0.0.8'];
    const clients = await Promise.all(
      hosts.map((host) => bind({ connectTo: { host, port: server.localPort } })),
    );
    const numbers: number[] = [];
    for (const [i, client] of clients.entries()) {
      const came = new Promise<void>((resolve) => {
        server.onBatch = ({ local }) => {
          numbers.push(local[0]);
          resolve();
        };
      });
      client.send(batchOf(['hello'], hosts[i], server.localPort));
      await came;
    }
    const [a, b] = clients.map(({ localPort }) => localPort);
    const batch = new TransmitBatch(1_024, 8);
    put(batch, 'a1', '127.0.0.1', a, numbers[0]);
    put(batch, 'b1', '127.0.0.1', b, numbers[1]);
    put(batch, 'b2', '127.0.0.1', b, numbers[1]);
    put(batch, 'a2', '127.0.0.1', a, numbers[0]);
    put(batch, 'lost: from elsewhere', '127.0.0.1', a, numbers[1]);
    put(batch, 'b3', '127.0.0.1', b, numbers[1]);
    const arrived = Promise.all([collect(clients[0], 2), collect(clients[1], 3)]);
    server.send(batch);
    expect((await arrived).map((seen) => seen.map(({ text }) => text))).toEqual([
      ['a1', 'a2'],
      ['b1', 'b2', 'b3'],
    ]);
    expect(server.counters.datagramsSent).toBe(6);
  });
});

function opened(bindTwin: Bind): Bind {
  return async (options: SocketOptions) => {
    const socket = await bindTwin(options);
    open.push(socket);
    return socket;
  };
}

/** Asks the server at `host` from a connected socket, which hears nobody else, and waits for the answer. */
async function ask(bind: Bind, server: DatagramSocket, host: string): Promise<string> {
  const client = await bind({ connectTo: { host, port: server.localPort } });
  server.onBatch = (batch) => {
    server.send(batchOf(['answer'], batch.host[0], batch.port[0], batch.local[0]));
  };
  const answered = collect(client, 1);
  const question = (): boolean => client.send(batchOf(['question'], host, server.localPort));
  question();
  // With `dgram`, an address that no interface has may be found out late.
  const again = setInterval(question, 50);
  const [{ text }] = await answered;
  clearInterval(again);
  return text;
}
