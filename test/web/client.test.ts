import { expect, test } from 'vitest';
import { connectClient, connectClientIn } from '../../src/web/client.ts';
import { jsonCodec } from '../../src/web/payload.ts';
import { catchUncaught } from '../transport/uncaught.ts';
import { PlayedGateway, settled } from './played-gateway.ts';

test.each([
  ['http://a.test', 'ws://a.test/v1/ws'],
  ['https://a.test:8443/', 'wss://a.test:8443/v1/ws'],
  ['https://a.test/some/page.html?x#y', 'wss://a.test/v1/ws'],
  ['wss://a.test', 'wss://a.test/v1/ws'],
  ['wss://a.test/proxied/v1/ws?room=1', 'wss://a.test/proxied/v1/ws?room=1'],
])('[WEB-1] %s is the gateway at %s', async (url, expected) => {
  const gateway = new PlayedGateway();
  const connecting = connectClientIn(gateway, url);
  await settled();
  expect(gateway.socket.url).toBe(expected);
  expect(gateway.socket.protocols).toEqual(['jsp.v1.json']);
  gateway.socket.welcome();
  (await connecting).destroy();
});

test.each(['jsp://a@b:1', 'somewhere', 'https://user:secret@a.test/', ''])(
  '[WEB-1] %j is the URL of no gateway',
  async (url) => {
    await expect(connectClientIn(new PlayedGateway(), url)).rejects.toMatchObject({
      code: 'ERR_JSP_URL_INVALID',
    });
  },
);

test('[WEB-2] says who it is first, and is online when it is welcome', async () => {
  const gateway = new PlayedGateway();
  const states: string[] = [];
  const connecting = connectClientIn(gateway, 'http://a.test', {
    credentials: async () => ({ apiKey: 'jspk_1' }),
    session: 'me',
    sessionExpiryMs: 5_000,
  });
  await settled();
  gateway.socket.open();
  expect(gateway.socket.said).toEqual([{ type: 'auth', token: 'jspk_1', session: 'me', expiryMs: 5_000 }]);
  gateway.socket.tell({ type: 'welcome', pingMs: 25_000 });
  const client = await connecting;
  client.on('state', (state) => states.push(state));
  expect(client.state).toBe('online');
  const closing = client.close();
  await gateway.pass();
  await closing;
  expect(states).toEqual(['closed']);
  expect(gateway.socket.closedWith).toBe(1000);
  expect([gateway.listeners, gateway.clock.pending]).toEqual([0, 0]);
});

test('[WEB-2] a gateway that does not welcome it in 10 s is given up', async () => {
  const gateway = new PlayedGateway();
  const connecting = connectClientIn(gateway, 'http://a.test');
  const failed = expect(connecting).rejects.toMatchObject({ code: 'ERR_JSP_TIMEOUT' });
  await settled();
  gateway.socket.open();
  await gateway.pass(10_000);
  await failed;
  expect(gateway.socket.closedWith).toBeNull();
});

test('[WEB-3] credentials are asked for at each attempt and before they expire, and given in the running connection', async () => {
  const gateway = new PlayedGateway();
  let asked = 0;
  const client = await gateway.connected({ credentials: () => ({ jwt: `token-${++asked}` }) });
  const notices: unknown[] = [];
  client.on('notice', ({ about, value }) => notices.push([about, value]));
  gateway.socket.tell({ type: 'expiring', inMs: 30_000 });
  await gateway.pass();
  expect(gateway.socket.said).toMatchObject([{ type: 'refresh', token: 'token-2' }]);
  expect(notices).toEqual([['credentialsExpire', 30_000]]);
  gateway.socket.tell({ type: 'goodbye', code: 'TOKEN_EXPIRED', message: 'over', retryAfterMs: 0 });
  gateway.socket.break(4010);
  await gateway.pass(250);
  gateway.socket.welcome();
  await gateway.pass();
  expect(gateway.socket.said).toMatchObject([{ type: 'auth', token: 'token-3' }]);
  expect(client.state).toBe('online');
});

test.each([
  ['of a function, after two that are refused', () => ({ apiKey: 'x' }), 2],
  ['that are what they are, at once', { apiKey: 'x' }, 1],
])('[WEB-3] credentials %s, are the end', async (_, credentials, attempts) => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected({ credentials });
  gateway.socket.break();
  for (let i = 0; i < 5; i++) {
    await gateway.pass(30_000);
    if (gateway.socket.closedWith !== undefined) break;
    gateway.socket.open();
    gateway.socket.tell({ type: 'goodbye', code: 'NOT_AUTHORIZED', message: 'no', retryAfterMs: null });
    gateway.socket.break(4001);
  }
  expect(await client.closed).toMatchObject({ code: 'ERR_JSP_NOT_AUTHORIZED' });
  expect(gateway.sockets.length).toBe(1 + attempts);
});

test('[WEB-3] a token that has expired is not shown again, whatever the function says; a new one is', async () => {
  const gateway = new PlayedGateway();
  let token = 'old';
  const client = await gateway.connected({
    credentials: () => ({ jwt: token }),
    reconnect: { minMs: 1_000 },
  });
  const expire = () => {
    gateway.socket.tell({ type: 'goodbye', code: 'TOKEN_EXPIRED', message: 'over', retryAfterMs: 0 });
    gateway.socket.break(4010);
  };
  expire();
  await gateway.pass(500); // the function still says the same
  expect(gateway.sockets.length).toBe(1);
  token = 'new';
  await gateway.pass(1_000);
  gateway.socket.welcome();
  await gateway.pass();
  expect(gateway.socket.said).toMatchObject([{ type: 'auth', token: 'new' }]);
  expire();
  await gateway.pass(30_000);
  await gateway.pass(30_000);
  expect(gateway.sockets.length).toBe(2);
  expect(await client.closed).toMatchObject({ code: 'ERR_JSP_TOKEN_EXPIRED' });
  const fixed = await gateway.connected({ credentials: { jwt: 'fixed' } });
  expire();
  expect(await fixed.closed).toMatchObject({ code: 'ERR_JSP_TOKEN_EXPIRED' });
});

test('[WEB-3] a client whose session another has taken does not take it back', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected({ session: 'mine' });
  gateway.socket.break(4009);
  expect(await client.closed).toMatchObject({ code: 'ERR_JSP_SESSION_TAKEN' });
  await gateway.pass(60_000);
  expect(gateway.sockets.length).toBe(1);
});

test('[WEB-4] a machine that wakes up asks whether the connection is alive, and has another within 5 s where it is not', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected();
  gateway.wake();
  expect(gateway.socket.said).toMatchObject([{ type: 'ping' }]);
  gateway.socket.answer('ping');
  await gateway.pass(5_000);
  expect(client.state).toBe('online');
  gateway.wake();
  await gateway.pass(4_999);
  expect(client.state).toBe('online');
  await gateway.pass(1);
  expect(client.state).toBe('offline');
  await gateway.pass(250);
  gateway.socket.welcome();
  await gateway.pass();
  expect([client.state, gateway.sockets.length]).toEqual(['online', 2]);
});

test('[WEB-4] a machine that wakes up while the client waits for its next attempt makes it at once', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected({ reconnect: { minMs: 3_600_000, maxMs: 3_600_000 } });
  gateway.socket.break();
  await gateway.pass(1);
  expect([client.state, gateway.sockets.length]).toEqual(['offline', 1]);
  gateway.wake();
  await gateway.pass();
  expect(gateway.sockets.length).toBe(2);
  gateway.wake(); // one attempt at a time
  await gateway.pass();
  expect(gateway.sockets.length).toBe(2);
});

test('[WEB-4] a connection on which nothing is heard is asked after, and one on which something is heard is not', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected();
  await gateway.pass(24_000);
  gateway.socket.tell({ type: 'notice', code: 'LIMITED', value: 1, text: 'publishes' });
  await gateway.pass(1_000);
  expect(gateway.socket.said).toEqual([]);
  await gateway.pass(25_000);
  expect(gateway.socket.said).toMatchObject([{ type: 'ping' }]);
  await gateway.pass(5_000);
  expect(client.state).toBe('offline');
});

test('a gateway that goes says over which time its clients come back', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected();
  gateway.socket.tell({ type: 'goodbye', code: 'SHUTTING_DOWN', message: 'restart', retryAfterMs: 8_000 });
  gateway.socket.break(1012);
  await gateway.pass(3_999);
  expect(gateway.sockets.length).toBe(1);
  await gateway.pass(1);
  expect(gateway.sockets.length).toBe(2);
  expect(client.state).toBe('offline');
});

test("[WEB-7] a request is the gateway's to publish, and its answer comes as a message", async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected({ codec: jsonCodec() });
  const asked = client.request('sum', [1, 2], { timeoutMs: 500, headers: { a: 'b' } });
  await gateway.pass();
  expect(gateway.socket.said).toMatchObject([
    {
      type: 'request',
      topic: 'sum',
      text: '[1,2]',
      contentType: 'application/json',
      timeoutMs: 500,
      headers: { a: 'b' },
    },
  ]);
  gateway.socket.answer('request', { json: 3, contentType: 'application/json', status: 0 });
  expect((await asked).value).toBe(3);
});

test.each([
  ['NO_RESPONDERS', 'ERR_JSP_NO_RESPONDERS'],
  ['TIMEOUT', 'ERR_JSP_TIMEOUT'],
  ['NOT_AUTHORIZED', 'ERR_JSP_NOT_AUTHORIZED'],
])('[WEB-7] a request that is answered %s fails with %s', async (code, expected) => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected();
  const failed = expect(client.request('t', '')).rejects.toMatchObject({ code: expected });
  await gateway.pass();
  gateway.socket.tell({ type: 'error', id: gateway.socket.said[0].id, code, message: 'why' });
  await failed;
});

test("[WEB-7] a request fails by its responder's status, by the loss of the connection, by its signal and by its time", async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected();
  const refused = expect(client.request('t', 'a')).rejects.toMatchObject({
    code: 'ERR_JSP_REQUEST_FAILED',
    applicationCode: 404,
    reason: 'no such',
  });
  await gateway.pass();
  gateway.socket.answer('request', { text: 'no such', status: 404 });
  await refused;
  const stop = new AbortController();
  const aborted = expect(client.request('t', 'b', { signal: stop.signal })).rejects.toMatchObject({
    code: 'ERR_JSP_ABORTED',
  });
  await gateway.pass();
  stop.abort();
  await aborted;
  gateway.socket.answer('request', { text: 'late' });
  expect(client.metrics().lateAnswers).toBe(1);
  const lost = expect(client.request('t', 'c')).rejects.toMatchObject({ code: 'ERR_JSP_OFFLINE' });
  await gateway.pass();
  gateway.socket.break();
  await lost;
  // One that is made without a connection waits for it, as long as it has time.
  const waits = client.request('t', 'd', { timeoutMs: 1_000 });
  const late = expect(client.request('t', 'e', { timeoutMs: 100 })).rejects.toMatchObject({
    code: 'ERR_JSP_TIMEOUT',
  });
  await gateway.pass(200);
  gateway.socket.welcome();
  await gateway.pass();
  expect(gateway.socket.saidOf('request').at(-2)).toMatchObject({ text: 'd', timeoutMs: 800 });
  gateway.socket.tell({ type: 'result', id: gateway.socket.saidOf('request').at(-2)?.id, text: 'there' });
  expect((await waits).text()).toBe('there');
  await gateway.pass(1_000);
  await late;
});

test('the will is told on each connection, and taken back by a client that goes', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected();
  const set = client.setWill({ topic: 'gone', payload: 'x', retain: true, delayMs: 5 });
  await gateway.pass();
  expect(gateway.socket.said).toMatchObject([
    { type: 'will', topic: 'gone', text: 'x', retain: true, delayMs: 5 },
  ]);
  gateway.socket.answer('will');
  await set;
  await gateway.reconnected();
  expect(gateway.socket.saidOf('will')).toMatchObject([{ topic: 'gone' }]);
  const refused: unknown[] = [];
  client.on('willRefused', (error) => refused.push(error));
  gateway.socket.tell({
    type: 'error',
    id: gateway.socket.saidOf('will')[0].id,
    code: 'NOT_AUTHORIZED',
    message: '',
  });
  expect(refused).toMatchObject([{ code: 'ERR_JSP_NOT_AUTHORIZED' }]);
  const closing = client.close();
  await gateway.pass();
  await closing;
  expect(gateway.socket.saidOf('will')[1]).toEqual({ type: 'will' });
});

test('a will that waits for its answer when the client ends fails with a code', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected();
  const set = client.setWill({ topic: 'gone', payload: 'x' });
  await gateway.pass();
  client.destroy();
  await expect(set).rejects.toMatchObject({ code: 'ERR_JSP_CLOSED' });
});

test('options that there are not, and topics and filters that are none, are the mistake of a program', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected();
  const invalid = { code: 'ERR_JSP_OPTION_INVALID' };
  await expect(client.subscribe('a', { maxUnacked: 5 })).rejects.toMatchObject(invalid);
  await expect(client.subscribe('a', { qos: 1, from: { offset: 3 } as never })).rejects.toMatchObject(
    invalid,
  );
  await expect(client.subscribe('a', { overflow: 'block' as never })).rejects.toMatchObject(invalid);
  await expect(client.subscribe('a/#/b')).rejects.toMatchObject({ code: 'ERR_JSP_FILTER_INVALID' });
  await expect(client.request('t', '', { qos: 1 } as never)).rejects.toMatchObject(invalid);
  expect(() => client.publish('a/+', '')).toThrow(expect.objectContaining({ code: 'ERR_JSP_TOPIC_INVALID' }));
  expect(() => client.publish('a', '', { priority: 'bulk' } as never)).toThrow(
    expect.objectContaining(invalid),
  );
  expect(() => client.publish('a', { no: 'codec' })).toThrow(TypeError);
  expect(gateway.socket.said).toEqual([]);
});

test('what a listener throws harms neither the other listeners nor the client', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected();
  const heard: string[] = [];
  const thrown = catchUncaught();
  client.on('state', () => {
    throw new Error('of a listener');
  });
  client.once('state', (state) => heard.push(state));
  gateway.socket.break();
  await gateway.pass(300);
  gateway.socket.welcome();
  await gateway.pass();
  expect(heard).toEqual(['offline']);
  expect(client.state).toBe('online');
  client.destroy();
  await new Promise((resolve) => setImmediate(resolve));
  expect(thrown).toEqual(Array(3).fill(new Error('of a listener')));
});

test.each(['close', 'drain'] as const)(
  'a client that has gone by %s has gone for no reason: nothing tells of an error',
  async (way) => {
    const gateway = new PlayedGateway();
    const client = await gateway.connected();
    const told: unknown[] = [];
    client.on('state', (state, reason) => told.push(state, reason));
    client.on('close', (error, unconfirmed) => told.push(error, unconfirmed));
    const going = client[way]();
    await gateway.pass();
    await going;
    expect(await client.closed).toBeNull();
    expect(told.slice(way === 'drain' ? 2 : 0)).toEqual(['closed', null, null, 0]);
  },
);

test.each(['close', 'drain'] as const)(
  'a further %s can only shorten the first, by its time and by its signal',
  async (way) => {
    for (const sooner of [
      { timeoutMs: 0 },
      { timeoutMs: 1_000 },
      { signal: AbortSignal.abort() },
      'abort later',
    ] as const) {
      const gateway = new PlayedGateway();
      const client = await gateway.connected();
      client.publish('t', 'x', { qos: 1 }).catch(() => {});
      const first = expect(client[way]()).rejects.toMatchObject({ code: 'ERR_JSP_CLOSE_INCOMPLETE' });
      client[way]({ timeoutMs: Number.POSITIVE_INFINITY }).catch(() => {});
      await gateway.pass(500);
      expect(client.state).not.toBe('closed');
      const abort = new AbortController();
      client[way](sooner === 'abort later' ? { signal: abort.signal } : sooner).catch(() => {});
      abort.abort();
      await gateway.pass(1_000);
      await first;
      expect([client.state, gateway.clock.pending]).toEqual(['closed', 0]);
    }
  },
);

test('what waits for the gateway does not wait where its signal has fired already', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected();
  const signal = AbortSignal.abort();
  const aborted = { code: 'ERR_JSP_ABORTED' };
  await expect(client.ping({ signal })).rejects.toMatchObject(aborted);
  gateway.socket.bufferedAmount = 2 ** 30;
  client.publish('t', 'x');
  await expect(client.flush({ signal })).rejects.toMatchObject(aborted);
  await expect(client.drained({ signal })).rejects.toMatchObject(aborted);
});

test('a will that says what there is not, or what no broker takes, is the mistake of a program', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected();
  for (const wrong of [
    { delayMs: -1 },
    { delayMs: Number.POSITIVE_INFINITY },
    { delay: 5 },
    { owned: {} },
    { key: 'x'.repeat(257) },
  ]) {
    const will = { topic: 't', payload: '', ...wrong } as never;
    await expect(client.setWill(will)).rejects.toMatchObject({ code: 'ERR_JSP_OPTION_INVALID' });
  }
  expect(gateway.socket.said).toEqual([]);
});

test('names that are no well-formed text are refused: to the broker two of them would be one', async () => {
  const gateway = new PlayedGateway();
  const invalid = { code: 'ERR_JSP_OPTION_INVALID' };
  await expect(connectClient('http://a.test', { session: '\ud800' })).rejects.toMatchObject(invalid);
  const client = await gateway.connected();
  await expect(client.subscribe('t', { durable: '\ud800' })).rejects.toMatchObject(invalid);
});

test('a handler that is none, or stands behind the options, is the mistake of a program: it would never be called', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected();
  const misplaced = client.subscribe('f', {} as never, (() => {}) as never);
  await expect(misplaced).rejects.toThrow(/handler must be a function, and stand before the options/);
  await expect(client.reply('f', 'x' as never)).rejects.toThrow(/handler must be a function/);
  const none = { code: 'ERR_JSP_OPTION_INVALID' };
  await expect(client.reply('f', () => 1, null as never)).rejects.toMatchObject(none);
  await expect(client.reply('f', () => 1, { group: 5 as never })).rejects.toMatchObject(none);
  await expect(client.subscribe(null as never)).rejects.toThrow(/filter must be a string/);
});
