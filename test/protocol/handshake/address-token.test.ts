import { describe, expect, test } from 'vitest';
import { MemoryBudget } from '../../../src/base/memory-budget.ts';
import { Prng } from '../../../src/base/random.ts';
import { MILLISECOND, SECOND } from '../../../src/base/time.ts';
import { chooseAead } from '../../../src/protocol/crypto/aead.ts';
import {
  AddressTokens,
  SpentTokens,
  TOKEN_BYTES_MAX,
  TokenVerdict,
} from '../../../src/protocol/handshake/address-token.ts';
import { bytesOf } from '../connection/pair.ts';
import { toHex } from '../crypto/bytes.ts';
import { slowToken } from './slow-retry.ts';

const AEAD = chooseAead('auto');
const BUDGET = new MemoryBudget(2 ** 30);
const SECRET = bytesOf(32, 5);
const ID = bytesOf(8, 6);
const DAY = 24 * 60 * 60 * SECOND;
/** Some time on a day in 2026. */
const EPOCH_MS = 1_790_000_000_000;

function tokens(
  changes: { secret?: Uint8Array; previous?: Uint8Array; epochMs?: number; seed?: number } = {},
) {
  const { secret = SECRET, previous, epochMs = EPOCH_MS, seed = 1 } = changes;
  const secrets = { current: secret, previous };
  return new AddressTokens({ aead: AEAD, random: new Prng(seed), secrets, epochMs, memory: BUDGET });
}

describe('the token of a Retry [HS-31]', () => {
  test.each(['192.0.2.7', '2001:db8::7', 'client'])(
    'shows that %s was heard there, and what its first id was',
    (host) => {
      const server = tokens();
      const token = server.forRetry(host, 4_000, ID, 0);
      expect(server.check(token, host, 4_000, SECOND)).toBe(TokenVerdict.RETRY);
      expect(server.retryOriginalId).toEqual(ID);
    },
  );

  test('shows nothing from another address or port, and tells its client to begin anew', () => {
    const server = tokens();
    const token = server.forRetry('192.0.2.7', 4_000, ID, 0);
    expect(server.check(token, '192.0.2.8', 4_000, 0)).toBe(TokenVerdict.BAD_RETRY);
    expect(server.check(token, '192.0.2.7', 4_001, 0)).toBe(TokenVerdict.BAD_RETRY);
    expect(server.check(token, '192.0.2.7', 4_000, 0)).toBe(TokenVerdict.RETRY);
  });

  test('is good for 15 s, and once', () => {
    const server = tokens();
    const token = server.forRetry('192.0.2.7', 4_000, ID, 0);
    expect(server.check(token, '192.0.2.7', 4_000, 15 * SECOND - MILLISECOND)).toBe(TokenVerdict.RETRY);
    expect(server.check(token, '192.0.2.7', 4_000, 15 * SECOND)).toBe(TokenVerdict.BAD_RETRY);
    expect(server.check(token, '192.0.2.7', 4_000, SECOND)).toBe(TokenVerdict.RETRY);
    server.spend(token);
    expect(server.check(token, '192.0.2.7', 4_000, SECOND)).toBe(TokenVerdict.BAD_RETRY);
  });

  test('is no other when one bit of it changes, or its end is missing', () => {
    const server = tokens();
    const token = server.forRetry('192.0.2.7', 4_000, ID, 0);
    let taken = 0;
    for (let bit = 0; bit < 8 * token.length; bit++) {
      const forged = token.slice();
      forged[bit >> 3] ^= 1 << (bit & 7);
      if (server.check(forged, '192.0.2.7', 4_000, 0) === TokenVerdict.RETRY) taken++;
    }
    expect(taken).toBe(0);
    for (let end = 1; end < token.length; end++)
      expect(server.check(token.subarray(0, end), '192.0.2.7', 4_000, 0)).toBe(TokenVerdict.BAD_RETRY);
    expect(server.check(bytesOf(TOKEN_BYTES_MAX + 1).fill(1), '192.0.2.7', 4_000, 0)).toBe(
      TokenVerdict.BAD_RETRY,
    );
    expect(server.check(new Uint8Array(0), '192.0.2.7', 4_000, 0)).toBe(TokenVerdict.NONE);
  });

  test('is laid out, and its key derived, as the specification says', () => {
    const seed = 9;
    const nonce = new Uint8Array(12);
    new Prng(seed).fill(nonce);
    for (const [host, address] of [
      ['192.0.2.7', '00000000000000000000ffffc0000207'],
      ['2001:db8::7', '20010db8000000000000000000000007'],
    ]) {
      const token = tokens({ seed }).forRetry(host, 4_000, ID, 2 * SECOND);
      const issuedMs = EPOCH_MS + 2_000;
      expect(toHex(token)).toBe(
        slowToken({
          kind: 1,
          secret: toHex(SECRET),
          issuedMs,
          expiresMs: issuedMs + 15_000,
          nonce: toHex(nonce),
          address,
          rest: `0fa008${toHex(ID)}`,
        }),
      );
    }
  });
});

describe('the token for another connection [HS-37]', () => {
  test('shows an address whatever the port, for 7 days, and once', () => {
    const server = tokens();
    const token = server.forNextConnection('192.0.2.7', 0);
    expect(server.check(token, '192.0.2.8', 1, 0)).toBe(TokenVerdict.NONE);
    expect(server.check(token, '192.0.2.7', 1, 7 * DAY - SECOND)).toBe(TokenVerdict.NEW_TOKEN);
    expect(server.check(token, '192.0.2.7', 1, 7 * DAY)).toBe(TokenVerdict.NONE);
    server.check(token, '192.0.2.7', 2, DAY);
    server.spend(token);
    expect(server.check(token, '192.0.2.7', 2, DAY)).toBe(TokenVerdict.NONE);
  });

  test('is laid out as the specification says', () => {
    const seed = 3;
    const nonce = new Uint8Array(12);
    new Prng(seed).fill(nonce);
    const expected = slowToken({
      kind: 2,
      secret: toHex(SECRET),
      issuedMs: EPOCH_MS,
      expiresMs: EPOCH_MS + 7 * 86_400_000,
      nonce: toHex(nonce),
      address: '00000000000000000000ffffc0000207',
      rest: '',
    });
    expect(toHex(tokens({ seed }).forNextConnection('192.0.2.7', 0))).toBe(expected);
  });
});

describe('the keys of tokens', () => {
  test('change by the day, and those of the days before are known without being kept [HS-31]', () => {
    const early = tokens();
    const bodies = new Set<string>();
    for (let day = 0; day < 20; day++) {
      const token = early.forNextConnection('192.0.2.7', day * DAY);
      bodies.add(toHex(token.subarray(1, 2)));
      // Another process, or the same one started anew.
      const later = tokens({ epochMs: EPOCH_MS + day * 86_400_000 });
      expect(later.check(token, '192.0.2.7', 1, 6 * DAY)).toBe(TokenVerdict.NEW_TOKEN);
    }
    expect(bodies.size).toBe(20);
  });

  test('may be of a secret that is on its way out, but of none that is unknown', () => {
    const next = bytesOf(32, 77);
    const token = tokens().forNextConnection('192.0.2.7', 0);
    expect(tokens({ secret: next }).check(token, '192.0.2.7', 1, 0)).toBe(TokenVerdict.NONE);
    const server = tokens({ secret: next, previous: SECRET });
    expect(server.check(token, '192.0.2.7', 1, 0)).toBe(TokenVerdict.NEW_TOKEN);
    server.useSecrets({ current: bytesOf(32, 78), previous: next });
    expect(server.check(token, '192.0.2.7', 1, 0)).toBe(TokenVerdict.NONE);
  });

  test('take tokens of a clock that is a few seconds ahead, also around midnight, and of none that is a minute ahead', () => {
    const midnightMs = Math.ceil(EPOCH_MS / 86_400_000) * 86_400_000;
    const behind = tokens({ epochMs: midnightMs - 1_000 });
    const ahead = tokens({ epochMs: midnightMs + 1_000 });
    expect(behind.check(ahead.forNextConnection('192.0.2.7', 0), '192.0.2.7', 1, 0)).toBe(
      TokenVerdict.NEW_TOKEN,
    );
    expect(ahead.check(behind.forNextConnection('192.0.2.7', 0), '192.0.2.7', 1, 0)).toBe(
      TokenVerdict.NEW_TOKEN,
    );
    const far = tokens({ epochMs: midnightMs + 60_000 });
    expect(behind.check(far.forNextConnection('192.0.2.7', 0), '192.0.2.7', 1, 0)).toBe(TokenVerdict.NONE);
  });
});

describe('the memory of used tokens [HS-38]', () => {
  const token = (i: number) => {
    const bytes = new Uint8Array(14);
    new DataView(bytes.buffer).setUint32(2, i);
    return bytes;
  };

  test('knows the newest, and takes every token for used whose use it may have forgotten', () => {
    const spent = new SpentTokens(BUDGET, 20);
    let forgotten = 0;
    for (let i = 0; i < 200; i++) {
      if (spent.has(token(i), i)) forgotten++;
      spent.add(token(i), i);
      for (let k = 0; k <= i; k++) if (!spent.has(token(k), k)) forgotten++;
    }
    expect(forgotten).toBe(0);
    expect(spent.has(token(1_000), 200)).toBe(false);
    expect(spent.has(token(2_000), 179)).toBe(false); // never used, and known not to be
    expect(spent.has(token(2_000), 5)).toBe(true); // never used, but nobody knows that any more
  });

  test('is bounded, and charged to the endpoint [CON-50]', () => {
    const budget = new MemoryBudget(2 ** 20);
    const spent = new SpentTokens(budget, 10);
    for (let i = 0; i < 15; i++) spent.add(token(i), i);
    const { memoryBytes, memoryReservedBytes } = budget.metrics();
    expect(memoryBytes).toBe(memoryReservedBytes);
    const entryBytes = memoryBytes / 15;
    for (let i = 15; i < 996; i++) spent.add(token(i), i);
    expect(budget.reserved).toBe(16 * entryBytes);
    spent.add(token(995), 995); // it is known already
    for (const i of [995, 985, 5_000]) spent.delete(token(i)); // one of each generation, and one that never came
    expect(budget.reserved).toBe(14 * entryBytes);
  });

  test('is not led astray by tokens that come in another order than they were made', () => {
    const spent = new SpentTokens(BUDGET, 10);
    const random = new Prng(4);
    const used: [number, number][] = [];
    let forgotten = 0;
    for (let i = 0; i < 500; i++) {
      const issued = random.below(300);
      if (spent.has(token(i), issued)) continue;
      spent.add(token(i), issued);
      used.push([i, issued]);
      for (const [key, at] of used) if (!spent.has(token(key), at)) forgotten++;
    }
    expect(forgotten).toBe(0);
    expect(used.length).toBeGreaterThan(20);
  });
});
