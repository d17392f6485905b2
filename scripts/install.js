/** Installs the dependencies when they are missing, or are not those of package-lock.json. */

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const ROOT = new URL('../', import.meta.url);

/** True when something that package-lock.json names is not installed in that version. */
export function isInstallStale() {
  const wanted = packagesIn('package-lock.json');
  const installed = packagesIn('node_modules/.package-lock.json');
  return Object.entries(wanted).some(
    ([path, { version, optional }]) =>
      path !== '' && installed[path]?.version !== version && !(optional && installed[path] === undefined),
  );
}

/** Runs `npm ci`. Its output goes to stderr. @returns the exit code */
export function install() {
  console.error('Installing the dependencies (npm ci) ...');
  const ran = spawnSync('npm', ['ci', '--include=dev', '--loglevel=warn'], {
    cwd: fileURLToPath(ROOT),
    stdio: ['ignore', process.stderr, process.stderr],
    shell: process.platform === 'win32',
    env: { ...process.env, [IN_SET_UP]: '1' },
  });
  if (ran.status === 0) return 0;
  console.error('npm ci failed, see above. It needs npm on the PATH and a way to the npm registry.');
  return ran.status ?? 1;
}

/** Packages of a lock file by folder; npm writes the second one, of what is installed, when an install is complete. */
function packagesIn(lockFile) {
  try {
    return JSON.parse(readFileSync(new URL(lockFile, ROOT), 'utf8')).packages;
  } catch {
    return {};
  }
}

/** Set for what `npm ci` runs, so that its own scripts do not install again. */
export const IN_SET_UP = 'JSP_IN_SET_UP';
