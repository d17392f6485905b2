/**
 * Where the secrets of connections go when somebody asks for them, to read a capture: a function of the application (the option `keyLog`), the
 * file that the environment variable `JSPKEYLOGFILE` names, or both. Lines are told a moment later, so that neither a file nor an
 * application gets into the core's way. [TRC-11]
 */

import { appendFileSync, closeSync, constants, fstatSync, openSync } from 'node:fs';
import type { KeyLog } from '../protocol/endpoint/index.ts';
import { isolated } from './listeners.ts';

/** What takes the lines of a socket's connections; null when nobody asked for them. */
export function keyLogOf(option: KeyLog | undefined): KeyLog | null {
  const path = process.env.JSPKEYLOGFILE;
  const file = path === undefined || path === '' ? null : keyLogFile(path);
  if (option === undefined) return file;
  const told = afterwards(option);
  if (file === null) return told;
  return (line) => {
    told(line);
    file(line);
  };
}

/** An application's function, called when what is going on has gone on. */
function afterwards(option: KeyLog): KeyLog {
  const tell = isolated(option);
  return (line) => queueMicrotask(() => tell(line));
}

/** One for each file, whoever asks. */
function keyLogFile(path: string): KeyLog {
  let file = FILES.get(path);
  if (file === undefined) {
    if (FILES.size === 0) process.on('exit', flushAll);
    warn(
      `JSPKEYLOGFILE is set: whoever can read ${path} can read all that the connections of this process carry`,
    );
    file = new KeyLogFile(path);
    FILES.set(path, file);
  }
  return file.take;
}

/** Lines of one turn go out in one write at the end of the file, so that those of several processes do not mix. */
class KeyLogFile {
  private readonly path: string;
  private lines = '';
  private isBroken = false;

  constructor(path: string) {
    this.path = path;
  }

  readonly take: KeyLog = (line) => {
    if (this.lines === '') queueMicrotask(() => this.flush());
    this.lines += `${line}\n`;
  };

  flush(): void {
    const text = this.lines;
    this.lines = '';
    if (text === '' || this.isBroken) return;
    try {
      append(this.path, text);
    } catch (error) {
      this.isBroken = true;
      warn(`keys are not logged any more: ${(error as Error).message}`);
    }
  }
}

/**
 * A pipe would keep the process until somebody reads it, so nothing but a regular file is written to.
 *
 * @throws the system's error, or what stands at the path
 */
function append(path: string, text: string): void {
  const file = open(path);
  try {
    if (file === null || !fstatSync(file).isFile())
      throw new Error(
        `JSPKEYLOGFILE must name a regular file, or one that is not there yet: ${path} is none`,
      );
    appendFileSync(file, text);
  } finally {
    if (file !== null) closeSync(file);
  }
}

/** Null: it is a pipe that nobody reads, or a socket. */
function open(path: string): number | null {
  try {
    return openSync(path, FLAGS, 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENXIO') return null;
    throw error;
  }
}

function flushAll(): void {
  for (const file of FILES.values()) file.flush();
}

function warn(message: string): void {
  process.emitWarning(message, { type: 'JspWarning', code: 'JSP_KEYLOG' });
}

const { O_APPEND, O_CREAT, O_NOCTTY, O_NONBLOCK, O_WRONLY } = constants;
/** Windows has not all of them: those are undefined, and none of the bits. */
const FLAGS = O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY;
const FILES = new Map<string, KeyLogFile>();
