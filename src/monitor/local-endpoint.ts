/**
 * Where a process of this machine tells its own user's monitors of its connections: a Unix-domain socket, on Windows a named pipe, under the
 * process's id in a directory that is the user's own. Whoever connects sends a line, `{"top":20}`, and gets a line back, as often as he
 * likes. Nothing is there unless somebody asked for it. [CON-73]
 */

import { chmodSync, lstatSync, mkdirSync, readdirSync, type Stats, unlinkSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { JspError } from '../base/errors.ts';
import { type ProcessReport, parseReport, TOP_MAX } from './report.ts';

/** Answers one reader: `before` is what it was told last. */
export type Answer = (top: number, before: Map<number, number>) => ProcessReport;

/** An endpoint that is open. It does not keep the process alive. */
export class LocalEndpoint {
  /** The socket's path, or the pipe's name. */
  readonly path: string;
  private readonly server: Server;
  private readonly readers = new Set<Socket>();
  private readonly onExit = (): void => unlinkQuietly(this.path);

  private constructor(server: Server, path: string, answer: Answer) {
    this.server = server;
    this.path = path;
    server.on('connection', (socket) => this.serve(socket, answer));
    server.maxConnections = READERS_MAX;
    server.unref();
    process.on('exit', this.onExit);
  }

  /**
   * Opens the endpoint of this process.
   *
   * @throws JspError ERR_JSP_MONITOR where the directory is not the user's own, or the socket cannot be made
   */
  static async open(answer: Answer, directory = monitorDirectory()): Promise<LocalEndpoint> {
    if (!isPipes(directory)) {
      assertOwnDirectory(directory, true);
      tellingProcesses(directory); // which makes away with what killed processes have left
      removeOwnSocket(socketPath(directory, process.pid));
    }
    const path = socketPath(directory, process.pid);
    const server = createServer();
    await new Promise<void>((resolve, reject) => {
      // What comes later is of one who could not be accepted, and costs the process nothing.
      server.on('error', (error) => reject(refusal(`cannot open ${path}: ${error.message}`, error)));
      server.listen(path, resolve);
    });
    if (!isPipes(directory)) chmodSync(path, 0o600);
    return new LocalEndpoint(server, path, answer);
  }

  async close(): Promise<void> {
    process.off('exit', this.onExit);
    for (const socket of this.readers) socket.destroy();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
    unlinkQuietly(this.path);
  }

  private serve(socket: Socket, answer: Answer): void {
    this.readers.add(socket);
    socket.unref();
    const before = new Map<number, number>();
    let text = '';
    socket.setEncoding('utf8');
    socket.on('error', () => {}); // it has gone
    socket.on('close', () => this.readers.delete(socket));
    socket.on('data', (chunk: string) => {
      text += chunk;
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        const top = topOf(text.slice(0, end));
        text = text.slice(end + 1);
        // Who does not read what was asked for gets no more.
        if (top === null || socket.writableLength > 0) return void socket.destroy();
        socket.write(`${JSON.stringify(answer(top, before))}\n`);
      }
      if (text.length > REQUEST_MAX) socket.destroy();
    });
  }
}

/** The other end: asks one process again and again. */
export class ProcessReader {
  private readonly socket: Socket;
  private text = '';
  private settle: { resolve(line: string): void; reject(error: JspError): void } | null = null;
  private over: JspError | null = null;

  private constructor(socket: Socket, pid: number) {
    this.socket = socket;
    const end = (): void => this.end(refusal(`process ${pid} has ended, or tells no more`));
    socket.setEncoding('utf8');
    socket.on('error', end);
    socket.on('close', end);
    socket.on('data', (chunk: string) => this.onData(chunk));
  }

  /**
   * Connects to a process that tells of itself.
   *
   * @throws JspError ERR_JSP_MONITOR when there is none, it is another user's, or it tells nothing
   */
  static async open(pid: number, directory = monitorDirectory()): Promise<ProcessReader> {
    const path = socketPath(directory, pid);
    const advice =
      'start it with JSP_MONITOR=1, or call serveMetrics() in it; jsp commands tell by themselves';
    if (!isPipes(directory) && !assertOwnDirectory(directory, false))
      throw refusal(`no process of yours tells a monitor anything: ${advice}`);
    const state = stateOf(pid);
    if (state === 'none') {
      if (!isPipes(directory)) unlinkQuietly(path);
      throw refusal(`there is no process ${pid}`);
    }
    const socket = connect(path);
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('connect', resolve);
        socket.once('error', reject);
      });
    } catch (error) {
      const why = state === 'foreign' ? 'is another user’s' : `tells a monitor nothing: ${advice}`;
      throw refusal(`process ${pid} ${why}`, error);
    }
    return new ProcessReader(socket, pid);
  }

  /** @throws JspError ERR_JSP_MONITOR when the process has ended, does not answer, or answers what is no report */
  async ask(top: number, timeoutMs = ANSWER_MS): Promise<ProcessReport> {
    if (this.over !== null) throw this.over;
    const timer = setTimeout(
      () =>
        this.end(
          refusal(`the process does not answer within ${timeoutMs / 1_000} s: it is busy, or stopped`),
        ),
      timeoutMs,
    );
    const answer = new Promise<string>((resolve, reject) => {
      this.settle = { resolve, reject };
    });
    this.socket.write(`${JSON.stringify({ top })}\n`);
    const line = await answer.finally(() => clearTimeout(timer));
    return parseReport(line);
  }

  close(): void {
    this.socket.destroy();
  }

  private onData(chunk: string): void {
    const end = chunk.indexOf('\n');
    if (end < 0) {
      this.text += chunk;
      if (this.text.length > REPORT_MAX) this.end(refusal('the process tells more than a report can hold'));
      return;
    }
    const line = this.text + chunk.slice(0, end);
    this.text = chunk.slice(end + 1);
    const { settle } = this;
    this.settle = null;
    settle?.resolve(line);
  }

  private end(error: JspError): void {
    this.over ??= error;
    const { settle } = this;
    this.settle = null;
    settle?.reject(this.over);
    this.socket.destroy();
  }
}

/** Ids of the user's processes that tell of themselves; what processes that are gone have left behind is removed. */
export function tellingProcesses(directory = monitorDirectory()): number[] {
  const isOfPipes = isPipes(directory);
  if (!isOfPipes && !assertOwnDirectory(directory, false)) return [];
  const prefix = isOfPipes ? directory.slice(PIPES.length) : '';
  const pids: number[] = [];
  for (const name of readdirSync(isOfPipes ? PIPES : directory)) {
    const pid = Number(
      name.startsWith(prefix) ? /^(\d+)(\.sock)?$/.exec(name.slice(prefix.length))?.[1] : undefined,
    );
    if (!Number.isInteger(pid)) continue;
    if (stateOf(pid) !== 'none') pids.push(pid);
    else if (!isOfPipes) unlinkQuietly(join(directory, name));
  }
  return pids.sort((a, b) => a - b);
}

/** The user's own directory below the system's for temporary files; on Windows what names of pipes begin with. */
export function monitorDirectory(): string {
  if (process.platform === 'win32') return `${PIPES}jsp-monitor-${userInfo().username}-`;
  return join(tmpdir(), `jsp-monitor-${process.getuid?.() ?? 0}`);
}

/**
 * Nobody but the user may have anything to do with the directory: else another could answer in the place of a process, or read along.
 *
 * @returns false when there is none
 * @throws JspError ERR_JSP_MONITOR
 */
function assertOwnDirectory(directory: string, make: boolean): boolean {
  if (make) {
    try {
      mkdirSync(directory, { mode: 0o700 });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST')
        throw refusal(`cannot make ${directory}: ${(error as Error).message}`, error);
    }
  }
  const stats = statsOf(directory);
  if (stats === null) return false;
  const uid = process.getuid?.();
  // A symbolic link is not followed: it would lead where another user wants it to.
  const isOwn = stats.isDirectory() && stats.uid === uid && (stats.mode & 0o077) === 0;
  if (isOwn) return true;
  throw refusal(
    `${directory} must be a directory that is yours alone (mode 0700), which it is not: another user may have made it. Remove it, or set TMPDIR`,
  );
}

/** A process with this id was here before. */
function removeOwnSocket(path: string): void {
  const stats = statsOf(path);
  if (stats === null) return;
  if (!stats.isSocket()) throw refusal(`${path} is in the way: it is no socket`);
  unlinkQuietly(path);
}

function statsOf(path: string): Stats | null {
  return lstatSync(path, { throwIfNoEntry: false }) ?? null;
}

function stateOf(pid: number): 'ours' | 'foreign' | 'none' {
  try {
    process.kill(pid, 0);
    return 'ours';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM' ? 'foreign' : 'none';
  }
}

function socketPath(directory: string, pid: number): string {
  return isPipes(directory) ? `${directory}${pid}` : join(directory, `${pid}.sock`);
}

function isPipes(directory: string): boolean {
  return directory.startsWith(PIPES);
}

function unlinkQuietly(path: string): void {
  try {
    if (!isPipes(path)) unlinkSync(path);
  } catch {
    // It is gone, or nobody minds.
  }
}

/** How many connections a line asks for; null when it asks for something else. */
function topOf(line: string): number | null {
  try {
    const { top } = JSON.parse(line) as { top?: unknown };
    return typeof top === 'number' && top >= 0 ? Math.min(Math.floor(top), TOP_MAX) : null;
  } catch {
    return null;
  }
}

function refusal(message: string, cause?: unknown): JspError {
  return new JspError('ERR_JSP_MONITOR', message, cause === undefined ? undefined : { cause });
}

const PIPES = '\\\\.\\pipe\\';
/** Monitors at once. */
const READERS_MAX = 8;
/** Characters of a request, and of an answer, whose connections take some 5 KB each. */
const REQUEST_MAX = 1_024;
const REPORT_MAX = 16_777_216;
const ANSWER_MS = 3_000;
