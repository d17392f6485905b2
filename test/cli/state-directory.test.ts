import fs, { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { LOCK_FILE, lockDirectory, writeSecretFile } from '../../src/cli/state-directory.ts';
import { emptyFolder } from '../empty-folder.ts';

describe('a file with a secret', () => {
  test('is on the disk before it has its name, whatever a killed process of this number has left', () => {
    const file = join(emptyFolder(), 'identity');
    writeFileSync(`${file}.${process.pid}.new`, 'half a sec');
    const [synced, linked] = [vi.spyOn(fs, 'fsyncSync'), vi.spyOn(fs, 'linkSync')];
    syncBuiltinESMExports();
    onTestFinished(() => {
      vi.restoreAllMocks();
      syncBuiltinESMExports();
    });
    writeSecretFile(file, 'secret');
    const orders = [synced, linked].map(({ mock }) => mock.invocationCallOrder);
    expect(orders.map(({ length }) => length)).toEqual([1, 1]);
    expect(orders[0][0]).toBeLessThan(orders[1][0]);
    expect(readFileSync(file, 'utf8')).toBe('secret\n');
    expect(() => writeSecretFile(file, 'another')).toThrow(expect.objectContaining({ code: 'EEXIST' }));
    expect(readdirSync(join(file, '..'))).toEqual(['identity']);
  });
});

describe('a locked directory', () => {
  test('is nobody else’s until it is given back, and nothing is left of the lock then', () => {
    const folder = emptyFolder();
    const unlock = lockDirectory(folder);
    expect(() => lockDirectory(folder)).toThrow(
      expect.objectContaining({
        code: 'ERR_JSP_STATE_DIRECTORY',
        message: expect.stringContaining(`process ${process.pid}`),
      }),
    );
    unlock();
    lockDirectory(folder)();
    expect(readdirSync(folder)).toEqual([]);
  });

  test.each([
    ['a process that is gone', '4194305 1'],
    ['a process that began at another time than the one with its number now', `${process.pid} 1`],
    ['nothing that was finished', ''],
    ['something else', 'hello'],
  ])('is free when its lock names %s', (_name, content) => {
    const folder = emptyFolder();
    writeFileSync(join(folder, LOCK_FILE), content);
    const unlock = lockDirectory(folder);
    expect(readFileSync(join(folder, LOCK_FILE), 'latin1')).toMatch(new RegExp(`^${process.pid} `));
    unlock();
    expect(readdirSync(folder)).toEqual([]);
  });

  test('is said to hold no lock where its lock is something else that does not go away', () => {
    const folder = emptyFolder();
    mkdirSync(join(folder, LOCK_FILE));
    expect(() => lockDirectory(folder)).toThrow(/is no lock of a broker: remove it/);
    expect(readdirSync(folder)).toEqual([LOCK_FILE]);
  });

  test('is not unlocked by who has lost it', () => {
    const folder = emptyFolder();
    const unlock = lockDirectory(folder);
    writeFileSync(join(folder, LOCK_FILE), 'another');
    unlock();
    expect(readFileSync(join(folder, LOCK_FILE), 'latin1')).toBe('another');
  });
});
