import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { gatewayInMemory, type TestGateway } from './gateway-server.ts';
import { WsClient } from './ws-client.ts';

let server: TestGateway;
beforeAll(async () => {
  server = await gatewayInMemory(
    { limits: { payloadBytesMax: 4_096 } },
    { logs: [{ name: 'default', maxMessages: 10_000 }] },
  );
});
afterAll(async () => {
  expect(server.faults).toEqual([]);
  await server.close();
});

let topics = 0;
/** A topic of its own for each test. */
const freshTopic = (): string => `t${++topics}`;

describe('a WebSocket [GW-50]', () => {
  test('has the subprotocol jsp.v1.json, and is refused for another', async () => {
    const client = await WsClient.welcomed(server);
    expect(client.socket.protocol).toBe('jsp.v1.json');
    await client.close();
    const bare = new WsClient(`${server.gateway.url}/v1/ws`, {}, []);
    await once(bare.socket, 'open');
    expect(bare.socket.protocol).toBe('');
    await bare.close();
    const other = new WsClient(`${server.gateway.url}/v1/ws`, {}, ['mqtt']);
    const [, response] = await once(other.socket, 'unexpected-response');
    expect(response.statusCode).toBe(400);
    response.destroy();
  });

  test('is found at one path', async () => {
    const client = new WsClient(`${server.gateway.url}/ws`);
    const [, response] = await once(client.socket, 'unexpected-response');
    expect(response.statusCode).toBe(404);
    response.destroy();
  });

  test('is closed with 1007 for what is no JSON object, with 1003 for bytes, with 1009 for too much', async () => {
    for (const [message, code] of [
      ['{', 1007],
      ['[]', 1007],
      [Buffer.of(1), 1003],
      ['x'.repeat(100_000), 1009],
    ] as const) {
      const client = await WsClient.welcomed(server);
      client.socket.send(message);
      if (code !== 1009)
        expect(await client.hear('goodbye')).toMatchObject({ code: 'BAD_REQUEST', retryAfterMs: null });
      expect(await client.closed).toBe(code);
    }
  });

  test('answers what it does not understand, and goes on', async () => {
    const client = await WsClient.welcomed(server);
    expect(await client.ask({ type: 'subscibe', id: 1 }, 'error')).toMatchObject({ code: 'BAD_REQUEST' });
    expect(await client.ask({ type: 'ack', id: 2, sub: 'x', upTo: 1 }, 'error')).toMatchObject({
      code: 'UNKNOWN_SUB',
      sub: 'x',
    });
    expect(await client.ask({ type: 'ping', id: 3 })).toEqual({ type: 'result', id: 3 });
    await client.close();
  });
});

describe('who it is [GW-52]', () => {
  test('is said first, or nobody in particular with the first other message', async () => {
    const named = await WsClient.welcomed(server, { session: 'one', expiryMs: 60_000 });
    await named.close();
    const again = new WsClient(`${server.gateway.url}/v1/ws`);
    await once(again.socket, 'open');
    again.say({ type: 'auth', session: 'one' });
    expect(await again.hear('welcome')).toMatchObject({
      session: 'one',
      present: true,
      expiresMs: null,
      pingMs: 25_000,
    });
    expect(await again.ask({ type: 'auth', id: 5 }, 'error')).toMatchObject({ code: 'BAD_REQUEST' });
    await again.close();
    const nobody = new WsClient(`${server.gateway.url}/v1/ws`);
    await once(nobody.socket, 'open');
    nobody.say({ type: 'ping', id: 1 });
    nobody.say({ type: 'ping', id: 2 });
    expect(await nobody.hear('welcome')).toMatchObject({
      session: null,
      present: false,
      messageBytesMax: 4_096,
    });
    await nobody.hear('result', 1);
    await nobody.hear('result', 2);
    await nobody.close();
  });

  test('is let go with 4009 when another takes the session', async () => {
    const first = await WsClient.welcomed(server, { session: 'two' });
    const second = await WsClient.welcomed(server, { session: 'two' });
    expect(await first.hear('goodbye')).toMatchObject({ code: 'SESSION_TAKEN', retryAfterMs: null });
    expect(await first.closed).toBe(4009);
    await second.close();
  });
});

describe('a subscription [GW-42]', () => {
  test('has what is published, in order, with offsets and positions', async () => {
    const topic = freshTopic();
    const client = await WsClient.welcomed(server);
    const begun = await client.ask({ type: 'subscribe', id: 1, filters: [`${topic}/#`] }, 'subscribed');
    expect(begun).toMatchObject({ sub: 1, recovered: false, missed: 0, offset: begun.head });
    for (const [i, text] of ['a', 'b', 'c'].entries()) {
      const result = await client.ask({ type: 'publish', id: `p${i}`, topic: `${topic}/x`, text });
      expect(result).toMatchObject({
        result: 'inMemory',
        duplicate: false,
        offset: (begun.offset as number) + i + 1,
      });
    }
    const messages = await client.messages(3);
    expect(messages.map(({ text }) => text)).toEqual(['a', 'b', 'c']);
    expect(messages[0]).toEqual({
      ...{ type: 'message', sub: 1, topic: `${topic}/x`, offset: (begun.offset as number) + 1, text: 'a' },
    });
    await client.close();
  });

  test('goes on behind the position that its client gives back, on another connection [GW-40] [GW-43]', async () => {
    const topic = freshTopic();
    const client = await WsClient.welcomed(server);
    const { epoch } = await client.ask({ type: 'subscribe', id: 1, filters: [topic] }, 'subscribed');
    for (let i = 0; i < 5; i++) client.say({ type: 'publish', topic, text: `${i}` });
    const [, second] = await client.messages(5);
    await client.close();
    const since = { epoch, offset: second.offset };
    const back = await WsClient.welcomed(server);
    expect(await back.ask({ type: 'subscribe', id: 1, filters: [topic], since }, 'subscribed')).toMatchObject(
      {
        ...{ epoch, offset: second.offset, recovered: true, missed: 0 },
      },
    );
    expect((await back.messages(3)).map(({ text }) => text)).toEqual(['2', '3', '4']);
    // A position of another log, or one that is still to come, is none.
    for (const wrong of [
      { epoch: 77, offset: 1 },
      { epoch, offset: 1e9 },
    ]) {
      const reset = await back.ask(
        { type: 'subscribe', id: wrong.epoch as number, filters: [topic], since: wrong },
        'subscribed',
      );
      expect(reset).toMatchObject({ recovered: false, missed: null, offset: reset.head });
      await back.ask({ type: 'close', id: `c${wrong.epoch}`, sub: wrong.epoch });
    }
    const all = {
      type: 'subscribe',
      id: 9,
      filters: [topic],
      since: { epoch: 77, offset: 1 },
      reset: 'earliest',
    };
    await back.ask(all, 'subscribed');
    expect((await back.messages(5)).map(({ text, sub }) => [sub, text])).toEqual(
      ['0', '1', '2', '3', '4'].map((text) => [9, text]),
    );
    await back.close();
  });

  test('is taken with all its filters, or not at all', async () => {
    const topic = freshTopic();
    const client = await WsClient.welcomed(server);
    const bad = { type: 'subscribe', id: 1, filters: [topic, 'a/#/b'] };
    expect(await client.ask(bad, 'error')).toMatchObject({ code: 'FILTER_INVALID', sub: 1, filter: 'a/#/b' });
    const good = { type: 'subscribe', id: 1, filters: [topic, `${topic}/+`] };
    await client.ask(good, 'subscribed');
    expect(await client.ask({ ...good, id: 2, sub: 1 }, 'error')).toMatchObject({
      code: 'SUB_IN_USE',
      sub: 1,
    });
    client.say({ type: 'publish', topic: `${topic}/y`, text: 'once' });
    client.say({ type: 'publish', topic, text: 'twice' });
    expect((await client.messages(2)).map(({ text }) => text)).toEqual(['once', 'twice']);
    expect(await client.rest()).toEqual([]);
    await client.close();
  });

  test('gets what no log keeps as well, without an offset; of QoS 0 it reads none', async () => {
    const topic = freshTopic();
    const client = await WsClient.welcomed(server);
    await client.ask({ type: 'subscribe', id: 1, filters: [topic] }, 'subscribed');
    expect(await client.ask({ type: 'subscribe', id: 2, qos: 0, filters: [topic] }, 'subscribed')).toEqual({
      ...{ type: 'subscribed', id: 2, sub: 2 },
    });
    expect(await client.ask({ type: 'publish', id: 3, topic, json: { a: 1 }, qos: 0 })).toMatchObject({
      result: 'taken',
    });
    const both = await client.messages(2);
    expect(both.map(({ sub }) => sub).sort()).toEqual([1, 2]);
    expect(both[0]).toMatchObject({ json: { a: 1 }, contentType: 'application/json' });
    expect(both[0]).not.toHaveProperty('offset');
    await client.close();
  });

  test('begins with the last values, unless it goes on', async () => {
    const topic = freshTopic();
    const client = await WsClient.welcomed(server);
    await client.ask({ type: 'publish', id: 1, topic, text: 'v', retain: true });
    const { epoch, offset } = await client.ask({ type: 'subscribe', id: 2, filters: [topic] }, 'subscribed');
    expect(await client.hear('message')).toMatchObject({ text: 'v', retained: true });
    await client.ask({ type: 'subscribe', id: 3, filters: [topic], since: { epoch, offset } }, 'subscribed');
    expect(await client.rest()).toEqual([]);
    await client.close();
  });

  test('is taken back behind its last message [GW-54]', async () => {
    const topic = freshTopic();
    const client = await WsClient.welcomed(server);
    await client.ask({ type: 'subscribe', id: 1, filters: [topic] }, 'subscribed');
    for (let i = 0; i < 50; i++) client.say({ type: 'publish', topic, text: `${i}` });
    await client.ask({ type: 'publish', id: 2, topic, text: 'last' });
    await client.ask({ type: 'unsubscribe', id: 3, sub: 1 });
    client.say({ type: 'publish', topic, text: 'too late' });
    expect((await client.messages(51)).at(-1)).toMatchObject({ text: 'last' });
    expect(await client.rest()).toEqual([]);
    await client.ask({ type: 'subscribe', id: 1, filters: [topic] }, 'subscribed'); // its name is free
    await client.close();
  });
});

describe('messages that their client settles [GW-53]', () => {
  test('come within the window, again when they were refused, and not again when they were settled', async () => {
    const topic = freshTopic();
    const client = await WsClient.welcomed(server);
    const durable = { type: 'subscribe', id: 1, filters: [topic], durable: topic, window: 3 };
    await client.ask(durable, 'subscribed');
    for (let i = 0; i < 8; i++) client.say({ type: 'publish', topic, text: `${i}` });
    const first = await client.messages(3);
    expect(await client.rest()).toEqual([]);
    const [a, b, c] = first.map(({ offset }) => offset as number);
    await client.ask({ type: 'ack', id: 2, sub: 1, offsets: [a] });
    expect(await client.hear('message')).toMatchObject({ text: '3' });
    await client.ask({ type: 'nack', id: 3, sub: 1, offsets: [b], delayMs: 0 });
    expect(await client.hear('message')).toMatchObject({ text: '1', redelivered: true, attempt: 2 });
    // Late, doubled, unheard of: none of them does anything.
    await client.ask({ type: 'ack', id: 4, sub: 1, offsets: [a, a, 2 ** 40, b + 2 ** 32] });
    expect(await client.rest()).toEqual([]);
    await client.ask({ type: 'ack', id: 5, sub: 1, upTo: c });
    expect((await client.messages(2)).map(({ text }) => text)).toEqual(['4', '5']);
    await client.close();

    const back = await WsClient.welcomed(server);
    expect(await back.ask({ ...durable, since: 'earliest' }, 'subscribed')).toMatchObject({
      recovered: true,
      missed: 0,
    });
    expect((await back.messages(3)).map(({ text, redelivered }) => [text, redelivered])).toEqual([
      ['3', true],
      ['4', true],
      ['5', true],
    ]);
    await back.ask({ type: 'terminate', id: 6, sub: 1, offsets: [c + 1], reason: 'no good' });
    await back.ask({ type: 'progress', id: 7, sub: 1, offsets: [c + 2] });
    expect(await back.hear('gap')).toMatchObject({ sub: 1, missed: 1, reason: 'rejected' });
    await back.ask({ type: 'ack', id: 8, sub: 1, upTo: c + 3 });
    expect((await back.messages(2)).map(({ text }) => text)).toEqual(['6', '7']);
    await back.ask({ type: 'unsubscribe', id: 9, sub: 1 });
    expect(await back.ask(durable, 'subscribed')).toMatchObject({ recovered: false }); // it was forgotten
    await back.close();
  });

  test('belong to whoever took the durable subscription last', async () => {
    const topic = freshTopic();
    const [one, two] = [await WsClient.welcomed(server), await WsClient.welcomed(server)];
    const durable = { type: 'subscribe', id: 1, filters: [topic], durable: topic };
    await one.ask(durable, 'subscribed');
    await two.ask(durable, 'subscribed');
    expect(await one.hear('ended')).toMatchObject({ sub: 1, code: 'TAKEN' });
    await one.ask({ type: 'ping', id: 2 });
    await one.close();
    await two.close();
  });
});

describe('publishing [GW-55]', () => {
  test('is refused by its id, and the connection goes on', async () => {
    const client = await WsClient.welcomed(server);
    expect(await client.ask({ type: 'publish', id: 1, topic: 'a/+', text: '' }, 'error')).toMatchObject({
      code: 'TOPIC_INVALID',
    });
    expect(await client.ask({ type: 'publish', id: 2, topic: '$sys/x', text: '' }, 'error')).toMatchObject({
      code: 'TOPIC_INVALID',
    });
    const large = { type: 'publish', id: 3, topic: 'a', text: 'x'.repeat(4_097) };
    expect(await client.ask(large, 'error')).toMatchObject({ code: 'TOO_LARGE' });
    const named = { type: 'publish', topic: freshTopic(), text: 'm', messageId: 'mine' };
    const { offset } = await client.ask({ ...named, id: 4 });
    expect(await client.ask({ ...named, id: 5 })).toMatchObject({
      result: 'duplicate',
      duplicate: true,
      offset,
    });
    await client.close();
  });

  test('stops the reading of its socket while subscribers make publishers wait [GW-56]', async () => {
    const topic = freshTopic();
    const reader = await WsClient.welcomed(server);
    const blocking = {
      type: 'subscribe',
      id: 1,
      qos: 0,
      filters: [topic],
      overflow: 'block',
      queueMessages: 1,
      queueBytes: 1,
    };
    await reader.ask(blocking, 'subscribed');
    reader.socket.pause();
    const writer = await WsClient.welcomed(server);
    const count = 1_500;
    for (let i = 0; i < count; i++)
      writer.say({ type: 'publish', topic, qos: 0, text: `${i}`.padEnd(4_000) });
    writer.say({ type: 'ping', id: 'read' });
    const answer = writer.hear('result', 'read');
    const stopped = await Promise.race([answer, new Promise((resolve) => setTimeout(resolve, 150))]);
    expect(stopped).toBeUndefined();
    reader.socket.resume();
    const texts = (await reader.messages(count)).map(({ text }) => (text as string).trimEnd());
    expect(texts).toEqual(Array.from({ length: count }, (_, i) => `${i}`));
    await answer;
    await reader.close();
    await writer.close();
  });
});

describe('requests [GW-55]', () => {
  test('are answered by who subscribes to them, also where who asks has no session by name', async () => {
    const topic = freshTopic();
    const service = await WsClient.welcomed(server);
    await service.ask({ type: 'subscribe', id: 1, qos: 0, filters: [topic] }, 'subscribed');
    for (const auth of [{}, { session: 'asks' }]) {
      const client = await WsClient.welcomed(server, auth);
      client.say({ type: 'request', id: 'r', topic, json: { n: 1 }, correlation: 'AAE=' });
      const { replyTo, correlation, json } = await service.hear('message');
      expect([correlation, json]).toEqual(['AAE=', { n: 1 }]);
      service.say({
        type: 'publish',
        topic: replyTo,
        qos: 0,
        text: 'done',
        correlation,
        status: 7,
        headers: { a: 'b' },
      });
      expect(await client.hear('result', 'r')).toEqual({
        ...{ type: 'result', id: 'r', text: 'done', correlation: 'AAE=', status: 7, headers: { a: 'b' } },
      });
      await client.close();
    }
    await service.close();
  });

  test('are refused at once where nobody is there, and when nobody has answered in time', async () => {
    const topic = freshTopic();
    const client = await WsClient.welcomed(server);
    expect(await client.ask({ type: 'request', id: 1, topic, text: '' }, 'error')).toMatchObject({
      code: 'NO_RESPONDERS',
    });
    await client.ask({ type: 'subscribe', id: 2, qos: 0, filters: [topic] }, 'subscribed');
    const late = { type: 'request', id: 3, topic, text: '', timeoutMs: 20 };
    expect(await client.ask(late, 'error')).toMatchObject({ code: 'TIMEOUT' });
    expect(await client.ask({ type: 'request', topic, text: '', id: null }, 'error')).toMatchObject({
      code: 'BAD_REQUEST',
    });
    await client.close();
  });
});

test('a will is published when its client is gone, and not when it was taken back', async () => {
  const topic = freshTopic();
  const reader = await WsClient.welcomed(server);
  await reader.ask({ type: 'subscribe', id: 1, filters: [`${topic}/+`] }, 'subscribed');
  for (const name of ['gone', 'left']) {
    const client = await WsClient.welcomed(server, { session: name });
    await client.ask({ type: 'will', id: 1, topic: `${topic}/${name}`, text: 'was here', delayMs: 0 });
    if (name === 'left') await client.ask({ type: 'will', id: 2 });
    client.socket.terminate();
  }
  expect(await reader.hear('message')).toMatchObject({ topic: `${topic}/gone`, text: 'was here' });
  expect(await reader.rest()).toEqual([]);
  await reader.close();
});

test('messages that never come whole take so much and no more, and nobody else is to blame [GW-49]', async () => {
  const small = await gatewayInMemory({ limits: { inFlightBytesMax: 300_000 } });
  const half = (bytes: number) => {
    const head = Buffer.from([0x81, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0]); // of 1 MiB, masked with zeros
    return Buffer.concat([head, Buffer.alloc(bytes, 0x20)]);
  };
  const raw = (client: WsClient) => (client.socket as unknown as { _socket: NodeJS.WritableStream })._socket;
  const [one, two, good] = await Promise.all([0, 1, 2].map(() => WsClient.welcomed(small)));
  raw(one).write(half(200_000));
  await good.ask({ type: 'ping', id: 1 });
  raw(two).write(half(200_000));
  await Promise.race([one.closed, two.closed]);
  await good.ask({ type: 'publish', id: 2, topic: 'a', text: 'x'.repeat(60_000) });
  for (const client of [one, two, good]) client.socket.terminate();
  await small.close();
});

describe('the end [GW-59]', () => {
  test('of what its client does not hold up: nothing of him stays', async () => {
    const before = server.gateway.metrics().guests;
    const clients = await Promise.all(Array.from({ length: 20 }, () => WsClient.welcomed(server)));
    for (const client of clients)
      await client.ask({ type: 'subscribe', id: 1, filters: ['gone'] }, 'subscribed');
    expect(server.gateway.metrics().guests).toBe(before + 20);
    for (const client of clients) client.socket.terminate();
    await Promise.all(clients.map(({ closed }) => closed));
    while (server.gateway.metrics().guests > before || server.broker.metrics().clients > before) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(server.broker.metrics().filters).toBe(0);
  });

  test('of a frame that is none, of a header that lies: the connection of whoever sent it', async () => {
    const other = await WsClient.welcomed(server);
    const { port } = server.gateway;
    for (const bytes of ['\x81\x05hello', '\xff\xff\xff\xff', '\x88\x01x']) {
      const socket = connectTcp(port, '127.0.0.1');
      socket.on('error', () => {});
      socket.write(
        [
          'GET /v1/ws HTTP/1.1',
          'host: localhost',
          'upgrade: websocket',
          'connection: upgrade',
          'sec-websocket-version: 13',
          'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==',
          '',
          '',
        ].join('\r\n'),
      );
      await once(socket, 'data');
      socket.resume();
      socket.write(bytes, 'latin1');
      await once(socket, 'close');
    }
    await other.ask({ type: 'ping', id: 1 });
    await other.close();
  });
});

test('a gateway that goes tells its WebSockets, closes them with 1012, and is gone in time', async () => {
  const going = await gatewayInMemory();
  const client = await WsClient.welcomed(going);
  const closing = going.gateway.close({ drainMs: 2_000 });
  expect(await client.hear('goodbye')).toMatchObject({
    code: 'SHUTTING_DOWN',
    retryAfterMs: expect.any(Number),
  });
  expect(await client.closed).toBe(1012);
  await closing;
  await going.broker.close({ drainMs: 0 });
});

test('a broker that goes from under its gateway ends the WebSockets with 1012 [GW-59]', async () => {
  const going = await gatewayInMemory();
  const client = await WsClient.welcomed(going);
  await going.broker.close({ drainMs: 0 });
  expect(await client.hear('goodbye')).toMatchObject({ code: 'SHUTTING_DOWN' });
  expect(await client.closed).toBe(1012);
  await going.gateway.close({ drainMs: 0 });
});
