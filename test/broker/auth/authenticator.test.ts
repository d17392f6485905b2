import { createHmac, generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { makeApiKey } from '../../../src/broker/auth/api-key.ts';
import { Authenticator, type AuthSurroundings } from '../../../src/broker/auth/authenticator.ts';
import type { AuthOptions } from '../../../src/broker/auth/options.ts';
import type { AuthDecision, Principal } from '../../../src/broker/core/access/principal.ts';
import { thumbprintOf } from '../../../src/protocol/crypto/index.ts';
import { ReasonCode } from '../../../src/pubsub/command.ts';
import { encodeIdentityProof, encodeToken, IDENTITY_PROOF } from '../../../src/pubsub/credentials.ts';
import type { ConnectionFacts, Door } from '../../../src/pubsub/message-stream.ts';
import { AuthMethod } from '../../../src/pubsub/session-commands.ts';
import { generateIdentity } from '../../../src/transport/system-crypto.ts';
import { emptyFolder } from '../../empty-folder.ts';
import { AUDIENCE, claimsNow, forge, ISSUER, mint, signingKey } from './minting.ts';

const ES = signingKey('ES256', 'es');
const RS = signingKey('RS256', 'rs');
const JWT = {
  issuer: ISSUER,
  audience: AUDIENCE,
  algorithms: ['ES256', 'RS256'],
  jwks: { keys: [ES.jwk, RS.jwk] },
};
const ROLES = {
  admin: { rules: [{ allow: ['admin' as const] }, { allow: '*' as const, topics: ['#'] }] },
  own: { rules: [{ allow: '*' as const, topics: ['own/${client}/#', 'dept/${claim.dept}'] }] },
};

/** A connection whose secrets begin with this byte. */
function facts(secret = 1, door: Door = 'native'): ConnectionFacts {
  return {
    door,
    address: '192.0.2.1',
    overLimit: 'wait',
    exporter: (label, context, length) =>
      door === 'native'
        ? createHmac('sha256', `${secret} ${label}`).update(context).digest().subarray(0, length)
        : null,
    link: () => null,
  };
}

async function ask(
  auth: Authenticator,
  method: AuthMethod,
  credentials: Uint8Array | string,
  of: ConnectionFacts = facts(),
): Promise<AuthDecision> {
  return await auth.authenticate({
    method,
    credentials: Buffer.from(credentials),
    session: '',
    renews: null,
    facts: of,
  });
}

async function open(options: AuthOptions, around: AuthSurroundings = {}): Promise<Authenticator> {
  return await Authenticator.open({ roles: ROLES, ...options }, around);
}

function principalOf(decision: AuthDecision): Principal {
  if (!('principal' in decision)) throw new Error(`refused: ${decision.reason}`);
  return decision.principal;
}

const REFUSED = { code: ReasonCode.NOT_AUTHORIZED };
const EXPIRED = { code: ReasonCode.TOKEN_EXPIRED };

describe('API keys', () => {
  const key = makeApiKey('k1');
  const auth = open({ keys: [{ id: 'k1', hash: key.hash, name: 'shop', roles: ['own'], session: 'till' }] });

  test('are taken by their text alone [AUT-6]', async () => {
    expect(principalOf(await ask(await auth, AuthMethod.API_KEY, key.text))).toMatchObject({
      kind: 'apiKey',
      id: 'k1',
      name: 'shop',
      session: 'till',
      expiresAt: 0,
    });
    expect(key.text).toMatch(/^jspk_k1_[\w-]{43}$/);
    expect(key.hash).not.toContain(key.text.slice(8));
  });

  test.each([
    ['the secret of another', () => makeApiKey('k1').text],
    ['an id that nobody has', () => key.text.replace('k1', 'k2')],
    ['no secret', () => 'jspk_k1_'],
    ['the hash in the place of the key', () => key.hash],
    ['nothing', () => ''],
    ['bytes that are no text', () => Buffer.alloc(60, 0xff)],
    ['more than the key', () => `${key.text}x`],
  ])('are refused for %s, with no word of what is wrong [AUT-6]', async (_, text) => {
    expect(await ask(await auth, AuthMethod.API_KEY, text())).toEqual({
      ...REFUSED,
      reason: 'The API key is not valid here.',
    });
  });

  test('are refused once they have expired or are revoked [AUT-7]', async () => {
    const entry = { id: 'k1', hash: key.hash, name: 'shop' };
    let now = 1_000;
    const soon = await open({ keys: [{ ...entry, expires: 2_000 }] }, { wallMs: () => now });
    expect(principalOf(await ask(soon, AuthMethod.API_KEY, key.text)).expiresAt).toBe(2_000);
    now = 2_000;
    expect(await ask(soon, AuthMethod.API_KEY, key.text)).toMatchObject(EXPIRED);
    for (const revoked of ['k1', 'shop'])
      expect(
        await ask(await open({ keys: [entry], revoked: [revoked] }), AuthMethod.API_KEY, key.text),
      ).toMatchObject(REFUSED);
  });
});

describe('identities', () => {
  const identity = generateIdentity();
  const auth = open({
    identities: [{ fingerprint: identity.fingerprintText, name: 'robot', roles: ['own'] }],
  });

  function proof(of = identity, at = facts(), context = of.publicKey): Buffer {
    const exported = at.exporter(IDENTITY_PROOF.name, context, IDENTITY_PROOF.length) as Uint8Array;
    return encodeIdentityProof({ publicKey: of.publicKey, signature: of.sign('broker client', exported) });
  }

  test('are proved by signing what the connection exports [AUT-4]', async () => {
    expect(principalOf(await ask(await auth, AuthMethod.IDENTITY, proof()))).toMatchObject({
      kind: 'identity',
      id: identity.fingerprintText,
      name: 'robot',
    });
  });

  test('that the handshake proved count where nothing is shown and the broker knows them [AUT-13]', async () => {
    const arrived = (by: typeof identity) => ({ ...facts(), identity: by.fingerprintText });
    expect(principalOf(await ask(await auth, AuthMethod.NONE, '', arrived(identity)))).toMatchObject({
      kind: 'identity',
      name: 'robot',
    });
    expect(await ask(await auth, AuthMethod.NONE, '', arrived(generateIdentity()))).toMatchObject(REFUSED);
    // What is shown counts, also when it is wrong.
    const key = await ask(await auth, AuthMethod.API_KEY, 'jspk_x', arrived(identity));
    expect(key).toMatchObject(REFUSED);
    const identities = [{ fingerprint: identity.fingerprintText, roles: ['own'] }];
    const revoking = await open({ identities, revoked: [identity.fingerprintText] });
    expect(await ask(revoking, AuthMethod.NONE, '', arrived(identity))).toMatchObject(REFUSED);
  });

  test('are not proved by what was signed for another connection [AUT-5]', async () => {
    expect(await ask(await auth, AuthMethod.IDENTITY, proof(identity, facts(2)))).toMatchObject(REFUSED);
  });

  test('are not proved by a signature that is for something else [AUT-5]', async () => {
    const exported = facts().exporter(IDENTITY_PROOF.name, identity.publicKey, 32) as Uint8Array;
    for (const signer of ['client', 'server'] as const) {
      const signature = identity.sign(signer, exported);
      const credentials = encodeIdentityProof({ publicKey: identity.publicKey, signature });
      expect(await ask(await auth, AuthMethod.IDENTITY, credentials)).toMatchObject(REFUSED);
    }
    const other = generateIdentity();
    expect(
      await ask(await auth, AuthMethod.IDENTITY, proof(identity, facts(), other.publicKey)),
    ).toMatchObject(REFUSED);
  });

  test('are not proved by another key, or by bytes that are no proof', async () => {
    const other = generateIdentity();
    expect(await ask(await auth, AuthMethod.IDENTITY, proof(other))).toMatchObject({
      ...REFUSED,
      reason: `The identity ${other.fingerprintText} is not known here.`,
    });
    const mixed = encodeIdentityProof({
      publicKey: identity.publicKey,
      signature: proof(other).subarray(37),
    });
    const right = proof();
    for (const bytes of [
      mixed,
      Buffer.alloc(0),
      Buffer.of(0),
      Buffer.of(255, 255, 1),
      right.subarray(0, 103),
      Buffer.concat([right, right]),
    ])
      expect(await ask(await auth, AuthMethod.IDENTITY, bytes)).toMatchObject(REFUSED);
    for (let i = 0; i < right.length; i += 7) {
      const flipped = Buffer.from(right);
      flipped[i] ^= 0x10;
      expect(await ask(await auth, AuthMethod.IDENTITY, flipped)).toMatchObject(REFUSED);
    }
  });

  test('cannot be proved through a gateway, which is told [AUT-5]', async () => {
    const { code, reason } = (await ask(await auth, AuthMethod.IDENTITY, proof(), facts(1, 'websocket'))) as {
      code: number;
      reason: string;
    };
    expect([code, reason]).toEqual([
      ReasonCode.NOT_AUTHORIZED,
      expect.stringMatching(/use an API key or a token/),
    ]);
  });

  test('bind tokens that name them [AUT-12]', async () => {
    const bound = await mint(ES, { cnf: { jkt: thumbprintOf(identity.publicKey) } });
    const tokens = await open({ jwt: JWT });
    expect(principalOf(await ask(tokens, AuthMethod.JWT, encodeToken(bound, proof()))).name).toBe('bob');
    const notProved = { ...REFUSED, reason: expect.stringMatching(/bound to a key/) };
    expect(await ask(tokens, AuthMethod.JWT, bound)).toMatchObject(notProved);
    expect(await ask(tokens, AuthMethod.JWT, encodeToken(bound, proof(identity, facts(2))))).toMatchObject(
      notProved,
    );
    expect(await ask(tokens, AuthMethod.JWT, encodeToken(bound, proof(generateIdentity())))).toMatchObject(
      notProved,
    );
    for (const cnf of [
      { 'x5t#S256': 'abc' },
      { jkt: thumbprintOf(identity.publicKey), kid: '1' },
      {},
      'key',
      null,
    ]) {
      const unknown = await mint(ES, { cnf } as never);
      expect(await ask(tokens, AuthMethod.JWT, encodeToken(unknown, proof()))).toMatchObject(REFUSED);
    }
  });
});

describe('tokens', () => {
  const auth = open({ jwt: JWT });

  test.each([ES, RS])(
    'signed by a key of the issuer are taken, with name and roles of their claims: $alg [AUT-8]',
    async (key) => {
      const expires = Math.floor(Date.now() / 1_000) + 300;
      const token = await mint(key, {
        exp: expires,
        jti: 'j1',
        roles: ['own', 'unknown'],
        dept: 'x',
        jsp_session: 's',
      });
      const principal = principalOf(await ask(await auth, AuthMethod.JWT, token));
      expect(principal).toMatchObject({
        kind: 'jwt',
        id: 'j1',
        name: 'bob',
        expiresAt: expires * 1_000,
        session: 's',
      });
      expect(
        ['own/bob/a', 'dept/x', 'own/alice/a', 'dept/y'].map((topic) => principal.access?.mayPublish(topic)),
      ).toEqual([true, true, false, false]);
    },
  );

  test('may have roles as a text, and be of types that give access', async () => {
    const roles = await mint(ES, { roles: 'own admin' }, { typ: 'at+jwt' });
    expect(principalOf(await ask(await auth, AuthMethod.JWT, roles)).access?.mayAdminister()).toBe(true);
  });

  const now = Math.floor(Date.now() / 1_000);
  const stranger = { ...signingKey('ES256', 'es') };
  const spki = RS.publicKey.export({ type: 'spki', format: 'pem' }) as string;
  const hmac = (secret: string | Buffer, text: string) => createHmac('sha256', secret).update(text).digest();
  const signed = (header: object, sign: (text: string) => Uint8Array): string => {
    const unsigned = forge(header, claimsNow()).slice(0, -1);
    return `${unsigned}.${Buffer.from(sign(unsigned)).toString('base64url')}`;
  };
  const forgeries: [string, () => Promise<string> | string][] = [
    ['alg none', () => forge({ alg: 'none' }, claimsNow())],
    ['alg None', () => forge({ alg: 'None', kid: 'es' }, claimsNow(), 'AA')],
    ['no alg', () => forge({ kid: 'es' }, claimsNow(), 'AA')],
    [
      'the RSA key as the secret of an HMAC',
      () => signed({ alg: 'HS256', kid: 'rs' }, (text) => hmac(spki, text)),
    ],
    [
      'the JWK as the secret of an HMAC',
      () =>
        signed({ alg: 'HS256', kid: 'rs' }, (text) =>
          hmac(Buffer.from(RS.jwk.n as string, 'base64url'), text),
        ),
    ],
    ['an empty HMAC secret', () => signed({ alg: 'HS256' }, (text) => hmac('', text))],
    ['a key that it brings itself (jwk)', () => mint(stranger, {}, { jwk: stranger.jwk })],
    [
      'a key that it brings itself, without a kid',
      () => mint({ ...stranger, jwk: {} as never }, {}, { jwk: stranger.jwk }),
    ],
    ['a URL of keys (jku)', () => mint(stranger, {}, { jku: 'https://evil.example/jwks.json' })],
    ['a URL of a certificate (x5u)', () => mint(stranger, {}, { x5u: 'https://evil.example/cert' })],
    ['a certificate (x5c)', () => mint(stranger, {}, { x5c: ['MIIB'] })],
    ['the kid of another key', () => mint({ ...stranger, jwk: { ...stranger.jwk, kid: 'rs' } })],
    ['a kid that is not known', () => mint({ ...stranger, jwk: { ...stranger.jwk, kid: '../../dev/null' } })],
    ['a kid of another key of the same issuer', () => mint({ ...RS, jwk: { ...RS.jwk, kid: 'es' } })],
    ['an algorithm of the same key that is not configured', () => mint({ ...RS, alg: 'PS256' })],
    [
      'crit',
      () =>
        mint(ES, {}, { crit: ['exp'], exp: 1 }).catch(() =>
          forge({ alg: 'ES256', kid: 'es', crit: ['exp'], exp: 1 }, claimsNow(), 'AA'),
        ),
    ],
    ['a signature that is cut', async () => (await mint(ES)).slice(0, -4)],
    ['no signature', async () => (await mint(ES)).replace(/[^.]+$/, '')],
    ['a signature of zeros', async () => (await mint(ES)).replace(/[^.]+$/, 'A'.repeat(86))],
    [
      'claims that were changed',
      async () => {
        const [header, , signature] = (await mint(ES)).split('.');
        return `${header}.${Buffer.from(JSON.stringify(claimsNow())).toString('base64url')}.${signature}`;
      },
    ],
    ['another issuer', () => mint(ES, { iss: 'https://evil.example' })],
    ['a list of issuers', () => mint(ES, { iss: [ISSUER] as never })],
    ['no issuer', () => mint(ES, { iss: undefined })],
    ['another audience', () => mint(ES, { aud: 'shop' })],
    ['no audience', () => mint(ES, { aud: undefined })],
    ['no expiry', () => mint(ES, { exp: undefined })],
    ['an expiry that is no number', () => mint(ES, { exp: '9999999999' as never })],
    ['a beginning that is to come', () => mint(ES, { nbf: now + 60 })],
    ['no name', () => mint(ES, { sub: undefined })],
    ['an empty name', () => mint(ES, { sub: '' })],
    ['a name with control characters', () => mint(ES, { sub: 'bob\n' })],
    ['a name with half a character', () => mint(ES, { sub: 'bob\ud800' })],
    ['a name that is too long', () => mint(ES, { sub: 'b'.repeat(256) })],
    ['a session that is none', () => mint(ES, { jsp_session: 7 } as never)],
    ['the type of another purpose', () => mint(ES, {}, { typ: 'logout+jwt' })],
    ['an encrypted one', () => 'a.b.c.d.e'],
    ['a JSON serialization', () => JSON.stringify({ payload: 'a', signatures: [] })],
    ['nothing', () => ''],
    ['claims that are no object', () => forge({ alg: 'ES256', kid: 'es' }, [], 'AA')],
  ];
  test.each(forgeries)('are refused with %s [AUT-9]', async (_, make) => {
    expect(await ask(await auth, AuthMethod.JWT, await make())).toMatchObject(REFUSED);
  });

  test('are refused when they have expired, by a code of its own [AUT-11]', async () => {
    expect(await ask(await auth, AuthMethod.JWT, await mint(ES, { exp: now - 1 }))).toMatchObject(EXPIRED);
  });

  test('that were taken once are refused all the same when they have expired [AUT-11]', async () => {
    let wallMs = Date.now();
    const clocked = await open({ jwt: JWT }, { wallMs: () => wallMs });
    const token = await mint(ES, { exp: Math.floor(wallMs / 1_000) + 10 });
    expect(principalOf(await ask(clocked, AuthMethod.JWT, token))).toBe(
      principalOf(await ask(clocked, AuthMethod.JWT, token)),
    );
    wallMs += 10_000;
    expect(await ask(clocked, AuthMethod.JWT, token)).toMatchObject(EXPIRED);
  });

  test('count no longer than their age allows, and only if that is known [AUT-11]', async () => {
    const aged = await open({ jwt: { ...JWT, maxAgeMs: 60_000 } });
    expect(principalOf(await ask(aged, AuthMethod.JWT, await mint(ES, { iat: now - 10 }))).expiresAt).toBe(
      (now + 50) * 1_000,
    );
    expect(await ask(aged, AuthMethod.JWT, await mint(ES, { iat: now - 100 }))).toMatchObject(EXPIRED);
    expect(await ask(aged, AuthMethod.JWT, await mint(ES, { iat: undefined }))).toMatchObject(REFUSED);
    expect(await ask(aged, AuthMethod.JWT, await mint(ES, { iat: now + 100 }))).toMatchObject(REFUSED);
  });

  test('are refused when their id or their name is revoked', async () => {
    for (const revoked of ['j1', 'bob']) {
      const auth = await open({ jwt: JWT, revoked: [revoked] });
      expect(await ask(auth, AuthMethod.JWT, await mint(ES, { jti: 'j1' }))).toMatchObject({
        ...REFUSED,
        reason: 'The token has been revoked.',
      });
      expect(
        principalOf(await ask(auth, AuthMethod.JWT, await mint(ES, { jti: 'j2', sub: 'alice' }))).name,
      ).toBe('alice');
    }
  });

  test('without a kid are tried with each key that could be meant', async () => {
    const [one, other] = [signingKey('ES256', 'a'), signingKey('ES256', 'b')];
    const auth = await open({ jwt: { ...JWT, jwks: { keys: [one.jwk, other.jwk] } } });
    expect(
      principalOf(await ask(auth, AuthMethod.JWT, await mint({ ...other, jwk: {} as never }))).name,
    ).toBe('bob');
    expect(await ask(auth, AuthMethod.JWT, await mint({ ...stranger, jwk: {} as never }))).toMatchObject(
      REFUSED,
    );
  });

  test('of two issuers are each of its own keys, and their clients have different names [AUT-8]', async () => {
    const other = { ...JWT, issuer: 'https://other.example', jwks: { keys: [RS.jwk] }, namePrefix: 'other:' };
    const two = await open({ jwt: [{ ...JWT, jwks: { keys: [ES.jwk] }, namePrefix: '' }, other] });
    expect(principalOf(await ask(two, AuthMethod.JWT, await mint(ES))).name).toBe('bob');
    expect(principalOf(await ask(two, AuthMethod.JWT, await mint(RS, { iss: other.issuer }))).name).toBe(
      'other:bob',
    );
    expect(await ask(two, AuthMethod.JWT, await mint(ES, { iss: other.issuer }))).toMatchObject(REFUSED);
    expect(await ask(two, AuthMethod.JWT, await mint(RS))).toMatchObject(REFUSED);
  });

  test('of a secret are taken where there is one, and that is long enough', async () => {
    const folder = emptyFolder();
    const secretFile = join(folder, 'secret');
    const secret = 's'.repeat(32);
    writeFileSync(secretFile, `${secret}\n`);
    const jwt = { ...JWT, algorithms: ['HS256'], jwks: undefined, secretFile };
    const shared = await open({ jwt });
    const key = { alg: 'HS256', privateKey: Buffer.from(secret) };
    expect(principalOf(await ask(shared, AuthMethod.JWT, await mint(key))).name).toBe('bob');
    expect(
      await ask(shared, AuthMethod.JWT, await mint({ ...key, privateKey: Buffer.from('t'.repeat(32)) })),
    ).toMatchObject(REFUSED);
    expect(await ask(shared, AuthMethod.JWT, await mint(RS))).toMatchObject(REFUSED);
    writeFileSync(secretFile, 'short\n');
    await expect(open({ jwt })).rejects.toThrow(/has 5 bytes; a secret has at least 32/);
  });
});

describe('keys of an issuer that cannot be meant are refused at the start [AUT-2]', () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  test.each([
    ['a private key', { keys: [privateKey.export({ format: 'jwk' })] }, /is a secret one/],
    ['a secret', { keys: [{ kty: 'oct', k: 'AAAA' }] }, /is a secret one/],
    ['none', { keys: [] }, /has 1 to 64 keys/],
    ['something else', { keys: ['key'] }, /one of the keys is none/],
    ['a file that is not there', '/nowhere/jwks.json', /ENOENT/],
    ['a URL that others can answer for', 'http://id.example/jwks.json', /must be the URL of https/],
    ['a URL of something else', 'ftp://id.example/jwks.json', /must be the URL of https/],
  ])('%s', async (_, jwks, message) => {
    await expect(open({ jwt: { ...JWT, jwks: jwks as never } })).rejects.toThrow(message);
  });
});

describe('somebody who was known before', () => {
  const key = makeApiKey('k1');
  const other = makeApiKey('k1');
  const identity = generateIdentity();
  const options: AuthOptions = {
    anonymous: { roles: ['own'] },
    keys: [{ id: 'k1', hash: key.hash, name: 'shop', roles: ['own'] }],
    identities: [{ fingerprint: identity.fingerprintText, roles: ['own'] }],
    jwt: JWT,
  };

  test('is again who he is now, or nobody any more [AUT-14]', async () => {
    const before = await open(options);
    const shop = principalOf(await ask(before, AuthMethod.API_KEY, key.text));
    const bob = principalOf(await ask(before, AuthMethod.JWT, await mint(ES, { roles: ['own'] })));
    const nobody = before.anonymous as Principal;
    const again = async (changes: Partial<AuthOptions>, principal: Principal) =>
      (await open({ ...options, ...changes })).again(principal);
    expect(await again({}, shop)).toMatchObject({ name: 'shop' });
    expect(await again({ keys: [] }, shop)).toBeNull();
    expect(await again({ keys: [{ id: 'k1', hash: other.hash, name: 'shop' }] }, shop)).toBeNull();
    expect(await again({ revoked: ['k1'] }, shop)).toBeNull();
    expect(
      (
        await again({ keys: [{ id: 'k1', hash: key.hash, name: 'shop', roles: ['admin'] }] }, shop)
      )?.access?.mayAdminister(),
    ).toBe(true);
    expect(await again({}, bob)).toMatchObject({ name: 'bob', expiresAt: bob.expiresAt });
    expect((await again({ roles: { own: {} } }, bob))?.access?.mayPublish('own/bob/x')).toBe(false);
    expect(await again({ jwt: { ...JWT, jwks: { keys: [RS.jwk] } } }, bob)).toBeNull();
    expect(await again({ jwt: { ...JWT, nameClaim: 'email' } }, bob)).toBeNull();
    expect(await again({ jwt: undefined }, bob)).toBeNull();
    expect(await again({ revoked: ['bob'] }, bob)).toBeNull();
    expect(await again({}, nobody)).toMatchObject({ kind: 'anonymous' });
    expect(await again({ anonymous: undefined }, nobody)).toBeNull();
    // Of those who are away no more is known than this.
    const away = { kind: 'identity', name: identity.fingerprintText, id: identity.fingerprintText } as const;
    expect(before.again(away)).toMatchObject(away);
    // What one with a token may do is not known before it is back: nothing is taken from it meanwhile.
    expect(before.again({ kind: 'jwt', name: 'bob', id: 'j' })).toMatchObject({ name: 'bob', access: null });
    for (const principal of [shop, bob, nobody]) expect(before.again(principal)).toBe(principal);
    expect(await again({ identities: [] }, away as Principal)).toBeNull();
    // What is kept for it is its name's, by whatever key.
    const kept = { kind: 'apiKey', name: 'shop', id: 'k1' } as Principal;
    const next = { id: 'k2', hash: other.hash, name: 'shop' };
    expect(await again({ keys: [next] }, kept)).toMatchObject({ name: 'shop', id: 'k2' });
    expect(await again({ keys: [next] }, shop)).toBeNull();
    expect(await again({ keys: [next], revoked: ['k2'] }, kept)).toBeNull();
    expect(await again({ keys: [next], revoked: ['shop'] }, kept)).toBeNull();
    expect(await again({ keys: [], identities: [] }, kept)).toBeNull();
    const token = { kind: 'jwt', name: 'bob', id: 'j' } as Principal;
    expect(await again({ revoked: ['j'] }, token)).toMatchObject({ name: 'bob', id: '' });
    expect(await again({ revoked: ['bob'] }, token)).toBeNull();
    expect(await again({ jwt: undefined }, token)).toBeNull();
  });
});
