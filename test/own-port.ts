import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * A port of the loopback interface on which nothing listens, neither UDP nor TCP, for a server that is started again where it was, or that others are told
 * of before it listens. It is below those that systems give to whoever asks for any (from 32,768 on), or another test's socket could have it while the
 * server is away; and processes of tests look at different ones.
 */
export async function ownPort(): Promise<number> {
  for (let tries = 0; tries < EACH; tries++) {
    const port = FIRST + (process.pid % PROCESSES) * EACH + (next++ % EACH);
    if (await isFree(port)) return port;
  }
  throw new Error('all ports of this process of tests are in use');
}

async function isFree(port: number): Promise<boolean> {
  const udp = createSocket('udp4');
  const tcp = createServer();
  try {
    await once(udp.bind(port, '127.0.0.1'), 'listening');
    await once(tcp.listen(port, '127.0.0.1'), 'listening');
    return true;
  } catch {
    return false;
  } finally {
    await new Promise<void>((resolve) => udp.close(resolve));
    await new Promise((resolve) => tcp.close(resolve));
  }
}

let next = 0;
const FIRST = 10_240;
const PROCESSES = 1_000;
const EACH = 22;
