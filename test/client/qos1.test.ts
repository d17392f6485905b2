import { describe, expect, test } from 'vitest';
import { jsonCodec } from '../../src/client/codec.ts';
import type { Message } from '../../src/client/message.ts';
import { SubscribeFlag } from '../../src/pubsub/command.ts';
import { RetainedHandling, StartKind } from '../../src/pubsub/subscribe-options.ts';
import { held, subscribed } from './scripted-log.ts';

describe('a message of QoS 1', () => {
  test('tells all that came with it, when it is asked [CLT-20]', async () => {
    const got: Message[] = [];
    const { log, goOnline, settle } = subscribed({}, (message) => got.push(message));
    log.start = { epoch: 7, next: 2 ** 32 - 1 };
    await goOnline();
    log.position(7, 2 ** 32 - 1);
    const correlation = Buffer.from('c');
    log.deliver(2 ** 32 + 5, {
      topic: 'a/b',
      payload: '{"x":1}',
      redelivered: true,
      properties: {
        replyTopic: 'r',
        correlation,
        contentType: 'application/json',
        key: 'k',
        publishedAt: 1_700_000_000_000,
        attempt: 3,
        headers: { 'content-language': 'de', __proto__x: 'y' },
      },
    });
    log.deliver(2 ** 32 + 6, { payload: '{' });
    await settle();
    const [full, bare] = got;
    expect(full.topic).toBe('a/b');
    expect([full.text(), full.json(), full.value]).toEqual(['{"x":1}', { x: 1 }, Buffer.from('{"x":1}')]);
    expect([full.offset, full.epoch, full.redelivered, full.attempt]).toEqual([2 ** 32 + 5, 7, true, 3]);
    expect([full.replyTo, full.contentType, full.key, full.retained]).toEqual([
      'r',
      'application/json',
      'k',
      false,
    ]);
    expect(full.correlation).toEqual(correlation);
    expect(full.publishedAt).toEqual(new Date(1_700_000_000_000));
    expect({ ...full.headers }).toEqual({ 'content-language': 'de', __proto__x: 'y' });
    expect([bare.offset, bare.redelivered, bare.attempt]).toEqual([2 ** 32 + 6, false, 1]);
    expect([bare.replyTo, bare.headers, bare.publishedAt, bare.properties]).toEqual([
      undefined,
      {},
      undefined,
      {},
    ]);
    expect(() => bare.json()).toThrow(expect.objectContaining({ code: 'ERR_JSP_PAYLOAD_INVALID' }));
  });

  test('is acknowledged when its handler is done, in one command for a turn of the event loop [CLT-22]', async () => {
    const { handler, got, done } = held();
    const { log, goOnline, settle, subscription } = subscribed({ concurrency: 600 }, handler);
    await goOnline();
    for (let i = 1; i <= 4; i++) log.deliver(i, { topic: `t${i}` });
    await settle();
    expect([got.length, log.acks, subscription.unsettled]).toEqual([4, [], 4]);
    for (const i of [0, 1, 3]) done[i]();
    await settle();
    expect([log.acks, subscription.unsettled]).toEqual([[[1, 2, 4]], 1]);
    done[2]();
    await settle();
    expect(log.acks).toEqual([[1, 2, 4], [3]]);
    for (let i = 0; i < 300; i++) log.deliver(10 + 2 * i, { topic: `u${i}` });
    await settle();
    for (const each of done.slice(4)) each();
    await settle();
    // An ACK has 256 ranges at most.
    expect(log.acks.slice(2).map(({ length }) => length)).toEqual([256, 44]);
  });

  test('whose handler fails is nacked, and what it threw is told [CLT-24]', async () => {
    const { log, told, goOnline, settle, subscription } = subscribed({}, (message) => {
      if (message.offset === 1) throw new Error('thrown');
      if (message.offset === 2) return Promise.reject(new Error('rejected'));
      message.ack();
      throw new Error('late');
    });
    const own: unknown[] = [];
    subscription.on('handlerError', (error, { offset }) => own.push([(error as Error).message, offset]));
    await goOnline();
    for (let i = 1; i <= 3; i++) log.deliver(i);
    await settle();
    const reasons = ['thrown', 'rejected'];
    expect(log.nacks).toEqual(reasons.map((reason, i) => ({ id: i + 1, delayMs: 0xffff_ffff, reason })));
    expect(log.acks).toEqual([[3]]);
    expect(own).toEqual([
      ['thrown', 1],
      ['rejected', 2],
      ['late', 3],
    ]);
    expect(told.map((each) => (each as unknown[])[0])).toEqual(Array(3).fill('handlerError'));
  });

  test('whose handler fails with an error that has no text is nacked, and what waits behind it is handled [CLT-24]', async () => {
    const thrown = [
      Object.assign(new Error(), { message: { code: 7 } }),
      Object.defineProperty(new Error(), 'message', {
        get: () => {
          throw new Error('no message');
        },
      }),
    ];
    const { log, told, goOnline, settle } = subscribed({ concurrency: 1 }, ({ offset = 0 }) =>
      offset > 4 ? undefined : offset > 2 ? Promise.reject(thrown[offset - 3]) : raise(thrown[offset - 1]),
    );
    await goOnline();
    for (let i = 1; i <= 5; i++) log.deliver(i);
    await settle();
    const reasons = ['[object Object]', 'something that cannot be printed'];
    expect(log.nacks.map(({ reason }) => reason)).toEqual([...reasons, ...reasons]);
    expect(log.acks).toEqual([[5]]);
    expect(told).toHaveLength(4);
  });

  test('is settled by the application alone, once, where it asked for that [CLT-22]', async () => {
    const got: Message[] = [];
    const { log, goOnline, settle } = subscribed({ ack: 'manual' }, (message) => got.push(message));
    await goOnline();
    for (let i = 1; i <= 4; i++) log.deliver(i);
    await settle();
    expect(log.acks).toEqual([]);
    expect([got[0].progress(), got[0].ack(), got[0].ack(), got[0].nack(), got[0].progress()]).toEqual([
      true,
      true,
      false,
      false,
      false,
    ]);
    got[1].nack({ delayMs: 1_500, reason: 'busy' });
    got[2].terminate('never');
    await settle();
    expect([log.progress, log.acks, log.terminated]).toEqual([[[1]], [[1]], [[3]]]);
    expect(log.nacks).toEqual([{ id: 2, delayMs: 1_500, reason: 'busy' }]);
  });

  test('is acknowledged when its loop asks for the next one, not when the loop is left [CLT-22]', async () => {
    const { log, goOnline, settle, subscription } = subscribed();
    await goOnline();
    for (let i = 1; i <= 3; i++) log.deliver(i);
    const seen: unknown[] = [];
    for await (const { offset } of subscription) {
      seen.push(offset);
      await settle();
      if (offset === 3) break;
    }
    await settle();
    expect([seen, log.acks]).toEqual([
      [1, 2, 3],
      [[1], [2]],
    ]);
    expect(await subscription.closed).toBeNull();
  });

  test('that comes again while its first delivery is worked on is settled with it [CLT-27]', async () => {
    const { handler, got, done } = held();
    const { log, goOnline, settle } = subscribed({}, handler);
    await goOnline();
    log.deliver(1);
    await settle();
    log.deliver(1, { redelivered: true });
    await settle();
    done[0]();
    await settle();
    expect([got.length, log.acks]).toEqual([1, [[1]]]);
  });

  test.each([
    [{ qos: 0 }, SubscribeFlag.QOS1, false],
    [{ qos: 1 }, SubscribeFlag.QOS1, true],
    [{ durable: 'd', qos: undefined }, SubscribeFlag.QOS1, true],
    [{ noLocal: true }, SubscribeFlag.NO_LOCAL, true],
    [{ retained: 'none' }, SubscribeFlag.NO_RETAINED, true],
  ] as const)('%o says so to the broker', async (options, flag, isSet) => {
    const { log, goOnline } = subscribed(options);
    await goOnline();
    expect((log.asked[0].flags & flag) !== 0).toBe(isSet);
  });

  test.each([
    [{}, { unackedMax: 1_000, ackWaitMs: 30_000, start: StartKind.NEW, startValue: 0 }],
    [
      { durable: 'd', expiryMs: Number.POSITIVE_INFINITY },
      { name: 'd', expiryMs: 0xffff_ffff },
    ],
    [{ from: 'earliest' }, { start: StartKind.EARLIEST }],
    [{ from: 'lastPerTopic' }, { start: StartKind.LAST_PER_TOPIC }],
    [{ from: { offset: 9, epoch: 3 } }, { start: StartKind.OFFSET, startValue: 9, epoch: 3 }],
    [{ from: { time: new Date(1_234) } }, { start: StartKind.TIME, startValue: 1_234 }],
    [
      { maxUnacked: 5, ackWaitMs: 9, backoffMs: [1, 2] },
      { unackedMax: 5, ackWaitMs: 9, backoffMs: [1, 2] },
    ],
    [
      { maxDeliveries: 4, deadLetter: 'dead' },
      { deliveriesMax: 4, deadLetter: 'dead' },
    ],
    [
      { maxRate: 10, keyOrder: true, class: 'latest' },
      { rateMax: 10, keyOrder: true, deliveryClass: 0 },
    ],
    [{ retained: 'ifNew' }, { retained: RetainedHandling.IF_NEW }],
  ] as const)('%o reaches the broker', async (options, expected) => {
    const { log, goOnline } = subscribed(options);
    await goOnline();
    expect(log.asked[0].options).toMatchObject(expected);
  });
});

describe('a codec', () => {
  const readings = jsonCodec((value) => {
    const { celsius } = value as { celsius: number };
    if (typeof celsius !== 'number') throw new TypeError('no celsius');
    return { celsius };
  });

  test.each(['terminate', 'nack'] as const)(
    'that does not take a payload is told; the message is handed to nobody, and ends by %s [CLT-21]',
    async (undecodable) => {
      const values: unknown[] = [];
      const { log, told, goOnline, settle, subscription } = subscribed(
        { codec: readings, undecodable },
        ({ value }) => values.push(value),
      );
      const own: unknown[] = [];
      subscription.on('undecodable', ({ message }) => own.push(message.text()));
      await goOnline();
      ['{"celsius":1}', '{', '{"celsius":"x"}', '\xff', '{"celsius":2}'].forEach((payload, i) => {
        log.deliver(1 + i, { topic: 's', payload });
      });
      await settle();
      expect(values).toEqual([{ celsius: 1 }, { celsius: 2 }]);
      expect(subscription.undecodable).toBe(3);
      expect(own).toEqual(['{', '{"celsius":"x"}', '\xff']);
      expect(told[1]).toEqual(['undecodable', 's', 'The payload cannot be decoded: no celsius']);
      expect(log.acks.flat()).toEqual([1, 5]);
      expect(undecodable === 'nack' ? log.nacks.map(({ id }) => id) : log.terminated.flat()).toEqual([
        2, 3, 4,
      ]);
    },
  );

  test('of the subscription goes before that of the client [CLT-21]', async () => {
    const values: unknown[] = [];
    const upper = { encode: String, decode: (payload: Buffer) => payload.toString().toUpperCase() };
    for (const options of [{}, { codec: upper }]) {
      const { log, goOnline, settle } = subscribed(options, ({ value }) => values.push(value), jsonCodec());
      await goOnline();
      log.deliver(1, { payload: '"a"' });
      await settle();
    }
    expect(values).toEqual(['a', '"A"']);
  });
});

describe('several handlers at once', () => {
  test('keep the order of each topic, and are never more than was asked for [CLT-25]', async () => {
    const { handler, got, done } = held();
    const { log, goOnline, settle } = subscribed({ concurrency: 2 }, handler);
    await goOnline();
    ['a', 'a', 'b', 'c', 'a'].forEach((topic, i) => {
      log.deliver(1 + i, { topic });
    });
    await settle();
    const offsets = () => got.map(({ offset }) => offset);
    expect(offsets()).toEqual([1, 3]);
    done[1]();
    await settle();
    expect(offsets()).toEqual([1, 3, 4]);
    done[2]();
    await settle();
    expect(offsets()).toEqual([1, 3, 4]);
    done[0]();
    await settle();
    expect(offsets()).toEqual([1, 3, 4, 2]);
    done[3]();
    await settle();
    expect(offsets()).toEqual([1, 3, 4, 2, 5]);
  });

  test('keep that of each key, where it was asked for [CLT-25]', async () => {
    const { handler, got, done } = held();
    const { log, goOnline, settle } = subscribed({ concurrency: 8, keyOrder: true }, handler);
    await goOnline();
    ['x', 'y', 'x', 'z'].forEach((key, i) => {
      log.deliver(1 + i, { topic: 'same', properties: { key } });
    });
    await settle();
    expect(got.map(({ key }) => key)).toEqual(['x', 'y', 'z']);
    done[0]();
    await settle();
    expect(got.map(({ offset }) => offset)).toEqual([1, 2, 4, 3]);
  });
});

describe('a slow handler', () => {
  test('says now and then that it works, for what waits for it as well [CLT-23]', async () => {
    const { handler, done } = held();
    const { log, clock, goOnline, settle } = subscribed({ ackWaitMs: 3_000 }, handler);
    await goOnline();
    for (let i = 1; i <= 3; i++) log.deliver(i);
    await settle();
    clock.advance(999);
    await settle();
    expect(log.progress).toEqual([]);
    clock.advance(1);
    await settle();
    expect(log.progress).toEqual([[1, 2, 3]]);
    done[0]();
    await settle();
    clock.advance(1_000);
    await settle();
    expect(log.progress).toEqual([
      [1, 2, 3],
      [2, 3],
    ]);
    for (const each of [1, 2]) {
      done[each]();
      await settle();
    }
    clock.advance(10_000);
    await settle();
    expect([log.progress.length, clock.pending]).toEqual([2, 0]);
  });

  test('of an application that settles itself is told for what it does not have yet alone [CLT-23]', async () => {
    const { handler } = held();
    const { log, clock, goOnline, settle } = subscribed({ ackWaitMs: 3_000, ack: 'manual' }, handler);
    await goOnline();
    for (let i = 1; i <= 3; i++) log.deliver(i);
    await settle();
    clock.advance(1_000);
    await settle();
    expect(log.progress).toEqual([[2, 3]]);
  });

  test('that is quick lets the event loop turn, however much waits [CLT-26]', async () => {
    let release: () => void = () => {};
    const first = new Promise<void>((resolve) => {
      release = resolve;
    });
    const turns = new Set<number>();
    let turn = 0;
    const { log, clock, goOnline, settle } = subscribed({}, ({ offset }) => {
      if (offset === 1) return first;
      turns.add(turn);
      clock.spend(2);
    });
    await goOnline();
    for (let i = 1; i <= 30; i++) log.deliver(i);
    await settle();
    release();
    for (; turn < 40 && log.acks.flat().length < 30; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
      clock.advance(0);
    }
    expect(turns.size).toBeGreaterThan(3);
    expect(log.acks.flat().length).toBe(30);
  });

  test('is not sent more than it may have, whatever the broker does [CLT-26]', async () => {
    const { handler, got } = held();
    const { log, goOnline, settle, subscription } = subscribed(
      { maxUnacked: 4, ack: 'manual', concurrency: 100 },
      handler,
    );
    await goOnline();
    for (let i = 1; i <= 60; i++) log.deliver(i, { topic: `${i}` });
    await settle();
    expect(subscription.unsettled).toBe(5);
    for (const message of got.splice(0)) message.ack();
    await settle();
    expect(subscription.unsettled).toBe(5);
  });
});

function raise(error: unknown): never {
  throw error;
}
