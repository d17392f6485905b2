/**
 * What comes out of the broker's core: effects, which its driver carries out, and figures. The core calls nothing of the world outside; it reads a few
 * facts of streams and connections, and says what is to happen to them.
 */

import { NO_BYTES } from '../../base/bytes.ts';
import { Ring } from '../../base/ring.ts';
import type { ConnectionFacts } from '../../pubsub/message-stream.ts';
import type { AuthQuestion, Principal } from './access/principal.ts';

/** A stream of a client, as its transport tells of it. */
export interface Link {
  /** The stream's number, by which the client knows it, too. */
  readonly id: number;
  /** The stream's class: its place in the list of priorities. */
  readonly priority: number;
  /** The largest message that the client takes. */
  readonly messageBytesMax: number;
  /** Bytes that it takes before it says enough, as far as that is known. */
  readonly roomBytes: number;
  /** Bytes in the transport that have not left yet. */
  readonly queuedBytes: number;
}

/** A client's connection, as its transport tells of it. */
export interface Peer {
  /** Streams that can be opened to the client without waiting until it allows more. */
  readonly openableStreams: number;
  /** Without: nothing is known of it. */
  readonly facts?: ConnectionFacts;
}

/** What is to be done. */
export const Action = {
  /** Give the transport `bytes` as one message, which it may keep, with `value` ms to live (0: for ever); what it answers goes to `BrokerCore.sent`. */
  SEND: 0,
  /** From `value` unsent bytes on the transport is to say enough. */
  LIMIT: 1,
  /** Stop reading: the client's messages stay in the transport, whose flow control then stops the client. */
  PAUSE: 2,
  RESUME: 3,
  /** Finish the broker's direction; what was sent is still delivered. */
  END: 4,
  /** Give both directions up, with the reason code `value`. */
  RESET: 5,
  /** Open the stream to the client, and tell `BrokerCore.laneOpened`. */
  OPEN: 6,
  /** Close the client's connection at once, with the reason code `value`. */
  CLOSE: 7,
  /** As SEND, but the message is not sent again when it is lost. */
  SEND_BEST_EFFORT: 8,
  /** Find out who the client is, as the {@link AuthQuestion} `subject` asks, and tell `Admission.decide`. */
  AUTHENTICATE: 9,
  /** Keep the {@link AuditRecord} `subject`. */
  AUDIT: 10,
  /** Answer the {@link AdminRequest} `subject` by `Administration.answer`. */
  ADMINISTER: 11,
  /** Read anew who clients are and what they may do, as another node of the cluster has. */
  READ_ACCESS: 12,
} as const;
export type Action = (typeof Action)[keyof typeof Action];

/** What an operator wants to have a trace of. [BRK-123] */
export type AuditEvent =
  | 'authenticated'
  | 'refused'
  | 'renewed'
  | 'expired'
  | 'revoked'
  | 'denied'
  | 'limited'
  | 'takeover'
  | 'kicked'
  | 'administered';

export interface AuditRecord {
  /** Wall clock, ms. */
  readonly at: number;
  readonly what: AuditEvent;
  /** Whom it is about; empty: nobody in particular. */
  readonly principal: string;
  readonly address: string;
  readonly door: string;
  readonly detail: string;
}

/** A request of somebody who may make it. */
export interface AdminRequest {
  /** By which the answer names it. */
  readonly number: number;
  readonly verb: string;
  readonly payload: Uint8Array;
  readonly principal: Principal | null;
  readonly address: string;
}

/** One thing to be done. It is used again for another as soon as the next is asked for. */
export class Effect<Channel, Client> {
  action: Action = Action.SEND;
  /** The stream; null when it is about a connection. */
  channel: Channel | null = null;
  /** The connection; null when it is about a stream. */
  client: Client | null = null;
  bytes: Uint8Array = NO_BYTES;
  value = 0;
  /** What is seldom done is about an object of its own. */
  subject: AuthQuestion | AuditRecord | AdminRequest | null = null;
}

/** Effects in the order in which they are to be carried out, and streams that may have more to send when those are. */
export class Output<Channel, Client> {
  private readonly effects: Effect<Channel, Client>[] = [];
  private count = 0;
  private taken = 0;
  private readonly woken = new Ring<Channel>();

  send(channel: Channel, bytes: Uint8Array, action: Action = Action.SEND, lifetimeMs = 0): void {
    const effect = this.next(action, channel);
    effect.bytes = bytes;
    effect.value = lifetimeMs;
  }

  /** Something without bytes to a stream. */
  act(action: Action, channel: Channel, value = 0): void {
    this.next(action, channel).value = value;
  }

  close(client: Client, code: number): void {
    const effect = this.next(Action.CLOSE, null);
    effect.client = client;
    effect.value = code;
  }

  ask(client: Client, question: AuthQuestion): void {
    const effect = this.next(Action.AUTHENTICATE, null);
    effect.client = client;
    effect.subject = question;
  }

  audit(record: AuditRecord): void {
    this.next(Action.AUDIT, null).subject = record;
  }

  administer(request: AdminRequest): void {
    this.next(Action.ADMINISTER, null).subject = request;
  }

  readAccessAnew(): void {
    this.next(Action.READ_ACCESS, null);
  }

  /** The next effect, or null when all were taken. */
  poll(): Effect<Channel, Client> | null {
    if (this.taken < this.count) return this.effects[this.taken++];
    if (this.count > 0) this.clear();
    return null;
  }

  /** `channel` is to look, when all effects were taken, whether something that is queued for it may go out. */
  wake(channel: Channel): void {
    this.woken.push(channel);
  }

  /** The stream that was woken first. */
  get firstWoken(): Channel | undefined {
    return this.woken.peek();
  }

  dropFirstWoken(): void {
    this.woken.shift();
  }

  private next(action: Action, channel: Channel | null): Effect<Channel, Client> {
    if (this.count === this.effects.length) this.effects.push(new Effect());
    const effect = this.effects[this.count++];
    effect.action = action;
    effect.channel = channel;
    return effect;
  }

  /** Keeps the effects, but nothing that they were about. */
  private clear(): void {
    const { effects } = this;
    for (let i = 0; i < this.count; i++) {
      effects[i].channel = null;
      effects[i].client = null;
      effects[i].bytes = NO_BYTES;
      effects[i].subject = null;
    }
    this.count = 0;
    this.taken = 0;
    if (effects.length > EFFECTS_KEPT) effects.length = EFFECTS_KEPT;
  }
}

/** What only grows; one object that all parts of a core share. */
export class BrokerCounters {
  /** Messages and payload-with-header bytes taken from publishers. */
  messagesIn = 0;
  bytesIn = 0;
  /** Messages and bytes handed to the subscribers' transports. */
  messagesOut = 0;
  bytesOut = 0;
  /** Messages that no filter matched. */
  messagesUnrouted = 0;
  /** Messages that their publishers may not publish, and deliveries that their subscribers may not have. */
  publishesDenied = 0;
  /** Messages that came faster than their publishers may publish: they waited, or were refused. */
  publishesLimited = 0;
  deliveriesWithheld = 0;
  /** Messages of QoS 1 that came again, and that were refused; and messages given to logs. */
  duplicates = 0;
  publishesRefused = 0;
  messagesStored = 0;
  /** Requests that nobody was there to answer. */
  requestsUnanswered = 0;
  /** Messages dropped by subscriptions that asked for it. */
  droppedOldest = 0;
  droppedNewest = 0;
  /** Messages whose place in a queue a newer one of their topic has taken. */
  superseded = 0;
  /** Messages whose time to live was over before they could be sent, counted for each queue. */
  droppedExpired = 0;
  /** Messages that a log did not keep until a subscription had read them. */
  droppedByRetention = 0;
  /** Messages that subscriptions of QoS 1 were given again, and that were given up: stored as dead letters, or dropped where there is no topic for those. */
  redelivered = 0;
  deadLetters = 0;
  rejected = 0;
  /** Durable subscriptions that were over because nobody held them for too long, and those that another stream has taken over. */
  durablesExpired = 0;
  durablesTaken = 0;
  /** Messages not sent to a subscriber because they are above the largest message that it takes. */
  droppedTooLarge = 0;
  /** Compressed messages not sent to a subscriber because it does not open them. */
  droppedCompressed = 0;
  /** Messages discarded with the queues of streams that went away. */
  discarded = 0;
  /** How often a publishing stream was stopped by a full queue. */
  publisherStops = 0;
  /** Requests refused, and connections closed for what their client sent. */
  requestsRefused = 0;
  clientsFailed = 0;
  /** Subscriptions given up because nobody read them. */
  subscriptionsStalled = 0;
  /** Messages that were to be kept as the last values of their topics, for which there was no room. */
  retainedRefused = 0;
  /** Connections closed because another one has taken their session over. */
  sessionsTaken = 0;
  /** Connections closed because of a fault of the broker itself. */
  internalErrors = 0;
}

/** What there is now of what comes and goes, kept up to date by whoever makes it come and go, so that nobody has to walk over all clients to know. */
export class BrokerLevels {
  /** Streams that clients have open, without the lanes; and these. */
  streams = 0;
  lanes = 0;
  subscriptions = 0;
  publishersStopped = 0;
  transportBytes = 0;
}

/** What a broker has done since it began, and what it holds now. */
export interface BrokerMetrics extends BrokerCounters {
  /** Connected clients. */
  clients: number;
  /** Sessions with a name, those of clients that are away now, and those that were over because their client was away for too long. */
  sessions: number;
  sessionsAway: number;
  sessionsExpired: number;
  /** Last values of topics, and the bytes that they take. */
  retainedMessages: number;
  retainedBytes: number;
  /** Wills that were published. */
  willsPublished: number;
  /** Streams the clients have open. */
  streams: number;
  /** Filters, counted once for each stream that holds them. */
  subscriptions: number;
  /** Different filters. */
  filters: number;
  /** Publishing streams that are stopped now. */
  publishersStopped: number;
  /** Messages, and their charged bytes, waiting in all queues now. */
  queuedMessages: number;
  queuedBytes: number;
  /** What {@link queuedBytes} may be at most, over all clients. */
  queuedBytesMax: number;
  /** Bytes that the transports of all clients hold and have not sent yet, as far as each was asked: once a second, and when it was full. */
  transportBytes: number;
  /** Durable subscriptions and shared groups that are kept, whether anybody holds them or not. */
  durables: number;
  /** Messages of logs that were delivered and are not settled. */
  unsettledMessages: number;
  /** Streams that the broker has opened to subscribers, for what must not wait behind other messages. */
  lanes: number;
  /** What this broker makes of what the other nodes of its cluster send; null: it is alone. */
  cluster: ClusterFigures | null;
}

export interface ClusterFigures {
  /** Live messages that did not come, messages of any kind that were malformed, and subscriptions that were answered before messages of other nodes came. */
  missed: number;
  invalid: number;
  lateSubscriptions: number;
  /** Sessions, durable subscriptions and shared groups that this node has, and nobody else; how many it has given to nodes that asked for them; and how many were taken from it, or given up because it was cut off. */
  claims: number;
  handedOver: number;
  lost: number;
}

/** Effects that are kept to be used again: those of a message for so many subscribers. */
const EFFECTS_KEPT = 4_096;
