/**
 * Makes a fresh or updated clone ready: installs what package-lock.json names, where something of it is missing, and compiles src/ to dist/,
 * where something has changed since. So `npm start` and `npm test` are all that one has to know.
 *
 *     node scripts/set-up.js            what `npm start`, `npm test` and `npm run ts` do first; `npm run build` checks types as well
 *     node scripts/set-up.js --anew     compiles into an empty dist/ with all types checked: what is packed
 *
 * It is by hand because npm installs nothing by itself before a script, and its `prepare` runs within an install only.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Ends the process when it fails. Also what Vitest calls before any test: those of the command line run what is in dist/. */
export default function setUp({ anew = false } = {}) {
  if (isInstallStale()) {
    console.error('Installing the dependencies (npm ci) ...');
    run('npm', ['ci', '--include=dev', '--loglevel=warn'], { shell: process.platform === 'win32' });
  }
  compile(anew);
}

/** True when something that package-lock.json names is not installed in that version. */
function isInstallStale() {
  const wanted = packagesIn('package-lock.json');
  // npm writes this one, of what is installed, when an install is complete.
  const installed = packagesIn('node_modules/.package-lock.json');
  return Object.entries(wanted).some(
    ([path, { version, optional }]) =>
      path !== '' && installed[path]?.version !== version && !(optional && installed[path] === undefined),
  );
}

function packagesIn(lockFile) {
  try {
    return JSON.parse(readFileSync(pathOf(lockFile), 'utf8')).packages;
  } catch {
    return {};
  }
}

/** The compiler keeps what it has seen in dist/.tsbuildinfo, and writes what has changed since; what has no source any more is left to us. */
function compile(anew) {
  if (anew) rmSync(pathOf('dist'), { recursive: true, force: true });
  else removeOrphans();
  if (!existsSync(pathOf('dist/index.js'))) console.error('Compiling src/ to dist/ ...');
  const options = ['-p', 'tsconfig.build.json', ...(anew ? [] : ['--noCheck'])];
  run(process.execPath, [COMPILER, ...options]);
  chmodSync(pathOf('dist/cli/main.js'), 0o755);
}

function removeOrphans() {
  if (!existsSync(pathOf('dist'))) return;
  for (const file of readdirSync(pathOf('dist'), { recursive: true })) {
    const source = file.replace(/\.(js|js\.map|d\.ts)$/, '.ts');
    if (source !== file && !existsSync(pathOf(`src/${source}`))) rmSync(pathOf(`dist/${file}`));
  }
}

/** Runs a program whose output goes to stderr, so that stdout is what the command at hand prints. */
function run(program, args, options = {}) {
  const stdio = ['ignore', process.stderr, process.stderr];
  const { status } = spawnSync(program, args, { cwd: pathOf(''), stdio, ...options });
  if (status !== 0) {
    console.error(`${program} ${args.join(' ')} failed, see above`);
    process.exit(status ?? 1);
  }
}

function pathOf(path) {
  return fileURLToPath(new URL(`../${path}`, import.meta.url));
}

const COMPILER = pathOf('node_modules/typescript/bin/tsc');

if (realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  // As npm's `prepare` it is within an install and begins no other; without the compiler it is one for use only. `npx jsp` in a fresh clone
  // runs `prepare` before anything is installed.
  if (process.env.npm_lifecycle_event !== 'prepare' || process.env.npm_command === 'exec') {
    setUp({ anew: process.argv.includes('--anew') });
  } else if (existsSync(COMPILER)) compile(false);
}
