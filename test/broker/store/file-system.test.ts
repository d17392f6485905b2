import { existsSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { systemFiles, writeFully } from '../../../src/broker/store/file-system.ts';
import { emptyFolder } from '../../empty-folder.ts';

describe('a file of the system, written so that the disk has it when the call returns', () => {
  test('has the bytes where they belong, between those that are written in the usual way', async () => {
    const path = join(emptyFolder(), 'a.seg');
    const file = await systemFiles.create(path);
    await writeFully(file, Buffer.from('abc'), 0);
    await writeFully(file, Buffer.from('XYZ'), 3, true);
    await writeFully(file, Buffer.from('def'), 6);
    await writeFully(file, Buffer.from('B'), 1, true);
    expect(readFileSync(path, 'latin1')).toBe('aBcXYZdef');
    await file.close();
  });

  test('is written all the same where it cannot be opened for that', async () => {
    const path = join(emptyFolder(), 'a.seg');
    const file = await systemFiles.create(path);
    rmSync(path);
    await writeFully(file, Buffer.from('abc'), 0, true);
    const read = Buffer.alloc(5);
    expect(await file.read(read, 0)).toBe(3);
    expect(read.toString('latin1', 0, 3)).toBe('abc');
    await file.close();
  });

  test.runIf(existsSync('/proc/self/fd'))('keeps no descriptor when it is closed', async () => {
    const path = join(emptyFolder(), 'a.seg');
    const file = await systemFiles.create(path);
    await writeFully(file, Buffer.from('abc'), 0, true);
    expect(descriptorsOf(path)).toBeGreaterThan(0);
    await file.close();
    expect(descriptorsOf(path)).toBe(0);
  });
});

function descriptorsOf(path: string): number {
  const names = readdirSync('/proc/self/fd').map((descriptor) => {
    try {
      return readlinkSync(`/proc/self/fd/${descriptor}`);
    } catch {
      return ''; // that of the folder itself
    }
  });
  return names.filter((name) => name === path).length;
}
