/** Servers of NATS with JetStream for tests: real processes, with their own port and folder through all their lives. */

import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ownPort } from '../../own-port.ts';
import { ProgramFolder } from '../../program-folder.ts';
import { systemProgram } from '../../system-program.ts';

/** The program; null where there is none, which `systemProgram` tells. */
export function natsProgram(): string | null {
  return systemProgram(['nats-server', '/usr/sbin/nats-server'], 'nats-server', 'clusters of brokers');
}

export interface NatsServerOptions {
  /** Further lines of its configuration file. */
  readonly config?: string | undefined;
  /** Default: one of its own. */
  readonly port?: number | undefined;
  /** False: it keeps nothing, and has what is kept from another server. */
  readonly keepsStreams?: boolean | undefined;
  /** Under which name leaf nodes reach its streams. */
  readonly domain?: string | undefined;
}

export class NatsServer {
  readonly port: number;
  /** What its lives wrote. */
  notes = '';
  private readonly program: string;
  private readonly folder = new ProgramFolder('jsp-nats-');
  private readonly own: readonly string[];
  private process: ChildProcess | null = null;
  private ended: Promise<void> = Promise.resolve();

  private constructor(
    program: string,
    port: number,
    { config = '', keepsStreams = true, domain }: NatsServerOptions,
  ) {
    this.program = program;
    this.port = port;
    const own = [`listen: "127.0.0.1:${port}"`];
    const named = domain === undefined ? '' : `, domain: "${domain}"`;
    if (keepsStreams) own.push(`jetstream { store_dir: "${join(this.folder.path, 'store')}"${named} }`);
    this.own = own;
    this.configure(config);
  }

  /** Further lines of its configuration file, from its next start on. */
  configure(config: string): void {
    writeFileSync(join(this.folder.path, 'nats.conf'), `${[...this.own, config].join('\n')}\n`);
  }

  /** A server that runs. */
  static async start(program: string, options: NatsServerOptions = {}): Promise<NatsServer> {
    const server = new NatsServer(program, options.port ?? (await ownPort()), options);
    await server.start();
    return server;
  }

  /** Servers that are one cluster. */
  static async startCluster(program: string, count: number): Promise<NatsServer[]> {
    const ports = await Promise.all(Array.from({ length: count }, ownPort));
    const routes = ports.map((port) => `"nats://127.0.0.1:${port}"`).join(', ');
    return await Promise.all(
      ports.map((port, i) => {
        const cluster = `cluster { name: "c", listen: "127.0.0.1:${port}", routes: [${routes}] }`;
        return NatsServer.start(program, { config: `server_name: "s${i + 1}"\n${cluster}` });
      }),
    );
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  get pid(): number {
    return this.process?.pid as number;
  }

  /** Starts it, on what it has stored before, and resolves when clients can connect. */
  async start(): Promise<void> {
    const child = spawn(this.program, ['-c', join(this.folder.path, 'nats.conf')], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.process = child;
    this.folder.runs(child);
    this.ended = new Promise((resolve) => child.on('close', () => resolve()));
    await new Promise<void>((resolve, reject) => {
      child.on('error', reject);
      child.stderr.on('data', (chunk: Buffer) => {
        this.notes = `${this.notes}${chunk}`.slice(-NOTES_MAX);
        if (this.notes.includes(READY)) resolve();
      });
      child.on('close', (code, signal) =>
        reject(new Error(`nats-server ended with ${code ?? signal} before it was ready: ${this.notes}`)),
      );
    });
    this.notes = this.notes.replaceAll(READY, 'was ready');
  }

  /** Sends it a signal: SIGSTOP and SIGCONT, too. */
  signal(signal: NodeJS.Signals): void {
    this.process?.kill(signal);
  }

  /** Ends it, by default as `kill -9` does; what it has stored stays. */
  async stop(signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<void> {
    this.process?.kill(signal);
    await this.ended;
  }

  /** Ends it, and removes all that it kept. */
  async remove(): Promise<void> {
    await this.stop();
    await this.folder.remove();
  }
}

const READY = 'Server is ready';
const NOTES_MAX = 20_000;
