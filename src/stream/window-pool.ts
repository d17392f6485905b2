import type { MemorySource } from '../base/memory-budget.ts';

/**
 * What the windows of a connection's streams may grow by, all together, beyond what each has from the start. The rest of the
 * connection's window is for those beginnings, so that streams which nobody reads cannot take everything. [STR-34]
 */
export class WindowPool implements MemorySource {
  readonly bytesMax: number;
  used = 0;
  /** A window found too little here, and some came back since: it should ask again. */
  hasRoomAgain = false;
  private isAwaited = false;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  get available(): number {
    return this.bytesMax - this.used;
  }

  take(bytes: number): void {
    this.used += bytes;
  }

  give(bytes: number): void {
    this.used -= bytes;
    if (this.isAwaited && bytes > 0) this.hasRoomAgain = true;
  }

  awaitRoom(): void {
    this.isAwaited = true;
  }

  /** Everybody asks again now. */
  retried(): void {
    this.hasRoomAgain = false;
    this.isAwaited = false;
  }
}
