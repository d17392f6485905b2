import { performance, type RecordableHistogram } from 'node:perf_hooks';
import { latencyHistogram, recordMicros } from './figures.ts';

/**
 * What a benchmark runs: a sender and a receiver, each in a process of its own. The harness starts both, lets them warm up, and reads
 * their counts; nothing is counted that did not arrive.
 */
export interface Workload {
  readonly name: string;
  /** URL of the module whose export `workloads` holds this workload, for the processes to load: `import.meta.url`. */
  readonly module: string;
  /** What its processes have in their environment beside what there is. */
  readonly environment?: Readonly<Record<string, string>>;
  openReceiver(options: WorkloadOptions): Promise<Receiver>;
  openSender(options: WorkloadOptions, target: Target): Promise<Sender>;
}

export interface WorkloadOptions {
  /** Bytes of a message; 0 for as many as fill a datagram. */
  readonly size: number;
  /** Bytes of the largest datagram, as UDP payload. */
  readonly mtu: number;
  /** What only some workloads know. */
  readonly settings: Readonly<Record<string, string | number | boolean>>;
}

/** Where a receiver is. */
export interface Target {
  readonly host: string;
  readonly port: number;
  /** What the system granted for receiving. */
  readonly receiveBufferBytes: number;
  /** What to connect to, of a receiver that listens with the transport. */
  readonly url?: string;
}

export interface Receiver {
  readonly target: Target;
  counts(): Counts;
  close(): Promise<void>;
}

export interface Sender {
  start(): void;
  stop(): void;
  counts(): Counts;
  /** Round trips, of a workload that measures them: see {@link recordMicros}. */
  readonly latencies: RecordableHistogram | null;
  close(): Promise<void>;
}

/** What a side has sent or received so far. A receiver counts each message once. */
export interface Counts {
  messages: number;
  /** Bytes of messages. */
  bytes: number;
  /** Datagrams, or reads of a stream. */
  packets: number;
}

/** What a message goes over, there and back. */
export interface Link {
  /** Sends one message to the side that sends it back. */
  send(): void;
  /** Datagrams so far, or writes. */
  packetsSent(): number;
  close(): Promise<void>;
}

/** Sends the next message when the last one is back, and records how long that took. */
export class Pinger implements Sender {
  readonly latencies = latencyHistogram();
  private readonly link: Link;
  private readonly messageBytes: number;
  private readonly lossMs: number;
  private messages = 0;
  private running = false;
  private sentAt = 0;
  private lossTimer: NodeJS.Timeout | undefined;

  /** @param lossMs - a message that is not back after so long is lost, and the next one sent; 0 on links that lose nothing */
  constructor(link: Link, messageBytes: number, lossMs = 0) {
    this.link = link;
    this.messageBytes = messageBytes;
    this.lossMs = lossMs;
  }

  start(): void {
    this.running = true;
    if (this.lossMs > 0) {
      this.lossTimer = setInterval(() => {
        if (performance.now() - this.sentAt > this.lossMs) this.ping();
      }, this.lossMs);
    }
    this.ping();
  }

  stop(): void {
    this.running = false;
    clearInterval(this.lossTimer);
  }

  /** The message is back. */
  returned(): void {
    recordMicros(this.latencies, (performance.now() - this.sentAt) * 1_000);
    if (this.running) this.ping();
  }

  counts(): Counts {
    const { messages, messageBytes } = this;
    return { messages, bytes: messages * messageBytes, packets: this.link.packetsSent() };
  }

  async close(): Promise<void> {
    this.stop();
    await this.link.close();
  }

  private ping(): void {
    this.messages++;
    this.sentAt = performance.now();
    this.link.send();
  }
}
