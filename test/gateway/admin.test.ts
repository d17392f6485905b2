import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectClient } from '../../src/client/index.ts';
import { gatewayInMemory, type TestGateway } from './gateway-server.ts';

let server: TestGateway;

beforeAll(async () => {
  server = await gatewayInMemory();
});

afterAll(async () => {
  await server.close();
  expect(server.faults).toEqual([]);
});

describe('what an operator asks [GW-30]', () => {
  test('is asked of the broker with the query, or a body, and answered as that says', async () => {
    const status = await server.raw('GET', '/v1/admin/status');
    expect([status.status, status.json]).toEqual([
      200,
      expect.objectContaining({ state: 'ready', url: server.broker.url }),
    ]);
    const page = await server.raw('GET', '/v1/admin/clients?limit=1&search=http');
    expect([page.status, page.json.items.length, page.json.items[0].door]).toEqual([200, 1, 'http']);
    const posted = await server.raw('POST', '/v1/admin/clients', {}, '{"limit":1}');
    expect(posted.json.items.length).toBe(1);
  });

  test('that it does not know, or cannot be, is a problem', async () => {
    for (const [method, path, status, code] of [
      ['GET', '/v1/admin/nothing', 404, 'NOT_FOUND'],
      ['GET', '/v1/admin/a%2Fb', 404, 'NOT_FOUND'],
      ['GET', '/v1/admin/clients?colour=red', 400, 'REQUEST_INVALID'],
      ['GET', '/v1/admin/kick', 405, 'METHOD_NOT_ALLOWED'],
      ['DELETE', '/v1/admin/logs/x', 404, 'NOT_FOUND'],
      ['DELETE', '/v1/admin/clients/987654', 404, 'NOT_FOUND'],
      ['DELETE', '/v1/admin/clients/0xf1206', 400, 'REQUEST_INVALID'],
      ['DELETE', '/v1/admin/clients/victim', 400, 'REQUEST_INVALID'],
    ] as const) {
      const answer = await server.raw(method, path);
      expect([path, answer.status, answer.json.code]).toEqual([path, status, code]);
    }
  });

  test('may be that a client goes', async () => {
    const client = await connectClient(server.broker.url, { session: 'victim', reconnect: false } as never);
    const closed = new Promise((resolve) => void client.closed.then(resolve, resolve));
    const kicked = await server.raw('DELETE', '/v1/admin/sessions/victim');
    expect([kicked.status, kicked.json]).toEqual([200, { kicked: 1 }]);
    await client.close().catch(() => {});
    await closed;
  });
});
