/** Where the callers of a gateway are connected to: a broker in this process, or one elsewhere. */

import type { Broker } from '../broker/index.ts';
import type { ConnectionFacts, MessageConnection } from '../pubsub/message-stream.ts';
import { type ConnectOptions, connect } from '../transport/connect.ts';
import { localPair, Turns } from './local-connection.ts';

export interface Backend {
  /** Why the last attempt to connect has failed; null: it has not. */
  readonly failure: string | null;
  /** A connection to the broker, which knows no more of it than `facts` until the caller says HELLO on it. Rejects when there is none to be had. */
  connect(facts: ConnectionFacts): Promise<MessageConnection>;
  /** Gives up what is under way, and connects nobody any more. The connections that it has made are their owners'. */
  close(): Promise<void>;
}

/** A broker in this process: a connection costs two objects and no packet. */
export class LocalBackend implements Backend {
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

  async close(): Promise<void> {}
}

/** A broker elsewhere, by its URLs: each caller has a connection of the transport of his own. */
export class RemoteBackend implements Backend {
  private readonly urls: readonly string[];
  private readonly options: ConnectOptions;
  private readonly closing = new AbortController();
  /** The URL that worked last, or is next to be tried. */
  private next = 0;
  private lastFailure: string | null = null;

  constructor(urls: readonly string[], options: ConnectOptions = {}) {
    this.urls = urls;
    this.options = options;
  }

  get failure(): string | null {
    return this.lastFailure;
  }

  /** What the broker knows of it is this process: facts stay here. */
  async connect(): Promise<MessageConnection> {
    const { signal } = this.closing;
    let failure: unknown;
    for (let tried = 0; tried < this.urls.length; tried++) {
      try {
        const connection = await connect(this.urls[this.next % this.urls.length], {
          ...this.options,
          signal,
        });
        this.lastFailure = null;
        return connection;
      } catch (error) {
        failure = error;
        this.lastFailure = (error as Error).message;
        this.next++;
      }
    }
    throw failure;
  }

  async close(): Promise<void> {
    this.closing.abort();
  }
}
