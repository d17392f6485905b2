import {
  chmodSync,
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { JspError } from '../base/errors.ts';
import { lockFolder } from '../disk/lock-folder.ts';
import { makeFolderSync } from '../disk/make-folder.ts';
import { takeName } from '../disk/take-name.ts';
import { Identity } from '../protocol/crypto/index.ts';
import { generateIdentity } from '../transport/system-crypto.ts';
import { CommandError, warn } from './terminal.ts';

export const DEFAULT_STATE_DIRECTORY = '.jsp';
/** That of a receiver of files, beside that of a broker. */
export const RECEIVER_STATE: string = join(DEFAULT_STATE_DIRECTORY, 'receive');
/** The file with the URL of the broker that runs from a state directory. */
export const URL_FILE = 'url';
/** The file with the secret of the broker's identity. */
export const IDENTITY_FILE = 'identity';
/** The file that names the process which has a directory for itself. */
export const LOCK_FILE = 'lock';

/** Where a broker keeps its identity, so that its URL stays the same, and where it leaves its URL for clients. One broker at a time has it. */
export class StateDirectory {
  readonly path: string;
  readonly identity: Identity;
  private readonly unlock: () => void;

  private constructor(path: string, identity: Identity, unlock: () => void) {
    this.path = path;
    this.identity = identity;
    this.unlock = unlock;
  }

  /**
   * Opens the directory, and makes it and an identity where there are none.
   *
   * @param owner - what runs from it, for errors
   * @throws CommandError ERR_JSP_STATE_DIRECTORY when it cannot be read or written, is in use, or holds no valid identity
   */
  static open(path: string, owner = 'broker'): StateDirectory {
    try {
      makeFolderSync(path, 0o700);
      const unlock = lockDirectory(path, owner);
      try {
        const file = join(path, IDENTITY_FILE);
        return new StateDirectory(path, readIdentity(file) ?? createIdentity(file), unlock);
      } catch (error) {
        unlock();
        throw error;
      }
    } catch (error) {
      throw stateError(path, error);
    }
  }

  /** Lets another broker have it. */
  close(): void {
    this.unlock();
  }

  /** Replaces the file with the URL as a whole, so that nobody reads half of it. */
  writeUrl(url: string): void {
    const file = join(this.path, URL_FILE);
    const draft = `${file}.${process.pid}.new`;
    try {
      writeFileSync(draft, `${url}\n`);
      renameSync(draft, file);
    } catch (error) {
      rmSync(draft, { force: true });
      throw stateError(this.path, error);
    }
  }
}

/**
 * Writes a secret to a file that only its owner can read and that does not exist yet, in a folder that is made where there is none. It is there whole
 * or not at all, also after a power cut.
 *
 * @throws the system's error; EEXIST when there is such a file
 */
export function writeSecretFile(path: string, secret: string): void {
  makeFolderSync(dirname(path), 0o700);
  const draft = `${path}.${process.pid}.new`;
  rmSync(draft, { force: true }); // of a process that had this number and was killed
  try {
    const fd = openSync(draft, 'wx', 0o600);
    try {
      writeFileSync(fd, `${secret}\n`);
      fsyncSync(fd); // or there could be an empty file under the name
    } finally {
      closeSync(fd);
    }
    if (!takeName(draft, path))
      throw Object.assign(new Error('EEXIST: file already exists'), { code: 'EEXIST' });
  } finally {
    rmSync(draft, { force: true });
  }
}

function readIdentity(file: string): Identity | null {
  let secret: string;
  try {
    secret = readFileSync(file, 'utf8').trim();
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null;
    throw error;
  }
  if (process.platform !== 'win32' && (statSync(file).mode & 0o077) !== 0) {
    warn(`${file} could be read by others; it is the broker's secret. It is private now (mode 0600).`);
    chmodSync(file, 0o600);
  }
  return Identity.fromSecret(secret);
}

function createIdentity(file: string): Identity {
  const identity = generateIdentity();
  writeSecretFile(file, identity.exportSecret());
  return identity;
}

function stateError(path: string, error: unknown): CommandError {
  if (error instanceof CommandError) return error;
  const reason =
    error instanceof JspError
      ? `${join(path, IDENTITY_FILE)} is damaged: ${error.message}. Restore it, or remove it to get a new identity and URL`
      : `${(error as Error).message}. Choose a directory that can be written with --state`;
  return new CommandError('ERR_JSP_STATE_DIRECTORY', `state directory ${path}: ${reason}`, { cause: error });
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

/**
 * Takes a directory for this process alone, as long as it lives: two brokers with one identity would overwrite each other's URL. A lock whose process is gone
 * (kill -9, a power cut) is no lock.
 *
 * @returns what gives it back; at the latest the end of the process does
 * @throws CommandError ERR_JSP_STATE_DIRECTORY when another process has it
 * @throws the system's error when the directory cannot be written
 */
export function lockDirectory(directory: string, owner = 'broker'): () => void {
  const error = (message: string) =>
    new CommandError(
      'ERR_JSP_STATE_DIRECTORY',
      `state directory ${directory}${message} another directory with --state`,
    );
  return lockFolder(directory, LOCK_FILE, {
    inUse: (pid) => error(` is in use by another ${owner}, process ${pid}: stop that one, or choose`),
    unreadable: () => error(`: its ${LOCK_FILE} is no lock of a broker: remove it, or choose`),
  });
}
