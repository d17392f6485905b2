import { describe, expect, test } from 'vitest';
import { openPacket, sealPacket, UnprotectedHeader } from '../../../src/protocol/crypto/packet-protection.ts';
import { hex, joined, toHex } from './bytes.ts';
import { slowHeaderProtection, slowSealedPacket } from './slow-packet.ts';
import { vectorCases } from './vector-file.ts';
import { keysOf, providerOf } from './vector-keys.ts';

const MASKS = vectorCases('header-protection.json', slowHeaderProtection);
const PACKETS = vectorCases('sealed-packets.json', slowSealedPacket);

describe.each(MASKS)('header protection, case "$name" [PKT-13]', ({ input, output }) => {
  test('is what the slow twin makes', () => {
    expect(slowHeaderProtection(input)).toEqual(output);
  });

  test('is what the library makes', () => {
    const mask = new Uint8Array(5);
    providerOf(input).createHeaderKey(hex(input.headerKey)).mask(hex(input.sample), 0, mask);
    expect(toHex(mask)).toBe(output.mask);
  });
});

describe.each(PACKETS)('the sealed packet "$name" [PKT-11] [PKT-12]', ({ input, output }) => {
  const header = hex(input.header);
  const payload = hex(input.payload);
  const packet = hex(output.packet);
  const numberBytes = (header[0] & 3) + 1;
  const numberStart = header.length - numberBytes;

  test('is what the slow twin makes', () => {
    expect(slowSealedPacket(input)).toEqual(output);
  });

  test('is what the library seals', () => {
    const keys = keysOf(input);
    const buffer = joined(header, payload, new Uint8Array(16));
    const payloadEnd = header.length + payload.length;
    expect(toHex(keys.nonceFor(input.packetNumber))).toBe(output.nonce);
    expect(sealPacket(keys, buffer, 0, numberStart, payloadEnd, input.packetNumber)).toBe(packet.length);
    expect(toHex(buffer)).toBe(output.packet);
  });

  test('is what the library opens', () => {
    const keys = keysOf(input);
    const found = new UnprotectedHeader();
    const largest = input.packetNumber - 1;
    expect(found.unprotect(keys, packet, 0, numberStart, packet.length, largest)).toBe(true);
    expect(found).toMatchObject({ number: input.packetNumber, numberBytes, payloadStart: header.length });
    expect(openPacket(keys, packet, 0, packet.length, found)).toBe(header.length + payload.length);
    expect(toHex(packet.subarray(0, header.length + payload.length))).toBe(input.header + input.payload);
  });
});
