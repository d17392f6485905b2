import { BrokerCode, brokerCodeName } from '../pubsub/broker-code.ts';
import { COMMAND_BYTES_MAX } from '../pubsub/command.ts';
import type { EndpointCounters } from '../trace/counters.ts';
import { type Listener, type ListenOptions, listen } from '../transport/listen.ts';
import type { BrokerLimits } from './core.ts';
import type { BrokerMetrics } from './metrics.ts';
import { BrokerService } from './service.ts';

export interface BrokerOptions extends ListenOptions, BrokerLimits {}

/**
 * A broker that listens. It asks for no credentials: whoever knows its URL may publish and subscribe.
 *
 * @example
 * await using broker = await Broker.listen({ identity: generateIdentity(), port: 0 });
 * console.log(broker.url);
 */
export class Broker {
  /** What clients connect to: `jsp://<fingerprint>@host:port`. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  private readonly listener: Listener;
  private readonly service: BrokerService;
  private closing: Promise<void> | null = null;

  private constructor(listener: Listener, limits: BrokerLimits) {
    this.listener = listener;
    this.url = listener.url;
    this.host = listener.host;
    this.port = listener.port;
    this.service = new BrokerService(limits);
    listener.on('connection', (connection) => this.service.serve(connection));
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
      ...options,
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
   * @param options.drainMs - closes all the same after so long; default 5,000
   */
  close(options: { drainMs?: number } = {}): Promise<void> {
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
    await this.listener.close({ code, reason: brokerCodeName(code), timeoutMs });
  }
}

/** Streams a client may have open at once: one for each filter it may hold, and some. */
const STREAMS_MAX = 1_040;
const DRAIN_MS = 5_000;
