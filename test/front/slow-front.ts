/** What goes between a front and its servers, written out over other cryptography than the library's: spec/front.md read line by line. */

import { ecb } from '@noble/ciphers/aes.js';
import { hex, joined, toHex } from '../protocol/crypto/bytes.ts';
import { slowExpandLabel, slowHmac } from '../protocol/crypto/slow-hkdf.ts';

export type FrontInput =
  | { what: 'id'; secret?: string; key?: string; configuration?: number; serverId: number; nonce: number }
  | { what: 'envelope'; secret: string; side: 'front' | 'server'; host: string; port: number; hour: number }
  | { what: 'probe'; secret: string; nonce: string }
  | { what: 'report'; secret: string; nonce: string; state: number; serverId: number; connections: number };

export function slowFront(input: FrontInput): { bytes: string } {
  return { bytes: toHex(bytesOf(input)) };
}

function bytesOf(input: FrontInput): Uint8Array {
  switch (input.what) {
    case 'id':
      return idOf(input);
    case 'envelope': {
      const isToServer = input.side === 'front';
      const head = joined(
        Uint8Array.of(isToServer ? 0x21 : 0x22),
        number(input.hour % 65_536, 2),
        number(input.port, 2),
        addressOf(input.host),
      );
      return tagged(head, input.secret, isToServer);
    }
    case 'probe':
      return tagged(joined(Uint8Array.of(0x23), hex(input.nonce), new Uint8Array(8)), input.secret, true);
    case 'report': {
      const { connections, nonce, serverId, state } = input;
      const head = joined(
        Uint8Array.of(0x24),
        hex(nonce),
        Uint8Array.of(state),
        number(serverId, 3),
        number(connections, 4),
      );
      return tagged(head, input.secret, false);
    }
  }
}

function tagged(head: Uint8Array, secret: string, isToServer: boolean): Uint8Array {
  const key = label(secret, isToServer ? 'front to server' : 'front to client', 32);
  return joined(head, slowHmac(key, head).slice(0, 16));
}

/** Halves of 28 bits as strings of 7 hexadecimal digits, and four rounds over them. */
function idOf(input: FrontInput & { what: 'id' }): Uint8Array {
  const key = input.key === undefined ? label(input.secret as string, 'front id', 16) : hex(input.key);
  const configuration = input.configuration ?? label(input.secret as string, 'front config', 1)[0] % 7;
  const plain = toHex(joined(number(input.serverId, 3), number(input.nonce, 4)));
  let left = plain.slice(0, 7);
  let right = plain.slice(7);
  const aes = (block: string) => toHex(ecb(key, { disablePadding: true }).encrypt(hex(block)));
  // The left half begins at the first bit of the block; the right half has four zero bits before it, which a result has dropped.
  const ofLeft = (pass: number) =>
    aes(`${left}${'0'.repeat(21)}07${pass.toString().padStart(2, '0')}`).slice(1, 8);
  const ofRight = (pass: number) =>
    aes(`0${right}${'0'.repeat(20)}07${pass.toString().padStart(2, '0')}`).slice(0, 7);
  right = xor(right, ofLeft(1));
  left = xor(left, ofRight(2));
  right = xor(right, ofLeft(3));
  left = xor(left, ofRight(4));
  return joined(Uint8Array.of(configuration * 32 + 7), hex(left + right));
}

function xor(a: string, b: string): string {
  return [...a]
    .map((digit, i) => (Number.parseInt(digit, 16) ^ Number.parseInt(b[i], 16)).toString(16))
    .join('');
}

function label(secret: string, text: string, length: number): Uint8Array {
  return slowExpandLabel(hex(secret), text, new Uint8Array(0), length);
}

function number(value: number, length: number): Uint8Array {
  return hex(value.toString(16).padStart(2 * length, '0'));
}

/** IPv4 in its IPv4-mapped form; of IPv6 what the vectors have: groups with one `::`. */
function addressOf(host: string): Uint8Array {
  if (!host.includes(':')) {
    const ipv4 = Uint8Array.from(host.split('.').map(Number));
    return joined(hex('00000000000000000000ffff'), ipv4);
  }
  const [head, tail] = host.split('::').map((part) => part.split(':').filter((group) => group !== ''));
  const groups = [...head, ...new Array<string>(8 - head.length - tail.length).fill('0'), ...tail];
  return hex(groups.map((group) => group.padStart(4, '0')).join(''));
}
