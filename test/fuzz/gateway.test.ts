import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Addresses, proofOf } from '../../src/gateway/caller.ts';
import { eventOfRequest, itemOfEvent } from '../../src/gateway/cloud-events.ts';
import { itemOf, type PublishItem, publishCommand } from '../../src/gateway/item.ts';
import { Origins } from '../../src/gateway/origin.ts';
import { Problem } from '../../src/gateway/problem.ts';
import { durationMs } from '../../src/gateway/publish-request.ts';
import { CommandReader, ReasonCode, Side, topicOf } from '../../src/pubsub/command.ts';
import { decodeProperties } from '../../src/pubsub/properties.ts';

const members = fc.constantFrom(
  ...['topic', 'payload', 'text', 'json', 'base64', 'qos', 'retain', 'priority', 'ttlMs', 'contentType'],
  ...['key', 'class', 'messageId', 'replyTo', 'correlation', 'status', 'headers', 'traceparent', 'ownedMs'],
  ...['specversion', 'id', 'source', 'type', 'subject', 'data', 'data_base64', '__proto__', 'constructor'],
);
const likely = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom<unknown>(
    'a/b',
    '1.0',
    'durable',
    'chat',
    'AQI=',
    0,
    1,
    true,
    60_000,
    { a: 'b' },
    { a: 1 },
    'é\ud800',
  ),
);
const message = fc.oneof(
  fc.jsonValue(),
  fc.dictionary(members, likely).map((each) => ({ topic: 'a', ...each })),
  fc
    .dictionary(members, likely)
    .map((each) => ({ ...{ specversion: '1.0', id: '1', source: 's', type: 't', topic: 'a' }, ...each })),
);

/** What `make` makes; null where it refuses with a problem. Anything else that it throws is a fault. */
function orProblem<T>(make: () => T): T | null {
  try {
    return make();
  } catch (error) {
    if (error instanceof Problem) return null;
    throw error;
  }
}

describe('what callers send to a gateway', () => {
  test('as a message is a PUBLISH that the broker takes, with the same payload and terms, or a problem', () => {
    const reader = new CommandReader(Side.BROKER);
    const decoder = (item: PublishItem): void => {
      const command = orProblem(() => publishCommand(item));
      if (command === null) return;
      if (item.qos === 1) command.writeUInt32BE(1, 4);
      expect(reader.read(command)).toBe(ReasonCode.NO_ERROR);
      expect(topicOf(command)).toBe(item.topic);
      expect(command.subarray(reader.payloadStart)).toEqual(Buffer.from(item.payload as string));
      if (item.properties === null) return;
      const { ttlMs, headers, key } = decodeProperties(command, reader.topicEnd);
      expect([ttlMs, key]).toEqual([
        item.properties.ttlMs,
        item.properties.key === undefined ? undefined : Buffer.from(item.properties.key).toString(),
      ]);
      expect(Object.keys(headers ?? {}).length).toBe(Object.keys(item.properties.headers ?? {}).length);
    };
    fc.assert(
      fc.property(message, (value) => {
        for (const make of [itemOf, itemOfEvent]) {
          const item = orProblem(() => make(value));
          if (item !== null) decoder(item);
        }
      }),
      { numRuns: 600 },
    );
  });

  test('as headers is understood, or a problem', () => {
    const origins = new Origins(['a.example'], ['https://b.example']);
    const addresses = new Addresses(['10.0.0.0/8']);
    const plain: PublishItem = {
      ...{ topic: 'a', payload: Buffer.from('x'), qos: 1, retain: false },
      priority: 'chat',
      properties: null,
    };
    const text = fc.oneof(
      fc.string(),
      fc.constantFrom('10.0.0.1, ::1', '[::1]:1', 'localhost:1', 'https://b.example', 'Bearer x'),
    );
    fc.assert(
      fc.property(text, text, text, (a, b, c) => {
        const headers = { host: a, origin: b, 'x-forwarded-for': c, authorization: a, 'x-api-key': b };
        const request = { headers, socket: { remoteAddress: '10.0.0.1' } } as never;
        orProblem(() => origins.admit(request, true));
        orProblem(() => proofOf(request));
        expect(addresses.of(request)).toMatch(/^[0-9a-f.:]+/);
        orProblem(() =>
          eventOfRequest({ 'ce-specversion': '1.0', 'ce-id': a, 'ce-source': b, 'ce-type': c }, plain),
        );
        orProblem(() => durationMs('ttl', a));
      }),
      { numRuns: 300 },
    );
  });
});
