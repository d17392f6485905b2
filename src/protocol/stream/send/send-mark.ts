import type { SendBuffer } from './send-buffer.ts';

/** How far a sending half is: what it had taken in when this was made, and where it stands now, over both spaces. */
export class SendMark {
  private readonly reliable: SendBuffer;
  private readonly bestEffort: SendBuffer | null;
  private readonly reliablePushed: number;
  private readonly bestEffortPushed: number;

  constructor(reliable: SendBuffer, bestEffort: SendBuffer | null) {
    this.reliable = reliable;
    this.bestEffort = bestEffort;
    this.reliablePushed = reliable.pushed;
    this.bestEffortPushed = bestEffort?.pushed ?? 0;
  }

  /** Messages none of which is sent now. */
  get unsent(): number {
    return this.reliable.unsent + (this.bestEffort?.unsent ?? 0);
  }

  /** Another number after anything was sent for the first time, or settled. */
  get progress(): number {
    return progressOf(this.reliable) + (this.bestEffort === null ? 0 : progressOf(this.bestEffort));
  }

  /** Messages that are partly sent now. */
  get cut(): number {
    const isCut = this.reliable.cutAt > 0;
    return (isCut ? 1 : 0) + ((this.bestEffort?.cutAt ?? 0) > 0 ? 1 : 0);
  }

  /** Whether all that it had taken in is settled. */
  get isSettled(): boolean {
    if (settledOf(this.reliable) < this.reliablePushed) return false;
    return this.bestEffort === null || settledOf(this.bestEffort) >= this.bestEffortPushed;
  }
}

/** Sequences and settled messages only grow; a message that is partly sent counts as the part of one. */
function progressOf(buffer: SendBuffer): number {
  return buffer.nextSequence + settledOf(buffer) + buffer.cutAt / 2 ** 32;
}

/** Messages that were taken in and need not be kept any more. */
function settledOf({ pushed, records }: SendBuffer): number {
  return pushed - records.flight - records.queued;
}
