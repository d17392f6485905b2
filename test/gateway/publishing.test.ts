import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type BrokerClient, connectClient } from '../../src/client/index.ts';
import { gatewayInMemory, type TestGateway } from './gateway-server.ts';

let server: TestGateway;
let client: BrokerClient;

beforeAll(async () => {
  server = await gatewayInMemory();
  client = await connectClient(server.broker.url);
});

afterAll(async () => {
  await client.close();
  await server.close();
  expect(server.faults).toEqual([]);
});

describe('a POST to a topic', () => {
  test('reaches a native subscriber, and is answered when it is taken [GW-20, GW-22]', async () => {
    const subscription = await client.subscribe('a/#');
    const answer = await server.fetch('/v1/topics/a/b%20c', { method: 'POST', body: 'hello' });
    expect([answer.status, await answer.json()]).toEqual([
      200,
      { result: 'inMemory', duplicate: false, offset: expect.any(Number) },
    ]);
    for await (const message of subscription) {
      expect([message.topic, message.text()]).toEqual(['a/b c', 'hello']);
      break;
    }
  });

  test('of QoS 0 is answered at once', async () => {
    const answer = await server.fetch('/v1/topics/x?qos=0', { method: 'POST', body: 'hello' });
    expect([answer.status, await answer.json()]).toEqual([202, { result: 'taken' }]);
  });

  test('to what is no topic is a problem [GW-3]', async () => {
    const answer = await server.fetch('/v1/topics/a/%2B', { method: 'POST', body: 'hello' });
    expect([answer.status, answer.headers.get('content-type')]).toEqual([400, 'application/problem+json']);
    expect(await answer.json()).toMatchObject({ status: 400, code: 'TOPIC_INVALID' });
  });
});
