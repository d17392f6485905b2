import type { FlowCredit } from './flow-credit.ts';
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
}
