import { EventEmitter, once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type BrokerClient, connectClient } from '../../src/client/index.ts';
import { Connections } from '../../src/gateway/connections.ts';
import type { Exchange } from '../../src/gateway/exchange.ts';
import { answerPlainly, Problem } from '../../src/gateway/problem.ts';
import { ManualClock } from '../client/manual-clock.ts';
import { gatewayInMemory, type TestGateway } from './gateway-server.ts';
import { WsClient } from './ws-client.ts';

const PAGE = 'https://app.example';
const JSON_TYPE = { 'content-type': 'application/json' };
const turn = () => new Promise((resolve) => setImmediate(resolve));

let server: TestGateway;
let client: BrokerClient;
let asked = 0;
beforeAll(async () => {
  server = await gatewayInMemory({ origins: [PAGE], limits: { bulkItemsMax: 3, inFlightMax: 50 } });
  client = await connectClient(server.broker.url);
  await client.subscribe('never', () => {
    asked++;
  });
});
afterAll(async () => {
  await client.close();
  await server.close();
  expect(server.faults).toEqual([]);
});

/** A connection on which it is written by hand, and what has come on it. */
async function connection(): Promise<{
  socket: Socket;
  text: () => string;
  heard(part: string): Promise<void>;
}> {
  const socket = createConnection(server.gateway.port, '127.0.0.1');
  let text = '';
  socket.on('data', (bytes) => {
    text += bytes.toString('latin1');
  });
  await once(socket, 'connect');
  return {
    socket,
    text: () => text,
    heard: async (part) => {
      while (!text.includes(part)) await once(socket, 'data');
    },
  };
}

function written(method: string, path: string, body = ''): string {
  return `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

describe('requests that come before earlier ones are answered', () => {
  test('are over with their connection, those whose turn it is not as well [GW-8]', async () => {
    const before = asked;
    const { socket } = await connection();
    const questions = Array.from({ length: 10 }, () =>
      written('POST', '/v1/requests/never?timeout=60s', 'x'),
    );
    socket.write(questions.join('') + written('POST', '/v1/topics/a', 'hello'));
    while (asked < before + 10) await turn();
    expect(server.gateway.metrics().inFlight).toBe(11);
    socket.destroy();
    while (server.gateway.metrics().inFlight > 0) await turn();
    expect(server.gateway.metrics().guests).toBe(0);
  });

  test('are no streams of events, for those would be read by nobody [GW-8, GW-60]', async () => {
    const { socket, heard, text } = await connection();
    await client.subscribe(
      'double',
      ({ properties: { replyTopic = '' } }) => void client.publish(replyTopic, '42'),
    );
    socket.write(written('POST', '/v1/requests/double', '21') + written('GET', '/v1/events?filter=a'));
    await heard('its connection alone');
    expect(text()).toMatch(/^HTTP\/1.1 200 OK.*42HTTP\/1.1 400 Bad Request/s);
    socket.destroy();
  });
});

test('who takes nothing of his answer is cut off, and not who takes it slowly, or waits [GW-8]', () => {
  const clock = new ManualClock();
  const connections = new Connections(clock);
  const ends: string[] = [];
  const open = (name: string, writableLength: number) => {
    const socket = Object.assign(new EventEmitter(), { writableLength, destroy: () => ends.push(name) });
    const exchange = { request: { socket }, response: new EventEmitter(), close: () => {} };
    connections.begin(exchange as unknown as Exchange);
    return socket;
  };
  open('nothing', 32 * 1024);
  open('more', 32 * 1024 * 30);
  open('waits', 0);
  const slow = open('slow', 1_000_000);
  const pass = (seconds: number) => {
    for (let second = 0; second < seconds; second++) {
      clock.advance(1_000);
      slow.writableLength -= 1_000;
    }
    return [...new Set(ends)];
  };
  expect(pass(30)).toEqual([]);
  expect(pass(12)).toEqual(['nothing']);
  expect(pass(40)).toEqual(['nothing', 'more']);
  connections.close();
});

describe('a bulk', () => {
  const bulk = async (items: unknown, query = '', headers: Record<string, string> = JSON_TYPE) => {
    const body = typeof items === 'string' || Buffer.isBuffer(items) ? items : JSON.stringify(items);
    const { status, json } = await server.raw('POST', `/v1/bulk${query}`, headers, body);
    return { status, json };
  };

  test('of which one has properties that are too long publishes the others, or nothing where it is atomic [GW-25]', async () => {
    const items = [{ topic: 'a' }, { topic: 'a', headers: { long: 'x'.repeat(70_000) } }, { topic: 'b' }];
    const { status, json } = await bulk(items);
    expect([status, json.map((each: { status: number }) => each.status)]).toEqual([207, [200, 400, 200]]);
    const before = server.gateway.metrics().published;
    expect(await bulk(items, '?atomic=true')).toMatchObject({
      status: 422,
      json: { problems: [{ index: 1 }] },
    });
    expect(server.gateway.metrics().published).toBe(before);
  });

  test('of a type that every object has, nested too deeply, no UTF-8, or with a list of headers, is its fault and not the gateway’s [GW-3]', async () => {
    for (const type of ['constructor', '__proto__']) {
      expect(await bulk([], '', { 'content-type': type })).toMatchObject({ status: 415 });
    }
    const deep = `${'['.repeat(20_000)}${']'.repeat(20_000)}`;
    expect(await bulk(`[{"topic":"a","json":${deep}}]`)).toMatchObject({ status: 400 });
    const event = `{"specversion":"1.0","id":"1","source":"s","type":"t","data":${deep}}`;
    expect(
      (await server.raw('POST', '/v1/topics/a', { 'content-type': 'application/cloudevents+json' }, event))
        .status,
    ).toBe(400);
    expect(await bulk(Buffer.from('[{"topic":"a","text":"\xff"}]', 'latin1'))).toMatchObject({ status: 400 });
    expect(await bulk([{ topic: 'a', headers: ['b'] }])).toMatchObject({ status: 400 });
  });

  test('of far too many lines that are no JSON is not read to its end [GW-24]', async () => {
    const lines = 'x\n'.repeat(2_000_000);
    const before = process.cpuUsage();
    expect(await bulk(lines, '', { 'content-type': 'application/x-ndjson' })).toMatchObject({ status: 413 });
    const { user } = process.cpuUsage(before);
    expect(user).toBeLessThan(5_000_000); // to read all of them takes half a minute
  });
});

test('a header of any name reaches subscribers [GW-21]', async () => {
  await server.raw(
    'POST',
    '/v1/topics/named?retain=true',
    { 'jsp-header-__proto__': 'x', 'jsp-header-b': 'c' },
    '1',
  );
  expect((await server.raw('GET', '/v1/topics/named')).headers).toMatchObject({ 'jsp-header-b': 'c' });
  expect(Object.entries((await server.raw('GET', '/v1/topics/named')).headers)).toContainEqual([
    'jsp-header-__proto__',
    'x',
  ]);
});

test('an answer of bytes is given again as it was [GW-23]', async () => {
  const bytes = Buffer.from([0xff, 0, 0xfe]);
  await client.subscribe(
    'bytes',
    ({ properties: { replyTopic = '' } }) => void client.publish(replyTopic, bytes),
  );
  const ask = async () => {
    const response = await server.fetch('/v1/requests/bytes', {
      method: 'POST',
      headers: { 'idempotency-key': 'k' },
    });
    return [response.headers.get('idempotent-replayed'), Buffer.from(await response.arrayBuffer())];
  };
  expect(await ask()).toEqual([null, bytes]);
  expect(await ask()).toEqual(['true', bytes]);
});

test('a page of a listed origin may read a stream of events, and no other page [GW-14, GW-60]', async () => {
  for (const [origin, allowed] of [
    [PAGE, PAGE],
    ['https://evil.example', null],
  ] as const) {
    const aborter = new AbortController();
    const { headers } = await server.fetch('/v1/events?filter=a', {
      headers: { origin },
      signal: aborter.signal,
    });
    expect(headers.get('access-control-allow-origin')).toBe(allowed);
    aborter.abort();
  }
});

describe('a request', () => {
  test('that offers to go on in another protocol is answered in this one, body and all [GW-9]', async () => {
    const { socket, heard, text } = await connection();
    const offer = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n';
    const request = written('POST', '/v1/topics/offer?retain=true', 'hello').replace(
      'Content-',
      `${offer}Content-`,
    );
    socket.write(request.slice(0, -2));
    await turn();
    socket.write(request.slice(-2));
    await heard('"inMemory"');
    socket.write(written('GET', `http://localhost:${server.gateway.port}/v1/topics/offer`));
    await heard('hello');
    expect(text().match(/HTTP\/1.1 200 OK/g)).toHaveLength(2);
    socket.destroy();
  });

  test('may offer that as often as its connection likes: nothing is kept of it [GW-9]', async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => warnings.push(warning);
    process.on('warning', onWarning);
    const { socket, text } = await connection();
    const offering = written('GET', '/healthz').replace(
      'Content-',
      'Connection: Upgrade\r\nUpgrade: h2c\r\nContent-',
    );
    for (let count = 1; count <= 20; count++) {
      socket.write(offering);
      while (text().split('HTTP/1.1 200 OK').length <= count) await once(socket, 'data');
    }
    await turn();
    process.off('warning', onWarning);
    expect(warnings).toEqual([]);
    socket.destroy();
  });

  test('for a WebSocket that is refused leaves nothing behind of a client that has said more and gone [GW-4]', async () => {
    const before = server.gateway.metrics().connections;
    const { socket, heard } = await connection();
    socket.write(
      written('GET', '/nowhere').replace('Content-Length: 0', 'Connection: upgrade\r\nUpgrade: websocket'),
    );
    await heard('HTTP/1.1 404');
    socket.end('more');
    while (server.gateway.metrics().connections > before) await turn();
  });

  test('for a WebSocket in absolute form is that of its path [GW-9]', async () => {
    const { socket, heard, text } = await connection();
    const upgrade = written('GET', `http://localhost:${server.gateway.port}/v1/ws?x`).replace(
      'Content-Length: 0',
      'Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
    );
    socket.write(upgrade);
    await heard('\r\n\r\n');
    expect(text()).toMatch(/^HTTP\/1.1 101 /);
    socket.destroy();
  });

  test('to take a connection over while something is not answered is the end of that [GW-8]', async () => {
    const { socket } = await connection();
    const upgrade = written('GET', '/v1/ws').replace(
      'Content-Length: 0',
      'Connection: upgrade\r\nUpgrade: websocket',
    );
    socket.write(written('POST', '/v1/requests/never?timeout=60s', 'x') + upgrade);
    await once(socket, 'close');
    while (server.gateway.metrics().inFlight > 0) await turn();
  });
});

test('who closes nothing after the answer to what is no request is cut off [GW-4]', () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  try {
    const socket = new Duplex({ read: () => {}, write: (_bytes, _encoding, done) => done() });
    answerPlainly(socket, new Problem('REQUEST_INVALID', 'This is not HTTP/1.1.'));
    vi.advanceTimersByTime(2_999);
    expect(socket.destroyed).toBe(false);
    vi.advanceTimersByTime(1);
    expect(socket.destroyed).toBe(true);
  } finally {
    vi.useRealTimers();
  }
});

describe('a WebSocket client', () => {
  test('that gives names which cannot be names is told so, and stays [GW-51]', async () => {
    const ws = new WsClient(`${server.gateway.url}/v1/ws`);
    await once(ws.socket, 'open');
    const long = '\u00e9'.repeat(600);
    const requests = [
      ...['', long, 'a\ud800'].map((filter) => [{ filters: ['a', filter] }, 'FILTER_INVALID'] as const),
      ...['', long, 'a\0', '\ud800'].map((durable) => [{ durable }, 'BAD_REQUEST'] as const),
      ...['', long].map((deadLetter) => [{ durable: 'd', deadLetter }, 'BAD_REQUEST'] as const),
    ];
    for (const [id, [members, code]] of requests.entries()) {
      const request = { type: 'subscribe', id, filters: ['a'], ...members };
      expect(await ws.ask(request, 'error'), JSON.stringify(members)).toMatchObject({ code });
    }
    expect(await ws.ask({ type: 'ping', id: 'alive' })).toBeDefined();
    await ws.close();
    const other = new WsClient(`${server.gateway.url}/v1/ws`);
    await once(other.socket, 'open');
    for (const session of ['\0', long.slice(0, 200)]) {
      expect(await other.ask({ type: 'auth', id: 1, session }, 'error')).toMatchObject({
        code: 'BAD_REQUEST',
      });
    }
    await other.close();
    for (const filter of ['', long]) {
      const { status, json } = await server.raw('GET', `/v1/events?filter=${encodeURIComponent(filter)}`);
      expect([status, json.code]).toEqual([400, 'FILTER_INVALID']);
    }
  });

  test('that sends one message in thousands of parts is let go [GW-49]', async () => {
    const ws = new WsClient(`${server.gateway.url}/v1/ws`);
    await once(ws.socket, 'open');
    for (let part = 0; part < 513; part++) ws.socket.send(' ', { fin: false });
    expect(await ws.closed).toBe(1008);
  });
});
