import { networkInterfaces } from 'node:os';
import { describe, expect, test } from 'vitest';
import { addressFamily, normalAddress } from '../../src/base/ip-address.ts';
import { localAddresses, reachableAddress } from '../../src/udp/local-addresses.ts';

const nowhere = () => Promise.resolve(null);

describe('the addresses of this machine', () => {
  test('are those of its interfaces in normal form, link-local ones with a zone', () => {
    const addresses = localAddresses();
    expect(addresses).toContain('127.0.0.1');
    expect(addresses).toHaveLength(Object.values(networkInterfaces()).flat().length);
    for (const host of addresses) {
      expect(normalAddress(host)).toBe(host);
      expect(addressFamily(host)).not.toBe(0);
      expect(host.includes('%')).toBe(host.startsWith('fe80:'));
    }
  });

  // [URL-8]
  test('that others reach is the one that leads to other networks', async () => {
    const routes = (family: 4 | 6) => Promise.resolve(family === 4 ? '192.0.2.9' : '2001:db8::9');
    expect(await reachableAddress('0.0.0.0', routes, ['127.0.0.1', '172.17.0.1', '192.0.2.9'])).toBe(
      '192.0.2.9',
    );
    expect(await reachableAddress('::', routes, [])).toBe('192.0.2.9');
    const onlySix = (family: 4 | 6) => Promise.resolve(family === 4 ? null : '2001:db8::9');
    expect(await reachableAddress('::', onlySix, ['10.0.0.1'])).toBe('2001:db8::9');
  });

  // [URL-8]
  test('that others reach is, without a route, any that is not loopback', async () => {
    const all = ['127.0.0.1', '::1', 'fe80::1%eth0', '2001:db8::1', '10.0.0.1'];
    expect(await reachableAddress('0.0.0.0', nowhere, all)).toBe('10.0.0.1');
    expect(await reachableAddress('::', nowhere, all)).toBe('2001:db8::1');
    expect(await reachableAddress('::', nowhere, all.slice(0, 3))).toBe('fe80::1%eth0');
    expect(await reachableAddress('::', nowhere, all.slice(0, 2))).toBe('::1');
    expect(await reachableAddress('0.0.0.0', nowhere, all.slice(0, 4))).toBe('127.0.0.1');
  });

  test('include the one that is found by asking the system', async () => {
    const addresses = localAddresses();
    for (const wildcard of ['0.0.0.0', '::']) expect(addresses).toContain(await reachableAddress(wildcard));
  });
});
