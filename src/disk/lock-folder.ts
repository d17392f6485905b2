/** Directories that one process at a time may have: that of a store, and where a broker keeps its identity. [STO-1] */

import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { takeName } from './take-name.ts';

/** What it is called that a directory cannot be had. */
export interface LockErrors {
  /** Process `pid` has it. */
  inUse(pid: string): Error;
  /** The file is there, and neither can it be read nor does it go away: a folder, say. */
  unreadable(): Error;
}

/**
 * Takes a directory for this process alone, as long as it lives, by a file that names the process. A lock whose process is gone (kill -9, a power cut) is no
 * lock.
 *
 * @returns what gives it back; at the latest the end of the process does
 * @throws what `errors` says, and the system's error when the directory cannot be written
 */
export function lockFolder(directory: string, name: string, errors: LockErrors): () => void {
  const file = join(directory, name);
  const draft = `${file}.${process.pid}.new`;
  const own = `${process.pid} ${startOf(process.pid)}\n`;
  try {
    for (let i = 0; i < ATTEMPTS; i++) {
      writeFileSync(draft, own);
      if (takeName(draft, file)) return () => unlock(file, own);
      const holder = contentOf(file);
      if (holder !== null && isHeld(holder)) throw errors.inUse(pidOf(holder));
      if (holder === '' && i < EMPTY_ATTEMPTS) {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, EMPTY_MS); // somebody is about to have it
        continue;
      }
      if (holder !== null) removeStale(file, holder);
    }
    throw errors.unreadable();
  } finally {
    rmSync(draft, { force: true });
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
  if (contentOf(aside) !== holder) takeName(aside, file);
  rmSync(aside, { force: true });
}

function unlock(file: string, own: string): void {
  if (contentOf(file) === own) rmSync(file, { force: true });
}

/** The process that has a directory by a file of this name; null: none. */
export function holderOf(directory: string, name: string): string | null {
  const holder = contentOf(join(directory, name));
  return holder !== null && isHeld(holder) ? pidOf(holder) : null;
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

function pidOf(holder: string): string {
  return holder.trim().split(' ')[0];
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

const ATTEMPTS = 16;
/** An empty lock that stays so for as long as these is of a process that was killed. */
const EMPTY_ATTEMPTS = 8;
const EMPTY_MS = 10;
