import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readAuthFile, readEntries } from '../../../src/broker/auth/files.ts';
import { emptyFolder } from '../../empty-folder.ts';

const HASH = `sha256:${'a'.repeat(64)}`;
const FINGERPRINT = 'f'.repeat(43);

function file(text: string, name = 'auth.toml'): string {
  const path = join(emptyFolder(), name);
  writeFileSync(path, text);
  return path;
}

describe('a file of keys', () => {
  test('is TOML, whose rules know where they are written', () => {
    const path = file(`
revoked = ["k0"]

[[key]]
id = "k1"
hash = "${HASH}"
roles = ["r"]
expires = 2027-01-31
limits = { publishes_per_second = 5 }
rules = [
  { allow = ["publish"], topics = ["a/#"] },
  { deny = "*", topics = ["a/b"] },
]

[[identity]]
fingerprint = "${FINGERPRINT}"

[[identity.rules]]
allow = "*"
topics = ["#"]
`);
    const { keys, identities, revoked } = readAuthFile(path);
    expect(revoked).toEqual(['k0']);
    expect(keys).toEqual([
      {
        id: 'k1',
        hash: HASH,
        roles: ['r'],
        expires: new Date('2027-01-31'),
        limits: { publishesPerSecond: 5 },
        rules: [
          { allow: ['publish'], topics: ['a/#'], at: `${path}:11` },
          { deny: '*', topics: ['a/b'], at: `${path}:12` },
        ],
      },
    ]);
    expect(identities[0].rules?.[0].at).toBe(`${path}:18`);
  });

  test('is JSON where its name ends so', () => {
    const path = file(
      JSON.stringify({ key: [{ id: 'k', hash: HASH, limits: { bytes_per_second: 9 } }] }),
      'auth.json',
    );
    expect(readAuthFile(path)).toEqual({
      keys: [{ id: 'k', hash: HASH, limits: { bytesPerSecond: 9 } }],
      identities: [],
      revoked: [],
    });
  });

  test('is read for each option that names it', () => {
    const path = file(
      `revoked = ["x"]\n[[key]]\nid = "k"\nhash = "${HASH}"\n[[identity]]\nfingerprint = "${FINGERPRINT}"\n`,
    );
    const { keys, identities, revoked } = readEntries({
      keys: { file: path },
      identities: { file: path },
      revoked: { file: path },
    });
    expect([[...keys.keys()], [...identities.keys()], [...revoked]]).toEqual([['k'], [FINGERPRINT], ['x']]);
    expect(readEntries({ keys: { file: path } }).revoked.size).toBe(0);
  });

  test.each([
    ['text that is none', 'id = ', /auth.toml:1: this is no TOML/],
    [
      'a name that is misspelt',
      `[[key]]\nid = "k"\nhsah = "${HASH}"`,
      /auth.toml:1: key has no option "hsah"; the nearest it has is "hash"/,
    ],
    [
      'a table that is none',
      '[[keys]]\nid = "k"',
      /auth.toml: there is no table "keys"; there are key, identity, revoked/,
    ],
    ['a key without its hash', '\n\n[[key]]\nid = "k"', /auth.toml:3: key must have an id and a hash/],
    [
      'a rule that is none',
      `[[key]]\nid = "k"\nhash = "${HASH}"\nrules = [{ allow = ["read"], topics = ["#"] }]`,
      /rules\[0\]: allow must be/,
    ],
    ['one table where several may be', '[key]\nid = "k"', /key must be a list of tables/],
    ['revoked numbers', 'revoked = [1]', /revoked must be a list of texts/],
  ])('is refused for %s, with the line [AUT-2]', (_, text, message) => {
    const path = file(text);
    expect(() => readAuthFile(path)).toThrow(message);
    expect(() => readAuthFile(path)).toThrow(expect.objectContaining({ code: 'ERR_JSP_OPTION_INVALID' }));
  });

  test('is refused when it is not there, is no JSON, or has an id twice [AUT-2]', () => {
    expect(() => readAuthFile(join(emptyFolder(), 'nowhere.toml'))).toThrow(
      /nowhere.toml cannot be read: ENOENT/,
    );
    expect(() => readAuthFile(file('{', 'bad.json'))).toThrow(/bad.json: /);
    const key = { id: 'k', hash: HASH };
    expect(() => readEntries({ keys: [key, key] })).toThrow(/auth.keys has "k" twice/);
  });
});
