/**
 * What a broker tells those who run it: as JSON in answers to `$sys/admin/<verb>`, and once a second on `$sys/feed`. Everything that shows a broker (the
 * dashboard, `jsp top`, `/metrics`) is made from these. Times are ms; `at` is since 1970; counts are since the broker began, so that rates are differences. [OPS-1]
 */

import type { LinkFigures } from '../../pubsub/message-stream.ts';
import type { ClusterLogFigures } from '../backplane/backplane.ts';

/** Whether it takes messages: all of them; none any more, because it closes; or none that is to be stored, because a log or the state is full or has failed. */
export type BrokerStatus = 'ready' | 'draining' | 'readOnly';

/** A time that many things took, ms, of those in the last second; null where there were none. */
export interface LatencyFigures {
  /** How many were measured: some of all, where there are many. */
  count: number;
  p50: number | null;
  p99: number | null;
  max: number | null;
}

/** What went one way since the start. */
export interface FlowFigures {
  messages: number;
  bytes: number;
}

/** Deliveries that did not happen, by why, since the start. */
export interface DropFigures {
  /** Queues of subscriptions that asked for it: the oldest, or the newest, gave way. */
  oldest: number;
  newest: number;
  /** A newer message of the topic took the place. */
  superseded: number;
  /** The time to live was over. */
  expired: number;
  /** A log did not keep it until it was read. */
  retention: number;
  /** Above the largest message that the subscriber takes. */
  tooLarge: number;
  /** Compressed, and the subscriber does not open that. */
  compressed: number;
  /** Given up by those who could not handle it, without a topic for dead letters. */
  rejected: number;
  /** Went with the queue of a stream that was closed. */
  discarded: number;
  /** The reader may not read it. */
  unauthorized: number;
}

/** A log, now. */
export interface LogFigures {
  name: string;
  /** It outlives the process. */
  durable: boolean;
  epoch: number;
  /** Offsets of the first record that it has, and of the next that comes. */
  earliest: number;
  head: number;
  /** Records below are on the disk. */
  synced: number;
  bytes: number;
  segments: number;
  state: 'open' | 'full' | 'failed' | 'closed' | 'unreachable';
  /** When its oldest record was published; null: it is empty, or that is not known yet. */
  oldestAt: number | null;
  /** When something was stored last; null: never. */
  lastSyncAt: number | null;
  /** What this node has to do with it, where it is a log of a cluster. */
  cluster: ClusterLogFigures | null;
}

/** A broker at a moment. One is published each second on `$sys/feed` while somebody subscribes to it. [OPS-2] */
export interface Snapshot {
  at: number;
  startedAt: number;
  state: BrokerStatus;
  /** Taken from publishers, and handed to the transports of subscribers. */
  in: FlowFigures;
  out: FlowFigures;
  /** In the last second. `deliver`: from taking a message to handing it to a transport; `commit`: from taking it to its being stored; `group`: messages stored by one sync, a number and not ms. */
  latency: { deliver: LatencyFigures; commit: LatencyFigures; group: LatencyFigures };
  /** What waits now: messages, charged bytes and their bound, publishing streams that are stopped, and bytes in transports. */
  queues: { messages: number; bytes: number; bytesMax: number; stopped: number; transportBytes: number };
  drops: DropFigures;
  expired: number;
  deadLetters: number;
  redelivered: number;
  /** Messages that no subscription matched; QoS 1 messages refused; those that came twice; those given to logs. */
  unrouted: number;
  refused: number;
  /** Messages that their publishers may not publish. */
  denied: number;
  duplicates: number;
  stored: number;
  /** Connections closed for what they sent; requests refused; subscriptions that nobody read; faults of the broker itself. */
  clientsFailed: number;
  requestsRefused: number;
  stalled: number;
  internalErrors: number;
  clients: number;
  sessions: number;
  sessionsAway: number;
  subscriptions: number;
  filters: number;
  durables: number;
  unsettled: number;
  retained: { messages: number; bytes: number };
  logs: LogFigures[];
  /** Bytes that the disk of the store has left; null: the store is in memory, or the system does not say. */
  freeBytes: number | null;
  memory: { rss: number; heap: number; heapTotal: number };
  /** Share of a core that the process took in the last second, 0 to 1 and, with threads, above. */
  cpu: number;
  /** How late the event loop was in the last second, ms. */
  loopDelay: { p50: number | null; p99: number | null; max: number | null };
  /** Of the gateway; null: none runs in this process. */
  http: GatewayFigures | null;
  /** Of clients of MQTT, by all ways together; null: there is no such way. */
  mqtt: MqttFigures | null;
  /** Of this broker as a node of its cluster; null: it is alone. */
  cluster: NodeFigures | null;
}

/** Since the broker began, and now. */
export interface NodeFigures {
  /** The engine behind it can be reached; and how often it was again. */
  connected: boolean;
  reconnects: number;
  /** How long it took to store something small, ms. */
  lagMs: number;
  /** Nodes of the cluster, this one among them. */
  nodes: number;
  /** Filters that messages of other nodes come for. */
  interest: number;
  /** Sessions, durable subscriptions and shared groups that this node has, and nobody else; how many it has given to nodes that asked for them; and how many were taken from it, or given up because it was cut off. */
  claims: number;
  handedOver: number;
  lost: number;
  /** Live messages that came from other nodes, and that went to them. */
  in: FlowFigures;
  out: FlowFigures;
  /** Of those: not sent, for the engine could not be reached or did not take them; larger than the engine allows; not come; and malformed. */
  unsent: number;
  tooLarge: number;
  missed: number;
  invalid: number;
  /** Subscriptions that were answered before messages of other nodes came. */
  lateSubscriptions: number;
}

/** A node of the cluster, as it says itself. */
export interface NodeReport {
  node: string;
  /** It is the one that was asked. */
  isAsked: boolean;
  /** Under which clients reach it, the best first. */
  urls: string[];
  version: string;
  startedAt: number;
  clients: number;
  sessions: number;
  claims: number;
  interest: number;
  lagMs: number;
  draining: boolean;
}

/** Answer to `cluster`. */
export interface ClusterReport {
  at: number;
  /** Name of the cluster, and of the node that was asked; null: the broker is alone. */
  cluster: string | null;
  node: string | null;
  figures: NodeFigures | null;
  /** By their names. */
  nodes: NodeReport[];
  logs: LogFigures[];
}

/** Answer to `metrics`: the snapshot, with distributions of all since the start. */
export interface MetricsReport extends Snapshot {
  distributions: { deliver: Distribution; commit: Distribution; group: Distribution };
}

/** How many were not above each bound (ms; of `group`: messages), of all since the start. */
export interface Distribution {
  bounds: number[];
  counts: number[];
  count: number;
  sum: number;
}

/** Since the doors for MQTT were opened, and now. */
export interface MqttFigures {
  /** Clients that are connected, and sockets that are open. */
  connected: number;
  connections: number;
  /** Packets that came and went. */
  packetsIn: number;
  packetsOut: number;
  /** Messages that clients published, and those of them that were not taken. */
  published: number;
  refused: number;
  /** Messages that clients were sent, and those that were larger than a client takes. */
  delivered: number;
  tooLarge: number;
  /** Clients that were not let in, that broke the protocol, and of which nothing was heard for too long. */
  refusedConnects: number;
  protocolErrors: number;
  keepAliveTimeouts: number;
}

/** Since the gateway began, and now. */
export interface GatewayFigures {
  requests: number;
  /** By the first digit of their status: '2xx', '3xx', '4xx', '5xx'. */
  byStatus: { [status: string]: number };
  webSockets: number;
  eventStreams: number;
  /** Requests being answered now. */
  inFlight: number;
  /** Requests that were refused because there was too much to do, by what there was too much of: 'delay', 'requests', 'bytes'. */
  refused: { [excess: string]: number };
}

/** Answer to `status`: what changes seldom. */
export interface StatusReport {
  at: number;
  startedAt: number;
  state: BrokerStatus;
  /** Why it is not ready, a sentence each. */
  reasons: string[];
  version: string;
  node: string;
  url: string;
  pid: number;
  hostname: string;
  /** What the start has found; null: the store is in memory. */
  recovery: RecoveryFigures | null;
  /** Bounds of the broker, by option. */
  limits: { [name: string]: number };
  /** Clients are asked who they are. */
  authenticates: boolean;
}

export interface RecoveryFigures {
  directory: string;
  isNew: boolean;
  wasClosed: boolean;
  durationMs: number;
  bytes: number;
  bytesVerified: number;
  recordsDropped: number;
  findings: string[];
  logs: { name: string; epoch: number; earliest: number; head: number; bytes: number; epochIsNew: boolean }[];
  unused: string[];
}

/** What a page of a list is asked by: which part of it, of what a text is in, in which order. */
export interface ListQuery {
  /** Only what has this text, in whatever case, in a name or an address. */
  search?: string;
  /** Name of a figure; `-` before it: the largest first. */
  sort?: string;
  offset?: number;
  /** At most 1,000; default 100. */
  limit?: number;
}

/** A page of a list. */
export interface Page<T> {
  at: number;
  /** How many there are, and how many match. */
  total: number;
  matched: number;
  items: T[];
}

/** A connected client. */
export interface ClientFigures {
  /** Of this connection; what `kick` takes. */
  id: number;
  /** Name of its session; null: it has none. */
  session: string | null;
  /** Who it is, as authenticated; '' = nobody in particular; and how. */
  principal: string;
  kind: string;
  door: 'native' | 'http' | 'websocket' | 'sse' | 'mqtt';
  address: string;
  connectedAt: number;
  /** Commands since it connected: from it, and to it (answers among them); and how many a second lately. */
  messagesIn: number;
  messagesOut: number;
  rateIn: number;
  rateOut: number;
  subscriptions: number;
  streams: number;
  /** What waits for it; and its publishing streams that are stopped. */
  queuedMessages: number;
  queuedBytes: number;
  transportBytes: number;
  stopped: number;
  /** How it wants its queues to be when they are full, of the subscription that has the most waiting; null: it has none. */
  overflow: 'block' | 'dropOldest' | 'dropNewest' | 'latest' | null;
  /** Deliveries that it has not settled, and when the oldest of them was delivered. */
  unacked: number;
  oldestUnackedAt: number | null;
  /** Null: not a connection of the transport. */
  link: LinkFigures | null;
}

export type { LinkFigures };

export interface SessionFigures {
  name: string;
  state: 'present' | 'away';
  /** Who may take it; '' = nobody in particular. */
  principal: string;
  /** Its connection, where it is present. */
  client: number | null;
  expiryMs: number | null;
  /** When it is over, where it is away. */
  expiresAt: number | null;
  subscriptions: number;
}

/** A durable subscription or shared group. */
export interface DurableFigures {
  name: string;
  log: string;
  subscribers: number;
  /** Offset of the next message that it has not read. */
  position: number;
  /** Messages that it has not settled, and how fast they become more (negative: fewer), a second. */
  lag: number;
  lagChange: number;
  /** Age of the oldest message that it has not read; 0: it has read all; null: not known yet. */
  lagMs: number | null;
  unsettled: number;
  unacked: number;
  /** Deliveries of messages that it had had before, since the broker began. */
  redelivered: number;
  /** When the next of its messages is given again; null: none waits for that. */
  nextRetryAt: number | null;
}

/** Topics that the most messages go to, of late. Sampled: their order is right, their rates are within a few percent. */
export interface TopicFigures {
  topic: string;
  /** Messages and bytes a second. */
  rate: number;
  bytesRate: number;
  subscribers: number;
}

/** A message that was given up. */
export interface DeadLetterFigures {
  /** Where it is now. */
  log: string;
  offset: number;
  topic: string;
  /** Where it was published. */
  originTopic: string;
  originOffset: number;
  /** The broker itself has made it. Anybody can publish what only says that it is a dead letter: such a one is sent back by its offset and with `force` alone. */
  certain: boolean;
  attempts: number;
  reason: string;
  at: number;
  bytes: number;
  /** The first 256 bytes of the payload, base64. */
  preview: string;
}

export interface DeadLetterRequest {
  log?: string;
  topic?: string;
  origin?: string;
  before?: number;
  /** At most 1,000; default 100. */
  limit?: number;
}

/** Answer to `history`: a column for each figure, of up to 15 minutes, for plots. All columns are as long as `at`. [OPS-4] */
export interface History {
  periodMs: number;
  at: number[];
  /** Rates a second: `in`, `out`, `bytesIn`, `bytesOut`, `drops`, `expired`, `deadLetters`, `redelivered`, `refused`; levels: `deliverP50`, `deliverP99`, `commitP50`, `commitP99`, `group`, `queuedMessages`, `queuedBytes`, `stopped`, `clients`, `sessionsAway`, `subscriptions`, `unsettled`, `rss`, `heap`, `cpu`, `loopDelayP99`, `httpRequests`, `webSockets`. */
  columns: { [figure in HistoryFigure]: (number | null)[] };
}

export const HISTORY_FIGURES = [
  'in',
  'out',
  'bytesIn',
  'bytesOut',
  'drops',
  'expired',
  'deadLetters',
  'redelivered',
  'refused',
  'deliverP50',
  'deliverP99',
  'commitP50',
  'commitP99',
  'group',
  'queuedMessages',
  'queuedBytes',
  'stopped',
  'clients',
  'sessionsAway',
  'subscriptions',
  'unsettled',
  'rss',
  'heap',
  'cpu',
  'loopDelayP99',
  'httpRequests',
  'webSockets',
] as const;
export type HistoryFigure = (typeof HISTORY_FIGURES)[number];

/** Something that happened: who came in or was refused, what was changed, what failed. Each is published on `$sys/events`, and the last 1,000 are kept. [OPS-5] */
export interface EventRecord {
  /** Rises by one. */
  number: number;
  at: number;
  /** Such as `authenticated`, `denied`, `kicked`, `limited`, `takeover`, `reload`, `storeFailed`, `draining`. */
  what: string;
  principal: string;
  address: string;
  door: string;
  detail: string;
}

/** Requests on `$sys/admin/<verb>`: what is sent as JSON, and what comes back. A refusal has a status of 400 and above, and a {@link AdminFault}. [OPS-3] */
export interface AdminVerbs {
  status: { request: Record<string, never>; answer: StatusReport };
  metrics: { request: Record<string, never>; answer: MetricsReport };
  history: { request: { seconds?: number }; answer: History };
  events: { request: { after?: number; limit?: number }; answer: { items: EventRecord[] } };
  clients: { request: ListQuery; answer: Page<ClientFigures> };
  sessions: { request: ListQuery; answer: Page<SessionFigures> };
  durables: { request: ListQuery; answer: Page<DurableFigures> };
  logs: {
    request: Record<string, never>;
    answer: { at: number; logs: LogFigures[]; freeBytes: number | null };
  };
  cluster: { request: Record<string, never>; answer: ClusterReport };
  topics: { request: { limit?: number }; answer: { at: number; topics: TopicFigures[] } };
  /** The newest first. `log`: default `default`; `topic` and `origin`: only those on this topic, and from that one; `before`: only those below this offset; `all`: also those that were sent back. */
  'dead-letters': {
    request: DeadLetterRequest & { all?: boolean };
    answer: { at: number; items: DeadLetterFigures[]; next: number | null };
  };
  /** Publishes dead letters again where they were published at first: those at these offsets, or those that a list would show. */
  redrive: {
    request: DeadLetterRequest & { offsets?: number[]; force?: boolean };
    answer: { redriven: number; failed: { offset: number; reason: string }[]; next: number | null };
  };
  /** Closes a connection (KICKED), or whoever has the session. */
  kick: { request: { client?: number; session?: string; reason?: string }; answer: { kicked: number } };
}
export type AdminVerb = keyof AdminVerbs;

/** Why a request of an operator was refused. */
export interface AdminFault {
  /** Stable: `NOT_FOUND`, `BAD_REQUEST`, `NOT_AUTHORIZED`, `UNKNOWN_VERB`, `BUSY`. */
  code: string;
  detail: string;
}
