import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expandLabel, extract, hmac } from '../../../src/protocol/crypto/hkdf.ts';
import { hex, toHex } from './bytes.ts';
import { slowExpand, slowExpandLabel, slowExtract } from './slow-hkdf.ts';

// RFC 5869 appendix A.1
const INPUT_KEY = hex('0b'.repeat(22));
const SALT = hex('000102030405060708090a0b0c');
const PSEUDORANDOM_KEY = '077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5';

describe('HKDF', () => {
  it('extracts the key of RFC 5869 appendix A.1, as its slow twin does', () => {
    expect(toHex(extract(SALT, INPUT_KEY))).toBe(PSEUDORANDOM_KEY);
    expect(toHex(slowExtract(SALT, INPUT_KEY))).toBe(PSEUDORANDOM_KEY);
  });

  it('has a slow twin that expands to the bytes of RFC 5869 appendix A.1', () => {
    expect(toHex(slowExpand(hex(PSEUDORANDOM_KEY), hex('f0f1f2f3f4f5f6f7f8f9'), 42))).toBe(
      '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865',
    );
  });

  it('has a slow twin that labels as TLS 1.3 does, shown by the QUIC keys of RFC 9001 appendix A.5', () => {
    const secret = hex('9ac312a7f877468ebe69422748ad00a15443f18203a07d6060f688f30f21632b');
    const label = (name: string, length: number) =>
      toHex(slowExpandLabel(secret, name, hex(''), length, 'tls13 '));
    expect(label('quic key', 32)).toBe('c6d98ff3441c3fe1b2182094f69caa2ed4b716b65488960a7a984979fb23e1c8');
    expect(label('quic iv', 12)).toBe('e0459b3474bdd0e44a41c144');
    expect(label('quic hp', 32)).toBe('25a282b9e82f06f21f488917a4fc8f1b73573685608597d0efcb076b0ab7a7a4');
    expect(label('quic ku', 32)).toBe('1223504755036d556342ee9361d253421a826c9ecdf3c7148684b36b714881f9');
  });

  it('expands a label to the bytes of the slow twin [HS-19]', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.string({ unit: fc.constantFrom('a', 'z', ' ', '0'), maxLength: 20 }),
        fc.uint8Array({ maxLength: 32 }),
        fc.integer({ min: 1, max: 32 }),
        (secret, label, context, length) => {
          expect(toHex(expandLabel(secret, label, context, length))).toBe(
            toHex(slowExpandLabel(secret, label, context, length)),
          );
        },
      ),
    );
  });
});

describe('HMAC', () => {
  it('gives what OpenSSL gives, for keys and data of all lengths', () => {
    const bytes = fc.uint8Array({ maxLength: 150 });
    fc.assert(
      fc.property(bytes, fc.array(bytes, { maxLength: 3 }), (key, parts) => {
        const expected = createHmac('sha256', key).update(Buffer.concat(parts)).digest('hex');
        expect(toHex(hmac(key, ...parts))).toBe(expected);
      }),
      { numRuns: 500 },
    );
  });
});
