/**
 * Compiles src/ to dist/, and remembers what it was compiled from.
 *
 *     node scripts/build.js     compiles with all types checked, whatever is there: `npm run build`
 */

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { install, isInstallStale } from './install.js';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const DIST = join(ROOT, 'dist');
const STAMP = '.built-from';
const INPUTS = ['package.json', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json'];

/** True when dist/ is not what src/ compiles to. */
export function isBuildStale() {
  return stampOf(DIST) !== sourceHash();
}

/**
 * Compiles into a new folder that then takes the place of dist/, so that nothing ever reads half of a build.
 *
 * @param checkTypes - false compiles what can be compiled; the type check is `npm run typecheck`
 * @returns the exit code
 */
export function build({ checkTypes }) {
  const hash = sourceHash();
  const fresh = join(ROOT, `.dist-${process.pid}`);
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
  const options = ['-p', 'tsconfig.build.json', '--outDir', fresh, ...(checkTypes ? [] : ['--noCheck'])];
  const ran = spawnSync(process.execPath, [tsc, ...options], {
    cwd: ROOT,
    stdio: ['ignore', process.stderr, process.stderr],
  });
  if (ran.status !== 0) {
    rmSync(fresh, { recursive: true, force: true });
    return ran.status ?? 1;
  }
  chmodSync(join(fresh, 'cli/main.js'), 0o755);
  writeFileSync(join(fresh, STAMP), hash);
  takePlace(fresh);
  return 0;
}

function takePlace(fresh) {
  const old = `${fresh}-old`;
  try {
    renameSync(DIST, old);
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
  try {
    renameSync(fresh, DIST);
  } catch (error) {
    if (stampOf(DIST) !== stampOf(fresh)) throw error; // else another build was faster by a moment, with the same result
    rmSync(fresh, { recursive: true, force: true });
  }
  rmSync(old, { recursive: true, force: true });
}

function stampOf(folder) {
  try {
    return readFileSync(join(folder, STAMP), 'utf8');
  } catch {
    return '';
  }
}

function sourceHash() {
  const hash = createHash('sha256');
  const sources = readdirSync(join(ROOT, 'src'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  for (const path of [...INPUTS.map((name) => join(ROOT, name)), ...sources]) {
    hash
      .update(`${path.slice(ROOT.length)}\n`)
      .update(readFileSync(path))
      .update('\n');
  }
  return hash.digest('hex');
}

if (realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const installed = isInstallStale() ? install() : 0;
  process.exitCode = installed === 0 ? build({ checkTypes: true }) : installed;
}
