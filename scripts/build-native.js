/**
 * Builds the optional addon of src/udp/native/ with the C compiler that is there: no node-gyp, and nothing is downloaded. Where there is no
 * compiler, or it fails, everything works without.
 *
 *     npm run native                    builds it, and says what is wrong where it cannot
 *     npm run native -- --prebuild      puts it to prebuilds/, for the package to be published
 *
 * `scripts/set-up.js` builds it in passing where its sources have changed, and tries again what failed when they change once more. `CC`,
 * `CFLAGS` and `LDFLAGS` are those of every Makefile.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

/** In passing: does nothing where nothing has changed, and never fails. What went wrong is one line on stderr, once. */
export default function buildNativeWhereChanged() {
  if (process.platform === 'win32') return;
  try {
    const { CC, CFLAGS, LDFLAGS } = process.env;
    const sources = sourceFiles().flatMap((file) => [basename(file), readFileSync(file)]);
    const seen = [process.platform, process.arch, existsSync(HEADERS), CC, CFLAGS, LDFLAGS].join(' ');
    const stamp = [seen, ...sources]
      .reduce((hash, part) => hash.update(part), createHash('sha256'))
      .digest('hex');
    if (existsSync(STAMP) && readFileSync(STAMP, 'utf8') === stamp) return;
    const failure = buildNative(ADDON);
    if (failure !== null && failure !== NO_COMPILER) {
      console.error(
        `The native addon is not built, and not needed; 'npm run native' says more: ${failure.split('\n')[0]}`,
      );
    }
    // Without a compiler the next set-up looks for one again.
    if (failure === NO_COMPILER) return;
    mkdirSync(dirname(STAMP), { recursive: true });
    writeFileSync(STAMP, stamp);
  } catch (error) {
    console.error(`The native addon is not built, and not needed: ${error.message}`);
  }
}

/**
 * Compiles the addon to `target`, which processes that have loaded what was there before do not notice.
 * @param options - more of them for the compiler, before CFLAGS
 * @returns null when it is there, or what is wrong
 */
export function buildNative(target, options = []) {
  if (process.platform === 'win32') return 'there is none for Windows';
  if (!existsSync(HEADERS) && !process.env.CFLAGS?.includes('-I'))
    return `${HEADERS} is not there: npm ci installs it`;
  mkdirSync(dirname(target), { recursive: true });
  const built = `${target}.${process.pid}`;
  const link = process.platform === 'darwin' ? ['-bundle', '-undefined', 'dynamic_lookup'] : ['-shared'];
  const args = [
    ...['-std=gnu11', '-O3', '-Wall', '-Wextra', '-fPIC', '-fvisibility=hidden', '-isystem', HEADERS],
    ...[
      ...link,
      ...options,
      ...words(process.env.CFLAGS),
      ...sourceFiles().filter((file) => file.endsWith('.c')),
    ],
    ...['-o', built, ...words(process.env.LDFLAGS), ...(process.platform === 'linux' ? ['-ldl'] : [])],
  ];
  const { error, status, stderr } = spawnSync(process.env.CC || 'cc', args, { encoding: 'utf8' });
  if (error !== undefined) return error.code === 'ENOENT' ? NO_COMPILER : error.message;
  if (status !== 0) {
    rmSync(built, { force: true });
    return stderr.trim() || `the compiler ended with ${status}`;
  }
  renameSync(built, target);
  return null;
}

function sourceFiles() {
  return readdirSync(SOURCES)
    .filter((file) => /\.[ch]$/.test(file))
    .sort()
    .map((file) => `${SOURCES}${file}`);
}

function words(text = '') {
  return text.split(/\s+/).filter((word) => word !== '');
}

function pathOf(path) {
  return fileURLToPath(new URL(`../${path}`, import.meta.url));
}

const SOURCES = pathOf('src/udp/native/');
const HEADERS = pathOf('node_modules/node-api-headers/include');
const ADDON = pathOf('build/native/jsp.node');
/** Of what was built last, or failed to be. */
const STAMP = pathOf('build/native/stamp');
const PREBUILT = pathOf(`prebuilds/${process.platform}-${process.arch}/jsp.node`);
const NO_COMPILER = 'there is no C compiler: install gcc or clang, or set CC to the one to use';

if (realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const target = process.argv.includes('--prebuild') ? PREBUILT : ADDON;
  const failure = buildNative(target);
  if (failure !== null) {
    console.error(`The native addon is not built: ${failure}`);
    process.exit(1);
  }
  console.log(`built ${target}`);
}
