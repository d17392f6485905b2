import * as os from 'node:os';
import { expect, test, vi } from 'vitest';
import { ADDRESS_WORDS, AddressWord, addressWords, hostOf } from '../../src/udp/native-addresses.ts';

vi.mock('node:os', async (importOriginal) => ({
  ...(await importOriginal<typeof os>()),
  networkInterfaces: vi.fn(() => ({
    lan0: [{ address: 'fe80::1', family: 'IPv6', scopeid: 7 }],
    lan1: [{ address: 'fe80::1', family: 'IPv6', scopeid: 8 }],
    lo: [{ address: '127.0.0.1', family: 'IPv4' }],
  })),
}));

const looks = vi.mocked(os.networkInterfaces);

test('link-local addresses have the name of their interface, and its number, both ways', () => {
  expect(hostOf(linkLocal(1, 7), 0)).toBe('fe80::1%lan0');
  expect(hostOf(linkLocal(1, 8), 0)).toBe('fe80::1%lan1');
  expect(hostOf(linkLocal(1, 9), 0)).toBe('fe80::1%9');
  expect(addressWords('fe80::1%lan1')[AddressWord.ZONE]).toBe(8);
  expect(addressWords('fe80::1%9')[AddressWord.ZONE]).toBe(9);
  expect(addressWords('fe80::1')[AddressWord.ZONE]).toBe(0);
});

test('an interface that was made just now is found by its name', () => {
  addressWords('fe80::2%lan0');
  looks.mockImplementationOnce(() => ({ new0: [{ address: 'fe80::1', scopeid: 12 }] }) as never);
  expect(addressWords('fe80::2%new0')[AddressWord.ZONE]).toBe(12);
});

test('a flood from made-up addresses of the link does not have the interfaces looked at for each, in or out', () => {
  const since = performance.now();
  looks.mockClear();
  for (let i = 0; i < 20_000; i++) {
    const host = hostOf(linkLocal(0x10_0000 + i, 7 + (i % 3)), 0);
    expect(addressWords(host)[AddressWord.ZONE]).toBe(7 + (i % 3));
  }
  const seconds = Math.ceil((performance.now() - since) / 1_000);
  expect(looks.mock.calls.length).toBeLessThanOrEqual(seconds + 1);
});

/** The words of fe80::`last` on an interface. */
function linkLocal(last: number, zone: number): Int32Array {
  const words = new Int32Array(ADDRESS_WORDS);
  words[AddressWord.FAMILY] = 6;
  const bytes = new DataView(words.buffer, 4 * AddressWord.BYTES);
  bytes.setUint16(0, 0xfe80);
  bytes.setUint32(12, last);
  words[AddressWord.ZONE] = zone;
  return words;
}
