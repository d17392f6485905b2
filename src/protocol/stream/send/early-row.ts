import { Mark, type MessageRecords } from './message-records.ts';

/**
 * What a stream may send before the handshake is complete: its first messages, up to one that may not. That one and all behind it are held, as
 * are best-effort messages, which are sent once only and so not before they are sure to be taken. [HS-59]
 */
export class EarlyRow {
  /** Whether the next message may go early. */
  isNext: boolean;
  /** Nothing of the stream may go yet, not even word that it is open. */
  isHeldBack: boolean;
  private isUnbroken = true;
  private readonly holding = new Set<MessageRecords>();

  /** @param isEarly - messages that do not say may go early, and so may the stream's opening */
  constructor(isEarly: boolean) {
    this.isNext = isEarly;
    this.isHeldBack = !isEarly;
  }

  /** A message was queued, the youngest of these. */
  note(records: MessageRecords, isReliable: boolean): void {
    if (isReliable && !this.isNext) this.isUnbroken = false;
    if (isReliable && this.isUnbroken) {
      this.isHeldBack = false;
      return;
    }
    records.marks[records.index(records.flight + records.queued - 1)] |= Mark.HELD;
    this.holding.add(records);
  }

  /** All may go. */
  release(): void {
    for (const records of this.holding)
      for (let r = 0; r < records.flight + records.queued; r++) records.marks[records.index(r)] &= ~Mark.HELD;
  }
}
