import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Addresses, keyOf, proofFromText, proofOf } from '../../src/gateway/caller.ts';
import { startGateway } from '../../src/gateway/index.ts';
import { AuthMethod } from '../../src/pubsub/session-commands.ts';
import { gatewayInMemory, type TestGateway } from './gateway-server.ts';

let server: TestGateway;

beforeAll(async () => {
  server = await gatewayInMemory({ origins: ['https://app.example.org'], hosts: ['gateway.example.org'] });
});

afterAll(async () => {
  await server.close();
  expect(server.faults).toEqual([]);
});

describe('a request', () => {
  test('for what is not there, or not so, is told what is [GW-1, GW-2]', async () => {
    expect((await server.raw('GET', '/v1/nothing')).json.code).toBe('NOT_FOUND');
    const wrong = await server.raw('DELETE', '/v1/bulk');
    expect([wrong.status, wrong.json.code, wrong.headers.allow]).toEqual([405, 'METHOD_NOT_ALLOWED', 'POST']);
    const head = await server.raw('HEAD', '/healthz');
    expect([head.status, head.text, head.headers['cache-control']]).toEqual([200, '', 'no-store']);
  });

  test('is asked for by a name of the gateway, or refused [GW-13]', async () => {
    const statusFor = async (host: string) => (await server.raw('GET', '/healthz', { host })).status;
    for (const host of [
      ...['127.0.0.1', '127.0.0.1:80', '[::1]:4580', 'localhost:4580', 'LOCALHOST', 'a.localhost:1'],
      ...['gateway.example.org', 'Gateway.Example.org:443', 'gateway.example.org.', '192.0.2.7'],
    ]) {
      expect([host, await statusFor(host)]).toEqual([host, 200]);
    }
    for (const host of [
      'evil.example.org',
      'localhost.evil.org',
      'xlocalhost',
      '127.0.0.1.evil.org',
      '[::1].evil',
    ]) {
      expect([host, await statusFor(host)]).toEqual([host, 421]);
    }
  });

  test('of a page changes nothing unless the page is the gateway own, or listed [GW-14]', async () => {
    const publish = (origin: string, host = 'localhost:1') =>
      server.raw('POST', '/v1/topics/x', { origin, host }, 'x');
    expect((await publish('http://localhost:1')).status).toBe(200);
    expect((await publish('https://localhost:1')).status).toBe(200);
    const listed = await publish('https://app.example.org');
    expect([listed.status, listed.headers['access-control-allow-origin'], listed.headers.vary]).toEqual([
      200,
      'https://app.example.org',
      'origin',
    ]);
    for (const origin of [
      'http://localhost:2',
      'https://evil.org',
      'null',
      'https://app.example.org.evil.org',
    ]) {
      const { status, json, headers } = await publish(origin);
      expect([origin, status, json.code]).toEqual([origin, 403, 'ORIGIN_REFUSED']);
      expect(headers['access-control-allow-origin']).toBeUndefined();
    }
    const read = await server.raw('GET', '/healthz', { origin: 'https://evil.org' });
    expect([read.status, read.headers['access-control-allow-origin']]).toEqual([200, undefined]);
  });

  test('that asks what a page may do is answered for those that may [GW-14]', async () => {
    const ask = (origin: string) =>
      server.raw('OPTIONS', '/v1/topics/a', {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization, jsp-qos',
      });
    const listed = await ask('https://app.example.org');
    expect([listed.status, listed.headers]).toEqual([
      204,
      expect.objectContaining({
        'access-control-allow-origin': 'https://app.example.org',
        'access-control-allow-methods': expect.stringContaining('POST'),
        'access-control-allow-headers': 'authorization, jsp-qos',
      }),
    ]);
    const foreign = await ask('https://evil.org');
    expect(Object.keys(foreign.headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
  });

  test('to take the connection over is refused with a problem, as one of a foreign page is [GW-14]', async () => {
    const upgrade = (path: string, headers = {}) =>
      server.raw('GET', path, { connection: 'upgrade', upgrade: 'websocket', ...headers });
    expect((await upgrade('/v1/nothing')).json.code).toBe('NOT_FOUND');
    expect((await upgrade('/v1/ws', { origin: 'https://evil.org' })).json.code).toBe('ORIGIN_REFUSED');
    expect((await upgrade('/v1/ws', { host: 'evil.org' })).json.code).toBe('HOST_UNKNOWN');
  });

  test('that is no HTTP is answered, and the connection closed [GW-4]', async () => {
    const { createConnection } = await import('node:net');
    const answered = await new Promise<string>((resolve) => {
      let text = '';
      const socket = createConnection(server.gateway.port, '127.0.0.1', () => socket.write('HELLO\r\n\r\n'));
      socket.on('data', (chunk) => {
        text += chunk;
      });
      socket.on('close', () => resolve(text));
    });
    expect(answered).toMatch(/^HTTP\/1\.1 400 .*REQUEST_INVALID/s);
    const long = await server.raw('GET', '/healthz', { 'x-long': 'x'.repeat(20_000) }).catch(() => null);
    expect(long?.status).toBe(431);
  });
});

describe('what proves who calls', () => {
  const proof = (headers: Record<string, string>) => proofOf({ headers });

  test('is a bearer or a key, and nothing that a browser sends by itself [GW-10]', () => {
    expect(proof({ authorization: 'Bearer jspk_a_b' })).toEqual({
      method: AuthMethod.API_KEY,
      credentials: Buffer.from('jspk_a_b'),
    });
    expect(proof({ authorization: 'bearer a.b.c' }).method).toBe(AuthMethod.JWT);
    expect(proof({ 'x-api-key': 'jspk_a_b' }).method).toBe(AuthMethod.API_KEY);
    expect(proof({ cookie: 'token=jspk_a_b' }).method).toBe(AuthMethod.NONE);
    for (const authorization of ['Basic YTpi', 'Bearer', 'Bearer a b', `Bearer ${'x'.repeat(8_193)}`]) {
      expect(() => proof({ authorization })).toThrow(
        expect.objectContaining({ code: 'CREDENTIALS_REFUSED' }),
      );
    }
  });

  test('that cannot be taken is 401 with a challenge [GW-10]', async () => {
    const answer = await server.raw('POST', '/v1/topics/x', { authorization: 'Basic YTpi' }, 'x');
    expect([answer.status, answer.headers['www-authenticate']]).toEqual([
      401,
      'Bearer realm="jsp", error="invalid_token"',
    ]);
  });

  test('stands for a session that all share who prove the same [GW-11]', async () => {
    const before = server.gateway.metrics().sessions;
    const clients = () => server.broker.metrics().clients;
    const known = clients();
    for (const key of ['jspk_x_1', 'jspk_x_2', 'jspk_x_1', 'jspk_x_2']) {
      expect((await server.raw('POST', '/v1/topics/x', { 'x-api-key': key }, 'x')).status).toBe(200);
    }
    expect([server.gateway.metrics().sessions - before, clients() - known]).toEqual([2, 2]);
    expect(keyOf(proofFromText('jspk_secret'))).not.toContain('secret');
  });
});

describe('where a request comes from', () => {
  const of = (trusted: string[], remoteAddress: string, forwarded?: string) =>
    new Addresses(trusted).of({
      socket: { remoteAddress },
      headers: forwarded === undefined ? {} : { 'x-forwarded-for': forwarded },
    } as never);

  test('is said by proxies that are trusted, and by nobody else [GW-12]', () => {
    expect(of([], '::ffff:192.0.2.1', '198.51.100.1')).toBe('192.0.2.1');
    expect(of(['10.0.0.0/8'], '192.0.2.1', '198.51.100.1')).toBe('192.0.2.1');
    expect(of(['10.0.0.0/8'], '10.1.2.3', '198.51.100.1')).toBe('198.51.100.1');
    expect(of(['10.0.0.0/8'], '10.1.2.3', '203.0.113.9, 198.51.100.1, 10.9.9.9')).toBe('198.51.100.1');
    expect(of(['10.0.0.0/8'], '10.1.2.3', '203.0.113.9, garbage')).toBe('10.1.2.3');
    expect(of(['10.0.0.0/8', '::1'], '::1', '[2001:db8::1]:443')).toBe('2001:db8::1');
    expect(of(['10.0.0.0/8'], '10.1.2.3', '198.51.100.1:4711')).toBe('198.51.100.1');
    expect(of(['10.1.2.3'], '10.1.2.3')).toBe('10.1.2.3');
  });

  test('and what can never be meant is refused at the start', async () => {
    const { broker } = server;
    for (const wrong of [
      { trustedProxies: ['10.0.0.0/99'] },
      { trustedProxies: ['10.0.0.0/'] }, // which would be all
      { trustedProxies: ['10.0.0.0/8/9'] },
      { trustedProxies: ['10.0.0.0/0x8'] },
      { trustedProxies: ['proxy'] },
      { origins: ['app.example.org'] },
      { origins: ['https://app.example.org/path'] },
      { port: -1 },
      { nonsense: 1 },
      { limits: { bulkItemMax: 1 } },
      { tls: { cert: '/nowhere', key: '/nowhere' } },
    ]) {
      await expect(startGateway({ broker, port: 0, ...wrong } as never)).rejects.toMatchObject({
        code: 'ERR_JSP_OPTION_INVALID',
      });
    }
  });
});

test('the files of the dashboard let a page load from its own origin alone, and be framed by none [GW-32]', async () => {
  const page = await server.raw('GET', '/');
  expect([page.status, page.headers['content-type']]).toEqual([200, 'text/html; charset=utf-8']);
  expect(page.headers).toMatchObject({
    'content-security-policy': expect.stringMatching(
      /^default-src 'none'; script-src 'self'; .*frame-ancestors 'none'$/,
    ),
    ...{ 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer', 'x-frame-options': 'DENY' },
  });
  for (const [, path] of page.text.matchAll(/(?:src|href)="(\/?[\w./-]+\.(?:js|css))"/g)) {
    const file = await server.raw('GET', path.startsWith('/') ? path : `/${path}`);
    expect([path, file.status]).toEqual([path, 200]);
  }
  const client = await server.raw('GET', '/jsp.js', { 'accept-encoding': 'gzip' });
  expect([client.status, client.headers]).toEqual([
    200,
    expect.objectContaining({ 'content-encoding': 'gzip', 'access-control-allow-origin': '*' }),
  ]);
  for (const [accepted, coding] of [
    ['gzip;q=0', undefined],
    ['br, gzip; q=0.000', undefined],
    ['x-gzip', undefined],
    ['br, GZIP ;q=0.5, *;q=0', 'gzip'],
  ] as const) {
    const { headers } = await server.raw('GET', '/jsp.js', { 'accept-encoding': accepted });
    expect([accepted, headers['content-encoding']]).toEqual([accepted, coding]);
  }
  const none = await gatewayInMemory({ dashboard: false });
  expect((await none.raw('GET', '/')).status).toBe(404);
  await none.close();
});

test('those without credentials have the rate of their own address, of IPv6 of their network, whoever else comes [BRK-120]', async () => {
  const anonymous = {
    rules: [{ allow: ['publish' as const], topics: ['#'] }],
    limits: { publishesPerSecond: 0.001, publishesBurst: 2 },
  };
  const server = await gatewayInMemory({ trustedProxies: ['127.0.0.1'] }, { auth: { anonymous } });
  const publish = async (address: string) =>
    (await server.raw('POST', '/v1/topics/a', { 'x-forwarded-for': address }, 'x')).status;
  const statuses = async (...addresses: string[]) => {
    const all: number[] = [];
    for (const address of addresses) all.push(await publish(address));
    return all;
  };
  expect(await statuses('192.0.2.1', '192.0.2.1', '192.0.2.1')).toEqual([200, 200, 429]);
  expect(await statuses('192.0.2.2', '192.0.2.1')).toEqual([200, 429]);
  expect(await statuses('2001:db8::1', '2001:db8::2', '2001:db8::3')).toEqual([200, 200, 429]);
  await server.close();
});
