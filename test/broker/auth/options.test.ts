import { describe, expect, test } from 'vitest';
import { type AuthOptions, checkAuthOptions } from '../../../src/broker/auth/options.ts';

const HASH = `sha256:${'0'.repeat(64)}`;
const ISSUER = { issuer: 'https://id.example', audience: 'jsp', algorithms: ['ES256'], jwks: 'keys.json' };

test('an `auth` with everything in it is taken', () => {
  checkAuthOptions({
    anonymous: { rules: [{ allow: ['subscribe'], topics: ['public/#'] }] },
    keys: [{ id: 'k1', hash: HASH, name: 'shop', roles: ['all'], expires: '2027-01-31' }],
    identities: { file: 'clients.toml' },
    jwt: { ...ISSUER, rules: [{ allow: '*', topics: ['rooms/${claim.room}/${client}'] }] },
    roles: { all: { rules: [{ allow: ['admin'] }], limits: { publishesPerSecond: 10 } } },
    limits: { connections: 5 },
    revoked: ['k0'],
  });
});

describe('what `auth` cannot be is refused with the place where it stands [AUT-2]', () => {
  const cases: [what: string, options: unknown, message: RegExp][] = [
    ['a name that is misspelt', { key: [] }, /auth has no option "key".*"keys"/],
    [
      'a rule that allows and denies',
      rules({ allow: '*', deny: '*', topics: ['#'] }),
      /either allow or deny/,
    ],
    ['a rule without topics', rules({ allow: ['publish'] }), /rules\[0\] must have topics/],
    ['an action that is none', rules({ allow: ['read'], topics: ['#'] }), /allow must be .*publish/],
    ['no action', rules({ allow: [], topics: ['#'] }), /allow must be/],
    ['a filter that is none', rules({ allow: '*', topics: ['a/#/b'] }), /topics must be a list of filters/],
    [
      'the filter of a group',
      rules({ allow: '*', topics: ['$share/g/a'] }),
      /topics must be a list of filters/,
    ],
    [
      'a placeholder that is none',
      rules({ allow: '*', topics: ['a/${user}'] }),
      /topics must be a list of filters/,
    ],
    [
      'a name that no store could keep',
      { keys: [{ id: 'a', hash: HASH, name: 'a\ud800' }] },
      /name must be 1 to 255 bytes of well-formed text/,
    ],
    ['a key without a hash', { keys: [{ id: 'a' }] }, /auth.keys\[0\] must have an id and a hash/],
    [
      'a hash that is the key itself',
      { keys: [{ id: 'a', hash: 'jspk_a_secret' }] },
      /hash must be "sha256:"/,
    ],
    ['a date that is none', { keys: [{ id: 'a', hash: HASH, expires: 'soon' }] }, /expires must be a date/],
    [
      'tokens for anybody',
      { jwt: { ...ISSUER, audience: undefined } },
      /must have issuer, audience and algorithms/,
    ],
    ['alg none', { jwt: { ...ISSUER, algorithms: ['none'] } }, /algorithms must be a list of some of RS256/],
    [
      'a public key as a secret',
      { jwt: { ...ISSUER, algorithms: ['HS256'] } },
      /HS256 does not go with jwks/,
    ],
    ['a secret and public keys', { jwt: { ...ISSUER, secretFile: 's' } }, /either jwks or secretFile/],
    [
      'two issuers whose clients could have one name',
      { jwt: [ISSUER, { ...ISSUER, issuer: 'https://other.example' }] },
      /must have a namePrefix/,
    ],
    ['somebody revoked who has no name', { revoked: ['k0', 17] }, /auth\.revoked\[1\] must be a text/],
    [
      'a rate at which nothing ever comes',
      { limits: { publishesPerSecond: 0 } },
      /publishesPerSecond must be a number above 0: a rule that denies/,
    ],
    [
      'one of bytes',
      { roles: { r: { limits: { bytesPerSecond: 0 } } } },
      /bytesPerSecond must be a number above 0/,
    ],
    ['an issuer twice', { jwt: [0, 1].map(() => ({ ...ISSUER, namePrefix: '' })) }, /an issuer twice/],
  ];
  test.each(cases)('%s', (_, options, message) => {
    expect(() => checkAuthOptions(options as AuthOptions)).toThrow(message);
    expect(() => checkAuthOptions(options as AuthOptions)).toThrow(
      expect.objectContaining({ code: 'ERR_JSP_OPTION_INVALID' }),
    );
  });

  function rules(rule: object): object {
    return { anonymous: { rules: [rule] } };
  }
});
