import { BrokerCode, brokerCodeName } from '../pubsub/broker-code.ts';
import { STREAM_LABEL } from '../pubsub/command.ts';
import type { MessageConnection, MessageStream } from '../pubsub/message-stream.ts';
import { BrokerCore, type BrokerLimits } from './core.ts';
import type { BrokerMetrics } from './metrics.ts';
import type { Session } from './session.ts';
import { StreamLink } from './stream-link.ts';

/** A broker for connections that someone else accepts: carries what happens on them to the core. */
export class BrokerService {
  private readonly core: BrokerCore;
  private whenIdle: (() => void) | null = null;
  private draining = false;

  constructor(limits: BrokerLimits = {}) {
    this.core = new BrokerCore(limits);
  }

  /** Takes `connection` over, until it closes. */
  serve(connection: MessageConnection): void {
    if (this.draining) {
      connection.destroy(BrokerCode.SHUTTING_DOWN, brokerCodeName(BrokerCode.SHUTTING_DOWN));
      return;
    }
    const session = this.core.connected({ close: (code, reason) => void connection.destroy(code, reason) });
    connection.on('stream', (stream) => this.serveStream(session, stream));
    connection.on('close', () => {
      this.core.disconnected(session);
      this.checkIdle();
    });
  }

  metrics(): BrokerMetrics {
    return this.core.metrics();
  }

  /**
   * Reads no more publishers, and resolves when everything queued is in the hands of the transport. [BRK-35]
   *
   * @param drainMs - resolves after so long at the latest
   */
  async drain(drainMs: number): Promise<void> {
    this.draining = true;
    this.core.shutDown();
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.whenIdle = resolve;
      timer = setTimeout(resolve, drainMs);
      this.checkIdle();
    });
    clearTimeout(timer);
  }

  private serveStream(session: Session, stream: MessageStream): void {
    if (stream.label !== STREAM_LABEL || !stream.ordered) {
      stream.on('error', ignore);
      stream.reset(BrokerCode.UNKNOWN_PROTOCOL); // [BRK-1]
      return;
    }
    const channel = this.core.opened(session, new StreamLink(stream));
    const ended = () => {
      this.core.ended(channel); // [BRK-5]
      this.checkIdle();
    };
    stream.on('drain', () => {
      this.core.drained(channel);
      this.checkIdle();
    });
    stream.on('end', ended);
    stream.on('close', ended);
    stream.on('error', ended);
    stream.on('message', (message) => this.core.received(channel, message));
  }

  private checkIdle(): void {
    if (this.whenIdle === null || !this.core.idle) return;
    this.whenIdle();
    this.whenIdle = null;
  }
}

function ignore(): void {}
