import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type DurableRecord,
  decodeDurable,
  encodeDurable,
} from '../../../../src/broker/core/durable/durable-record.ts';
import { InFlight } from '../../../../src/broker/core/durable/in-flight.ts';

const number = fc.maxSafeNat();
const options = fc.record({
  unackedMax: fc.nat(1_000_000),
  ackWaitMs: fc.nat(2 ** 32 - 1),
  backoffMs: fc.array(fc.nat(2 ** 32 - 1), { maxLength: 16 }),
  deliveriesMax: fc.nat(65_535),
  deadLetter: fc.option(fc.string({ minLength: 1, unit: 'grapheme' })),
  expiryMs: fc.oneof(fc.nat(2 ** 32 - 1), fc.constant(Number.POSITIVE_INFINITY)),
  keyOrder: fc.boolean(),
});
const messages = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 2 ** 33 }), fc.nat(3)), { maxLength: 50 })
  .map((steps) => {
    let offset = 0;
    return steps.map(([step, attempts]) => {
      offset += step < 2 ** 32 ? 1 : step;
      return { offset, attempts };
    });
  });
const unsettled = messages.map((all) => inFlightOf(all).runs());
const record: fc.Arbitrary<DurableRecord> = fc.record({
  ...{ log: fc.string(), epoch: number, number, lastBurial: fc.nat(2 ** 32 - 1), options },
  filters: fc.array(fc.string({ unit: 'grapheme' }), { maxLength: 5 }),
  ...{ leftAt: number, position: number, reservedBelow: number, unsettled },
  burials: fc.array(
    fc.record({ id: number, offset: number, attempts: fc.nat(65_535), reason: fc.string() }),
    { maxLength: 4 },
  ),
  session: number,
  owner: fc.option(
    fc.record({
      kind: fc.constantFrom('anonymous', 'identity', 'apiKey', 'jwt'),
      name: fc.string({ unit: 'grapheme' }),
      id: fc.string(),
    }),
  ),
});

describe('a durable subscription in the store', () => {
  test('is read as it was written [BRK-69]', () => {
    fc.assert(
      fc.property(record, (value) => {
        expect(decodeDurable(encodeDurable(value))).toEqual(value);
      }),
      { numRuns: 200 },
    );
  });

  test('has each message that is not settled in one run [BRK-69]', () => {
    fc.assert(
      fc.property(messages, (all) => {
        const inFlight = inFlightOf(all);
        for (const { offset, attempts } of all) if (attempts === 0) inFlight.settle(inFlight.find(offset));
        const each = inFlight
          .runs()
          .flatMap(({ offset, count, attempts }) =>
            Array.from({ length: count }, (_, i) => ({ offset: offset + i, attempts })),
          );
        expect(each).toEqual(all.filter(({ attempts }) => attempts > 0));
      }),
    );
  });

  test('is nothing when it is cut, longer, of another version, or any other bytes', () => {
    fc.assert(
      fc.property(record, fc.nat(), (value, at) => {
        const bytes = encodeDurable(value);
        expect(decodeDurable(bytes.subarray(0, at % bytes.length))).toBeNull();
        expect(decodeDurable(Buffer.concat([bytes, Buffer.of(0)]))).toBeNull();
        expect(decodeDurable(Buffer.concat([Buffer.of(4), bytes.subarray(1)]))).toBeNull();
      }),
      { numRuns: 100 },
    );
    fc.assert(
      fc.property(fc.constantFrom(1, 2, 3), fc.uint8Array({ maxLength: 100 }), (version, bytes) => {
        decodeDurable(Buffer.concat([Buffer.of(version), bytes])); // throws nothing, and ends
      }),
      { numRuns: 300 },
    );
  });

  test("is nothing when it is cut before its owner, rather than nobody's", () => {
    const [value] = fc.sample(record, { numRuns: 1, seed: 1 });
    const owner = { kind: 'jwt', name: 'ada', id: 'k1' } as const;
    const bytes = encodeDurable({ ...value, owner });
    for (let length = 0; length < bytes.length; length++)
      expect(decodeDurable(bytes.subarray(0, length))).toBeNull();
  });

  test('of the first version is still read, with its owner and without', () => {
    const [value] = fc.sample(record, { numRuns: 1, seed: 2 });
    const bytes = Buffer.from(encodeDurable({ ...value, session: 0, owner: null }));
    const first = Buffer.concat([Buffer.of(1), bytes.subarray(1, -2)]);
    expect(decodeDurable(first)).toEqual({ ...value, session: 0, owner: null });
    const owned = Buffer.concat([
      first,
      Buffer.of(4, 3),
      Buffer.from('ada'),
      Buffer.of(2),
      Buffer.from('k1'),
    ]);
    expect(decodeDurable(owned)).toEqual({
      ...value,
      session: 0,
      owner: { kind: 'jwt', name: 'ada', id: 'k1' },
    });
  });

  test('takes a few bytes for a window of a thousand that came one after another', () => {
    const window = Array.from({ length: 1_024 }, (_, i) => ({ offset: 1_000_000 + i, attempts: 1 }));
    const value: DurableRecord = {
      ...{ log: 'default', epoch: 1, number: 2 ** 40, lastBurial: 0, filters: ['a/#'], leftAt: 0 },
      ...{
        position: 1_001_024,
        reservedBelow: 1_002_048,
        unsettled: inFlightOf(window).runs(),
        burials: [],
        session: 0,
        owner: null,
      },
      options: {
        ...{ unackedMax: 1_024, ackWaitMs: 30_000, backoffMs: [], deliveriesMax: 0, deadLetter: null },
        ...{ expiryMs: Number.POSITIVE_INFINITY, keyOrder: false },
      },
    };
    expect(encodeDurable(value).length).toBeLessThan(64);
  });
});

function inFlightOf(all: readonly { offset: number; attempts: number }[]): InFlight {
  const inFlight = new InFlight();
  for (const { offset, attempts } of all) inFlight.restore(offset, attempts);
  return inFlight;
}
