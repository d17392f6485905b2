import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  decodeFirstOwner,
  decodeOwner,
  encodeOwner,
} from '../../../../src/broker/core/access/owner-record.ts';
import {
  decodeSessionRecord,
  encodeSessionRecord,
} from '../../../../src/broker/core/session/session-record.ts';

const text = fc.string({ unit: 'grapheme' });
const owner = fc.record({
  kind: fc.constantFrom('anonymous', 'identity', 'apiKey', 'jwt'),
  name: text,
  id: text,
});

describe('whose something is, in the store', () => {
  test('is read as it was written, and cut anywhere it is none [BRK-118]', () => {
    fc.assert(
      fc.property(fc.option(owner), (value) => {
        const bytes = encodeOwner(value);
        expect(decodeOwner(bytes)).toEqual(value);
        for (let length = 0; length < bytes.length; length++)
          expect(decodeOwner(bytes.subarray(0, length))).toBeUndefined();
        expect(decodeOwner(Buffer.concat([bytes, Buffer.of(0)]))).toBeUndefined();
      }),
    );
  });

  test('is read, or not, from any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        decodeFirstOwner(bytes);
        const value = decodeOwner(bytes);
        if (value) expect(value.name.length + value.id.length).toBeLessThan(bytes.length);
      }),
    );
  });

  test('of a session is not lost with the end of its record, and that of the first version is still read [BRK-54]', () => {
    const record = { number: 7, epoch: 8, expiryMs: 9, isPresent: true, writtenAt: 10 };
    const ada = { kind: 'jwt', name: 'ada', id: 'k1' } as const;
    const bytes = encodeSessionRecord({ ...record, owner: ada });
    expect(decodeSessionRecord(bytes)).toEqual({ ...record, owner: ada });
    for (let length = 0; length < bytes.length; length++)
      expect(decodeSessionRecord(bytes.subarray(0, length))).toBeNull();
    const head = Buffer.concat([
      Buffer.of(1),
      encodeSessionRecord({ ...record, owner: null }).subarray(1, 26),
    ]);
    expect(decodeSessionRecord(head)).toEqual({ ...record, owner: null });
    const first = Buffer.concat([head, Buffer.of(4, 0, 3), Buffer.from('adak1')]);
    expect(decodeSessionRecord(first)).toEqual({ ...record, owner: ada });
  });
});
