import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type BrokerClient, connectClient, type Message } from '../../src/client/index.ts';
import { gatewayInMemory, type TestGateway } from './gateway-server.ts';

let server: TestGateway;
let client: BrokerClient;
/** Everything that is published below `t/`. */
const got: Message[] = [];

beforeAll(async () => {
  server = await gatewayInMemory({
    limits: { bulkItemsMax: 5, payloadBytesMax: 1_000, bulkBytesMax: 2_000 },
  });
  client = await connectClient(server.broker.url);
  await client.subscribe('t/#', (message) => void got.push(message));
});

afterAll(async () => {
  await client.close();
  await server.close();
  expect(server.faults).toEqual([]);
});

/** The next message that comes. */
async function next(): Promise<Message> {
  while (got.length === 0) await new Promise((resolve) => setImmediate(resolve));
  return got.shift() as Message;
}

const post = (path: string, body: string | Buffer, headers: Record<string, string> = {}) =>
  server.raw('POST', path, headers, body);

describe('a POST to a topic', () => {
  test('reaches a native subscriber as it is, and is answered when it is taken [GW-20, GW-22]', async () => {
    const bytes = Buffer.from([0, 255, 128, 10]);
    const answer = await post('/v1/topics/t/b%20c', bytes, { 'content-type': 'image/x-own' });
    expect([answer.status, answer.json]).toEqual([
      200,
      { result: 'inMemory', duplicate: false, offset: expect.any(Number) },
    ]);
    const message = await next();
    expect([message.topic, message.payload, message.properties.contentType]).toEqual([
      't/b c',
      bytes,
      'image/x-own',
    ]);
    expect((await post('/v1/topics/t/zip', 'x', { 'content-encoding': 'gzip' })).json.code).toBe(
      'MEDIA_TYPE_UNKNOWN',
    );
  });

  test('takes its terms from the query or from headers, and refuses what it does not know [GW-21]', async () => {
    await post('/v1/topics/t/terms?ttl=90s&key=k1', 'x', {
      ...{ 'JSP-Class': 'reliable', 'JSP-Message-Id': 'm1', 'JSP-Correlation': 'AQI=' },
      ...{ 'JSP-Header-Room': 'blue', 'JSP-Reply-To': 't/answers', traceparent: '00-1-2-01' },
    });
    expect((await next()).properties).toMatchObject({
      ...{ ttlMs: 90_000, key: 'k1', deliveryClass: 2, messageId: 'm1', correlation: Buffer.from([1, 2]) },
      ...{ headers: { room: 'blue' }, replyTopic: 't/answers', traceparent: '00-1-2-01' },
    });
    const faulty = ['colour=red', 'qos=2', 'retain=maybe', 'ttl=soon', 'ttl=0', 'class=x', 'priority=x'];
    for (const query of [...faulty, 'correlation=%25', 'reply-to=%23', `key=${'k'.repeat(300)}`]) {
      const { status, json } = await post(`/v1/topics/t/terms?${query}`, 'x');
      expect([query, status, json.code]).toEqual([query, 400, 'REQUEST_INVALID']);
    }
  });

  test('of QoS 0 is answered at once [GW-22]', async () => {
    const answer = await post('/v1/topics/t/0?qos=0', 'hello');
    expect([answer.status, answer.json]).toEqual([202, { result: 'taken' }]);
    expect((await next()).text()).toBe('hello');
  });

  test('goes to the topic that the rest of the path is, empty levels and all [GW-1]', async () => {
    await client.subscribe('#', () => {});
    for (const [path, topic] of [
      ['t//x/', 't//x/'],
      ['t/%2Fx', 't//x'],
      ['t/../x', 't/../x'],
      ['t/%C3%A4', 't/ä'],
    ]) {
      expect((await post(`/v1/topics/${path}`, 'x')).status).toBe(200);
      expect((await next()).topic).toBe(topic);
    }
  });

  test('to what is no topic is a problem [GW-3]', async () => {
    for (const path of ['a/%2B', 'a/%23', '%24sys/x', 'a%00b', '%ff', 'x'.repeat(1_025)]) {
      const { status, headers, json } = await post(`/v1/topics/${path}`, 'hello');
      expect([path, status, headers['content-type']]).toEqual([path, 400, 'application/problem+json']);
      expect(json).toMatchObject({
        ...{ type: expect.stringContaining('urn:'), title: expect.any(String), status: 400 },
        ...{ code: expect.stringMatching(/^(TOPIC|REQUEST)_INVALID$/), detail: expect.any(String) },
      });
    }
  });

  test('that is larger than the gateway takes is refused, told beforehand or not', async () => {
    const large = Buffer.alloc(1_001);
    expect((await post('/v1/topics/t/large', large)).status).toBe(413);
    expect((await post('/v1/topics/t/large', large, { 'transfer-encoding': 'chunked' })).status).toBe(413);
    expect((await post('/v1/topics/t/fits', Buffer.alloc(1_000))).status).toBe(200);
    expect((await next()).topic).toBe('t/fits');
  });
});

describe('a bulk', () => {
  const json = { 'content-type': 'application/json' };

  test('publishes its messages in order, and answers with what became of each [GW-24, GW-25]', async () => {
    const items = [
      { topic: 't/1', payload: 'one', ttlMs: 60_000, headers: { a: 'b' } },
      { topic: 't/2', json: { deep: [1] } },
      { topic: 't/3', base64: 'AP8=', contentType: 'x/y' },
      { topic: 't/4' },
    ];
    const answer = await post('/v1/bulk', JSON.stringify(items), json);
    expect(answer.status).toBe(200);
    const first = answer.json[0].offset;
    expect(answer.json).toEqual(
      items.map((_, index) => ({
        index,
        status: 200,
        result: 'inMemory',
        duplicate: false,
        offset: first + index,
      })),
    );
    const messages = [await next(), await next(), await next(), await next()];
    expect(messages.map(({ topic }) => topic)).toEqual(['t/1', 't/2', 't/3', 't/4']);
    expect(messages[0].properties).toMatchObject({ ttlMs: 60_000, headers: { a: 'b' } });
    expect([messages[1].json(), messages[1].properties.contentType]).toEqual([
      { deep: [1] },
      'application/json',
    ]);
    expect([...messages[2].payload, messages[3].payload.length]).toEqual([0, 255, 0]);
  });

  test('of which some cannot be published says which, and why, and publishes the others [GW-25]', async () => {
    const items = [
      '{"topic":"t/ok","text":"x","qos":0}',
      '{"topic":"a/#"}',
      '{"topic":',
      '',
      '{"topic":"t/b","json":1,"text":"2"}',
      '{"topic":"t/c","jsn":1}',
    ];
    const answer = await post('/v1/bulk', items.join('\n'), { 'content-type': 'application/x-ndjson' });
    expect(answer.status).toBe(207);
    expect(answer.json).toEqual([
      { index: 0, status: 202, result: 'taken' },
      { index: 1, status: 400, code: 'TOPIC_INVALID', detail: expect.any(String) },
      { index: 2, status: 400, code: 'REQUEST_INVALID', detail: expect.stringContaining('Line 3') },
      { index: 3, status: 400, code: 'REQUEST_INVALID', detail: expect.any(String) },
      {
        ...{ index: 4, status: 400, code: 'REQUEST_INVALID' },
        detail: 'There is no member "jsn"; the nearest is "json".',
      },
    ]);
    expect((await next()).topic).toBe('t/ok');
  });

  test('that is atomic is published as a whole, or not [GW-25]', async () => {
    const items = [{ topic: 't/a' }, { topic: '' }, { topic: 't/c', qos: 3 }];
    const answer = await post('/v1/bulk?atomic=true', JSON.stringify(items), json);
    expect([answer.status, answer.json.code]).toEqual([422, 'ITEMS_INVALID']);
    expect(answer.json.problems.map(({ index }: { index: number }) => index)).toEqual([1, 2]);
    await post('/v1/topics/t/behind', 'x');
    expect((await next()).topic).toBe('t/behind');
  });

  test('that is none is a problem of its own [GW-24]', async () => {
    const many = JSON.stringify(Array.from({ length: 6 }, () => ({ topic: 't/x' })));
    for (const [status, body, type] of [
      [415, '[]', 'text/plain'],
      [400, '{}', 'application/json'],
      [400, '[', 'application/json'],
      [413, many, 'application/json'],
      [413, ' '.repeat(2_001), 'application/json'],
      [400, '[1]', 'application/json; charset=utf-8'],
    ] as const) {
      expect([body.length, (await post('/v1/bulk', body, { 'content-type': type })).status]).toEqual([
        body.length,
        status,
      ]);
    }
    expect((await post('/v1/bulk', '[]', json)).json).toEqual([]);
  });
});

describe('a CloudEvent', () => {
  const event = { specversion: '1.0', id: 'e1', source: '/s', type: 'x.y', subject: 't/subject' };
  const attributes = { 'ce-specversion': '1.0', 'ce-id': 'e1', 'ce-source': '/s', 'ce-type': 'x.y' };

  test('is the same message in all its modes [GW-26]', async () => {
    const whole = { ...event, datacontenttype: 'application/json', data: { n: 1 } };
    await post('/v1/topics/t/e', JSON.stringify(whole), { 'content-type': 'application/cloudevents+json' });
    await post('/v1/topics/t/e', '{"n":1}', {
      ...attributes,
      ...{ 'ce-subject': 't%2Fsubject', 'content-type': 'application/json' },
    });
    await post('/v1/bulk', JSON.stringify([whole]), { 'content-type': 'application/cloudevents-batch+json' });
    for (const topic of ['t/e', 't/e', 't/subject']) {
      const message = await next();
      expect([message.topic, message.text(), message.properties]).toEqual([
        topic,
        '{"n":1}',
        expect.objectContaining({
          contentType: 'application/json',
          headers: { ...attributes, 'ce-subject': 't/subject' },
        }),
      ]);
    }
  });

  test('may have bytes, a text, or nothing', async () => {
    for (const [given, payload] of [
      [{ data_base64: 'AP8=' }, Buffer.from([0, 255])],
      [{ data: 'plain', datacontenttype: 'text/plain' }, Buffer.from('plain')],
      [{ data: 'quoted' }, Buffer.from('"quoted"')],
      [{}, Buffer.alloc(0)],
    ] as const) {
      const body = JSON.stringify({ ...event, ...given });
      await post('/v1/topics/t/e', body, { 'content-type': 'application/cloudevents+json' });
      expect((await next()).payload).toEqual(payload);
    }
  });

  test('that is none is refused [GW-26]', async () => {
    const refused = async (body: object, headers: Record<string, string>) =>
      expect((await post('/v1/topics/t/e', JSON.stringify(body), headers)).json.code).toBe('REQUEST_INVALID');
    const structured = { 'content-type': 'application/cloudevents+json' };
    await refused({ ...event, specversion: '0.3' }, structured);
    await refused({ ...event, id: '' }, structured);
    await refused({ ...event, Upper: 'x' }, structured);
    await refused({ ...event, data: 1, data_base64: '' }, structured);
    await refused([event], structured);
    await refused({}, { 'ce-specversion': '1.0', 'ce-id': '1' });
  });
});

test('what is asked, how it is answered, and each message that is taken is counted', async () => {
  const before = server.gateway.metrics();
  await post('/v1/topics/t/one', 'x');
  await post('/v1/topics/t/zip', 'x', { 'content-encoding': 'gzip' });
  const items = [{ topic: 't/a' }, { topic: '' }, { topic: 't/c' }];
  const { status } = await post('/v1/bulk', JSON.stringify(items), { 'content-type': 'application/json' });
  for (let i = 0; i < 3; i++) await next();
  const { requests, published, byStatus } = server.gateway.metrics();
  expect([requests - before.requests, published - before.published]).toEqual([3, 3]);
  const more = (digit: string) => (byStatus[digit] ?? 0) - (before.byStatus[digit] ?? 0);
  expect([status, more('2xx'), more('4xx'), more('5xx')]).toEqual([207, 2, 1, 0]);
});
