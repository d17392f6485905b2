import { expect, test, vi } from 'vitest';
import { resolveHost } from '../../src/udp/resolve.ts';

let found: string[] = [];

vi.mock('node:dns/promises', () => ({
  lookup: () => Promise.resolve(found.map((address) => ({ address }))),
}));

test('an address is its own only one, in normal form', async () => {
  expect(await resolveHost('::FFFF:127.0.0.1')).toEqual(['127.0.0.1']);
  expect(await resolveHost('FE80::1%eth0')).toEqual(['fe80::1%eth0']);
});

test('the families of a name take turns, beginning with the one that the system put first', async () => {
  found = ['2001:db8::1', '2001:db8::2', '2001:db8::3', '192.0.2.1', '192.0.2.2'];
  expect(await resolveHost('name')).toEqual([
    '2001:db8::1',
    '192.0.2.1',
    '2001:db8::2',
    '192.0.2.2',
    '2001:db8::3',
  ]);
  found = ['192.0.2.1', '192.0.2.2', '2001:db8::1'];
  expect(await resolveHost('name')).toEqual(['192.0.2.1', '2001:db8::1', '192.0.2.2']);
});

test('an address that is there twice, in whatever form, is tried once, and no more than 16 are', async () => {
  found = ['::1', '127.0.0.1', '0::1', '::ffff:127.0.0.1'];
  expect(await resolveHost('name')).toEqual(['::1', '127.0.0.1']);
  found = Array.from({ length: 40 }, (_, i) => `192.0.2.${i}`);
  expect(await resolveHost('name')).toEqual(found.slice(0, 16));
});

test('a name without addresses is an error', async () => {
  found = [];
  await expect(resolveHost('name')).rejects.toMatchObject({ code: 'ERR_JSP_SOCKET' });
});
