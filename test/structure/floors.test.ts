import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { FLOORS, floorViolations } from './floors.ts';
import { importsOf } from './imports.ts';
import { filesBelow, ROOT } from './project.ts';

test('every import in src/ goes down, or stays in its folder', () => {
  const files = filesBelow('src', '.ts');
  expect(files.length).toBeGreaterThan(20);
  expect(floorViolations(files)).toEqual([]);
});

test('every import leads to a file that exists', () => {
  const dangling = ['src', 'test', 'benches', 'examples']
    .flatMap((folder) => filesBelow(folder, '.ts'))
    .flatMap((file) => importsOf(file).map((imported) => ({ file, imported })))
    .filter(({ imported: { path } }) => path?.endsWith('.ts') === true && !existsSync(join(ROOT, path)))
    .map(({ file, imported }) => `${file.path}:${imported.line} imports ${imported.path}`);
  expect(dangling).toEqual([]);
});

test('the table names each folder of src/ once', () => {
  const folders = FLOORS.flat();
  expect(new Set(folders).size).toBe(folders.length);
});

test('an import that goes up, aside, out, or to an unknown folder is found', () => {
  const check = (path: string, text: string) => floorViolations([{ path, text }]);
  expect(check('src/protocol/stream/a.ts', `import { a } from '../../base/a.ts'; import './b.ts';`)).toEqual(
    [],
  );
  expect(check('src/protocol/stream/a.ts', `import { a } from '../crypto/a.ts';`)[0]).toContain('sibling');
  expect(check('src/protocol/stream/a.ts', `import type { A } from '../connection/a.ts';`)[0]).toContain(
    'higher',
  );
  expect(check('src/protocol/stream/a.ts', `export * from '../connection/a.ts';`)[0]).toContain('higher');
  expect(check('src/protocol/stream/a.ts', `const a = await import('../../udp/a.ts');`)[0]).toContain(
    'higher',
  );
  expect(check('src/protocol/stream/a.ts', `import { a } from '../../../test/a.ts';`)[0]).toContain(
    'outside',
  );
  expect(check('src/protocol/stream/a.ts', `import { a } from '../../base/a.js';`)[0]).toContain('.ts');
  expect(check('src/misc/a.ts', '')[0]).toContain('no folder');
  expect(check('src/testing/a.ts', `import { a } from '../transport/a.ts';`)[0]).toContain('sibling');
});

test('code outside of the core sees its faces, and nothing behind them', () => {
  const check = (path: string, text: string) => floorViolations([{ path, text }]);
  expect(check('src/udp/a.ts', `import { A } from '../protocol/endpoint/index.ts';`)).toEqual([]);
  expect(check('src/udp/a.ts', `import type { A } from '../protocol/endpoint/endpoint.ts';`)[0]).toContain(
    'face',
  );
  expect(check('src/transport/a.ts', `import { A } from '../protocol/stream/index.ts';`)[0]).toContain(
    'face',
  );
  expect(check('src/protocol/endpoint/a.ts', `import { A } from '../stream/a.ts';`)).toEqual([]);
});

test('only the public face and what is above it see transport/, and of the broker only its server', () => {
  const check = (path: string, text: string) => floorViolations([{ path, text }]);
  expect(check('src/index.ts', `export { connect } from './transport/connect.ts';`)).toEqual([]);
  expect(check('src/index.ts', `export { Broker } from './broker/broker.ts';`)[0]).toContain('higher');
  expect(check('src/transport/a.ts', `import { connect } from '../index.ts';`)[0]).toContain('higher');
  expect(check('src/broker/server.ts', `import { listen } from '../transport/listen.ts';`)).toEqual([]);
  expect(check('src/broker/core.ts', `import { listen } from '../transport/listen.ts';`)[0]).toContain(
    'only',
  );
});
