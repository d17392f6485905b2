import { EventEmitter } from 'node:events';
import { performance } from 'node:perf_hooks';
import { chosenOptions } from '../base/options.ts';
import { COMMAND_BYTES_MAX, Command } from '../pubsub/command.ts';
import { encodePlain } from '../pubsub/command-writer.ts';
import type { MessageConnection, StreamPriority } from '../pubsub/message-stream.ts';
import { assertFilter } from '../pubsub/topic.ts';
import { CONNECT_OPTIONS, type ConnectOptions, connect } from '../transport/connect.ts';
import { CommandStream, closedError } from './command-stream.ts';
import { Publisher } from './publisher.ts';
import { type MessageHandler, type SubscribeOptions, Subscription } from './subscription.ts';
import { TopicTexts } from './topic-texts.ts';

export interface BrokerClientOptions extends ConnectOptions {
  /** Class of the stream that carries what this client publishes. Default `chat`. */
  publishPriority?: StreamPriority | undefined;
}

/** A connection of the transport, as a client uses it. */
export interface ClientConnection extends MessageConnection {
  /** Closes when everything sent has arrived, or at once when `signal` fires. */
  close(options?: { signal?: AbortSignal | undefined }): Promise<unknown>;
}

interface BrokerClientEvents {
  /** After a publish that answered false: go on. */
  drain: [];
  /** The connection is over; `error` is null when this side closed it. */
  close: [error: Error | null];
}

/**
 * A client of a broker: publishes and subscribes over one connection.
 *
 * @example
 * await using client = await BrokerClient.connect(url);
 * await client.subscribe('chat/#', (message) => console.log(message.topic, message.text()));
 * client.publish('chat/hall', 'hello');
 * await client.flush();
 */
export class BrokerClient extends EventEmitter<BrokerClientEvents> {
  /** Resolves when the connection is over, with the error that ended it or null. */
  readonly closed: Promise<Error | null>;
  private readonly connection: ClientConnection;
  private readonly publishPriority: StreamPriority;
  private readonly subscriptions = new Set<Subscription>();
  private readonly topics = new TopicTexts();
  private publisher: Publisher | null = null;
  private pings: CommandStream | null = null;
  private failure: Error | null = null;
  private closing: Promise<void> | null = null;

  private constructor(connection: ClientConnection, options: BrokerClientOptions) {
    super();
    this.connection = connection;
    this.publishPriority = options.publishPriority ?? 'chat';
    this.closed = new Promise((resolve) => {
      connection.on('close', (error) => {
        this.failure = error ?? closedError();
        resolve(error);
        this.emit('close', error);
      });
    });
  }

  /**
   * Connects to a broker.
   *
   * @param target - its URL, `jsp://<fingerprint>@host:port`, or a connection to it, which the client takes over and closes
   * @throws {JspError} as `connect` of the transport does
   */
  static async connect(
    target: string | ClientConnection,
    options: BrokerClientOptions = {},
  ): Promise<BrokerClient> {
    if (typeof target !== 'string') return new BrokerClient(target, options);
    const connection = await connect(target, {
      messageBytesMax: COMMAND_BYTES_MAX,
      connectionWindowBytes: WINDOW_BYTES,
      ...chosenOptions<ConnectOptions>(options, CONNECT_OPTIONS),
    });
    return new BrokerClient(connection, options);
  }

  /**
   * Publishes with QoS 0: delivered to every subscription that matches, unless the connection breaks; {@link flush} tells.
   *
   * @param payload - copied; a string is sent as UTF-8
   * @returns false when enough is queued: wait for `drain`, or {@link drained}
   * @throws {JspError} `ERR_JSP_TOPIC_INVALID`; `ERR_JSP_MESSAGE_TOO_LARGE`; `ERR_JSP_CLOSED`, or the error that ended the connection
   */
  publish(topic: string, payload: Uint8Array | string): boolean {
    return (this.publisher ?? this.openPublisher()).publish(topic, payload);
  }

  /** Resolves when {@link publish} may go on; at once when it never had to stop. Rejects when the connection ends. */
  drained(options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    if (this.failure !== null) return Promise.reject(this.failure);
    if (this.publisher === null || !this.publisher.full) return Promise.resolve();
    return this.publisher.drained(options.signal);
  }

  /**
   * Resolves when the broker has handed everything published so far to the queues of its subscribers. Where a queue is full that
   * takes until its subscriber has read: do not await it between messages of a subscription that this client's publishes feed.
   */
  async flush(options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    await (this.publisher ?? this.openPublisher()).flush(options.signal);
  }

  /**
   * Subscribes to one filter, or to several that share one queue and give a message once. Resolves when the broker has
   * acknowledged; it delivers what it takes from then on.
   *
   * @param handler - called with each message; without one, iterate over the subscription
   * @throws {JspError} `ERR_JSP_FILTER_INVALID`; `ERR_JSP_BROKER` when the broker refuses; `ERR_JSP_ABORTED`; `ERR_JSP_CLOSED`
   */
  subscribe(filter: string | readonly string[], options?: SubscribeOptions): Promise<Subscription>;
  subscribe(
    filter: string | readonly string[],
    handler: MessageHandler,
    options?: SubscribeOptions,
  ): Promise<Subscription>;
  async subscribe(
    filter: string | readonly string[],
    second?: MessageHandler | SubscribeOptions,
    third: SubscribeOptions = {},
  ): Promise<Subscription> {
    const handler = typeof second === 'function' ? second : null;
    const options = typeof second === 'object' ? second : third;
    const filters = typeof filter === 'string' ? [filter] : [...new Set(filter)];
    if (filters.length === 0) throw new RangeError('filter must not be an empty list');
    filters.forEach(assertFilter);
    this.assertOpen();
    const forget = (closed: Subscription) => this.subscriptions.delete(closed);
    const subscription = new Subscription(this.connection, filters, handler, options, this.topics, forget);
    this.subscriptions.add(subscription);
    await subscription.confirm(options);
    return subscription;
  }

  /** One round trip to the broker, in ms. */
  async ping(options: { signal?: AbortSignal | undefined } = {}): Promise<number> {
    this.assertOpen();
    this.pings ??= new CommandStream(this.connection, 'system', {
      onDrain: () => {},
      onDelivery: () => {},
      onClosed: () => {
        this.pings = null;
      },
    });
    const start = performance.now();
    await this.pings.request((id) => encodePlain(Command.PING, id), options.signal);
    return performance.now() - start;
  }

  /**
   * Ends the subscriptions, waits until the broker has everything that was published, and closes the connection. Resolves in any case
   * when the connection is over; an abort of `signal` closes it at once.
   *
   * @throws what ended the connection before the broker had everything
   */
  close(options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    this.closing ??= this.finish(options.signal);
    return this.closing;
  }

  /** Closes at once; what is on its way may be lost. */
  destroy(): void {
    this.connection.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private async finish(signal: AbortSignal | undefined): Promise<void> {
    for (const subscription of this.subscriptions) subscription.close();
    try {
      if (this.publisher !== null) await this.publisher.flush(signal);
      if (this.failure === null) await this.connection.close(signal === undefined ? {} : { signal });
    } finally {
      this.connection.destroy();
    }
  }

  private openPublisher(): Publisher {
    this.assertOpen();
    this.publisher = new Publisher(this.connection, this.publishPriority, () => this.emit('drain'));
    return this.publisher;
  }

  private assertOpen(): void {
    if (this.failure !== null) throw this.failure;
    if (this.closing !== null) throw closedError();
  }
}

/** Room for the windows of many subscriptions that are not read, so that they leave the answers to requests their own. [BRK-22] */
const WINDOW_BYTES = 1024 * 1024 * 1024;
