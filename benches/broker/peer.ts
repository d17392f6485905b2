import { jsp, jspWorkers } from '../peers/jsp.ts';
import { nats } from '../peers/nats.ts';

/** A broker with its client: what the broker benchmarks measure, and measure it against. */
export interface BrokerPeer {
  readonly name: string;
  /**
   * Starts a broker in a process of its own. Throws with what to install when there is none.
   *
   * @param store - an empty folder, where it keeps messages, each on the disk before it is acknowledged; without one nothing is kept on a disk
   */
  startBroker(store?: string): Promise<RunningBroker>;
  connect(address: string): Promise<BrokerConnection>;
}

/** The part of one that stores messages. */
export interface StorePeer {
  readonly name: string;
  startBroker(store: string): Promise<RunningBroker>;
  connect(address: string): Promise<StoreConnection>;
}

export interface RunningBroker {
  /** For {@link BrokerPeer.connect}, also in another process. */
  readonly address: string;
  readonly pid: number;
  stop(): Promise<void>;
}

export interface StoreConnection {
  /** Resolves when the broker has stored the message, on the disk where it has a folder. `topic` is one of {@link STORED_TOPICS}. */
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

/** What topics begin with whose messages a broker with a folder stores, whoever is subscribed. */
export const STORED_TOPICS = 'stored.';

export const PEERS: readonly BrokerPeer[] = [jsp, nats, ...jspWorkers];
/** Those that are measured where nobody says otherwise. */
export const USUAL_PEERS: readonly BrokerPeer[] = [jsp, nats];

export function peerNamed(name: string): BrokerPeer {
  const peer = PEERS.find((candidate) => candidate.name === name);
  if (peer === undefined)
    throw new RangeError(`no peer ${name}; there are ${PEERS.map((p) => p.name).join(', ')}`);
  return peer;
}
