import { sha256 } from '@noble/hashes/sha2.js';
import { joined } from './bytes.ts';

/** RFC 2104 and RFC 5869 written out over another SHA-256 than the one the library uses. */

export function slowHmac(key: Uint8Array, data: Uint8Array): Uint8Array {
  const block = new Uint8Array(64);
  block.set(key.length > 64 ? sha256(key) : key);
  const inner = sha256(
    joined(
      block.map((byte) => byte ^ 0x36),
      data,
    ),
  );
  return sha256(
    joined(
      block.map((byte) => byte ^ 0x5c),
      inner,
    ),
  );
}

export function slowExtract(salt: Uint8Array, inputKey: Uint8Array): Uint8Array {
  return slowHmac(salt, inputKey);
}

export function slowExpand(secret: Uint8Array, info: Uint8Array, length: number): Uint8Array {
  let output = new Uint8Array(0);
  let block = new Uint8Array(0);
  for (let counter = 1; output.length < length; counter++) {
    block = new Uint8Array(slowHmac(secret, joined(block, info, Uint8Array.of(counter))));
    output = new Uint8Array(joined(output, block));
  }
  return output.slice(0, length);
}

/** HKDF-Expand-Label of RFC 8446 section 7.1, with any prefix. */
export function slowExpandLabel(
  secret: Uint8Array,
  label: string,
  context: Uint8Array,
  length: number,
  prefix = 'jsp1 ',
): Uint8Array {
  const text = new TextEncoder().encode(prefix + label);
  const info = joined(
    Uint8Array.of(length >> 8, length & 255, text.length),
    text,
    Uint8Array.of(context.length),
    context,
  );
  return slowExpand(secret, info, length);
}
