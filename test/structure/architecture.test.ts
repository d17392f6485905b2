import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { declares, namedIn } from './architecture.ts';
import { ROOT, textOf } from './project.ts';

describe('ARCHITECTURE.md', () => {
  const page = textOf('ARCHITECTURE.md') ?? '';
  const named = namedIn(page);

  test('tells the way of a message in at most 60 lines', () => {
    const [, way] = page.split('\n## The way of a message\n');
    expect(way.split('\n## ')[0].split('\n').length).toBeLessThanOrEqual(60);
  });

  test('names the one place to change for what is added most', () => {
    const [, places] = page.split('\n## One place to change\n');
    for (const thing of [
      'a frame',
      'an option',
      'a metric',
      'a command of the broker',
      'a congestion controller',
      'a cipher',
      'a socket',
    ]) {
      expect(places.split('\n## ')[0]).toContain(`| ${thing} |`);
    }
  });

  test('tells the way of a message from send to the message event, through every part it passes', () => {
    const folders = named.map(({ path }) => path.split('/').slice(1, -1).join('/'));
    for (const part of ['endpoint', 'connection', 'stream', 'recovery', 'crypto', 'wire']) {
      expect(folders, part).toContain(`protocol/${part}`);
    }
    for (const folder of ['transport', 'udp']) expect(folders, folder).toContain(folder);
    expect(named.filter(({ symbol }) => symbol !== undefined).length).toBeGreaterThanOrEqual(15);
  });
});

describe.each(['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'SECURITY.md', 'benches/README.md'])(
  '%s',
  (name) => {
    const named = namedIn(textOf(name) ?? '');

    test('names files and folders that exist', () => {
      const missing = named.filter(({ path }) => !existsSync(join(ROOT, path)));
      expect(missing.map(({ path, line }) => `line ${line}: ${path}`)).toEqual([]);
    });

    test('names symbols that are declared in their files', () => {
      const missing = named.filter(
        ({ path, symbol }) => symbol !== undefined && !declares(textOf(path) ?? '', symbol),
      );
      expect(missing.map(({ path, symbol, line }) => `line ${line}: ${path}#${symbol}`)).toEqual([]);
    });
  },
);

test('names and declarations are found as they are written', () => {
  expect(namedIn('see `src/a/b.ts` and\n`src/a/b.ts#C.d`, `src/a/`, not `c.d()` or src/x.ts')).toEqual([
    { path: 'src/a/b.ts', symbol: undefined, line: 1 },
    { path: 'src/a/b.ts', symbol: 'C.d', line: 2 },
    { path: 'src/a/', symbol: undefined, line: 2 },
  ]);
  const source = `export class C<T> extends D {
  readonly d = 1;
  e(): void {
    this.f();
  }
  get h(): number {
    return 1;
  }
}
export const i = 2; // class J
interface K {
  l?: number;
}
`;
  for (const symbol of ['C', 'C.d', 'C.e', 'C.h', 'i', 'K.l'])
    expect(declares(source, symbol), symbol).toBe(true);
  for (const symbol of ['D', 'C.f', 'J', 'C.l', 'K.d']) expect(declares(source, symbol), symbol).toBe(false);
});
