/** Servers of several workers for tests, with their threads. What is in dist/ is used: a thread that begins with TypeScript would need a loader. */

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { onTestFinished } from 'vitest';
import type {
  Connection,
  ConnectOptions,
  WorkerEvent,
  WorkersListener,
  WorkersListenOptions,
} from '../../../src/index.ts';
import { reusePortFault } from '../../../src/udp/bind-socket.ts';

export const DIST: string = new URL('../../../dist/index.js', import.meta.url).href;
export const { connect, generateIdentity, listen } = (await import(
  DIST
)) as typeof import('../../../src/index.ts');

/** Two, where their sockets can share an address. */
export const WORKERS = reusePortFault() === null ? 2 : 1;
export const isShared = WORKERS > 1;

export const SESSION = new URL('./session.js', import.meta.url);

/** A server on a free port of this machine, which is closed when the test is over. */
export async function serveWorkers(options: Partial<WorkersListenOptions> = {}): Promise<WorkersListener> {
  const listener = await listen({
    identity: generateIdentity(),
    port: 0,
    workers: WORKERS,
    module: SESSION,
    ...options,
  });
  onTestFinished(() => listener.close({ timeoutMs: 200 }));
  return listener;
}

/** A client, which is closed when the test is over. */
export async function join(listener: WorkersListener, options: ConnectOptions = {}): Promise<Connection> {
  const connection = await connect(listener.url, options);
  onTestFinished(() => connection.close({ timeoutMs: 200 }).catch(() => {}));
  return connection;
}

/** What the server answers on a stream of its own. */
export async function ask(connection: Connection, text: string): Promise<string> {
  const stream = connection.openStream();
  stream.send(text);
  for await (const message of stream) return message.toString();
  throw new Error('the server said nothing');
}

/** Clients until each worker has one, by the workers' numbers. Which of them a client comes to is the system's choice. */
export async function clientsOfAll(
  listener: WorkersListener,
  options: ConnectOptions = {},
): Promise<Connection[][]> {
  const clients: Connection[][] = Array.from({ length: listener.workers }, () => []);
  for (let i = 0; clients.some((some) => some.length === 0); i++) {
    if (i === CLIENTS_MAX) throw new Error(`${i} clients came to ${clients.map((some) => some.length)}`);
    const connection = await join(listener, options);
    clients[Number.parseInt(await ask(connection, 'who'), 10)].push(connection);
  }
  return clients;
}

/** The next event of this kind. */
export async function workerEvent(
  listener: WorkersListener,
  state: WorkerEvent['state'],
): Promise<WorkerEvent> {
  for (;;) {
    const [event] = (await once(listener, 'worker')) as [WorkerEvent];
    if (event.state === state) return event;
  }
}

/** A port of this machine that somebody has. */
export async function takenPort(): Promise<number> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    socket.close();
  });
  return socket.address().port;
}

/** All would be with one of two workers once in 2^63 runs. */
const CLIENTS_MAX = 64;
