import fs, { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { lockDirectory, writeSecretFile } from '../../src/cli/state-directory.ts';
import { takeName } from '../../src/disk/take-name.ts';
import { emptyFolder } from '../empty-folder.ts';

function failing(call: 'linkSync' | 'renameSync', code: string): { mockRestore(): void } {
  const spy = vi.spyOn(fs, call).mockImplementation(() => {
    throw Object.assign(new Error(`${code}: ${call}`), { code });
  });
  syncBuiltinESMExports();
  const restore = () => {
    spy.mockRestore();
    syncBuiltinESMExports();
  };
  onTestFinished(restore);
  return { mockRestore: restore };
}

function drafted(text: string): { folder: string; draft: string; name: string } {
  const folder = emptyFolder();
  const [draft, name] = [join(folder, 'draft'), join(folder, 'name')];
  writeFileSync(draft, text);
  return { folder, draft, name };
}

describe.each([
  ['with hard links', false],
  ['without, as on a memory stick', true],
])('a name on a file system %s', (_, isWithout) => {
  test('is given where nothing has it, and to one alone', () => {
    if (isWithout) failing('linkSync', 'EPERM');
    const { draft, name } = drafted('one');
    expect(takeName(draft, name)).toBe(true);
    rmSync(draft, { force: true });
    writeFileSync(draft, 'two');
    expect(takeName(draft, name)).toBe(false);
    expect(readFileSync(name, 'utf8')).toBe('one');
  });

  test('is that of a secret, or of a lock, all the same', () => {
    if (isWithout) failing('linkSync', 'EPERM');
    const folder = emptyFolder();
    const path = join(folder, 'secret');
    writeSecretFile(path, 'mine');
    expect([readFileSync(path, 'utf8'), statSync(path).mode & 0o777]).toEqual(['mine\n', 0o600]);
    expect(() => writeSecretFile(path, 'other')).toThrow(expect.objectContaining({ code: 'EEXIST' }));
    const unlock = lockDirectory(folder);
    expect(() => lockDirectory(folder)).toThrow(/in use by another broker, process/);
    unlock();
    lockDirectory(folder)();
    expect(readdirSync(folder)).toEqual(['secret']);
  });
});

describe('a name on a file system without hard links', () => {
  test('is free again where the whole file could not take it', () => {
    failing('linkSync', 'ENOTSUP');
    const { draft, name } = drafted('one');
    const rename = failing('renameSync', 'EIO');
    expect(() => takeName(draft, name)).toThrow('EIO');
    expect(existsSync(name)).toBe(false);
    rename.mockRestore();
    expect(takeName(draft, name)).toBe(true);
  });

  test('is nobody’s where a process was killed that was about to have it as a lock', () => {
    const folder = emptyFolder();
    writeFileSync(join(folder, 'lock'), '');
    lockDirectory(folder)();
    expect(readdirSync(folder)).toEqual([]);
  });

  test('is not given where there is no such folder', () => {
    const { draft, folder } = drafted('one');
    expect(() => takeName(draft, join(folder, 'none', 'name'))).toThrow(/ENOENT/);
  });
});
