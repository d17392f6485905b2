import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { JspError } from '../../../src/base/errors.ts';
import { whyNotNative } from '../../../src/base/native-addon.ts';
import {
  type AeadName,
  type AeadProvider,
  aeadBySize,
  chooseAead,
} from '../../../src/protocol/crypto/aead.ts';
import { packetKeys } from '../../../src/protocol/crypto/key-schedule.ts';
import { hex, joined, toHex } from './bytes.ts';
import { slowChacha20Block, slowSeal } from './slow-chacha20-poly1305.ts';

const NAMES: AeadName[] = ['native', 'sodium', 'node', 'noble'];
const NAMED = NAMES.map((name) => available(name)).filter((provider) => provider !== null);
/** For short packets one of the others, and another for long ones. */
const BY_SIZE = aeadBySize(available('sodium') ?? chooseAead('noble'), chooseAead('node'), 200);
const PROVIDERS = [...NAMED, BY_SIZE];

// RFC 8439 section 2.8.2
const RFC_KEY = hex('808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f');
const RFC_NONCE = hex('070000004041424344454647');
const RFC_AD = hex('50515253c0c1c2c3c4c5c6c7');
const RFC_PLAINTEXT = new TextEncoder().encode(
  "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
);
const RFC_SEALED = hex(`
  d31a8d34648e60db7b86afbc53ef7ec2 a4aded51296e08fea9e2b5a736ee62d6 3dbea45e8ca9671282fafb69da92728b
  1a71de0a9e060b2905d6a5b67ecd3b36 92ddbd7f2d778b8c9803aee328091b58 fab324e4fad675945585808b4831d7bc
  3ff4def08e4b7a9de576d26586cec64b 6116 1ae10b594f09e26a7e902ecbd0600691`);

describe('the slow twin', () => {
  test('gives the ciphertext and tag of RFC 8439 section 2.8.2', () => {
    expect(toHex(slowSeal(RFC_KEY, RFC_NONCE, RFC_AD, RFC_PLAINTEXT))).toBe(toHex(RFC_SEALED));
  });

  test('gives the keystream block of RFC 8439 section 2.3.2', () => {
    const key = hex('000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f');
    expect(toHex(slowChacha20Block(key, 1, hex('000000090000004a00000000')))).toBe(
      '10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e' +
        'd2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e',
    );
  });
});

describe.each(
  PROVIDERS.map((provider) => ({ provider, title: provider === BY_SIZE ? 'by size' : provider.name })),
)('the provider $title', ({ provider }) => {
  test('seals and opens the packet of RFC 8439 section 2.8.2 in place [PKT-10]', () => {
    const key = provider.createKey(RFC_KEY);
    const start = RFC_AD.length;
    const end = start + RFC_PLAINTEXT.length;
    const buffer = joined(RFC_AD, RFC_PLAINTEXT, new Uint8Array(16));
    key.seal(buffer, 0, start, end, RFC_NONCE);
    expect(toHex(buffer)).toBe(toHex(joined(RFC_AD, RFC_SEALED)));
    expect(key.open(buffer, 0, start, end + 16, RFC_NONCE)).toBe(true);
    expect(toHex(buffer.subarray(0, end))).toBe(toHex(joined(RFC_AD, RFC_PLAINTEXT)));
  });

  test('gives the bytes of the slow twin for any key, nonce, header and payload', () => {
    fc.assert(
      fc.property(bytes(32, 32), bytes(12, 12), bytes(0, 60), bytes(0, 300), (key, nonce, ad, plaintext) => {
        const buffer = joined(ad, plaintext, new Uint8Array(16));
        provider.createKey(key).seal(buffer, 0, ad.length, ad.length + plaintext.length, nonce);
        expect(toHex(buffer)).toBe(toHex(joined(ad, slowSeal(key, nonce, ad, plaintext))));
      }),
      { numRuns: 60 },
    );
  });

  test('touches nothing outside the range it seals or opens', () => {
    const key = provider.createKey(RFC_KEY);
    const arena = new Uint8Array(4096).fill(0xaa);
    // A view that does not begin at the start of its memory, as a slot of an arena does.
    const buffer = arena.subarray(1000, 3000);
    key.seal(buffer, 90, 100, 600, RFC_NONCE);
    expect(arena.subarray(0, 1100).every((byte) => byte === 0xaa)).toBe(true);
    expect(arena.subarray(1616).every((byte) => byte === 0xaa)).toBe(true);
    expect(key.open(buffer, 90, 100, 616, RFC_NONCE)).toBe(true);
    expect(arena.subarray(0, 1600).every((byte) => byte === 0xaa)).toBe(true);
    expect(arena.subarray(1616).every((byte) => byte === 0xaa)).toBe(true);
  });

  test('does not open a packet with any one bit flipped, or another nonce, or cut short', () => {
    fc.assert(
      fc.property(fc.nat(8 * (40 + 16) - 1), (bit) => {
        const key = provider.createKey(RFC_KEY);
        const buffer = new Uint8Array(56);
        key.seal(buffer, 0, 10, 40, RFC_NONCE);
        buffer[bit >> 3] ^= 1 << (bit & 7);
        expect(key.open(buffer, 0, 10, 56, RFC_NONCE)).toBe(false);
      }),
      { numRuns: 50 },
    );
    const key = provider.createKey(RFC_KEY);
    const buffer = new Uint8Array(56);
    key.seal(buffer, 0, 10, 40, RFC_NONCE);
    expect(key.open(buffer.slice(), 0, 10, 56, RFC_AD)).toBe(false);
    for (let end = 10; end < 56; end++) expect(key.open(buffer.slice(), 0, 10, end, RFC_NONCE)).toBe(false);
    expect(key.open(buffer, 0, 10, 56, RFC_NONCE)).toBe(true);
  });

  test('keeps its own copy of a key, and refuses to work once that is wiped', () => {
    const secret = RFC_KEY.slice();
    const key = provider.createKey(secret);
    secret.fill(0);
    const buffer = joined(RFC_AD, RFC_PLAINTEXT, new Uint8Array(16));
    key.seal(buffer, 0, 12, 12 + RFC_PLAINTEXT.length, RFC_NONCE);
    expect(toHex(buffer)).toBe(toHex(joined(RFC_AD, RFC_SEALED)));
    key.wipe();
    expect(() => key.seal(buffer, 0, 12, 40, RFC_NONCE)).toThrow();
  });
});

describe('choosing a provider', () => {
  test('takes the fastest that loads', () => {
    expect(chooseAead()).toBe(chooseAead('auto'));
    expect(chooseAead().name).toBe(PROVIDERS[0].name);
  });

  test('always has the JavaScript one, and OpenSSL in this Node', () => {
    expect(chooseAead('noble').name).toBe('noble');
    expect(chooseAead('node').name).toBe('node');
  });

  test('has the native addon where it serves, and else says why it does not', () => {
    const why = whyNotNative();
    if (why === null) expect(chooseAead('native')).toMatchObject({ name: 'native', isNative: true });
    else
      expect(() => chooseAead('native')).toThrow(
        expect.objectContaining({
          code: 'ERR_JSP_AEAD_UNAVAILABLE',
          message: expect.stringContaining(`the addon does not serve (${why})`),
        }),
      );
  });

  test('has what is named do all of the work, and not the native addon', () => {
    for (const name of ['sodium', 'node', 'noble'] as const) {
      const provider = available(name);
      if (provider !== null) expect(packetKeys(provider, new Uint8Array(32)).native).toBe(null);
    }
  });

  test('refuses a name that does not exist', () => {
    expect(() => chooseAead('rot13' as 'auto')).toThrow(TypeError);
    expect(() => chooseAead('constructor' as 'auto')).toThrow(TypeError);
  });
});

describe('the providers together', () => {
  test('seal alike and open what another sealed, up to the largest datagram', () => {
    fc.assert(
      fc.property(bytes(32, 32), bytes(12, 12), fc.integer({ min: 0, max: 65_000 }), (key, nonce, length) => {
        const sealed = PROVIDERS.map((provider) => {
          const buffer = new Uint8Array(11 + length + 16).map((_, i) => i * 7);
          provider.createKey(key).seal(buffer, 0, 11, 11 + length, nonce);
          return buffer;
        });
        for (const buffer of sealed) expect(Buffer.compare(buffer, sealed[0])).toBe(0);
        for (let i = 0; i < PROVIDERS.length; i++) {
          const opener = PROVIDERS[(i + 1) % PROVIDERS.length].createKey(key);
          expect(opener.open(sealed[i], 0, 11, sealed[i].length, nonce)).toBe(true);
        }
      }),
      { numRuns: 15 },
    );
  });
});

describe('a machine without a native library that works', () => {
  afterEach(() => {
    vi.resetModules();
    vi.doUnmock('node:module');
  });

  test('falls back to OpenSSL, and says what to do when sodium was asked for by name', async () => {
    const choose = await chooserWithSodium(() => {
      throw new Error('Cannot find module');
    });
    expect(choose().name).toBe('node');
    expect(() => choose('sodium')).toThrow(
      expect.objectContaining({
        code: 'ERR_JSP_AEAD_UNAVAILABLE',
        message: expect.stringMatching(/'sodium-native'.*'auto'/),
      }),
    );
  });

  test('does not trust a native library that loads and encrypts wrongly', async () => {
    const nothing = () => 0;
    const choose = await chooserWithSodium(() => ({
      crypto_aead_chacha20poly1305_ietf_encrypt: nothing,
      crypto_aead_chacha20poly1305_ietf_decrypt: nothing,
    }));
    expect(choose().name).toBe('node');
    expect(() => choose('sodium')).toThrow(expect.objectContaining({ code: 'ERR_JSP_AEAD_UNAVAILABLE' }));
  });
});

function bytes(minLength: number, maxLength: number): fc.Arbitrary<Uint8Array> {
  return fc.uint8Array({ minLength, maxLength });
}

function available(name: AeadName): AeadProvider | null {
  try {
    return chooseAead(name);
  } catch (error) {
    if (error instanceof JspError) return null;
    throw error;
  }
}

/** {@link chooseAead} where this is what comes of loading `sodium-native`. */
async function chooserWithSodium(load: () => unknown): Promise<typeof chooseAead> {
  vi.resetModules();
  vi.doMock('node:module', () => ({ createRequire: () => load }));
  return (await import('../../../src/protocol/crypto/aead.ts')).chooseAead;
}
