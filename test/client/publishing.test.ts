import { once } from 'node:events';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { JspError } from '../../src/base/errors.ts';
import { type BrokerClient, connectClient } from '../../src/client/index.ts';
import { ProgressWatch } from '../../src/client/publishing.ts';
import { Command, encodePlain, LARGE_BYTES_MIN } from '../../src/pubsub/command.ts';
import { FakeBroker, settled, until } from './fake-broker.ts';
import { FakeNetwork, type FakeStream } from './fake-transport.ts';

/** A client of a broker that reads what it is sent and answers FLUSH only when told. */
async function silent() {
  const [near, far] = new FakeNetwork().connect();
  const log: string[] = [];
  const seen: { stream: FakeStream; message: Buffer }[] = [];
  far.on('stream', (stream: FakeStream) => {
    stream.on('message', (message: Buffer) => {
      seen.push({ stream, message });
      if (message[0] !== Command.PUBLISH) return;
      const end = 8 + message.readUInt16BE(2);
      log.push(`${message.toString('utf8', 8, end)}=${message.toString('utf8', end, end + 3)}`);
    });
  });
  const answerFlushes = () => {
    for (const { stream, message } of seen.splice(0)) {
      if (message[0] === Command.FLUSH) stream.send(encodePlain(Command.FLUSHED, message.readUInt32BE(4)));
    }
  };
  return { client: await connectClient(near), near, far, seen, log, answerFlushes };
}

const LARGE = Buffer.alloc(LARGE_BYTES_MIN, 'L');

describe('the streams of a publisher', () => {
  test('are one for each class, and one beside it for large messages [BRK-39]', async () => {
    const { client, seen } = await silent();
    client.publish('a', 'chat');
    client.publish('b', 'media', { priority: 'media' });
    client.publish('c', LARGE, { priority: 'bulk' });
    client.publish('d', 'bulk', { priority: 'bulk' });
    await settled();
    const shown = seen.map(({ stream, message }) => [stream.priority, stream.id, message.length > 1_000]);
    expect(shown.map(([priority, , large]) => [priority, large])).toEqual([
      ['chat', false],
      ['media', false],
      ['bulk', false],
      ['bulk', true],
      ['bulk', false],
    ]);
    expect(new Set(shown.map(([, id]) => id)).size).toBe(4);
  });

  test('are asked after no more once they are gone with their connection', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const { client } = await silent();
    const before = vi.getTimerCount();
    client.publish('a', '1');
    expect(vi.getTimerCount()).toBe(before + 1);
    client.destroy();
    expect(vi.getTimerCount()).toBe(0);
  });

  test('are of class chat unless the client says otherwise', async () => {
    for (const [options, expected] of [
      [{}, 'chat'],
      [{ publishPriority: 'media' }, 'media'],
    ] as const) {
      const [near] = new FakeNetwork().connect();
      const client = await connectClient(near, options);
      client.publish('a', '');
      expect(near.streams.map(({ priority }) => priority)).toEqual([expected]);
    }
  });

  test('keep the order of a topic: its first large message waits for what went before, others of it wait behind [BRK-39]', async () => {
    const { client, seen, log, answerFlushes } = await silent();
    client.publish('a', '1');
    expect(client.publish('a', LARGE)).toBe(false);
    expect(client.publish('a', '3')).toBe(false);
    expect(client.publish('b', '4')).toBe(true);
    await settled();
    expect(log).toEqual(['a=1', 'b=4']);
    expect(client.unconfirmed).toBe(4);
    const draining = client.drained();
    answerFlushes();
    await draining;
    await until(() => log.length === 4);
    expect(log.slice(2)).toEqual(['a=LLL', 'a=3']);
    expect(client.publish('a', '5')).toBe(true);
    await until(() => log.at(-1) === 'a=5');
    const large = seen.find(({ message }) => message.length > 1_000);
    expect(seen.find(({ message }) => message.at(-1) === '5'.charCodeAt(0))?.stream).toBe(large?.stream);
    answerFlushes();
    await settled();
    answerFlushes();
    await settled();
    client.publish('a', '6');
    await until(() => log.at(-1) === 'a=6');
    expect(seen.find(({ message }) => message.at(-1) === '6'.charCodeAt(0))?.stream).not.toBe(large?.stream);
  });

  test('deliver every message of every topic in order, small and large, to the end [BRK-20] [BRK-39]', async () => {
    const broker = new FakeBroker();
    const [publisher, subscriber] = [await broker.client(), await broker.client()];
    const received = new Map<string, number[]>();
    await subscriber.subscribe('#', ({ topic, payload }) => {
      const own = received.get(topic) ?? [];
      own.push(payload.readUInt32BE(0));
      received.set(topic, own);
    });
    const count = 400;
    for (let i = 0; i < count; i++) {
      const payload = (i * 7) % 5 === 0 ? Buffer.from(LARGE) : Buffer.alloc(4);
      payload.writeUInt32BE(i);
      if (!publisher.publish(`t/${i % 4}`, payload)) await publisher.drained();
      if (i % 50 === 0) await settled();
    }
    await publisher.flush();
    await until(() => [...received.values()].flat().length === count);
    for (const [topic, own] of received) {
      const rest = Number(topic.slice(2));
      expect(own).toEqual(Array.from({ length: count / 4 }, (_, i) => i * 4 + rest));
    }
  });

  test('throw ERR_JSP_QUEUE_FULL in a loop that never looks at the answer, long after it was false', async () => {
    const { client } = await silent();
    client.publish('a', 'something that no one confirms');
    let answers = 0;
    const loop = () => {
      for (let i = 0; i < 100; i++) if (client.publish('a', Buffer.alloc(1024 * 1024))) answers++;
    };
    expect(loop).toThrow(
      expect.objectContaining({ code: 'ERR_JSP_QUEUE_FULL', message: expect.stringContaining('drained()') }),
    );
    expect(answers).toBe(0);
  });
});

describe('large messages that are held', () => {
  test('share one bound with those that wait to be sent, so that none finds the stream full when its turn comes [BRK-39]', async () => {
    const { client, near, seen, answerFlushes } = await silent();
    const payload = Buffer.alloc(1024 * 1024);
    const publishAll = (topic: string) => {
      let accepted = 0;
      try {
        for (; accepted < 100; accepted++) client.publish(topic, payload);
      } catch (error) {
        expect(error).toMatchObject({ code: 'ERR_JSP_QUEUE_FULL' });
      }
      return accepted;
    };
    client.publish('first', LARGE); // on the stream of large ones, which now stands still
    const large = near.streams[1];
    const waiting = 40 * 1024 * 1024;
    Object.defineProperty(large, 'queuedBytes', { get: () => waiting });
    client.publish('other', 'small');
    const accepted = publishAll('other');
    expect(accepted).toBeGreaterThan(20);
    expect(accepted * payload.length + waiting).toBeLessThanOrEqual(64 * 1024 * 1024);
    await until(() => seen.length > 0);
    while (client.unconfirmed > 0) {
      answerFlushes();
      await settled();
    }
  });

  test('stay unconfirmed, and throw at nobody, when the connection goes just as their turn has come', async () => {
    const rejections: unknown[] = [];
    const note = (error: unknown) => void rejections.push(error);
    process.on('unhandledRejection', note);
    try {
      const { client, near, seen, answerFlushes } = await silent();
      client.publish('a', 'small');
      client.publish('a', LARGE);
      await until(() => seen.some(({ message }) => message[0] === Command.FLUSH));
      answerFlushes();
      near.streams[0].once('message', () => near.break());
      expect(await client.closed).toMatchObject({ code: 'ERR_JSP_HEARTBEAT_TIMEOUT' });
      await settled();
      expect(client.unconfirmed).toBeGreaterThanOrEqual(1);
      expect(rejections).toEqual([]);
    } finally {
      process.off('unhandledRejection', note);
    }
  });
});

describe('what the broker has not confirmed', () => {
  test('is told with the error that ended the connection, and is zero after a flush [BRK-25]', async () => {
    const { client, near, seen, answerFlushes } = await silent();
    for (let i = 0; i < 144; i++) client.publish('a', `${i}`);
    const flushing = client.flush();
    await until(() => seen.some(({ message }) => message[0] === Command.FLUSH));
    answerFlushes();
    await flushing;
    expect(client.unconfirmed).toBe(0);
    for (let i = 0; i < 7; i++) client.publish('a', `${i}`);
    const closing = once(client, 'close');
    near.break();
    const [error, unconfirmed] = await closing;
    expect([unconfirmed, client.unconfirmed]).toEqual([7, 7]);
    expect(error).toMatchObject({ code: 'ERR_JSP_HEARTBEAT_TIMEOUT' });
    expect(error.message).toContain('7 published messages');
    expect(await client.closed).toBe(error);
    expect(() => client.publish('a', '')).toThrow();
  });

  test('is asked for by itself after 1,024 messages', async () => {
    const client = await new FakeBroker().client();
    for (let i = 0; i < 1_030; i++) client.publish('a', `${i}`);
    await until(() => client.unconfirmed <= 6);
  });

  test('is asked for by itself after a second', async () => {
    const client = await new FakeBroker().client();
    client.publish('a', '');
    expect(client.unconfirmed).toBe(1);
    await until(() => client.unconfirmed === 0);
  });
});

describe('closing a client', () => {
  test('ends after timeoutMs, and says what it has waited for', async () => {
    const { client } = await silent();
    for (let i = 0; i < 3; i++) client.publish('a', `${i}`);
    await expect(client.close({ timeoutMs: 20 })).rejects.toMatchObject({
      code: 'ERR_JSP_CLOSE_INCOMPLETE',
      message: expect.stringMatching(/3 published messages.*queues are full/),
    });
    expect(await client.closed).toBeNull();
  });

  test('waits as long as something gets on, and gives up when nothing has for stallMs', async () => {
    const { client } = await silent();
    for (let i = 0; i < 3; i++) client.publish('a', `${i}`);
    const start = performance.now();
    await expect(client.close({ stallMs: 300 })).rejects.toMatchObject({ code: 'ERR_JSP_CLOSE_INCOMPLETE' });
    expect(performance.now() - start).toBeGreaterThan(290);
  });

  test.each([
    [
      'a later call with less time',
      (client: BrokerClient) => void client.close({ timeoutMs: 0 }).catch(() => {}),
    ],
    [
      'a later call with an aborted signal',
      (client: BrokerClient) => void client.close({ signal: AbortSignal.abort() }).catch(() => {}),
    ],
  ])('ends at once by %s, and not later by one with more', async (_, cut) => {
    const { client } = await silent();
    client.publish('a', '');
    const closing = client.close();
    void client.close({ timeoutMs: 100_000 }).catch(() => {});
    await settled();
    cut(client);
    await expect(closing).rejects.toMatchObject({ code: 'ERR_JSP_CLOSE_INCOMPLETE' });
  });

  test('ends at once when its signal fires', async () => {
    const { client } = await silent();
    client.publish('a', '');
    const controller = new AbortController();
    const closing = client.close({ signal: controller.signal });
    await settled();
    controller.abort();
    await expect(closing).rejects.toMatchObject({ code: 'ERR_JSP_CLOSE_INCOMPLETE' });
  });

  test('takes no more publishes, on no stream', async () => {
    const client = await new FakeBroker().client();
    client.publish('a', '');
    const closing = client.close();
    for (const options of [undefined, { priority: 'chat' }, { priority: 'bulk' }] as const) {
      expect(() => client.publish('a', '', options)).toThrow(
        expect.objectContaining({ code: 'ERR_JSP_CLOSED' }),
      );
    }
    await closing;
    expect(client.unconfirmed).toBe(0);
    expect(() => client.publish('a', '')).toThrow(expect.objectContaining({ code: 'ERR_JSP_CLOSED' }));
  });

  test('rejects with what the end of the connection has cost', async () => {
    const { client, far } = await silent();
    for (let i = 0; i < 3; i++) client.publish('a', `${i}`);
    const closing = client.close();
    await settled();
    far.destroy(8);
    await expect(closing).rejects.toMatchObject({
      code: 'ERR_JSP_CLOSED_BY_PEER',
      message: expect.stringContaining('3 published messages'),
    });
  });

  test('resolves when the broker has everything, however the connection ends meanwhile', async () => {
    const { client, near, seen, answerFlushes } = await silent();
    client.publish('a', '');
    const flushing = client.flush();
    await until(() => seen.some(({ message }) => message[0] === Command.FLUSH));
    answerFlushes();
    await flushing;
    near.close = () => Promise.reject(new JspError('ERR_JSP_HEARTBEAT_TIMEOUT', 'the peer is gone'));
    await client.close();
  });

  test('resolves when the broker has everything, however often it is called', async () => {
    const client = await new FakeBroker().client();
    client.publish('a', '');
    await Promise.all([client.close(), client.close({ timeoutMs: 50_000 }), client.close()]);
    await client.close({ timeoutMs: 0 });
    const idle = await new FakeBroker().client();
    idle.publish('a', '');
    await idle.flush();
    await idle.close({ timeoutMs: 0 });
  });
});

describe('many waits with one signal', () => {
  test('make Node warn of no leak: twelve subscriptions and twelve flushes', async () => {
    const warnings: unknown[] = [];
    const note = (warning: Error) => void warnings.push(warning);
    process.on('warning', note);
    try {
      const client = await new FakeBroker().client();
      const { signal } = new AbortController();
      const filters = Array.from({ length: 24 }, (_, i) => `f/${i}`);
      await client.subscribe(filters.slice(0, 12), () => {}, { signal });
      await Promise.all(filters.slice(12).map((filter) => client.subscribe(filter, () => {}, { signal })));
      client.publish('f/1', '');
      await Promise.all(filters.map(() => client.flush({ signal })));
      await settled();
      expect(warnings).toEqual([]);
    } finally {
      process.off('warning', note);
    }
  });
});

describe('a watch over what is published', () => {
  test('tells for how long nothing has got on: 0 as long as something does, and when nothing is left', async () => {
    const published = { unconfirmed: 2, queuedBytes: 100 };
    let stillMs = -1;
    let looks = 0;
    const watch = new ProgressWatch(published, 1, (ms) => {
      stillMs = ms;
      looks++;
    });
    onTestFinished(() => watch.stop());
    await until(() => looks > 0);
    expect(stillMs).toBe(0);
    await until(() => stillMs > 20);
    published.queuedBytes = 99;
    await until(() => stillMs === 0);
    await until(() => stillMs > 20);
    published.unconfirmed = 1;
    await until(() => stillMs === 0);
    await until(() => stillMs > 0);
    published.unconfirmed = 0;
    await until(() => stillMs === 0);
    const later = looks + 10;
    await until(() => looks >= later);
    expect(stillMs).toBe(0);
    watch.stop();
    const last = looks;
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(looks).toBe(last);
  });
});
