import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { emptyFolder } from '../empty-folder.ts';

export interface JspOptions {
  /** What is on its stdin; nothing by default. A stream is piped in. */
  input?: string | Uint8Array | Readable;
  cwd?: string;
  env?: Record<string, string>;
}

export interface JspResult {
  exitCode: number | null;
  signal: NodeJS.Signals | null;
  stdout: Buffer;
  /** As text. */
  out: string;
  err: string;
}

/** The built command as a process of its own. It is killed when the test is over, should it still run. */
export class Jsp {
  readonly process: ChildProcess;
  readonly ended: Promise<JspResult>;
  private readonly outChunks: Buffer[] = [];
  private errText = '';
  private onOutput: () => void = () => {};

  constructor(args: readonly string[], options: JspOptions = {}) {
    this.process = spawn(process.execPath, [MAIN, ...args], {
      cwd: options.cwd ?? emptyFolder(),
      env: { ...environment(), ...options.env },
      stdio: 'pipe',
    });
    const { stdin, stdout, stderr } = this.process;
    stdin?.on('error', () => {}); // the command may end before it has read everything
    if (options.input instanceof Uint8Array || typeof options.input === 'string') stdin?.end(options.input);
    else if (options.input === undefined) stdin?.end();
    else if (stdin !== null) options.input.pipe(stdin);
    stdout?.on('data', (chunk: Buffer) => {
      this.outChunks.push(chunk);
      this.onOutput();
    });
    stderr?.on('data', (chunk: Buffer) => {
      this.errText += chunk.toString();
      this.onOutput();
    });
    this.ended = new Promise((resolve) => {
      this.process.on('close', (exitCode, signal) => {
        const out = Buffer.concat(this.outChunks);
        resolve({ exitCode, signal, stdout: out, out: out.toString(), err: this.errText });
      });
    });
    onTestFinished(() => {
      this.process.kill('SIGKILL');
    });
  }

  get out(): string {
    return Buffer.concat(this.outChunks).toString();
  }

  get err(): string {
    return this.errText;
  }

  /** Resolves when `seen` is true of what it printed; rejects when it ends before. */
  async until(seen: (jsp: Jsp) => boolean): Promise<this> {
    const met = new Promise<void>((resolve) => {
      this.onOutput = () => {
        if (seen(this)) resolve();
      };
      this.onOutput();
    });
    const over = await Promise.race([met, this.ended]);
    if (over !== undefined && !seen(this)) {
      throw new Error(`jsp ended with ${over.exitCode ?? over.signal}: ${over.out}${over.err}`);
    }
    return this;
  }
}

/** Runs a command to its end. */
export function jsp(args: readonly string[], options: JspOptions = {}): Promise<JspResult> {
  return new Jsp(args, options).ended;
}

/** What each of these commands says that ends before it does anything, as those with wrong arguments and `--help` do: all in one process. */
export async function jspTogether(
  commands: readonly (readonly string[])[],
  cwd = emptyFolder(),
): Promise<Pick<JspResult, 'exitCode' | 'out' | 'err'>[]> {
  const program = fileURLToPath(new URL('together.js', import.meta.url));
  const child = spawn(process.execPath, [program, MAIN], { env: environment(), cwd });
  child.stdin.end(JSON.stringify(commands));
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
  if (err !== '') throw new Error(err);
  return JSON.parse(out);
}

export interface RunningBroker {
  jsp: Jsp;
  url: string;
  state: string;
}

/** A broker on a port of its own. */
export async function startBroker(
  state = join(emptyFolder(), 'state'),
  ...args: readonly string[]
): Promise<RunningBroker> {
  const broker = new Jsp(['broker', '--port', '0', '--state', state, ...args]);
  await broker.until(({ out }) => out.includes('\n'));
  return { jsp: broker, url: broker.out.split('\n')[0], state };
}

/** A subscriber that the broker has confirmed. */
export function startSub(url: string, ...args: string[]): Promise<Jsp> {
  return new Jsp(['sub', ...args, '--url', url]).until(({ err }) => err.includes('subscribed'));
}

/** Without what would change what the command does. */
function environment(): NodeJS.ProcessEnv {
  const { JSP_URL: _url, NO_COLOR: _noColor, FORCE_COLOR: _color, ...rest } = process.env;
  return rest;
}

/** The built command. */
export const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
