import { Socket } from 'node:dgram';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { TransmitBatch } from '../../src/protocol/datagram/index.ts';
import type { DatagramSocket } from '../../src/udp/datagram-socket.ts';
import { bindDgramSocket } from '../../src/udp/dgram-socket.ts';
import { bindWildcardSocket, type Surroundings } from '../../src/udp/wildcard-socket.ts';

const open: DatagramSocket[] = [];

afterEach(async () => {
  vi.restoreAllMocks();
  await Promise.all(open.splice(0).map((socket) => socket.close()));
});

describe('a socket on all addresses', () => {
  test('follows the interfaces: it takes up what comes, and leaves what goes', async () => {
    const machine = new Machine(['127.0.0.1']);
    const server = await serve('0.0.0.0', machine);
    const numbers: number[] = [];
    // Peers of this machine are answered as the system sees fit, which is from 127.0.0.1, unless there is a socket for the address.
    expect(await askFromAnywhere(server, '127.0.0.7', numbers)).toBe('127.0.0.1');
    await machine.change(['127.0.0.1', '127.0.0.7']);
    expect(await askFromAnywhere(server, '127.0.0.7', numbers)).toBe('127.0.0.7');
    expect(numbers).toEqual([0, 2]);
    const taken = await bindDgramSocket({ host: '127.0.0.7', port: server.localPort }).catch(
      (error) => error.code,
    );
    expect(taken).toBe('ERR_JSP_SOCKET');
  });

  test('gives an address that comes back the number that it had, and answers from elsewhere meanwhile', async () => {
    const machine = new Machine(['127.0.0.1', '192.0.2.77']);
    const bound: string[] = [];
    const bind = Socket.prototype.bind;
    // The system has no such address: every socket for it is bound to one that there is.
    vi.spyOn(Socket.prototype, 'bind').mockImplementation(function (this: Socket, options: never) {
      const { address, ...rest } = options as { address: string };
      bound.push(address);
      return bind.call(this, {
        ...rest,
        address: address === '192.0.2.77' ? '127.0.0.77' : address,
      } as never);
    } as never);
    const server = await serve('0.0.0.0', machine);
    const numbers: number[] = [];
    expect(await askFromAnywhere(server, '127.0.0.77', numbers)).toBe('127.0.0.77');
    await machine.change(['127.0.0.1']);
    expect(await askFromAnywhere(server, '127.0.0.77', numbers)).toBe('127.0.0.1');
    await machine.change(['192.0.2.77', '127.0.0.1']);
    expect(await askFromAnywhere(server, '127.0.0.77', numbers)).toBe('127.0.0.77');
    expect(numbers).toEqual([2, 0, 2]);
    expect(bound.filter((host) => host === '192.0.2.77')).toHaveLength(2);
    expect(server.counters).toMatchObject({ datagramsReceived: 3, datagramsSent: 3 });
  });

  test('goes on with the addresses that it has while the system tells of none, as a process without descriptors is refused', async () => {
    const machine = new Machine(['127.0.0.1', '127.0.0.7']);
    const server = await serve('0.0.0.0', machine);
    machine.isMute = true;
    await machine.change([]);
    await machine.change([]);
    expect(await askFromAnywhere(server, '127.0.0.7')).toBe('127.0.0.7');
    const begun = await serve('0.0.0.0', machine);
    expect(await ask(begun, '127.0.0.1')).toBe('answer');
    machine.isMute = false;
    await machine.change(['127.0.0.1', '127.0.0.8']);
    expect(await askFromAnywhere(begun, '127.0.0.8')).toBe('127.0.0.8');
  });

  test('goes on without an address that cannot be bound, says so, and tries again', async () => {
    const machine = new Machine(['127.0.0.1', '203.0.113.200']);
    const server = await serve('0.0.0.0', machine);
    expect(await ask(server, '127.0.0.1')).toBe('answer');
    const { EADDRNOTAVAIL } = server.counters.errorCodes;
    expect(EADDRNOTAVAIL).toBeGreaterThan(0);
    await machine.change(['127.0.0.1', '203.0.113.200']);
    expect(server.counters.errorCodes.EADDRNOTAVAIL).toBeGreaterThan(EADDRNOTAVAIL);
  });

  test('spends a bounded share of its time on asking for the sockets of this machine', async () => {
    let nowMs = 1_000;
    vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
    const machine = new Machine(['127.0.0.1']);
    machine.onAsked = () => {
      nowMs += 5;
    };
    const server = await serve('0.0.0.0', machine);
    for (let i = 0; i < 10; i++) await askFromAnywhere(server, '127.0.0.9');
    expect(machine.asked).toBe(5); // 20 ms at once, and what is earned meanwhile
    nowMs += 200;
    for (let i = 0; i < 10; i++) await askFromAnywhere(server, '127.0.0.9');
    expect(machine.asked).toBe(7); // and a twentieth of what passes
  });

  test('sends a batch from several addresses in order, and is writable when all of its sockets are', async () => {
    const server = await serve('0.0.0.0', new Machine(['127.0.0.1', '127.0.0.8']));
    const clients = await Promise.all(
      ['127.0.0.1', '127.0.0.8'].map((host) =>
        bindDgramSocket({ connectTo: { host, port: server.localPort } }),
      ),
    );
    open.push(...clients);
    const [a, b] = clients.map(({ localPort }) => localPort);
    const batch = new TransmitBatch(1_024, 8);
    put(batch, 'a1', '127.0.0.1', a, 1);
    put(batch, 'b1', '127.0.0.1', b, 2);
    put(batch, 'b2', '127.0.0.1', b, 2);
    put(batch, 'a2', '127.0.0.1', a, 1);
    put(batch, 'lost: from elsewhere', '127.0.0.1', a, 2);
    put(batch, 'b3', '127.0.0.1', b, 2);
    const queued = vi.spyOn(Socket.prototype, 'getSendQueueCount').mockReturnValue(1);
    const writable = new Promise<void>((resolve) => {
      server.onWritable = resolve;
    });
    const arrived = Promise.all([texts(clients[0], 2), texts(clients[1], 3)]);
    expect(server.send(batch)).toBe(false);
    expect(await arrived).toEqual([
      ['a1', 'a2'],
      ['b1', 'b2', 'b3'],
    ]);
    queued.mockReturnValue(0);
    await writable;
    expect(server.counters.datagramsSent).toBe(6);
  });

  test('looks for addresses no more once it is closed, nor listens at one that comes', async () => {
    const machine = new Machine(['127.0.0.1']);
    const looks = vi.spyOn(machine, 'addresses');
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    try {
      const server = await serve('0.0.0.0', machine);
      vi.advanceTimersByTime(1);
      const before = looks.mock.calls.length;
      await server.close();
      vi.advanceTimersByTime(10);
      expect([before, looks.mock.calls.length]).toEqual([2, 2]);
    } finally {
      vi.useRealTimers();
    }
  });

  test('closes all of its sockets, and can be closed twice', async () => {
    const server = await serve('0.0.0.0');
    server.unref();
    server.ref();
    await Promise.all([server.close(), server.close()]);
    expect(server.send(batchOf('x', '127.0.0.1', 9, 1))).toBe(true);
    open.push(await bindDgramSocket({ host: '0.0.0.0', port: server.localPort }));
  });
});

/** A machine whose interfaces the test decides, and whose sockets nobody tells of. */
class Machine implements Surroundings {
  readonly pollMs = 1;
  asked = 0;
  onAsked = (): void => {};
  isMute = false;
  private looked: (() => void) | null = null;
  private list: string[];

  constructor(list: string[]) {
    this.list = list;
  }

  readonly addresses = (): string[] => {
    this.looked?.();
    if (this.isMute) throw new Error('uv_interface_addresses returned EMFILE');
    return this.list;
  };

  readonly connectedTo = (): Map<string, string> => {
    this.asked++;
    this.onAsked();
    return new Map();
  };

  /** Resolves when the change was looked at and dealt with. */
  async change(list: string[]): Promise<void> {
    this.list = list;
    await new Promise<void>((resolve) => {
      this.looked = resolve;
    });
    this.looked = null;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function serve(host: string, surroundings?: Surroundings): Promise<DatagramSocket> {
  const server = bindWildcardSocket(host, {}, surroundings);
  open.push(server);
  return server;
}

/** Asks the server at `host` from a connected socket, which hears nobody else, and waits for the answer. */
async function ask(server: DatagramSocket, host: string): Promise<string> {
  const client = await bindDgramSocket({ connectTo: { host, port: server.localPort } });
  answerEverybody(server);
  const answered = texts(client, 1);
  client.send(batchOf('question', host, server.localPort));
  const [text] = await answered;
  await client.close();
  return text;
}

/** Asks the server at `host` from a socket that hears everybody. Returns the address that the answer comes from. */
async function askFromAnywhere(
  server: DatagramSocket,
  host: string,
  numbers: number[] = [],
): Promise<string> {
  const client = await bindDgramSocket({ host: '127.0.0.1' });
  answerEverybody(server, numbers);
  const answered = new Promise<string>((resolve) => {
    client.onBatch = (batch) => resolve(batch.host[0]);
  });
  client.send(batchOf('question', host, server.localPort));
  const from = await answered;
  await client.close();
  return from;
}

function answerEverybody(server: DatagramSocket, numbers: number[] = []): void {
  server.onBatch = (batch) => {
    numbers.push(batch.local[0]);
    server.send(batchOf('answer', batch.host[0], batch.port[0], batch.local[0]));
  };
}

function batchOf(text: string, host: string, port: number, local = 0): TransmitBatch {
  const batch = new TransmitBatch(1_024, 1);
  put(batch, text, host, port, local);
  return batch;
}

function put(batch: TransmitBatch, text: string, host: string, port: number, local: number): void {
  const { written } = new TextEncoder().encodeInto(text, batch.arena.subarray(batch.used));
  batch.push(written, host, port, local);
}

/** The next `count` datagrams that come to `socket`. */
function texts(socket: DatagramSocket, count: number): Promise<string[]> {
  const seen: string[] = [];
  return new Promise((resolve) => {
    socket.onBatch = (batch) => {
      for (let i = 0; i < batch.count; i++) seen.push(new TextDecoder().decode(batch.data[i]));
      if (seen.length >= count) resolve(seen);
    };
  });
}
