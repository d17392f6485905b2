/** A chunk of memory that holds the bytes of one or more queued messages. */
export class Slab {
  readonly bytes: Uint8Array;
  /** Index of its size class in the pool, or -1 when the pool does not want it back. */
  readonly sizeClass: number;
  /** Bytes written so far. */
  used = 0;
  /** Messages whose bytes are still needed. */
  live = 0;

  constructor(bytes: Uint8Array, sizeClass: number) {
    this.bytes = bytes;
    this.sizeClass = sizeClass;
  }
}

/** Slabs are of these sizes; a larger message gets memory of its own that is not pooled. */
const CLASS_BYTES = [2_048, 8_192, 16_384, 32_768, 65_536, 131_072];
/** A stream without a slab starts with the smallest; one that fills it goes on with this class. */
const BULK_CLASS = 3;
/** Most bytes that the pool keeps while no slab is in use: what a sender that runs empty needs at its next turn. */
const IDLE_BYTES_MAX = 262_144;

/**
 * Slabs that are free for the next stream that has something to send. Shared by the streams of a connection, or by all connections
 * of an endpoint. At `freeBytesMax` a slab that comes back is left to the garbage collector.
 */
export class SlabPool {
  private readonly free: Slab[][] = CLASS_BYTES.map(() => []);
  private readonly freeBytesMax: number;
  /** Bytes in the free lists. */
  freeBytes = 0;
  /** Slabs handed out and not returned. */
  inUse = 0;

  constructor(freeBytesMax = 1_048_576) {
    this.freeBytesMax = freeBytesMax;
  }

  /** A slab for many small messages, the next one `need` bytes long; a small one when it is the `first` that the stream holds. */
  takeShared(first: boolean, need: number): Slab {
    if (!first) return this.take(BULK_CLASS);
    return this.take(need <= CLASS_BYTES[0] ? 0 : 1);
  }

  /** A slab with room for one message of `length` bytes. */
  takeFor(length: number): Slab {
    for (let sizeClass = 0; sizeClass < CLASS_BYTES.length; sizeClass++) {
      if (length <= CLASS_BYTES[sizeClass]) return this.take(sizeClass);
    }
    this.inUse++;
    return new Slab(new Uint8Array(length), -1);
  }

  /** A slab around bytes that the caller gave away. */
  adopt(bytes: Uint8Array): Slab {
    this.inUse++;
    return new Slab(bytes, -1);
  }

  give(slab: Slab): void {
    this.inUse--;
    if (slab.sizeClass >= 0 && this.freeBytes + slab.bytes.length <= this.freeBytesMax) {
      slab.used = 0;
      this.freeBytes += slab.bytes.length;
      this.free[slab.sizeClass].push(slab);
    }
    if (this.inUse === 0 && this.freeBytes > IDLE_BYTES_MAX) this.trim(IDLE_BYTES_MAX);
  }

  /** Lets go of free slabs, the largest first, until at most `bytesMax` are left. */
  trim(bytesMax: number): void {
    for (let sizeClass = CLASS_BYTES.length - 1; sizeClass >= 0; sizeClass--) {
      const free = this.free[sizeClass];
      while (this.freeBytes > bytesMax && free.length > 0) {
        free.pop();
        this.freeBytes -= CLASS_BYTES[sizeClass];
      }
    }
  }

  private take(sizeClass: number): Slab {
    this.inUse++;
    const slab = this.free[sizeClass].pop();
    if (slab === undefined) return new Slab(new Uint8Array(CLASS_BYTES[sizeClass]), sizeClass);
    this.freeBytes -= slab.bytes.length;
    return slab;
  }
}
