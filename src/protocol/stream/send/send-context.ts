import type { Micros } from '../../../base/time.ts';
import type { FlowCredit } from '../flow-credit.ts';
import { OutcomeRing } from './outcome.ts';
import type { SlabPool } from './slab.ts';

/** What the sending halves of all streams of one connection share. */
export class SendContext {
  readonly slabs: SlabPool;
  /** The connection's credit, raised by MAX_DATA. */
  readonly credit: FlowCredit;
  /** The last bytes of `credit`, which are for streams of the class `system`. [STR-34] */
  reserveBytes = 0;
  /** Outcomes of tracked messages, for the connection to take. */
  readonly outcomes = new OutcomeRing();
  /** Frame bytes of an empty packet on the current path; the connection keeps it current. */
  packetRoom: number;
  /** One-way delay that the path has at least, and as it was measured last: half of the round-trip time, of which nobody knows the halves. */
  private delayMin: Micros = 0;
  private delay: Micros = 0;
  private measuredAt: Micros = 0;
  /** Messages taken in, and their bytes. */
  messages = 0;
  messageBytes = 0;
  /** Messages whose lifetime ended before they were known to have arrived. */
  expired = 0;
  /** Best-effort messages of which a packet was lost. */
  lost = 0;
  /** Messages that the peer reported as given up. */
  dropped = 0;
  /** Message bytes sent again. */
  retransmittedBytes = 0;

  constructor(slabs: SlabPool, credit: FlowCredit, packetRoom: number) {
    this.slabs = slabs;
    this.credit = credit;
    this.packetRoom = packetRoom;
  }

  /** The round-trip time was measured anew. */
  onRtt(min: Micros, newest: Micros, now: Micros): void {
    this.delayMin = Math.floor(min / 2);
    this.delay = Math.floor(newest / 2);
    this.measuredAt = now;
  }

  /**
   * How long what is sent now is thought to be under way. [STR-16] A measure that is older than a round trip says nothing of the queues of
   * the path, which may have drained: then it is the least. So messages that would come too late are held back only while others show it.
   */
  oneWayDelay(now: Micros): Micros {
    return now - this.measuredAt <= 2 * this.delay ? this.delay : this.delayMin;
  }
}
