import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { JspError } from '../../src/base/errors.ts';
import { makeApiKey } from '../../src/broker/auth/api-key.ts';
import type { AuthOptions } from '../../src/broker/auth/options.ts';
import { CloseCode, goodbyeOf } from '../../src/gateway/goodbye.ts';
import { ReasonCode } from '../../src/pubsub/command.ts';
import { gatewayInMemory, type TestGateway } from './gateway-server.ts';
import { WsClient } from './ws-client.ts';

const [ann, annAgain, bob, brief, eager] = ['ann', 'ann2', 'bob', 'brief', 'eager'].map((id) =>
  makeApiKey(id),
);
const rules = [
  { allow: ['publish', 'subscribe'], topics: ['open/#', 'own/${client}/#'] },
  { deny: ['subscribe'], topics: ['open/secret/#'] },
] as const;
/** Long enough to connect by two doors, on a machine that does much else. */
const BRIEF_MS = 4_000;

let server: TestGateway;
beforeAll(async () => {
  const entry = ({ id, hash }: { id: string; hash: string }, name: string) => ({ id, hash, name, rules });
  const limits = { publishesPerSecond: 1, publishesBurst: 2 };
  const auth: AuthOptions = {
    keys: [
      entry(ann, 'ann'),
      entry(annAgain, 'ann'),
      entry(bob, 'bob'),
      { ...entry(eager, 'eager'), limits },
    ],
  };
  server = await gatewayInMemory({}, { auth });
});
afterAll(async () => {
  expect(server.faults).toEqual([]);
  await server.close();
});

async function opened(headers: Record<string, string> = {}, query = ''): Promise<WsClient> {
  const client = new WsClient(`${server.gateway.url}/v1/ws${query}`, headers);
  await once(client.socket, 'open');
  return client;
}

describe('a WebSocket client with credentials [GW-52]', () => {
  test('shows them in its first message, or in the header of its request, which is enough', async () => {
    const byMessage = await opened();
    byMessage.say({ type: 'auth', token: ann.text });
    await byMessage.hear('welcome');
    await byMessage.close();
    const byHeader = await opened({ authorization: `Bearer ${ann.text}` }, '?session=s&expiryMs=1000');
    expect(await byHeader.hear('welcome')).toMatchObject({ session: 's', expiresMs: null });
    await byHeader.close();
  });

  test('is let go with 4001 where they are wrong, or missing, or none at all', async () => {
    const forged = `${ann.text.slice(0, -1)}${ann.text.endsWith('A') ? 'B' : 'A'}`;
    for (const first of [
      { type: 'auth', token: forged },
      { type: 'auth' },
      { type: 'ping', id: 1 },
      { type: 'auth', token: 'no.to.ken' },
    ]) {
      const client = await opened();
      client.say(first);
      expect(await client.hear('goodbye')).toMatchObject({ code: 'NOT_AUTHORIZED', retryAfterMs: null });
      expect(await client.closed).toBe(4001);
    }
    const client = await opened({ authorization: `Bearer ${forged}` });
    expect(await client.closed).toBe(4001);
  });

  test('is told of what it may not do, and goes on; nothing of that is done', async () => {
    const client = await opened();
    client.say({ type: 'auth', token: ann.text });
    await client.hear('welcome');
    for (const filter of ['closed/#', '#', 'own/bob/#', 'open/secret/a']) {
      const refused = await client.ask(
        { type: 'subscribe', id: filter, filters: ['open/a', filter] },
        'error',
      );
      expect(refused).toMatchObject({ code: 'NOT_AUTHORIZED', filter });
    }
    for (const topic of ['closed/x', 'own/bob/x']) {
      expect(await client.ask({ type: 'publish', id: topic, topic, text: '' }, 'error')).toMatchObject({
        code: 'NOT_AUTHORIZED',
      });
    }
    await client.ask({ type: 'subscribe', id: 1, filters: ['open/#'] }, 'subscribed');
    await client.ask({ type: 'publish', id: 2, topic: 'open/secret/x', text: 'withheld' });
    await client.ask({ type: 'publish', id: 3, topic: 'open/x', text: 'given' });
    expect(await client.hear('message')).toMatchObject({ topic: 'open/x', text: 'given' });
    expect((await client.rest()).map(({ type }) => type)).toEqual(['position']); // and not what was withheld
    await client.close();
  });

  test('gives the broker new ones in the same connection; those of another are the end of it [GW-57]', async () => {
    const client = await opened();
    client.say({ type: 'auth', token: ann.text });
    await client.ask({ type: 'subscribe', id: 1, filters: ['open/#'] }, 'subscribed');
    expect(await client.ask({ type: 'refresh', id: 2, token: annAgain.text })).toMatchObject({
      expiresMs: null,
    });
    await client.ask({ type: 'publish', id: 3, topic: 'open/y', text: 'still here' });
    expect(await client.hear('message')).toMatchObject({ text: 'still here' });
    client.say({ type: 'refresh', id: 4, token: bob.text });
    expect(await client.hear('goodbye')).toMatchObject({ code: 'NOT_AUTHORIZED' });
    expect(await client.closed).toBe(4001);
  });
});

test('who publishes faster than his credentials allow is told when to come again, and stays [GW-55]', async () => {
  const client = await opened();
  client.say({ type: 'auth', token: eager.text });
  await client.hear('welcome');
  // In one breath: a second later one more is allowed.
  for (const id of [1, 2, 3]) client.say({ type: 'publish', id, topic: 'open/a', text: '' });
  for (const id of [1, 2]) await client.hear('result', id);
  const refused = await client.hear('error', 3);
  expect(refused).toMatchObject({ code: 'LIMITED', retryAfterMs: expect.any(Number) });
  expect(refused.retryAfterMs).toBeGreaterThan(0);
  expect(refused.retryAfterMs).toBeLessThanOrEqual(1_000);
  await client.ask({ type: 'ping', id: 4 });
  await client.close();
});

describe('a stream of events with credentials', () => {
  test('is a problem without, with wrong ones, and for what they do not allow [GW-60]', async () => {
    const status = async (filter: string, headers = {}) => {
      const response = await server.fetch(`/v1/events?filter=${encodeURIComponent(filter)}`, { headers });
      await response.body?.cancel();
      return response.status;
    };
    expect(await status('open/a')).toBe(401);
    expect(await status('open/a', { authorization: 'Bearer jspk_ann_x' })).toBe(401);
    expect(await status('closed/a', { authorization: `Bearer ${ann.text}` })).toBe(403);
    expect(await status('open/a', { authorization: `Bearer ${ann.text}` })).toBe(200);
  });
});

test('who has credentials that end is told in time, and let go with 4010; a stream of events ends with a goodbye [GW-47]', async () => {
  const before = server;
  const key = { id: brief.id, hash: brief.hash, rules };
  server = await gatewayInMemory({}, { auth: { keys: [key] } });
  const client = await opened();
  // Only now, when all stands: a busy machine may take long to start it.
  await server.broker.reload({ auth: { keys: [{ ...key, expires: Date.now() + BRIEF_MS }] } });
  client.say({ type: 'auth', token: brief.text });
  const { expiresMs } = await client.hear('welcome');
  expect(expiresMs).toBeLessThanOrEqual(BRIEF_MS);
  const events = await server.fetch('/v1/events?filter=open/a', {
    headers: { authorization: `Bearer ${brief.text}` },
  });
  const { inMs } = await client.hear('expiring');
  expect(inMs).toBeLessThanOrEqual(BRIEF_MS);
  expect(await client.hear('goodbye')).toMatchObject({ code: 'TOKEN_EXPIRED', retryAfterMs: 0 });
  expect(await client.closed).toBe(4010);
  const text = await events.text();
  expect(text).toContain('event: expiring\n');
  expect(text).toMatch(/event: goodbye\ndata: \{"code":"TOKEN_EXPIRED".*\}\n\n$/);
  await server.close();
  server = before;
});

test('each end of a connection to the broker is a close code of its own, and says whether coming back is of use [GW-59]', () => {
  const of = (code: number, isAboutCredentials = false) => {
    const error = new JspError('ERR_JSP_CLOSED_BY_PEER', 'closed', { applicationCode: code, reason: '' });
    const { closeCode, retryAfterMs } = goodbyeOf(error, isAboutCredentials);
    return [closeCode, retryAfterMs === null ? 'never' : 'again'];
  };
  expect(of(ReasonCode.NOT_AUTHORIZED, true)).toEqual([CloseCode.NOT_AUTHENTICATED, 'never']);
  expect(of(ReasonCode.NOT_AUTHORIZED)).toEqual([CloseCode.DENIED, 'never']);
  expect(of(ReasonCode.TOKEN_EXPIRED)).toEqual([CloseCode.EXPIRED, 'again']);
  expect(of(ReasonCode.SESSION_TAKEN)).toEqual([CloseCode.SESSION_TAKEN, 'never']);
  expect(of(ReasonCode.SHUTTING_DOWN)).toEqual([CloseCode.RESTART, 'again']);
  expect(of(ReasonCode.KICKED)).toEqual([CloseCode.TRY_AGAIN, 'again']);
  expect(of(ReasonCode.LIMITED)).toEqual([CloseCode.TRY_AGAIN, 'again']);
  expect(of(ReasonCode.INTERNAL_ERROR)).toEqual([CloseCode.INTERNAL_ERROR, 'again']);
  expect(goodbyeOf(null, false)).toMatchObject({ code: 'BROKER_UNREACHABLE', closeCode: CloseCode.RESTART });
  expect(goodbyeOf(new TypeError('x'), false)).toMatchObject({
    code: 'INTERNAL_ERROR',
    closeCode: CloseCode.INTERNAL_ERROR,
  });
});
