import { mkdirSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { makeFolder, makeFolderSync } from '../../src/disk/make-folder.ts';
import { emptyFolder } from '../empty-folder.ts';

describe.each([
  ['makeFolder', makeFolder],
  ['makeFolderSync', async (path: string, mode?: number): Promise<void> => makeFolderSync(path, mode)],
])('%s', (_name, make) => {
  const codeOf = async (path: string): Promise<unknown> =>
    make(path).then(
      () => 'made',
      (error: NodeJS.ErrnoException) => error.code,
    );

  test('makes a folder and those above it, with their mode', async () => {
    const base = emptyFolder();
    await make(join(base, 'a', 'b', 'c'), 0o700);
    expect(readdirSync(join(base, 'a', 'b'))).toEqual(['c']);
    if (process.platform !== 'win32') {
      for (const path of ['a', 'a/b', 'a/b/c']) expect(statSync(join(base, path)).mode & 0o777).toBe(0o700);
    }
  });

  test('leaves alone what is there, and goes through links to folders', async () => {
    const base = emptyFolder();
    mkdirSync(join(base, 'there'), { mode: 0o755 });
    symlinkSync(join(base, 'there'), join(base, 'link'));
    await make(join(base, 'there'), 0o700);
    await make(join(base, 'link'));
    await make(join(base, 'link', 'below'));
    expect(readdirSync(join(base, 'there'))).toEqual(['below']);
    if (process.platform !== 'win32') expect(statSync(join(base, 'there')).mode & 0o777).toBe(0o755);
  });

  test('tells what is in the way', async () => {
    const base = emptyFolder();
    writeFileSync(join(base, 'file'), '');
    symlinkSync(join(base, 'nowhere'), join(base, 'link'));
    expect(await codeOf(join(base, 'file'))).toBe('EEXIST');
    expect(await codeOf(join(base, 'file', 'below'))).toBe('ENOTDIR');
    expect(await codeOf(join(base, 'link', 'below'))).toBe('EEXIST');
    expect(await codeOf('')).toBe('ENOENT');
  });

  test.skipIf(process.platform !== 'linux')('gives up where no folder can be made', async () => {
    expect(await codeOf('/proc/jsp')).toBe('ENOENT');
    expect(await codeOf('/proc/jsp/a/b')).toBe('ENOENT');
  });
});
