import { expect, test } from 'vitest';
import type { WebClient } from '../../src/web/client.ts';
import { jsonCodec } from '../../src/web/payload.ts';
import { PlayedGateway } from './played-gateway.ts';

test('says what is published, with all that goes with it', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected();
  expect(client.publish('a', 'hello')).toBe(true);
  client.publish('b', new Uint8Array([0xff, 0]), {
    retain: true,
    ttlMs: 500,
    key: 'k',
    headers: { x: 'y' },
    correlation: 'c',
    owned: {},
    class: 'latest',
  });
  client.publish('c', { deep: 1 }, { codec: jsonCodec() });
  expect(gateway.socket.said).toEqual([
    { type: 'publish', topic: 'a', text: 'hello', qos: 0 },
    {
      ...{ type: 'publish', topic: 'b', base64: '/wA=', qos: 0, retain: true, ttlMs: 500, key: 'k' },
      ...{ headers: { x: 'y' }, correlation: 'Yw==', ownedMs: 10_000, class: 'latest' },
    },
    { type: 'publish', topic: 'c', text: '{"deep":1}', qos: 0, contentType: 'application/json' },
  ]);
});

test('[WEB-5] a message with QoS 1 is answered, and one that is not goes again on the next connection, under the same id, before what is newer', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected();
  const receipts = ['1', '2', '3'].map((text) => client.publish('t', text, { qos: 1 }));
  const [first] = gateway.socket.saidOf('publish');
  gateway.socket.tell({ type: 'result', id: first.id, result: 'stored', offset: 7 });
  expect(await receipts[0]).toEqual({ offset: 7, duplicate: false, result: 'stored' });
  const before = gateway.socket.saidOf('publish').slice(1);
  gateway.socket.break();
  const newer = client.publish('t', '4', { qos: 1 });
  await gateway.pass(300);
  gateway.socket.welcome();
  await gateway.pass();
  const again = gateway.socket.saidOf('publish');
  expect(again.map(({ text }) => text)).toEqual(['2', '3', '4']);
  expect(again.slice(0, 2).map(({ messageId }) => messageId)).toEqual(
    before.map(({ messageId }) => messageId),
  );
  expect(new Set(again.map(({ messageId }) => messageId)).size).toBe(3);
  for (const { id } of again) gateway.socket.tell({ type: 'result', id, result: 'duplicate', offset: 9 });
  expect(await receipts[1]).toEqual({ offset: 9, duplicate: true, result: 'duplicate' });
  await Promise.all([...receipts, newer]);
  expect(client.metrics()).toMatchObject({
    acknowledged: 4,
    unconfirmed: 0,
    buffered: { messages: 0, bytes: 0 },
  });
});

test('[WEB-5] what is published without a connection goes out with the next, as far as its time to live allows', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected({ reconnect: { minMs: 2_000 } });
  const unpublished: string[] = [];
  client.on('unpublished', ({ topic }, { code }) => unpublished.push(`${topic} ${code}`));
  gateway.socket.break();
  client.publish('lasting', 'a');
  client.publish('short', 'b', { ttlMs: 500 });
  const payload = new Uint8Array([1]);
  const stored = client.publish('stored', payload, { qos: 1, ttlMs: 5_000 });
  payload[0] = 2; // it is the caller's again
  await gateway.pass(1_000);
  expect(unpublished).toEqual(['short ERR_JSP_EXPIRED']);
  gateway.socket.welcome();
  await gateway.pass();
  expect(gateway.socket.saidOf('publish')).toMatchObject([
    { topic: 'stored', base64: 'AQ==', ttlMs: 4_000 },
    { topic: 'lasting', text: 'a' },
  ]);
  gateway.socket.answer('publish', {});
  const { id } = gateway.socket.saidOf('publish')[0];
  gateway.socket.tell({ type: 'error', id, code: 'STORE_FULL', message: 'full' });
  await expect(stored).rejects.toMatchObject({ code: 'ERR_JSP_STORE_FULL' });
  expect(unpublished.at(-1)).toBe('stored ERR_JSP_STORE_FULL');
});

test.each([
  ['reject', ['1', '2'], ['3 ERR_JSP_BUFFER_FULL']],
  ['dropOldest', ['2', '3'], ['1 ERR_JSP_BUFFER_FULL']],
  ['latestPerTopic', ['3'], ['1 ERR_JSP_BUFFER_FULL', '2 ERR_JSP_BUFFER_FULL']],
] as const)('a buffer with the policy %s holds no more than it may', async (policy, kept, lost) => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected({ buffer: { messages: 2, policy } });
  gateway.socket.break();
  const failed: string[] = [];
  for (const text of ['1', '2', '3']) {
    client.publish('t', text, { qos: 1 }).catch(({ code }) => failed.push(`${text} ${code}`));
  }
  await gateway.pass(300);
  gateway.socket.welcome();
  await gateway.pass();
  expect(failed).toEqual(lost);
  expect(gateway.socket.saidOf('publish').map(({ text }) => text)).toEqual(kept);
});

test('[WEB-5] no more than 1,000 messages with QoS 1 wait for their answer at the gateway, and those without are not held up by them', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected();
  for (let i = 0; i < 1_500; i++) void client.publish('t', `${i}`, { qos: 1 });
  client.publish('now', '');
  expect(gateway.socket.saidOf('publish').length).toBe(1_001);
  const firsts = gateway.socket.saidOf('publish').slice(0, 600);
  for (const { id } of firsts) gateway.socket.tell({ type: 'result', id, result: 'stored', offset: 1 });
  await gateway.pass();
  expect(gateway.socket.saidOf('publish').length).toBe(1_501);
});

test('[WEB-5] a socket that does not get on is given no more than 1 MiB, and who publishes is told to wait', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected();
  let drains = 0;
  client.on('drain', () => drains++);
  gateway.socket.bufferedAmount = 1024 * 1024 + 1;
  expect(client.publish('t', 'waits')).toBe(false);
  const drained = client.drained();
  await gateway.pass(1_000);
  expect([gateway.socket.said, drains]).toEqual([[], 0]);
  gateway.socket.bufferedAmount = 0;
  await gateway.pass(20);
  await drained;
  expect([gateway.socket.saidOf('publish').length, drains]).toEqual([1, 1]);
  expect(client.publish('t', 'goes')).toBe(true);
});

test('flush waits until the gateway has read what is of QoS 0 and has answered what is of QoS 1', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected();
  client.publish('t', '0');
  void client.publish('t', '1', { qos: 1 });
  let isFlushed = false;
  const flushed = client.flush().then(() => {
    isFlushed = true;
  });
  await gateway.pass();
  expect(gateway.socket.saidOf('ping')).toEqual([]);
  gateway.socket.answer('publish', { result: 'stored', offset: 1 });
  await gateway.pass();
  expect([gateway.socket.saidOf('ping').length, isFlushed]).toEqual([1, false]);
  gateway.socket.answer('ping');
  await flushed;
  expect(client.unconfirmed).toBe(0);
});

test('a connection takes messages with QoS 0 with it, which flush and the figures tell', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected();
  for (let i = 0; i < 3; i++) client.publish('t', '');
  await gateway.pass(500);
  gateway.socket.answer('ping'); // asked by itself, now and then
  expect(client.unconfirmed).toBe(0);
  client.publish('t', '');
  const failed = expect(client.flush()).rejects.toMatchObject({ code: 'ERR_JSP_CLOSED' });
  await gateway.pass();
  gateway.socket.break();
  await failed;
  expect(client.metrics()).toMatchObject({ lost: 1, unconfirmed: 0 });
});

test('a signal takes a message back that has not left, and ends the wait for one that has', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected();
  const [sent, waiting] = [new AbortController(), new AbortController()];
  const left = client.publish('t', 'left', { qos: 1, signal: sent.signal });
  gateway.socket.break();
  const kept = client.publish('t', 'kept', { qos: 1, signal: waiting.signal });
  sent.abort();
  waiting.abort();
  await expect(left).rejects.toMatchObject({ code: 'ERR_JSP_ABORTED' });
  await expect(kept).rejects.toMatchObject({ code: 'ERR_JSP_ABORTED' });
  await gateway.pass(300);
  gateway.socket.welcome();
  await gateway.pass();
  expect(gateway.socket.saidOf('publish').map(({ text }) => text)).toEqual(['left']);
});

test('a circuit breaker spares a broker that refuses one message after the other', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected({ breaker: { failures: 2, openMs: 1_000 } });
  const states: string[] = [];
  client.on('breaker', (state) => states.push(state));
  for (let i = 0; i < 2; i++) {
    void client.publish('t', '', { qos: 1 });
    gateway.socket.tell({
      type: 'error',
      id: gateway.socket.said.at(-1)?.id,
      code: 'STORE_FULL',
      message: '',
    });
  }
  await expect(client.publish('t', '', { qos: 1 })).rejects.toMatchObject({ code: 'ERR_JSP_CIRCUIT_OPEN' });
  await gateway.pass(1_000);
  void client.publish('t', 'trial', { qos: 1 });
  gateway.socket.answer('publish', { result: 'stored' });
  expect(states).toEqual(['open', 'halfOpen', 'closed']);
});

/** A client whose breaker lets one message through, and no other before that has told how things are. */
async function halfOpen(): Promise<{ gateway: PlayedGateway; client: WebClient }> {
  const gateway = new PlayedGateway();
  const breaker = { failures: 1, openMs: 1_000, whileOpen: 'buffer' } as const;
  const client = await gateway.connected({ breaker, codec: jsonCodec() });
  const refused = client.publish('t', 'refused', { qos: 1 });
  gateway.socket.tell({ type: 'error', id: gateway.socket.said[0].id, code: 'STORE_FULL', message: '' });
  await expect(refused).rejects.toMatchObject({ code: 'ERR_JSP_STORE_FULL' });
  await gateway.pass(1_000);
  expect(client.metrics().breaker).toBe('halfOpen');
  gateway.socket.said.length = 0;
  return { gateway, client };
}

test('a request that cannot be encoded is no trial of the circuit breaker', async () => {
  const { gateway, client } = await halfOpen();
  await expect(client.request('t', 1n)).rejects.toMatchObject({ code: 'ERR_JSP_PAYLOAD_INVALID' });
  await gateway.pass();
  void client.publish('t', 'trial', { qos: 1 });
  gateway.socket.answer('publish', { result: 'stored' });
  expect(client.metrics().breaker).toBe('closed');
});

test('a trial of the circuit breaker that was lost with its connection goes again on the next, and what waits behind it', async () => {
  const { gateway, client } = await halfOpen();
  const published = ['trial', 'next'].map((text) => client.publish('t', text, { qos: 1 }));
  expect(gateway.socket.saidOf('publish').map(({ text }) => text)).toEqual(['"trial"']);
  await gateway.reconnected();
  expect(gateway.socket.saidOf('publish').map(({ text }) => text)).toEqual(['"trial"']);
  gateway.socket.answer('publish', { result: 'stored' });
  gateway.socket.answer('publish', { result: 'stored' });
  await Promise.all(published);
  expect(client.metrics().breaker).toBe('closed');
});

test('a trial of the circuit breaker whose time to live is over before it goes again leaves it to the next', async () => {
  const { gateway, client } = await halfOpen();
  const late = expect(client.publish('t', 'trial', { qos: 1, ttlMs: 100 })).rejects.toMatchObject({
    code: 'ERR_JSP_EXPIRED',
  });
  const next = client.publish('t', 'next', { qos: 1 });
  await gateway.reconnected();
  await late;
  expect(gateway.socket.saidOf('publish').map(({ text }) => text)).toEqual(['"next"']);
  gateway.socket.answer('publish', { result: 'stored' });
  await next;
});

test.each([
  ['gives all others up', ['a ERR_JSP_EXPIRED', 'b ERR_JSP_ABORTED', 'c ERR_JSP_ABORTED'], 0],
  ['publishes two more', ['a ERR_JSP_EXPIRED', 'b ERR_JSP_BUFFER_FULL', 'c ERR_JSP_EXPIRED'], 2],
] as const)(
  'whoever %s when he hears of a message that is too late hears of each once, and the buffer counts what it holds',
  async (what, all, held) => {
    const gateway = new PlayedGateway();
    const client = await gateway.connected({ buffer: { messages: 3, policy: 'dropOldest', ageMs: 1_000 } });
    gateway.socket.break();
    await gateway.pass();
    const abort = new AbortController();
    const told: string[] = [];
    client.on('unpublished', ({ topic }, { code }) => {
      told.push(`${topic} ${code}`);
      if (what === 'gives all others up') abort.abort();
      else if (told.length === 1) for (const topic of ['d', 'e']) client.publish(topic, '');
    });
    for (const topic of ['a', 'b', 'c']) void client.publish(topic, '', { qos: 1, signal: abort.signal });
    await gateway.pass(1_000);
    const { buffered, unconfirmed } = client.metrics();
    expect([told, buffered.messages, buffered.waiting, unconfirmed]).toEqual([all, held, held, held]);
  },
);

test('close() beside drain() settles both, however long the farewell of the socket takes', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected();
  gateway.socket.close = () => {};
  const drained = client.drain();
  await gateway.pass();
  const closed = client.close();
  await gateway.pass();
  gateway.socket.break(1000);
  await Promise.all([drained, closed]);
  expect(client.state).toBe('closed');
});

test('close waits for what was published, and says what it could not wait for', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected();
  const published = client.publish('t', '', { qos: 1 });
  published.catch(() => {});
  const failed = expect(client.close({ timeoutMs: 1_000 })).rejects.toMatchObject({
    code: 'ERR_JSP_CLOSE_INCOMPLETE',
  });
  await gateway.pass(1_000);
  await failed;
  await expect(published).rejects.toMatchObject({ code: 'ERR_JSP_CLOSED' });
  expect(() => client.publish('t', '')).toThrow(expect.objectContaining({ code: 'ERR_JSP_CLOSED' }));
});

test('[WEB-10] a message that the gateway would not take fails by itself, wherever it is, and what is behind it goes on', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected();
  gateway.socket.break();
  const unpublished: string[] = [];
  client.on('unpublished', ({ topic }, { code }) => unpublished.push(`${topic} ${code}`));
  client.publish('waits', 'x'.repeat(11));
  const waits = client.publish('waits/1', new Uint8Array(11), { qos: 1 });
  client.publish('next', 'y'.repeat(10));
  await gateway.pass(300);
  gateway.socket.welcome({ messageBytesMax: 10 });
  const large = { code: 'ERR_JSP_MESSAGE_TOO_LARGE' };
  await expect(waits).rejects.toMatchObject(large);
  expect(() => client.publish('now', 'é'.repeat(6))).toThrow(expect.objectContaining(large));
  await expect(client.publish('now/1', 'x'.repeat(11), { qos: 1 })).rejects.toMatchObject(large);
  await expect(client.request('asked', 'x'.repeat(11))).rejects.toMatchObject(large);
  await expect(client.setWill({ topic: 'will', payload: 'x'.repeat(11) })).rejects.toMatchObject(large);
  const fits = client.publish('fits', new Uint8Array(10), { qos: 1 });
  gateway.socket.answer('publish', { result: 'stored', offset: 1 });
  await fits;
  expect(unpublished.sort()).toEqual([
    'now/1 ERR_JSP_MESSAGE_TOO_LARGE',
    'waits ERR_JSP_MESSAGE_TOO_LARGE',
    'waits/1 ERR_JSP_MESSAGE_TOO_LARGE',
  ]);
  expect(gateway.socket.saidOf('publish').map(({ topic }) => topic)).toEqual(['next', 'fits']);
  expect([client.state, client.unconfirmed]).toEqual(['online', 1]);
});

test('[WEB-10] a text that JSON makes six times as long goes as bytes, and headers that it makes too long are refused', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected();
  gateway.socket.break();
  await gateway.pass(300);
  gateway.socket.welcome({ messageBytesMax: 100_000 });
  await gateway.pass();
  client.publish('t', '\u0001'.repeat(99_999));
  client.publish('t', 'a'.repeat(99_999));
  const [escaped, plain] = gateway.socket.saidOf('publish');
  expect(Buffer.from(String(escaped.base64), 'base64')).toEqual(Buffer.alloc(99_999, 1));
  expect([escaped.text, plain.text]).toEqual([undefined, 'a'.repeat(99_999)]);
  expect(() => client.publish('t', '', { headers: { h: '\u0001'.repeat(60_000) } })).toThrow(
    expect.objectContaining({ code: 'ERR_JSP_MESSAGE_TOO_LARGE' }),
  );
});

test('terms that the gateway would refuse are the mistake of a program at once, also with QoS 0, of which it would never hear', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected();
  const long = 'x'.repeat(257);
  for (const wrong of [
    { key: long },
    { contentType: long },
    { messageId: '' },
    { messageId: '\ud800' },
    { key: '\ud800' },
    { correlation: new Uint8Array(257) },
    { traceparent: long },
    { replyTo: 'x'.repeat(1_025) },
    { headers: { [long]: '' } },
    { headers: { h: 'x'.repeat(65_536) } },
  ]) {
    const invalid = { code: 'ERR_JSP_OPTION_INVALID' };
    expect(() => client.publish('t', '', wrong)).toThrow(expect.objectContaining(invalid));
    await expect(client.publish('t', '', { ...wrong, qos: 1 })).rejects.toMatchObject(invalid);
  }
  expect(() => client.publish('t', '', null as never)).toThrow(/options must be an object, not null/);
  expect(gateway.socket.said).toEqual([]);
});

test('what is left of a time to live is never nothing, though time goes on while the message is said', async () => {
  const told: unknown[] = [];
  for (let lookMs = 0.05; lookMs < 1; lookMs += 0.05) {
    const gateway = new PlayedGateway();
    const client = await gateway.connected();
    const { clock, socket } = gateway;
    socket.bufferedAmount = 2 ** 30;
    client.publish('t', '', { ttlMs: 21 });
    socket.bufferedAmount = 0;
    const now = clock.now.bind(clock);
    clock.now = () => {
      clock.spend(lookMs); // each look at the clock takes its time
      return now();
    };
    for (let i = 0; i < 100 && socket.said.length === 0 && client.unconfirmed > 0; i++) clock.advance(1);
    told.push(...socket.said.map(({ ttlMs }) => ttlMs));
    client.destroy();
  }
  expect(told).toContain(1);
  expect(Math.min(...(told as number[]))).toBe(1);
});

test('bytes that were given away are the mistake of a program: as an empty message they would take a last value away', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected();
  const gone = new Uint8Array(5);
  structuredClone(gone, { transfer: [gone.buffer] });
  const detached = /the ArrayBuffer of payload is detached/;
  expect(() => client.publish('t', gone, { retain: true })).toThrow(detached);
  await expect(client.publish('t', gone, { qos: 1 })).rejects.toThrow(detached);
  await expect(client.request('t', gone)).rejects.toThrow(detached);
  await expect(client.setWill({ topic: 't', payload: gone })).rejects.toThrow(detached);
  expect(gateway.socket.said).toEqual([]);
});

test('what waits is what it was when it was handed over, whatever its caller does with his objects: publishes, requests and the will', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected();
  gateway.socket.break();
  const headers: Record<string, string> = { a: 'before' };
  const correlation = new Uint8Array([1]);
  const payload = Buffer.from('before');
  client.publish('t', payload, { headers, correlation });
  client.publish('t', payload, { headers, correlation, qos: 1 }).catch(() => {});
  client.request('t', payload, { headers, correlation }).catch(() => {});
  client.setWill({ topic: 't', payload, headers, correlation }).catch(() => {});
  await gateway.pass();
  headers.a = 'after';
  headers.b = 'after';
  correlation.fill(2);
  payload.fill('x');
  await gateway.pass(300);
  gateway.socket.welcome();
  await gateway.pass();
  const said = gateway.socket.said.filter(({ type }) => type !== 'auth');
  expect(said.map(({ type }) => type).sort()).toEqual(['publish', 'publish', 'request', 'will']);
  for (const each of said) {
    expect(each).toMatchObject({ headers: { a: 'before' }, correlation: 'AQ==', base64: 'YmVmb3Jl' });
    expect(each.headers).not.toHaveProperty('b');
  }
});
