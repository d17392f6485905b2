import { readFileSync } from 'node:fs';
import { endianness } from 'node:os';

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

const LITTLE_ENDIAN = endianness() === 'LE';
/** Ten bytes of 0 and two of 0xff, which make a word of their own, in either order of bytes. */
const MAPPED = /^0{16}(?:FFFF0000|0000FFFF)/i;
