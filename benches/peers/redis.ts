import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import type { StorePeer } from '../broker/peer.ts';
import { freePort } from './free-port.ts';
import { selfSigned } from './self-signed.ts';

type RedisAddress =
  | { readonly path: string }
  | { readonly host: string; readonly port: number; readonly tls: { readonly rejectUnauthorized: boolean } };

/** Streams of Redis over TLS, with each command on the disk before it is answered. */
export const redisStreams: StorePeer = {
  name: 'redis tls',
  async startBroker({ directory }) {
    const { key, cert } = selfSigned('localhost');
    writeFileSync(join(directory, 'key.pem'), key);
    writeFileSync(join(directory, 'cert.pem'), cert);
    const port = await freePort();
    const address = `rediss://127.0.0.1:${port}`;
    const server = await startRedis(optionsOf(address), {
      port: '0',
      'tls-port': `${port}`,
      'tls-key-file': join(directory, 'key.pem'),
      'tls-cert-file': join(directory, 'cert.pem'),
      'tls-auth-clients': 'no',
      dir: directory,
      save: '',
      appendonly: 'yes',
      appendfsync: 'always',
    });
    return {
      address,
      pid: server.pid as number,
      stop: () => stopRedis(server),
    };
  },
  async connect(address) {
    const redis = new Redis({ ...optionsOf(address), enableAutoPipelining: true });
    return {
      publishStored: (topic, payload) => redis.xadd(topic, '*', 'p', payload as Buffer),
      async close() {
        await redis.quit();
      },
    };
  },
};

function optionsOf(address: string): RedisAddress {
  const { hostname, port } = new URL(address);
  return { host: hostname, port: Number(port), tls: { rejectUnauthorized: false } };
}

/**
 * Resolves when it takes commands. Throws with what to install when there is none.
 *
 * @param where - it can be connected to with the settings
 */
export async function startRedis(
  where: RedisAddress,
  settings: Readonly<Record<string, string>>,
): Promise<ChildProcess> {
  const words = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
  const server = spawn('redis-server', words, { stdio: 'ignore' });
  let failure: Error | null = null;
  server.once('error', (error: NodeJS.ErrnoException) => {
    failure =
      error.code === 'ENOENT'
        ? new Error(
            'there is no redis-server: "apt-get install redis-server", or leave this peer out with --only jsp',
          )
        : error;
  });
  for (let i = 0; i < START_LOOKS; i++) {
    if (failure !== null) throw failure;
    const probe = new Redis({ ...where, lazyConnect: true, retryStrategy: () => null });
    probe.on('error', () => {});
    const isUp = await probe.ping().then(
      () => true,
      () => false,
    );
    probe.disconnect();
    if (isUp) return server;
    await sleep(START_LOOK_MS);
  }
  server.kill();
  throw new Error('redis-server does not answer');
}

export async function stopRedis(server: ChildProcess): Promise<void> {
  server.kill();
  if (server.exitCode === null) await once(server, 'exit');
}

const START_LOOKS = 100;
const START_LOOK_MS = 50;
