/**
 * A bounded cache from the bytes of a topic to a value, so that a message whose topic was seen before costs a hash and a comparison,
 * and no string. It is set-associative: a topic has eight places; when all are taken, they are reused in turn. So neither many
 * topics nor topics chosen to collide make it grow or slow; they only miss.
 */
export class TopicTable<T> {
  private readonly hashes: Int32Array;
  private readonly keys: (Uint8Array | null)[];
  private readonly values: (T | undefined)[];
  private readonly setMask: number;
  private turn = 0;

  /** @param capacity - most topics held, a power of two of at least 8 */
  constructor(capacity: number) {
    this.hashes = new Int32Array(capacity);
    this.keys = new Array<Uint8Array | null>(capacity).fill(null);
    this.values = new Array<T | undefined>(capacity).fill(undefined);
    this.setMask = capacity / WAYS - 1;
  }

  /** The value of the topic in bytes[start, end), or undefined. */
  lookup(bytes: Uint8Array, start: number, end: number): T | undefined {
    const hash = topicHash(bytes, start, end);
    const first = (hash & this.setMask) * WAYS;
    for (let i = first; i < first + WAYS; i++) {
      if (this.hashes[i] !== hash) continue;
      const key = this.keys[i];
      if (key !== null && sameBytes(key, bytes, start, end)) return this.values[i];
    }
    return undefined;
  }

  /** Remembers `value` for the topic in bytes[start, end), in the place of its earlier value or of another topic. */
  store(bytes: Uint8Array, start: number, end: number, value: T): void {
    const hash = topicHash(bytes, start, end);
    const first = (hash & this.setMask) * WAYS;
    let place = -1;
    for (let i = first; i < first + WAYS; i++) {
      const key = this.keys[i];
      if (key === null) {
        if (place < 0) place = i;
      } else if (this.hashes[i] === hash && sameBytes(key, bytes, start, end)) {
        this.values[i] = value;
        return;
      }
    }
    if (place < 0) place = first + (this.turn++ & (WAYS - 1));
    this.hashes[place] = hash;
    this.keys[place] = Uint8Array.prototype.slice.call(bytes, start, end); // Buffer's own slice would be a view
    this.values[place] = value;
  }
}

/** FNV-1a, finished so that every bit of the topic reaches the low bits that choose the set. */
function topicHash(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5 | 0;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i], 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return hash ^ (hash >>> 13);
}

function sameBytes(key: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  const length = key.length;
  if (length !== end - start) return false;
  for (let i = 0; i < length; i++) if (key[i] !== bytes[start + i]) return false;
  return true;
}

const WAYS = 8;
