/** Packet numbers as headers carry them (RFC 9000 section 17.1 and appendix A). [PKT-8] */

/**
 * Bytes a packet number needs so that the peer can tell it from all it may mistake it for.
 * @param largestAcked - largest number the peer acknowledged in this space, -1 when none
 */
export function packetNumberBytes(number: number, largestAcked: number): number {
  const distance = number - largestAcked;
  return distance < 0x80 ? 1 : distance < 0x8000 ? 2 : distance < 0x80_0000 ? 3 : 4;
}

/** Writes the least significant `bytes` bytes of `number`. Returns the offset behind them. */
export function writePacketNumber(out: Uint8Array, at: number, number: number, bytes: number): number {
  const low = number >>> 0;
  for (let i = 0; i < bytes; i++) out[at + i] = low >>> (8 * (bytes - 1 - i));
  return at + bytes;
}

/** Reads the `bytes` bytes at `at`: the truncated number, for {@link decodePacketNumber}. */
export function readPacketNumber(buffer: Uint8Array, at: number, bytes: number): number {
  let value = 0;
  for (let i = 0; i < bytes; i++) value = (value << 8) | buffer[at + i];
  return value >>> 0;
}

/**
 * The whole number whose low bytes are `truncated`: the one closest to the number expected next (RFC 9000 appendix A.3).
 * @param bytes - how many bytes the header gave, 1 to 4
 * @param largest - largest number received in this space, -1 when none
 */
export function decodePacketNumber(truncated: number, bytes: number, largest: number): number {
  const expected = largest + 1;
  const window = WINDOWS[bytes];
  const half = window / 2;
  const candidate = expected - (expected % window) + truncated;
  if (candidate <= expected - half && candidate + window <= Number.MAX_SAFE_INTEGER)
    return candidate + window;
  if (candidate > expected + half && candidate >= window) return candidate - window;
  return candidate;
}

const WINDOWS: readonly number[] = [1, 2 ** 8, 2 ** 16, 2 ** 24, 2 ** 32];
