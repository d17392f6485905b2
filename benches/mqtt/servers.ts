/** What is measured: the broker of this project with its door for MQTT, in one process, and Mosquitto, both in memory and without TLS. */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect as dial } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startBroker } from '../../src/broker/index.ts';
import { startMqtt } from '../../src/gateway/index.ts';
import { generateIdentity } from '../../src/index.ts';
import { freePort } from '../peers/free-port.ts';

export interface MqttServer {
  readonly name: string;
  start(): Promise<RunningServer>;
}

export interface RunningServer {
  readonly port: number;
  readonly pid: number;
  /** What the process holds, in bytes, when what it needs no more is gone. */
  memory(): Promise<number>;
  stop(): Promise<void>;
}

const jsp: MqttServer = {
  name: 'jsp',
  async start() {
    const child = fork(fileURLToPath(import.meta.url), [DOOR], {
      execArgv: [...process.execArgv, '--expose-gc'],
    });
    const [port] = (await once(child, 'message')) as [number];
    return {
      port,
      pid: child.pid as number,
      async memory() {
        const collected = once(child, 'message');
        child.send('collect');
        await collected;
        return residentBytes(child.pid as number);
      },
      stop: () => stopped(child),
    };
  },
};

const mosquitto: MqttServer = {
  name: 'mosquitto',
  async start() {
    const folder = mkdtempSync(join(tmpdir(), 'jsp-bench-mqtt-'));
    const port = await freePort();
    // As many at a time as the other side takes, so that it is not measured how long an acknowledgement is on its way.
    const settings = ['allow_anonymous true', 'max_inflight_messages 0', 'max_queued_messages 0'];
    writeFileSync(join(folder, 'mosquitto.conf'), [`listener ${port} 127.0.0.1`, ...settings, ''].join('\n'));
    // Debian puts it where not everybody's PATH leads; it may read its configuration as whoever it becomes.
    const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };
    const child = spawn('mosquitto', ['-c', join(folder, 'mosquitto.conf')], { stdio: 'ignore', env });
    const stop = async () => {
      await stopped(child);
      rmSync(folder, { recursive: true, force: true });
    };
    try {
      await answering(child, port);
    } catch (error) {
      await stop();
      throw error;
    }
    return { port, pid: child.pid as number, memory: async () => residentBytes(child.pid as number), stop };
  },
};

export const SERVERS: readonly MqttServer[] = [jsp, mosquitto];

function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  return Number(/^VmRSS:\s*(\d+) kB/m.exec(status)?.[1]) * 1_024;
}

async function stopped(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const ended = once(child, 'exit');
  child.kill();
  await ended;
}

async function answering(child: ChildProcess, port: number): Promise<void> {
  let failure: Error | null = null;
  child.once('error', () => {
    failure = new Error('there is no mosquitto: apt-get install mosquitto');
  });
  child.once('exit', (code) => {
    failure ??= new Error(`mosquitto ended with ${code} before it listened`);
  });
  for (;;) {
    if (failure !== null) throw failure;
    const socket = dial(port, '127.0.0.1');
    // `once` rejects where there is an error.
    const isThere = await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (isThere) return;
    await sleep(50);
  }
}

async function serve(): Promise<void> {
  const broker = await startBroker({ identity: generateIdentity(), port: 0 });
  const mqtt = await startMqtt({ broker, port: 0, limits: { connectionsMax: 1_000_000 } });
  process.on('disconnect', () => process.exit());
  process.on('message', () => {
    global.gc?.();
    global.gc?.();
    process.send?.('collected');
  });
  process.send?.(mqtt.port);
}

const DOOR = 'mqtt-door';
if (process.argv[2] === DOOR) await serve();
