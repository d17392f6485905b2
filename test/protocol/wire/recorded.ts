import { type SentFrame, SentFrames } from '../../../src/protocol/wire/frames/sent-frames.ts';

/** The record of one frame, as it is read back. */
export function recorded(record: (sent: SentFrames) => void): SentFrame {
  const sent = new SentFrames();
  record(sent);
  return sent.read(sent.head);
}

/** What one packet carried, to be looked at as often as a test likes. */
export class PacketRecord extends SentFrames {
  private first = -1;
  private count = 0;

  /** Its frames; each is the same object, and good until the next. */
  *frames(): Generator<SentFrame> {
    if (this.first < 0) {
      this.first = this.head;
      this.count = this.commit();
    }
    for (let i = this.first; i < this.first + this.count; i++) yield this.read(i);
  }

  get isEmpty(): boolean {
    return this.frames().next().done === true;
  }
}
