import { expect, test } from 'vitest';
import { filesBelow } from './project.ts';
import { belowTheLine, sansIoViolations } from './sans-io.ts';

test('nothing below the line touches a clock, chance, timers, promises, the process or the network', () => {
  const files = belowTheLine(filesBelow('src', '.ts'));
  expect(files.length).toBeGreaterThan(15);
  expect(files.flatMap(sansIoViolations)).toEqual([]);
});

test.each([
  'const now = Date.now();',
  'const a = new Date();',
  'const r = Math.random();',
  'const t = performance.now();',
  'setTimeout(f, 1);',
  'setImmediate(f);',
  'queueMicrotask(f);',
  'if (process.env.X) f();',
  'class A { async f() {} }',
  'const x = await y;',
  'const p = new Promise(f);',
  'class A extends EventEmitter {}',
  'globalThis.setTimeout(f);',
  'console.log(1);',
  `import { createSocket } from 'node:dgram';`,
  `import { EventEmitter as E } from 'node:events';`,
  `import { performance as p } from 'node:perf_hooks';`,
  `import { randomBytes } from 'node:crypto';`,
  `import { generateKeyPairSync } from 'node:crypto';`,
  `import * as crypto from 'node:crypto';`,
  `import crypto from 'node:crypto';`,
  `export { readFileSync } from 'fs';`,
  `const x = \`\${Date.now()}\`;`,
])('it would find %s', (text) => {
  expect(sansIoViolations({ path: 'src/base/sample.ts', text })).not.toEqual([]);
});

test.each([
  '// Date.now() is not used here; Math.random neither',
  `const text = 'process.env and await';`,
  'const x = header.process;',
  'interface A { performance: number }',
  'const y = Math.floor(2.5);',
  `import { createHmac, type KeyObject } from 'node:crypto';`,
  `import { x } from '@noble/ciphers/chacha.js';`,
])('it does not mind %s', (text) => {
  expect(sansIoViolations({ path: 'src/base/sample.ts', text })).toEqual([]);
});
