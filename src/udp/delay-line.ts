import { type Micros, NEVER } from '../base/time.ts';

/** A datagram that waits for its time. */
export interface DelayedDatagram {
  readonly at: Micros;
  readonly data: Uint8Array;
  readonly host: string;
  readonly port: number;
  /** Of the socket's own addresses the one that it came to, or goes from. */
  readonly local: number;
}

/**
 * Datagrams ordered by when they are due, and among those of one time by when they were added. Most are added at the end, so
 * it is a sorted array that is searched from there. Bounded in bytes: beyond, the newest is refused.
 */
export class DelayLine {
  /** Ascending by `at` from `head` on; below are datagrams that were taken. */
  private items: DelayedDatagram[] = [];
  private head = 0;
  private bytes = 0;
  private readonly bytesMax: number;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** When the first datagram is due, or NEVER. */
  get nextAt(): Micros {
    return this.head < this.items.length ? this.items[this.head].at : NEVER;
  }

  /** False when there is no room. */
  add(datagram: DelayedDatagram): boolean {
    const bytes = datagram.data.length + OVERHEAD_BYTES;
    if (this.bytes + bytes > this.bytesMax) return false;
    this.bytes += bytes;
    let index = this.items.length;
    while (index > this.head && this.items[index - 1].at > datagram.at) index--;
    this.items.splice(index, 0, datagram);
    return true;
  }

  /** Takes the first datagram if it is due at `now`. */
  takeDue(now: Micros): DelayedDatagram | undefined {
    if (this.nextAt > now) return undefined;
    const datagram = this.items[this.head++];
    this.bytes -= datagram.data.length + OVERHEAD_BYTES;
    if (this.head >= COMPACT_AT && this.head * 2 >= this.items.length) {
      this.items = this.items.slice(this.head);
      this.head = 0;
    }
    return datagram;
  }

  clear(): void {
    this.items = [];
    this.head = 0;
    this.bytes = 0;
  }
}

/** What a datagram costs besides its bytes, so that empty ones are not free. */
const OVERHEAD_BYTES = 256;
const COMPACT_AT = 64;
