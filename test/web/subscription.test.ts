import { expect, test } from 'vitest';
import type { Message } from '../../src/web/message.ts';
import { jsonCodec } from '../../src/web/payload.ts';
import type { SubscribeOptions } from '../../src/web/subscribe-options.ts';
import { catchUncaught } from '../transport/uncaught.ts';
import { PlayedGateway } from './played-gateway.ts';

/** A subscription that reads a log, and its gateway. */
async function reading(handler?: (message: Message) => unknown, options: SubscribeOptions = { qos: 1 }) {
  const gateway = new PlayedGateway();
  const client = await gateway.connected();
  const opening =
    handler === undefined ? client.subscribe('t/#', options) : client.subscribe('t/#', handler, options);
  await gateway.pass();
  confirm(gateway, { epoch: 1, offset: 10, head: 10, recovered: true, missed: 0 });
  const subscription = await opening;
  return { gateway, client, subscription };
}

function confirm(gateway: PlayedGateway, members: object = {}): void {
  const { id, sub } = gateway.socket.saidOf('subscribe').at(-1) ?? {};
  gateway.socket.tell({ type: 'subscribed', id, sub, ...members });
}

function deliver(gateway: PlayedGateway, members: object): void {
  const { sub } = gateway.socket.saidOf('subscribe').at(-1) ?? {};
  gateway.socket.tell({ type: 'message', sub, topic: 't/1', text: '', ...members });
}

function settledOffsets(gateway: PlayedGateway, type = 'ack'): unknown[] {
  return gateway.socket.saidOf(type).flatMap(({ offsets }) => offsets as number[]);
}

test('asks with the names of the protocol', async () => {
  const { gateway } = await reading(undefined, {
    ...{
      durable: 'd',
      from: { epoch: 3, offset: 8 },
      maxUnacked: 5,
      ackWaitMs: 900,
      backoffMs: [1, 2],
      maxDeliveries: 4,
    },
    ...{
      deadLetter: 'dead',
      expiryMs: 60_000,
      keyOrder: true,
      retained: 'none',
      noLocal: true,
      overflow: 'latest',
    },
  });
  expect(gateway.socket.said).toEqual([
    {
      ...{
        type: 'subscribe',
        id: 1,
        sub: 1,
        filters: ['t/#'],
        qos: 1,
        durable: 'd',
        since: { epoch: 3, offset: 7 },
      },
      ...{
        ack: 'explicit',
        window: 5,
        ackWaitMs: 900,
        backoffMs: [1, 2],
        maxDeliveries: 4,
        deadLetter: 'dead',
      },
      ...{ expiryMs: 60_000, keyOrder: true, retained: 'none', noLocal: true, overflow: 'latest' },
    },
  ]);
});

test('a message has what the gateway says of it, and its payload whichever way it came', async () => {
  const messages: Message[] = [];
  const { gateway } = await reading((message) => messages.push(message), { qos: 0 });
  deliver(gateway, {
    text: 'grüß',
    retained: true,
    headers: { a: 'b' },
    correlation: 'AQ==',
    publishedAt: 5,
    key: 'k',
  });
  deliver(gateway, {
    json: { a: [1] },
    text: undefined,
    contentType: 'application/json',
    replyTo: 'r',
    attempt: 3,
  });
  deliver(gateway, { base64: '/wA=', text: undefined });
  deliver(gateway, { text: '' });
  const [text, json, bytes, empty] = messages;
  expect([text.text(), text.payload.length, text.retained, text.key, text.headers]).toEqual([
    'grüß',
    6,
    true,
    'k',
    { a: 'b' },
  ]);
  expect([text.correlation, text.publishedAt]).toEqual([new Uint8Array([1]), new Date(5)]);
  expect([json.json(), json.text(), json.replyTo, json.attempt]).toEqual([{ a: [1] }, '{"a":[1]}', 'r', 3]);
  expect(bytes.payload).toEqual(new Uint8Array([0xff, 0]));
  expect([empty.payload.length, empty.offset, empty.ack()]).toEqual([0, undefined, false]);
  expect(() => bytes.json()).toThrow(expect.objectContaining({ code: 'ERR_JSP_PAYLOAD_INVALID' }));
});

test('[WEB-6] a message is acknowledged when its handler is done, those of a turn together, and comes again where the handler fails', async () => {
  const done: (() => void)[] = [];
  const { gateway, client } = await reading(
    (message) => {
      if (message.text() === 'bad') throw new Error('cannot');
      return new Promise<void>((resolve) => done.push(resolve));
    },
    { qos: 1, concurrency: 5 },
  );
  const errors: unknown[] = [];
  client.on('handlerError', (_, error) => errors.push(error));
  for (const offset of [11, 12, 13]) deliver(gateway, { offset, topic: `t/${offset}` });
  await gateway.pass();
  expect(gateway.socket.saidOf('ack')).toEqual([]);
  done[0]();
  done[2]();
  await gateway.pass();
  expect(gateway.socket.saidOf('ack')).toEqual([{ type: 'ack', sub: 1, offsets: [11, 13] }]);
  deliver(gateway, { offset: 14, text: 'bad' });
  expect(gateway.socket.saidOf('nack')).toEqual([{ type: 'nack', sub: 1, offsets: [14], reason: 'cannot' }]);
  expect(errors).toEqual([new Error('cannot')]);
});

test('messages of a topic are handled one after the other, and no more at once than is allowed', async () => {
  const begun: string[] = [];
  const done: (() => void)[] = [];
  const { gateway } = await reading(
    (message) => {
      begun.push(message.text());
      return new Promise<void>((resolve) => done.push(resolve));
    },
    { qos: 1, concurrency: 2 },
  );
  for (const [i, topic] of ['t/a', 't/a', 't/b', 't/c'].entries())
    deliver(gateway, { offset: 11 + i, topic, text: `${i}` });
  expect(begun).toEqual(['0', '2']);
  done[0]();
  await gateway.pass();
  expect(begun).toEqual(['0', '2', '1']);
});

test('a loop acknowledges a message when it asks for the next, and goes on over a lost connection', async () => {
  const { gateway, subscription } = await reading();
  const seen: string[] = [];
  let letGo: () => void = () => {};
  const held = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const looping = (async () => {
    for await (const message of subscription) {
      seen.push(message.text());
      if (message.text() === 'b') await held;
      if (message.text() === 'last') break;
    }
  })();
  deliver(gateway, { offset: 11, text: 'a' });
  await gateway.pass();
  deliver(gateway, { offset: 12, text: 'b' });
  await gateway.pass();
  expect(settledOffsets(gateway)).toEqual([11]);
  await gateway.reconnected();
  confirm(gateway, { epoch: 1, offset: 11, recovered: true, missed: 0 });
  await gateway.pass();
  deliver(gateway, { offset: 12, text: 'b again' });
  letGo();
  await gateway.pass();
  deliver(gateway, { offset: 13, text: 'last' });
  await looping;
  // What a loop has when the connection ends it is not given again, where it is done with it; a loop that is left has not acknowledged what it had.
  expect(seen).toEqual(['a', 'b', 'last']);
  await gateway.pass();
  expect(settledOffsets(gateway)).toEqual([12]);
  expect(gateway.socket.saidOf('close').length).toBe(1);
});

test('[WEB-6] goes on behind what is settled, and hands nothing over again that was', async () => {
  const seen: [number | undefined, boolean][] = [];
  const { gateway, client, subscription } = await reading(
    ({ offset, redelivered }) => {
      seen.push([offset, redelivered]);
    },
    { qos: 1, ack: 'manual' },
  );
  const resumed: unknown[] = [];
  client.on('resumed', (_, { recovered }) => resumed.push(recovered));
  client.on('gap', () => resumed.push('gap'));
  deliver(gateway, { offset: 11 });
  deliver(gateway, { offset: 12 });
  deliver(gateway, { offset: 13 });
  expect(subscription.unsettled).toBe(3);
  await gateway.reconnected();
  const [asked] = gateway.socket.saidOf('subscribe');
  expect(asked).toMatchObject({ since: { epoch: 1, offset: 10 }, reset: 'earliest' });
  confirm(gateway, { epoch: 1, offset: 10, recovered: true, missed: 0 });
  for (const offset of [11, 12, 13, 14]) deliver(gateway, { offset });
  expect(seen.slice(3)).toEqual([
    [11, true],
    [12, true],
    [13, true],
    [14, false],
  ]);
  expect(resumed).toEqual([true]);
});

test('[WEB-6] what was acknowledged while the client was away is said when it is back, and not handed over again', async () => {
  const messages: Message[] = [];
  const { gateway } = await reading((message) => messages.push(message), { qos: 1, ack: 'manual' });
  for (const offset of [11, 12]) deliver(gateway, { offset });
  gateway.socket.break();
  expect(messages[0].ack()).toBe(true);
  expect(messages[0].ack()).toBe(false);
  await gateway.pass(300);
  gateway.socket.welcome();
  await gateway.pass();
  expect(gateway.socket.saidOf('subscribe')[0].since).toEqual({ epoch: 1, offset: 11 });
  confirm(gateway, { epoch: 1, offset: 11, recovered: true, missed: 0 });
  deliver(gateway, { offset: 12 });
  expect(messages.map(({ offset }) => offset)).toEqual([11, 12, 12]);
  expect(messages[1].ack()).toBe(true); // the first delivery of 12
  await gateway.pass();
  expect(settledOffsets(gateway)).toEqual([11, 12]);
});

test('[WEB-6] tells what is missing: a log that begins anew, one that keeps less, a queue that was full', async () => {
  const { gateway, client, subscription } = await reading(() => {});
  const told: unknown[] = [];
  subscription.on('gap', ({ missed }) => told.push(['gap', missed]));
  subscription.on('missed', (count, reason) => told.push(['missed', count, reason]));
  subscription.on('resumed', ({ recovered }) => told.push(['resumed', recovered]));
  const { sub } = gateway.socket.saidOf('subscribe')[0];
  gateway.socket.tell({ type: 'gap', sub, missed: 3, reason: 'retention' });
  gateway.socket.tell({ type: 'gap', sub, missed: 2, reason: 'policy' });
  gateway.socket.tell({ type: 'gap', sub, missed: null, reason: 'reset' });
  expect(subscription.missed).toBe(5);
  await gateway.reconnected();
  confirm(gateway, { epoch: 2, offset: 0, recovered: false, missed: null });
  await gateway.pass();
  expect(told).toEqual([
    ['gap', 3],
    ['missed', 2, 'policy'],
    ['gap', 'unknown'],
    ['gap', 'unknown'],
    ['resumed', false],
  ]);
  expect(client.state).toBe('online');
});

test('[WEB-6] subscriptions are there again before what is published goes out', async () => {
  const { gateway, client } = await reading(() => {}, { qos: 0 });
  gateway.socket.break();
  client.publish('t/x', 'mine');
  await gateway.pass(300);
  gateway.socket.welcome();
  await gateway.pass();
  expect(gateway.socket.said.map(({ type }) => type)).toEqual(['auth', 'subscribe']);
  confirm(gateway);
  await gateway.pass();
  expect(gateway.socket.said.map(({ type }) => type)).toEqual(['auth', 'subscribe', 'publish']);
});

test('[WEB-6] with QoS 0 a handler that does not get on has 10,000 messages wait for it, and hears of those that are dropped', async () => {
  const seen: string[] = [];
  let go: () => void = () => {};
  const { gateway, subscription } = await reading(
    (message) => {
      seen.push(message.text());
      if (message.text() === '0') return new Promise<void>((resolve) => (go = resolve));
    },
    { qos: 0 },
  );
  let missed = 0;
  subscription.on('missed', (count, reason) => {
    expect(reason).toBe('policy');
    missed += count;
  });
  for (let i = 0; i <= 10_005; i++) deliver(gateway, { text: `${i}` });
  expect([missed, subscription.dropped]).toEqual([5, 5]);
  go();
  for (let i = 0; i < 50; i++) await gateway.pass(1);
  expect(seen.length).toBe(10_001);
  expect([seen[1], seen.at(-1)]).toEqual(['6', '10005']);
});

test('a payload that the codec does not take reaches no handler, and is given up', async () => {
  const values: unknown[] = [];
  const codec = jsonCodec((value) => {
    if (typeof value !== 'number') throw new Error('no number');
    return value;
  });
  const { gateway, subscription } = await reading((message) => void values.push(message.value), {
    qos: 1,
    codec,
  });
  const refused: string[] = [];
  subscription.on('undecodable', ({ topic, reason }) => refused.push(`${topic} ${reason}`));
  deliver(gateway, { offset: 11, json: 5, text: undefined });
  deliver(gateway, { offset: 12, text: '{' });
  deliver(gateway, { offset: 13, json: 'x', text: undefined });
  deliver(gateway, { offset: 14, text: '6' });
  await gateway.pass();
  expect(values).toEqual([5, 6]);
  expect(refused).toEqual([expect.stringContaining('t/1 '), 't/1 no number']);
  expect(settledOffsets(gateway, 'terminate')).toEqual([12, 13]);
  expect(settledOffsets(gateway)).toEqual([11, 14]);
});

test('a service answers, and its failures as well', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected({ codec: jsonCodec() });
  const serving = client.reply('sum', async ({ value }) => (value as number[]).reduce((a, b) => a + b), {
    group: 'g',
  });
  await gateway.pass();
  expect(gateway.socket.saidOf('subscribe')[0].filters).toEqual(['$share/g/sum']);
  confirm(gateway);
  await serving;
  client.on('handlerError', () => {});
  deliver(gateway, {
    topic: 'sum',
    json: [1, 2],
    text: undefined,
    replyTo: '$inbox/s/1',
    correlation: 'AQ==',
  });
  deliver(gateway, { topic: 'sum', json: 5, text: undefined, replyTo: '$inbox/s/2' });
  await gateway.pass();
  expect(gateway.socket.saidOf('publish')).toMatchObject([
    { topic: '$inbox/s/1', text: '3', correlation: 'AQ==', contentType: 'application/json' },
    { topic: '$inbox/s/2', text: 'the responder failed', status: 500 },
  ]);
});

test('a subscription that the broker refuses, or ends, tells: by its promise, or by an event', async () => {
  const { gateway, client, subscription } = await reading(() => {});
  const lost: unknown[] = [];
  client.on('lost', (_, error) => lost.push((error as { code?: string }).code));
  const { sub } = gateway.socket.saidOf('subscribe')[0];
  gateway.socket.tell({ type: 'ended', sub, code: 'TAKEN', message: 'another has it' });
  expect(await subscription.closed).toMatchObject({ code: 'ERR_JSP_BROKER' });
  await gateway.pass();
  const refused = expect(client.subscribe('secret')).rejects.toMatchObject({
    code: 'ERR_JSP_NOT_AUTHORIZED',
  });
  await gateway.pass();
  const { id } = gateway.socket.saidOf('subscribe')[1];
  gateway.socket.tell({ type: 'error', id, sub, code: 'NOT_AUTHORIZED', message: 'no', filter: 'secret' });
  await refused;
  expect(lost).toEqual(['ERR_JSP_BROKER', 'ERR_JSP_NOT_AUTHORIZED']);
  expect(client.metrics().subscriptions).toBe(0);
});

test('unsubscribe resolves behind the last message; a durable one is taken back when the client is back', async () => {
  const seen: string[] = [];
  const { gateway, subscription } = await reading((message) => void seen.push(message.text()), {
    durable: 'd',
  });
  gateway.socket.break();
  const back = subscription.unsubscribe();
  await gateway.pass(300);
  gateway.socket.welcome();
  await gateway.pass();
  confirm(gateway, { epoch: 1, offset: 10, recovered: true, missed: 0 });
  await gateway.pass();
  expect(gateway.socket.saidOf('unsubscribe').length).toBe(1);
  deliver(gateway, { offset: 11, text: 'last' });
  gateway.socket.answer('unsubscribe');
  await back;
  expect(seen).toEqual(['last']);
});

test('drain lets handlers finish, sees to their acknowledgements, and lists what is not settled', async () => {
  let finish: () => void = () => {};
  const { gateway, client } = await reading(() => new Promise<void>((resolve) => (finish = resolve)));
  for (const offset of [11, 12]) deliver(gateway, { offset });
  const draining = client.drain();
  expect(client.state).toBe('draining');
  await gateway.pass();
  finish();
  await gateway.pass();
  expect(settledOffsets(gateway)).toContain(11);
  expect(gateway.socket.saidOf('ack').at(-1)).toMatchObject({ upTo: 0 }); // answered when the broker has read those before
  gateway.socket.answer('ack');
  await gateway.pass();
  await draining;
  const manual = await reading(() => {}, { qos: 1, ack: 'manual' });
  deliver(manual.gateway, { offset: 11 });
  const failed = expect(manual.client.drain()).rejects.toMatchObject({
    code: 'ERR_JSP_CLOSE_INCOMPLETE',
    unsettled: [{ was: 'received', topic: 't/1', offset: 11 }],
  });
  await manual.gateway.pass();
  manual.gateway.socket.answer('ack');
  await manual.gateway.pass();
  await failed;
});

test('what a handler throws with QoS 0, where nobody listens, is thrown by itself', async () => {
  const uncaught = catchUncaught();
  const { gateway } = await reading(
    () => {
      throw new Error('of a handler');
    },
    { qos: 0 },
  );
  deliver(gateway, {});
  deliver(gateway, {});
  await new Promise((resolve) => setImmediate(resolve));
  expect(uncaught).toEqual([new Error('of a handler'), new Error('of a handler')]);
});

test('[WEB-8] JSON of more levels than the stack has, and base64 that is none, wait and are read as any other payload', async () => {
  const { gateway, subscription } = await reading();
  const { sub } = gateway.socket.saidOf('subscribe')[0];
  const deep = `${'{"a":['.repeat(20_000)}[],"b",null${']}'.repeat(20_000)}`;
  const payloads = [`"json":${deep}`, '"json":[1,{"b":"c"}]', '"base64":"*"', '"text":"last"'];
  const { onmessage } = gateway.socket;
  for (const [i, payload] of payloads.entries()) {
    onmessage?.({ data: `{"type":"message","sub":${sub},"topic":"t/1","offset":${11 + i},${payload}}` });
  }
  const texts: string[] = [];
  for await (const message of subscription) {
    expect(Buffer.from(message.payload).toString()).toBe(message.text());
    if (texts.push(message.text()) === payloads.length) break;
  }
  expect(texts).toEqual([deep, '[1,{"b":"c"}]', '', 'last']);
});

test('an answer that is no payload, without a codec, is the mistake of who answers: nobody is sent an empty one in its place', async () => {
  const gateway = new PlayedGateway();
  const client = await gateway.connected();
  const errors: unknown[] = [];
  client.on('handlerError', (_, error) => errors.push(error));
  const answers: unknown[] = [{ a: 1 }, 5, undefined, 'text', new Uint8Array([0xff])];
  const replying = client.reply('t/#', () => answers.shift());
  await gateway.pass();
  confirm(gateway);
  await replying;
  for (let i = 0; i < 5; i++) deliver(gateway, { replyTo: 'answers', correlation: '*' });
  expect(
    gateway.socket.saidOf('publish').map(({ status, text, base64 }) => status ?? text ?? base64),
  ).toEqual([500, 500, '', 'text', '/w==']);
  expect(errors).toEqual([expect.any(TypeError), expect.any(TypeError)]);
});

test('asks for the same on each connection, though its caller has changed the object of his options for another subscription', async () => {
  const options = { durable: 'first', from: { epoch: 3, offset: 8 }, backoffMs: [1, 2] };
  const { gateway } = await reading(() => {}, options);
  const before = gateway.socket.saidOf('subscribe')[0];
  Object.assign(options, { durable: 'second', maxDeliveries: 1 });
  options.from.offset = 99;
  options.backoffMs.push(3);
  await gateway.reconnected();
  const again = gateway.socket.saidOf('subscribe')[0];
  expect([again.durable, again.backoffMs, again.maxDeliveries]).toEqual(['first', [1, 2], undefined]);
  expect(before).toMatchObject({ durable: 'first', since: { epoch: 3, offset: 7 } });
});
