import { describe, expect, test } from 'vitest';
import { connectClient } from '../../src/client/index.ts';
import { proofFromText } from '../../src/gateway/caller.ts';
import { IdempotencyKeys, nameOf, printOf } from '../../src/gateway/idempotency.ts';
import type { Clock } from '../../src/udp/clock.ts';
import { emptyFolder } from '../empty-folder.ts';
import { gatewayInMemory } from './gateway-server.ts';

const ANSWER = { status: 200, contentType: 'application/json', body: '{}', headers: {} };

function keysAt() {
  const time = { ms: 0 };
  const clock = { now: () => time.ms * 1_000 } as Clock;
  return { keys: new IdempotencyKeys(clock), time };
}

describe('a request with an Idempotency-Key', () => {
  test('is done once, and answered again as it was [GW-23]', async () => {
    const server = await gatewayInMemory();
    const client = await connectClient(server.broker.url);
    const got: string[] = [];
    await client.subscribe('#', (message) => void got.push(`${message.topic} ${message.text()}`));
    const key = { 'idempotency-key': 'k-1' };
    const first = await server.raw('POST', '/v1/topics/a', key, 'x');
    const again = await server.raw('POST', '/v1/topics/a', key, 'x');
    expect([again.status, again.json, again.headers['idempotent-replayed']]).toEqual([
      200,
      first.json,
      'true',
    ]);
    for (const [path, body] of [
      ['/v1/topics/a', 'y'],
      ['/v1/topics/b', 'x'],
      ['/v1/topics/a?ttl=1s', 'x'],
    ]) {
      const other = await server.raw('POST', path, key, body);
      expect([path, other.status, other.json.code]).toEqual([path, 422, 'KEY_REUSED']);
    }
    const another = await server.raw('POST', '/v1/topics/a', { ...key, 'x-api-key': 'jspk_other_x' }, 'y');
    expect([another.status, another.json.duplicate]).toEqual([200, false]);
    const bulk = JSON.stringify([{ topic: 'c' }, { topic: 'c' }]);
    const headers = { 'idempotency-key': 'k-2', 'content-type': 'application/json' };
    const bulks = [
      await server.raw('POST', '/v1/bulk', headers, bulk),
      await server.raw('POST', '/v1/bulk', headers, bulk),
    ];
    expect(bulks[1].json).toEqual(bulks[0].json);
    expect((await server.raw('POST', '/v1/topics/a', { 'idempotency-key': ' '.repeat(3) }, 'x')).status).toBe(
      400,
    );
    while (got.length < 4) await new Promise((resolve) => setImmediate(resolve));
    expect(got).toEqual(['a x', 'a y', 'c ', 'c ']);
    await client.close();
    await server.close();
    expect(server.faults).toEqual([]);
  });

  test('is, where the caller has no credentials, that of his address, of IPv6 of his network: nobody else reads its answer, or has his key kept from him [GW-23]', async () => {
    const server = await gatewayInMemory({ trustedProxies: ['127.0.0.1'] });
    const publish = async (address: string, body: string) => {
      const headers = { 'idempotency-key': 'k', 'x-forwarded-for': address };
      const answer = await server.raw('POST', '/v1/topics/a', headers, body);
      return [answer.status, answer.headers['idempotent-replayed'] ?? answer.json.duplicate];
    };
    expect(await publish('192.0.2.1', 'x')).toEqual([200, false]);
    expect(await publish('192.0.2.2', 'x')).toEqual([200, false]);
    expect(await publish('192.0.2.3', 'y')).toEqual([200, false]);
    expect(await publish('192.0.2.1', 'x')).toEqual([200, 'true']);
    expect(await publish('2001:db8::1', 'z')).toEqual([200, false]);
    expect(await publish('2001:db8::2', 'z')).toEqual([200, 'true']);
    expect(await publish('2001:db8:0:1::1', 'z')).toEqual([200, false]);
    await server.close();
  });

  test('is done once although the broker and the gateway were started anew in between, and tells another body [GW-23, BRK-91]', async () => {
    const store = { directory: emptyFolder(), sync: 'interval' } as const;
    const publish = async (body: string) => {
      const server = await gatewayInMemory({}, { store });
      const { json } = await server.raw('POST', '/v1/topics/a', { 'idempotency-key': 'k' }, body);
      await server.close();
      return json;
    };
    const first = await publish('x');
    expect(await publish('x')).toEqual({ ...first, result: 'duplicate', duplicate: true });
    expect(await publish('y')).toMatchObject({ status: 422, code: 'KEY_REUSED' });
  });

  test('that is under way is not begun a second time, and one that came to nothing can be made again [GW-23]', () => {
    const { keys } = keysAt();
    expect(keys.begin('a', 'p')).toBe(null);
    expect(() => keys.begin('a', 'p')).toThrow(
      expect.objectContaining({ code: 'KEY_IN_PROGRESS', status: 409 }),
    );
    keys.end('a', null);
    expect(keys.begin('a', 'other')).toBe(null);
    keys.end('a', ANSWER);
    expect(keys.begin('a', 'other')).toBe(ANSWER);
  });

  test('is remembered for two minutes, as long as there is room', () => {
    const { keys, time } = keysAt();
    keys.begin('a', 'p');
    keys.end('a', ANSWER);
    time.ms = 119_999;
    expect(keys.begin('a', 'p')).toBe(ANSWER);
    time.ms = 120_000;
    expect(keys.begin('a', 'p')).toBe(null);
    for (let i = 0; i < 200; i++) {
      keys.begin(`large${i}`, 'p');
      keys.end(`large${i}`, { ...ANSWER, body: 'x'.repeat(256 * 1024) });
    }
    expect(keys.begin('large199', 'p')).not.toBe(null);
    expect(keys.begin('large0', 'p')).toBe(null);
    // What a responder has said of its reply stands in headers.
    const headers = { 'jsp-header-x': 'x'.repeat(60 * 1024) };
    for (let i = 0; i < 600; i++) {
      keys.begin(`long${i}`, 'p');
      keys.end(`long${i}`, { ...ANSWER, headers });
    }
    expect(keys.begin('long599', 'p')).not.toBe(null);
    expect(keys.begin('long0', 'p')).toBe(null);
  });

  test('is its own caller alone, whatever token he shows this time, and from where', () => {
    const token = (claims: object, signature: string) =>
      proofFromText(`e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.${signature}`);
    const name = nameOf(token({ iss: 'i', sub: 'anna', exp: 1 }, 'a'), '192.0.2.1', 'k');
    expect(nameOf(token({ iss: 'i', sub: 'anna', exp: 2 }, 'b'), '198.51.100.1', 'k')).toBe(name);
    const others = [
      nameOf(token({ iss: 'i', sub: 'bert' }, 'a'), '192.0.2.1', 'k'),
      nameOf(token({ iss: 'j', sub: 'anna' }, 'a'), '192.0.2.1', 'k'),
      nameOf(token({ iss: 'i', sub: 'anna' }, 'a'), '192.0.2.1', 'l'),
      nameOf(proofFromText('jspk_anna_x'), '192.0.2.1', 'k'),
      nameOf(proofFromText('no.token.atall'), '192.0.2.1', 'k'),
      nameOf(proofFromText('neither'), '192.0.2.1', 'k'),
    ];
    expect(new Set([name, ...others]).size).toBe(7);
    expect(printOf('a', Buffer.from('b'))).not.toBe(printOf('b', Buffer.from('a')));
  });
});
