import { spawn } from 'node:child_process';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { addEntry, removeEntries } from '../../../src/broker/auth/edit-file.ts';
import { readAuthFile } from '../../../src/broker/auth/files.ts';
import { emptyFolder } from '../../empty-folder.ts';

const HASH = `sha256:${'a'.repeat(64)}`;
const WHEN = new Date('2026-11-26T10:00:00Z');
const RULES = [
  { allow: ['publish' as const], topics: ['a/${client}/#', 'say "hi"'] },
  { deny: '*' as const, topics: ['b'] },
];

describe.each(['auth.toml', 'auth.json'])('a file of keys, %s', (name) => {
  test('has what was added to it, and not what was taken out', () => {
    const path = join(emptyFolder(), name);
    const expires = new Date('2027-01-31T00:00:00Z');
    addEntry(path, 'key', { id: 'k1', hash: HASH, name: 'shop "1"', roles: ['r'], expires, rules: RULES });
    addEntry(path, 'key', { id: 'k2', hash: HASH, limits: { publishesPerSecond: 5 } });
    addEntry(path, 'identity', { fingerprint: 'f'.repeat(43), name: 'robot' });
    const file = readAuthFile(path);
    expect(file.keys).toMatchObject([
      { id: 'k1', name: 'shop "1"', roles: ['r'], rules: RULES },
      { id: 'k2', limits: { publishesPerSecond: 5 } },
    ]);
    expect(new Date(file.keys[0].expires as Date)).toEqual(expires);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(() => addEntry(path, 'key', { id: 'k2', hash: HASH })).toThrow(/has k2 already/);
    expect(removeEntries(path, 'key', 'shop "1"', WHEN)).toEqual(['k1']);
    expect(removeEntries(path, 'key', 'nobody', WHEN)).toEqual([]);
    expect(removeEntries(path, 'identity', 'f'.repeat(43), WHEN)).toEqual(['f'.repeat(43)]);
    expect(readAuthFile(path)).toMatchObject({ keys: [{ id: 'k2' }], identities: [] });
    expect(readAuthFile(path).keys).toHaveLength(1);
  });
});

describe.skipIf(process.platform === 'win32')('a file that others have to do with, too', () => {
  test('is read by whom it was read, where it was', () => {
    const folder = emptyFolder();
    mkdirSync(join(folder, 'real'));
    const [path, link] = [join(folder, 'real', 'auth.toml'), join(folder, 'link.toml')];
    addEntry(path, 'key', { id: 'k1', hash: HASH });
    chmodSync(path, 0o640);
    symlinkSync(path, link);
    addEntry(link, 'key', { id: 'k2', hash: HASH });
    removeEntries(link, 'key', 'k1', WHEN);
    expect(lstatSync(link).isSymbolicLink()).toBe(true);
    expect(statSync(path).mode & 0o777).toBe(0o640);
    expect(readAuthFile(path).keys).toMatchObject([{ id: 'k2' }]);
    expect(readdirSync(join(folder, 'real'))).toEqual(['auth.toml']);
  });

  test('is changed when nobody else changes it, and what he has done stays', () => {
    const folder = emptyFolder();
    const path = join(folder, 'auth.toml');
    const lock = join(folder, '.auth.toml.lock');
    writeFileSync(path, '');
    const other = spawn('sh', [
      '-c',
      `while [ ! -e ${lock} ]; do sleep 0.01; done; echo 'revoked = ["k9"]' > ${path}; rm ${lock}`,
    ]);
    const start = process.platform === 'linux' ? readFileSync(`/proc/${other.pid}/stat`, 'latin1') : ') 0';
    writeFileSync(lock, `${other.pid} ${start.slice(start.lastIndexOf(')') + 2).split(' ')[19] ?? '-'}\n`);
    addEntry(path, 'key', { id: 'k1', hash: HASH });
    expect(readAuthFile(path)).toMatchObject({ keys: [{ id: 'k1' }], revoked: ['k9'] });
  });
});

describe('a file that somebody has written', () => {
  test('keeps its comments and its order, and tells what was revoked', () => {
    const path = join(emptyFolder(), 'auth.toml');
    writeFileSync(
      path,
      `# ours
revoked = ["x"] # by hand

[[key]] # the first
id = "k1"
hash = "${HASH}"

  [[key.rules]]
  allow = "*"
  topics = ["#"]

# the second
[[key]]
id = "k2"
hash = "${HASH}"
name = "shop"
`,
    );
    removeEntries(path, 'key', 'k1', WHEN);
    expect(readFileSync(path, 'utf8')).toBe(`# ours
revoked = ["x"] # by hand

# key k1, revoked 2026-11-26T10:00:00.000Z


# the second
[[key]]
id = "k2"
hash = "${HASH}"
name = "shop"
`);
    removeEntries(path, 'key', 'shop', WHEN);
    expect(readAuthFile(path)).toEqual({ keys: [], identities: [], revoked: ['x'] });
  });

  test('is left as it is where its entries are written in a line', () => {
    const path = join(emptyFolder(), 'auth.toml');
    const text = `key = [{ id = "k1", hash = "${HASH}" }]\n`;
    writeFileSync(path, text);
    expect(() => removeEntries(path, 'key', 'k1', WHEN)).toThrow(/take it out by hand/);
    expect(() => addEntry(path, 'key', { id: 'k2', hash: HASH })).toThrow();
    expect(readFileSync(path, 'utf8')).toBe(text);
  });
});
