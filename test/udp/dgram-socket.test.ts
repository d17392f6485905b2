import { createSocket, Socket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { JspError } from '../../src/base/errors.ts';
import { TransmitBatch } from '../../src/protocol/datagram/index.ts';
import { localAddresses } from '../../src/udp/addresses.ts';
import type { DatagramSocket } from '../../src/udp/datagram-socket.ts';
import { bindDgramSocket, DgramSocket, type DgramSocketOptions } from '../../src/udp/dgram-socket.ts';

const open: DatagramSocket[] = [];
const has6 = localAddresses().includes('::1');
if (!has6) console.warn('no IPv6 on this machine: its tests are skipped');

afterEach(async () => {
  vi.restoreAllMocks();
  await Promise.all(open.splice(0).map((socket) => socket.close()));
});

describe('a dgram socket', () => {
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

  test.each(['receive', 'send'] as const)(
    'asks for half, and half again, of a %s buffer that is refused',
    async (way) => {
      const name = way === 'receive' ? 'setRecvBufferSize' : 'setSendBufferSize';
      const set = Socket.prototype[name];
      const asked: number[] = [];
      vi.spyOn(Socket.prototype, name).mockImplementation(function (this: Socket, bytes: number) {
        asked.push(bytes);
        if (bytes > 600_000) throw Object.assign(new Error('refused'), { code: 'ENOBUFS' });
        set.call(this, bytes);
      });
      const buffer = `${way}BufferBytes` as const;
      const usual = await bind({ [buffer]: 1 });
      const socket = await bind({ [buffer]: 2_000_001 });
      expect(asked).toEqual([2_000_001, 1_000_000, 500_000]);
      expect(socket[buffer]).toBeGreaterThan(usual[buffer]);
      expect(socket[buffer]).toBeLessThanOrEqual(500_000);
      expect((await bind({ [buffer]: 2 ** 32 - 1 }))[buffer]).toBe(
        socket[buffer] > 500_000 ? 0 : 2 ** 19 - 1,
      );
    },
  );

  test('keeps what it has of a system that refuses every size', async () => {
    for (const name of ['setRecvBufferSize', 'setSendBufferSize'] as const) {
      vi.spyOn(Socket.prototype, name).mockImplementation(() => {
        throw new Error('refused');
      });
    }
    const socket = await bind({ host: '127.0.0.1' });
    expect(socket.receiveBufferBytes).toBeGreaterThan(0);
    expect(socket.sendBufferBytes).toBeGreaterThan(0);
  });

  test('says which address it cannot have', async () => {
    const taken = await bind({ host: '127.0.0.1' });
    const failure = await bindDgramSocket({ host: '127.0.0.1', port: taken.localPort }).catch((e) => e);
    expect(failure).toBeInstanceOf(JspError);
    expect(failure).toMatchObject({ code: 'ERR_JSP_SOCKET', cause: { code: 'EADDRINUSE' } });
    expect(failure.message).toContain(`127.0.0.1:${taken.localPort}`);
  });

  test('shares an address with another where both allow it', async () => {
    const first = await bind({ host: '127.0.0.1', reuseAddress: true });
    const second = await bind({ host: '127.0.0.1', port: first.localPort, reuseAddress: true });
    expect(second.localPort).toBe(first.localPort);
    const selfish = await bindDgramSocket({ host: '127.0.0.1', port: first.localPort }).catch((e) => e);
    expect(selfish).toMatchObject({ code: 'ERR_JSP_SOCKET', cause: { code: 'EADDRINUSE' } });
  });

  test.runIf(has6)('on IPv6 only leaves the port of IPv4 to others', async () => {
    const six = await bind({ host: '::', ipv6Only: true });
    const four = await bind({ host: '0.0.0.0', port: six.localPort });
    const client = await bind({ connectTo: { host: '127.0.0.1', port: four.localPort } });
    const arrived = collect(four, 1);
    client.send(batchOf(['four'], '127.0.0.1', four.localPort));
    expect((await arrived)[0].text).toBe('four');
    const both = await bind({ host: '::' });
    const taken = await bindDgramSocket({ host: '0.0.0.0', port: both.localPort }).catch((e) => e);
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
    const failure = await bindDgramSocket({ connectTo: { host: 'name.invalid', port: 1 } }).catch((e) => e);
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
});

describe('a dgram socket whose system is busy', () => {
  test('holds the arena until the queue is empty, then says so once', async () => {
    const { inner, socket, queue } = await stubbed();
    let writable = 0;
    socket.onWritable = () => {
      writable++;
    };
    queue.length = 2;
    expect(socket.send(batchOf(['a', 'b'], '127.0.0.1', 9))).toBe(false);
    expect(socket.send(batchOf(['c'], '127.0.0.1', 9))).toBe(false);
    expect(socket.counters.batchesHeld).toBe(2);
    queue.length = 1;
    inner.completeOldest();
    expect(writable).toBe(0);
    queue.length = 0;
    inner.completeOldest();
    expect(writable).toBe(1);
    expect(socket.send(batchOf(['d'], '127.0.0.1', 9))).toBe(true);
    inner.completeOldest();
    expect(writable).toBe(1);
  });

  test('becomes writable although the last datagram of the batch was refused', async () => {
    const { inner, socket, queue } = await stubbed();
    const writable = new Promise<void>((resolve) => {
      socket.onWritable = resolve;
    });
    queue.length = 1;
    socket.send(batchOf(['queued', 'refused'], '127.0.0.1', 9));
    inner.completeOldest(new Error('refused'));
    queue.length = 0;
    await writable;
    expect(socket.counters.sendErrors).toBe(1);
  });

  test('hands a burst over once a turn, or sooner when there are 64', async () => {
    const { inner, socket } = await stubbed();
    await burst(inner.deliver);
    const counts: number[] = [];
    socket.onBatch = (batch) => counts.push(batch.count);
    for (let i = 0; i < 100; i++) inner.deliver(9);
    expect(counts).toEqual([64]);
    await turn();
    expect(counts).toEqual([64, 36]);
  });

  test('hands over datagrams as they come once they come one by one', async () => {
    const { inner, socket } = await stubbed();
    await burst(inner.deliver);
    let seen = 0;
    socket.onBatch = (batch) => {
      seen += batch.count;
    };
    inner.deliver(9);
    expect(seen).toBe(0);
    for (let i = 0; i < 10; i++) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      inner.deliver(9);
    }
    expect(seen).toBe(11);
  });

  test('takes large datagrams for a burst although each takes a while to read', async () => {
    const { inner, socket } = await stubbed();
    const counts: number[] = [];
    socket.onBatch = (batch) => counts.push(batch.count);
    let nowMs = 1_000;
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
    try {
      for (const bytes of [32_768, 100]) {
        counts.length = 0;
        for (let i = 0; i < 4; i++) {
          nowMs += i === 0 ? 1 : 0.02;
          inner.deliver(9, bytes);
        }
        await turn();
        expect(counts).toEqual(bytes === 100 ? [1, 1, 1, 1] : [1, 3]);
        // Sparse once more for the next size.
        for (let i = 0; i < 4; i++) {
          inner.deliver(9);
          await turn();
        }
      }
    } finally {
      clock.mockRestore();
    }
  });

  test('drops datagrams from port 0, which nobody can answer', async () => {
    const { inner, socket } = await stubbed();
    const ports: number[] = [];
    socket.onBatch = (batch) => ports.push(...batch.port.slice(0, batch.count));
    inner.deliver(0);
    inner.deliver(7);
    await turn();
    expect(ports).toEqual([7]);
    expect(socket.counters).toMatchObject({ datagramsReceived: 2, datagramsDropped: 1 });
  });

  test('that was closed behind its back says so, once, and closes without a word', async () => {
    const raw: Socket = createSocket('udp4');
    raw.bind(0, '127.0.0.1');
    await once(raw, 'listening');
    const socket = new DgramSocket(raw, null);
    const seen: [string | undefined, boolean][] = [];
    socket.onError = (error, fatal) => seen.push([(error as NodeJS.ErrnoException).code, fatal]);
    raw.close();
    const batch = batchOf(['a', 'b'], '127.0.0.1', 9);
    expect(socket.send(batch)).toBe(true);
    expect(socket.send(batch)).toBe(true);
    expect(seen).toEqual([['ERR_SOCKET_DGRAM_NOT_RUNNING', true]]);
    expect(socket.counters).toMatchObject({ datagramsSent: 0, sendErrors: 2 });
    await socket.close();
  });

  test('that has been closed behind its back for a while closes, too', async () => {
    const raw: Socket = createSocket('udp4');
    raw.bind(0, '127.0.0.1');
    await once(raw, 'listening');
    const socket = new DgramSocket(raw, null);
    raw.close();
    await once(raw, 'close');
    await socket.close();
  });

  test('knows the errors after which a socket is of no use', async () => {
    const { inner, socket } = await stubbed();
    const seen: [string, boolean][] = [];
    socket.onError = (error, fatal) => seen.push([error.message, fatal]);
    inner.fail('ENETDOWN');
    inner.fail('EBADF');
    expect(seen).toEqual([
      ['ENETDOWN', false],
      ['EBADF', true],
    ]);
    expect(socket.counters.receiveErrors).toBe(2);
  });
});

describe('errors of a dgram socket', () => {
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

  test('are all counted in large batches once there was one', async () => {
    const { socket, refuse } = await refusing();
    const large = () =>
      batchOf(
        Array.from({ length: 100 }, () => 'x'),
        '127.0.0.1',
        9,
        100,
      );
    socket.send(large());
    await turn();
    refuse.code = 'ENOBUFS';
    refuse.every = 2;
    socket.send(large());
    await turn();
    const { ENOBUFS: first } = socket.counters.errorCodes;
    expect(first).toBeGreaterThanOrEqual(13); // every eighth is looked at
    socket.send(large());
    await turn();
    expect(socket.counters.errorCodes.ENOBUFS).toBe(first + 50);
  });

  test('of the first and the last datagram to each peer are seen in large batches, too', async () => {
    const { socket, refuse } = await refusing();
    socket.send(batchOf(['x'], '127.0.0.1', 9));
    await turn();
    refuse.code = 'EHOSTUNREACH';
    refuse.port = 7;
    const batch = new TransmitBatch(1_024, 100);
    for (let i = 0; i < 100; i++) put(batch, 'x', '127.0.0.1', i === 50 ? 7 : 9);
    socket.send(batch);
    await turn();
    expect(socket.counters.errorCodes).toEqual({ EHOSTUNREACH: 1 });
  });

  test('do not make more than 16 kinds', async () => {
    const { inner, socket } = await stubbed();
    for (let i = 0; i < 40; i++) inner.fail(`E${i}`);
    inner.fail('E3');
    expect(socket.counters.receiveErrors).toBe(41);
    expect(Object.keys(socket.counters.errorCodes)).toHaveLength(17);
    expect(socket.counters.errorCodes).toMatchObject({ E3: 2, OTHER: 24 });
  });
});

interface Seen {
  readonly text: string;
  readonly host: string;
  readonly port: number;
}

async function bind(options: DgramSocketOptions): Promise<DatagramSocket> {
  const socket = await bindDgramSocket(options);
  open.push(socket);
  return socket;
}

function batchOf(texts: string[], host: string, port: number, datagramsMax = 8): TransmitBatch {
  const batch = new TransmitBatch(1_024, datagramsMax);
  for (const text of texts) put(batch, text, host, port);
  return batch;
}

function put(batch: TransmitBatch, text: string, host: string, port: number): void {
  const { written } = new TextEncoder().encodeInto(text, batch.arena.subarray(batch.used));
  batch.push(written, host, port);
}

/** The next `count` datagrams that arrive at `socket`. */
function collect(socket: DatagramSocket, count: number): Promise<Seen[]> {
  const seen: Seen[] = [];
  return new Promise((resolve) => {
    socket.onBatch = (batch) => {
      for (let i = 0; i < batch.count; i++) {
        seen.push({
          text: new TextDecoder().decode(batch.data[i]),
          host: batch.host[i],
          port: batch.port[i],
        });
      }
      if (seen.length >= count) resolve(seen);
    };
  });
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Enough datagrams at once for a socket to see that they do not come one by one. */
async function burst(deliver: (port: number) => void): Promise<void> {
  for (let i = 0; i < 1_000; i++) deliver(9);
  await turn();
}

/** A socket over a bound `dgram` socket whose sending is played by the test. */
async function stubbed() {
  const raw: Socket = createSocket('udp4');
  raw.bind(0, '127.0.0.1');
  await once(raw, 'listening');
  const queue = { length: 0 };
  const callbacks: ((error: Error | null) => void)[] = [];
  raw.getSendQueueCount = () => queue.length;
  raw.send = ((...parameters: unknown[]) => {
    const callback = parameters.at(-1);
    if (typeof callback === 'function') callbacks.push(callback as (error: Error | null) => void);
  }) as Socket['send'];
  const socket = new DgramSocket(raw, null);
  open.push(socket);
  const inner = {
    completeOldest: (error: Error | null = null) => callbacks.shift()?.(error),
    deliver: (port: number, bytes = 1) =>
      raw.emit('message', Buffer.alloc(bytes), { address: '127.0.0.1', port }),
    fail: (code: string) => raw.emit('error', Object.assign(new Error(code), { code })),
  };
  return { inner, socket, queue };
}

/** A socket whose system refuses every n-th datagram, or those to one port, without a word to who does not ask. */
async function refusing() {
  const raw: Socket = createSocket('udp4');
  raw.bind(0, '127.0.0.1');
  await once(raw, 'listening');
  const refuse = { code: '', every: 1, port: 0 };
  let sent = 0;
  raw.send = ((_data: Uint8Array, port: number, _host: string, callback?: (error: Error | null) => void) => {
    const isRefused = refuse.code !== '' && sent++ % refuse.every === 0 && (refuse.port || port) === port;
    const error = isRefused ? Object.assign(new Error(refuse.code), { code: refuse.code }) : null;
    if (callback !== undefined) process.nextTick(callback, error);
  }) as Socket['send'];
  const socket = new DgramSocket(raw, null);
  open.push(socket);
  return { socket, refuse };
}
