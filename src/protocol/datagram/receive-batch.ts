/** Datagrams as they came from a socket. The endpoint opens them in place and may keep views of their bytes. */
import { NO_BYTES } from '../../base/bytes.ts';
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
    for (let i = 0; i < this.count; i++) this.data[i] = NO_BYTES;
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
