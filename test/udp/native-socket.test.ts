import { constants } from 'node:os';
import { MessageChannel } from 'node:worker_threads';
import { afterEach, describe, expect, test } from 'vitest';
import type { NativeSockets } from '../../src/base/native-addon.ts';
import { EcnCodepoint, TransmitBatch } from '../../src/protocol/datagram/index.ts';
import type { DatagramSocket, SocketOptions } from '../../src/udp/datagram-socket.ts';
import { arrivalsOfThread } from '../../src/udp/native-arrivals.ts';
import { bindNativeSocket, NativeLimit } from '../../src/udp/native-socket.ts';
import { batchOf, bindNatively, collect, has6, native, put } from './twin-sockets.ts';

const open: DatagramSocket[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((socket) => socket.close()));
});

const LIMITS: [name: string, limits: number][] = [
  ['', 0],
  ['without UDP_SEGMENT', NativeLimit.NO_SEGMENTS],
  ['whose runs are refused', NativeLimit.SEGMENTS_REFUSED],
  ['without UDP_GRO', NativeLimit.NO_RUNS_IN],
  ['without sendmmsg and recvmmsg', NativeLimit.ONE_BY_ONE],
  ['without all of that', NativeLimit.NO_SEGMENTS | NativeLimit.NO_RUNS_IN | NativeLimit.ONE_BY_ONE],
];

describe.runIf(native !== null).each(LIMITS)('a native socket %s', (_name, limits) => {
  test.each(['127.0.0.1', '::1'].filter((host) => has6 || host !== '::1'))(
    'carries runs of every form, whole and in order, over %s',
    async (host) => {
      const server = await bind({ host, receiveBufferBytes: 4_000_000 }, limits);
      const client = await bind({ connectTo: { host, port: server.localPort } }, limits);
      // Longer than a message may be, in datagrams and in bytes; a short end; an empty one within; sizes that grow; too large for a run.
      const sizes = [
        ...new Array<number>(150).fill(10),
        ...new Array<number>(60).fill(1_400),
        ...[700, 1_400, 1_400, 0, 1_400, 1, 2, 3, 3, 0, 0, 5, 33_000, 33_000, 20_000, 20_000, 20_000, 20_000],
        ...new Array<number>(9).fill(8_000),
      ];
      const batch = new TransmitBatch(1_000_000, sizes.length);
      for (const [i, size] of sizes.entries()) {
        batch.arena.fill(i, batch.used, batch.used + size);
        batch.push(size, host, server.localPort);
      }
      const came = seen(server, sizes.length);
      expect(client.send(batch)).toBe(true);
      expect(await came).toEqual(sizes.map((size, i) => (size === 0 ? '0' : `${size} of ${i & 0xff}`)));
      const bytes = sizes.reduce((sum, size) => sum + size);
      expect(client.counters).toMatchObject({
        datagramsSent: sizes.length,
        bytesSent: bytes,
        errorCodes: {},
      });
      expect(server.counters).toMatchObject({ datagramsReceived: sizes.length, bytesReceived: bytes });
    },
  );

  test('sends to many destinations by turns', async () => {
    const peers = await Promise.all(Array.from({ length: 100 }, () => bind({ host: '127.0.0.1' }, limits)));
    const sender = await bind({ host: '0.0.0.0' }, limits);
    const batch = new TransmitBatch(100_000, 300);
    for (let i = 0; i < 300; i++) put(batch, `${i}`, '127.0.0.1', peers[i % 100].localPort);
    const came = Promise.all(peers.map((peer) => collect(peer, 3)));
    sender.send(batch);
    expect((await came).map((texts) => texts.map(({ text }) => text))).toEqual(
      peers.map((_, i) => [`${i}`, `${i + 100}`, `${i + 200}`]),
    );
  });

  test('goes on behind a datagram of a run that is refused', async () => {
    const server = await bind({ host: '127.0.0.1' }, limits);
    const sender = await bind({ host: '127.0.0.1' }, limits);
    const batch = new TransmitBatch(1_024, 12);
    for (let i = 0; i < 3; i++) put(batch, 'to all', '255.255.255.255', 9); // which is not allowed
    for (let i = 0; i < 3; i++) put(batch, 'to one', '127.0.0.1', server.localPort);
    for (let i = 0; i < 3; i++) put(batch, 'to none', 'fe80::1', 9);
    put(batch, 'last', '127.0.0.1', server.localPort);
    const came = collect(server, 4);
    const errors: unknown[] = [];
    sender.onError = (error, fatal) => errors.push([(error as NodeJS.ErrnoException).code, fatal]);
    sender.send(batch);
    expect((await came).map(({ text }) => text)).toEqual(['to one', 'to one', 'to one', 'last']);
    expect(sender.counters).toMatchObject({
      datagramsSent: 4,
      bytesSent: 22,
      sendErrors: 6,
      errorCodes: { EACCES: 3, EAFNOSUPPORT: 3 },
    });
    expect(errors).toEqual([
      ['EACCES', false],
      ['EAFNOSUPPORT', false],
    ]);
  });
});

describe.runIf(native !== null)('a native socket', () => {
  test.each(['127.0.0.1', '::1', '0.0.0.0', '::'].filter((host) => has6 || !host.includes(':')))(
    'on %s sets and reads ECN',
    async (host) => {
      const server = await bind({ host });
      const at = host === '::' || host === '0.0.0.0' ? '127.0.0.1' : host;
      const client = await bind({ connectTo: { host: at, port: server.localPort } });
      expect(client.usesEcn).toBe(true);
      const marks = [
        EcnCodepoint.NOT_ECT,
        EcnCodepoint.ECT0,
        EcnCodepoint.ECT0,
        EcnCodepoint.CE,
        EcnCodepoint.NOT_ECT,
      ];
      const batch = new TransmitBatch(1_024, 8);
      for (const mark of marks) {
        put(batch, 'x', at, server.localPort);
        batch.mark(mark);
      }
      const came: number[] = [];
      const all = new Promise<void>((resolve) => {
        server.onBatch = (received) => {
          for (let i = 0; i < received.count; i++) came.push(received.ecnOf(i));
          if (came.length === marks.length) resolve();
        };
      });
      client.send(batch);
      await all;
      expect(came).toEqual(marks);
    },
  );

  test('tells how long a datagram waited while the process was busy', async () => {
    const server = await bind({ host: '127.0.0.1' });
    const client = await bind({ connectTo: { host: '127.0.0.1', port: server.localPort } });
    const waited = new Promise<number>((resolve) => {
      server.onBatch = (batch) => resolve(-batch.arrivedAt(0, 0));
    });
    client.send(batchOf(['x'], '127.0.0.1', server.localPort));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 30);
    expect(await waited).toBeGreaterThanOrEqual(29_000);
  });

  test('counts what the system dropped for want of room', async () => {
    const server = await bind({ host: '127.0.0.1', receiveBufferBytes: 1 });
    const client = await bind({ connectTo: { host: '127.0.0.1', port: server.localPort } });
    const first = seen(server, 1);
    const flood = new TransmitBatch(2_000_000, 1_500);
    for (let i = 0; i < 1_500; i++) flood.push(1_000, '127.0.0.1', server.localPort);
    client.send(flood);
    await first;
    // The count comes with the next datagram.
    const next = seen(server, 1);
    client.send(batchOf(['x'], '127.0.0.1', server.localPort));
    await next;
    const { datagramsReceived, receiveBufferOverflows } = server.counters;
    expect(receiveBufferOverflows).toBeGreaterThan(0);
    expect(datagramsReceived).toBeLessThan(1_501);
    // It is this socket's own, although all share the memory that it is told in.
    const other = await bind({ host: '127.0.0.1' });
    const came = seen(other, 1);
    server.send(batchOf(['x'], '127.0.0.1', other.localPort));
    await came;
    expect(other.counters.receiveBufferOverflows).toBe(0);
  });

  test('answers from elsewhere where this machine has the address no more [CON-60]', async () => {
    const server = await bind({ host: '0.0.0.0' });
    const client = await bind({ host: '127.0.0.1' });
    const local = server.localOfHost('192.0.2.77');
    expect([local, server.hostOfLocal(local), server.hostOfLocal(0)]).toEqual([1, '192.0.2.77', '0.0.0.0']);
    const came = collect(client, 3);
    server.send(batchOf(['a', 'b', 'c'], '127.0.0.1', client.localPort, local));
    expect((await came).map(({ text, host }) => `${text} from ${host}`)).toEqual([
      'a from 127.0.0.1',
      'b from 127.0.0.1',
      'c from 127.0.0.1',
    ]);
    expect(server.counters.errorCodes).toEqual({});
  });

  test('can be closed while it hands over, and its port be had at once', async () => {
    const server = await bind({ host: '127.0.0.1' });
    const { localPort: port } = server;
    const client = await bind({ connectTo: { host: '127.0.0.1', port } });
    const again = new Promise<DatagramSocket>((resolve) => {
      server.onBatch = () => {
        void server.close();
        expect(server.send(batchOf(['too late'], '127.0.0.1', client.localPort))).toBe(true);
        resolve(bind({ host: '127.0.0.1', port }));
      };
    });
    client.send(batchOf(['x', 'y'], '127.0.0.1', port));
    const came = collect(await again, 1);
    client.send(batchOf(['z'], '127.0.0.1', port));
    expect((await came).map(({ text }) => text)).toEqual(['z']);
  });

  test('goes on when its listener throws, which surfaces as an uncaught exception', async () => {
    const server = await bind({ host: '127.0.0.1' });
    const client = await bind({ connectTo: { host: '127.0.0.1', port: server.localPort } });
    const others = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    try {
      const uncaught = new Promise<Error>((resolve) => process.once('uncaughtException', resolve));
      server.onBatch = () => {
        throw new Error('no');
      };
      client.send(batchOf(['x'], '127.0.0.1', server.localPort));
      expect((await uncaught).message).toBe('no');
    } finally {
      for (const other of others) process.on('uncaughtException', other);
    }
    const came = collect(server, 1);
    client.send(batchOf(['y'], '127.0.0.1', server.localPort));
    expect((await came).map(({ text }) => text)).toEqual(['y']);
  });

  test('shares an address with others that ask for that', async () => {
    const first = await bind({ host: '127.0.0.1', reusePort: true });
    const second = await bind({ host: '127.0.0.1', port: first.localPort, reusePort: true });
    expect(second.localPort).toBe(first.localPort);
    const other = bind({ host: '127.0.0.1', port: first.localPort });
    await expect(other).rejects.toMatchObject({ cause: { code: 'EADDRINUSE', syscall: 'bind' } });
  });
});

describe.runIf(native !== null)('a native socket whose system is busy', () => {
  test('holds what there is no room for, sends it in order, and says once that it is writable', () => {
    const { socket, system } = played();
    let writable = 0;
    socket.onWritable = () => {
      writable++;
    };
    system.room = 1;
    expect(socket.send(apart(3))).toBe(false);
    expect(socket.send(apart(1))).toBe(false);
    expect(socket.counters.batchesHeld).toBe(2);
    expect([system.sent, system.waits]).toEqual([[9], 1]);
    system.room = 1;
    system.onPoll(0, true);
    expect([system.sent, system.waits, writable]).toEqual([[9, 10], 2, 0]);
    system.room = 10;
    system.onPoll(0, true);
    expect([system.sent, system.waits, writable]).toEqual([[9, 10, 11, 9], 2, 1]);
    expect(socket.send(apart(2))).toBe(true);
  });

  test('tries again and again where others fill it, and gives up what finds no room for long', async () => {
    const { socket, system } = played();
    system.isCrowded = true;
    const refused = new Promise<string>((resolve) => {
      socket.onError = (error) => resolve((error as NodeJS.ErrnoException).code ?? '');
    });
    expect(socket.send(apart(2))).toBe(false);
    expect(await refused).toBe('ENOBUFS');
    expect(system.waits).toBe(0);
    expect(socket.counters).toMatchObject({ sendErrors: 1, errorCodes: { ENOBUFS: 1 } });
    const writable = new Promise<void>((resolve) => {
      socket.onWritable = resolve;
    });
    system.isCrowded = false;
    system.room = 10;
    await writable;
    expect(system.sent).toEqual([10]);
  });

  test('lets go of what it holds when it is closed', async () => {
    const { socket, system } = played();
    expect(socket.send(apart(2))).toBe(false);
    await socket.close();
    system.room = 10;
    system.onPoll(0, true);
    expect(system.sent).toEqual([]);
  });

  test('drops what came from port 0 or is cut, and hands over what came with it', () => {
    const { socket, system } = played();
    const ports: number[] = [];
    socket.onBatch = (batch) => ports.push(...batch.port.slice(0, batch.count));
    system.receive([
      { port: 0, isCut: false },
      { port: 7, isCut: false },
      { port: 8, isCut: true },
    ]);
    expect(ports).toEqual([7]);
    expect(socket.counters).toMatchObject({ datagramsReceived: 3, datagramsDropped: 2 });
  });

  test('tells of errors, and of one after which it is of no use, once', () => {
    const { socket, system } = played();
    const errors: unknown[] = [];
    socket.onError = (error, fatal) => errors.push([(error as NodeJS.ErrnoException).code, fatal]);
    for (const code of ['ECONNREFUSED', 'EBADF', 'EBADF'] as const)
      system.onPoll(-constants.errno[code], false);
    expect(errors).toEqual([
      ['ECONNREFUSED', false],
      ['EBADF', true],
    ]);
    expect(socket.send(apart(1))).toBe(true);
    expect(system.sent).toEqual([]);
  });
});

// Whatever JavaScript hands over: an error, and nothing else.
describe.runIf(native !== null)('the entry points of native sockets', () => {
  const sockets = native as NativeSockets;
  const anything: unknown[] = [
    undefined,
    null,
    -1,
    0,
    1.5,
    2 ** 31,
    Number.NaN,
    'x',
    {},
    [],
    () => {},
    new Uint8Array(0),
    new Uint8Array(3),
    new Int32Array(0),
    new Int32Array(100),
    new Int32Array(100).fill(-1),
    new Float64Array(8),
    new Uint8Array(new SharedArrayBuffer(8)),
    Symbol('x'),
    10n,
  ];

  test('take no argument of another kind, in any place', () => {
    for (const name of ['bind', 'send', 'awaitRoom', 'reference', 'close'] as const) {
      for (const a of anything) {
        for (const b of anything) {
          for (const all of [
            [],
            [a],
            [a, b],
            [a, b, b, a],
            [a, a, b, b, b],
            [b, a, new Int32Array(100), 0, 4],
          ]) {
            try {
              (sockets[name] as (...all: unknown[]) => unknown)(...all);
            } catch (error) {
              expect(error).toBeInstanceOf(Error);
            }
          }
        }
      }
    }
  });

  test('send no row that is not within its arena, and nothing behind it', async () => {
    const binding = new Int32Array(18);
    binding[0] = 4;
    const number = sockets.bind(binding, new Uint8Array(0), new Int32Array(0), () => {});
    expect(number).toBeGreaterThanOrEqual(0);
    const arena = new Uint8Array(100);
    for (const [start, length, segment, done] of [
      [0, 101, 0, 0],
      [-1, 10, 0, 0],
      [2 ** 31 - 1, 2 ** 31 - 1, 0, 0],
      [90, 11, 0, 0],
      [0, -1, 0, 0],
      [0, 10, -1, 0],
      [0, 10, 70_000, 0],
      [0, 10, 0, -1],
      [0, 10, 0, 11],
    ]) {
      const rows = new Int32Array(24);
      rows.set([start, length, segment]);
      rows[18] = done;
      expect(() => sockets.send(number, arena, rows, 0, 1)).toThrow(RangeError);
    }
    for (const [first, count] of [
      [0, 2],
      [2, 1],
      [-1, 1],
      [0, 1e18],
    ]) {
      expect(() => sockets.send(number, arena, new Int32Array(24), first, count)).toThrow(RangeError);
    }
    sockets.close(number);
    sockets.close(number);
    expect(sockets.send(number, arena, new Int32Array(24), 0, 1)).toBe(-1);
  });

  test('do without memory that was taken away', async () => {
    const binding = new Int32Array(18);
    binding[0] = 4;
    binding[2] = 0x0100007f;
    const arena = new Uint8Array(200_000);
    const table = new Int32Array(100);
    const failed = new Promise<number>((resolve) => {
      const number = sockets.bind(binding, arena, table, (received) => {
        sockets.close(number);
        resolve(received);
      });
    });
    structuredClone(arena, { transfer: [arena.buffer] });
    const client = await bind({ connectTo: { host: '127.0.0.1', port: binding[1] } });
    client.send(batchOf(['x'], '127.0.0.1', binding[1]));
    expect(await failed).toBe(-constants.errno.EFAULT);
  });
});

test('a socket whose memory was taken away fails for good and is closed, whatever its owner does', () => {
  let poll: (received: number, isWritable: boolean) => void = () => {};
  const closed: number[] = [];
  const sockets = {
    bind: (_: unknown, __: unknown, ___: unknown, callback: typeof poll) => {
      poll = callback;
      return 7;
    },
    close: (number: number) => closed.push(number),
  } as unknown as NativeSockets;
  const socket = bindNativeSocket(sockets, '127.0.0.1', {});
  const told: [string | undefined, boolean][] = [];
  socket.onError = (error, fatal) => told.push([(error as NodeJS.ErrnoException).code, fatal]);
  poll(-constants.errno.ECONNREFUSED, false);
  expect(closed).toEqual([]);
  poll(-constants.errno.EFAULT, false);
  poll(-constants.errno.EFAULT, false);
  expect(told).toEqual([
    ['ECONNREFUSED', false],
    ['EFAULT', true],
  ]);
  expect(closed).toEqual([7]);
});

test('who posts a view of what has come to another thread takes nothing from the sockets of this one', () => {
  const { arena } = arrivalsOfThread();
  const { port1, port2 } = new MessageChannel();
  try {
    port1.postMessage(arena.subarray(0, 8), [arena.buffer]);
  } catch {
    // Later versions of Node say no.
  }
  expect(arena.length).toBeGreaterThan(0);
  port1.close();
  port2.close();
});

async function bind(options: SocketOptions, limits = 0) {
  const socket = await bindNatively(options, limits);
  open.push(socket);
  return socket;
}

/** What the next `count` datagrams are full of. */
function seen(socket: DatagramSocket, count: number): Promise<string[]> {
  const all: string[] = [];
  return new Promise((resolve) => {
    socket.onBatch = (batch) => {
      for (let i = 0; i < batch.count; i++) {
        const data = batch.data[i];
        const isEven = data.every((byte) => byte === data[0]);
        all.push(data.length === 0 ? '0' : `${data.length} of ${isEven ? data[0] : 'much'}`);
      }
      if (all.length >= count) resolve(all);
    };
  });
}

/** As many datagrams to ports from 9 on, which make no run. */
function apart(count: number): TransmitBatch {
  const batch = new TransmitBatch(1_024, 8);
  for (let i = 0; i < count; i++) put(batch, 'x', '127.0.0.1', 9 + i);
  return batch;
}

/** A socket whose system is played by the test. */
function played() {
  const system = {
    /** Rows that it takes. */
    room: 0,
    isCrowded: false,
    /** The ports that datagrams went to. */
    sent: [] as number[],
    waits: 0,
    onPoll: (_received: number, _isWritable: boolean): void => {},
    receive(came: { port: number; isCut: boolean }[]): void {
      for (const [k, { port, isCut }] of came.entries())
        table.set(
          [k * 65_600, 1, 0, 0, 4, port, 0x0100007f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, isCut ? 1 : 0],
          4 + k * 20,
        );
      this.onPoll(came.length, false);
    },
  };
  let table: Int32Array = new Int32Array(0);
  const sockets: NativeSockets = {
    bind(_binding, _arena, given, onPoll) {
      table = given;
      system.onPoll = onPoll;
      return 0;
    },
    send(_socket, _arena, rows, first, count) {
      let row = first;
      for (; row < count; row++) {
        if ((rows[row * 24 + 23] & 8) !== 0) continue;
        if (system.room === 0) {
          if (system.isCrowded) rows[row * 24 + 23] |= 16;
          break;
        }
        system.room--;
        system.sent.push(rows[row * 24 + 5]);
        rows[row * 24 + 23] |= 8;
      }
      return row;
    },
    awaitRoom: () => {
      system.waits++;
    },
    reference: () => {},
    close: () => {},
  };
  const socket = bindNativeSocket(sockets, '127.0.0.1', {});
  open.push(socket);
  return { socket, system };
}
