import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  LONG_PACKET_LENGTH_MAX,
  longHeaderSize,
  PacketHeader,
  PacketSpace,
  PacketType,
  packetSpaceOf,
  parsePacketHeader,
  readPacketNumber,
  shortHeaderSize,
  VERSION,
  writeLongHeader,
  writePacketLength,
  writeRetryHeader,
  writeShortHeader,
} from '../../../src/protocol/wire/packet-header.ts';
import { fastParseHeader } from './fast-header.ts';
import { fromHex, toHex } from './hex.ts';
import { type SlowHeader, slowParseHeader } from './slow-header.ts';

interface HeaderVector {
  name: string;
  hex: string;
  shortIdLength?: number;
  header: SlowHeader & { number?: number; numberBytes?: number; greaseBit?: boolean; phase?: number };
}

const vectors: { headers: HeaderVector[]; malformed: { name: string; hex: string; rule: string }[] } =
  JSON.parse(readFileSync(new URL('../../../spec/vectors/headers.json', import.meta.url), 'utf8'));

describe('header vectors', () => {
  for (const { name, hex, shortIdLength = 8, header } of vectors.headers) {
    const datagram = fromHex(hex);
    const { number, numberBytes, greaseBit, phase, ...parsed } = header;

    test(`${name} is parsed as the spec says [INV-1] [INV-3] [INV-4] [PKT-1]`, () => {
      expect(fastParseHeader(datagram, shortIdLength)).toEqual(parsed);
      expect(slowParseHeader(datagram, shortIdLength)).toEqual(parsed);
    });

    if (number === undefined || numberBytes === undefined) continue;
    test(`${name} is written as the spec says [PKT-1] [PKT-2] [PKT-4]`, () => {
      expect((datagram[0] & 3) + 1).toBe(numberBytes);
      expect(readPacketNumber(datagram, header.numberStart ?? 0, numberBytes)).toBe(number);
      const written = datagram.slice();
      written.fill(0, 0, header.numberStart);
      expect(toHex(written.subarray(0, writeHeader(written, header)))).toBe(
        toHex(datagram.subarray(0, (header.numberStart ?? 0) + numberBytes)),
      );
    });
  }

  for (const { name, hex, rule } of vectors.malformed) {
    test(`${name} is malformed [${rule}]`, () => {
      expect(fastParseHeader(fromHex(hex), 8)).toBe(null);
      expect(() => slowParseHeader(fromHex(hex), 8)).toThrow();
    });
  }

  test('prove what makes a header malformed [INV-2] [INV-3] [PKT-1] [PKT-2] [PKT-3]', () => {
    const rules = [...new Set(vectors.malformed.map(({ rule }) => rule))].sort();
    expect(rules).toEqual(['INV-2', 'INV-3', 'PKT-1', 'PKT-2', 'PKT-3']);
  });

  test('are malformed wherever their headers are cut short [PKT-3]', () => {
    for (const { name, hex, shortIdLength = 8, header } of vectors.headers) {
      const datagram = fromHex(hex);
      const least = header.type === 'UNKNOWN_VERSION' ? 10 : header.type === 'RETRY' ? 28 : header.end;
      for (let length = 0; length < least; length++) {
        expect({
          name,
          length,
          parsed: fastParseHeader(datagram.subarray(0, length), shortIdLength),
        }).toEqual({
          name,
          length,
          parsed: null,
        });
      }
    }
  });
});

describe('a packet header', () => {
  test('of an unknown version shows its version and ids, so that it can be dropped and counted [INV-6]', () => {
    const header = new PacketHeader();
    const datagram = fromHex('ff babababa 02 0102 01 03 ffff');
    expect(parsePacketHeader(header, datagram, 0, datagram.length, 8)).toBe(true);
    expect(header.version).not.toBe(VERSION);
    expect(header.type).toBe(-1);
    expect(header.numberStart).toBe(-1);
  });

  test('leads to the next packet of its datagram, a short one reaches to the end [PKT-5] [PKT-6]', () => {
    const header = new PacketHeader();
    const datagram = new Uint8Array(200);
    const id = fromHex('0102030405060708');
    const numberEnd = writeLongHeader(datagram, 0, PacketType.HANDSHAKE, false, id, NONE, NONE, 9, 1);
    const first = numberEnd + 40;
    writePacketLength(datagram, numberEnd - 1, first);
    writeShortHeader(datagram, first, false, 0, id, 3, 1);

    expect(parsePacketHeader(header, datagram, 0, 200, 8)).toBe(true);
    expect([header.form, header.type, header.end]).toEqual(['long', PacketType.HANDSHAKE, first]);
    expect(parsePacketHeader(header, datagram, header.end, 200, 8)).toBe(true);
    expect([header.form, header.type, header.end]).toEqual(['short', PacketType.ONE_RTT, 200]);
  });

  test('takes the same room whatever the payload, up to 16,383 bytes [PKT-2]', () => {
    const header = new PacketHeader();
    for (const length of [20, 63, 64, 1_200, LONG_PACKET_LENGTH_MAX]) {
      const datagram = new Uint8Array(20_000);
      const numberStart = writeLongHeader(datagram, 0, PacketType.INITIAL, true, NONE, NONE, NONE, 0, 1) - 1;
      writePacketLength(datagram, numberStart, numberStart + length);
      expect(parsePacketHeader(header, datagram, 0, datagram.length, 8)).toBe(true);
      expect([header.unpinned, header.numberStart, header.end]).toEqual([true, 10, 10 + length]);
    }
  });

  test('has the size that the size functions say', () => {
    const id = fc.uint8Array({ maxLength: 20 });
    const token = fc.uint8Array({ maxLength: 300 });
    const type = fc.constantFrom(PacketType.INITIAL, PacketType.ZERO_RTT, PacketType.HANDSHAKE);
    const bytes = fc.integer({ min: 1, max: 4 });
    fc.assert(
      fc.property(type, id, id, token, bytes, fc.nat(), (type, dcid, scid, token, bytes, number) => {
        const out = new Uint8Array(400);
        const end = writeLongHeader(out, 0, type, false, dcid, scid, token, number, bytes);
        expect(end).toBe(longHeaderSize(type, dcid.length, scid.length, token.length, bytes));
        expect(writeShortHeader(out, 0, true, 1, dcid, number, bytes)).toBe(
          shortHeaderSize(dcid.length, bytes),
        );
      }),
    );
  });

  test('of a Retry holds the token between ids and tag', () => {
    const out = new Uint8Array(64);
    const end = writeRetryHeader(out, 0, fromHex('0102'), fromHex('0304'), fromHex('746f6b656e'));
    const written = toHex(out.subarray(0, end));
    expect(written).toBe('f04a535031020102020304746f6b656e');
  });

  test('belongs to one of three packet number spaces [PKT-7]', () => {
    expect(packetSpaceOf(PacketType.INITIAL)).toBe(PacketSpace.INITIAL);
    expect(packetSpaceOf(PacketType.HANDSHAKE)).toBe(PacketSpace.HANDSHAKE);
    expect(packetSpaceOf(PacketType.ZERO_RTT)).toBe(PacketSpace.APPLICATION);
    expect(packetSpaceOf(PacketType.ONE_RTT)).toBe(PacketSpace.APPLICATION);
  });
});

const NONE = new Uint8Array(0);

/** Writes the header of a vector. Returns the offset behind its packet number. */
function writeHeader(out: Uint8Array, vector: HeaderVector['header']): number {
  const { type, dcid, scid = '', token = '', unpinned = false, end, number = 0, numberBytes = 1 } = vector;
  if (type === 'ONE_RTT') {
    const { greaseBit = false, phase = 0 } = vector;
    return writeShortHeader(out, 0, greaseBit, phase, fromHex(dcid), number, numberBytes);
  }
  if (type === 'UNKNOWN_VERSION') throw new Error('nobody writes these');
  const ids = [fromHex(dcid), fromHex(scid), fromHex(token)] as const;
  const next = writeLongHeader(out, 0, PacketType[type], unpinned, ...ids, number, numberBytes);
  writePacketLength(out, next - numberBytes, end);
  return next;
}
