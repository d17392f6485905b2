import { performance } from 'node:perf_hooks';
import { latencyHistogram, recordMicros } from './figures.ts';
import type { Counts, Sender } from './workload.ts';

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
