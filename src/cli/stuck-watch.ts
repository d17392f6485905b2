import { JspError } from '../base/errors.ts';
import type { BrokerClient } from '../client/broker-client.ts';
import { note } from './terminal.ts';

/**
 * Watches whether what a client publishes gets on: it says what it waits for when nothing has moved for a while, and gives up when nothing
 * has for `limitMs`.
 */
export class StuckWatch {
  /** Rejects with `ERR_JSP_CLOSE_INCOMPLETE` when nothing has moved for too long; otherwise it stays as it is. */
  readonly stuck: Promise<never>;
  private readonly client: BrokerClient;
  private readonly limitMs: number;
  private readonly timer: NodeJS.Timeout;
  private reject: (error: Error) => void = () => {};
  private seen = '';
  private movedAt = performance.now();
  private told = false;

  constructor(client: BrokerClient, limitMs: number) {
    this.client = client;
    this.limitMs = limitMs;
    this.stuck = new Promise((_, reject) => {
      this.reject = reject;
    });
    this.stuck.catch(() => {}); // whoever waits hears of it
    this.timer = setInterval(() => this.look(), Math.min(LOOK_MS, limitMs / 4));
  }

  stop(): void {
    clearInterval(this.timer);
  }

  private look(): void {
    const { unconfirmed, queuedBytes } = this.client;
    const now = performance.now();
    const seen = `${unconfirmed} ${queuedBytes}`;
    if (unconfirmed === 0 || seen !== this.seen) {
      this.seen = seen;
      this.movedAt = now;
      this.told = false;
    } else if (now - this.movedAt >= this.limitMs) {
      this.stop();
      this.reject(
        new JspError(
          'ERR_JSP_CLOSE_INCOMPLETE',
          `gave up after ${this.limitMs / 1_000} s without progress: ${waitsFor(unconfirmed)}`,
        ),
      );
    } else if (!this.told && now - this.movedAt >= TELL_MS) {
      this.told = true;
      note(`waiting: ${waitsFor(unconfirmed)}`);
    }
  }
}

function waitsFor(messages: number): string {
  const which = messages === 1 ? '1 message' : `${messages} messages`;
  return `the broker has not taken ${which}; a subscriber whose queue is full does not read, or the broker is out of reach`;
}

const LOOK_MS = 250;
const TELL_MS = 2_000;
