/**
 * Batches of datagrams that cross the sans-IO line. The driver fills a {@link ReceiveBatch} and hands it to the endpoint; the
 * endpoint fills a {@link TransmitBatch} and the driver's socket sends it whole.
 */

/** Datagrams as they came from a socket. The endpoint opens them in place and may keep views of their bytes. */
export class ReceiveBatch {
  /** The datagrams' memory is the endpoint's alone, which may free it when nothing refers to it any more. */
  readonly isExclusive: boolean;
  count = 0;
  readonly data: Uint8Array[] = [];
  readonly host: string[] = [];
  readonly port: number[] = [];
  /** At which of the socket's own addresses each datagram came: a number of the socket's choice, to answer with. */
  readonly local: number[] = [];

  constructor({ isExclusive = false } = {}) {
    this.isExclusive = isExclusive;
  }

  push(data: Uint8Array, host: string, port: number, local = 0): void {
    const i = this.count++;
    this.data[i] = data;
    this.host[i] = host;
    this.port[i] = port;
    this.local[i] = local;
  }

  clear(): void {
    for (let i = 0; i < this.count; i++) this.data[i] = EMPTY;
    this.count = 0;
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

/** Sealed datagrams, back to back in one arena, each with its destination. */
export class TransmitBatch {
  readonly arena: Uint8Array;
  /** Bytes of the arena in use. */
  used = 0;
  /** Datagrams in the batch. */
  count = 0;
  /** Where each datagram begins in the arena. */
  readonly offset: Int32Array;
  /** Length of each datagram in bytes. */
  readonly length: Int32Array;
  readonly host: string[] = [];
  readonly port: number[] = [];
  /** From which of the socket's own addresses each datagram goes; 0 leaves it to the system. */
  readonly local: Int32Array;

  /**
   * @param arenaBytes - room for datagrams; at least one of the largest size in use
   * @param datagramsMax - most datagrams a batch holds
   */
  constructor(arenaBytes: number, datagramsMax: number) {
    this.arena = new Uint8Array(arenaBytes);
    this.offset = new Int32Array(datagramsMax);
    this.length = new Int32Array(datagramsMax);
    this.local = new Int32Array(datagramsMax);
  }

  get datagramsMax(): number {
    return this.offset.length;
  }

  /** True when another datagram of up to `bytes` fits. */
  hasRoom(bytes: number): boolean {
    return this.count < this.offset.length && this.used + bytes <= this.arena.length;
  }

  /** Takes the `length` bytes at {@link used} as the next datagram. */
  push(length: number, host: string, port: number, local = 0): void {
    const i = this.count++;
    this.offset[i] = this.used;
    this.length[i] = length;
    this.host[i] = host;
    this.port[i] = port;
    this.local[i] = local;
    this.used += length;
  }

  /** Takes the datagram out that has the byte at `at` of the arena, if one has. The others stay where they are. */
  dropAt(at: number): void {
    let kept = 0;
    for (let i = 0; i < this.count; i++) {
      if (at >= this.offset[i] && at < this.offset[i] + this.length[i]) continue;
      this.offset[kept] = this.offset[i];
      this.length[kept] = this.length[i];
      this.host[kept] = this.host[i];
      this.port[kept] = this.port[i];
      kept++;
    }
    this.count = kept;
  }

  clear(): void {
    this.used = 0;
    this.count = 0;
  }
}

const EMPTY = new Uint8Array(0);
