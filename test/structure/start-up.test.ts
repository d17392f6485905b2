/** What a command loads before it does anything: that is most of the time that it takes to start. */

import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const COMMAND = fileURLToPath(new URL('../../dist/cli/', import.meta.url));

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

/** Packages, and sources of ours, that a file of the command and what it imports bring along at once; what is imported when it is needed does not count. */
function loadedBy(name: string): { packages: Set<string>; sources: string[] } {
  const first = readdirSync(COMMAND).find((file) => new RegExp(`^${name}-\\w+\\.js$`).test(file));
  const files = new Set([first as string]);
  const packages = new Set<string>();
  const sources: string[] = [];
  for (const file of files) {
    const text = readFileSync(`${COMMAND}${file}`, 'utf8');
    for (const [, path] of text.matchAll(/^\/\/ (src\/.*\.ts)$/gm)) sources.push(path);
    for (const [, from] of text.matchAll(/^(?:import|\} from|import .* from) "([^"]+)";$/gm)) {
      if (from.startsWith('./')) files.add(from.slice(2));
      else if (!from.startsWith('node:')) packages.add(/^(@[^/]+\/)?[^/]+/.exec(from)![0]);
    }
  }
  return { packages, sources };
}
