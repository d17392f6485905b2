import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { emptyFolder } from '../empty-folder.ts';
import { ROOT } from './project.ts';

/** The linter holds src/ to this; here it is held to finding what it should. */
test('below the line, and in the core of the broker, the linter refuses a clock, chance, timers, promises, the process and the network', () => {
  const refused = [
    'const now = Date.now();',
    'const a = new Date();',
    'const r = Math.random();',
    'const t = performance.now();',
    'setTimeout(f, 1);',
    'setImmediate(f);',
    'queueMicrotask(f);',
    'if (process.env.X) f();',
    'class A { async f() {} }',
    'class B { private static async f() {} }',
    'const o = { async f() {} };',
    'export async function g() {}',
    'const h = async () => 1;',
    'const p = new Promise(f);',
    'let q: Promise<void>;',
    'class C extends EventEmitter {}',
    'globalThis.setTimeout(f);',
    'console.log(1);',
    `import { randomBytes } from 'node:crypto';`,
    `import { generateKeyPairSync } from 'node:crypto';`,
    `import * as everything from 'node:crypto';`,
    `import anything from 'node:crypto';`,
    `import { Worker as W } from 'node:worker_threads';`,
    `import { deflateRaw } from 'node:zlib';`,
    `const x = \`at \${Date.now()}\`;`,
  ];
  for (const core of ['src/protocol', 'src/broker/core']) {
    const found = linesFoundIn(`${core}/sample.ts`, refused);
    expect(refused.filter((_, i) => !found.has(i))).toEqual([]);
  }
});

test('below the line it does not mind the same words in another sense', () => {
  const fine = [
    '// Date.now() is not used here; Math.random neither',
    `export const text = 'process.env and await';`,
    'export const x = header.process;',
    'export interface A { performance: number }',
    'export const y = Math.floor(2.5);',
    `export { createHash, type KeyObject } from 'node:crypto';`,
    `export { x as z } from '@noble/ciphers/chacha.js';`,
  ];
  expect([...linesFoundIn('src/base/sample.ts', fine)]).toEqual([]);
});

test('pubsub/, which is pure but above the line, may describe what waits, and only that', () => {
  const found = linesFoundIn('src/pubsub/sample.ts', [
    'export interface A { closed: Promise<void>; signal: AbortSignal }',
    'setTimeout(f, 1);',
    'class B { async f() {} }',
  ]);
  expect([...found].sort()).toEqual([1, 2]);
});

/** Numbers, from 0, of the lines in which the rules of the line find something when they are a file of that name. */
function linesFoundIn(path: string, lines: readonly string[]): Set<number> {
  const folder = emptyFolder();
  for (const config of ['biome.json', 'test/structure/sans-io.grit']) copyInto(folder, config);
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), `${lines.join('\n')}\n`);
  const biome = join(ROOT, 'node_modules/@biomejs/biome/bin/biome');
  const options = ['lint', '--reporter=github', '--max-diagnostics=none', 'src'];
  const ran = spawnSync(process.execPath, [biome, ...options], { cwd: folder, encoding: 'utf8' });
  const found = [...ran.stdout.matchAll(/^::error title=([\w/]+),.*?line=(\d+)/gm)];
  return new Set(found.filter(([, rule]) => RULES.test(rule)).map(([, , line]) => Number(line) - 1));
}

function copyInto(folder: string, path: string): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  copyFileSync(join(ROOT, path), join(folder, path));
}

const RULES = /^(plugin|lint\/style\/(noRestrictedGlobals|noRestrictedImports|useNodejsImportProtocol))$/;
