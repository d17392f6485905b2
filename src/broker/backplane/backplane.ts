/** What a broker knows of the engine behind it: its face, what it says of itself and of the other nodes, and what it needs to begin. */

import type { Clock } from '../../udp/clock.ts';
import type { BackplanePort } from '../core/backplane/backplane-port.ts';
import type { LogOptions, StorePort } from '../core/store-port.ts';

/** An engine that runs. */
export interface Backplane {
  readonly port: BackplanePort;
  /** Its name. */
  readonly cluster: string;
  /** The logs and the state of the cluster; null: the broker keeps its own. */
  readonly store: StorePort | null;
  /** The nodes of the cluster, this one among them. */
  readonly members: readonly NodeRecord[];
  /** To be called when {@link port} or {@link store} has news. */
  onNews: () => void;
  /** To be told what this node says of itself, which is asked now and then. */
  describe: () => OwnRecord;
  /** What {@link describe} says has changed by much: the other nodes hear of it now. */
  announce(): void;
  /** To be called with what is wrong, a sentence for people; null: nothing any more. With an error: the broker cannot go on. */
  onTrouble: (trouble: string | null, failure?: Error) => void;
  /** To be called with a fault of the broker itself at something that the engine has brought, which is left out. */
  onFault: (error: unknown) => void;
  metrics(): BackplaneMetrics;
  /** Writes what waits, and leaves the cluster. */
  close(): Promise<void>;
}

export interface BackplaneMetrics extends LiveFigures {
  isConnected: boolean;
  /** How often the engine was reached again. */
  reconnects: number;
  /** Nodes of the cluster, this one among them. */
  nodes: number;
  /** Filters that this node wants messages of other nodes for. */
  interest: number;
  /** How long the engine took to store the last entry of this node, ms. */
  lagMs: number;
  /** Messages to other nodes that could not be sent. */
  nodeMessagesUnsent: number;
  /** The logs of the cluster, as this node has to do with them. */
  logs: readonly ClusterLogFigures[];
}

/** What an engine needs to begin. */
export interface BackplaneSurroundings {
  readonly clock: Clock;
  /** Time of the wall clock, in ms since 1970. */
  readonly wallMs: () => number;
  /** As the broker is configured. */
  readonly logs: readonly LogOptions[];
  /** Of this program. */
  readonly version: string;
}

/** What a node tells the others of itself. */
export interface NodeRecord {
  readonly node: string;
  /** Random, of each run of it. */
  readonly number: number;
  /** Under which clients reach it. */
  readonly urls: readonly string[];
  readonly version: string;
  /** Wall clock, ms: when it began. */
  readonly startedAt: number;
  /** Figures of its last entry. */
  readonly clients: number;
  readonly sessions: number;
  /** Sessions, durable subscriptions and shared groups that it has, and nobody else. */
  readonly claims: number;
  /** Filters that it wants. */
  readonly interest: number;
  /** How long the engine took to store its last entry, ms. */
  readonly lagMs: number;
  readonly draining: boolean;
}

/** What a node says of itself now. */
export type OwnRecord = Pick<NodeRecord, 'urls' | 'clients' | 'sessions' | 'claims' | 'draining'>;

/** What a node has to do with a log of its cluster; counters are since it began. */
export interface ClusterLogFigures {
  readonly name: string;
  /** It takes records: the engine has answered lately. */
  readonly isReachable: boolean;
  /** Records on their way to it, and their bytes. */
  readonly pending: number;
  readonly pendingBytes: number;
  /** Records that were handed over once more, that it had already, and that were refused because it could not be reached. */
  readonly resent: number;
  readonly duplicates: number;
  readonly unreachable: number;
  /** Stretches that were fetched for those who read, and bytes of records that are in memory for them. */
  readonly fetched: number;
  readonly cachedBytes: number;
  /** What was left out: repetitions that it has, and what is no record. */
  readonly repeated: number;
  readonly unreadable: number;
}

/** Counters since it began. */
export interface LiveFigures {
  messagesOut: number;
  bytesOut: number;
  messagesIn: number;
  bytesIn: number;
  /** Not sent: NATS could not be reached, did not take them fast enough, or allows no message so large. */
  unsent: number;
  tooLarge: number;
  /** Of other nodes, that have not come. */
  missed: number;
  /** That came by more than one subscription. */
  duplicates: number;
  /** That were no messages of ours. */
  invalid: number;
}
