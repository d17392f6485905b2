/**
 * Makes a folder and those above it, as `mkdir -p` does. Node's own recursive `mkdir` tries for ever where a system says of a folder that is
 * there that it is not, as Linux does below `/proc`; here each folder is tried once more at most.
 */

import { mkdirSync, statSync } from 'node:fs';
import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * One that is there stays as it is.
 *
 * @param mode - of those that are made
 * @throws the system's error
 */
export async function makeFolder(path: string, mode = 0o777): Promise<void> {
  try {
    await mkdir(path, { mode });
  } catch (error) {
    if (await isFolder(path)) return;
    const above = dirname(path);
    if (!isMissing(error) || above === path || (await isFolder(above))) throw error;
    await makeFolder(above, mode);
    await makeFolder(path, mode);
  }
}

/** The same at once. */
export function makeFolderSync(path: string, mode = 0o777): void {
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    if (isFolderSync(path)) return;
    const above = dirname(path);
    if (!isMissing(error) || above === path || isFolderSync(above)) throw error;
    makeFolderSync(above, mode);
    makeFolderSync(path, mode);
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

function isFolderSync(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}
