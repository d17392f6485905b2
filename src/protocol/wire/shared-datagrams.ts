import { keepHere, shortLivedBuffer } from '../../base/bytes.ts';

/**
 * Datagrams that lie behind each other in a memory which is used again for the next: what a receiver keeps of them it copies. To copy each
 * message by itself took as long as all else that is done with a packet of 1,400 bytes, most of it for the memory's own bookkeeping; so who
 * keeps something of a datagram gets one copy of it and of those behind it. [STR-32]
 */
export class SharedDatagrams {
  private batch: Datagrams = { data: [], offset: [], owner: [], count: 0 };
  private index = 0;
  private copy: DatagramCopy | null = null;
  /** The copy is of the datagrams before this one. */
  private end = 0;
  /** Where the first copied datagram begins in the shared memory. */
  private copyStart = 0;

  /** Begins with a batch. */
  begin(batch: Datagrams): void {
    this.batch = batch;
    this.copy = null;
  }

  /** The datagram at `index` is read now; those behind it are opened, and not read yet. */
  read(index: number): void {
    this.index = index;
    if (index >= this.end) this.copy = null;
  }

  /** Lets go of the copy; who keeps something in it has it. */
  finish(): void {
    this.copy = null;
    this.end = 0;
  }

  /**
   * What the datagram at hand was copied to with those behind it, for one receiver alone; null when `owner` has to copy what it keeps by itself:
   * another receiver was first, or nothing follows that is worth it.
   */
  copyFor(owner: object): DatagramCopy | null {
    this.copy ??= this.copied(owner);
    return this.copy !== null && this.copy.owner === owner ? this.copy : null;
  }

  /** Where in the copy the datagram at hand begins. */
  get copyOffset(): number {
    return this.batch.offset[this.index] - this.copyStart;
  }

  private copied(owner: object): DatagramCopy | null {
    const { index } = this;
    const { count, data, offset, owner: readers } = this.batch;
    const start = offset[index];
    const reader = readers[index];
    let end = start + data[index].length;
    let next = index + 1;
    for (; next < count && readers[next] === reader && offset[next] === end; next++) {
      const { length } = data[next];
      if (end + length - start > COPY_BYTES_MAX) break;
      end += length;
    }
    if (next === index + 1) return null;
    const bytes = shortLivedBuffer(end - start);
    // To ask a view for its memory, or for its place in it, is a call each time: once a copy, and not once a datagram.
    bytes.set(new Uint8Array(data[index].buffer, start, end - start));
    keepHere(bytes.buffer);
    this.copyStart = start;
    this.end = next;
    return new DatagramCopy(owner, bytes);
  }
}

/** What is told of the datagrams of a batch, of which those that are shared lie in one memory. */
export interface Datagrams {
  readonly data: readonly Uint8Array[];
  /** Where in the shared memory each begins. */
  readonly offset: readonly number[];
  /** Whose packet each is; null where it is nobody's. */
  readonly owner: readonly (object | null)[];
  readonly count: number;
}

/** Some datagrams in memory of their own, in which one receiver keeps its messages until they are read. */
export class DatagramCopy {
  readonly owner: object;
  readonly bytes: Buffer;
  /** Kept parts that are not read yet, and what is charged for them. */
  kept = 0;
  charged = 0;

  constructor(owner: object, bytes: Buffer) {
    this.owner = owner;
    this.bytes = bytes;
  }

  /** Bytes that are kept alive and that nobody is charged for. */
  get waste(): number {
    return this.kept === 0 ? 0 : Math.max(0, this.bytes.length - this.charged);
  }
}

/** No more than the largest datagram of a host to itself keeps alive, and a quarter of what Node reads of a TCP connection at a time. */
const COPY_BYTES_MAX = 16_384;
