/**
 * AES-256 (FIPS 197) and GCM (NIST SP 800-38D) written to be read: the slow twin of what OpenSSL computes. The field of AES is arithmetic on
 * small polynomials, that of GCM on BigInt; the S-box is derived, not listed.
 */

/** One block of 16 bytes. */
export function slowAes256(key: Uint8Array, block: Uint8Array): Uint8Array {
  const roundKeys = expandKey(key);
  let state: Uint8Array = block.map((byte, i) => byte ^ roundKeys[0][i]);
  for (let round = 1; round <= ROUNDS; round++) {
    state = shiftRows(state.map((byte) => SBOX[byte]));
    if (round < ROUNDS) state = mixColumns(state);
    state = state.map((byte, i) => byte ^ roundKeys[round][i]);
  }
  return state;
}

/** Ciphertext with its tag, for a nonce of 12 bytes. */
export function slowAesGcmSeal(
  key: Uint8Array,
  nonce: Uint8Array,
  ad: Uint8Array,
  plaintext: Uint8Array,
): Uint8Array {
  const keystream = (counter: number) => {
    return slowAes256(key, Uint8Array.from([...nonce, ...Buffer.from(hex32(counter), 'hex')]));
  };
  const ciphertext = plaintext.map((byte, i) => byte ^ keystream(2 + Math.floor(i / 16))[i % 16]);
  const lengths = Buffer.from(hex64(8 * ad.length) + hex64(8 * ciphertext.length), 'hex');
  const hashed = ghash(slowAes256(key, new Uint8Array(16)), [
    ...padded(ad),
    ...padded(ciphertext),
    ...lengths,
  ]);
  return new Uint8Array([...ciphertext, ...keystream(1).map((byte, i) => byte ^ hashed[i])]);
}

// ---- GCM ----

function ghash(key: Uint8Array, bytes: number[]): Uint8Array {
  const h = toBig(key);
  let y = 0n;
  for (let at = 0; at < bytes.length; at += 16) y = times(y ^ toBig(bytes.slice(at, at + 16)), h);
  return Uint8Array.from(Buffer.from(y.toString(16).padStart(32, '0'), 'hex'));
}

/** In GF(2^128), whose first bit is that of x^0. */
function times(a: bigint, b: bigint): bigint {
  let product = 0n;
  let v = b;
  for (let i = 127n; i >= 0n; i--) {
    if (((a >> i) & 1n) === 1n) product ^= v;
    v = (v & 1n) === 1n ? (v >> 1n) ^ (0xe1n << 120n) : v >> 1n;
  }
  return product;
}

function padded(bytes: Uint8Array): number[] {
  return [...bytes, ...new Uint8Array((16 - (bytes.length % 16)) % 16)];
}

function toBig(bytes: ArrayLike<number>): bigint {
  return BigInt(`0x${Buffer.from(Array.from(bytes)).toString('hex')}`);
}

function hex32(value: number): string {
  return value.toString(16).padStart(8, '0');
}

function hex64(value: number): string {
  return value.toString(16).padStart(16, '0');
}

// ---- AES ----

function expandKey(key: Uint8Array): number[][] {
  const words: number[][] = [];
  for (let i = 0; i < 8; i++) words.push([...key.slice(4 * i, 4 * i + 4)]);
  let constant = 1;
  for (let i = 8; i < 4 * (ROUNDS + 1); i++) {
    let word = [...words[i - 1]];
    if (i % 8 === 0) {
      word = [...word.slice(1), word[0]].map((byte) => SBOX[byte]);
      word[0] ^= constant;
      constant = product(constant, 2);
    } else if (i % 8 === 4) {
      word = word.map((byte) => SBOX[byte]);
    }
    words.push(word.map((byte, j) => byte ^ words[i - 8][j]));
  }
  return Array.from({ length: ROUNDS + 1 }, (_, round) => words.slice(4 * round, 4 * round + 4).flat());
}

/** Byte `i` of the state is in row `i % 4`; row `r` turns left by `r`. */
function shiftRows(state: Uint8Array): Uint8Array {
  return state.map((_, i) => state[(i + 4 * (i % 4)) % 16]);
}

function mixColumns(state: Uint8Array): Uint8Array {
  return state.map((_, i) => {
    const at = (row: number) => state[i - (i % 4) + ((i + row) % 4)];
    return product(at(0), 2) ^ product(at(1), 3) ^ at(2) ^ at(3);
  });
}

/** In GF(2^8) modulo x^8 + x^4 + x^3 + x + 1. */
function product(a: number, b: number): number {
  let sum = 0;
  let shifted = a;
  for (let factor = b; factor > 0; factor >>= 1) {
    if ((factor & 1) === 1) sum ^= shifted;
    shifted = (shifted << 1) ^ (shifted >= 0x80 ? 0x11b : 0);
  }
  return sum;
}

function substituted(byte: number): number {
  let inverse = 0;
  while (byte !== 0 && product(byte, inverse) !== 1) inverse++;
  let sum = 0x63;
  for (let turn = 0; turn < 5; turn++) sum ^= ((inverse << turn) | (inverse >> (8 - turn))) & 0xff;
  return sum;
}

const ROUNDS = 14;
const SBOX = Array.from({ length: 256 }, (_, byte) => substituted(byte));
