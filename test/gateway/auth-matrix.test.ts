/** Who may do what, by each way to prove who one is and each door: one broker that lets everybody do everything under `open/`, and one that lets the same do nothing there. [AUT-1] */

import { createHmac } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { makeApiKey } from '../../src/broker/auth/api-key.ts';
import type { AuthOptions, AuthRule, KeyEntry } from '../../src/broker/index.ts';
import { type BrokerClient, type Credentials, connectClient } from '../../src/client/index.ts';
import { generateIdentity } from '../../src/index.ts';
import { ReasonCode } from '../../src/pubsub/command.ts';
import { AUDIENCE, claimsNow, forge, ISSUER, mint, signingKey } from '../broker/auth/minting.ts';
import { gatewayInMemory, type TestGateway } from './gateway-server.ts';
import { WsClient } from './ws-client.ts';

const KEY = makeApiKey('k1');
const REVOKED = makeApiKey('k2');
const OVER = makeApiKey('k3');
const ROOT = makeApiKey('root');
const IDENTITY = generateIdentity();
const SIGNING = signingKey('ES256', 'es');
const ALL: AuthRule[] = [{ allow: '*', topics: ['#'] }, { allow: ['admin'] }];
const OPEN: AuthRule[] = [{ allow: '*', topics: ['open/#'] }, { allow: ['admin'] }];
const CLOSED: AuthRule[] = [{ allow: '*', topics: ['other/#', 'open'] }];

function authWith(rules: AuthRule[]): AuthOptions {
  return {
    anonymous: { roles: ['it'] },
    roles: { it: { rules }, all: { rules: ALL } },
    keys: [
      { id: 'k1', hash: KEY.hash, roles: ['it'] },
      { id: 'k2', hash: REVOKED.hash, roles: ['it'] },
      { id: 'k3', hash: OVER.hash, roles: ['it'], expires: '2020-01-01' },
      { id: 'root', hash: ROOT.hash, roles: ['all'] },
    ],
    identities: [{ fingerprint: IDENTITY.fingerprintText, roles: ['it'] }],
    jwt: {
      issuer: ISSUER,
      audience: AUDIENCE,
      algorithms: ['ES256'],
      jwks: { keys: [SIGNING.jwk] },
      roles: ['it'],
    },
    revoked: ['k2', 'revoked-token'],
  };
}

let open: TestGateway;
let closed: TestGateway;
let strict: TestGateway;
let token = '';
const roots: BrokerClient[] = [];
beforeAll(async () => {
  token = await mint(SIGNING);
  const { anonymous: _, ...noStrangers } = authWith(OPEN);
  [open, closed, strict] = await Promise.all(
    [authWith(OPEN), authWith(CLOSED), noStrangers].map((auth) => gatewayInMemory({}, { auth })),
  );
  for (const { broker } of [open, closed]) {
    const root = await connectClient(broker.url, { credentials: { apiKey: ROOT.text } });
    await root.reply('open/request', () => 'answer');
    roots.push(root);
  }
});
afterAll(async () => {
  for (const root of roots) root.destroy();
  for (const server of [open, closed, strict]) {
    expect(server.faults).toEqual([]);
    await server.close();
  }
});

type Action = 'publish' | 'subscribe' | 'share' | 'request' | 'admin';
type Method = 'nothing' | 'key' | 'token' | 'identity';

/** What comes of it: `allowed`, or the code by which it is refused. */
type Outcome = string;

const FILTERS = { subscribe: 'open/#', share: '$share/g/open/#' };

async function native(
  server: TestGateway,
  credentials: Credentials | undefined,
  action: Action,
): Promise<Outcome> {
  try {
    const client = await connectClient(server.broker.url, { credentials });
    try {
      if (action === 'publish') await client.publish('open/x', 'hello', { qos: 1 });
      else if (action === 'request')
        expect((await client.request('open/request', 'question')).text()).toBe('answer');
      else if (action === 'admin') await client.request('$sys/admin/status', '{}');
      else await client.subscribe(FILTERS[action]);
      return 'allowed';
    } finally {
      client.destroy();
    }
  } catch (error) {
    return codeOf(error);
  }
}

/** What a broker that is asked with QoS 0 answers by a status is one with what it refuses; that a request was let through, and nobody answers it, is one with its answer. */
function codeOf(error: unknown): Outcome {
  const { code, applicationCode } = error as { code: string; applicationCode?: number };
  if (code !== 'ERR_JSP_REQUEST_FAILED') return code;
  return applicationCode === 403 ? 'ERR_JSP_NOT_AUTHORIZED' : 'allowed';
}

async function http(server: TestGateway, bearer: string | null, action: Action): Promise<Outcome> {
  const headers: Record<string, string> = bearer === null ? {} : { authorization: `Bearer ${bearer}` };
  const [method, path] = {
    publish: ['POST', '/v1/topics/open/x'],
    subscribe: ['GET', '/v1/topics/open/nothing'],
    share: ['GET', '/v1/events?filter=$share/g/open/%23'],
    request: ['POST', '/v1/requests/open/request'],
    admin: ['GET', '/v1/admin/status'],
  }[action];
  const response = await server.fetch(path, { method, headers, body: method === 'POST' ? 'question' : null });
  if (response.ok) {
    await response.body?.cancel();
    return 'allowed';
  }
  const { code } = (await response.json()) as { code: string };
  return code === 'NO_VALUE' ? 'allowed' : `${response.status} ${code}`;
}

async function sse(
  server: TestGateway,
  bearer: string | null,
  action: 'subscribe' | 'share',
): Promise<Outcome> {
  const headers: Record<string, string> = bearer === null ? {} : { authorization: `Bearer ${bearer}` };
  const response = await server.fetch(`/v1/events?filter=${encodeURIComponent(FILTERS[action])}`, {
    headers,
  });
  if (!response.ok) return `${response.status} ${((await response.json()) as { code: string }).code}`;
  await response.body?.cancel();
  return 'allowed';
}

async function webSocket(server: TestGateway, bearer: string | null, action: Action): Promise<Outcome> {
  const client = new WsClient(
    `${server.gateway.url}/v1/ws`,
    bearer === null ? {} : { authorization: `Bearer ${bearer}` },
  );
  const over = client.closed;
  // Else it is taken for anonymous only when it has said nothing for 5 s.
  if (bearer === null) client.socket.on('open', () => client.say({ type: 'auth' }));
  try {
    await client.hear('welcome').catch(async () => Promise.reject(new Error(String(await over))));
  } catch (error) {
    return (error as Error).message;
  }
  const asked = {
    publish: { type: 'publish', topic: 'open/x', text: 'hello' },
    subscribe: { type: 'subscribe', filters: [FILTERS.subscribe] },
    share: { type: 'subscribe', filters: [FILTERS.share] },
    request: { type: 'request', topic: 'open/request', text: 'question' },
    admin: { type: 'request', topic: '$sys/admin/status', json: {} },
  }[action];
  const answer = action === 'subscribe' || action === 'share' ? 'subscribed' : 'result';
  client.say({ ...asked, id: 1 });
  const heard = await client.hear([answer, 'error'], 1);
  client.socket.terminate();
  if (heard.type === answer) return heard.status === 403 ? 'NOT_AUTHORIZED' : 'allowed'; // as the broker answers its operators
  return String(heard.code);
}

const ACTIONS: Action[] = ['publish', 'subscribe', 'share', 'request', 'admin'];
const BEARERS: Record<Exclude<Method, 'identity'>, () => string | null> = {
  nothing: () => null,
  key: () => KEY.text,
  token: () => token,
};
const CREDENTIALS: Record<Method, () => Credentials | undefined> = {
  nothing: () => undefined,
  key: () => ({ apiKey: KEY.text }),
  token: () => ({ jwt: token }),
  identity: () => ({ identity: IDENTITY }),
};

describe.each(ACTIONS)('%s is allowed where a rule says so, and refused where none does', (action) => {
  test.each(['nothing', 'key', 'token', 'identity'] as const)('natively with %s', async (method) => {
    const of = CREDENTIALS[method];
    expect(await Promise.all([native(open, of(), action), native(closed, of(), action)])).toEqual([
      'allowed',
      'ERR_JSP_NOT_AUTHORIZED',
    ]);
  });

  test.each(['nothing', 'key', 'token'] as const)('over HTTP with %s', async (method) => {
    const of = BEARERS[method];
    expect(await Promise.all([http(open, of(), action), http(closed, of(), action)])).toEqual([
      'allowed',
      '403 NOT_AUTHORIZED',
    ]);
  });

  test.each(['nothing', 'key', 'token'] as const)('over WebSocket with %s', async (method) => {
    const of = BEARERS[method];
    expect(await Promise.all([webSocket(open, of(), action), webSocket(closed, of(), action)])).toEqual([
      'allowed',
      'NOT_AUTHORIZED',
    ]);
  });

  test.runIf(action === 'subscribe' || action === 'share').each(['nothing', 'key', 'token'] as const)(
    'over SSE with %s',
    async (method) => {
      const of = BEARERS[method];
      const asked = action as 'subscribe' | 'share';
      expect(await Promise.all([sse(open, of(), asked), sse(closed, of(), asked)])).toEqual([
        'allowed',
        '403 NOT_AUTHORIZED',
      ]);
    },
  );
});

describe('credentials that are none get in by no door', () => {
  const stranger = signingKey('ES256', 'es');
  const spki = SIGNING.publicKey.export({ type: 'spki', format: 'pem' }) as string;
  const confused = () => {
    const unsigned = forge({ alg: 'HS256', kid: 'es' }, claimsNow()).slice(0, -1);
    return `${unsigned}.${createHmac('sha256', spki).update(unsigned).digest('base64url')}`;
  };
  const cases: [string, () => string | Promise<string>, boolean?][] = [
    ['a key that nobody has', () => makeApiKey('k9').text],
    ['the id of a key with another secret', () => makeApiKey('k1').text],
    ['a revoked key', () => REVOKED.text],
    ['a key that has expired', () => OVER.text, true],
    ['a token without a signature', () => forge({ alg: 'none' }, claimsNow())],
    ['a token signed with the public key', confused],
    ['a token that brings its key (jwk)', () => mint(stranger, {}, { jwk: stranger.jwk })],
    [
      'a token that says where its key is (jku)',
      () => mint(stranger, {}, { jku: 'http://127.0.0.1:9/jwks' }),
    ],
    ['a token with the kid of another key', () => mint(stranger)],
    ['a token of another issuer', () => mint(SIGNING, { iss: 'https://evil.example' })],
    ['a token for another audience', () => mint(SIGNING, { aud: 'shop' })],
    ['a revoked token', () => mint(SIGNING, { jti: 'revoked-token' })],
    ['a token that has expired', () => mint(SIGNING, { exp: Math.floor(Date.now() / 1_000) - 60 }), true],
    ['a token bound to a key that is not proved', () => mint(SIGNING, { cnf: { jkt: 'x'.repeat(43) } })],
    ['nonsense', () => 'jspk'],
  ];
  test.each(cases)('%s', async (_, make, isOver = false) => {
    const text = await make();
    const credentials = text.startsWith('jspk_') ? { apiKey: text } : { jwt: text };
    const outcomes = await Promise.all([
      native(open, credentials, 'publish'),
      http(open, text, 'publish'),
      sse(open, text, 'subscribe'),
      webSocket(open, text, 'publish'),
    ]);
    expect(outcomes).toEqual([
      isOver ? 'ERR_JSP_TOKEN_EXPIRED' : 'ERR_JSP_NOT_AUTHORIZED',
      '401 CREDENTIALS_REFUSED',
      '401 CREDENTIALS_REFUSED',
      isOver ? '4010' : '4001',
    ]);
  });

  test('and nobody who shows nothing, where such are not let in', async () => {
    expect(
      await Promise.all([
        native(strict, undefined, 'publish'),
        http(strict, null, 'publish'),
        sse(strict, null, 'subscribe'),
        webSocket(strict, null, 'publish'),
      ]),
    ).toEqual(['ERR_JSP_NOT_AUTHORIZED', '401 CREDENTIALS_MISSING', '401 CREDENTIALS_MISSING', '4001']);
  });
});

test('who is told anew loses what he may not have any more, by every door, and keeps the rest [AUT-14]', async () => {
  const credentials = { apiKey: KEY.text };
  const server = await gatewayInMemory({}, { auth: authWith(OPEN) });
  try {
    const [client, other] = [
      await connectClient(server.broker.url, { credentials }),
      await connectClient(server.broker.url, { credentials: { apiKey: ROOT.text } }),
    ];
    const bearer = { authorization: `Bearer ${KEY.text}` };
    const socket = new WsClient(`${server.gateway.url}/v1/ws`, bearer);
    await socket.hear('welcome');
    await socket.ask({ type: 'subscribe', id: 1, filters: ['open/#'] }, 'subscribed');
    const events = await server.fetch('/v1/events?filter=open/%23', { headers: bearer });
    const reading = new Response(events.body).text();
    const subscription = await client.subscribe('open/#', () => {});
    const said = vi.fn();
    client.on('notice', said);
    // The role may do less ...
    await server.broker.reload({ auth: authWith(CLOSED) });
    expect(await subscription.closed).toMatchObject({ applicationCode: ReasonCode.NOT_AUTHORIZED });
    expect(said).toHaveBeenCalledWith(expect.objectContaining({ about: 'revoked', text: 'open/#' }));
    expect((await socket.hear('ended')).code).toBe('NOT_AUTHORIZED');
    expect(await reading).toMatch(/event: goodbye\ndata: .*NOT_AUTHORIZED/);
    await client.publish('other/x', 'still here', { qos: 1 });
    // ... then the key is gone.
    const { keys, ...rest } = authWith(OPEN);
    await server.broker.reload({
      auth: { ...rest, keys: (keys as KeyEntry[]).filter(({ id }) => id !== 'k1') },
    });
    expect(await client.closed).toMatchObject({ code: 'ERR_JSP_NOT_AUTHORIZED' });
    expect([4001, 4003]).toContain(await socket.closed);
    expect(await other.ping()).toBeGreaterThan(0);
    // What cannot be meant changes nothing.
    await expect(server.broker.reload({ auth: { keys: { file: '/nowhere/keys.toml' } } })).rejects.toThrow(
      /cannot be read/,
    );
    expect(await other.ping()).toBeGreaterThan(0);
    other.destroy();
    expect(server.faults).toEqual([]);
  } finally {
    await server.close();
  }
});

test('what a client may not have does not reach it, and what it may not say reaches nobody', async () => {
  const [, root] = roots;
  const heard: string[] = [];
  await root.subscribe('#', ({ topic }) => void heard.push(topic));
  const client = await connectClient(closed.broker.url, { credentials: { apiKey: KEY.text } });
  const got: string[] = [];
  await client.subscribe('other/#', ({ topic }) => void got.push(topic));
  client.publish('open/secret', 'x');
  client.publish('other/x', 'x');
  await client.flush();
  root.publish('open/secret2', 'x');
  root.publish('other/y', 'x');
  await root.flush();
  await client.ping();
  expect([heard.sort(), got.sort()]).toEqual([
    ['open/secret2', 'other/x', 'other/y'],
    ['other/x', 'other/y'],
  ]);
  client.destroy();
});
