import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DeliveryTexts, deliveryMembers } from '../../src/gateway/delivery-text.ts';
import { chooseLz4, EnvelopeWriter } from '../../src/protocol/compress/index.ts';
import { CommandReader, PublishFlag, publishPrefix, Side } from '../../src/pubsub/command.ts';
import { encodeProperties, type Properties } from '../../src/pubsub/properties.ts';

function delivery(
  topic: string,
  payload: Uint8Array,
  properties: Properties | null = null,
  flags = 0,
  id = 0,
) {
  const all = flags | (properties === null ? 0 : PublishFlag.PROPERTIES);
  const parts = [
    publishPrefix(topic, all, id),
    properties === null ? Buffer.alloc(0) : encodeProperties(properties),
  ];
  const command = Buffer.concat([...parts, payload]);
  const reader = new CommandReader(Side.CLIENT);
  expect(reader.read(command)).toBe(0);
  return { command, reader };
}

function membersOf(
  topic: string,
  payload: Uint8Array,
  properties: Properties | null = null,
  flags = 0,
  offset = -1,
) {
  const { command, reader } = delivery(topic, payload, properties, flags, Math.max(offset, 0));
  const members = deliveryMembers(command, reader, offset);
  expect(members).not.toMatch(/[\r\n]/);
  return JSON.parse(`{${members}}`);
}

test('a payload comes as JSON, as text or in base64, and loses nothing [GW-41]', () => {
  const types = fc.constantFrom(
    undefined,
    'text/plain',
    'application/json',
    'application/geo+json; charset=utf-8',
    'application/octet-stream',
  );
  const payloads = fc.oneof(
    fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    fc
      .tuple(fc.string({ maxLength: 40 }), fc.constantFrom('', 'ä€😀', '\u2028', '\u0000\r\n', '"\\'))
      .map((parts) => Buffer.from(parts.join(''))),
    fc.json({ maxDepth: 2 }).map((text) => Buffer.from(text)),
  );
  fc.assert(
    fc.property(payloads, types, (payload, contentType) => {
      const found = membersOf('a/b', payload, contentType === undefined ? null : { contentType });
      const forms = ['text', 'json', 'base64'].filter((form) => form in found);
      expect(forms).toHaveLength(1);
      if (forms[0] === 'text') expect(Buffer.from(found.text)).toEqual(payload);
      else if (forms[0] === 'base64') expect(Buffer.from(found.base64, 'base64')).toEqual(payload);
      else expect(found.json).toEqual(JSON.parse(payload.toString()));
      if (forms[0] === 'json') expect(contentType).toMatch(/json/);
    }),
    { numRuns: 60 },
  );
});

test('JSON over several lines is one line, and its numbers and texts are as they were', () => {
  const json = '{\r\n  "large": 12345678901234567890,\n  "text": "a\\nb"\n}';
  const { command, reader } = delivery('t', Buffer.from(json), { contentType: 'application/json' });
  const members = deliveryMembers(command, reader, -1);
  expect(members).toContain('12345678901234567890');
  expect(JSON.parse(`{${members}}`).json.text).toBe('a\nb');
});

test('what claims to be JSON and is not comes as the text that it is', () => {
  const found = membersOf('t', Buffer.from('{"a":1},"offset":9'), { contentType: 'application/json' });
  expect(found).toEqual({ topic: 't', contentType: 'application/json', text: '{"a":1},"offset":9' });
});

test('a delivery has all that its properties and flags say', () => {
  const properties: Properties = {
    ...{
      ttlMs: 5,
      contentType: 'x/y',
      key: 'k',
      deliveryClass: 1,
      messageId: 'm',
      replyTopic: 'r',
      status: 3,
    },
    ...{
      correlation: Buffer.of(255),
      headers: { a: '"', __proto__x: 'y' },
      traceparent: 't',
      attempt: 2,
      publishedAt: 9,
    },
    origin: { epoch: 1, offset: 2, topic: 'o', attempts: 3, reason: 'because' },
  };
  expect(
    membersOf('ä/"', Buffer.from('x'), properties, PublishFlag.QOS1 | PublishFlag.REDELIVERED, 77),
  ).toEqual({
    ...{ topic: 'ä/"', offset: 77, redelivered: true, attempt: 2, contentType: 'x/y', ttlMs: 5, key: 'k' },
    ...{ messageId: 'm', publishedAt: 9, status: 3, traceparent: 't', replyTo: 'r', class: 'unreliable' },
    ...{ correlation: '/w==', headers: properties.headers, origin: properties.origin, text: 'x' },
  });
  expect(membersOf('t', Buffer.from(''), null, PublishFlag.RETAIN)).toEqual({
    topic: 't',
    retained: true,
    text: '',
  });
});

test('a frame is made once for all subscriptions of a name, and once more for another [GW-46]', () => {
  const texts = new DeliveryTexts();
  const { command, reader } = delivery('t', Buffer.from('x'.repeat(200)));
  const frame = texts.frame(command, reader, -1, 1) as Buffer;
  expect(texts.frame(command, reader, -1, 1)).toBe(frame);
  const other = texts.frame(command, reader, -1, '1') as Buffer;
  expect(other).not.toBe(frame);
  expect(JSON.parse(other.toString('utf8', 4)).sub).toBe('1');
  expect(JSON.parse(frame.toString('utf8', 4)).sub).toBe(1);
  // The same bytes at another place in a log are another message.
  expect(JSON.parse((texts.frame(command, reader, 5, 1) as Buffer).toString('utf8', 4)).offset).toBe(5);
  const event = texts.event(command, reader, 3, 5) as Buffer;
  expect(event.toString()).toBe(
    `event: message\nid: 3:5\ndata: {"topic":"t","offset":5,"text":"${'x'.repeat(200)}"}\n\n`,
  );
  expect(texts.event(command, reader, 3, 5)).toBe(event);
  expect(texts.event(command, reader, 4, 5)).not.toBe(event);
});

test('frames of every length begin as RFC 6455 has it', () => {
  const texts = new DeliveryTexts();
  for (const length of [0, 80, 90, 125, 126, 65_490, 65_536, 100_000]) {
    const { command, reader } = delivery('t', Buffer.alloc(length, 0x61));
    const frame = texts.frame(command, reader, -1, 0) as Buffer;
    expect(frame[0]).toBe(0x81);
    const [start, bytes] =
      frame[1] < 126
        ? [2, frame[1]]
        : frame[1] === 126
          ? [4, frame.readUInt16BE(2)]
          : [10, Number(frame.readBigUInt64BE(2))];
    expect(frame.length - start).toBe(bytes);
    expect(JSON.parse(frame.toString('utf8', start)).text).toHaveLength(length);
  }
});

test('what is compressed comes opened, and what cannot be opened as no message at all [GW-41]', () => {
  const writer = new EnvelopeWriter(chooseLz4(undefined));
  const payload = Buffer.from('again and again '.repeat(50));
  const envelope = writer.deflate(payload, 500) as Uint8Array;
  expect(envelope.length).toBeLessThan(payload.length);
  const { command, reader } = delivery('t', envelope, null, PublishFlag.COMPRESSED);
  expect(JSON.parse(`{${deliveryMembers(command, reader, -1)}}`)).toEqual({
    topic: 't',
    text: payload.toString(),
  });
  const broken = delivery('t', Buffer.of(1, 255, 255, 255), null, PublishFlag.COMPRESSED);
  expect(deliveryMembers(broken.command, broken.reader, -1)).toBeNull();
  expect(new DeliveryTexts().frame(broken.command, broken.reader, -1, 1)).toBeNull();
});

test('JSON of more levels than all clients can read comes as text, and what only looks so as JSON [GW-41]', () => {
  const nested = (levels: number): string => `${'[{"a":'.repeat(levels / 2)}1${'}]'.repeat(levels / 2)}`;
  const formOf = (json: string): string[] =>
    Object.keys(membersOf('t', Buffer.from(json), { contentType: 'application/json' }));
  expect(formOf(nested(60))).toContain('json');
  expect(formOf(nested(62))).toContain('text');
  expect(formOf('['.repeat(100_000) + ']'.repeat(100_000))).toContain('text');
  expect(formOf(JSON.stringify([{ '[[[["\\': '[{'.repeat(100) }]))).toContain('json');
  expect(formOf(JSON.stringify(Array.from({ length: 100 }, () => [[{}]])))).toContain('json');
});
