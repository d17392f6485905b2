import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { transformSync } from 'esbuild';
import { describe, expect, test } from 'vitest';
import { emptyFolder } from '../empty-folder.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const HAS_COMPILER = process.platform !== 'win32' && spawnSync('cc', ['--version']).status === 0;
const IS_DIRECTORY = { recursive: true } as const;
/** For what does not ask how it is compiled: in a third of the time. */
const QUICK = { CFLAGS: '-O0' };

describe('the addon is told of as', () => {
  test('turned off, where JSP_NATIVE=0', () => {
    expect(loaderIn(packageFolder(), { JSP_NATIVE: '0' })).toBe('turned off by JSP_NATIVE=0');
  });

  test('not built, where there is none', () => {
    expect(loaderIn(packageFolder())).toBe('it is not built');
  });

  test('not to be loaded, where it is no library', () => {
    const folder = packageFolder();
    put(folder, 'build/native/jsp.node', 'nonsense');
    expect(loaderIn(folder)).toMatch(/^it does not load: /);
  });

  test('wrong, where it seals otherwise than is known', () => {
    const answer = '(arena, table) => { table[7] = 0; return 1; }';
    expect(loaderIn(folderWith(`{ seal: ${answer}, open: ${answer} }`))).toBe('it failed its self-check');
  });

  test('not to be loaded, where it lacks a function', () => {
    expect(loaderIn(folderWith('{}'))).toMatch(/^it does not load: .*not a function/);
  });
});

describe.skipIf(!HAS_COMPILER)('where there is a compiler', () => {
  test('it is built without a word, serves, and is not built again while nothing changes', () => {
    const folder = packageFolder();
    expect(setUpIn(folder)).toBe('');
    expect(loaderIn(folder)).toBe(null);
    rmSync(join(folder, 'build/native/jsp.node'));
    expect(setUpIn(folder)).toBe('');
    expect(existsSync(join(folder, 'build/native/jsp.node'))).toBe(false);
    put(folder, 'src/udp/native/new.h', '');
    expect(setUpIn(folder)).toBe('');
    expect(loaderIn(folder)).toBe(null);
  });

  test('it compiles without a warning, as standard C', () => {
    const folder = packageFolder();
    expect(setUpIn(folder, { CFLAGS: '-Werror -Wpedantic -Wshadow -Wstrict-prototypes' })).toBe('');
    expect(loaderIn(folder)).toBe(null);
  });

  test('it serves where OpenSSL shows nothing of what its ciphers are made of', () => {
    const folder = packageFolder();
    expect(setUpIn(folder, { CFLAGS: '-Werror -DEVP_ALONE' })).toBe('');
    expect(loaderIn(folder)).toBe(null);
  });

  test('what was built for the package serves where nothing was built since', () => {
    const folder = packageFolder();
    expect(nativeIn(folder, ['--prebuild'], QUICK).status).toBe(0);
    expect(existsSync(join(folder, 'build'))).toBe(false);
    expect(loaderIn(folder)).toBe(null);
  });

  test('what does not compile is told of in one line, once, and tried again when it has changed', () => {
    const folder = packageFolder();
    const source = readFileSync(join(folder, 'src/udp/native/packets.c'), 'utf8');
    put(folder, 'src/udp/native/packets.c', `${source}\n#error of somebody\n`);
    const told = setUpIn(folder, QUICK);
    expect(told).toMatch(/^The native addon is not built, and not needed; 'npm run native' says more: .*\n$/);
    expect(setUpIn(folder, QUICK)).toBe('');
    expect(nativeIn(folder, [], QUICK).status).toBe(1);
    expect(nativeIn(folder, [], QUICK).stderr).toContain('#error of somebody');
    expect(loaderIn(folder)).toBe('it is not built');
    put(folder, 'src/udp/native/packets.c', source);
    expect(setUpIn(folder, QUICK)).toBe('');
    expect(loaderIn(folder)).toBe(null);
  });
});

describe.skipIf(process.platform === 'win32')('where there is no compiler', () => {
  test('nothing is built, nothing is said, and the next set-up looks again; who asks is told what to do', () => {
    const folder = packageFolder();
    const none = { CC: join(folder, 'no-compiler') };
    expect(setUpIn(folder, none)).toBe('');
    expect(loaderIn(folder)).toBe('it is not built');
    const asked = nativeIn(folder, [], none);
    expect(asked.status).toBe(1);
    expect(asked.stderr).toContain('install gcc or clang, or set CC');
    put(folder, 'no-compiler', '#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\necho nonsense >"$2"\n');
    chmodSync(join(folder, 'no-compiler'), 0o755);
    expect(setUpIn(folder, none)).toBe('');
    expect(loaderIn(folder)).toMatch(/^it does not load: /);
  });

  test('headers that are not installed are no reason to fail', () => {
    const folder = packageFolder();
    rmSync(join(folder, 'node_modules'));
    expect(setUpIn(folder)).toMatch(
      /^The native addon is not built, and not needed; .*npm ci installs it\n$/,
    );
    expect(loaderIn(folder)).toBe('it is not built');
  });
});

/** What of the package the addon is made of and loaded by. */
function packageFolder(): string {
  const folder = emptyFolder();
  mkdirSync(join(folder, 'scripts'));
  cpSync(join(ROOT, 'scripts/build-native.js'), join(folder, 'scripts/build-native.js'));
  cpSync(join(ROOT, 'src/udp/native'), join(folder, 'src/udp/native'), IS_DIRECTORY);
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  put(folder, 'package.json', '{ "type": "module" }');
  const source = readFileSync(join(ROOT, 'src/base/native-addon.ts'), 'utf8');
  put(folder, 'dist/base/native-addon.js', transformSync(source, { loader: 'ts' }).code);
  return folder;
}

/** One whose addon is a module of Node with these exports. */
function folderWith(exports: string): string {
  const folder = packageFolder();
  put(folder, 'build/native/jsp.node/package.json', '{ "main": "addon.cjs" }');
  put(folder, 'build/native/jsp.node/addon.cjs', `module.exports = ${exports};`);
  return folder;
}

function put(folder: string, path: string, text: string): void {
  mkdirSync(dirname(join(folder, path)), IS_DIRECTORY);
  writeFileSync(join(folder, path), text);
}

/** Why a new process in which the addon of that folder is asked for has none; null when it has. */
function loaderIn(folder: string, env: NodeJS.ProcessEnv = {}): string | null {
  const program = `import { nativeAddon, whyNotNative } from './dist/base/native-addon.js';
    console.log(JSON.stringify({ isThere: nativeAddon() !== null, why: whyNotNative() }));`;
  const { stdout, stderr } = node(folder, ['--input-type=module', '-e', program], env);
  const { isThere, why } = JSON.parse(stdout || `{ "why": ${JSON.stringify(stderr)} }`);
  expect(isThere).toBe(why === null);
  return why;
}

/** What is said when it is built in passing. */
function setUpIn(folder: string, env: NodeJS.ProcessEnv = {}): string {
  put(folder, 'scripts/set-up.js', `import build from './build-native.js'; build();`);
  const { status, stdout, stderr } = node(folder, ['scripts/set-up.js'], env);
  expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
  return stderr;
}

function nativeIn(folder: string, options: readonly string[] = [], env: NodeJS.ProcessEnv = {}) {
  return node(folder, ['scripts/build-native.js', ...options], env);
}

function node(folder: string, args: readonly string[], env: NodeJS.ProcessEnv) {
  const { CC, CFLAGS, LDFLAGS, JSP_NATIVE, ...inherited } = process.env;
  return spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8', env: { ...inherited, ...env } });
}
