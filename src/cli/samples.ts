/** Samples of messages from the command line: files, all files of folders, lines of files or of stdin. */
import {
  closeSync,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  type Stats,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { SAMPLES_BYTES_MAX } from '../protocol/compress/index.ts';
import { PAYLOAD_BYTES_MAX } from './arguments.ts';
import { LineSplitter } from './lines.ts';
import { CommandError } from './terminal.ts';

/** What is to be told of them. */
export interface Samples {
  readonly messages: Uint8Array[];
  readonly bytes: number;
}

/**
 * Reads the samples at `paths`, in the order of their names, so that the same files make the same dictionary everywhere.
 *
 * @param lines - each line is a sample, not each file
 * @throws CommandError ERR_JSP_FILE for what cannot be read, ERR_JSP_SAMPLES for more than a dictionary is made of
 */
export function readSamples(paths: readonly string[], lines: boolean): Samples {
  const messages: Uint8Array[] = [];
  let bytes = 0;
  const take = (message: Uint8Array): void => {
    if (message.length === 0) return;
    bytes += message.length;
    if (bytes > SAMPLES_BYTES_MAX) {
      const megabytes = SAMPLES_BYTES_MAX / 1024 / 1024;
      throw new CommandError(
        'ERR_JSP_SAMPLES',
        `the samples have more than ${megabytes} MiB: some thousand of them do`,
      );
    }
    messages.push(message);
  };
  for (const path of paths.flatMap((given) => (given === STDIN ? [STDIN] : filesAt(given)))) {
    const content = contentOf(path);
    if (lines) eachLine(content, take);
    else if (content.length <= PAYLOAD_BYTES_MAX) take(content);
    else {
      throw new CommandError(
        'ERR_JSP_SAMPLES',
        `${path} is larger than a message can be; if it holds a message a line, pass --lines`,
      );
    }
  }
  return { messages, bytes };
}

/** `path` itself, or all files below it, those whose names begin with a dot left out. */
function filesAt(path: string): string[] {
  if (!attempt(path, (): Stats => statSync(path)).isDirectory()) return [path];
  const entries = attempt(path, () => readdirSync(path, { recursive: true, withFileTypes: true }));
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .filter(
      (file) =>
        !file
          .slice(path.length)
          .split(/[\\/]/)
          .some((part) => part.startsWith('.')),
    )
    .sort();
}

function contentOf(path: string): Buffer {
  const isStdin = path === STDIN;
  return attempt(isStdin ? 'stdin' : path, () => {
    const fd = isStdin ? process.stdin.fd : openSync(path, 'r');
    try {
      return readUpTo(fd, SAMPLES_BYTES_MAX + 1);
    } finally {
      if (!isStdin) closeSync(fd);
    }
  });
}

/** All that there is, but no more than that: a device has no end. */
function readUpTo(fd: number, bytesMax: number): Buffer {
  const { size } = fstatSync(fd);
  if (size > 0 && size <= bytesMax) return readFileSync(fd);
  const pieces: Buffer[] = [];
  for (let bytes = 0; bytes < bytesMax; ) {
    const piece = Buffer.allocUnsafe(Math.min(READ_BYTES, bytesMax - bytes));
    const read = readSync(fd, piece);
    if (read === 0) break;
    pieces.push(piece.subarray(0, read));
    bytes += read;
  }
  return Buffer.concat(pieces);
}

function eachLine(content: Buffer, take: (line: Uint8Array) => void): void {
  const splitter = new LineSplitter(PAYLOAD_BYTES_MAX);
  splitter.push(content, take);
  splitter.end(take);
}

function attempt<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new CommandError('ERR_JSP_FILE', `cannot read ${path}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

const STDIN = '-';
const READ_BYTES = 1024 * 1024;
