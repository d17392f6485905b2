import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openStore } from '../../src/broker/store/open-store.ts';
import { recoveryLine } from '../../src/cli/store.ts';
import { recordOf } from '../broker/store/stores.ts';
import { emptyFolder } from '../empty-folder.ts';
import { jsp } from './jsp.ts';

/** A store that was closed, with three records that were stored one by one. */
async function storeOfThree(): Promise<string> {
  const directory = join(emptyFolder(), 'store');
  const { store, unlock } = await openStore({ directory });
  for (const payload of ['first', 'second', 'third']) {
    store.logs[0].append(recordOf({ payload }));
    await store.idle();
  }
  await store.close();
  unlock();
  return directory;
}

/** Changes a byte of the second record. Returns its segment, by its path in the store. */
function damage(directory: string): string {
  const file = join('log-1', `${'1'.padStart(16, '0')}.seg`);
  const bytes = readFileSync(join(directory, file));
  bytes[bytes.indexOf('second')] ^= 1;
  writeFileSync(join(directory, file), bytes);
  return file;
}

test('a start notes that its store is new, or what it has found there', async () => {
  const directory = join(emptyFolder(), 'store');
  const start = async (): Promise<string> => {
    const { store, unlock, report } = await openStore({ directory });
    store.logs[0].append(recordOf({ payload: 'a' }));
    await store.close();
    unlock();
    return recoveryLine({ ...report, durationMs: 7.2 });
  };
  expect(await start()).toBe(`store ${directory}: new, made in 7 ms`);
  expect(await start()).toBe(
    `store ${directory}: recovered in 7 ms, default records 1 to 1, 2 values of state`,
  );
});

test('a damaged store is told with code 3; a repair says what is lost and sets the file aside; then it is sound, with code 0 [STO-25] [STO-26]', async () => {
  const directory = await storeOfThree();
  const file = damage(directory);
  const before = readFileSync(join(directory, file));

  const damaged = await jsp(['store', 'check', '--json', directory]);
  expect([damaged.exitCode, damaged.err]).toEqual([3, '']);
  const seen = JSON.parse(damaged.out);
  expect(seen).toMatchObject({ verdict: 'damaged', wasClosed: true });
  expect(seen.findings).toMatchObject([
    { kind: 'damaged', file, log: 'default', from: 2, until: 3, isLoss: true },
  ]);
  expect(readFileSync(join(directory, file))).toEqual(before);

  const repaired = await jsp(['store', 'repair', directory]);
  expect([repaired.exitCode, repaired.err]).toEqual([0, '']);
  expect(repaired.out).toContain('it concerns record 2 of log default');
  expect(repaired.out).toMatch(/\nlost +1 records and changes of state\nrepaired: a broker opens it now\n$/);
  const [aside] = readdirSync(join(directory, 'lost'));
  expect(repaired.out).toContain(`set aside  ${join('lost', aside)}\n`);
  expect(readFileSync(join(directory, 'lost', aside))).toEqual(before);

  const sound = await jsp(['store', 'check', directory]);
  expect([sound.exitCode, sound.err]).toEqual([0, '']);
  expect(sound.out).toMatch(/default +records 1 to 3 /);
  expect(sound.out).toMatch(/\nsound: [\d,]+ bytes were read\n$/);

  const nothing = await jsp(['store', 'repair', '--json', directory]);
  expect(nothing.exitCode).toBe(0);
  expect(JSON.parse(nothing.out)).toMatchObject({
    findings: [],
    recordsLost: 0,
    isExact: true,
    setAside: [],
  });
});

test('what is no store, is in use, or is no folder ends both commands with code 1 and says what to do', async () => {
  const none = emptyFolder();
  const file = join(emptyFolder(), 'file');
  writeFileSync(file, '');
  const used = await storeOfThree();
  const { store, unlock } = await openStore({ directory: used });
  try {
    const ends = await Promise.all([
      jsp(['store', 'check', join(none, 'store')]),
      jsp(['store', 'check', used]),
      jsp(['store', 'repair', file]),
    ]);
    expect(ends.map(({ exitCode, out }) => [exitCode, out])).toEqual(ends.map(() => [1, '']));
    const [missing, inUse, noFolder] = ends.map(({ err }) => err);
    expect(missing).toMatch(/^jsp: there is no store in .* \(ERR_JSP_FILE\)\n$/);
    expect(inUse).toMatch(/in use by process \d+: stop that one, .* \(ERR_JSP_STORE_IN_USE\)\n$/);
    expect(noFolder).toMatch(/ENOTDIR.*: choose another directory \(ERR_JSP_STORE_DIRECTORY\)\n$/);
    expect(readdirSync(none)).toEqual([]);
  } finally {
    await store.close();
    unlock();
  }
});

test.each(['', 'log-1', 'manifest.0'])(
  'a broker is not started where its store cannot be (%j is in the way), and is told why [STO-1]',
  async (inTheWay) => {
    const directory = join(emptyFolder(), 'store');
    if (inTheWay === 'manifest.0') mkdirSync(join(directory, inTheWay), { recursive: true });
    else {
      if (inTheWay !== '') mkdirSync(directory);
      writeFileSync(join(directory, inTheWay), '');
    }
    const opening = openStore({ directory });
    await expect(opening).rejects.toMatchObject({ code: 'ERR_JSP_STORE_DIRECTORY' });
    await expect(opening).rejects.toThrow(/E[A-Z]+: .*\. A store has a folder of its own/);
    expect(existsSync(join(directory, 'store.lock'))).toBe(false);
  },
);

test.skipIf(process.platform !== 'linux')(
  'a broker whose store is below /proc is told that nothing can be made there, at once',
  async () => {
    const { err, exitCode } = await jsp(['broker', '--port', '0', '--store', '/proc/jsp/store']);
    expect(err).toMatch(/ENOENT: .* Choose another directory, .* \(ERR_JSP_STORE_DIRECTORY\)\n$/);
    expect(exitCode).toBe(1);
  },
);
