import type { Micros } from '../../../base/time.ts';
import type { SendBuffer } from './send-buffer.ts';

/** The best-effort messages of a stream that wait for their first transmission, of which the older give way to the newer. */
export class BestEffortQueue {
  private readonly buffer: SendBuffer;
  /** How many messages had come at some times, a note each; what was there at a note is at least as old as the note. */
  private readonly counts = new Float64Array(NOTES);
  private readonly times = new Float64Array(NOTES).fill(-1);
  private newest = 0;

  constructor(buffer: SendBuffer) {
    this.buffer = buffer;
  }

  /** The newest messages stay, as many as are `bytes` long, and the newest of all. [STR-42] */
  keepNewest(bytes: number): void {
    const { records } = this.buffer;
    let left = bytes;
    let place = records.queued;
    while (place > 0) {
      left -= records.lengths[records.index(records.flight + place - 1)];
      if (left < 0 && place < records.queued) break;
      place--;
    }
    if (place > 0) this.buffer.giveWay(place);
  }

  /** What has waited for `waitMax` gives way to what came later, if something did. True when something still waits. [STR-43] */
  thin(waitMax: Micros, now: Micros): boolean {
    const { pushed, records } = this.buffer;
    const old = this.cameBy(now - waitMax);
    this.newest = (this.newest + 1) % NOTES;
    this.counts[this.newest] = pushed;
    this.times[this.newest] = now;
    const count = old - (pushed - records.queued);
    if (count > 0 && old < pushed) this.buffer.giveWay(count);
    return records.queued > 0;
  }

  /** How many messages had come by `time`, as far as it was noted. */
  private cameBy(time: Micros): number {
    for (let k = 0; k < NOTES; k++) {
      const i = (this.newest + NOTES - k) % NOTES;
      if (this.times[i] >= 0 && this.times[i] <= time) return this.counts[i];
    }
    return 0;
  }
}

/** {@link BestEffortQueue.thin} is called so many times in the longest time that a message may wait. */
export const THINNINGS_A_WAIT = 4;
/** More than fit into that time. */
const NOTES = 2 * THINNINGS_A_WAIT;
