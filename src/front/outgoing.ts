import { TransmitBatch } from '../protocol/datagram/index.ts';
import type { DatagramSocket } from '../udp/datagram-socket.ts';

/** What goes out of one socket of a front: collected into batches, and dropped where the socket holds too many already. [FRT-17] */
export class Outgoing {
  /** Datagrams that were dropped because the socket did not take them. */
  dropped = 0;
  private readonly socket: DatagramSocket;
  private batch: TransmitBatch | null = new TransmitBatch();
  private held = 0;

  constructor(socket: DatagramSocket) {
    this.socket = socket;
    socket.onWritable = () => {
      this.held = 0;
    };
  }

  /** The bytes as one datagram, behind `header` if there is one; `local` as the socket numbers its own addresses. */
  push(header: Uint8Array | null, bytes: Uint8Array, host: string, port: number, local = 0): void {
    const headerBytes = header === null ? 0 : header.length;
    const length = headerBytes + bytes.length;
    if (this.batch?.hasRoom(length) === false) this.flush();
    this.batch ??= this.held < HELD_MAX ? new TransmitBatch() : null;
    const { batch } = this;
    if (batch === null || length > DATAGRAM_BYTES_MAX) {
      this.dropped++;
      return;
    }
    if (header !== null) batch.arena.set(header, batch.used);
    batch.arena.set(bytes, batch.used + headerBytes);
    batch.push(length, host, port, local);
  }

  /** Sends what was collected. A batch that the socket holds is left to it. */
  flush(): void {
    const { batch } = this;
    if (batch === null || batch.count === 0) return;
    if (this.socket.send(batch)) return batch.clear();
    this.held++;
    this.batch = null;
  }
}

/** Batches that a socket may hold. */
const HELD_MAX = 4;
/** The largest that UDP carries. */
const DATAGRAM_BYTES_MAX = 65_507;
