import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { OpenFolder } from '../../src/files/folder.ts';
import { emptyFolder } from '../empty-folder.ts';

test('a folder that another takes the place of while it is opened is not gone through [FIL-8]', async () => {
  const path = emptyFolder();
  fs.mkdirSync(join(path, 'a'));
  const folder = await OpenFolder.open(path);
  const { open } = fs.promises;
  onTestFinished(async () => {
    fs.promises.open = open;
    syncBuiltinESMExports();
    await folder.close();
  });
  fs.promises.open = (...args) => {
    fs.renameSync(join(path, 'a'), join(path, 'b'));
    fs.mkdirSync(join(path, 'a'));
    return open(...args);
  };
  syncBuiltinESMExports();
  await expect(folder.enter('a', 0o700)).rejects.toMatchObject({ code: 'ENOTDIR' });
  fs.promises.open = open;
  syncBuiltinESMExports();
  const entered = await folder.enter('a', 0o700);
  expect(await entered.identity()).not.toBe(await folder.identity());
  await entered.close();
});
