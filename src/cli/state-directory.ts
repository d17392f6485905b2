import { chmodSync, linkSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { JspError } from '../base/errors.ts';
import { Identity } from '../protocol/crypto/index.ts';
import { makeFolderSync } from '../transport/make-folder.ts';
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
 * Writes a secret to a file that only its owner can read and that does not exist yet. It is there whole or not at all.
 *
 * @throws the system's error; EEXIST when there is such a file
 */
export function writeSecretFile(path: string, secret: string): void {
  const draft = `${path}.${process.pid}.new`;
  try {
    writeFileSync(draft, `${secret}\n`, { mode: 0o600, flag: 'wx' });
    linkSync(draft, path);
  } finally {
    rmSync(draft, { force: true });
  }
}

/**
 * Takes a directory for this process alone, as long as it lives: two brokers with one identity would overwrite each other's URL, and
 * later each other's store. A lock whose process is gone (kill -9, a power cut) is no lock.
 *
 * @returns what gives it back; at the latest the end of the process does
 * @throws CommandError ERR_JSP_STATE_DIRECTORY when another process has it
 * @throws the system's error when the directory cannot be written
 */
export function lockDirectory(directory: string, owner = 'broker'): () => void {
  const file = join(directory, LOCK_FILE);
  const draft = `${file}.${process.pid}.new`;
  const own = `${process.pid} ${startOf(process.pid)}\n`;
  try {
    for (let i = 0; i < ATTEMPTS; i++) {
      writeFileSync(draft, own);
      // The link is there whole or not at all, and only where none was.
      if (tryLink(draft, file)) return () => unlock(file, own);
      const holder = contentOf(file);
      if (holder !== null && isHeld(holder)) throw inUse(directory, holder, owner);
      if (holder !== null) removeStale(file, holder);
    }
    throw unreadable(directory);
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

function tryLink(draft: string, file: string): boolean {
  try {
    linkSync(draft, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Another that starts now may have been faster, so that what is moved away is its lock: then it is put back. */
function removeStale(file: string, holder: string): void {
  const aside = `${file}.${process.pid}.old`;
  try {
    renameSync(file, aside);
  } catch {
    return; // somebody else has removed it
  }
  if (contentOf(aside) !== holder) tryLink(aside, file);
  rmSync(aside, { force: true });
}

function unlock(file: string, own: string): void {
  if (contentOf(file) === own) rmSync(file, { force: true });
}

/** `pid start`: a process of that number that began at another time is another process. */
function isHeld(holder: string): boolean {
  const [pid, start] = holder.trim().split(' ');
  const number = Number(pid);
  if (!Number.isInteger(number) || number <= 0) return false;
  try {
    process.kill(number, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false; // EPERM: it lives, and is another user's
  }
  return start === startOf(number);
}

/** When a process began, in the system's own unit; `-` where the system does not tell. */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second field is the program's name in parentheses, and may have blanks; the start time is the 20th behind it.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '-';
  } catch {
    return '-';
  }
}

function contentOf(file: string): string | null {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return null;
  }
}

function inUse(directory: string, holder: string, owner: string): CommandError {
  const [pid] = holder.trim().split(' ');
  return new CommandError(
    'ERR_JSP_STATE_DIRECTORY',
    `state directory ${directory} is in use by another ${owner}, process ${pid}: stop that one, or choose another directory with --state`,
  );
}

/** It is there, and neither can it be read nor does it go away: a folder, say. */
function unreadable(directory: string): CommandError {
  return new CommandError(
    'ERR_JSP_STATE_DIRECTORY',
    `state directory ${directory}: its ${LOCK_FILE} is no lock of a broker: remove it, or choose another directory with --state`,
  );
}

const ATTEMPTS = 16;
