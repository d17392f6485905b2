import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MILLISECOND } from '../../src/base/time.ts';
import { Load } from '../../src/gateway/load.ts';
import { DEFAULT_LIMITS } from '../../src/gateway/options.ts';
import { Refusals } from '../../src/gateway/overload.ts';
import { PausedConnections } from '../../src/gateway/paused-connections.ts';
import type { Probe } from '../../src/gateway/queue-probe.ts';
import { RouteTable } from '../../src/gateway/router.ts';
import type { GatewayState } from '../../src/gateway/state.ts';
import { systemClock } from '../../src/udp/clock.ts';
import { ManualClock } from '../client/manual-clock.ts';

/** A server that refuses what a {@link Load} does not let in, which is late for as long as the test says. */
class PressedServer {
  readonly load: Load;
  readonly refusals: Refusals;
  readonly server: Server;
  readonly sockets: Socket[] = [];
  private readonly probe: Probe = { onArrival: () => {}, send: () => {}, close: () => {} };
  private readonly loadClock = new ManualClock();
  // Connections stay paused until turns say otherwise: its time is the test's.
  readonly clock = new ManualClock();

  constructor() {
    this.load = new Load({ ...DEFAULT_LIMITS, loopDelayMsMax: 100 }, this.loadClock, this.probe);
    const state = {
      load: this.load,
      isDraining: false,
      counters: { answered: () => {} },
      clock: Object.assign(this.clock, { soon: (callback: () => void) => systemClock.soon(callback) }),
    };
    const watch = { path: '/healthz', methods: {}, isWatch: true };
    this.refusals = new Refusals(state as unknown as GatewayState, new RouteTable([watch]));
    this.server = createServer((request, response) => {
      if (!this.refusals.refuse(request, response)) response.end('served');
    });
    this.server.on('connection', (socket: Socket) => this.sockets.push(socket));
    this.server.on('upgrade', ({ socket }) => {
      this.refusals.release(socket);
      socket.end('upgraded');
    });
  }

  /** From now on there is too much to do. */
  press(): void {
    for (let turn = 0; turn < 3; turn++) {
      this.load.excess();
      this.loadClock.advance(101);
      if (turn < 2) this.probe.onArrival();
    }
    expect(this.load.excess()).toBe('delay');
  }

  /** The next turn of the queue begins: requests are let in until it takes too long. */
  nextTurn(): void {
    this.probe.onArrival();
    expect([this.load.excess(), this.load.isOverloaded]).toEqual([null, true]);
  }

  /** A turn of the queue is over which had room for so many more. */
  turn(room: number): void {
    this.load.onTurn(room);
  }

  /** Turns go by that have no room, until `socket` is read again. @returns how many ms later that is */
  async untilRead(socket: Socket): Promise<number> {
    const from = this.clock.now();
    for (; socket.isPaused(); this.clock.advance(10)) this.turn(0);
    return (this.clock.now() - from) / MILLISECOND;
  }

  close(): void {
    this.refusals.close();
    this.server.closeAllConnections();
    this.server.close();
    this.load.close();
  }
}

/** A client of one connection, and what it was told so far. */
class Caller {
  text = '';
  readonly socket: Socket;
  private onText = (): void => {};

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1');
    this.socket.setEncoding('latin1').on('data', (text: string) => {
      this.text += text;
      this.onText();
    });
  }

  /** Resolves when so many answers are there, whole. */
  answers(count: number): Promise<RegExpMatchArray[]> {
    return new Promise((resolve) => {
      this.onText = () => {
        const answers = [...this.text.matchAll(/HTTP\/1\.1 (\d+) .*?\r\n\r\n(served|\{.*?\})/gs)];
        if (answers.length >= count) resolve(answers);
      };
      this.onText();
    });
  }
}

let server: PressedServer;
let caller: Caller;

beforeEach(async () => {
  server = new PressedServer();
  server.server.listen(0, '127.0.0.1');
  await once(server.server, 'listening');
  caller = new Caller((server.server.address() as AddressInfo).port);
  await Promise.all([once(server.server, 'connection'), once(caller.socket, 'connect')]);
});

afterEach(() => {
  caller.socket.destroy();
  server.close();
});

test('whoever is refused is told so on a connection that stays open, which is read again shortly before he may come back [GW-7]', async () => {
  server.press();
  caller.socket.write(POST);
  const [[head, status, body]] = await caller.answers(1);
  expect([status, JSON.parse(body).code]).toEqual(['503', 'OVERLOADED']);
  expect(head).toMatch(/\r\nconnection: keep-alive\r\n/i);
  const told = toldMs(head);
  expect(told).toBeGreaterThanOrEqual(1_000);
  expect(told).toBeLessThanOrEqual(5_000);
  const [socket] = server.sockets;
  const pausedMs = await server.untilRead(socket);
  expect(pausedMs).toBeGreaterThanOrEqual(told - 1_000);
  expect(pausedMs).toBeLessThan(told - 100);
  server.nextTurn();
  await aWhile();
  caller.socket.write(POST);
  expect((await caller.answers(2))[1][1]).toBe('200');
});

test('whoever asks again too soon is refused when he is read, though others are served, and told to stay away for longer [GW-7]', async () => {
  server.press();
  caller.socket.write(POST);
  await caller.answers(1);
  caller.socket.write(POST);
  const [socket] = server.sockets;
  server.nextTurn();
  await server.untilRead(socket);
  const [, [head, status]] = await caller.answers(2);
  expect(status).toBe('503');
  expect(toldMs(head)).toBeGreaterThanOrEqual(6_000);
  expect(toldMs(head)).toBeLessThanOrEqual(10_000);
  expect(socket.isPaused()).toBe(true);
});

test('where there is room for one more he is read, and what has waited is refused, but what comes then is served [GW-7]', async () => {
  server.press();
  caller.socket.write(POST);
  await caller.answers(1);
  caller.socket.write(POST);
  server.nextTurn();
  server.turn(1);
  await caller.answers(2);
  expect(server.sockets[0].isPaused()).toBe(false);
  caller.socket.write(POST);
  expect((await caller.answers(3)).map(([, status]) => status)).toEqual(['503', '503', '200']);
});

test('where nothing is to be done what has waited is served [GW-7]', async () => {
  server.press();
  caller.socket.write(POST);
  await caller.answers(1);
  caller.socket.write(POST);
  server.nextTurn();
  for (let look = 0; look < 2; look++) server.clock.advance(20);
  expect((await caller.answers(2))[1][1]).toBe('200');
});

test('a connection on which a proxy may bring requests of others is paused for half a second at most [GW-7]', async () => {
  server.press();
  caller.socket.write(`${HEAD}X-Forwarded-For: 192.0.2.1\r\nContent-Length: 4\r\n\r\nbody`);
  await caller.answers(1);
  expect(await server.untilRead(server.sockets[0])).toBeLessThan(600);
});

test('a body that comes behind the refusal is read before the connection is paused, so that the next request begins where it ends [GW-7]', async () => {
  server.press();
  caller.socket.write(`${HEAD}Content-Length: 10\r\n\r\n12345`);
  await caller.answers(1);
  const [socket] = server.sockets;
  expect(socket.isPaused()).toBe(false);
  caller.socket.write('67890');
  while (!socket.isPaused()) await new Promise((resolve) => setImmediate(resolve));
  server.turn(1);
  caller.socket.write('GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n');
  expect((await caller.answers(2)).map(([, status]) => status)).toEqual(['503', '200']);
});

test('many requests of one piece are refused in their order, one that is for all times is served among them, and a takeover comes behind them [GW-7]', async () => {
  server.press();
  const watch = 'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n';
  const upgrade = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n';
  caller.socket.write(POST.repeat(100) + watch + POST);
  const statuses = (await caller.answers(102)).map(([, status]) => status);
  expect(statuses).toEqual([...Array.from({ length: 100 }, () => '503'), '200', '503']);
  server.turn(1);
  caller.socket.write(POST + upgrade);
  await once(caller.socket, 'end');
  expect(await caller.answers(103)).toHaveLength(103);
  expect(caller.text).toMatch(/\}upgraded$/);
});

test('what is refused is told so when a turn of the queue begins, before what comes behind that takes its time [GW-7]', async () => {
  server.press();
  server.clock.soon = () => {}; // the loop does not come to it
  caller.socket.write(POST);
  const [, response] = await once(server.server, 'request');
  expect(response.writableEnded).toBe(false);
  server.turn(0);
  expect(response.writableEnded).toBe(true);
});

test('paused connections are read again when their time is over, sooner where there is room, and all of them soon where there is nothing to do [GW-7]', () => {
  const clock = new ManualClock();
  const paused = new PausedConnections(clock);
  const read: number[] = [];
  const stop = (i: number, ms: number): void =>
    paused.pause(socketOf({ pause: () => {}, resume: () => void read.push(i) }), ms);
  for (let i = 0; i < 100; i++) stop(i, 1_000 + 10 * i);
  paused.onTurn(3);
  expect(read).toHaveLength(3);
  expect(Math.max(...read)).toBeLessThan(5); // among those of the first 50 ms
  const turns = (ms: number): void => {
    for (let at = 0; at < ms; at += 10) {
      paused.onTurn(0);
      clock.advance(10);
    }
  };
  turns(990);
  expect(read).toHaveLength(3);
  turns(500);
  expect(read.length).toBeGreaterThan(40);
  expect(read.length).toBeLessThan(60);
  turns(600);
  expect(read).toHaveLength(100);
  // Without any turn there is time.
  for (let i = 0; i < 1_000; i++) stop(i, 5_000);
  const from = clock.now();
  while (paused.size > 0) clock.advance(20);
  expect((clock.now() - from) / MILLISECOND).toBeLessThan(150);
  stop(1, 1_000);
  paused.close();
  expect([paused.size, clock.pending]).toEqual([0, 0]);
});

test('of many whose time is over at once no more are read than take a small part of a turn, until the loop has come to them [GW-7]', () => {
  const clock = new ManualClock();
  const paused = new PausedConnections(clock);
  const read: Socket[] = [];
  const all = Array.from({ length: 1_000 }, () =>
    socketOf({ pause: () => {}, resume: () => void read.push(all[read.length]) }),
  );
  for (const socket of all) paused.pause(socket, 1_000);
  for (let ms = 0; ms < 2_000; ms += 10) {
    paused.onTurn(0);
    clock.advance(10);
    const before = read.length;
    paused.onTurn(0);
    paused.onTurn(256);
    expect(read.length - before).toBeLessThanOrEqual(256);
  }
  expect(read).toHaveLength(1_000);
});

const socketOf = (face: Pick<Socket, never> & { pause(): void; resume(): void }): Socket =>
  ({ destroyed: false, ...face }) as unknown as Socket;
const toldMs = (head: string): number => Number(/\r\nretry-after: (\d+)\r\n/i.exec(head)?.[1]) * 1_000;
/** Until the loop has been to all sockets. */
const aWhile = async (): Promise<void> => {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
};

const HEAD = 'POST /v1/topics/a HTTP/1.1\r\nHost: a\r\n';
const POST = `${HEAD}Content-Length: 4\r\n\r\nbody`;
