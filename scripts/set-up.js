/**
 * Makes a fresh or updated clone ready: installs what package-lock.json names, where something of it is missing, and compiles src/ to dist/,
 * where something has changed since, and bundles the command and what browsers load; and builds the optional addon where there is a C compiler. So
 * `npm start` and `npm test` are all that one has to know.
 *
 *     node scripts/set-up.js            what `npm start`, `npm test` and `npm run ts` do first; `npm run build` checks types as well
 *     node scripts/set-up.js --anew     compiles into an empty dist/ with all types checked: what is packed
 *
 * It is by hand because npm installs nothing by itself before a script, and its `prepare` runs within an install only.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import buildNativeWhereChanged from './build-native.js';

/** Ends the process when it fails. Also what Vitest calls before any test: those of the command line run what is in dist/. */
export default async function setUp({ anew = false } = {}) {
  if (isInstallStale()) {
    console.error('Installing the dependencies (npm ci) ...');
    run('npm', ['ci', '--include=dev', '--loglevel=warn'], { shell: process.platform === 'win32' });
  }
  await compile(anew);
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

/** The compiler writes declarations alone. It keeps what it has seen in dist/.tsbuildinfo, and writes what has changed since; what has no source any more is left to us. */
async function compile(anew) {
  if (anew) rmSync(pathOf('dist'), { recursive: true, force: true });
  else removeOrphans();
  if (!existsSync(pathOf('dist/index.js'))) console.error('Compiling src/ to dist/ ...');
  const options = ['-p', 'tsconfig.build.json', ...(anew ? [] : ['--noCheck'])];
  run(process.execPath, [COMPILER, ...options]);
  await bundle();
  buildNativeWhereChanged();
  chmodSync(pathOf('dist/cli/main.js'), 0o755);
}

function removeOrphans() {
  if (!existsSync(pathOf('dist'))) return;
  for (const file of readdirSync(pathOf('dist'), { recursive: true })) {
    const source = file.replace(/\.d\.ts$/, '.ts');
    if (source !== file && !existsSync(pathOf(`src/${source}`)))
      rmSync(pathOf(`dist/${file}`), { force: true });
  }
}

async function bundle() {
  const { build } = await import('esbuild');
  await Promise.all([
    bundleCommand(build),
    bundlePackage(build),
    bundleOf(build, BUNDLES, true),
    bundleOf(build, DASHBOARD, false),
  ]);
  copyFileSync(pathOf('src/gateway/dashboard/index.html'), pathOf('dist/gateway/dashboard/index.html'));
}

/** `jsp`, of a file for each command and some that they share: with one for each of our 300 modules it took twice as long to start. */
async function bundleCommand(build) {
  const options = {
    entryPoints: [{ in: 'src/cli/main.ts', out: 'cli/main' }],
    chunkNames: 'cli/[name]-[hash]',
  };
  await bundleForNode(build, options, (file) => file.startsWith('cli/'));
}

/** What a program imports, and what its threads begin with, with files that these share, for the same reason. */
async function bundlePackage(build) {
  const { exports } = JSON.parse(readFileSync(pathOf('package.json'), 'utf8'));
  const entries = Object.values(exports)
    .map((entry) => entry.default)
    .filter((path) => path !== undefined && !Object.keys(BUNDLES).includes(path.slice('./'.length)))
    .map((path) => path.slice('./dist/'.length, -'.js'.length));
  const entryPoints = [...entries, ...THREADS].map((name) => ({ in: `src/${name}.ts`, out: name }));
  const others = [
    'cli/',
    ...[BUNDLES, DASHBOARD].flatMap(Object.keys).map((path) => path.slice('dist/'.length)),
  ];
  const isOurs = (file) => /\.js(\.map)?$/.test(file) && !others.some((other) => file.startsWith(other));
  await bundleForNode(build, { entryPoints, chunkNames: 'chunks/[hash]' }, isOurs);
}

/**
 * Writes a bundle into dist/, and removes from there what is its own and it has no more. A file that others of these processes may load just now stays as
 * it is where nothing has changed.
 *
 * @param isOwn - whether a path below dist/ is one of its files
 */
async function bundleForNode(build, options, isOwn) {
  const { outputFiles } = await build({
    ...options,
    outdir: 'dist',
    absWorkingDir: pathOf(''),
    bundle: true,
    splitting: true,
    write: false,
    sourcemap: true,
    sourcesContent: false,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    packages: 'external',
    logLevel: 'warning',
    plugins: [PLACE_OF_MODULES],
  });
  const files = new Map(outputFiles.map(({ path, text }) => [path, withPlaces(path, text)]));
  for (const [path, text] of files) {
    if (existsSync(path) && readFileSync(path, 'utf8') === text) continue;
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
  for (const file of readdirSync(pathOf('dist'), { recursive: true })) {
    const path = pathOf(`dist/${file}`);
    if (isOwn(file.replaceAll('\\', '/')) && !files.has(path)) rmSync(path, { force: true });
  }
}

/** A module that looks for what is beside it looks where it would be by itself: which way that is from the file that it comes into is known at the end. */
const PLACE_OF_MODULES = {
  name: 'place-of-modules',
  setup(build) {
    build.onLoad({ filter: /[\\/]src[\\/].*\.ts$/ }, ({ path }) => {
      const source = readFileSync(path, 'utf8');
      if (!source.includes('import.meta.url')) return undefined;
      const place = `${PLACE}${relative(pathOf('src'), path).replaceAll('\\', '/').replace(/\.ts$/, '.js')}`;
      const contents = source.replaceAll(
        'import.meta.url',
        `new URL(${JSON.stringify(place)}, import.meta.url).href`,
      );
      return { contents, loader: 'ts' };
    });
  },
};

function withPlaces(path, text) {
  const up = relative(dirname(path), pathOf('dist')).replaceAll('\\', '/');
  return text.replaceAll(PLACE, up === '' ? './' : `${up}/`);
}

/**
 * What a browser loads is one ES module each, which stands on nothing of Node: the build fails where one does. A map of sources names files of ours alone,
 * for those are in the package.
 */
async function bundleOf(build, bundles, sourcemap) {
  const { metafile } = await build({
    entryPoints: Object.entries(bundles).map(([out, source]) => ({
      in: source,
      out: out.replace(/\.(js|css)$/, ''),
    })),
    outdir: '.',
    absWorkingDir: pathOf(''),
    bundle: true,
    minify: true,
    sourcemap,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    metafile: true,
    pure: ['Buffer.alloc', 'Buffer.from'],
    logLevel: 'warning',
    plugins: [UNUSED_NODE],
  });
  for (const [path, { imports }] of Object.entries(metafile.outputs)) {
    const used = imports.map(({ path }) => path);
    if (path.endsWith('.js')) used.push(...(readFileSync(pathOf(path), 'utf8').match(OF_NODE) ?? []));
    if (used.length === 0) continue;
    throw new Error(
      `${path} is for browsers, and uses ${used.join(', ')} of Node: what it imports must do without`,
    );
  }
}

/** A file that a bundle uses a part of may import Node for its other parts; what is not used goes. */
const UNUSED_NODE = {
  name: 'unused-node',
  setup(build) {
    build.onResolve({ filter: /^node:/ }, ({ path }) => ({ path, external: true, sideEffects: false }));
  },
};

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

/** Modules that threads and processes begin with, or load by their places: whatever looks for one by `import.meta.url`. */
const THREADS = [
  'transport/workers/thread',
  'broker/workers/session',
  ...['metronome-thread', 'worker', 'workloads', 'pubsub/worker'].map((name) => `bench/${name}`),
];
/** What stands in a bundle for the way from a file to dist/, until that is known. */
const PLACE = 'jsp-place:';
/** Modules of browsers, by where they go. */
const BUNDLES = { 'dist/web/jsp.js': 'src/web/index.ts' };
/** The page of the gateway, with its plots. */
const DASHBOARD = {
  'dist/gateway/dashboard/app.js': 'src/gateway/dashboard/app.ts',
  'dist/gateway/dashboard/app.css': 'src/gateway/dashboard/app.css',
};
/** What a browser does not have. */
const OF_NODE = /\b(Buffer|process)\.\w+/g;
const COMPILER = pathOf('node_modules/typescript/bin/tsc');

if (realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  // As npm's `prepare` it is within an install and begins no other; without the compiler it is one for use only. `npx jsp` in a fresh clone
  // runs `prepare` before anything is installed.
  if (process.env.npm_lifecycle_event !== 'prepare' || process.env.npm_command === 'exec') {
    await setUp({ anew: process.argv.includes('--anew') });
  } else if (existsSync(COMPILER)) await compile(false);
}
