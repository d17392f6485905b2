import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Command, CommandReader, HEADER_BYTES, reasonCodeName, Side } from '../../src/pubsub/command.ts';
import { slowDecode } from '../pubsub/slow-command.ts';

const command = fc.oneof(fc.constantFrom(...Object.values(Command)), fc.integer({ min: 0, max: 255 }));
const flags = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 255 }));
const topicLength = fc.oneof(
  fc.constant(0),
  fc.integer({ min: 1, max: 20 }),
  fc.integer({ min: 1020, max: 1030 }),
  fc.integer({ min: 0, max: 0xffff }),
);
const id = fc.constantFrom(0, 0, 1, 0x80000000, 0xffffffff);
/** Near-valid commands: a header, and about as many bytes behind it as the header speaks of. */
const nearValid = fc
  .record({
    command,
    flags,
    topicLength,
    id,
    more: fc.constantFrom(-1, 0, 0, 1, 2, 8, 9, 514, 515, 1024, 1025),
  })
  .map((fields) => {
    const bytes = Buffer.alloc(HEADER_BYTES + Math.max(0, fields.topicLength + fields.more), 0x61);
    bytes[0] = fields.command;
    bytes[1] = fields.flags;
    bytes.writeUInt16BE(fields.topicLength, 2);
    bytes.writeUInt32BE(fields.id, 4);
    return bytes;
  });
const anything = fc.oneof(nearValid, fc.uint8Array({ maxLength: 40 }));

describe('the command reader under arbitrary bytes', () => {
  for (const side of ['broker', 'client'] as const) {
    test(`agrees with the slow decoder at the ${side} and never throws [BRK-6]`, () => {
      const reader = new CommandReader(side === 'broker' ? Side.BROKER : Side.CLIENT);
      fc.assert(
        fc.property(anything, (bytes) => {
          const slow = slowDecode(bytes, side);
          const code = reasonCodeName(reader.read(bytes));
          if (typeof slow === 'string') {
            expect(code).toBe(slow);
            return;
          }
          expect(code).toBe('NO_ERROR');
          expect(reader.command).toBe(Command[slow.name as keyof typeof Command]);
          expect(reader.flags).toBe(slow.flags);
          expect(reader.id).toBe(slow.id);
          expect(reader.topicEnd).toBe(HEADER_BYTES + slow.topic.length);
          expect(reader.bodyLength).toBe(slow.body.length);
        }),
        { numRuns: 5000 },
      );
    });
  }
});
