import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeRecord, encodeRecord, recordName } from '../../../../src/broker/backplane/log/record-form.ts';
import { type LogRecord, STORED_FLAGS } from '../../../../src/broker/core/store-port.ts';
import { HEADER_BYTES, PublishFlag, publishPrefix } from '../../../../src/pubsub/command.ts';
import { encodeProperties } from '../../../../src/pubsub/properties.ts';

const LIMIT = 2 ** 53 - 1;
const u64 = fc.integer({ min: 0, max: LIMIT });

describe('a record as the backplane keeps it [CLU-31]', () => {
  test('is the bytes of the specification', () => {
    const record = recordOf('a/b', 'hi', {
      session: 2 ** 40 + 7,
      sequence: 2,
      id: 0x01020304,
      publishedAt: 1_700_000_000_000,
      expiresAt: 5,
    });
    expect(encodeRecord(record).toString('hex')).toBe(
      [
        '01' + '02' + '01020304', // version, sequence, id
        '0000010000000007' + '0000018bcfe56800' + '0000000000000005', // session, published, expires
        '01' + '01' + '0003' + '00000000' + '612f62' + '6869', // PUBLISH, QoS 1, topic, no id yet
      ].join(''),
    );
  });

  test('comes back as it was, with its offset as the id of its PUBLISH', () => {
    fc.assert(
      fc.property(
        fc.record({
          session: u64,
          publishedAt: u64,
          expiresAt: u64,
          sequence: fc.nat(3),
          id: fc.nat(0xffff_ffff),
        }),
        fc.uint8Array({ maxLength: 3_000 }),
        fc.integer({ min: 1, max: LIMIT }),
        fc.constantFrom(
          0,
          PublishFlag.RETAIN,
          PublishFlag.COMPRESSED,
          STORED_FLAGS & ~PublishFlag.PROPERTIES,
        ),
        (of, payload, offset, flags) => {
          const record = recordOf('t', payload, of);
          record.command[1] |= flags;
          const command = Buffer.from(record.command);
          command.writeUInt32BE(offset % 2 ** 32, 4);
          expect(decodeRecord(encodeRecord(record), offset)).toEqual({ ...record, command, offset });
        },
      ),
      { numRuns: 200 },
    );
  });

  test('of which a byte is wrong, or cut off, is read as something or as nothing, and never faults', () => {
    const sound = encodeRecord(recordOf('a/b', 'payload', { session: 1, id: 1 }));
    fc.assert(
      fc.property(fc.nat(sound.length - 1), fc.nat(255), fc.nat(sound.length), (at, value, length) => {
        const bytes = Buffer.from(sound);
        bytes[at] = value;
        const read = decodeRecord(bytes.subarray(0, length), 7);
        if (read !== null) expect(read.topicEnd).toBeLessThanOrEqual(read.command.length);
        if (length < 39) expect(read).toBe(null);
      }),
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void decodeRecord(bytes, 1)));
    for (const [at, value] of [
      [0, 2],
      [1, 4],
      [6, 0xff],
      [30, 2],
      [31, 0],
    ]) {
      const bytes = Buffer.from(sound);
      bytes[at] = value;
      expect(decodeRecord(bytes, 1)).toBe(null);
    }
  });
});

describe('the name of a record [CLU-32]', () => {
  test('is what its message names itself, on its topic; else whose it is; else its own', () => {
    const nameOf = (topic: string, messageId: string | null, of: Partial<LogRecord> = {}) =>
      recordName(recordOf(topic, 'x', of, messageId), 'node:1');
    const named = nameOf('t', 'n');
    expect(named).toMatch(/^n[\w-]{43}$/);
    expect([nameOf('t', 'n', { session: 5, id: 6 }), nameOf('t', 'n\x1fprint')]).toEqual([named, named]);
    expect(new Set([named, nameOf('u', 'n'), nameOf('t', 'm')]).size).toBe(3);
    expect(nameOf('t', null, { session: 5, sequence: 3, id: 6 })).toBe('5:3:6');
    expect([nameOf('t', null), nameOf('t', null, { session: 5 })]).toEqual(['anode:1', 'anode:1']);
  });
});

function recordOf(
  topic: string,
  payload: string | Uint8Array,
  of: Partial<LogRecord>,
  messageId: string | null = null,
): LogRecord {
  const flags = PublishFlag.QOS1 | (messageId === null ? 0 : PublishFlag.PROPERTIES);
  const properties = messageId === null ? Buffer.alloc(0) : encodeProperties({ messageId });
  const command = Buffer.concat([publishPrefix(topic, flags, 1), properties, Buffer.from(payload)]);
  command.writeUInt32BE(0, 4);
  return {
    command,
    topicEnd: HEADER_BYTES + topic.length,
    session: 0,
    sequence: 0,
    id: 0,
    expiresAt: 0,
    publishedAt: 0,
    ...of,
  };
}
