/**
 * Addresses as native code has them, in words of 32 bits ({@link AddressWord}), and as everybody else has them. Both ways are remembered, so
 * that a datagram costs a look-up and one peer has one string.
 */

import { networkInterfaces } from 'node:os';
import { performance } from 'node:perf_hooks';
import { addressBytes, formatAddress, isLinkLocal } from '../base/ip-address.ts';
import { LOOK_GAP_MS } from './addresses.ts';

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
    words[AddressWord.ZONE] =
      isLinkLocal(host) && host.includes('%') ? ZONES.numberOf(host.slice(host.indexOf('%') + 1)) : 0;
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
  return zone === 0 ? formatAddress(bytes) : `${formatAddress(bytes)}%${ZONES.nameOf(zone)}`;
}

/** Node tells the numbers of interfaces only with their link-local addresses, which are the ones that we need them for. */
class Zones {
  private readonly names = new Map<number, string>();
  private readonly numbers = new Map<string, number>();
  private lookAgainAtMs = 0;

  /** The number where it has no name, or has had it for less than a second. */
  nameOf(number: number): string {
    this.lookIfDue();
    return this.names.get(number) ?? `${number}`;
  }

  /** 0 where there is none. */
  numberOf(name: string): number {
    const isNumber = /^\d+$/.test(name);
    this.lookIfDue();
    // No datagram brings another name than those that are known: somebody here has just made it up, or made its interface.
    if (!isNumber && !this.numbers.has(name)) this.look();
    return this.numbers.get(name) ?? (isNumber ? Number(name) : 0);
  }

  /** Once a second at most, as it takes 100 us: whoever is on the link could have us look with each datagram, by addresses that nobody has. */
  private lookIfDue(): void {
    if (performance.now() >= this.lookAgainAtMs) this.look();
  }

  private look(): void {
    this.names.clear();
    this.numbers.clear();
    for (const [name, addresses = []] of Object.entries(networkInterfaces()))
      for (const { scopeid } of addresses) {
        if (!scopeid) continue;
        this.names.set(scopeid, name);
        this.numbers.set(name, scopeid);
      }
    this.lookAgainAtMs = performance.now() + LOOK_GAP_MS;
  }
}

const ZONES = new Zones();
const WORDS = new Map<string, Int32Array>();
const WORDS_MAX = 16_384;
/** Addresses that were seen, each at the place that its bytes choose, where the next one with that place takes over. */
const PLACE_BITS = 12;
const KEYS = new Int32Array(ADDRESS_WORDS * 2 ** PLACE_BITS);
const HOSTS: string[] = new Array(2 ** PLACE_BITS).fill('');
const MIX = 0x9e3779b1 | 0;
