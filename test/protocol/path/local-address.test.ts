import fc from 'fast-check';
import { describe, expect, it as test } from 'vitest';
import { LocalAddress, LocalAddressState } from '../../../src/protocol/path/local-address.ts';

describe('LocalAddress: where a path begins [CON-110]', () => {
  test('leaves an address that is gone at once, and says so once', () => {
    const local = new LocalAddress('192.0.2.7', '203.0.113.1');
    expect(local.onAddresses(['127.0.0.1', '192.0.2.7'])).toBe(false);
    expect(local.onAddresses(['127.0.0.1', '192.0.2.7', '198.51.100.4'])).toBe(false);
    expect(local.onAddresses(['127.0.0.1', '198.51.100.4'])).toBe(true);
    expect(local.onAddresses(['127.0.0.1', '198.51.100.4'])).toBe(false);
    expect(local.state).toBe(LocalAddressState.LEFT);
  });

  test('waits where nothing else leads to the peer, for another address or its own', () => {
    const stranded = (): LocalAddress => {
      const local = new LocalAddress('192.0.2.7', '203.0.113.1');
      local.onAddresses(['127.0.0.1', '::1', '192.0.2.7']);
      expect(local.onAddresses(['127.0.0.1', '::1', '2001:db8::7', 'fe80::1%eth0'])).toBe(false);
      expect(local.state).toBe(LocalAddressState.STRANDED);
      return local;
    };
    expect(stranded().onAddresses(['127.0.0.1', '10.0.0.9'])).toBe(true);
    const back = stranded();
    expect(back.onAddresses(['127.0.0.1', '192.0.2.7'])).toBe(false);
    expect(back.state).toBe(LocalAddressState.PRESENT);
  });

  test('takes nothing for gone that was never listed, such as 127.0.0.2', () => {
    const local = new LocalAddress('127.0.0.2', '127.0.0.1');
    expect(local.onAddresses(['127.0.0.1'])).toBe(false);
    expect(local.onAddresses([])).toBe(false);
    expect(local.state).toBe(LocalAddressState.UNLISTED);
  });

  test('reaches a link-local peer from a link-local address only, another one from none', () => {
    const near = new LocalAddress('fe80::1%eth0', 'fe80::2%eth0');
    near.onAddresses(['fe80::1%eth0']);
    expect(near.onAddresses(['fe80::9%wlan0'])).toBe(true);
    const far = new LocalAddress('2001:db8::1', '2001:db8:1::2');
    far.onAddresses(['2001:db8::1']);
    expect(far.onAddresses(['fe80::9%wlan0', '::1'])).toBe(false);
  });

  test('moves at most once, and only while its own address is missing, whatever comes and goes', () => {
    const ADDRESSES = ['192.0.2.7', '198.51.100.4', '127.0.0.1', '2001:db8::7'];
    fc.assert(
      fc.property(fc.array(fc.subarray(ADDRESSES), { maxLength: 12 }), (looks) => {
        const local = new LocalAddress('192.0.2.7', '203.0.113.1');
        let seen = false;
        let moves = 0;
        for (const addresses of looks) {
          const isDue = seen && !addresses.includes('192.0.2.7') && addresses.includes('198.51.100.4');
          expect(local.onAddresses(addresses)).toBe(isDue && moves === 0);
          if (isDue) moves++;
          seen ||= addresses.includes('192.0.2.7');
        }
      }),
    );
  });
});
