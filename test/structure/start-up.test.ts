/** What a command, or a program that imports the package, loads before it does anything: that is most of the time that it takes to start. */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const SRC = fileURLToPath(new URL('../../src/', import.meta.url));
const DIST = fileURLToPath(new URL('../../dist/', import.meta.url));
const COMMAND = `${DIST}cli/`;

test('a broker without tokens, HTTP, a cluster and figures loads no library for them', () => {
  const loaded = loadedBy('broker');
  expect([...loaded.packages].sort()).toEqual([
    '@noble/ciphers',
    '@noble/post-quantum',
    'commander',
    'toml-eslint-parser',
  ]);
});

test('a client loads nothing of the broker', () => {
  expect([...loadedBy('pub').packages].sort()).toEqual([
    '@noble/ciphers',
    '@noble/post-quantum',
    'commander',
  ]);
  expect(loadedBy('pub').sources.filter((source) => source.startsWith('src/broker/'))).toEqual([]);
});

test('before a command is known, no more is loaded than every command needs', () => {
  const { packages, sources } = loadedBy('program');
  expect([...packages]).toEqual(['commander']);
  const folders = new Set(sources.map((source) => source.split('/').slice(0, 2).join('/')));
  expect([...folders].sort()).toEqual(['src/base', 'src/cli', 'src/disk', 'src/monitor', 'src/transport']);
});

test('a program that imports the package loads a tenth of the files that there are sources in what it imports', () => {
  for (const entry of [
    'index',
    'broker/index',
    'client/index',
    'gateway/index',
    'transport/workers/thread',
  ]) {
    const { files, sources } = loadedFrom(`${DIST}${entry}.js`);
    expect(sources.length).toBeGreaterThan(100);
    expect(files.size).toBeLessThan(sources.length / 10);
  }
});

test('whatever a module of ours looks for beside it, such as what a thread begins with, is there when it is compiled', () => {
  const wanted = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).flatMap((file) => {
    if (!file.endsWith('.ts') || file.startsWith('cli/')) return [];
    const text = readFileSync(`${SRC}${file}`, 'utf8');
    const besides = [...text.matchAll(/new URL\(`(\.[^`]*)\$\{extname\(import\.meta\.url\)\}`/g)];
    const own = /module: import\.meta\.url/.test(text) ? [file.replace(/\.ts$/, '.js')] : [];
    return [...own, ...besides.map(([, path]) => join(dirname(file), `${path}.js`))];
  });
  expect(wanted.length).toBeGreaterThan(4);
  expect(wanted.filter((file) => !existsSync(`${DIST}${file}`))).toEqual([]);
});

/** Packages, and sources of ours, that a file of the command and what it imports bring along at once; what is imported when it is needed does not count. */
function loadedBy(name: string): { packages: Set<string>; sources: string[] } {
  const first = readdirSync(COMMAND).find((file) => new RegExp(`^${name}-\\w+\\.js$`).test(file));
  return loadedFrom(`${COMMAND}${first}`);
}

function loadedFrom(path: string): { files: Set<string>; packages: Set<string>; sources: string[] } {
  const files = new Set([path]);
  const packages = new Set<string>();
  const sources: string[] = [];
  for (const file of files) {
    const text = readFileSync(file, 'utf8');
    for (const [, path] of text.matchAll(/^\/\/ (src\/.*\.ts)$/gm)) sources.push(path);
    for (const [, from] of text.matchAll(/^(?:import|\} from|import .* from) "([^"]+)";$/gm)) {
      if (from.startsWith('.')) files.add(join(dirname(file), from));
      else if (!from.startsWith('node:')) packages.add(/^(@[^/]+\/)?[^/]+/.exec(from)![0]);
    }
  }
  return { files, packages, sources };
}
