import { EventEmitter } from 'node:events';
import type { JspError } from '../base/errors.ts';
import { chosenOptions } from '../base/options.ts';
import { BrokerCode, brokerCodeName } from '../pubsub/broker-code.ts';
import { COMMAND_BYTES_MAX } from '../pubsub/command.ts';
import type { EndpointCounters } from '../trace/counters.ts';
import { LISTEN_OPTIONS, type Listener, type ListenOptions, listen } from '../transport/listen.ts';
import type { BrokerLimits } from './core.ts';
import type { BrokerMetrics } from './metrics.ts';
import { BrokerService } from './service.ts';

export interface BrokerOptions extends ListenOptions, BrokerLimits {}

interface BrokerEvents {
  /** The socket failed for good (`ERR_JSP_SOCKET`): all clients are gone, and `close` follows. Not thrown when nobody listens for it. */
  error: [error: JspError];
  /** The broker is over, for whatever reason; {@link Broker.closed} says which. */
  close: [];
}

/**
 * A broker that listens. It asks for no credentials: whoever knows its URL may publish and subscribe.
 *
 * Ends by {@link close}, by the `signal` of its options, or by a socket that fails for good. [BRK-37]
 *
 * @example
 * await using broker = await Broker.listen({ identity: generateIdentity(), port: 0 });
 * console.log(broker.url);
 */
export class Broker extends EventEmitter<BrokerEvents> {
  /** What clients connect to: `jsp://<fingerprint>@host:port`. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Resolves when the broker is over: with the error of a socket that failed for good (`ERR_JSP_SOCKET`), else with null. */
  readonly closed: Promise<JspError | null>;
  private readonly listener: Listener;
  private readonly service: BrokerService;
  private closing: Promise<void> | null = null;
  private failure: JspError | null = null;
  private over = false;
  private resolveClosed: (error: JspError | null) => void = () => {};

  private constructor(listener: Listener, limits: BrokerLimits) {
    super();
    this.closed = new Promise((resolve) => {
      this.resolveClosed = resolve;
    });
    this.listener = listener;
    this.url = listener.url;
    this.host = listener.host;
    this.port = listener.port;
    this.service = new BrokerService(limits);
    listener.on('connection', (connection) => this.service.serve(connection));
    listener.on('error', (error) => this.fail(error));
    listener.on('close', () => this.finish());
  }

  /**
   * Resolves when clients can connect.
   *
   * @throws {JspError} as `listen` of the transport does
   */
  static async listen(options: BrokerOptions): Promise<Broker> {
    const listener = await listen({
      streamsMax: STREAMS_MAX,
      messageBytesMax: COMMAND_BYTES_MAX,
      ...chosenOptions<ListenOptions>(options, LISTEN_OPTIONS),
      host: options.host ?? '127.0.0.1', // [BRK-36]
    });
    return new Broker(listener, options);
  }

  metrics(): BrokerMetrics & { transport: Readonly<EndpointCounters> } {
    return { ...this.service.metrics(), transport: this.listener.metrics() };
  }

  /**
   * Reads no more publishers, delivers what is queued, tells the clients, and closes. [BRK-35]
   *
   * Also of use after a failure, which {@link closed} tells, not this.
   *
   * @param options.drainMs - closes all the same after so long; default 5,000
   */
  close(options: { drainMs?: number | undefined } = {}): Promise<void> {
    this.closing ??= this.drainAndClose(options.drainMs ?? DRAIN_MS);
    return this.closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private async drainAndClose(drainMs: number): Promise<void> {
    const end = performance.now() + drainMs;
    await this.service.drain(drainMs);
    const code = BrokerCode.SHUTTING_DOWN;
    const timeoutMs = Math.max(0, end - performance.now());
    try {
      await this.listener.close({ code, reason: brokerCodeName(code), timeoutMs });
    } catch (error) {
      if (this.failure === null) throw error; // a failed socket was told of already
    }
  }

  private fail(error: JspError): void {
    this.failure = error;
    this.listener.close().catch(() => this.finish()); // a failed socket may not even close
    if (this.listenerCount('error') > 0) this.emit('error', error);
  }

  private finish(): void {
    if (this.over) return;
    this.over = true;
    this.resolveClosed(this.failure);
    this.emit('close');
  }
}

/** Streams a client may have open at once: one for each filter it may hold, and some. */
const STREAMS_MAX = 1_040;
const DRAIN_MS = 5_000;
