/** Keeps the note of a session as it is now: one is written at a time, and what changes meanwhile goes into the next. [MQT-14] */

import { encodeNote, type MqttNote } from './note.ts';

export class NoteKeeper {
  private readonly write: (note: Uint8Array) => Promise<boolean>;
  private readonly current: () => MqttNote;
  /** Who waits for the next note to be safe. */
  private waiting: ((isKept: boolean) => void)[] = [];
  private isWriting = false;

  /**
   * @param write - resolves with whether it is safe
   * @param current - what it is now
   */
  constructor(write: (note: Uint8Array) => Promise<boolean>, current: () => MqttNote) {
    this.write = write;
    this.current = current;
  }

  /** @param settled - called when what the note is now is safe; with false where there is no room for it */
  keep(settled: (isKept: boolean) => void = () => {}): void {
    this.waiting.push(settled);
    if (!this.isWriting) void this.writeAll();
  }

  private async writeAll(): Promise<void> {
    this.isWriting = true;
    while (this.waiting.length > 0) {
      const settled = this.waiting;
      this.waiting = [];
      const isKept = await this.write(encodeNote(this.current())).catch(() => false);
      for (const tell of settled) tell(isKept);
    }
    this.isWriting = false;
  }
}
