import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeParameters, encodeParameters } from '../../src/protocol/wire/transport-parameters.ts';
import { fastParseHeader } from '../protocol/wire/fast-header.ts';
import { fromHex } from '../protocol/wire/hex.ts';
import { mutated } from '../protocol/wire/mutation.ts';
import { type SlowHeader, slowParseHeader } from '../protocol/wire/slow-header.ts';

/** The parser and its slow twin take or refuse a packet alike, and read the same. [PKT-3] */
function agree(datagram: Uint8Array, shortIdLength: number): void {
  let slow: SlowHeader | null = null;
  try {
    slow = slowParseHeader(datagram, shortIdLength);
  } catch {
    // malformed
  }
  expect(fastParseHeader(datagram, shortIdLength)).toEqual(slow);
}

const shortIdLength = fc.nat(20);
const rest = (maxLength: number) => fc.uint8Array({ maxLength });

describe('fuzz: the header parser and its slow twin agree', () => {
  test('on random bytes', () => {
    fc.assert(fc.property(rest(100), shortIdLength, agree), { numRuns: 2_000 });
  });

  test('on random bytes behind a good version and small lengths', () => {
    const idLength = fc.nat(22);
    fc.assert(
      fc.property(
        fc.nat(255),
        fc.constantFrom('4a535031', '4a535031', '4a535031', '00000000', '4a535032'),
        idLength,
        idLength,
        rest(60),
        (first, version, dcidLength, scidLength, tail) => {
          const dcid = new Uint8Array(dcidLength).fill(0xd0);
          const scid = new Uint8Array(scidLength).fill(0x50);
          const head = [first, ...fromHex(version), dcidLength, ...dcid, scidLength, ...scid];
          agree(Uint8Array.from([...head, ...tail]), 8);
        },
      ),
      { numRuns: 3_000 },
    );
  });

  test('on good packets with a few bytes changed, cut, put in or doubled', () => {
    const payload = 'aa'.repeat(30);
    const good = fc.constantFrom(
      fromHex(`c0 4a535031 08 0102030405060708 08 1112131415161718 03 010203 401f 00 ${payload}`),
      fromHex(`e0 4a535031 08 0102030405060708 00 401f 00 ${payload} 40`),
      fromHex(`f0 4a535031 00 08 1112131415161718 ${payload}`),
      fromHex(`41 0102030405060708 00 ${payload}`),
    );
    fc.assert(
      fc.property(mutated(good), (datagram) => agree(datagram, 8)),
      { numRuns: 3_000 },
    );
  });
});

describe('fuzz: transport parameters', () => {
  const list = fc
    .array(fc.tuple(fc.nat(0x20), fc.uint8Array({ maxLength: 9 })), { maxLength: 8 })
    .map((entries) => Uint8Array.from(entries.flatMap(([id, value]) => [id, value.length, ...value])));

  test('that are accepted mean the same when encoded again [FRM-13]', () => {
    const sourceId = fromHex('09 02 0102');
    fc.assert(
      fc.property(fc.oneof(rest(80), list, mutated(list)), (bytes) => {
        const decoded = decodeParameters(Uint8Array.from([...sourceId, ...bytes]), 'client');
        if (typeof decoded === 'number') return;
        expect(decodeParameters(encodeParameters(decoded, null), 'client')).toEqual(decoded);
      }),
      { numRuns: 3_000 },
    );
  });
});
