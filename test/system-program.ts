/** Programs of the system that tests run, and no package of the registry brings: tshark, a browser. */

import { spawnSync } from 'node:child_process';

/**
 * Whether there is a program. As root on a system with apt it is installed where it is missing, so that machines that test for everybody have
 * it; who develops without may do so, but is told what was not tested.
 *
 * @param names - what it may be called: names, or paths
 * @param aptPackage - the package of Debian that has it
 * @param what - what is not tested without it, as "the dissector in spec/wireshark/"
 * @param statuses - what it may end with when it is asked for its version: some know no such question
 * @returns the first of its names that there is; null for none
 */
export function systemProgram(
  names: readonly string[],
  aptPackage: string,
  what: string,
  statuses: readonly number[] = [0],
): string | null {
  const there = () => names.find((name) => runs(name, ['--version'], statuses)) ?? null;
  let found = there();
  if (found !== null) return found;
  const isRoot = process.getuid?.() === 0;
  let reason = isRoot ? 'there is no apt-get' : 'only root may install it';
  if (isRoot && runs('apt-get', ['--version'])) {
    console.error(`Installing ${aptPackage} (apt-get install) ...`);
    apt('update', '-qq');
    reason = apt('install', '-y', '-qq', '--no-install-recommends', aptPackage);
    found = there();
    if (found !== null) return found;
  }
  if (isRoot || process.env.CI) {
    throw new Error(`there is no ${aptPackage}, so that ${what} cannot be tested: ${reason}`);
  }
  console.error(
    `NOT TESTED: ${what}, for there is no ${aptPackage}. Install it: apt-get install ${aptPackage}`,
  );
  return null;
}

function runs(program: string, args: readonly string[], statuses: readonly number[] = [0]): boolean {
  const { status } = spawnSync(program, args, { stdio: 'ignore' });
  return status !== null && statuses.includes(status);
}

/**
 * Waits for whoever installs at the same time: other tests, by a lock on a folder of apt's; and others on this machine, by its own locks, of which it waits for one by itself.
 *
 * @returns what it has complained of
 */
function apt(...args: readonly string[]): string {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const seconds = String(WAIT_SECONDS_MAX);
  const command = ['apt-get', '-o', `DPkg::Lock::Timeout=${seconds}`, ...args];
  for (let waited = 0; ; waited++) {
    const { status, stderr, error } = spawnSync('flock', ['--timeout', seconds, '/var/lib/apt', ...command], {
      stdio: ['ignore', 'ignore', 'pipe'],
      encoding: 'utf8',
      env,
    });
    const complaint = error?.message ?? (stderr.trim() || `others install for more than ${seconds} s`);
    const isLocked = complaint.includes('Could not get lock');
    if (status === 0 || !isLocked || waited === WAIT_SECONDS_MAX) return complaint;
    spawnSync('sleep', ['1']);
  }
}

const WAIT_SECONDS_MAX = 300;
