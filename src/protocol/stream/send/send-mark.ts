import type { SendBuffer } from './send-buffer.ts';

/** How many messages a sending half had taken in at some time, by space. */
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

  /** Messages that wait now, and those that are partly sent. */
  get unsent(): number {
    return this.reliable.unsent + (this.bestEffort?.unsent ?? 0);
  }

  /** Another number after anything was sent for the first time, or settled. */
  get progress(): number {
    return progressOf(this.reliable) + (this.bestEffort === null ? 0 : progressOf(this.bestEffort));
  }

  get cut(): number {
    const isCut = this.reliable.cutAt > 0;
    return (isCut ? 1 : 0) + ((this.bestEffort?.cutAt ?? 0) > 0 ? 1 : 0);
  }

  /** Whether all of them are settled. */
  get isSettled(): boolean {
    if (!isSettledUpTo(this.reliable, this.reliablePushed)) return false;
    return this.bestEffort === null || isSettledUpTo(this.bestEffort, this.bestEffortPushed);
  }
}

/** Sequences and settled messages only grow; a message that is partly sent counts as the part of one. */
function progressOf({ cutAt, nextSequence, pushed, records }: SendBuffer): number {
  const settled = pushed - records.flight - records.queued;
  return nextSequence + settled + cutAt / 2 ** 32;
}

/** Whether the first `count` messages taken in are settled. */
function isSettledUpTo({ pushed, records }: SendBuffer, count: number): boolean {
  return pushed - records.flight - records.queued >= count;
}
