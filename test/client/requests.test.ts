import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { jsonCodec, type Message, ReplyError } from '../../src/client/index.ts';
import { FakeBroker, settled, until } from './fake-broker.ts';
import { ManualClock } from './manual-clock.ts';
import { playedBroker } from './played-broker.ts';

describe('a request', () => {
  test.each([true, false])(
    'is answered, over one subscription for all (a session: %s) [CLT-32]',
    async (hasSession) => {
      const broker = new FakeBroker();
      const service = await broker.client();
      const asking = hasSession ? (await broker.returningClient()).client : await broker.client();
      await service.reply('double/+', (request) => `${2 * Number(request.text())}`);
      const answers = await Promise.all([1, 2, 3, 4].map((n) => asking.request(`double/${n}`, `${n}`)));
      expect(answers.map((answer) => answer.text())).toEqual(['2', '4', '6', '8']);
      expect(new Set(answers.map(({ topic }) => topic)).size).toBe(4);
      expect(answers[0].topic.startsWith('$inbox/')).toBe(hasSession);
      expect(broker.service.metrics().subscriptions).toBe(2);
      expect(asking.metrics().requests).toBe(0);
    },
  );

  test('and its answer have values where there is a codec, and correlation and headers where they are given [CLT-35]', async () => {
    const broker = new FakeBroker();
    const [service, asking] = [await broker.client(), await broker.client({ codec: jsonCodec() })];
    await service.reply<{ n: number }>(
      'double',
      async ({ value, headers }) => ({ n: 2 * value.n, headers }),
      {
        codec: jsonCodec(),
      },
    );
    const { value, contentType } = await asking.request('double', { n: 4 }, { headers: { a: 'b' } });
    expect([value, contentType]).toEqual([{ n: 8, headers: { a: 'b' } }, 'application/json']);
    await service.subscribe('echo', (message) => message.respond(message.payload, { headers: { x: 'y' } }));
    const { headers, correlation } = await asking.request('echo', 1, { correlation: 'c' });
    expect([headers, correlation]).toEqual([{ x: 'y' }, Buffer.from('c')]);
  });

  test.each([0, 1] as const)(
    'that nobody is there to answer fails at once (QoS %i) [CLT-33]',
    async (qos) => {
      const client = await new FakeBroker().client();
      await expect(client.request('nowhere', '', { qos })).rejects.toMatchObject({
        code: 'ERR_JSP_NO_RESPONDERS',
      });
    },
  );

  test('that is answered leaves no timer behind [CLT-33]', async () => {
    const clock = new ManualClock();
    const client = await new FakeBroker().client({ clock });
    await client.reply('quick', () => 'yes');
    const before = clock.pending;
    const answer = client.request('quick', '');
    expect((await answer).text()).toBe('yes');
    expect(clock.pending).toBe(before);
  });

  test('is given up after its time, and what comes later is counted [CLT-33]', async () => {
    const clock = new ManualClock();
    const client = await new FakeBroker().client({ clock });
    const held: Message[] = [];
    await client.subscribe('slow', (message) => held.push(message));
    const answer = client.request('slow', '', { timeoutMs: 50 });
    await until(() => held.length === 1);
    clock.advance(49);
    await settled();
    expect(client.metrics().requests).toBe(1);
    clock.advance(1);
    await expect(answer).rejects.toMatchObject({ code: 'ERR_JSP_TIMEOUT' });
    held[0].respond('late');
    held[0].respond('later');
    await until(() => client.metrics().lateAnswers === 2);
    expect(client.metrics().requests).toBe(0);
  });

  test('is not taken for the one that waits at its place when it is answered late [CLT-33]', async () => {
    const clock = new ManualClock();
    const client = await new FakeBroker().client({ clock });
    const held: Message[] = [];
    await client.subscribe('slow', (message) => held.push(message));
    const first = client.request('slow', '1', { timeoutMs: 50 });
    await until(() => held.length === 1);
    clock.advance(50);
    await expect(first).rejects.toMatchObject({ code: 'ERR_JSP_TIMEOUT' });
    const others = ['2', '3'].map((text) => client.request('slow', text));
    await until(() => held.length === 3);
    held[0].respond('late');
    await until(() => client.metrics().lateAnswers === 1);
    expect(client.metrics().requests).toBe(2);
    held[2].respond('three');
    held[1].respond('two');
    expect((await Promise.all(others)).map((answer) => answer.text())).toEqual(['two', 'three']);
    expect(client.metrics()).toMatchObject({ requests: 0, lateAnswers: 1 });
  });

  test('is given up when its signal fires, also before it is sent [CLT-33]', async () => {
    const client = await new FakeBroker().client();
    const asked: Message[] = [];
    await client.subscribe('slow', (message) => asked.push(message));
    const abort = new AbortController();
    const answer = client.request('slow', '', { signal: abort.signal });
    await until(() => asked.length === 1);
    abort.abort();
    await expect(answer).rejects.toMatchObject({ code: 'ERR_JSP_ABORTED' });
    await expect(client.request('slow', '', { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ERR_JSP_ABORTED',
    });
    await settled();
    expect(asked.length).toBe(1);
  });

  test('fails with what its responder says, and no more than that [CLT-35]', async () => {
    const client = await new FakeBroker().client();
    const told: unknown[] = [];
    client.on('handlerError', (_, error) => told.push((error as Error).message));
    await client.reply('fails', ({ payload }) => {
      if (payload.length === 0) throw new ReplyError(404, 'no such thing');
      return Promise.reject(new Error('the password is secret'));
    });
    await expect(client.request('fails', '')).rejects.toMatchObject({
      code: 'ERR_JSP_REQUEST_FAILED',
      applicationCode: 404,
      reason: 'no such thing',
    });
    await expect(client.request('fails', 'x')).rejects.toMatchObject({
      applicationCode: 500,
      reason: 'the responder failed',
    });
    expect(told).toEqual(['the password is secret']);
  });

  test('whose answer cannot be decoded fails, and one that cannot be encoded is not sent [CLT-21]', async () => {
    const client = await new FakeBroker().client();
    await client.reply('bad', () => '{');
    const invalid = { code: 'ERR_JSP_PAYLOAD_INVALID' };
    await expect(client.request('bad', 1, { codec: jsonCodec() })).rejects.toMatchObject(invalid);
    await expect(client.request('bad', 1n, { codec: jsonCodec() })).rejects.toMatchObject(invalid);
    expect(() => client.publish('a', 1n, { codec: jsonCodec() })).toThrow(expect.objectContaining(invalid));
    await expect(client.publish('a', 1n, { codec: jsonCodec(), qos: 1 })).rejects.toMatchObject(invalid);
  });

  test('of QoS 0 fails when its connection is lost, one of QoS 1 is still answered [CLT-34]', async () => {
    const broker = new FakeBroker();
    const service = await broker.client();
    const { client, connections } = await broker.returningClient();
    const asked: Message[] = [];
    await service.subscribe('slow', (message) => asked.push(message));
    const [lost, kept] = [client.request('slow', '0'), client.request('slow', '1', { qos: 1 })];
    await until(() => asked.length === 2);
    connections[0].break();
    await expect(lost).rejects.toMatchObject({ code: 'ERR_JSP_OFFLINE' });
    await until(() => client.state === 'online');
    await settled();
    for (const message of asked) message.respond(`answer to ${message.text()}`);
    expect((await kept).text()).toBe('answer to 1');
  });

  test('waits for a client that is away, as long as it may [CLT-34]', async () => {
    const broker = new FakeBroker();
    const { client, connections, way } = await broker.returningClient();
    await client.reply('a', () => 'b');
    expect((await client.request('a', '')).text()).toBe('b');
    way.isReachable = false;
    connections[0].break();
    await until(() => client.state === 'offline');
    await expect(client.request('a', '', { timeoutMs: 20 })).rejects.toMatchObject({
      code: 'ERR_JSP_TIMEOUT',
    });
    const answer = client.request('a', '');
    way.isReachable = true;
    expect((await answer).text()).toBe('b');
  });

  test('that nobody could be asked leaves nothing behind [CLT-33]', async () => {
    setFlagsFromString('--expose-gc');
    const gc = runInNewContext('gc') as () => void;
    const clock = new ManualClock();
    const { client } = await playedBroker({ clock, reconnect: false }); // whose broker does not answer a SUBSCRIBE
    const errors: WeakRef<object>[] = [];
    const ask = async () => {
      const answers = Array.from({ length: 50 }, () =>
        client.request('t', '', { timeoutMs: 1 }).catch((error) => errors.push(new WeakRef(error))),
      );
      await settled();
      clock.advance(1);
      await Promise.all(answers);
    };
    await ask();
    await settled();
    gc();
    expect([errors.length, client.metrics().requests]).toEqual([50, 0]);
    expect(errors.filter((error) => error.deref() !== undefined).length).toBeLessThan(5);
    client.destroy();
  });

  test('ends with its client', async () => {
    const client = await new FakeBroker().client();
    await client.subscribe('slow', () => {});
    const answer = client.request('slow', '');
    await settled();
    client.destroy();
    await expect(answer).rejects.toMatchObject({ code: 'ERR_JSP_CLOSED' });
    await expect(client.request('slow', '')).rejects.toMatchObject({ code: 'ERR_JSP_CLOSED' });
  });
});

describe('who answers requests', () => {
  test('and ends before its handler does leaves the answer out, and what the handler fails with is still told [CLT-36]', async () => {
    const broker = new FakeBroker();
    const [service, asking] = [await broker.client(), await broker.client()];
    const told: unknown[] = [];
    service.on('handlerError', (_, error) => told.push(error));
    const handlers: { resolve: (answer: string) => void; reject: (error: Error) => void }[] = [];
    const slow = () =>
      new Promise((resolve, reject) => {
        handlers.push({ resolve, reject });
      });
    await service.reply('slow', slow, { concurrency: 3, keyOrder: true });
    const answers = ['a', 'b', 'c'].map((key) => asking.request('slow', '', { key, timeoutMs: 50 }));
    await until(() => handlers.length === 3);
    service.destroy();
    handlers[0].resolve('too late');
    handlers[1].reject(new ReplyError(404, 'no such thing'));
    handlers[2].reject(new Error('a fault'));
    await settled();
    expect(told).toEqual([expect.objectContaining({ message: 'a fault' })]);
    for (const answer of answers) await expect(answer).rejects.toMatchObject({ code: 'ERR_JSP_TIMEOUT' });
  });

  test('has nothing to do with messages that ask for no answer, or for one on no topic [CLT-35]', async () => {
    const client = await new FakeBroker().client();
    const told: unknown[] = [];
    client.on('handlerError', (...args) => told.push(args));
    let count = 0;
    await client.reply('a', () => `${count++}`);
    client.publish('a', 'x');
    client.publish('a', 'x', { replyTo: 'no/#/topic' });
    await client.flush();
    await until(() => count === 2);
    expect((await client.request('a', '')).text()).toBe('2');
    expect(told).toEqual([]);
  });

  test('acknowledges a request of QoS 1 that it has answered, with a failure too [CLT-35]', async () => {
    const client = await new FakeBroker().client();
    client.on('handlerError', () => {});
    let count = 0;
    const service = await client.reply(
      'a',
      () => {
        count++;
        throw new Error('always');
      },
      { qos: 1, backoffMs: [1] },
    );
    await expect(client.request('a', '', { qos: 1 })).rejects.toMatchObject({ applicationCode: 500 });
    await until(() => service.unsettled === 0);
    await settled();
    expect(count).toBe(1);
  });
});
