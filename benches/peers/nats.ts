import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect as dial } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { jetstream, jetstreamManager, StorageType } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import type { BrokerPeer, Store } from '../broker/peer.ts';
import { freePort } from './free-port.ts';
import { selfSigned } from './self-signed.ts';

/** `nats-server` over TLS 1.3 with its own client: core NATS, and JetStream where messages are stored. The cipher is the one that the two agree on. */
export const nats: BrokerPeer = {
  name: 'nats tls',
  async startBroker(store) {
    const folder = mkdtempSync(join(tmpdir(), 'jsp-bench-nats-'));
    const { key, cert } = selfSigned('localhost');
    writeFileSync(join(folder, 'key.pem'), key);
    writeFileSync(join(folder, 'cert.pem'), cert);
    const port = await freePort();
    writeFileSync(join(folder, 'nats.conf'), configuration(folder, port, store));
    const server = spawn('nats-server', ['-c', join(folder, 'nats.conf')], { stdio: 'ignore', env: ENV });
    try {
      await started(server, port);
    } catch (error) {
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
    const address = `tls://127.0.0.1:${port}`;
    if (store !== undefined) await makeStream(address, store.topic);
    return {
      address,
      pid: server.pid as number,
      async stop() {
        server.kill();
        if (server.exitCode === null) await once(server, 'exit');
        rmSync(folder, { recursive: true, force: true });
      },
    };
  },
  async connect(address) {
    const connection = await connect({ servers: address, ...ANY_CERTIFICATE });
    const stream = jetstream(connection);
    return {
      publish: (topic, payload) => connection.publish(topic, payload),
      publishStored: (topic, payload) => stream.publish(topic, payload),
      async flood(topic, payload) {
        for (;;) {
          for (let i = 0; i < FLOOD_BATCH; i++) connection.publish(topic, payload);
          await connection.flush(); // it tells of no other back-pressure
        }
      },
      async subscribe(topic, onMessage) {
        connection.subscribe(topic, { callback: (_, message) => onMessage(message.data) });
        await connection.flush();
      },
      async answer(topic) {
        connection.subscribe(topic, { callback: (_, request) => void request.respond(request.data) });
        await connection.flush();
      },
      ask: (topic, payload) => connection.request(topic, payload, { timeout: 5_000 }),
      flush: () => connection.flush(),
      close: () => connection.close(),
    };
  },
};

/** A stream in files. Whether a message is on the disk when it is acknowledged is a setting of the server. */
async function makeStream(address: string, topic: string): Promise<void> {
  const connection = await connect({ servers: address, ...ANY_CERTIFICATE });
  const { streams } = await jetstreamManager(connection);
  await streams.add({ name: 'bench', subjects: [topic], storage: StorageType.File });
  await connection.close();
}

function configuration(folder: string, port: number, store?: Store): string {
  return `
${store === undefined ? '' : `jetstream { store_dir: "${store.directory}"${syncs() ? ', sync_interval: always' : ''} }`}
listen: "127.0.0.1:${port}"
tls { cert_file: "${join(folder, 'cert.pem')}", key_file: "${join(folder, 'key.pem')}" }
`;
}

/** Resolves when the server accepts connections. */
async function started(server: ChildProcess, port: number): Promise<void> {
  let failure: Error | null = null;
  server.once('error', (error: NodeJS.ErrnoException) => {
    failure =
      error.code === 'ENOENT'
        ? new Error(
            'there is no nats-server on the PATH: "apt-get install nats-server", or leave this peer out with --only jsp',
          )
        : error;
  });
  server.once('exit', (code) => {
    failure ??= new Error(`nats-server ended with ${code} before it listened`);
  });
  for (let i = 0; i < START_LOOKS; i++) {
    await sleep(START_LOOK_MS);
    if (failure !== null) throw failure;
    const socket = dial(port, '127.0.0.1');
    const accepted = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
    });
    socket.destroy();
    if (accepted) return;
  }
  server.kill();
  throw new Error('nats-server does not listen');
}

/** Whether the server that is there can sync for each message. One before 2.10 cannot: what it acknowledges is on the disk two minutes later. */
function syncs(): boolean {
  const [, major, minor] =
    /v(\d+)\.(\d+)/.exec(spawnSync('nats-server', ['--version'], { env: ENV }).stdout?.toString() ?? '') ??
    [];
  return Number(major) > 2 || Number(minor) >= 10;
}

/** Debian puts the server where not everybody's PATH leads. */
const ENV = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };
const ANY_CERTIFICATE = { tls: { rejectUnauthorized: false } };
/** Larger ones are no faster, and wait longer. */
const FLOOD_BATCH = 2_000;
const START_LOOKS = 100;
const START_LOOK_MS = 50;
