import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { LOCK_FILE, lockDirectory } from '../../src/cli/state-directory.ts';
import { emptyFolder } from '../empty-folder.ts';

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
