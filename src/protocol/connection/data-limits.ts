import type { FlowCredit } from '../stream/flow-credit.ts';
import type { FlowWindow } from '../stream/flow-window.ts';
import type { SentFrames } from '../stream/sent-frames.ts';
import { FrameType } from '../wire/frame-type.ts';
import { CONTROL_FRAME_BYTES_MAX, writeDataBlocked, writeMaxData } from '../wire/frame-writer.ts';

/** Tells the peer how much it may send on the whole connection, and that we would send more than it allows. */
export class DataLimits {
  /** DATA_BLOCKED frames sent. */
  blockedCount = 0;
  private readonly window: FlowWindow;
  private readonly credit: FlowCredit;
  private announcementLost = false;

  /**
   * @param window - what we let the peer send
   * @param credit - what the peer lets us send
   */
  constructor(window: FlowWindow, credit: FlowCredit) {
    this.window = window;
    this.credit = credit;
  }

  /** True when {@link write} has something to write. */
  get due(): boolean {
    return this.window.due || this.announcementLost || this.credit.owesBlocked;
  }

  /** Writes MAX_DATA and DATA_BLOCKED. Returns the new offset. */
  write(out: Uint8Array, start: number, limit: number, sent: SentFrames): number {
    let at = start;
    const bound = limit - CONTROL_FRAME_BYTES_MAX;
    if ((this.window.due || this.announcementLost) && at <= bound) {
      this.announcementLost = false;
      const allowed = this.window.announce();
      at = writeMaxData(out, at, allowed);
      sent.add(FrameType.MAX_DATA, 0, allowed, 0, 0);
    }
    const { credit } = this;
    if (credit.owesBlocked && at <= bound) {
      this.blockedCount++;
      const needed = credit.sayBlocked();
      at = writeDataBlocked(out, at, needed);
      sent.add(FrameType.DATA_BLOCKED, 0, needed, 0, 0);
    }
    return at;
  }

  /** The packet that held this frame of ours is lost. */
  onLost(kind: number, limit: number): void {
    if (kind === FrameType.MAX_DATA) this.announcementLost ||= limit === this.window.announced;
    else this.credit.onBlockedLost(limit);
  }
}
