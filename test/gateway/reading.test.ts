import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type BrokerClient, connectClient } from '../../src/client/index.ts';
import { LocalBackend } from '../../src/gateway/backend.ts';
import { ANONYMOUS, factsOf } from '../../src/gateway/caller.ts';
import { publishCommand } from '../../src/gateway/item.ts';
import { Session } from '../../src/gateway/session.ts';
import { PublishFlag } from '../../src/pubsub/command.ts';
import { gatewayInMemory, type TestGateway } from './gateway-server.ts';

let server: TestGateway;
let client: BrokerClient;

beforeAll(async () => {
  server = await gatewayInMemory();
  client = await connectClient(server.broker.url, { compression: true });
});

afterAll(async () => {
  await client.close();
  await server.close();
  expect(server.faults).toEqual([]);
});

/** Publishes what no client of ours would. */
async function published(command: Buffer): Promise<void> {
  const connection = await new LocalBackend(server.broker, () => {}).connect(factsOf('http', ''));
  const session = await Session.open(connection, { proof: ANONYMOUS });
  await new Promise<unknown>((resolve) => session.publish(command, resolve));
  session.close();
}

const KEPT = { qos: 1, retain: true, priority: 'chat', properties: null } as const;

describe('the last value of a topic', () => {
  test('is given as it was published, with what was said of it, and not twice to who has it [GW-28]', async () => {
    const url = '/v1/topics/state/a?retain=true&key=k&ttl=1h';
    await server.raw('PUT', url, { 'content-type': 'text/html', 'jsp-header-x': 'ä' }, '<b>1</b>');
    const { status, text, headers } = await server.raw('GET', '/v1/topics/state/a');
    expect([status, text]).toEqual([200, '<b>1</b>']);
    expect(headers).toMatchObject({
      ...{ 'content-type': 'text/html', 'jsp-key': 'k', 'jsp-header-x': encodeURIComponent('ä') },
      ...{
        'x-content-type-options': 'nosniff',
        'content-security-policy': expect.stringContaining('sandbox'),
      },
      ...{ 'jsp-ttl': expect.stringMatching(/^\d+ms$/), etag: expect.stringMatching(/^".+"$/) },
    });
    const again = await server.raw('GET', '/v1/topics/state/a', {
      'if-none-match': `"x", W/${headers.etag}`,
    });
    expect([again.status, again.text, again.headers.etag]).toEqual([304, '', headers.etag]);
    await server.raw('PUT', '/v1/topics/state/a?retain=true', { 'content-type': 'text/html' }, '<b>2</b>');
    const newer = await server.raw('GET', '/v1/topics/state/a', { 'if-none-match': headers.etag as string });
    expect([newer.status, newer.text]).toEqual([200, '<b>2</b>']);
  });

  test('is given to many at once, of one topic and of several, while others are published', async () => {
    for (const name of ['x', 'y']) await server.raw('PUT', `/v1/topics/many/${name}?retain=true`, {}, name);
    const asked = Array.from({ length: 40 }, (_, i) => {
      const name = i % 2 === 0 ? 'x' : 'y';
      client.publish(`many/${name}`, 'live');
      return server.raw('GET', `/v1/topics/many/${name}`).then(({ text }) => [name, text]);
    });
    for (const [name, text] of await Promise.all(asked)) expect(text).toBe(name);
  });

  test('that was compressed is opened', async () => {
    const text = 'again and '.repeat(500);
    await client.publish('state/compressed', text, { retain: true, qos: 1, compression: true });
    expect((await server.raw('GET', '/v1/topics/state/compressed')).text).toBe(text);
  });

  test('that cannot be opened costs whoever asks for it his answer, and nobody else his connection [GW-28]', async () => {
    const command = publishCommand({ ...KEPT, topic: 'state/sealed', payload: 'in no envelope' });
    command[1] |= PublishFlag.COMPRESSED;
    await published(command);
    // Who publishes shares the connection on which the value is asked for.
    const before = server.gateway.metrics().sessions;
    expect((await server.raw('GET', '/v1/topics/state/sealed')).json.code).toBe('INTERNAL_ERROR');
    expect(server.gateway.metrics().sessions).toBe(before);
    expect(server.faults.splice(0)).toEqual([expect.objectContaining({ code: 'INTERNAL_ERROR' })]);
  });

  test('that was published at no date is given without one [GW-28]', async () => {
    await published(
      publishCommand({ ...KEPT, topic: 'state/later', payload: 'x', properties: { publishedAt: 9e15 } }),
    );
    const { status, text, headers } = await server.raw('GET', '/v1/topics/state/later');
    expect([status, text, headers['jsp-published-at']]).toEqual([200, 'x', undefined]);
  });

  test('is not there where nothing was kept, or it was taken away [GW-28]', async () => {
    await server.raw('PUT', '/v1/topics/state/gone?retain=true', {}, 'x');
    expect((await server.raw('DELETE', '/v1/topics/state/gone')).status).toBe(200);
    for (const topic of ['state/gone', 'state/never']) {
      const { status, json } = await server.raw('GET', `/v1/topics/${topic}`);
      expect([status, json.code]).toEqual([404, 'NO_VALUE']);
    }
    expect((await server.raw('GET', '/v1/topics/state/%23')).status).toBe(400);
  });
});

describe('a request', () => {
  test('is answered with what the first responder says [GW-29]', async () => {
    const service = await client.reply('upper', (message) => message.text().toUpperCase());
    const answers = await Promise.all(
      ['a', 'b', 'c'].map((text) => server.raw('POST', '/v1/requests/upper?timeout=10s', {}, text)),
    );
    expect(answers.map(({ status, text }) => [status, text])).toEqual([
      [200, 'A'],
      [200, 'B'],
      [200, 'C'],
    ]);
    await service.unsubscribe();
  });

  test('that the responder fails at is a problem with what it says [GW-29]', async () => {
    await client.subscribe('broken', ({ properties: { replyTopic = '' } }) => {
      client.publish(replyTopic, 'no such order', { status: 500 });
    });
    const { status, json } = await server.raw('POST', '/v1/requests/broken', {}, '');
    expect([status, json.code, json.responderStatus, json.detail]).toEqual([
      ...[502, 'RESPONDER_FAILED', 500, 'no such order'],
    ]);
  });

  test('to nobody is told at once, and one that nobody answers in time [GW-29]', async () => {
    const nobody = await server.raw('POST', '/v1/requests/nobody', {}, 'x');
    expect([nobody.status, nobody.json.code, nobody.headers['retry-after']]).toEqual([
      503,
      'NO_RESPONDERS',
      '1',
    ]);
    await client.subscribe('silent', () => {});
    const silent = await server.raw('POST', '/v1/requests/silent?timeout=20ms', {}, 'x');
    expect([silent.status, silent.json.code]).toEqual([504, 'RESPONSE_TIMEOUT']);
    for (const timeout of ['61s', '0', 'x']) {
      expect((await server.raw('POST', `/v1/requests/silent?timeout=${timeout}`)).status).toBe(400);
    }
  });
});
