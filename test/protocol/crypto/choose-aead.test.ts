import { afterEach, describe, expect, it, vi } from 'vitest';
import type { AeadProvider } from '../../../src/protocol/crypto/aead.ts';

describe('a machine without the native library', () => {
  afterEach(() => {
    vi.resetModules();
    vi.doUnmock('../../../src/protocol/crypto/aead-sodium.ts');
  });

  it('falls back to OpenSSL, and says what to do when sodium was asked for by name', async () => {
    const chooseAead = await chooserWithSodium(() => null);
    expect(chooseAead().name).toBe('node');
    expect(() => chooseAead('sodium')).toThrow(
      expect.objectContaining({
        code: 'ERR_JSP_AEAD_UNAVAILABLE',
        message: expect.stringMatching(/'sodium-native'.*'auto'/),
      }),
    );
  });

  it('does not trust a native library that loads and encrypts wrongly', async () => {
    const chooseAead = await chooserWithSodium(() => ({
      name: 'sodium',
      createKey: () => ({ seal: () => undefined, open: () => true, wipe: () => undefined }),
      createHeaderKey: () => ({ mask: () => undefined, wipe: () => undefined }),
    }));
    expect(chooseAead().name).toBe('node');
    expect(() => chooseAead('sodium')).toThrow(expect.objectContaining({ code: 'ERR_JSP_AEAD_UNAVAILABLE' }));
  });
});

async function chooserWithSodium(loadSodiumAead: () => AeadProvider | null) {
  vi.resetModules();
  vi.doMock('../../../src/protocol/crypto/aead-sodium.ts', () => ({ loadSodiumAead }));
  return (await import('../../../src/protocol/crypto/choose-aead.ts')).chooseAead;
}
