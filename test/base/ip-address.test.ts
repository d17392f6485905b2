import { isIP } from 'node:net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  addressBytes,
  addressFamily,
  addressPrefix,
  fromSystem,
  isLinkLocal,
  isLoopback,
  isWildcard,
  normalAddress,
} from '../../src/base/ip-address.ts';

describe('an address', () => {
  test.each([
    ['127.0.0.1', '127.0.0.1'],
    ['::ffff:127.0.0.1', '127.0.0.1'],
    ['::FFFF:7f00:1', '127.0.0.1'],
    ['0:0:0:0:0:ffff:10.1.2.3', '10.1.2.3'],
    ['::ffff:127.0.0.1%lo', '127.0.0.1'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['::0001%lo', '::1'],
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['FE80::1%eth0', 'fe80::1%eth0'],
    ['fe80:0::0:1%Ethernet', 'fe80::1%Ethernet'],
    ['2001:db8::%eth0', '2001:db8::'],
    ['::', '::'],
    ['64:ff9b::192.0.2.1', '64:ff9b::c000:201'],
    ['::102:304', '::1.2.3.4'],
  ])('has one form: %s is %s', (text, form) => {
    expect(normalAddress(text)).toBe(form);
    expect(normalAddress(form)).toBe(form);
  });

  test.each([
    'example.org',
    'localhost',
    '',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.256',
    '01.2.3.4',
    '0x7f.0.0.1',
    '1.2.3.-4',
    ':::',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1::2::3',
    '1:2:3:4::5:6:7:8',
    '::12345',
    '::g',
    '::1.2.3.4:5',
    '1.2.3.4::',
    ':1::',
    'fe80::1%',
    'fe80::1%a%b',
    'fe80::1%a b',
    '[::1]',
  ])('is not %j, which stays as it is', (text) => {
    expect(addressBytes(text)).toBeNull();
    expect(normalAddress(text)).toBe(text);
    expect(addressFamily(text)).toBe(0);
    expect(isLoopback(text) || isWildcard(text) || isLinkLocal(text)).toBe(false);
  });

  test('of any bytes is read back from every form, and the system agrees what is an address', () => {
    const zeros = fc.array(fc.constantFrom(0, 0, 0, 0xffff, 0xff, 0x10, 0xfe80, 0x1234), {
      minLength: 8,
      maxLength: 8,
    });
    fc.assert(
      fc.property(zeros, fc.boolean(), (groups, upper) => {
        const long = groups.map((group) => group.toString(16).padStart(4, '0')).join(':');
        const text = upper ? long.toUpperCase() : long;
        const form = normalAddress(text);
        expect(isIP(text)).toBe(6);
        expect(isIP(form)).toBe(addressFamily(text));
        // The platform's own normal form, which differs only where IPv4 is embedded.
        if (!form.includes('.')) expect(form).toBe(new URL(`http://[${text}]/`).hostname.slice(1, -1));
        expect(addressBytes(form)).toEqual(addressBytes(text));
        expect(normalAddress(form)).toBe(form);
      }),
    );
    fc.assert(
      fc.property(fc.stringMatching(/^[\d:.a-f%]{0,20}$/), (text) => {
        // Node takes an empty or doubled zone for one.
        if (!/%.*%|%$/.test(text)) expect(addressBytes(text) !== null).toBe(isIP(text) !== 0);
      }),
    );
  });

  test('of a datagram is made comparable without being parsed', () => {
    expect(fromSystem('::ffff:192.0.2.7')).toBe('192.0.2.7');
    expect(fromSystem('192.0.2.7')).toBe('192.0.2.7');
    expect(fromSystem('fe80::1%eth0')).toBe('fe80::1%eth0');
  });

  test('is of this machine, of every interface, or of one link, in whatever form', () => {
    for (const host of ['127.0.0.1', '127.255.1.9', '::1', '0::1', '::ffff:127.0.0.1', '::1%lo'])
      expect(isLoopback(host)).toBe(true);
    for (const host of ['128.0.0.1', '::2', '::', '0.0.0.0', '1::1', '::127.0.0.1'])
      expect(isLoopback(host)).toBe(false);
    for (const host of ['0.0.0.0', '::', '0:0::0', '::ffff:0.0.0.0']) expect(isWildcard(host)).toBe(true);
    for (const host of ['0.0.0.1', '::1']) expect(isWildcard(host)).toBe(false);
    for (const host of ['fe80::1', 'FEBF::1%x']) expect(isLinkLocal(host)).toBe(true);
    for (const host of ['fec0::1', '169.254.1.1', '::']) expect(isLinkLocal(host)).toBe(false);
  });

  test('is in a network of as many bits as are asked for', () => {
    expect(addressPrefix('192.0.2.201', 24, 56)).toBe('192.0.2.0/24');
    expect(addressPrefix('::ffff:192.0.2.201', 24, 56)).toBe('192.0.2.0/24');
    expect(addressPrefix('192.0.2.201', 28, 56)).toBe('192.0.2.192/28');
    expect(addressPrefix('192.0.2.201', 32, 56)).toBe('192.0.2.201/32');
    expect(addressPrefix('192.0.2.201', 0, 56)).toBe('0.0.0.0/0');
    expect(addressPrefix('2001:db8:1:2ff:3::4', 24, 56)).toBe('2001:db8:1:200::/56');
    expect(addressPrefix('2001:DB8:1:2ff:3::4', 24, 64)).toBe('2001:db8:1:2ff::/64');
    expect(addressPrefix('server', 24, 56)).toBe('server');
  });
});
