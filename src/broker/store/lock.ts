/** The directory of a store, which one process at a time has. [STO-1] */

import { join } from 'node:path';
import { JspError } from '../../base/errors.ts';
import { holderOf, lockFolder } from '../../disk/lock-folder.ts';

/**
 * Takes the directory of a store.
 *
 * @throws {JspError} ERR_JSP_STORE_IN_USE when another process has it
 */
export function lockStore(directory: string): () => void {
  return lockFolder(directory, STORE_LOCK, {
    inUse: (pid) => inUse(directory, pid),
    unreadable: () =>
      new JspError('ERR_JSP_STORE_IN_USE', `${join(directory, STORE_LOCK)} is no lock of a store: remove it`),
  });
}

/**
 * Looks whether a store is in use, without touching it.
 *
 * @throws {JspError} ERR_JSP_STORE_IN_USE when another process has it
 */
export function assertUnused(directory: string): void {
  const pid = holderOf(directory, STORE_LOCK);
  if (pid !== null) throw inUse(directory, pid);
}

function inUse(directory: string, pid: string): JspError {
  return new JspError(
    'ERR_JSP_STORE_IN_USE',
    `the store in ${directory} is in use by process ${pid}: stop that one, or choose another directory`,
  );
}

/** The file that names the process which has a store. */
const STORE_LOCK = 'store.lock';
