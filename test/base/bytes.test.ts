import { describe, expect, test } from 'vitest';
import { freeNow, hastenScavenge } from '../../src/base/bytes.ts';

describe('freeNow', () => {
  test('frees the memory without waiting for the collector', () => {
    const before = process.memoryUsage().arrayBuffers;
    for (let i = 0; i < 100; i++) freeNow(Buffer.allocUnsafeSlow(1_000_000).fill(i));
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2_000_000);
  });

  test('leaves no view of it', () => {
    const bytes = new Uint8Array(20_000).fill(7);
    const part = bytes.subarray(10, 20);
    freeNow(bytes);
    expect([bytes.length, part.length]).toEqual([0, 0]);
  });

  test('leaves the memory of others alone', () => {
    const pool = new Uint8Array(20_000).fill(7);
    freeNow(pool.subarray(0, 10_000));
    expect(pool.every((byte) => byte === 7)).toBe(true);
  });
});

describe('hastenScavenge', () => {
  test('takes any size a message can have', () => {
    for (const bytes of [0, 1, 8_192, 65_507, 2 ** 24, 2 ** 31]) hastenScavenge(bytes);
  });
});
