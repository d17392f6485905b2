import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ClientCompression } from '../../src/client/compression.ts';
import { chooseLz4, Dictionary, EnvelopeWriter } from '../../src/protocol/compress/index.ts';

const DICTIONARY = Buffer.from('{"device":"sensor-","temperature":,"status":"ok"}');
const BYTES_MAX = 5_000;

test('whatever comes as a compressed payload is opened within its bound, or told, and never thrown [BRK-44]', () => {
  const writer = new EnvelopeWriter(chooseLz4('js'));
  const proper = fc
    .tuple(fc.array(fc.constantFrom('"status":"ok"', 'sensor-', '12', 'x'), { maxLength: 400 }), fc.boolean())
    .map(([parts, named]) => {
      const message = Buffer.from(parts.join(''));
      const envelope = writer.deflate(
        message,
        message.length + 100,
        named ? new Dictionary(DICTIONARY) : null,
      );
      return Buffer.from(envelope ?? Buffer.of(0));
    });
  const damaged = fc
    .tuple(proper, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }), fc.nat(20))
    .map(([bytes, changes, cut]) => {
      for (const [at, byte] of changes) if (bytes.length > 0) bytes[at % bytes.length] = byte;
      return bytes.subarray(0, Math.max(0, bytes.length - (cut > 10 ? 0 : cut)));
    });
  const kinds = fc.constantFrom(0, 1, 3, 5, 0x15, 2, 255);
  const made = fc
    .tuple(kinds, fc.uint8Array({ maxLength: 80 }))
    .map(([kind, rest]) => Buffer.of(kind, ...rest));
  let opened = 0;
  let refused = 0;
  for (const lz4 of ['js', 'auto'] as const) {
    const inflater = new ClientCompression(
      { compression: { dictionaries: [DICTIONARY] }, lz4 },
      BYTES_MAX,
    ).inflaterFor(true)!;
    fc.assert(
      fc.property(fc.oneof(proper, damaged, made), (envelope) => {
        const copy = Buffer.from(envelope);
        const result = inflater.inflate('t', envelope);
        if (Buffer.isBuffer(result)) {
          opened++;
          expect(result.length).toBeLessThanOrEqual(BYTES_MAX);
        } else {
          refused++;
          expect(['broken', 'tooLarge', 'dictionary']).toContain(result.reason);
          expect(result.bytes).toBe(envelope.length);
        }
        expect(envelope.equals(copy)).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  }
  expect(opened).toBeGreaterThan(500);
  expect(refused).toBeGreaterThan(500);
});
