import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  decodeNack,
  decodePosition,
  decodePublished,
  decodeSubscribed,
  encodeAckRanges,
  encodeNack,
  encodePosition,
  encodePublished,
  encodeSubscribed,
  idAfter,
  isAfter,
  offsetOf,
  type PublishResult,
  visitAckRanges,
} from '../../src/pubsub/acknowledgement.ts';
import { CommandReader, HEADER_BYTES, publishPrefix, ReasonCode, Side } from '../../src/pubsub/command.ts';
import {
  decodeProperties,
  encodeProperties,
  endOfProperties,
  findProperty,
  type Properties,
  PropertyType,
} from '../../src/pubsub/properties.ts';
import {
  type AuthMethod,
  decodeHello,
  decodeNotice,
  decodeRenew,
  decodeRenewed,
  decodeWelcome,
  encodeHello,
  encodeNotice,
  encodeRenew,
  encodeRenewed,
  encodeWelcome,
} from '../../src/pubsub/session-commands.ts';
import {
  decodeSubscribeOptions,
  encodeSubscribeOptions,
  type RetainedHandling,
  type StartKind,
  SubscribeOption,
  type SubscribeOptionValues,
} from '../../src/pubsub/subscribe-options.ts';
import { slowProperties } from './slow-command.ts';

const uint = (bits: number) => fc.integer({ min: 0, max: 2 ** bits - 1 });
const uint53 = fc.maxSafeNat();
const text = (maxLength: number) =>
  fc.string({ unit: 'grapheme', maxLength }).filter((s) => !/\p{Cc}/u.test(s));
const short = text(20);
const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map((value) => Buffer.from(value));
const optional = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record(model, { requiredKeys: [] }) as fc.Arbitrary<Partial<T>>;

const properties = optional<Properties>({
  ttlMs: uint(32),
  replyTopic: short.filter((s) => s.length > 0),
  correlation: bytes(256),
  deliveryClass: uint(2) as fc.Arbitrary<Properties['deliveryClass']>,
  contentType: short,
  messageId: short.filter((s) => s.length > 0),
  traceparent: short,
  status: uint(16),
  owned: uint(32),
  key: short,
  publishedAt: fc.integer({ min: 0, max: 8.64e15 }),
  attempt: uint(16),
  origin: fc.record({ epoch: uint53, offset: uint53, topic: short, attempts: uint(16), reason: short }),
  headers: fc.dictionary(short, short, { minKeys: 1, maxKeys: 3 }),
});
const options = optional<SubscribeOptionValues>({
  name: short.filter((s) => s.length > 0),
  start: uint(2) as fc.Arbitrary<StartKind>,
  epoch: uint53,
  unackedMax: uint(32),
  ackWaitMs: uint(32),
  backoffMs: fc.array(uint(32), { minLength: 1, maxLength: 16 }),
  deliveriesMax: uint(16),
  deadLetter: short.filter((s) => s.length > 0),
  rateMax: uint(32),
  expiryMs: uint(32),
  keyOrder: fc.constant(true),
  retained: fc.constantFrom<RetainedHandling[]>(0, 1, 2, 3),
  deliveryClass: uint(2) as fc.Arbitrary<SubscribeOptionValues['deliveryClass']>,
  ...{ asPublished: uint(2), ofSession: fc.constant(true) },
  log: fc.string({ minLength: 1, maxLength: 20 }).filter((s) => !/\p{Cc}/u.test(s)),
});

describe('properties', () => {
  test('that name a time later than any date name none: a publisher may say anything [BRK-48]', () => {
    const given = (publishedAt: number) => {
      const command = Buffer.concat([publishPrefix('t', 0x10), encodeProperties({ publishedAt, status: 3 })]);
      expect(new CommandReader(Side.BROKER).read(command)).toBe(ReasonCode.NO_ERROR);
      return decodeProperties(command, 9);
    };
    expect([8.64e15, 8.64e15 + 1, Number.MAX_SAFE_INTEGER].map(given)).toEqual([
      { publishedAt: 8.64e15, status: 3 },
      { status: 3 },
      { status: 3 },
    ]);
  });

  test('come back as they went, whatever there are of them [BRK-48]', () => {
    fc.assert(
      fc.property(properties, bytes(20), (given, payload) => {
        const command = Buffer.concat([publishPrefix('t', 0x10), encodeProperties(given), payload]);
        const reader = new CommandReader(Side.BROKER);
        expect(reader.read(command)).toBe(ReasonCode.NO_ERROR);
        expect(command.subarray(reader.payloadStart)).toEqual(payload);
        expect({ ...decodeProperties(command, reader.topicEnd) }).toEqual(given);
        const slow = slowProperties(command.subarray(reader.topicEnd)) ?? [];
        for (const type of Object.values(PropertyType)) {
          const at = findProperty(command, reader.topicEnd, type);
          const value = slow.find(([its]) => its === type)?.[1];
          if (value === undefined) expect(at).toBe(-1);
          else expect(command.subarray(at, at + value.length)).toEqual(value);
        }
      }),
    );
  });

  test('are found malformed or not as by a slow reader, and never throw [BRK-48]', () => {
    const property = fc.tuple(fc.oneof(uint(4), uint(8)), bytes(24)).map(([type, value]) => {
      return Buffer.concat([Buffer.from([type, 0, value.length]), value]);
    });
    const block = fc.tuple(fc.array(property, { maxLength: 4 }), fc.constantFrom(-1, 0, 0, 0, 1));
    const nearValid = block.map(([parts, more]) => {
      const all = Buffer.concat(parts);
      const length = Math.max(0, all.length + more);
      return Buffer.concat([Buffer.from([length >> 8, length]), all]);
    });
    fc.assert(
      fc.property(fc.oneof(nearValid, bytes(20)), (block) => {
        expect(endOfProperties(block, 0) >= 0).toBe(slowProperties(block) !== null);
      }),
      { numRuns: 2_000 },
    );
  });

  test('are texts or not as by a slow reader, however long they are and wherever they are none [BRK-48]', () => {
    for (let length = 1; length <= 130; length++) {
      for (const [first, last] of [
        ['61', '61'],
        ['61', 'c3a9'],
        ['c3a9', '61'],
        ['61', 'ff'],
        ['ff', '61'],
      ]) {
        const [ofFirst, ofLast] = [Buffer.from(first, 'hex'), Buffer.from(last, 'hex')];
        const value = Buffer.concat([ofFirst, Buffer.alloc(length, 0x61), ofLast]);
        const block = Buffer.concat([
          Buffer.from([0, 3 + value.length, PropertyType.KEY, 0, value.length]),
          value,
        ]);
        expect([length, first, last, endOfProperties(block, 0) >= 0]).toEqual([
          length,
          first,
          last,
          slowProperties(block) !== null,
        ]);
      }
    }
  });

  test('keep a header whose name is that of something else', () => {
    const headers = JSON.parse('{"__proto__": "a", "constructor": "b"}');
    const read = decodeProperties(encodeProperties({ headers }), 0).headers ?? {};
    expect(Object.entries(read)).toEqual(Object.entries(headers));
    expect(Object.getPrototypeOf(read)).toBe(Object.prototype);
  });

  test('that are too long are refused where they are made', () => {
    expect(() => encodeProperties({ headers: { a: 'x'.repeat(70_000) } })).toThrow(RangeError);
    expect(() => encodeProperties({ headers: { ['k'.repeat(256)]: '' } })).toThrow(RangeError);
    expect(() => encodeProperties({ key: 'k'.repeat(257) })).toThrow(RangeError);
  });
});

describe('options of a subscription', () => {
  test('come back as they went [BRK-45]', () => {
    fc.assert(
      fc.property(options, (given) => {
        const { start, startValue, ...rest } = decodeSubscribeOptions(encodeSubscribeOptions(given), 0) ?? {};
        expect(start === undefined ? rest : { start, ...rest }).toEqual(given);
        expect(startValue).toBe(start === undefined ? undefined : 0);
      }),
    );
  });

  test.each([
    ['cut off', '040004'],
    ['of an unknown kind', '630000'],
    ['there twice', '0b00000b0000'],
    ['of another length', '0400020001'],
    ['a durable without a name', '010000'],
    ['a name with a control character', '0100020a61'],
    ['a start that there is not', '020009060000000000000000'],
    ['an offset above 2^53', '020009030020000000000000'],
    ['a back-off of nothing', '060000'],
    ['17 back-offs', `060044${'00000001'.repeat(17)}`],
    ['a class that there is not', '0d000104'],
    ['a way with retained values that there is not', '0c000104'],
    ['a log without a name', '0f0000'],
    ['a flag with a value', '10000101'],
  ])('are malformed when they are %s [BRK-45]', (_, hex) => {
    expect(decodeSubscribeOptions(Buffer.from(hex, 'hex'), 0)).toBeNull();
  });

  test('never make a decoder throw', () => {
    const anything = fc.array(fc.tuple(uint(4), bytes(12)), { maxLength: 4 }).map((parts) => {
      return Buffer.concat(
        parts.map(([type, value]) => Buffer.concat([Buffer.from([type, 0, value.length]), value])),
      );
    });
    fc.assert(fc.property(fc.oneof(anything, bytes(30)), (value) => void decodeSubscribeOptions(value, 0)));
  });
});

describe('who a client is', () => {
  test('comes back as it went [BRK-46]', () => {
    const hello = fc.record({
      version: uint(8),
      cleanStart: fc.boolean(),
      aliases: uint(16),
      capabilities: uint(32),
      expiryMs: uint(32),
      method: uint(2) as fc.Arbitrary<AuthMethod>,
      session: short,
      credentials: bytes(40),
    });
    const welcome = fc.record({
      version: uint(8),
      isPresent: fc.boolean(),
      epoch: uint53,
      lastIds: fc.array(uint(32), { minLength: 4, maxLength: 4 }),
      expiryMs: uint(32),
      aliases: uint(16),
      messageBytesMax: uint(32),
      filtersMax: uint(32),
      serverTimeMs: uint53,
      credentialsMs: uint(32),
    });
    fc.assert(fc.property(hello, (given) => void expect(decodeHello(encodeHello(1, given))).toEqual(given)));
    fc.assert(
      fc.property(welcome, (given) => void expect(decodeWelcome(encodeWelcome(1, given))).toEqual(given)),
    );
    expect(decodeRenew(encodeRenew(1, 3, Buffer.from('abc')))).toEqual({
      method: 3,
      credentials: Buffer.from('abc'),
    });
    expect(decodeRenewed(encodeRenewed(1, 3_600_000))).toBe(3_600_000);
  });

  test('is malformed where lengths do not fit, a flag is unknown or a name is no text, and never throws [BRK-46]', () => {
    const good = encodeHello(1, {
      version: 1,
      cleanStart: false,
      aliases: 0,
      capabilities: 0,
      expiryMs: 0,
      method: 0,
      session: 'abc',
      credentials: Buffer.from('x'),
    });
    const changed = (at: number, value: number) => {
      const copy = Buffer.from(good);
      copy[at] = value;
      return decodeHello(copy);
    };
    expect(decodeHello(good)).not.toBeNull();
    for (const [at, value] of [
      [9, 2],
      [20, 4],
      [21, 2],
      [21, 200],
      [23, 9],
      [24, 0xff],
      [24, 10],
    ]) {
      expect(changed(at, value)).toBeNull();
    }
    const body = fc.uint8Array({ minLength: 16, maxLength: 60 });
    fc.assert(fc.property(body, (value) => void decodeHello(Buffer.concat([good.subarray(0, 8), value]))));
  });
});

test('a notice comes back, its text cut at a character [BRK-47]', () => {
  fc.assert(
    fc.property(uint(16), uint53, text(40), (code, value, words) => {
      expect(decodeNotice(encodeNotice({ code, value, text: words }))).toEqual({ code, value, text: words });
    }),
  );
  expect(decodeNotice(encodeNotice({ code: 1, value: 0, text: '温'.repeat(400) })).text).toBe(
    '温'.repeat(341),
  );
});

describe('acknowledgements', () => {
  test('come back as they went', () => {
    fc.assert(
      fc.property(uint53, uint53, uint(2), (a, b, result) => {
        expect(decodePosition(encodePosition(a, b))).toEqual({ epoch: a, offset: b });
        expect(decodePublished(encodePublished(1, false, result as PublishResult, a))).toEqual({
          result,
          offset: a,
        });
        const start = { epoch: a, next: b, earliest: a, head: b, missed: a, isRecovered: a > b };
        expect(decodeSubscribed(encodeSubscribed(1, start))).toEqual(start);
      }),
    );
    expect(decodePublished(encodePublished(1, false, 1)).offset).toBe(-1);
    expect(decodeNack(encodeNack(1, 7, 'w'.repeat(300)))).toEqual({ delayMs: 7, reason: 'w'.repeat(256) });
    const seen: number[][] = [];
    visitAckRanges(
      encodeAckRanges([
        [5, 2],
        [0xffffffff, 1],
      ]),
      (...range) => seen.push(range),
    );
    expect(seen).toEqual([
      [5, 2],
      [0xffffffff, 1],
    ]);
  });

  test('name an offset by its low half, near one that is known', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.integer({ min: -(2 ** 31) + 1, max: 2 ** 31 - 1 }), (near, away) => {
        const offset = near + away;
        fc.pre(offset >= 0 && Number.isSafeInteger(offset));
        expect(offsetOf(offset % 2 ** 32, near)).toBe(offset);
      }),
    );
  });

  test('have ids that begin again behind the largest', () => {
    expect(idAfter(0)).toBe(1);
    expect(idAfter(0xffff_ffff)).toBe(1);
    expect(isAfter(5, 4)).toBe(true);
    expect(isAfter(4, 4)).toBe(false);
    expect(isAfter(1, 0xffff_ffff)).toBe(true);
    expect(isAfter(0xffff_ffff, 1)).toBe(false);
  });
});

test('the tables of the specification are those of the code [BRK-45] [BRK-48]', () => {
  const page = readFileSync(new URL('../../spec/broker.md', import.meta.url), 'utf8');
  const rows = (heading: string) =>
    [
      ...(page
        .split(`### ${heading}\n`)[1]
        .split(/\n#/)[0]
        .matchAll(/^\| (\d+) \|/gm) ?? []),
    ].map(([, type]) => +type);
  const known = Object.values(PropertyType).filter((type) => type < PropertyType.USER);
  expect(rows('Properties')).toEqual(known);
  expect(rows('Options of a subscription')).toHaveLength(Object.values(SubscribeOption).length);
  expect(HEADER_BYTES).toBe(8);
});
