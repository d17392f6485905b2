import type { JspError } from '../base/errors.ts';
import { checkOptions, chosenOptions, number, type OptionTable } from '../base/options.ts';
import { COMMAND_BYTES_MAX, ReasonCode, reasonCodeName } from '../pubsub/command.ts';
import { abortSignal, onAbort } from '../transport/abort.ts';
import {
  LISTEN_OPTIONS,
  type Listener,
  type ListenerMetrics,
  type ListenOptions,
  listen,
} from '../transport/listen.ts';
import { IsolatedEmitter } from '../transport/listeners.ts';
import { laidOver, withProfile } from '../transport/options.ts';
import type { BrokerMetrics } from './core/output.ts';
import { BROKER_LIMITS, type BrokerLimits } from './core/state.ts';
import { BrokerService } from './service.ts';

export interface BrokerOptions extends ListenOptions, BrokerLimits {}

export interface BrokerCloseOptions {
  /** Closes all the same after so long, in ms; default 5,000. A later call can only shorten it. */
  drainMs?: number | undefined;
  /** Closes at once when it fires. */
  signal?: AbortSignal | undefined;
}

interface BrokerEvents {
  /** The socket failed for good (`ERR_JSP_SOCKET`): all clients are gone, and `close` follows. Not thrown when nobody listens for it. */
  error: [error: JspError];
  /** The broker is over, for whatever reason; {@link Broker.closed} says which. */
  close: [];
  /** A fault of the broker itself while it acted for one client, whose connection has failed with INTERNAL_ERROR. [BRK-40] */
  fault: [error: unknown];
}

/**
 * Starts a broker. Resolves when clients can connect.
 *
 * @throws {JspError} as `listen` of the transport does
 */
export async function startBroker(options: BrokerOptions): Promise<Broker> {
  checkOptions('startBroker', options, BROKER_OPTIONS);
  const defaults = {
    streamsMax: STREAMS_MAX,
    messageBytesMax: COMMAND_BYTES_MAX,
    host: '127.0.0.1', // [BRK-36] unless it is told, this machine only
  };
  const chosen: ListenOptions = chosenOptions<ListenOptions>(options, LISTEN_OPTIONS);
  const listener = await listen(laidOver(defaults, withProfile(chosen)));
  return brokerOn(listener, options);
}

/** The constructor of {@link Broker}, which is nobody else's. */
let brokerOn: (listener: Listener, options: BrokerOptions) => Broker;

/**
 * A broker that listens. It asks for no credentials: whoever knows its URL may publish and subscribe.
 *
 * Ends by {@link close}, by the `signal` of its options, or by a socket that fails for good. [BRK-37]
 *
 * @example
 * await using broker = await startBroker({ identity: generateIdentity(), port: 0 });
 * console.log(broker.url);
 */
export class Broker extends IsolatedEmitter<BrokerEvents> {
  /** What clients connect to: `jsp://<fingerprint>@host:port`. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Resolves when the broker is over: with the error of a socket that failed for good (`ERR_JSP_SOCKET`), else with null. */
  readonly closed: Promise<JspError | null>;
  private readonly listener: Listener;
  private readonly service: BrokerService;
  private closing: Promise<void> | null = null;
  /** When a close that is under way ends at the latest. */
  private closesAt = Number.POSITIVE_INFINITY;
  private listenerCloses = false;
  private failure: JspError | null = null;
  private over = false;
  private resolveClosed: (error: JspError | null) => void = () => {};

  static {
    brokerOn = (listener, options) => new Broker(listener, options);
  }

  private constructor(listener: Listener, options: BrokerOptions) {
    super();
    this.closed = new Promise((resolve) => {
      this.resolveClosed = resolve;
    });
    this.listener = listener;
    this.url = listener.url;
    this.host = listener.host;
    this.port = listener.port;
    this.service = new BrokerService(options, {
      clock: options.clock,
      onFault: (error) => this.tell('fault', error),
    });
    listener.on('connection', (connection) => this.service.serve(connection));
    listener.on('error', (error) => this.fail(error));
    listener.on('close', () => this.finish());
  }

  metrics(): BrokerMetrics & { transport: ListenerMetrics } {
    return { ...this.service.metrics(), transport: this.listener.metrics() };
  }

  /**
   * Reads no more publishers, delivers what is queued, tells the clients, and closes. [BRK-35] Resolves when they can be expected to have heard
   * of it. Also of use after a failure, which {@link closed} tells, not this.
   */
  close(options: BrokerCloseOptions = {}): Promise<void> {
    checkOptions('Broker.close', options, CLOSE_OPTIONS);
    const drainMs = options.signal?.aborted ? 0 : (options.drainMs ?? DRAIN_MS);
    const closesAt = performance.now() + drainMs;
    if (closesAt < this.closesAt) this.shorten(drainMs, closesAt);
    this.closing ??= this.drainAndClose();
    const forget = onAbort(options.signal, () => this.shorten(0, performance.now()));
    return this.closing.finally(forget);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Keeps the process alive, as it does from the start. */
  ref(): this {
    this.listener.ref();
    return this;
  }

  /** Lets the process end although the broker listens. */
  unref(): this {
    this.listener.unref();
    return this;
  }

  private shorten(drainMs: number, closesAt: number): void {
    this.closesAt = closesAt;
    void this.service.drain(drainMs);
    if (this.listenerCloses) this.closeListener().catch(() => {}); // the first call has the outcome
  }

  private async drainAndClose(): Promise<void> {
    await this.service.drain(Math.max(0, this.closesAt - performance.now()));
    this.listenerCloses = true;
    try {
      await this.closeListener();
    } catch (error) {
      if (this.failure === null) throw error; // a failed socket was told of already
    }
  }

  private closeListener(): Promise<void> {
    const code = ReasonCode.SHUTTING_DOWN;
    const timeoutMs = Math.max(0, this.closesAt - performance.now());
    return this.listener.close({ code, reason: reasonCodeName(code), timeoutMs });
  }

  private fail(error: JspError): void {
    this.failure = error;
    this.listener.close().catch(() => this.finish()); // a failed socket may not even close
    this.tell('error', error);
  }

  private finish(): void {
    if (this.over) return;
    this.over = true;
    this.resolveClosed(this.failure);
    this.tell('close');
  }
}

/** Streams a client may have open at once: one for each filter it may hold, and some. */
const STREAMS_MAX = 1_040;
const DRAIN_MS = 5_000;
const BROKER_OPTIONS: OptionTable<BrokerOptions> = { ...LISTEN_OPTIONS, ...BROKER_LIMITS };
const CLOSE_OPTIONS: OptionTable<BrokerCloseOptions> = {
  drainMs: number(0, Number.POSITIVE_INFINITY),
  signal: abortSignal,
};
