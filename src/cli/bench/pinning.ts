import { spawnSync } from 'node:child_process';

/** Cores for {@link RunOptions.cores}. */
export interface Cores {
  readonly sender: number;
  readonly receiver: number;
}

/**
 * Both processes on one core, where the system has `taskset`, else null. A round trip then takes what the code takes; on two
 * cores of a virtual machine it takes mostly what waking up the other core does.
 */
export function oneCore(): Cores | null {
  const tried = spawnSync('taskset', ['-c', '0', process.execPath, '--version'], { stdio: 'ignore' });
  return tried.status === 0 ? { sender: 0, receiver: 0 } : null;
}
