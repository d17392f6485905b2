import { jsp, jspWorkers } from '../peers/jsp.ts';
import { nats } from '../peers/nats.ts';

/** A broker with its client: what the broker benchmarks measure, and measure it against. */
export interface BrokerPeer {
  readonly name: string;
  /**
   * Starts a broker in a process of its own. Throws with what to install when there is none.
   *
   * @param store - without one nothing is kept on a disk
   */
  startBroker(store?: Store): Promise<RunningBroker>;
  connect(address: string): Promise<BrokerConnection>;
}

/** The part of one that stores messages. */
export interface StorePeer {
  readonly name: string;
  startBroker(store: Store): Promise<RunningBroker>;
  connect(address: string): Promise<StoreConnection>;
}

/** Where a broker has messages on the disk before it acknowledges them. */
export interface Store {
  /** An empty folder. */
  readonly directory: string;
  /** Whose messages are stored, whoever is subscribed. */
  readonly topic: string;
}

export interface RunningBroker {
  /** For {@link BrokerPeer.connect}, also in another process. */
  readonly address: string;
  readonly pid: number;
  stop(): Promise<void>;
}

export interface StoreConnection {
  /** Resolves when the broker has stored the message. `topic` is that of its {@link Store}. */
  publishStored(topic: string, payload: Uint8Array): Promise<unknown>;
  close(): Promise<void>;
}

export interface BrokerConnection extends StoreConnection {
  /** Delivers at most once, like NATS and QoS 0. */
  publish(topic: string, payload: Uint8Array): void;
  /** Publishes as fast as the broker takes it, each peer by its own means, until the process ends. */
  flood(topic: string, payload: Uint8Array): Promise<never>;
  /** Resolves when the broker takes messages for it. */
  subscribe(topic: string, onMessage: (payload: Uint8Array) => void): Promise<void>;
  /** Answers requests to `topic` with what they are. Resolves when the broker takes requests for it. */
  answer(topic: string): Promise<void>;
  /** Resolves when a request was answered. */
  ask(topic: string, payload: Uint8Array): Promise<unknown>;
  /** Resolves when the broker has all that was published. */
  flush(): Promise<void>;
}

export const PEERS: readonly BrokerPeer[] = [jsp, nats, ...jspWorkers];
/** Those that are measured where nobody says otherwise. */
export const USUAL_PEERS: readonly BrokerPeer[] = [jsp, nats];

export function peerNamed(name: string): BrokerPeer {
  const peer = PEERS.find((candidate) => candidate.name === name);
  if (peer === undefined)
    throw new RangeError(`no peer ${name}; there are ${PEERS.map((p) => p.name).join(', ')}`);
  return peer;
}
