import type { Micros } from '../../../base/time.ts';
import { Mark } from './message-records.ts';
import type { SendBuffer } from './send-buffer.ts';

/** A reliable message that was taken in and is neither acknowledged nor given up. */
export interface UnacknowledgedMessage {
  /** A copy, as it was to be sent. */
  readonly bytes: Uint8Array;
  /** They begin with an envelope. */
  readonly isEnveloped: boolean;
  /** When it is worth nothing any more; NEVER for none. */
  readonly deadline: Micros;
  /** A part of it was sent at least once, so that it may have arrived. */
  readonly wasSent: boolean;
}

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

  /** The reliable messages that nobody has acknowledged, oldest first; of use when the connection is over. [CON-104] */
  unacknowledged(): UnacknowledgedMessage[] {
    const { records } = this.reliable;
    const messages: UnacknowledgedMessage[] = [];
    for (let r = 0; r < records.flight + records.queued; r++) {
      const i = records.index(r);
      const slab = records.slabs[i];
      const marks = records.marks[i];
      if (slab === null || (marks & OVER) !== 0) continue;
      messages.push({
        bytes: slab.bytes.slice(records.offsets[i], records.offsets[i] + records.lengths[i]),
        isEnveloped: (marks & Mark.ENVELOPE) !== 0,
        deadline: records.deadlineOf(i),
        wasSent: r < records.flight,
      });
    }
    return messages;
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

/** Of messages that nobody waits for any more. */
const OVER = Mark.SETTLED | Mark.VOID | Mark.ABANDONED;
