import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RequestFault } from '../../src/gateway/members.ts';
import { type ClientMessage, NoObjectFault, parseClientMessage } from '../../src/gateway/ws-protocol.ts';
import { Overflow, SubscribeFlag } from '../../src/pubsub/command.ts';
import { encodeSubscribeOptions, RetainedHandling, StartKind } from '../../src/pubsub/subscribe-options.ts';

type Of<T extends ClientMessage['type']> = Extract<ClientMessage, { type: T }>;

function parsed<T extends ClientMessage['type']>(message: { type: T } & Record<string, unknown>): Of<T> {
  return parseClientMessage(JSON.stringify(message)) as Of<T>;
}

function fault(message: Record<string, unknown>): string {
  try {
    parseClientMessage(JSON.stringify(message));
  } catch (error) {
    expect(error).toBeInstanceOf(RequestFault);
    return (error as RequestFault).message;
  }
  throw new Error(`it was taken: ${JSON.stringify(message)}`);
}

describe('what a client says [GW-50]', () => {
  test('is one JSON object', () => {
    for (const text of ['', '{', 'null', '[]', '"subscribe"', '3', '{"type":"ping"} x']) {
      expect(() => parseClientMessage(text)).toThrow(NoObjectFault);
    }
  });

  test('has a type that there is, and a fault names those that there are', () => {
    expect(fault({ type: 'subscirbe' })).toContain('subscribe');
    expect(fault({})).toContain('type');
  });

  test('may have members that nobody knows', () => {
    expect(parsed({ type: 'ping', id: 1, more: { deep: [] } })).toEqual({ type: 'ping', id: 1 });
  });

  test('has an id of few kinds, which faults repeat [GW-51]', () => {
    expect(parsed({ type: 'ping', id: 'x' }).id).toBe('x');
    expect(parsed({ type: 'ping', id: 0 }).id).toBe(0);
    for (const id of [-1, 1.5, '', 'x'.repeat(65), {}, true])
      expect(fault({ type: 'ping', id })).toContain('id must');
    try {
      parseClientMessage('{"type":"publish","id":"p","topic":5}');
    } catch (error) {
      expect(error).toMatchObject({ id: 'p', code: 'BAD_REQUEST', message: 'topic must be a string.' });
    }
  });

  test('never makes the gateway throw anything but a fault of the client', () => {
    const member = fc.oneof(
      fc.jsonValue(),
      fc.constantFrom('send', 'explicit', 'AAAA', 'a/b', '2026-01-01T00:00:00Z', '1:2'),
    );
    const names = [
      ...[
        'type',
        'id',
        'sub',
        'filters',
        'qos',
        'since',
        'reset',
        'durable',
        'ack',
        'window',
        'backoffMs',
        'offsets',
        'upTo',
      ],
      ...[
        'topic',
        'text',
        'json',
        'base64',
        'headers',
        'correlation',
        'class',
        'token',
        'delayMs',
        'reason',
        'overflow',
      ],
    ];
    const types = [
      'auth',
      'subscribe',
      'ack',
      'nack',
      'terminate',
      'progress',
      'publish',
      'request',
      'will',
      'refresh',
      'close',
    ];
    const message = fc.tuple(
      fc.constantFrom(...types),
      fc.dictionary(fc.constantFrom(...names), member, { maxKeys: 8 }),
    );
    fc.assert(
      fc.property(message, ([type, members]) => {
        const text = JSON.stringify({ ...members, type });
        try {
          const read = parseClientMessage(text);
          // What it makes of it can be said to the broker.
          if (read.type === 'subscribe') encodeSubscribeOptions(read.request.options);
        } catch (error) {
          expect(error).toBeInstanceOf(RequestFault);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('a subscription', () => {
  test('reads a log, from now on, and settles what it gives to the socket, unless it is told otherwise [GW-42, GW-53]', () => {
    const { sub, request } = parsed({ type: 'subscribe', id: 7, filters: ['a/#', 'b', 'a/#'] });
    expect(sub).toBe(7);
    expect(request).toMatchObject({ filters: ['a/#', 'b'], readsLog: true, isExplicit: false, reset: 'new' });
    expect(request.flags).toBe(SubscribeFlag.QOS1 | SubscribeFlag.COMPRESSED | Overflow.DROP_OLDEST);
    expect(request.options).toMatchObject({ start: StartKind.NEW, startValue: 0, epoch: undefined });
    expect(request.options.ackWaitMs).toBe(0xffff_ffff); // nothing is late that waits for the socket
  });

  test('is settled by its client where it outlives him, or is shared', () => {
    expect(parsed({ type: 'subscribe', id: 1, filters: ['a'], durable: 'd' }).request.isExplicit).toBe(true);
    expect(parsed({ type: 'subscribe', id: 1, filters: ['$share/g/a'] }).request.isExplicit).toBe(true);
    expect(
      parsed({ type: 'subscribe', id: 1, filters: ['a'], durable: 'd', ack: 'none' }).request.isExplicit,
    ).toBe(false);
    const { options } = parsed({ type: 'subscribe', id: 1, filters: ['a'], ack: 'explicit' }).request;
    expect(options).toMatchObject({ unackedMax: 1_000, ackWaitMs: undefined });
  });

  test('begins behind a position, whichever way it is written [GW-40, GW-43]', () => {
    const start = { start: StartKind.OFFSET, startValue: 8, epoch: 3 };
    for (const since of [{ epoch: 3, offset: 7 }, '3:7']) {
      const { request } = parsed({ type: 'subscribe', id: 1, filters: ['a'], since });
      expect(request.options).toMatchObject(start);
      expect(request.flags & SubscribeFlag.NO_RETAINED).not.toBe(0); // it has had the last values
    }
    const at = Date.UTC(2026, 0, 2);
    for (const since of [{ time: at }, { time: '2026-01-02T00:00:00Z' }, '2026-01-02T01:00:00+01:00']) {
      expect(parsed({ type: 'subscribe', id: 1, filters: ['a'], since }).request.options).toMatchObject({
        start: StartKind.TIME,
        startValue: at,
      });
    }
    for (const since of [
      'yesterday',
      '3:',
      '-1:2',
      {},
      { epoch: 1 },
      { offset: 1 },
      { epoch: 1, offset: 2, time: 3 },
      5,
    ]) {
      expect(fault({ type: 'subscribe', id: 1, filters: ['a'], since })).toContain('since must');
    }
  });

  test('is refused where its wishes do not go together', () => {
    const base = { type: 'subscribe', id: 1, filters: ['a'] };
    expect(fault({ ...base, qos: 0, durable: 'd' })).toBe('durable goes with qos 1');
    expect(fault({ ...base, qos: 0, since: 'earliest' })).toBe('since goes with qos 1');
    expect(fault({ ...base, window: 5 })).toBe('window goes with ack "explicit"');
    expect(fault({ ...base, expiryMs: 5 })).toBe('expiryMs is of a durable subscription');
    expect(fault({ ...base, filters: [] })).toContain('filters must');
    expect(fault({ ...base, filters: Array.from({ length: 65 }, (_, i) => `f${i}`) })).toContain(
      'filters must',
    );
    expect(fault({ type: 'subscribe', filters: ['a'] })).toBe('sub, or an id, must be there');
  });

  test('says all that SUBSCRIBE can', () => {
    const { request } = parsed({
      ...{ type: 'subscribe', sub: 's', filters: ['a'], durable: 'd', expiryMs: 1, window: 2, ackWaitMs: 30 },
      ...{
        backoffMs: [4, 5],
        maxDeliveries: 6,
        deadLetter: 'dead',
        keyOrder: true,
        class: 'reliable',
        maxRate: 7,
      },
      ...{ retained: 'ifNew', noLocal: true, overflow: 'latest', queueMessages: 8, queueBytes: 9 },
    });
    expect(request).toMatchObject({
      flags: SubscribeFlag.QOS1 | SubscribeFlag.COMPRESSED | SubscribeFlag.NO_LOCAL | Overflow.LATEST,
      queueMessages: 8,
      queueBytes: 9,
      options: {
        ...{ name: 'd', expiryMs: 1, unackedMax: 2, ackWaitMs: 30, backoffMs: [4, 5], deliveriesMax: 6 },
        ...{
          deadLetter: 'dead',
          keyOrder: true,
          deliveryClass: 2,
          rateMax: 7,
          retained: RetainedHandling.IF_NEW,
        },
      },
    });
  });
});

describe('a message to be published', () => {
  const publish = (members: Record<string, unknown>) =>
    parsed({ type: 'publish', topic: 't', ...members }).message;

  test('is an item of a bulk: one payload, and the same terms [GW-41]', () => {
    expect(publish({ text: 'ä', qos: 0, retain: true, key: 'k' })).toMatchObject({
      ...{ topic: 't', payload: 'ä', qos: 0, retain: true, properties: { key: 'k' } },
    });
    expect(publish({ json: { a: [1, null] } })).toMatchObject({
      ...{
        payload: '{"a":[1,null]}',
        qos: 1,
        retain: false,
        properties: { contentType: 'application/json' },
      },
    });
    expect(publish({ base64: '/wA=' }).payload).toEqual(Buffer.of(255, 0));
    expect(fault({ type: 'publish', topic: 't', text: '', json: 1 })).toContain('one payload');
    expect(fault({ type: 'publish', topic: 'a/+' })).toContain('The topic');
    // Half a surrogate pair becomes U+FFFD: two that differ would be one.
    expect(fault({ type: 'publish', topic: 'a', messageId: '\ud800' })).toContain('messageId must be');
    expect(fault({ type: 'publish', topic: 'a', key: '\udc00' })).toContain('key must be');
  });
});

describe('acknowledgements', () => {
  test('name offsets, or all up to one [GW-53]', () => {
    expect(parsed({ type: 'ack', sub: 1, offsets: [4, 5] })).toMatchObject({ offsets: [4, 5], upTo: -1 });
    expect(parsed({ type: 'ack', sub: 1, upTo: 9, id: 3 })).toMatchObject({ id: 3, offsets: null, upTo: 9 });
    expect(parsed({ type: 'nack', sub: 1, offsets: [4], delayMs: 0, reason: 'r' })).toMatchObject({
      delayMs: 0,
    });
    expect(fault({ type: 'ack', sub: 1, offsets: [1], upTo: 2 })).toContain('exclude');
    expect(fault({ type: 'ack', sub: 1, offsets: [2 ** 53] })).toContain('offsets must');
    expect(fault({ type: 'ack', offsets: [1] })).toBe('sub must be there');
  });
});
