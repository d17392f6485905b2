/**
 * Runs tests on other versions of Node than the one installed. They come from the npm registry, as packages that are the program and
 * nothing else, into .nodes/.
 *
 *     node scripts/node-versions.js                    a smoke of the public API and of the command on each
 *     node scripts/node-versions.js --all              the whole suite on each, the installed one included
 *     node scripts/node-versions.js 24 [test files]    those tests on that one
 */

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { setUp } from './set-up.js';

const MAJORS = ['22', '24', '26'];
/** What a user meets first: programs of the public API, the command with its processes, and what differs by version. */
const SMOKE = [
  'test/examples',
  'test/transport/messages.test.ts',
  'test/transport/ml-kem-node.test.ts',
  'test/client/end-to-end.test.ts',
  'test/cli/pub-sub.test.ts',
  'test/protocol/crypto/choose-aead.test.ts',
];

const words = process.argv.slice(2);
const isWhole = words.includes('--all');
const named = words.filter((word) => /^\d+$/.test(word));
const files = words.filter((word) => !word.startsWith('--') && !/^\d+$/.test(word));

setUp();
const failed = [];
if (isWhole && named.length === 0) run(process.execPath, 'the installed Node', []);
for (const major of named.length > 0 ? named : MAJORS) {
  const program = nodeOf(major);
  if (program === null) failed.push(`Node ${major} (not installed)`);
  else run(program, `Node ${major}`, files.length > 0 || isWhole ? files : SMOKE);
}
if (failed.length > 0) {
  console.error(`FAILED on: ${failed.join(', ')}`);
  process.exitCode = 1;
}

function run(program, name, tests) {
  console.error(`\n--- ${name}`);
  const ran = spawnSync(program, [pathOf('node_modules/vitest/vitest.mjs'), 'run', ...tests], {
    cwd: pathOf(''),
    stdio: 'inherit',
  });
  if (ran.status !== 0) failed.push(name);
}

/** The program of this major version, installed when it is not there; null when that fails. */
function nodeOf(major) {
  const name = `node-${process.platform}-${process.arch}`;
  const folder = pathOf(`.nodes/${major}`);
  const program = `${folder}/node_modules/${name}/bin/node`;
  if (existsSync(program)) return program;
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}/package.json`, '{ "private": true }\n');
  const ran = spawnSync('npm', ['install', '--no-package-lock', '--loglevel=error', `${name}@${major}`], {
    cwd: folder,
    stdio: ['ignore', process.stderr, process.stderr],
  });
  return ran.status === 0 && existsSync(program) ? program : null;
}

function pathOf(path) {
  return fileURLToPath(new URL(`../${path}`, import.meta.url));
}
