/**
 * RFC 8439 written to be read: the slow twin that the three providers are checked against. Poly1305 is plain arithmetic on
 * BigInt, ChaCha20 a loop over quarter rounds.
 */

/** One 64-byte keystream block (RFC 8439 section 2.3). */
export function slowChacha20Block(key: Uint8Array, counter: number, nonce: Uint8Array): Uint8Array {
  const start = new Uint32Array([
    ...[0x61707865, 0x3320646e, 0x79622d32, 0x6b206574],
    ...words(key),
    counter,
    ...words(nonce),
  ]);
  const state = start.slice();
  for (let round = 0; round < 10; round++) {
    for (const column of [0, 1, 2, 3]) quarterRound(state, column, column + 4, column + 8, column + 12);
    for (const i of [0, 1, 2, 3])
      quarterRound(state, i, 4 + ((i + 1) % 4), 8 + ((i + 2) % 4), 12 + ((i + 3) % 4));
  }
  const block = new DataView(new ArrayBuffer(64));
  for (let i = 0; i < 16; i++) block.setUint32(4 * i, (state[i] + start[i]) >>> 0, true);
  return new Uint8Array(block.buffer);
}

/** Ciphertext with its tag (RFC 8439 section 2.8). */
export function slowSeal(
  key: Uint8Array,
  nonce: Uint8Array,
  ad: Uint8Array,
  plaintext: Uint8Array,
): Uint8Array {
  const ciphertext = plaintext.map((byte, i) => {
    return byte ^ slowChacha20Block(key, 1 + Math.floor(i / 64), nonce)[i % 64];
  });
  const oneTimeKey = slowChacha20Block(key, 0, nonce).slice(0, 32);
  const lengths = new DataView(new ArrayBuffer(16));
  lengths.setBigUint64(0, BigInt(ad.length), true);
  lengths.setBigUint64(8, BigInt(ciphertext.length), true);
  const authenticated = [...padded(ad), ...padded(ciphertext), ...new Uint8Array(lengths.buffer)];
  return new Uint8Array([...ciphertext, ...slowPoly1305(oneTimeKey, new Uint8Array(authenticated))]);
}

/** RFC 8439 section 2.5. */
export function slowPoly1305(key: Uint8Array, message: Uint8Array): Uint8Array {
  const r = littleEndian(key.slice(0, 16)) & 0x0ffffffc0ffffffc0ffffffc0fffffffn;
  const s = littleEndian(key.slice(16, 32));
  const prime = (1n << 130n) - 5n;
  let accumulator = 0n;
  for (let at = 0; at < message.length; at += 16) {
    accumulator = ((accumulator + littleEndian([...message.slice(at, at + 16), 1])) * r) % prime;
  }
  let tag = accumulator + s;
  const bytes = new Uint8Array(16);
  for (let i = 0; i < 16; i++, tag >>= 8n) bytes[i] = Number(tag & 0xffn);
  return bytes;
}

function quarterRound(x: Uint32Array, a: number, b: number, c: number, d: number): void {
  for (const [p, q, r, bits] of [
    [a, b, d, 16],
    [c, d, b, 12],
    [a, b, d, 8],
    [c, d, b, 7],
  ]) {
    x[p] += x[q];
    const mixed = x[r] ^ x[p];
    x[r] = (mixed << bits) | (mixed >>> (32 - bits));
  }
}

function words(bytes: Uint8Array): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Array.from({ length: bytes.length / 4 }, (_, i) => view.getUint32(4 * i, true));
}

function padded(bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array(Math.ceil(bytes.length / 16) * 16);
  whole.set(bytes);
  return whole;
}

function littleEndian(bytes: Iterable<number>): bigint {
  return [...bytes].reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
}
