import { createSocket } from 'node:dgram';
import { networkInterfaces } from 'node:os';
import { addressFamily, isLinkLocal, isLoopback, isWildcard, normalAddress } from '../base/ip-address.ts';

/** The addresses of this machine's interfaces in normal form, link-local ones with their zone. */
export function localAddresses(): string[] {
  return Object.entries(networkInterfaces()).flatMap(([name, addresses = []]) =>
    addresses.map(({ address, scopeid }) => {
      if (!isLinkLocal(address)) return normalAddress(address);
      return normalAddress(`${address}%${process.platform === 'win32' ? scopeid : name}`);
    }),
  );
}

/**
 * The address under which others are most likely to reach a socket that is bound to every address: that from which this machine
 * reaches other networks, else any that is not loopback, else loopback. IPv4 comes first where both are there, since more have it. [URL-8]
 *
 * @param wildcard - what the socket is bound to: `0.0.0.0` or `::`
 */
export async function reachableAddress(
  wildcard: string,
  routed: (family: 4 | 6) => Promise<string | null> = sourceAddress,
  addresses: readonly string[] = localAddresses(),
): Promise<string> {
  const families = addressFamily(wildcard) === 4 ? ([4] as const) : ([4, 6] as const);
  for (const family of families) {
    const host = await routed(family);
    if (host !== null) return host;
  }
  const others = addresses.filter(
    (host) => !isLoopback(host) && families.some((f) => f === addressFamily(host)),
  );
  return (
    others.find((host) => !isLinkLocal(host)) ?? others[0] ?? (families.length === 1 ? '127.0.0.1' : '::1')
  );
}

/** The address that datagrams to another network come from. Connecting a UDP socket asks the routing table, and sends nothing. */
function sourceAddress(family: 4 | 6): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = createSocket(family === 4 ? 'udp4' : 'udp6');
    const done = (host: string | null): void => {
      socket.removeAllListeners('error').on('error', () => {});
      socket.close();
      resolve(host === null || isWildcard(host) || isLoopback(host) ? null : host);
    };
    socket.once('error', () => done(null));
    socket.connect(DISCARD_PORT, DOCUMENTATION[family], (error?: Error) =>
      done(error instanceof Error ? null : normalAddress(socket.address().address)),
    );
  });
}

/** Networks that are in no use (RFC 5737, RFC 3849), so that only a default route leads there. */
const DOCUMENTATION = { 4: '203.0.113.1', 6: '2001:db8::1' } as const;
const DISCARD_PORT = 9;
