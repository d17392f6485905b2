/**
 * Which addresses there are: {@link resolveHost} those of a name, {@link localAddresses} those of this machine, of which
 * {@link reachableAddress} is the one to tell others, and {@link connectedSockets} those of ours that this machine's sockets are connected to.
 */

import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { readFileSync } from 'node:fs';
import { endianness, networkInterfaces } from 'node:os';
import { JspError } from '../base/errors.ts';
import { addressFamily, isLinkLocal, isLoopback, isWildcard, normalAddress } from '../base/ip-address.ts';
import type { SocketAddress, SocketOptions } from './datagram-socket.ts';

/** The addresses of this machine's interfaces in normal form, link-local ones with their zone. */
export function localAddresses(): string[] {
  return Object.entries(networkInterfaces()).flatMap(([name, addresses = []]) =>
    addresses.map(({ address, scopeid }) => {
      if (!isLinkLocal(address)) return normalAddress(address);
      return normalAddress(`${address}%${process.platform === 'win32' ? scopeid : name}`);
    }),
  );
}

/** What `ask` answers, or null where the system does not tell, as while the process has no descriptor left (EMFILE): then what was known has to do. */
export function addressesIfTold(ask: () => readonly string[] = localAddresses): readonly string[] | null {
  try {
    return ask();
  } catch {
    return null;
  }
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
  addresses: readonly string[] = addressesIfTold() ?? [],
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

/**
 * The addresses of a host in normal form, in the order in which to try them: as the system sorts them, but the families take turns
 * (RFC 8305 section 4). An address is its own only one.
 *
 * @throws JspError ERR_JSP_SOCKET when the name cannot be resolved
 */
export async function resolveHost(host: string): Promise<string[]> {
  if (addressFamily(host) !== 0) return [normalAddress(host)];
  let found: { address: string }[];
  try {
    found = await lookup(host, { all: true, verbatim: true });
  } catch (error) {
    throw new JspError('ERR_JSP_SOCKET', `cannot resolve ${host}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  const addresses = [...new Set(found.map(({ address }) => normalAddress(address)))];
  if (addresses.length === 0)
    throw new JspError('ERR_JSP_SOCKET', `cannot resolve ${host}: it has no address`);
  return interleaved(addresses).slice(0, ADDRESSES_MAX);
}

/** What a socket is to be bound to, and its only peer, where `connectTo` names one, with addresses for names. */
export async function resolvedAddresses({
  host,
  connectTo,
}: Pick<SocketOptions, 'host' | 'connectTo'>): Promise<{ host: string; remote: SocketAddress | null }> {
  const remote =
    connectTo === undefined ? null : { host: (await resolveHost(connectTo.host))[0], port: connectTo.port };
  if (host !== undefined) return { host: (await resolveHost(host))[0], remote };
  return { host: remote !== null && addressFamily(remote.host) === 6 ? '::' : '0.0.0.0', remote };
}

/** Alternates the families, beginning with that of the first; within a family the order stays. */
function interleaved(addresses: readonly string[]): string[] {
  const family = addressFamily(addresses[0]);
  const first = addresses.filter((host) => addressFamily(host) === family);
  const second = addresses.filter((host) => addressFamily(host) !== family);
  return addresses
    .flatMap((_, i) => [first[i], second[i]])
    .filter((host): host is string => host !== undefined);
}

/**
 * Which address of ours the UDP sockets of this machine that are connected to `port` have as their peer. Linux tells it of every socket
 * in `/proc/net`; elsewhere, and where that is hidden, the answer is empty.
 *
 * @returns address by `host:port` of the socket that is connected
 */
export function connectedSockets(
  port: number,
  read: (path: string) => string = readText,
): Map<string, string> {
  const addresses = new Map<string, string>();
  for (const path of ['/proc/net/udp', '/proc/net/udp6']) {
    for (const line of read(path).split('\n').slice(1)) {
      const [, local, remote] = line.trim().split(/\s+/);
      if (local === undefined || remote === undefined || portOf(remote) !== port) continue;
      const [from, to] = [ipv4Of(local), ipv4Of(remote)];
      if (from !== null && to !== null) addresses.set(`${from}:${portOf(local)}`, to);
    }
  }
  return addresses;
}

function portOf(text: string): number {
  return Number.parseInt(text.slice(text.indexOf(':') + 1), 16);
}

/** `0200007F:11E1` is 127.0.0.2 where bytes are little-endian; an IPv6 socket has a mapped address, 32-bit word by word. */
function ipv4Of(text: string): string | null {
  const hex = text.slice(0, text.indexOf(':'));
  if (hex.length !== 8 && !MAPPED.test(hex)) return null;
  const bytes = Buffer.from(hex.slice(-8), 'hex');
  return (LITTLE_ENDIAN ? bytes.reverse() : bytes).join('.');
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

/** Networks that are in no use (RFC 5737, RFC 3849), so that only a default route leads there. */
const DOCUMENTATION = { 4: '203.0.113.1', 6: '2001:db8::1' } as const;
const DISCARD_PORT = 9;
/** Who has more than these is reachable at one of them, or at none. */
const ADDRESSES_MAX = 16;
const LITTLE_ENDIAN = endianness() === 'LE';
/** Ten bytes of 0 and two of 0xff, which make a word of their own, in either order of bytes. */
const MAPPED = /^0{16}(?:FFFF0000|0000FFFF)/i;
/** Because of what came from outside {@link localAddresses}, which takes 100 us, is called no sooner than so long after the time before. */
export const LOOK_GAP_MS = 1_000;
