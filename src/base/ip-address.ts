/**
 * The one form in which addresses are compared, shown and used as keys: what the operating system prints (RFC 5952, lower case, the
 * longest run of zeros as `::`), with two exceptions: an IPv4 address in IPv6's clothes (`::ffff:127.0.0.1`) is the IPv4 address, and
 * only a link-local address has a zone (`fe80::1%eth0`), because the system names the zone of no other when a datagram comes.
 */

/** An address in its one form; other texts, such as names, as they are. */
export function normalAddress(host: string): string {
  const bytes = addressBytes(host);
  if (bytes === null) return host;
  if (bytes.length === 4) return bytes.join('.');
  const zone = host.indexOf('%');
  return isLinkLocalBytes(bytes) && zone >= 0 ? formatIpv6(bytes) + host.slice(zone) : formatIpv6(bytes);
}

/** The same for what the system itself gave us, where all that can differ is IPv4 in IPv6's clothes: cheap enough for each datagram. */
export function fromSystem(host: string): string {
  return host.startsWith(MAPPED) ? host.slice(MAPPED.length) : host;
}

/** The 4 or 16 bytes of an IP address in any of its forms, without its zone; null for other texts. IPv4 in IPv6's clothes has 4. */
export function addressBytes(host: string): Uint8Array | null {
  if (!host.includes(':')) return parseIpv4(host);
  const [, text, zone] = /^([^%]*)(?:%(.*))?$/s.exec(host) as RegExpExecArray;
  if (zone !== undefined && !ZONE.test(zone)) return null;
  const bytes = parseIpv6(text);
  return bytes !== null && isMapped(bytes) ? bytes.slice(12) : bytes;
}

/** The address with these 4 or 16 bytes, in its one form; 16 bytes may be IPv4 in IPv6's clothes. */
export function formatAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  return isMapped(bytes) ? bytes.slice(12).join('.') : formatIpv6(bytes);
}

/**
 * The network that an address is in, as a key: its first `ipv4Bits` or `ipv6Bits` bits. Texts that are no address are their own key.
 *
 * @example addressPrefix('2001:db8::1', 24, 56) === '2001:db8::/56'
 */
export function addressPrefix(host: string, ipv4Bits: number, ipv6Bits: number): string {
  const bytes = addressBytes(host);
  if (bytes === null) return host;
  const bits = bytes.length === 4 ? ipv4Bits : ipv6Bits;
  for (let i = 0; i < bytes.length; i++) {
    const kept = Math.min(8, Math.max(0, bits - 8 * i));
    bytes[i] &= 0xff00 >> kept;
  }
  return `${bytes.length === 4 ? bytes.join('.') : formatIpv6(bytes)}/${bits}`;
}

/** True for addresses whose packets never leave this machine. */
export function isLoopback(host: string): boolean {
  const bytes = addressBytes(host);
  if (bytes === null) return false;
  return bytes.length === 4 ? bytes[0] === 127 : bytes.every((byte, i) => byte === (i === 15 ? 1 : 0));
}

/** True for the addresses that stand for every address of this machine: `0.0.0.0` and `::`. */
export function isWildcard(host: string): boolean {
  return addressBytes(host)?.every((byte) => byte === 0) ?? false;
}

/** True for IPv6 addresses that mean something only together with a zone. */
export function isLinkLocal(host: string): boolean {
  const bytes = addressBytes(host);
  return bytes !== null && isLinkLocalBytes(bytes);
}

/** 4 for IPv4, in IPv6's clothes too, 6 for IPv6, 0 for what is no address. */
export function addressFamily(host: string): 0 | 4 | 6 {
  const bytes = addressBytes(host);
  if (bytes === null) return 0;
  return bytes.length === 4 ? 4 : 6;
}

function parseIpv4(text: string): Uint8Array | null {
  const parts = text.split('.');
  if (parts.length !== 4) return null;
  const bytes = new Uint8Array(4);
  for (let i = 0; i < 4; i++) {
    const value = IPV4_PART.test(parts[i]) ? Number(parts[i]) : 256;
    if (value > 255) return null;
    bytes[i] = value;
  }
  return bytes;
}

function parseIpv6(text: string): Uint8Array | null {
  const halves = text.split('::');
  if (halves.length > 2) return null;
  const head = groupsOf(halves[0], halves.length === 1);
  const tail = halves.length === 1 ? [] : groupsOf(halves[1], true);
  if (head === null || tail === null) return null;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return null;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail];
  return Uint8Array.from({ length: 16 }, (_, i) => groups[i >> 1] >> (i % 2 === 0 ? 8 : 0));
}

/** The 16-bit groups of a part of an IPv6 address; at its end an IPv4 address may stand for two. */
function groupsOf(text: string, isEnd: boolean): number[] | null {
  if (text === '') return [];
  const parts = text.split(':');
  const groups: number[] = [];
  for (let i = 0; i < parts.length; i++) {
    if (IPV6_GROUP.test(parts[i])) {
      groups.push(Number.parseInt(parts[i], 16));
      continue;
    }
    const ipv4 = isEnd && i === parts.length - 1 ? parseIpv4(parts[i]) : null;
    if (ipv4 === null) return null;
    groups.push((ipv4[0] << 8) | ipv4[1], (ipv4[2] << 8) | ipv4[3]);
  }
  return groups;
}

function formatIpv6(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => (bytes[2 * i] << 8) | bytes[2 * i + 1]);
  let start = -1;
  let length = 1; // a single zero group is not shortened
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > length) {
      start = i;
      length = end - i;
    }
    i = Math.max(i, end - 1);
  }
  // Systems print the ancient "IPv4-compatible" addresses so.
  if (start === 0 && length === 6) return `::${bytes.slice(12).join('.')}`;
  const hex = groups.map((group) => group.toString(16));
  if (start < 0) return hex.join(':');
  return `${hex.slice(0, start).join(':')}::${hex.slice(start + length).join(':')}`;
}

function isMapped(bytes: Uint8Array): boolean {
  return bytes[10] === 0xff && bytes[11] === 0xff && bytes.subarray(0, 10).every((byte) => byte === 0);
}

function isLinkLocalBytes(bytes: Uint8Array): boolean {
  return bytes.length === 16 && bytes[0] === 0xfe && (bytes[1] & 0xc0) === 0x80;
}

const MAPPED = '::ffff:';
const IPV4_PART = /^(?:0|[1-9]\d{0,2})$/;
const IPV6_GROUP = /^[\da-f]{1,4}$/i;
/** What names an interface: no blank, and nothing that ends an address where one is written. */
const ZONE = /^[^\s%[\]/?#@]+$/;
