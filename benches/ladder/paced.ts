/** The two sides of a rung: a sender that never has more under way than its receiver's buffer takes, and a receiver that counts. */

import type { Counts, Receiver, Sender, Target } from '../../src/bench/workload.ts';
import { type ReceiveBatch, TransmitBatch } from '../../src/protocol/datagram/index.ts';
import type { DatagramSocket } from '../../src/udp/datagram-socket.ts';
import type { FeedbackReader, FeedbackWriter, PacketReader, PacketWriter } from './packets.ts';

/**
 * Sends as fast as the receiver's feedback lets it: at most `window` datagrams are under way, so that none is lost for want of
 * buffer. A datagram that is lost all the same is not sent again.
 */
export class PacedSender implements Sender {
  readonly latencies = null;
  private readonly socket: DatagramSocket;
  private readonly target: Target;
  private readonly writer: PacketWriter;
  private readonly feedback: FeedbackReader;
  private readonly window: number;
  private readonly batch: TransmitBatch;
  private readonly sent: Counts = { messages: 0, bytes: 0, packets: 0 };
  private next = 0;
  private acknowledged = 0;
  private running = false;
  private blocked = false;
  private turnIsDue = false;
  private stallTimer: NodeJS.Timeout | null = null;
  private acknowledgedBefore = 0;

  constructor(
    socket: DatagramSocket,
    target: Target,
    writer: PacketWriter,
    feedback: FeedbackReader,
    window: number,
  ) {
    this.socket = socket;
    this.target = target;
    this.writer = writer;
    this.feedback = feedback;
    this.window = window;
    const datagramsMax = Math.max(
      1,
      Math.min(BATCH_DATAGRAMS, Math.floor(BATCH_BYTES / writer.packetBytesMax)),
    );
    this.batch = new TransmitBatch(datagramsMax * writer.packetBytesMax, datagramsMax);
    socket.onBatch = (batch) => this.onFeedback(batch);
    socket.onWritable = () => {
      this.blocked = false;
      this.turn();
    };
  }

  start(): void {
    this.running = true;
    this.stallTimer = setInterval(() => this.unstall(), STALL_MS);
    this.turn();
  }

  stop(): void {
    this.running = false;
    if (this.stallTimer !== null) clearInterval(this.stallTimer);
  }

  counts(): Counts {
    return this.sent;
  }

  async close(): Promise<void> {
    this.stop();
    await this.socket.close();
  }

  private readonly onTurn = (): void => {
    this.turnIsDue = false;
    this.turn();
  };

  /** One batch, then the event loop gets to see feedback. */
  private turn(): void {
    if (!this.running || this.blocked) return;
    this.fill();
    if (this.batch.count === 0) return;
    this.blocked = !this.socket.send(this.batch);
    if (this.blocked || this.turnIsDue) return;
    this.turnIsDue = true;
    setImmediate(this.onTurn);
  }

  private fill(): void {
    const { batch, sent, target, writer } = this;
    const last = this.acknowledged + this.window;
    batch.clear();
    while (this.next < last && batch.hasRoom(writer.packetBytesMax)) {
      const end = writer.write(batch.arena, batch.used, this.next++);
      batch.push(end - batch.used, target.host, target.port);
    }
    writer.finish(batch.arena);
    sent.packets += batch.count;
    sent.messages += batch.count * writer.messagesPerPacket;
    sent.bytes += batch.count * writer.messagesPerPacket * writer.messageBytes;
  }

  private onFeedback(batch: ReceiveBatch): void {
    this.feedback.begin(batch);
    for (let i = 0; i < batch.count; i++) {
      const next = this.feedback.read(batch.data[i], i);
      if (next > this.acknowledged && next <= this.next) this.acknowledged = next;
    }
    if (!this.turnIsDue) this.turn();
  }

  /** When the tail of a window, or its feedback, was lost: nothing would ever come. */
  private unstall(): void {
    if (this.acknowledged === this.acknowledgedBefore) this.acknowledged = this.next;
    this.acknowledgedBefore = this.acknowledged;
    if (!this.turnIsDue) this.turn();
  }
}

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
    this.reader.begin(batch);
    for (let i = 0; i < batch.count; i++) {
      const number = this.reader.read(batch.data[i], i);
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

/** As the stack's: a batch fits the cache that a core has for itself. */
const BATCH_DATAGRAMS = 192;
const BATCH_BYTES = 256 * 1024;
const STALL_MS = 200;
const FEEDBACK_BYTES_MAX = 512;
const FEEDBACKS_MAX = 64;
