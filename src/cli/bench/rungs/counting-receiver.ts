import { type ReceiveBatch, TransmitBatch } from '../../../protocol/wire/batch.ts';
import type { DatagramSocket } from '../../../udp/datagram-socket.ts';
import type { Counts, Receiver, Target } from '../workload.ts';
import type { FeedbackWriter, PacketReader } from './packet-format.ts';

/** Reads datagrams, counts what is new, and tells the sender after every `feedbackEvery` of them. */
export class CountingReceiver implements Receiver {
  readonly target: Target;
  private readonly socket: DatagramSocket;
  private readonly reader: PacketReader;
  private readonly feedback: FeedbackWriter;
  private readonly feedbackEvery: number;
  private readonly batch = new TransmitBatch(FEEDBACK_BYTES_MAX * FEEDBACKS_MAX, FEEDBACKS_MAX);
  private sinceFeedback = 0;
  private blocked = false;

  constructor(socket: DatagramSocket, reader: PacketReader, feedback: FeedbackWriter, feedbackEvery: number) {
    this.socket = socket;
    this.reader = reader;
    this.feedback = feedback;
    this.feedbackEvery = feedbackEvery;
    this.target = {
      host: socket.localHost,
      port: socket.localPort,
      receiveBufferBytes: socket.receiveBufferBytes,
    };
    socket.onBatch = (batch) => this.receive(batch);
    socket.onWritable = () => {
      this.blocked = false;
    };
  }

  counts(): Counts {
    return this.reader.counts;
  }

  async close(): Promise<void> {
    await this.socket.close();
  }

  private receive(batch: ReceiveBatch): void {
    for (let i = 0; i < batch.count; i++) {
      const number = this.reader.read(batch.data[i]);
      if (number < 0) continue;
      this.feedback.note(number);
      this.sinceFeedback++;
      if (this.sinceFeedback >= this.feedbackEvery && !this.blocked) this.tell(batch.host[i], batch.port[i]);
    }
    if (this.batch.count === 0) return;
    this.blocked = !this.socket.send(this.batch);
    if (!this.blocked) this.batch.clear();
  }

  private tell(host: string, port: number): void {
    const { batch } = this;
    if (!batch.hasRoom(FEEDBACK_BYTES_MAX)) return;
    this.sinceFeedback = 0;
    const end = this.feedback.write(batch.arena, batch.used);
    batch.push(end - batch.used, host, port);
  }
}

const FEEDBACK_BYTES_MAX = 512;
const FEEDBACKS_MAX = 64;
