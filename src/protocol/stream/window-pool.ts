import type { MemorySource } from '../../base/memory-budget.ts';

/**
 * What the windows of a connection's streams may grow by, all together, beyond what each has from the start. The rest of the
 * connection's window is for those beginnings, so that streams which nobody reads cannot take everything. [STR-34]
 *
 * What was promised to a peer cannot be taken back, and it may never use it: a stream grew, and falls silent. Such promises must not keep
 * another stream from its next message for ever, so a message is also admitted while what the streams really hold leaves room for it.
 */
export class WindowPool implements MemorySource {
  readonly bytesMax: number;
  /** Promised, or held. */
  used = 0;
  private readonly held: () => number;
  /** A window found too little here, with so much held at that time. */
  private isAwaited = false;
  private heldThen = 0;
  private wasGiven = false;

  /** @param held - bytes that are charged to the streams and not read yet */
  constructor(bytesMax: number, held: () => number) {
    this.bytesMax = bytesMax;
    this.held = held;
  }

  get available(): number {
    return this.bytesMax - this.used;
  }

  admits(bytes: number): boolean {
    return bytes <= this.available || this.held() + bytes <= this.bytesMax;
  }

  /** A window found too little here, and there is more since: it should ask again. */
  get hasRoomAgain(): boolean {
    return this.isAwaited && (this.wasGiven || this.held() < this.heldThen);
  }

  take(bytes: number): void {
    this.used += bytes;
  }

  give(bytes: number): void {
    this.used -= bytes;
    if (bytes > 0) this.wasGiven = true;
  }

  awaitRoom(): void {
    this.isAwaited = true;
    this.heldThen = this.held();
    this.wasGiven = false;
  }

  /** Everybody asks again now. */
  retried(): void {
    this.isAwaited = false;
  }
}
