/**
 * What a receiver allows and counts, at one level: a stream or the whole connection. Everything first seen is charged; what the
 * application has read, and what was abandoned or dropped, is freed and so becomes credit again.
 */
export class FlowWindow {
  /** Most bytes that may be charged and not yet freed. */
  readonly windowBytes: number;
  /** Charged so far. */
  used = 0;
  /** Freed so far; never above `used`. */
  freed = 0;
  /** The limit that the peer was told last. */
  announced: number;
  private peerBlocked = false;

  constructor(windowBytes: number) {
    this.windowBytes = windowBytes;
    this.announced = windowBytes;
  }

  /** Charges `bytes`; false when the peer went over its limit. */
  charge(bytes: number): boolean {
    this.used += bytes;
    return this.used <= this.announced;
  }

  free(bytes: number): void {
    this.freed += bytes;
  }

  /** The peer says that it is blocked at `limit`. */
  onBlocked(limit: number): void {
    if (limit === this.announced) this.peerBlocked = true;
  }

  /** True when a new limit is worth a frame: a quarter of the window was freed, or the peer waits for less. [STR-11] */
  get due(): boolean {
    const fresh = this.freed + this.windowBytes - this.announced;
    return fresh * 4 >= this.windowBytes ? fresh > 0 : this.peerBlocked && fresh > 0;
  }

  /** The limit to send now. [STR-9] */
  announce(): number {
    this.announced = this.freed + this.windowBytes;
    this.peerBlocked = false;
    return this.announced;
  }
}
