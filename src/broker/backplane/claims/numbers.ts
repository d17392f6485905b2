/** Numbers that no node is ever given twice: each node takes many at once from a counter that all see, and more when half of them are used. [CLU-27] */

import { JspError } from '../../../base/errors.ts';
import type { ClaimBucket, ClaimTime } from './claim-bucket.ts';

export class ClusterNumbers {
  private readonly bucket: ClaimBucket;
  private readonly time: ClaimTime;
  private next = 0;
  private end = 0;
  private later: { next: number; end: number } | null = null;
  private isTaking = false;
  private onFirst: (() => void) | null = null;

  constructor(bucket: ClaimBucket, time: ClaimTime) {
    this.bucket = bucket;
    this.time = time;
  }

  /** Takes the first: `ready` is called when there are some. */
  start(ready: () => void): void {
    this.onFirst = ready;
    this.take();
  }

  /** @throws {JspError} ERR_JSP_INTERNAL when the engine could not be reached for so long that none is left */
  newNumber(): number {
    if (this.next >= this.end && this.later !== null) {
      this.next = this.later.next;
      this.end = this.later.end;
      this.later = null;
    }
    if (this.next >= this.end)
      throw new JspError('ERR_JSP_INTERNAL', 'No number is left that no other node has.');
    const number = this.next++;
    if (this.end - this.next < AT_ONCE / 2 && this.later === null) this.take();
    return number;
  }

  private take(): void {
    if (this.isTaking) return;
    this.isTaking = true;
    this.bucket.read(KEY, (found) => {
      if (found === null) {
        this.again();
        return;
      }
      const from = found.value === null ? 1 : numberOf(found.value);
      this.bucket.write(KEY, bytesOf(from + AT_ONCE), found.revision, (outcome) => {
        if (outcome <= 0) this.again();
        else this.taken(from);
      });
    });
  }

  private taken(from: number): void {
    this.isTaking = false;
    this.later = { next: from, end: from + AT_ONCE };
    const { onFirst } = this;
    this.onFirst = null;
    onFirst?.();
  }

  /** Those that may have been taken are lost, of which there are enough. */
  private again(): void {
    this.time.after(AGAIN_MS, () => {
      this.isTaking = false;
      this.take();
    });
  }
}

function numberOf(bytes: Uint8Array): number {
  return bytes.length < 6 ? 1 : Buffer.from(bytes.buffer, bytes.byteOffset, 6).readUIntBE(0, 6);
}

function bytesOf(value: number): Uint8Array {
  const bytes = Buffer.alloc(6);
  bytes.writeUIntBE(value, 0, 6);
  return bytes;
}

/** No claim has this name. */
const KEY = 'numbers';
const AT_ONCE = 16_384;
const AGAIN_MS = 50;
