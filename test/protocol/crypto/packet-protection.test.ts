import { createCipheriv } from 'node:crypto';
import { chacha20 } from '@noble/ciphers/chacha.js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AssertionFailure } from '../../../src/base/errors.ts';
import { chooseAead } from '../../../src/protocol/crypto/aead.ts';
import { PacketKeys } from '../../../src/protocol/crypto/packet-keys.ts';
import {
  ChachaHeaderKey,
  openPacket,
  sealPacket,
  UnprotectedHeader,
} from '../../../src/protocol/crypto/packet-protection.ts';
import { hex, joined, toHex } from './bytes.ts';
import { slowChacha20Block } from './slow-chacha20-poly1305.ts';

const provider = chooseAead('auto');

describe('packet protection', () => {
  test('seals the short packet of RFC 9001 appendix A.5 to the same bytes, and opens it [PKT-11] [PKT-12] [PKT-13]', () => {
    const keys = keysOf(
      'c6d98ff3441c3fe1b2182094f69caa2ed4b716b65488960a7a984979fb23e1c8',
      'e0459b3474bdd0e44a41c144',
      '25a282b9e82f06f21f488917a4fc8f1b73573685608597d0efcb076b0ab7a7a4',
    );
    const buffer = joined(hex('4200bff4'), hex('01'), new Uint8Array(16));
    expect(toHex(keys.nonceFor(654_360_564))).toBe('e0459b3474bdd0e46d417eb0');
    expect(sealPacket(keys, buffer, 0, 1, 5, 654_360_564)).toBe(21);
    expect(toHex(buffer)).toBe('4cfe4189655e5cd55c41f69080575d7999c25a5bfb');

    const found = new UnprotectedHeader();
    expect(found.unprotect(keys, buffer, 0, 1, 21, 654_360_563)).toBe(true);
    expect(found).toMatchObject({
      firstByte: 0x42,
      number: 654_360_564,
      numberBytes: 3,
      payloadStart: 4,
      phase: 0,
    });
    expect(openPacket(keys, buffer, 0, 21, found)).toBe(5);
    expect(toHex(buffer.subarray(0, 5))).toBe('4200bff401');
  });

  test('puts the whole 53 bits of a packet number into the nonce, and path 0 before them [PKT-11]', () => {
    const keys = keysOf('00'.repeat(32), '00'.repeat(12), '00'.repeat(32));
    fc.assert(
      fc.property(fc.maxSafeNat(), (number) => {
        expect(toHex(keys.nonceFor(number))).toBe(number.toString(16).padStart(24, '0'));
      }),
    );
  });

  test('opens what it sealed, at any place in an arena, for both forms and all number lengths', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 50 }),
        fc.boolean(),
        fc.integer({ min: 0, max: 40 }),
        fc.integer({ min: 1, max: 4 }),
        fc.uint8Array({ minLength: 3, maxLength: 1500 }),
        fc.nat(2 ** 31),
        (offset, isLong, idBytes, numberBytes, payload, number) => {
          const arena = new Uint8Array(2000).fill(0x5a);
          const end = write(arena, offset, isLong, idBytes, numberBytes, number, payload);
          const numberStart = offset + 1 + idBytes;
          const clear = arena.slice();
          expect(sealPacket(KEYS, arena, offset, numberStart, end, number)).toBe(end + 16);
          // The id and the form, fixed and U bits stay readable for everyone.
          expect(arena.subarray(offset + 1, numberStart)).toEqual(clear.subarray(offset + 1, numberStart));
          expect((arena[offset] ^ clear[offset]) & (isLong ? 0xf8 : 0xe0)).toBe(0);
          expect(arena.subarray(end + 16).every((byte) => byte === 0x5a)).toBe(true);

          const found = new UnprotectedHeader();
          expect(found.unprotect(KEYS, arena, offset, numberStart, end + 16, number - 1)).toBe(true);
          expect(found.number).toBe(number);
          expect(openPacket(KEYS, arena, offset, end + 16, found)).toBe(end);
          expect(arena.subarray(0, end)).toEqual(clear.subarray(0, end));
        },
      ),
    );
  });

  test('does not open a packet in which any bit was flipped, header included [PKT-15]', () => {
    fc.assert(
      fc.property(fc.boolean(), fc.nat(8 * 60 - 1), (isLong, bit) => {
        const packet = new Uint8Array(60);
        write(packet, 0, isLong, 8, 2, 77, new Uint8Array(33));
        sealPacket(KEYS, packet, 0, 9, 44, 77);
        packet[bit >> 3] ^= 1 << (bit & 7);
        const found = new UnprotectedHeader();
        const opens =
          found.unprotect(KEYS, packet, 0, 9, 60, 76) && openPacket(KEYS, packet, 0, 60, found) >= 0;
        expect(opens).toBe(false);
      }),
      { numRuns: 200 },
    );
  });

  test('shows the phase and the S bit of a short packet, and the reserved bits of both forms [PKT-16] [FEC-41]', () => {
    const found = new UnprotectedHeader();
    for (const [first, phase, reserved, symbol] of [
      [0x40, 0, 0, 0],
      [0x44, 1, 0, 0],
      [0x48, 0, 0x08, 0],
      [0x54, 1, 0, 0x10],
      [0x58, 0, 0x08, 0x10],
      [0xc0, 0, 0, 0],
      [0xc4, 0, 0x04, 0],
      [0xc8, 0, 0, 0],
      [0xd0, 0, 0, 0],
    ]) {
      const packet = new Uint8Array(40);
      packet[0] = first;
      sealPacket(KEYS, packet, 0, 1, 24, 0);
      expect(found.unprotect(KEYS, packet, 0, 1, 40, -1)).toBe(true);
      expect(openPacket(KEYS, packet, 0, 40, found)).toBe(24);
      expect(found).toMatchObject({ firstByte: first, phase, reserved, symbol });
    }
  });

  test('drops a packet too short for a sample, whatever its bytes, and reads nothing beyond its end [PKT-14]', () => {
    const found = new UnprotectedHeader();
    for (let length = 0; length < 29; length++) {
      expect(found.unprotect(KEYS, new Uint8Array(100), 0, 9, length, -1)).toBe(false);
    }
    expect(found.unprotect(KEYS, new Uint8Array(100), 0, 9, 29, -1)).toBe(true);
    expect(openPacket(KEYS, new Uint8Array(29), 0, 29, found)).toBe(-1);
  });

  test('refuses to seal a packet that was not padded for its sample [PKT-14]', () => {
    expect(() => sealPacket(KEYS, new Uint8Array(40), 0, 1, 4, 0)).toThrow(AssertionFailure);
    expect(sealPacket(KEYS, new Uint8Array(40), 0, 1, 5, 0)).toBe(21);
  });
});

describe('the header protection key', () => {
  test('makes the mask of RFC 9001 appendix A.5 [PKT-13]', () => {
    const mask = new Uint8Array(5);
    new ChachaHeaderKey(RFC_HEADER_KEY).mask(
      joined(hex('ffff'), hex('5e5cd55c41f69080575d7999c25a5bfb')),
      2,
      mask,
    );
    expect(toHex(mask)).toBe('aefefe7d03');
  });

  test('agrees with OpenSSL, with noble and with the slow twin for any key and sample', () => {
    fc.assert(
      fc.property(bytesOf(32), bytesOf(16), fc.nat(100), (key, sample, offset) => {
        const mask = new Uint8Array(5);
        new ChachaHeaderKey(key).mask(joined(new Uint8Array(offset), sample), offset, mask);
        const counter = Buffer.from(sample).readUInt32LE(0);
        const nonce = sample.slice(4);
        const zeros = new Uint8Array(5);
        expect(toHex(mask)).toBe(toHex(createCipheriv('chacha20', key, sample).update(zeros)));
        expect(toHex(mask)).toBe(toHex(chacha20(key, nonce, zeros, undefined, counter)));
        expect(toHex(mask)).toBe(toHex(slowChacha20Block(key, counter, nonce).subarray(0, 5)));
      }),
      { numRuns: 200 },
    );
  });

  test('keeps its own copy of the key, and refuses to work once that is wiped', () => {
    const secret = RFC_HEADER_KEY.slice();
    const key = new ChachaHeaderKey(secret);
    secret.fill(0);
    const mask = new Uint8Array(5);
    key.mask(hex('5e5cd55c41f69080575d7999c25a5bfb'), 0, mask);
    expect(toHex(mask)).toBe('aefefe7d03');
    key.wipe();
    expect(() => key.mask(new Uint8Array(16), 0, mask)).toThrow();
  });

  test('refuses a key of another length', () => {
    expect(() => new ChachaHeaderKey(new Uint8Array(16))).toThrow(RangeError);
  });
});

function keysOf(key: string, iv: string, headerKey: string): PacketKeys {
  return new PacketKeys(provider.createKey(hex(key)), hex(iv), provider.createHeaderKey(hex(headerKey)));
}

/** Writes a packet in the clear whose id is `idBytes` long. Returns the payload's end. */
function write(
  out: Uint8Array,
  at: number,
  isLong: boolean,
  idBytes: number,
  numberBytes: number,
  number: number,
  payload: Uint8Array,
): number {
  out[at] = (isLong ? 0xc0 : 0x40) | (numberBytes - 1);
  out.fill(0xd0, at + 1, at + 1 + idBytes);
  for (let i = 0; i < numberBytes; i++) out[at + 1 + idBytes + i] = number >>> (8 * (numberBytes - 1 - i));
  out.set(payload, at + 1 + idBytes + numberBytes);
  return at + 1 + idBytes + numberBytes + payload.length;
}

const KEYS = keysOf('01'.repeat(32), '02'.repeat(12), '03'.repeat(32));

function bytesOf(length: number): fc.Arbitrary<Uint8Array> {
  return fc.uint8Array({ minLength: length, maxLength: length, size: 'max' });
}
const RFC_HEADER_KEY = hex('25a282b9e82f06f21f488917a4fc8f1b73573685608597d0efcb076b0ab7a7a4');
