import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  decodePacketNumber,
  packetNumberBytes,
  readPacketNumber,
  writePacketNumber,
} from '../../../src/protocol/wire/packet-header.ts';
import { readVarint, varintLength, varintSize, writeVarint } from '../../../src/protocol/wire/varint.ts';
import { integer } from './arbitrary-frames.ts';
import { fromHex, toHex } from './hex.ts';
import { slowVarint } from './slow-encoder.ts';

interface NumberVectors {
  varints: { hex: string; value: number; canonical?: boolean }[];
  invalid: { name: string; hex: string }[];
  packetNumberBytes: { number: number; largestAcked: number; bytes: number }[];
  packetNumberDecoding: { truncated: number; bytes: number; largest: number; number: number }[];
}

const vectors: NumberVectors = JSON.parse(
  readFileSync(new URL('../../../spec/vectors/varints.json', import.meta.url), 'utf8'),
);

describe('a varint', () => {
  for (const { hex, value, canonical } of vectors.varints) {
    test(`${hex} is ${value}`, () => {
      const bytes = fromHex(hex);
      expect(readVarint(bytes, 0, bytes.length)).toBe(value);
      expect(varintLength(bytes[0])).toBe(bytes.length);
      expect(slowVarint(value, bytes.length)).toBe(hex);
      if (canonical === false) return;
      const out = new Uint8Array(8);
      expect(varintSize(value)).toBe(bytes.length);
      expect(toHex(out.subarray(0, writeVarint(out, 0, value)))).toBe(hex);
    });
  }

  for (const { name, hex } of vectors.invalid) {
    test(`is refused: ${name} [FRM-1]`, () => {
      const bytes = fromHex(hex);
      expect(readVarint(bytes, 0, bytes.length)).toBe(-1);
    });
  }

  test('of any value is read as it was written, and never beyond the end', () => {
    fc.assert(
      fc.property(integer, fc.nat(20), (value, at) => {
        const out = new Uint8Array(at + 8);
        const end = writeVarint(out, at, value);
        expect(end - at).toBe(varintSize(value));
        expect(toHex(out.subarray(at, end))).toBe(slowVarint(value, end - at));
        expect(readVarint(out, at, end)).toBe(value);
        expect(readVarint(out, at, end - 1)).toBe(-1);
      }),
    );
  });
});

describe('a packet number', () => {
  for (const { number, largestAcked, bytes } of vectors.packetNumberBytes) {
    test(`${number} takes ${bytes} bytes when ${largestAcked} is acknowledged [PKT-8]`, () => {
      expect(packetNumberBytes(number, largestAcked)).toBe(bytes);
    });
  }

  for (const { truncated, bytes, largest, number } of vectors.packetNumberDecoding) {
    test(`${truncated} in ${bytes} bytes behind ${largest} is ${number} [PKT-8]`, () => {
      expect(decodePacketNumber(truncated, bytes, largest)).toBe(number);
    });
  }

  test('is decoded whatever the peer has received since the last acknowledgement [PKT-8]', () => {
    const number = fc.maxSafeNat().map((n) => Math.min(n, 2 ** 53 - 2 ** 33));
    fc.assert(
      fc.property(number, fc.nat(2 ** 31 - 2), fc.nat(2 ** 30), (number, distance, seen) => {
        const largestAcked = Math.max(-1, number - 1 - distance);
        const largest = Math.min(number - 1, largestAcked + seen);
        const bytes = packetNumberBytes(number, largestAcked);
        const out = new Uint8Array(4);
        expect(writePacketNumber(out, 0, number, bytes)).toBe(bytes);
        expect(decodePacketNumber(readPacketNumber(out, 0, bytes), bytes, largest)).toBe(number);
      }),
    );
  });

  test('is decoded when its packet comes late, behind newer ones [PKT-8]', () => {
    fc.assert(
      fc.property(
        fc.nat(2 ** 40),
        fc.integer({ min: 1, max: 4 }),
        fc.nat(2 ** 31),
        (largest, bytes, back) => {
          const number = Math.max(0, largest - (back % (2 ** (8 * bytes - 1) - 1)));
          const out = new Uint8Array(4);
          writePacketNumber(out, 0, number, bytes);
          expect(decodePacketNumber(readPacketNumber(out, 0, bytes), bytes, largest)).toBe(number);
        },
      ),
    );
  });
});
