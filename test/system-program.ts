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
  if (isRoot && runs('apt-get', ['--version'])) {
    console.error(`Installing ${aptPackage} (apt-get install) ...`);
    apt('update', '-qq');
    apt('install', '-y', '-qq', '--no-install-recommends', aptPackage);
    found = there();
    if (found !== null) return found;
  }
  if (isRoot || process.env.CI) {
    throw new Error(`there is no ${aptPackage}, and it cannot be installed with apt-get`);
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

/** Waits for others that install at the same time, such as another test. */
function apt(...args: readonly string[]): void {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const options = ['-o', 'DPkg::Lock::Timeout=300'];
  spawnSync('apt-get', [...options, ...args], { stdio: ['ignore', 'ignore', 'inherit'], env });
}
