import { createSocket, Socket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { TransmitBatch } from '../../src/protocol/datagram/index.ts';
import type { DatagramSocket, SocketOptions } from '../../src/udp/datagram-socket.ts';
import { bindDgramSocket, DgramSocket, dgramReusePortFault } from '../../src/udp/dgram-socket.ts';
import { batchOf, put } from './twin-sockets.ts';

const open: DatagramSocket[] = [];

afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
  await Promise.all(open.splice(0).map((socket) => socket.close()));
});

test.each([
  ['20.19.4', 'linux', /^Node 20\.19\.4 cannot/],
  ['22.11.0', 'linux', /^Node 22\.11\.0 cannot/],
  ['22.12.0', 'linux', null],
  ['23.0.0', 'linux', /^Node 23\.0\.0 cannot/],
  ['23.1.0', 'linux', null],
  ['24.0.0', 'freebsd', null],
  ['24.0.0', 'darwin', /^darwin does not/],
])('Node %s on %s says whether several sockets of dgram can have one port', (node, platform, fault) => {
  vi.stubGlobal('process', { versions: { node }, platform });
  const told = dgramReusePortFault();
  vi.unstubAllGlobals();
  if (fault === null) expect(told).toBe(null);
  else expect(told).toMatch(fault);
});

describe('the buffers of a dgram socket', () => {
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
    let nowMs = performance.now();
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
    try {
      inner.deliver(9);
      expect(seen).toBe(0);
      for (let i = 0; i < 10; i++) {
        await turn();
        nowMs += 1;
        inner.deliver(9);
      }
      expect(seen).toBe(11);
    } finally {
      clock.mockRestore();
    }
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
  test('are all counted in large batches once there was one', async () => {
    const { socket, refuse } = await refusing();
    const large = () =>
      batchOf(
        Array.from({ length: 100 }, () => 'x'),
        '127.0.0.1',
        9,
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

async function bind(options: SocketOptions): Promise<DatagramSocket> {
  const socket = await bindDgramSocket(options);
  open.push(socket);
  return socket;
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
