import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ownPort } from '../own-port.ts';
import { ProgramFolder } from '../program-folder.ts';

/** A durable broker as a process of its own, the built command, with one store and one port through all its lives. */
export class BrokerProcess {
  /** What clients connect to, in every life. */
  url = '';
  /** What its lives wrote on stderr. */
  notes = '';
  private readonly folder = new ProgramFolder('jsp-crash-');
  private readonly options: readonly string[];
  private port = 0;
  private process: ChildProcess | null = null;
  private ended: Promise<void> = Promise.resolve();

  /**
   * @param options - further ones of `jsp broker`
   * @param keepsStore - false: what it keeps is elsewhere
   */
  constructor({
    options = [],
    keepsStore = true,
  }: { options?: readonly string[]; keepsStore?: boolean } = {}) {
    this.options = keepsStore ? ['--store', join(this.folder.path, 'store'), ...options] : options;
  }

  get pid(): number {
    return this.process?.pid as number;
  }

  /** Starts it, and resolves when it can be connected to. */
  async start(): Promise<void> {
    const { path } = this.folder;
    if (this.port === 0) this.port = await ownPort();
    const args = ['broker', '--port', `${this.port}`, '--state', join(path, 'state')];
    args.push(...this.options);
    const child = spawn(process.execPath, [MAIN, ...args], {
      cwd: path,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.process = child;
    this.folder.runs(child);
    this.ended = new Promise((resolve) => child.on('close', () => resolve()));
    child.stderr.on('data', (chunk: Buffer) => {
      this.notes += chunk.toString();
    });
    this.url = await new Promise<string>((resolve, reject) => {
      let out = '';
      child.stdout.on('data', (chunk: Buffer) => {
        out += chunk.toString();
        if (out.includes('\n')) resolve(out.slice(0, out.indexOf('\n')));
      });
      child.on('close', (code, signal) =>
        reject(new Error(`the broker ended with ${code ?? signal} before it listened: ${this.notes}`)),
      );
    });
  }

  /** Kills it as `kill -9` does, or asks it to end. Resolves when it has ended. */
  async stop(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    this.process?.kill(signal);
    await this.ended;
  }

  /** Kills it and removes all that it kept. */
  async remove(): Promise<void> {
    await this.stop('SIGKILL');
    await this.folder.remove();
  }
}

/** The built command. */
const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
