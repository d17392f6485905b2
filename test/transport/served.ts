import { afterEach } from 'vitest';
import {
  type Connection,
  type ConnectOptions,
  connect,
  generateIdentity,
  type Listener,
  type ListenOptions,
  listen,
  type Stream,
} from '../../src/index.ts';

const open: { close(): Promise<void> }[] = [];

/** A server on a free port of this machine that is closed, with its clients, when the test is over. */
export async function serve(
  onConnection: ((connection: Connection) => void) | null,
  options: Partial<ListenOptions> = {},
): Promise<Listener> {
  const listener = await listen({ identity: generateIdentity(), port: 0, ...options });
  if (onConnection !== null) listener.on('connection', onConnection);
  open.push({ close: () => listener.close({ timeoutMs: 200 }) });
  return listener;
}

/** A client's connection that is closed when the test is over. */
export async function join(listener: Listener, options: ConnectOptions = {}): Promise<Connection> {
  const connection = await connect(listener.url, options);
  // What a test leaves unsent is none of its cleaning up.
  open.push({ close: () => connection.close({ timeoutMs: 200 }).catch(() => {}) });
  return connection;
}

/** Answers every message with itself. */
export function echo(connection: Connection): void {
  connection.on('stream', (stream) => stream.on('message', (message) => stream.send(message)));
}

/** The first `count` messages of a stream. */
export async function take(stream: Stream, count: number): Promise<Buffer[]> {
  const messages: Buffer[] = [];
  if (count === 0) return messages;
  for await (const message of stream) {
    messages.push(message);
    if (messages.length === count) break;
  }
  return messages;
}

/** Has a server that echoes send and get large messages until packets in both directions are as large as the path of this machine carries. */
export async function growPackets(connection: Connection, other: Connection = connection): Promise<void> {
  const stream = connection.openStream();
  while (Math.min(connection.metrics().mtu, other.metrics().mtu) < LOOPBACK_MTU) {
    for (let i = 0; i < 20; i++) stream.send(new Uint8Array(50_000));
    await take(stream, 20);
  }
}

/** The next time `emitter` emits `name`: what comes with it. */
export function next<T>(
  emitter: { once(name: string, listener: (value: T) => void): unknown },
  name: string,
): Promise<T> {
  return new Promise((resolve) => emitter.once(name, resolve));
}

afterEach(async () => {
  for (const { close } of open.splice(0).reverse()) await close();
});

/** To which packets grow where a path is known to be within the machine. */
const LOOPBACK_MTU = 32_768;
