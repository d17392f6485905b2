import { createSocket, type Socket } from 'node:dgram';
import { endianness } from 'node:os';
import { expect, test } from 'vitest';
import { connectedSockets } from '../../src/udp/connected-sockets.ts';

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
