import { MILLISECOND } from '../base/time.ts';
import { ReasonCode, reasonCodeName, STREAM_LABEL } from '../pubsub/command.ts';
import { type MessageConnection, type MessageStream, STREAM_PRIORITIES } from '../pubsub/message-stream.ts';
import { type Clock, systemClock } from '../udp/clock.ts';
import type { Channel } from './channel.ts';
import { BrokerCore, type BrokerLimits } from './core.ts';
import type { Link } from './link.ts';
import type { BrokerMetrics } from './metrics.ts';
import type { Session } from './session.ts';
import { StreamLink } from './stream-link.ts';

/** What a {@link BrokerService} needs of its surroundings. */
export interface BrokerSurroundings {
  /** Default: the machine's. */
  readonly clock?: Clock | undefined;
  /** Told of each fault of the broker itself, which has cost one client its connection. */
  readonly onFault?: (error: unknown) => void;
}

/** A broker for connections that someone else accepts: carries what happens on them to the core. */
export class BrokerService {
  private readonly core: BrokerCore;
  private readonly clock: Clock;
  private readonly tickMs: number;
  private connections = 0;
  private ticking = false;
  private drained: Promise<void> | null = null;
  private whenIdle: (() => void) | null = null;
  private draining = false;

  constructor(limits: BrokerLimits = {}, { clock = systemClock, onFault }: BrokerSurroundings = {}) {
    this.core = new BrokerCore(limits, onFault);
    this.clock = clock;
    const { stallMs = 0 } = limits;
    this.tickMs = stallMs > 0 ? Math.min(TICK_MS_MAX, Math.max(1, stallMs / 8)) : TICK_MS_MAX;
  }

  /** Takes `connection` over, until it closes. */
  serve(connection: MessageConnection): void {
    if (this.draining) {
      connection.destroy(ReasonCode.SHUTTING_DOWN, reasonCodeName(ReasonCode.SHUTTING_DOWN));
      return;
    }
    const session: Session = this.core.connected({
      close: (code, reason) => void connection.destroy(code, reason),
      open: (priority, attach) => this.openStream(connection, priority, attach as (link: Link) => Channel),
    });
    this.connections++;
    this.tickLater();
    connection.on('stream', (stream) => this.serveStream(session, stream));
    connection.on('close', () => {
      this.connections--;
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
   * @param drainMs - resolves after so long at the latest; a later call can only shorten that
   */
  drain(drainMs: number): Promise<void> {
    this.draining = true;
    this.core.shutDown();
    this.drained ??= new Promise<void>((resolve) => {
      this.whenIdle = resolve;
    });
    const timer = this.clock.setTimer(this.clock.now() + drainMs * MILLISECOND, () => this.endDrain());
    void this.drained.then(() => this.clock.clearTimer(timer));
    this.checkIdle();
    return this.drained;
  }

  private serveStream(session: Session, stream: MessageStream): void {
    if (stream.label !== STREAM_LABEL || !stream.ordered || stream.delivery !== 'reliable') {
      stream.on('error', ignore);
      stream.reset(ReasonCode.UNKNOWN_PROTOCOL); // [BRK-1]
      return;
    }
    this.carry(this.core.opened(session, new StreamLink(stream)), stream);
  }

  private openStream(
    connection: MessageConnection,
    priority: number,
    attach: (link: Link) => Channel,
  ): boolean {
    if (connection.openableStreams === 0) return false; // what waits for the client to allow it would wait for ever [BRK-39]
    let stream: MessageStream;
    try {
      stream = connection.openStream({
        label: STREAM_LABEL,
        priority: STREAM_PRIORITIES[priority],
        delivery: 'reliable',
        ordered: true,
      });
    } catch {
      return false; // it closes
    }
    this.carry(attach(new StreamLink(stream)), stream);
    return true;
  }

  /** Tells the core what happens on a stream. */
  private carry(channel: Channel, stream: MessageStream): void {
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
    stream.on('message', (message) => {
      if (!stream.hasReceivedBestEffort) this.core.received(channel, message);
      else if (!channel.closed) {
        stream.reset(ReasonCode.UNKNOWN_PROTOCOL); // [BRK-1]
        ended();
      }
    });
  }

  /** Lets time pass in the core as long as there are connections. */
  private tickLater(): void {
    if (this.ticking || this.connections === 0) return;
    this.ticking = true;
    const now = this.clock.now();
    this.clock.setTimer(now + this.tickMs * MILLISECOND, () => {
      this.ticking = false;
      this.core.tick(this.clock.now() / MILLISECOND);
      this.checkIdle();
      this.tickLater();
    });
  }

  private checkIdle(): void {
    if (this.whenIdle !== null && this.core.idle) this.endDrain();
  }

  private endDrain(): void {
    this.whenIdle?.();
    this.whenIdle = null;
  }
}

function ignore(): void {}

const TICK_MS_MAX = 1_000;
