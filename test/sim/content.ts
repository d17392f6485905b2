/**
 * What simulated messages contain: which message of which flow they are, and behind that bytes that follow from it, which every
 * other message repeats again and again, so that it can be compressed. Messages that are too short for all of it have the beginning.
 */
export function contentOf(flow: number, index: number, size: number): Uint8Array {
  const words = new Uint32Array((size + 3) >>> 2);
  const data = new Uint8Array(words.buffer, 0, size);
  const repeats = (index & 1) === 1;
  let state = mix(flow * 0x1_0001 + index * 0x9e37_79b1);
  for (let at = ID_BYTES >>> 2; at < words.length; at++) {
    if (!repeats || (at & 15) === 0) state = mix(state);
    words[at] = state;
  }
  for (let at = Math.min(ID_BYTES, size) - 1; at >= 0; at--) data[at] = idByte(flow, index, size, at);
  return data;
}

/** The index that a message says it has; -1 of an empty one. A flow has at most {@link MESSAGES_MAX} messages. */
export function indexIn(data: Uint8Array): number {
  return data.length === 0 ? -1 : data[0];
}

/** So many messages are told apart by their first byte. */
export const MESSAGES_MAX = 256;
const ID_BYTES = 8;

function idByte(flow: number, index: number, size: number, at: number): number {
  if (at < 2) return (index >>> (8 * at)) & 0xff;
  if (at < 4) return (flow >>> (8 * (at - 2))) & 0xff;
  return (size >>> (8 * (at - 4))) & 0xff;
}

/** A step of xorshift32 behind a multiplication, so that small inputs differ at once. */
function mix(value: number): number {
  let x = Math.imul(value | 1, 0x85eb_ca6b);
  x ^= x << 13;
  x ^= x >>> 17;
  x ^= x << 5;
  return x >>> 0;
}
