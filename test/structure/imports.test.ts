import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ICruiseResult } from 'dependency-cruiser';
import { beforeAll, describe, expect, test } from 'vitest';
import { FLOORS } from '../../.dependency-cruiser.mjs';
import { emptyFolder } from '../empty-folder.ts';
import { house, importsIn, withHouse } from './house.ts';
import { ROOT, textOf } from './project.ts';

describe('in src/', () => {
  let imports: ICruiseResult;

  beforeAll(async () => {
    imports = await importsIn(ROOT);
  });

  test('imports go down, through the faces of the core, and never in a circle', () => {
    const { totalCruised, violations } = imports.summary;
    expect(totalCruised).toBeGreaterThan(100);
    expect(violations.map(({ from, to, rule }) => `${from} imports ${to}: ${rule.name}`)).toEqual([]);
  });

  test('the house is as the picture has it with which ARCHITECTURE.md opens', () => {
    const page = textOf('ARCHITECTURE.md') ?? '';
    expect(page.slice(0, 100)).toContain('<!-- house -->');
    expect(page, 'draw it anew: npm run ts test/structure/house.ts').toBe(withHouse(page, house(imports)));
  });
});

test('every floor has folders that exist', () => {
  const missing = FLOORS.flat().filter((folder) => !existsSync(join(ROOT, 'src', folder)));
  expect(missing).toEqual([]);
});

test.each([
  ['goes up', 'protocol/wire/a.ts', '../stream/b.ts', 'down-from-wire'],
  ['goes up for a type', 'protocol/stream/a.ts', '../connection/b.ts', 'down-from-crypto'],
  ['goes to a sibling', 'protocol/stream/a.ts', '../crypto/b.ts', 'down-from-crypto'],
  ['leaves the core', 'protocol/endpoint/a.ts', '../../udp/b.ts', 'core-on-base'],
  ['goes behind a face', 'udp/a.ts', '../protocol/stream/b.ts', 'faces-of-the-core'],
  ['comes from a folder without a floor', 'stuff/a.ts', '../base/b.ts', 'has-a-floor'],
  ['goes to a test', 'base/a.ts', '../../test/b.ts', 'stays-in-src'],
  ['is of a part of Node that waits', 'base/a.ts', 'node:fs', 'pure-below-the-line'],
  [
    'is of the transport, beside the server of the broker',
    'broker/a.ts',
    '../transport/b.ts',
    'one-door-of-the-broker',
  ],
  ['is of a clock, in the core of the broker', 'broker/core/a.ts', '../../udp/b.ts', 'core-of-the-broker'],
  ['comes back', 'base/a.ts', './b.ts', 'no-circle'],
])('an import that %s is found', async (_, from, to, rule) => {
  const folder = emptyFolder();
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  };
  write('package.json', '{ "type": "module" }');
  write(`src/${from}`, `import type { B } from '${to}';\nexport type A = B;\n`);
  if (to.startsWith('.')) {
    write(join('src', dirname(from), to), `import type { A } from './a.ts';\nexport type B = A;\n`);
  }
  const { violations } = (await importsIn(folder)).summary;
  expect(violations.map((violation) => violation.rule.name)).toContain(rule);
});

test('an import that goes down is fine', async () => {
  const folder = emptyFolder();
  mkdirSync(join(folder, 'src/base'), { recursive: true });
  mkdirSync(join(folder, 'src/protocol/wire'), { recursive: true });
  writeFileSync(join(folder, 'src/base/a.ts'), 'export type A = 1;\n');
  writeFileSync(join(folder, 'src/protocol/wire/b.ts'), `export { A } from '../../base/a.ts';\n`);
  expect((await importsIn(folder)).summary.violations).toEqual([]);
});
