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

  /** A turn of the queue is over in which so many were served. */
  turn(served: number): void {
    this.load.onTurn(served, true);
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

test('whoever is refused is told so on a connection that stays open, and his next request waits for turns in which others are served [GW-7]', async () => {
  server.press();
  caller.socket.write(POST);
  const [[head, status, body]] = await caller.answers(1);
  expect([status, JSON.parse(body).code]).toEqual(['503', 'OVERLOADED']);
  expect(head).toMatch(/\r\nretry-after: [1-5]\r\n/i);
  expect(head).toMatch(/\r\nconnection: keep-alive\r\n/i);
  const [socket] = server.sockets;
  expect(socket.isPaused()).toBe(true);
  caller.socket.write(POST);
  server.turn(1);
  expect(socket.isPaused()).toBe(true); // a half of it
  server.turn(2);
  expect(socket.isPaused()).toBe(false);
  await caller.answers(2);
  expect(socket.isPaused()).toBe(true);
});

test('a body that comes behind the refusal is read before the connection is paused, so that the next request begins where it ends [GW-7]', async () => {
  server.press();
  caller.socket.write(`${HEAD}Content-Length: 10\r\n\r\n12345`);
  await caller.answers(1);
  const [socket] = server.sockets;
  expect(socket.isPaused()).toBe(false);
  caller.socket.write('67890');
  while (!socket.isPaused()) await new Promise((resolve) => setImmediate(resolve));
  server.turn(2);
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
  server.turn(2);
  caller.socket.write(POST + upgrade);
  await once(caller.socket, 'end');
  expect(await caller.answers(103)).toHaveLength(103);
  expect(caller.text).toMatch(/\}upgraded$/);
});

test('paused connections are read again in the order in which they came, half as many as were served, and none later than after 500 ms [GW-7]', () => {
  const clock = new ManualClock();
  const paused = new PausedConnections(clock);
  const read: number[] = [];
  const stop = (i: number): void =>
    paused.pause({
      destroyed: false,
      pause: () => {},
      resume: () => void read.push(i),
    } as unknown as Socket);
  for (let i = 0; i < 1_000; i++) stop(i);
  paused.onTurn(7, true);
  expect(read).toEqual([0, 1, 2]);
  clock.advance(1);
  for (let i = 1_000; i < 1_010; i++) stop(i);
  // Turns that serve nobody go on: nothing but their time reads them.
  for (let ms = 1; ms < 481; ms += 10) {
    paused.onTurn(0, true);
    clock.advance(10);
  }
  expect(read).toHaveLength(3);
  clock.advance(30);
  expect(read).toHaveLength(1_010);
  expect(read).toEqual([...read].sort((a, b) => a - b));
  // Without any turn there is time.
  for (let i = 0; i < 1_000; i++) stop(i);
  const from = clock.now();
  while (paused.size > 0) clock.advance(20);
  expect((clock.now() - from) / MILLISECOND).toBeLessThan(150);
  stop(1);
  paused.close();
  expect([paused.size, clock.pending]).toEqual([0, 0]);
});

const HEAD = 'POST /v1/topics/a HTTP/1.1\r\nHost: a\r\n';
const POST = `${HEAD}Content-Length: 4\r\n\r\nbody`;
