import { vi } from 'vitest';

/** A module of its own, as it is where `sodium-native` cannot be loaded. */
export async function withoutSodium<T>(load: () => Promise<T>): Promise<T> {
  vi.resetModules();
  vi.doMock('node:module', () => ({
    createRequire: () => () => {
      throw new Error('not installed');
    },
  }));
  try {
    return await load();
  } finally {
    vi.doUnmock('node:module');
    vi.resetModules();
  }
}
