import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { loadAesGcm } from '../../../src/protocol/crypto/aes-gcm.ts';
import { AES_256_GCM } from '../../../src/protocol/crypto/cipher-suite.ts';
import { hex, joined, toHex } from './bytes.ts';
import { slowAes256, slowAesGcmSeal } from './slow-aes-gcm.ts';

// Test case 16 of the paper that proposed GCM (McGrew and Viega, appendix B).
const KEY = hex('feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308');
const NONCE = hex('cafebabefacedbaddecaf888');
const AD = hex('feedfacedeadbeeffeedfacedeadbeefabaddad2');
const PLAINTEXT = hex(`
  d9313225f88406e5a55909c5aff5269a 86a7a9531534f7da2e4c303d8a318a72
  1c3c0c95956809532fcf0e2449a6b525 b16aedf5aa0de657ba637b39`);
const SEALED = hex(`
  522dc1f099567d07f47f37a32a84427d 643a8cdcbfe5c0c97598a2bd2555d1aa
  8cb08e48590dbb3da7b08b1056828838 c5f61e6393ba7a0abcc9f662 76fc6ece0f4e1768cddf8853bb2d551b`);
// FIPS 197, appendix C.3
const FIPS_KEY = Uint8Array.from({ length: 32 }, (_, i) => i);
const FIPS_BLOCK = hex('00112233445566778899aabbccddeeff');
const FIPS_CIPHERTEXT = '8ea2b7ca516745bfeafc49904b496089';

describe('the slow twin', () => {
  test('gives the block of FIPS 197 appendix C.3', () => {
    expect(toHex(slowAes256(FIPS_KEY, FIPS_BLOCK))).toBe(FIPS_CIPHERTEXT);
  });

  test('gives the ciphertext and tag of the test case of GCM', () => {
    expect(toHex(slowAesGcmSeal(KEY, NONCE, AD, PLAINTEXT))).toBe(toHex(SEALED));
  });
});

describe('AES-256-GCM of OpenSSL', () => {
  const provider = loadAesGcm();
  if (provider === null) throw new Error('this Node has no AES-256-GCM');

  test('is suite 0x02, with the limit that holds for packets of any size [HS-60]', () => {
    expect(provider.suite).toBe(AES_256_GCM);
    expect(AES_256_GCM).toMatchObject({ id: 2, sealedMax: 2 ** 23 });
  });

  test('seals and opens the test case of GCM in place [PKT-10]', () => {
    const key = provider.createKey(KEY);
    const end = AD.length + PLAINTEXT.length;
    const buffer = joined(AD, PLAINTEXT, new Uint8Array(16));
    key.seal(buffer, 0, AD.length, end, NONCE);
    expect(toHex(buffer)).toBe(toHex(joined(AD, SEALED)));
    expect(key.open(buffer, 0, AD.length, end + 16, NONCE)).toBe(true);
    expect(toHex(buffer.subarray(0, end))).toBe(toHex(joined(AD, PLAINTEXT)));
  });

  test('masks with the block of the sample, for any number of packets [PKT-13]', () => {
    const key = provider.createHeaderKey(FIPS_KEY);
    const mask = new Uint8Array(5);
    for (let i = 0; i < 3; i++) {
      key.mask(joined(new Uint8Array(i), FIPS_BLOCK), i, mask);
      expect(toHex(mask)).toBe(FIPS_CIPHERTEXT.slice(0, 10));
    }
    key.wipe();
    expect(() => key.mask(FIPS_BLOCK, 0, mask)).toThrow(/wiped/);
    expect(() => provider.createHeaderKey(new Uint8Array(16))).toThrow(RangeError);
  });

  test('gives the bytes of the slow twin for any key, nonce, header and payload, and opens them', () => {
    fc.assert(
      fc.property(bytes(32, 32), bytes(12, 12), bytes(0, 40), bytes(0, 70), (key, nonce, ad, plaintext) => {
        const buffer = joined(ad, plaintext, new Uint8Array(16));
        const packetKey = provider.createKey(key);
        packetKey.seal(buffer, 0, ad.length, ad.length + plaintext.length, nonce);
        expect(toHex(buffer)).toBe(toHex(joined(ad, slowAesGcmSeal(key, nonce, ad, plaintext))));
        expect(packetKey.open(buffer, 0, ad.length, buffer.length, nonce)).toBe(true);
        expect(toHex(buffer.subarray(ad.length, ad.length + plaintext.length))).toBe(toHex(plaintext));
      }),
      { numRuns: 30 },
    );
  });

  test('does not open a packet with any one bit flipped, or cut short', () => {
    const key = provider.createKey(KEY);
    const sealed = new Uint8Array(46);
    key.seal(sealed, 0, 10, 30, NONCE);
    for (let bit = 0; bit < 8 * sealed.length; bit++) {
      const buffer = sealed.slice();
      buffer[bit >> 3] ^= 1 << (bit & 7);
      expect(key.open(buffer, 0, 10, 46, NONCE)).toBe(false);
    }
    for (let end = 10; end < 46; end++) expect(key.open(sealed.slice(), 0, 10, end, NONCE)).toBe(false);
    expect(key.open(sealed, 0, 10, 46, NONCE)).toBe(true);
  });
});

function bytes(minLength: number, maxLength: number): fc.Arbitrary<Uint8Array> {
  return fc.uint8Array({ minLength, maxLength });
}
