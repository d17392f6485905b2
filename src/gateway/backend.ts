/** Where the callers of a gateway are connected to: a broker in this process, or one elsewhere. */

import { SECOND } from '../base/time.ts';
import type { Broker } from '../broker/index.ts';
import type { ConnectionFacts, MessageConnection } from '../pubsub/message-stream.ts';
import { type ConnectOptions, connect } from '../transport/connect.ts';
import { type Clock, systemClock } from '../udp/clock.ts';
import { localPair, Turns } from './local-connection.ts';

export interface Backend {
  /** Whether the broker knows the address of a caller, by which it counts those who say nothing of who they are. [BRK-120] */
  readonly tellsAddress: boolean;
  /** Why the last attempt to connect has failed; null: it has not. */
  readonly failure: string | null;
  /** A connection to the broker, which knows no more of it than `facts` until the caller says HELLO on it. Rejects when there is none to be had. */
  connect(facts: ConnectionFacts): Promise<MessageConnection>;
  /** Finds out by itself whether there is one to be had, where nobody has tried just now: `failure` says it then. */
  probe(): Promise<void>;
  /** Gives up what is under way, and connects nobody any more. The connections that it has made are their owners'. */
  close(): Promise<void>;
}

/** A broker in this process: a connection costs two objects and no packet. */
export class LocalBackend implements Backend {
  readonly tellsAddress = true;
  readonly failure = null;
  private readonly broker: Pick<Broker, 'serve'>;
  private readonly turns: Turns;
  private readonly onFault: (error: unknown) => void;

  constructor(broker: Pick<Broker, 'serve'>, onFault: (error: unknown) => void, turns = new Turns()) {
    this.broker = broker;
    this.onFault = onFault;
    this.turns = turns;
  }

  async connect(facts: ConnectionFacts): Promise<MessageConnection> {
    const { turns, onFault } = this;
    const [near, far] = localPair({ facts, turns, onFault });
    this.broker.serve(far);
    return near;
  }

  async probe(): Promise<void> {}

  async close(): Promise<void> {}
}

/** A broker elsewhere, by its URLs: each caller has a connection of the transport of his own. */
export class RemoteBackend implements Backend {
  readonly tellsAddress = false;
  private readonly urls: readonly string[];
  private readonly clock: Clock;
  private readonly options: ConnectOptions;
  private readonly closing = new AbortController();
  /** The URL that worked last, or is next to be tried. */
  private next = 0;
  private lastFailure: string | null = null;
  /** When `lastFailure` was found out. */
  private triedAt = Number.NEGATIVE_INFINITY;
  private probing: Promise<void> | null = null;

  constructor(urls: readonly string[], clock: Clock = systemClock, options: ConnectOptions = {}) {
    this.urls = urls;
    this.clock = clock;
    this.options = options;
  }

  get failure(): string | null {
    return this.lastFailure;
  }

  /** What the broker knows of it is this process: facts stay here. */
  async connect(): Promise<MessageConnection> {
    return await this.connected(null);
  }

  /**
   * Callers alone would not do: those who go by `/readyz` send none while it says no, so that it would never say yes again. [GW-5]
   * However many ask, it is one connection at once, and a second from one to the next.
   */
  async probe(): Promise<void> {
    if (this.clock.now() - this.triedAt < PROBE_EVERY) return;
    this.probing ??= this.connected(PROBE_MS)
      .then(
        (connection) => connection.close(),
        () => {}, // `failure` has it
      )
      .finally(() => {
        this.probing = null;
      });
    await this.probing;
  }

  /** @param timeoutMs - of each URL; null: as long as the transport tries */
  private async connected(timeoutMs: number | null) {
    let failure: unknown;
    for (let tried = 0; tried < this.urls.length; tried++) {
      const timeout = timeoutMs === null ? null : AbortSignal.timeout(timeoutMs);
      const signal = timeout === null ? this.closing.signal : AbortSignal.any([this.closing.signal, timeout]);
      try {
        const connection = await connect(this.urls[this.next % this.urls.length], {
          ...this.options,
          signal,
        });
        this.lastFailure = null;
        this.triedAt = this.clock.now();
        return connection;
      } catch (error) {
        failure = error;
        this.lastFailure =
          timeout?.aborted === true ? `no answer within ${timeoutMs} ms` : (error as Error).message;
        this.triedAt = this.clock.now();
        this.next++;
      }
    }
    throw failure;
  }

  async close(): Promise<void> {
    this.closing.abort();
  }
}

const PROBE_EVERY = SECOND;
/** Less than those who ask for `/readyz` usually wait. */
const PROBE_MS = 2_000;
