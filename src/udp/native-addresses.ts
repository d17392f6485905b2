/**
 * Addresses as native code has them, in words of 32 bits ({@link AddressWord}), and as everybody else has them. Both ways are remembered, so
 * that a datagram costs a look-up and one peer has one string.
 */

import { networkInterfaces } from 'node:os';
import { addressBytes, formatAddress, isLinkLocal } from '../base/ip-address.ts';

/** What stands in which word. */
export const AddressWord = {
  /** 4, 6, or 0 for none. */
  FAMILY: 0,
  PORT: 1,
  /** Four words in the order of bytes of the network; IPv4 is the first. */
  BYTES: 2,
  /** The number of the interface of a link-local address, else 0. */
  ZONE: 6,
} as const;
export const ADDRESS_WORDS = 7;

/** The words of an address, with port 0; of what is no address family 0. They are remembered: not to be written to. */
export function addressWords(host: string): Int32Array {
  const known = WORDS.get(host);
  if (known !== undefined) return known;
  const words = new Int32Array(ADDRESS_WORDS);
  const bytes = addressBytes(host);
  if (bytes !== null) {
    words[AddressWord.FAMILY] = bytes.length === 4 ? 4 : 6;
    new Uint8Array(words.buffer).set(bytes, 4 * AddressWord.BYTES);
    words[AddressWord.ZONE] = isLinkLocal(host) ? interfaceNumber(host) : 0;
  }
  if (WORDS.size >= WORDS_MAX) WORDS.clear();
  WORDS.set(host, words);
  return words;
}

/** The address whose words begin at `at`, in its one form; '' where there is none. */
export function hostOf(words: Int32Array, at: number): string {
  const family = words[at];
  const a = words[at + AddressWord.BYTES];
  const b = words[at + AddressWord.BYTES + 1];
  const c = words[at + AddressWord.BYTES + 2];
  const d = words[at + AddressWord.BYTES + 3];
  const zone = words[at + AddressWord.ZONE];
  const mixed = Math.imul(a ^ Math.imul(b ^ Math.imul(c ^ Math.imul(d ^ zone, MIX), MIX), MIX), MIX);
  const place = mixed >>> (32 - PLACE_BITS);
  const key = place * ADDRESS_WORDS;
  if (
    KEYS[key + AddressWord.BYTES] === a &&
    KEYS[key] === family &&
    KEYS[key + AddressWord.BYTES + 1] === b &&
    KEYS[key + AddressWord.BYTES + 2] === c &&
    KEYS[key + AddressWord.BYTES + 3] === d &&
    KEYS[key + AddressWord.ZONE] === zone
  )
    return HOSTS[place];
  const host = formatWords(words, at);
  for (let i = 0; i < ADDRESS_WORDS; i++) KEYS[key + i] = words[at + i];
  HOSTS[place] = host;
  return host;
}

function formatWords(words: Int32Array, at: number): string {
  if (words[at] === 0) return '';
  const length = words[at] === 4 ? 4 : 16;
  const bytes = new Uint8Array(words.buffer, words.byteOffset + 4 * (at + AddressWord.BYTES), length);
  const zone = words[at + AddressWord.ZONE];
  return zone === 0 ? formatAddress(bytes) : `${formatAddress(bytes)}%${interfaceName(zone)}`;
}

/** Node tells the numbers of interfaces only with their link-local addresses, which are the ones that we need them for. */
function interfaceNumber(host: string): number {
  const zone = host.slice(host.indexOf('%') + 1);
  if (!host.includes('%')) return 0;
  const scope = (networkInterfaces()[zone] ?? []).find(({ scopeid }) => scopeid);
  return scope?.scopeid ?? (/^\d+$/.test(zone) ? Number(zone) : 0);
}

function interfaceName(number: number): string {
  for (const [name, addresses = []] of Object.entries(networkInterfaces()))
    if (addresses.some(({ scopeid }) => scopeid === number)) return name;
  return `${number}`;
}

const WORDS = new Map<string, Int32Array>();
const WORDS_MAX = 16_384;
/** Addresses that were seen, each at the place that its bytes choose, where the next one with that place takes over. */
const PLACE_BITS = 12;
const KEYS = new Int32Array(ADDRESS_WORDS * 2 ** PLACE_BITS);
const HOSTS: string[] = new Array(2 ** PLACE_BITS).fill('');
const MIX = 0x9e3779b1 | 0;
