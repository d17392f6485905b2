import { expect, test } from 'vitest';
import { TokenCache } from '../../../src/broker/auth/token-cache.ts';

const turn = () => new Promise((resolve) => setImmediate(resolve));
const TOKEN = { expiresAt: 1_000 };

test('a token is verified once for all who show it at a time, and again when it has expired [AUT-11]', async () => {
  const cache = new TokenCache<typeof TOKEN>();
  let verified = 0;
  const verify = async () => {
    verified++;
    return { ...TOKEN };
  };
  const [first, second] = await Promise.all([cache.get('a', 0, verify), cache.get('a', 0, verify)]);
  expect(second).toBe(first);
  expect(await cache.get('a', 999, verify)).toBe(first);
  expect(verified).toBe(1);
  expect(await cache.get('a', 1_000, verify)).not.toBe(first);
});

test('a token that is being verified when keys change is not remembered, however many wait for it [AUT-11]', async () => {
  const cache = new TokenCache<typeof TOKEN>();
  let settle = (_: typeof TOKEN) => {};
  const slow = () => new Promise<typeof TOKEN>((resolve) => (settle = resolve));
  const first = cache.get('a', 0, slow);
  await turn();
  const all = Promise.all([first, cache.get('a', 0, slow), cache.get('a', 0, slow)]);
  await turn();
  cache.clear();
  settle({ ...TOKEN });
  await all;
  let isAsked = false;
  await cache.get('a', 0, async () => {
    isAsked = true;
    return { ...TOKEN };
  });
  expect(isAsked).toBe(true);
});
