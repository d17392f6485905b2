/**
 * Gives a file a name that nothing has, whole or not at all: for what must not be written over, a lock or a secret, and must not be read half.
 *
 * A hard link does that in one step. File systems of memory cards and sticks (FAT, exFAT), of some networks, and Android for its programs know none: there an empty file takes the name where
 * nothing has it, and gives way to the whole one. Who can see that for a moment has to know it for one that is being made.
 */

import { closeSync, linkSync, openSync, renameSync, rmSync } from 'node:fs';

/**
 * @param draft - is there, in the same folder; it is gone afterwards, or has both names
 * @returns false where something has the name, which stays as it is
 * @throws the system's error
 */
export function takeName(draft: string, name: string): boolean {
  try {
    linkSync(draft, name);
    return true;
  } catch (error) {
    if (isThere(error)) return false;
  }
  try {
    closeSync(openSync(name, 'wx', 0o600)); // which says what is wrong, if it was not links
  } catch (error) {
    if (isThere(error)) return false;
    throw error;
  }
  try {
    renameSync(draft, name);
  } catch (error) {
    rmSync(name, { force: true });
    throw error;
  }
  return true;
}

function isThere(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'EEXIST';
}
