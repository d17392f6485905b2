import { createSocket, type Socket } from 'node:dgram';
import { endianness, networkInterfaces } from 'node:os';
import { describe, expect, test, vi } from 'vitest';
import { addressFamily, normalAddress } from '../../src/base/ip-address.ts';
import { connectedSockets, localAddresses, reachableAddress, resolveHost } from '../../src/udp/addresses.ts';

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

const HEAD =
  '   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';

test.runIf(endianness() === 'LE')(
  'what Linux tells of sockets says which of our addresses they are connected to',
  () => {
    const files: Record<string, string> = {
      '/proc/net/udp': `${HEAD}  100: 0100007F:A8B7 0200007F:11E1 01 00000000:00000000 00:00000000 00000000     0        0 1 2 0 0
  101: 0100007F:A8B8 0300007F:11E2 01 00000000:00000000 00:00000000 00000000     0        0 1 2 0 0
  102: 00000000:11E1 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 0
 1543: 020200C0:0001 020200C0:11E1 01 00000000:00000000 00:00000000 00000000     0        0 1 2 0 0\n`,
      '/proc/net/udp6': `${HEAD}    1: 0000000000000000FFFF00000100007F:FFFF 0000000000000000FFFF00000900007F:11E1 01 0:0 00:0 0 0 0 1 2 0 0
    2: 00000000000000000000000001000000:0002 00000000000000000000000001000000:11E1 01 0:0 00:0 0 0 0 1 2 0 0\n`,
    };
    expect([...connectedSockets(4_577, (path) => files[path])]).toEqual([
      ['127.0.0.1:43191', '127.0.0.2'],
      ['192.0.2.2:1', '192.0.2.2'],
      ['127.0.0.1:65535', '127.0.0.9'],
    ]);
  },
);

test('nothing is told where there is nothing to read, or nonsense', () => {
  expect(connectedSockets(1, () => '').size).toBe(0);
  expect(connectedSockets(1, () => 'sl\n: :\n x\n1: y:0001 z:0001\n1: 0:1 0:1\n').size).toBe(0);
});

test.runIf(process.platform === 'linux')(
  'sockets of this machine are found while they are open',
  async () => {
    for (const [type, host, shown] of [
      ['udp4', '127.0.0.2', '127.0.0.1'],
      ['udp6', '::ffff:127.0.0.3', '127.0.0.1'],
    ] as const) {
      const socket: Socket = createSocket(type);
      const isThere = await new Promise<boolean>((resolve) => {
        socket.once('error', () => resolve(false));
        socket.connect(4_577, host, (error?: Error) => resolve(!error));
      });
      if (!isThere) continue; // no IPv6 here
      const key = `${shown}:${socket.address().port}`;
      expect(connectedSockets(4_577).get(key)).toBe(host.replace('::ffff:', ''));
      await new Promise<void>((resolve) => socket.close(resolve));
      expect(connectedSockets(4_577).has(key)).toBe(false);
    }
  },
);
