import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  abortMessage,
  beginMessage,
  checkMessage,
  DATA_TYPE,
  doneMessage,
  endMessage,
  goMessage,
  offerMessage,
  planMessage,
  proofMessage,
  type ReceiverMessage,
  Refusal,
  readReceiverMessage,
  readSenderMessage,
  refusedMessage,
  type SenderMessage,
} from '../../src/files/messages.ts';

const id = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const length = fc.maxSafeNat();
const hash = fc.uint8Array({ minLength: 32, maxLength: 32 });
const points = fc
  .uniqueArray(fc.tuple(fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), hash), {
    maxLength: 65,
    selector: ([offset]) => offset,
  })
  .map((all) => all.sort(([a], [b]) => a - b).map(([offset, bytes]) => ({ offset, hash: bytes })));
const entry = fc.record({
  kind: fc.constant('file' as const),
  mode: fc.integer({ min: 0, max: 0o777 }),
  mtimeMs: length,
  size: length,
  path: fc.array(fc.uint8Array({ maxLength: 255 }), { maxLength: 10 }),
});

/** With bytes as lists of numbers, whatever kind of array they came in. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return [...value];
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, plain(member)]));
}

describe('messages of a transfer [FIL-2]', () => {
  test('are read as they were written', () => {
    const cases = fc.oneof(
      fc
        .tuple(id, length)
        .map(([files, bytes]) => [planMessage(files, bytes), { type: 'plan', files, bytes }]),
      fc.tuple(id, entry).map(([n, e]) => [offerMessage(n, e), { type: 'offer', id: n, entry: e }]),
      fc.tuple(id, points).map(([n, p]) => [proofMessage(n, p), { type: 'proof', id: n, points: p }]),
      id.map((n) => [beginMessage(n), { type: 'begin', id: n }]),
      id.map((n) => [abortMessage(n), { type: 'abort', id: n }]),
      fc.tuple(id, hash).map(([n, h]) => [endMessage(n, h), { type: 'end', id: n, hash: h }]),
    ) as fc.Arbitrary<[Buffer, SenderMessage]>;
    fc.assert(
      fc.property(cases, ([bytes, message]) => {
        expect(plain(readSenderMessage(bytes))).toEqual(plain(message));
      }),
    );
    const answers = fc.oneof(
      fc.tuple(id, length).map(([n, offset]) => [goMessage(n, offset), { type: 'go', id: n, offset }]),
      fc
        .tuple(id, length, fc.boolean(), fc.string({ maxLength: 50, unit: 'grapheme' }))
        .map(([n, , identical, storedAs]) => [
          doneMessage(n, identical, storedAs),
          { type: 'done', id: n, identical, storedAs },
        ]),
      fc
        .tuple(id, fc.string({ maxLength: 50, unit: 'grapheme' }))
        .map(([n, detail]) => [
          refusedMessage(n, Refusal.EXISTS, detail),
          { type: 'refused', id: n, code: Refusal.EXISTS, detail },
        ]),
    ) as fc.Arbitrary<[Buffer, ReceiverMessage]>;
    fc.assert(
      fc.property(answers, ([bytes, message]) => {
        expect(plain(readReceiverMessage(bytes))).toEqual(plain(message));
      }),
    );
    expect(readReceiverMessage(checkMessage(7, 3_000_000, 1_048_576))).toEqual({
      type: 'check',
      id: 7,
      have: 3_000_000,
      step: 1_048_576,
    });
  });

  test('have these bytes', () => {
    const offer = offerMessage(1, {
      kind: 'file',
      mode: 0o644,
      mtimeMs: 2,
      size: 3,
      path: [Buffer.from('a'), Buffer.from('bc')],
    });
    expect(offer.toString('hex')).toBe(
      '0200000001' + '00' + '01a4' + '0000000000000002' + '0000000000000003' + '02' + '0161' + '026263',
    );
    expect(goMessage(1, 2).toString('hex')).toBe('11000000010000000000000002');
    expect(checkMessage(1, 2, 3).toString('hex')).toBe('120000000100000000000000020000000000000003');
    expect(doneMessage(1, true, 'a').toString('hex')).toBe('13000000010161');
    expect(refusedMessage(1, Refusal.NO_SPACE, 'x').toString('hex')).toBe('14000000010578');
    expect(planMessage(1, 2).toString('hex')).toBe('01000000010000000000000002');
    expect(endMessage(1, Buffer.alloc(32, 9)).toString('hex')).toBe(`0600000001${'09'.repeat(32)}`);
    expect(DATA_TYPE).toBe(5);
  });

  test('that are anything else are nothing, and read without harm', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 120 }),
      fc
        .tuple(fc.integer({ min: 0, max: 0x15 }), fc.uint8Array({ maxLength: 120 }))
        .map(([type, rest]) => Uint8Array.from([type, ...rest])),
    );
    fc.assert(
      fc.property(bytes, (input) => {
        const buffer = Buffer.from(input);
        const said = readSenderMessage(buffer);
        const answer = readReceiverMessage(buffer);
        // One side's types are not the other's, so that nobody takes his own words for an answer.
        expect(said === null || answer === null).toBe(true);
      }),
      { numRuns: 5_000 },
    );
    const bad = [
      '',
      '05',
      '02',
      '0200000001',
      `01${'00000001'}${'ff'.repeat(8)}`,
      '04000000',
      '0400000001ff',
      '0600000001',
      '030000000101',
    ];
    for (const hex of bad) expect(readSenderMessage(Buffer.from(hex, 'hex'))).toBe(null);
    // Steps that are 0, or so small that the proof would be endless.
    for (const [have, step] of [
      [10, 0],
      [1_000_000, 1],
      [66, 1],
    ]) {
      expect(readReceiverMessage(checkMessage(1, have, step))).toBe(null);
    }
  });
});
