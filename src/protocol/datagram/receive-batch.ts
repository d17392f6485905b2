import { NO_BYTES } from '../../base/bytes.ts';
import type { Micros } from '../../base/time.ts';
import { EcnCodepoint } from '../wire/frames/ack.ts';

/**
 * The way in of one turn: datagrams as they came from a socket, which are routed to connections, opened in place and dispatched. A socket
 * fills the columns of the datagrams, the endpoint those of the packets: where a datagram is one packet of a connection that has its key,
 * whose it is and what was found in it. Routing, opening and dispatching are separate passes, so that native code can open a whole batch
 * in one call. Views of a datagram's bytes may be kept, but of those that are shared.
 */
export class ReceiveBatch {
  /** The datagrams' memory is the endpoint's alone, which may free it when nothing refers to it any more. */
  readonly isExclusive: boolean;
  /** Another worker at the endpoint's address got the datagrams, and found them to be ours. [WRK-3] */
  readonly isHandedOver: boolean;
  count = 0;
  readonly data: Uint8Array[] = [];
  /** The one memory that all datagrams lie in, so that native code can open the whole batch; null when they lie each in its own. */
  arena: Uint8Array | null = null;
  /** Where each datagram begins in {@link arena}, or in another memory that shared ones lie in. */
  readonly offset: number[] = [];
  readonly host: string[] = [];
  readonly port: number[] = [];
  /** At which of the socket's own addresses each datagram came: a number of the socket's choice, to answer with. */
  readonly local: number[] = [];
  /** 1: the datagram lies in one memory with others, so that nobody gets a view of it to keep, and it is not freed by itself. */
  readonly isShared: number[] = [];
  /** The ECN codepoint that each datagram came with, and how long it waited to be read: of so many as the socket told. A count, because to shorten an array is a call into the runtime, each turn. */
  private readonly ecn: number[] = [];
  private ecnCount = 0;
  private readonly waited: number[] = [];
  private waitedCount = 0;

  /** Whose packet the datagram is, to be opened; null when it is none, is none any more, or was dispatched in another way. */
  readonly owner: (object | null)[] = [];
  readonly number: number[] = [];
  readonly payloadStart: number[] = [];
  readonly payloadEnd: number[] = [];
  /** Bits of the header that are 0 in most packets: see `OpenedPacket`. */
  readonly headerBits: number[] = [];

  constructor({ isExclusive = false, isHandedOver = false } = {}) {
    this.isExclusive = isExclusive;
    this.isHandedOver = isHandedOver;
  }

  /** @param offset - where `data` begins in the memory of all, where there is one */
  push(data: Uint8Array, host: string, port: number, local = 0, isShared = false, offset = 0): void {
    const i = this.count++;
    this.data[i] = data;
    this.offset[i] = offset;
    this.host[i] = host;
    this.port[i] = port;
    this.local[i] = local;
    this.isShared[i] = isShared ? 1 : 0;
    this.owner[i] = null;
  }

  /** The datagram pushed last came with this ECN codepoint. */
  mark(ecn: EcnCodepoint): void {
    while (this.ecnCount < this.count) this.ecn[this.ecnCount++] = EcnCodepoint.NOT_ECT;
    this.ecn[this.count - 1] = ecn;
  }

  /** The ECN codepoint that a datagram came with. */
  ecnOf(i: number): EcnCodepoint {
    return i < this.ecnCount ? (this.ecn[i] as EcnCodepoint) : EcnCodepoint.NOT_ECT;
  }

  /** The datagram pushed last had come so long before it was read. */
  stamp(waited: Micros): void {
    while (this.waitedCount < this.count) this.waited[this.waitedCount++] = 0;
    this.waited[this.count - 1] = waited;
  }

  /** When a datagram came, as far as the socket can tell, where it is read `now`. */
  arrivedAt(i: number, now: Micros): Micros {
    return i < this.waitedCount ? now - this.waited[i] : now;
  }

  /** Lets go of the datagrams; the columns keep their size. */
  clear(): void {
    for (let i = 0; i < this.count; i++) {
      this.data[i] = NO_BYTES;
      this.owner[i] = null;
    }
    this.count = 0;
    this.ecnCount = 0;
    this.waitedCount = 0;
  }
}

/**
 * What a socket collects datagrams in, to hand them over in batches. A batch is taken before it is handed over, so that nothing which
 * happens meanwhile can hand its datagrams over again: they were opened in place. [CON-32]
 */
export class ReceiveQueue {
  private filling: ReceiveBatch;
  private spare: ReceiveBatch | null = null;

  constructor(options: { isExclusive?: boolean } = {}) {
    this.filling = new ReceiveBatch(options);
  }

  /** Datagrams that wait. */
  get count(): number {
    return this.filling.count;
  }

  push(data: Uint8Array, host: string, port: number, local = 0): void {
    this.filling.push(data, host, port, local);
  }

  /** The datagram pushed last came with this ECN codepoint. */
  mark(ecn: EcnCodepoint): void {
    this.filling.mark(ecn);
  }

  /** Hands all that waits to `receive`, if anything does. */
  handOver(receive: ((batch: ReceiveBatch) => void) | null): void {
    const batch = this.filling;
    if (batch.count === 0) return;
    this.filling = this.spare ?? new ReceiveBatch(batch);
    this.spare = null;
    try {
      receive?.(batch);
    } finally {
      batch.clear();
      this.spare = batch;
    }
  }

  clear(): void {
    this.filling.clear();
  }
}
