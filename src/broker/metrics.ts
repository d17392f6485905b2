/** What a broker has done since it began, and what it holds now. */
export interface BrokerMetrics {
  /** Connected clients. */
  clients: number;
  /** Streams the clients have open. */
  streams: number;
  /** Filters, counted once for each stream that holds them. */
  subscriptions: number;
  /** Different filters. */
  filters: number;
  /** Messages and payload-with-header bytes taken from publishers. */
  messagesIn: number;
  bytesIn: number;
  /** Messages and bytes handed to the subscribers' transports. */
  messagesOut: number;
  bytesOut: number;
  /** Messages that no filter matched. */
  messagesUnrouted: number;
  /** Messages dropped by subscriptions that asked for it. */
  droppedOldest: number;
  droppedNewest: number;
  /** Messages not sent to a subscriber because they are above the largest message that it takes. */
  droppedTooLarge: number;
  /** Messages discarded with the queues of streams that went away. */
  discarded: number;
  /** How often a publishing stream was stopped by a full queue. */
  publisherStops: number;
  /** Publishing streams that are stopped now. */
  publishersStopped: number;
  /** Messages, and their charged bytes, waiting in all queues now. */
  queuedMessages: number;
  queuedBytes: number;
  /** What {@link queuedBytes} may be at most, over all clients. */
  queuedBytesMax: number;
  /** Bytes that the transports of all clients hold and have not sent yet. */
  transportBytes: number;
  /** Streams that the broker has opened to subscribers, for what must not wait behind other messages. */
  lanes: number;
  /** Requests refused, and connections closed for what their client sent. */
  requestsRefused: number;
  clientsFailed: number;
  /** Subscriptions given up because nobody read them. */
  subscriptionsStalled: number;
  /** Connections closed because of a fault of the broker itself. */
  internalErrors: number;
}

/** The counters of {@link BrokerMetrics} that only grow; one object that all parts of a core share. */
export class BrokerCounters {
  messagesIn = 0;
  bytesIn = 0;
  messagesOut = 0;
  bytesOut = 0;
  messagesUnrouted = 0;
  droppedOldest = 0;
  droppedNewest = 0;
  droppedTooLarge = 0;
  discarded = 0;
  publisherStops = 0;
  requestsRefused = 0;
  clientsFailed = 0;
  subscriptionsStalled = 0;
  internalErrors = 0;
}
