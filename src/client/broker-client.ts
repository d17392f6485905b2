/**
 * A client of a broker as its application sees it: how its connection lives and ends, and the requests that it makes. What it publishes is in
 * publishing.ts, what it subscribes to in subscription.ts.
 */

import { performance } from 'node:perf_hooks';
import { JspError } from '../base/errors.ts';
import { checkOptions, chosenOptions, number, type OptionTable, oneOf, whole } from '../base/options.ts';
import {
  COMMAND_BYTES_MAX,
  Command,
  DROPPED_BYTES,
  encodePlain,
  LANES_MAX,
  ReasonCode,
  STREAM_LABEL,
} from '../pubsub/command.ts';
import {
  type MessageConnection,
  type MessageStream,
  STREAM_PRIORITIES,
  type StreamPriority,
} from '../pubsub/message-stream.ts';
import { assertFilter } from '../pubsub/topic.ts';
import { abortSignal, onAbort } from '../transport/abort.ts';
import { CONNECT_OPTIONS, type ConnectOptions, connect } from '../transport/connect.ts';
import { type AppState, CLOSE_STALL_MS, type NetworkType } from '../transport/connection.ts';
import { IsolatedEmitter } from '../transport/listeners.ts';
import { laidOver, withProfile } from '../transport/options.ts';
import { TIMEOUT_MS_MAX } from '../udp/clock.ts';
import { CommandStream, closedError, openCommandStream } from './command-stream.ts';
import { ClientCompression, type UnopenedMessage } from './compression.ts';
import { ProgressWatch, Publishing, type PublishOptions } from './publishing.ts';
import {
  type MessageHandler,
  type MissedReason,
  OpenSubscription,
  SUBSCRIBE_OPTIONS,
  type SubscribeOptions,
  type Subscription,
  TopicTexts,
} from './subscription.ts';

/**
 * Those of a connection. `compression` compresses payloads rather than what goes over the connection: once for all subscribers, unopened by the broker. A
 * dictionary is used without being agreed, so give it to subscribers first; those that do not have it hear of each such message in the event `unopened`. Where
 * only a profile asks for compression, it is that of the connection.
 */
export interface BrokerClientOptions extends ConnectOptions {
  /** Class of what this client publishes, where a publish names none. Default `chat`. */
  publishPriority?: StreamPriority | undefined;
}

/** For whatever waits for the broker. */
export interface WaitOptions {
  signal?: AbortSignal | undefined;
}

export interface ClientCloseOptions {
  /** How long to wait at most until the broker has everything, in ms. Default: as long as it gets on. A later call can only shorten it. */
  timeoutMs?: number | undefined;
  /** How long to wait while nothing gets on, in ms. Default 10,000. A later call can only shorten it. */
  stallMs?: number | undefined;
  /** Closes at once when it fires. */
  signal?: AbortSignal | undefined;
}

/** A connection of the transport, as a client uses it. */
export interface ClientConnection extends MessageConnection {
  /** Closes when everything sent has arrived, or when nothing has got on for `stallMs`. */
  close(options?: { stallMs?: number | undefined }): Promise<unknown>;
  /** Lets the process end although the connection is open, and the opposite. */
  unref?(): unknown;
  ref?(): unknown;
  /** What is known of the machine and the application that the connection belongs to. */
  setNetworkType?(type: NetworkType): unknown;
  setAppState?(state: AppState): unknown;
}

interface BrokerClientEvents {
  /** After a publish that answered false: go on. */
  drain: [];
  /**
   * The connection is over; `error` is null when this side closed it, else a {@link JspError} with the `applicationCode` and `reason` of a broker
   * that closed it. `unconfirmed` is how many published messages it may not have.
   */
  close: [error: JspError | null, unconfirmed: number];
  /** Messages for a subscription are missing here: they are above this client's `messageBytesMax`, or compressed while the subscription takes none of those. */
  missed: [subscription: Subscription, count: number, reason: MissedReason];
  /** A message came compressed and could not be opened; whoever subscribed does not get it. */
  unopened: [subscription: Subscription, message: UnopenedMessage];
  /** The broker gave a subscription up; the connection goes on. */
  lost: [subscription: Subscription, error: Error];
}

/**
 * Connects to a broker.
 *
 * @param target - its URL, `jsp://<fingerprint>@host:port`, or a connection to it, which the client takes over and closes
 * @throws {JspError} as `connect` of the transport does
 */
export async function connectClient(
  target: string | ClientConnection,
  options: BrokerClientOptions = {},
): Promise<BrokerClient> {
  checkOptions('connectClient', options, CLIENT_OPTIONS);
  if (typeof target !== 'string') return clientOver(target, options);
  const defaults = { messageBytesMax: COMMAND_BYTES_MAX, connectionWindowBytes: WINDOW_BYTES };
  const chosen: ConnectOptions = chosenOptions<ConnectOptions>(options, CONNECT_OPTIONS);
  // Payloads are compressed, by the client; what a profile says of it is of the connection.
  if (options.compression !== undefined) chosen.compression = false;
  const connection = await connect(target, laidOver(defaults, withProfile(chosen)));
  return clientOver(connection, options);
}

/** The constructor of {@link BrokerClient}, which is nobody else's. */
let clientOver: (connection: ClientConnection, options: BrokerClientOptions) => BrokerClient;

/**
 * A client of a broker: publishes and subscribes over one connection.
 *
 * @example
 * await using client = await connectClient(url);
 * await client.subscribe('chat/#', (message) => console.log(message.topic, message.text()));
 * client.publish('chat/hall', 'hello');
 * await client.flush();
 */
export class BrokerClient extends IsolatedEmitter<BrokerClientEvents> {
  /** Resolves when the connection is over, with the error that ended it or null. */
  readonly closed: Promise<JspError | null>;
  private readonly connection: ClientConnection;
  /** The broker may open as many streams as it may want to. [BRK-39] */
  private readonly takesLanes: boolean;
  /** By the number of their stream. */
  private readonly subscriptions = new Map<number, OpenSubscription>();
  private readonly topics = new TopicTexts();
  private readonly compression: ClientCompression;
  private readonly publishing: Publishing;
  private pings: CommandStream | null = null;
  private failure: Error | null = null;
  private closing: Goodbye | null = null;

  static {
    clientOver = (connection, options) => new BrokerClient(connection, options);
  }

  private constructor(connection: ClientConnection, options: BrokerClientOptions) {
    super();
    this.connection = connection;
    this.compression = new ClientCompression(options, options.messageBytesMax ?? COMMAND_BYTES_MAX);
    this.publishing = new Publishing(connection, options.publishPriority ?? 'chat', this.compression, () =>
      this.tell('drain'),
    );
    this.takesLanes = (options.streamsMax ?? LANES_MAX) >= LANES_MAX;
    this.closed = new Promise((resolve) => {
      connection.on('close', (error) => {
        const { unconfirmed } = this;
        const reason = error === null ? null : withUnconfirmed(error, unconfirmed);
        this.failure = reason ?? closedError();
        this.publishing.fail(this.failure);
        resolve(reason);
        this.tell('close', reason, unconfirmed);
      });
    });
    connection.on('stream', (stream) => this.onStream(stream));
  }

  /**
   * Publishes with QoS 0: delivered to every subscription that matches, unless the connection breaks; {@link flush} tells.
   *
   * @param payload - copied; a string is sent as UTF-8
   * @returns false when more than 1 MiB is queued: wait for `drain`, or {@link drained}. A loop that does not is stopped by ERR_JSP_QUEUE_FULL
   * at 64 MiB
   * @throws {JspError} `ERR_JSP_TOPIC_INVALID`; `ERR_JSP_MESSAGE_TOO_LARGE`; `ERR_JSP_QUEUE_FULL`; `ERR_JSP_CLOSED`, or the error that ended
   * the connection
   */
  publish(topic: string, payload: Uint8Array | string, options?: PublishOptions): boolean {
    if (this.failure !== null || this.closing !== null) this.assertOpen();
    return this.publishing.publish(topic, payload, options);
  }

  /** How many published messages the broker has not confirmed to have. After the end of the connection: which it may not have got. */
  get unconfirmed(): number {
    return this.publishing.unconfirmed;
  }

  /** Bytes that were published and have not left yet. */
  get queuedBytes(): number {
    return this.publishing.queuedBytes;
  }

  /** Resolves when {@link publish} may go on; at once when it never had to stop. Rejects when the connection ends. */
  drained(options: WaitOptions = {}): Promise<void> {
    checkOptions('drained', options, WAIT_OPTIONS);
    if (this.failure !== null) return Promise.reject(this.failure);
    return this.publishing.drained(options.signal);
  }

  /**
   * Resolves when the broker has handed everything published so far to the queues of its subscribers. Where a queue is full that
   * takes until its subscriber has read: do not await it between messages of a subscription that this client's publishes feed.
   */
  async flush(options: WaitOptions = {}): Promise<void> {
    checkOptions('flush', options, WAIT_OPTIONS);
    this.assertOpen();
    await this.publishing.flush(options.signal);
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
    const options = handler === null && second !== undefined ? (second as SubscribeOptions) : third;
    checkOptions('subscribe', options, SUBSCRIBE_OPTIONS);
    const filters = Array.isArray(filter) ? [...new Set<string>(filter)] : [filter as string];
    if (filters.length === 0) throw new RangeError('filter must not be an empty list');
    filters.forEach(assertFilter);
    this.assertOpen();
    const reading = { topics: this.topics, inflater: this.compression.inflaterFor(options.compression) };
    const subscription = new OpenSubscription(this.connection, filters, handler, options, reading, {
      onClosed: (over, error) => {
        this.subscriptions.delete(over.streamId);
        if (error !== null) this.tellLost(over, error);
      },
      onMissed: (of, count, reason) => void this.tell('missed', of, count, reason),
      onUnopened: (of, message) => void this.tell('unopened', of, message),
    });
    this.subscriptions.set(subscription.streamId, subscription);
    await subscription.confirm(options, this.takesLanes);
    return subscription;
  }

  /** One round trip to the broker, in ms. */
  async ping(options: WaitOptions = {}): Promise<number> {
    checkOptions('ping', options, WAIT_OPTIONS);
    this.assertOpen();
    this.pings ??= new CommandStream(this.connection, openCommandStream(this.connection, 'system'), {
      onClosed: () => {
        this.pings = null;
      },
    });
    const start = performance.now();
    await this.pings.request((id) => encodePlain(Command.PING, id), options.signal);
    return performance.now() - start;
  }

  /**
   * Ends the subscriptions, waits until the broker has everything that was published, and closes the connection. Resolves or rejects when the
   * connection is over. An abort of `signal` closes it at once, as a later call with `timeoutMs: 0` does.
   *
   * @throws {JspError} `ERR_JSP_CLOSE_INCOMPLETE` when the time is over first, or nothing gets on: it says what was waited for; what ended the connection before
   * the broker had everything
   */
  close(options: ClientCloseOptions = {}): Promise<void> {
    checkOptions('BrokerClient.close', options, CLIENT_CLOSE_OPTIONS);
    if (this.closing === null) {
      for (const subscription of this.subscriptions.values()) subscription.close();
      this.closing = new Goodbye(this.connection, this.publishing, () => this.failure);
    }
    const { closing } = this;
    closing.shorten(
      options.signal?.aborted ? 0 : (options.timeoutMs ?? Number.POSITIVE_INFINITY),
      options.stallMs ?? CLOSE_STALL_MS,
    );
    const forget = onAbort(options.signal, () => closing.shorten(0));
    return closing.done.finally(forget);
  }

  /** Tells what this machine is connected by, whenever it changes: as `setNetworkType` of the transport's connection. */
  setNetworkType(type: NetworkType): void {
    this.connection.setNetworkType?.(type);
  }

  /** Tells whether somebody looks at the application, whenever it changes: as `setAppState` of the transport's connection. */
  setAppState(state: AppState): void {
    this.connection.setAppState?.(state);
  }

  /** Lets the process end although the connection is open. */
  unref(): this {
    this.connection.unref?.();
    return this;
  }

  /** Undoes {@link unref}: the open connection keeps the process alive, as it does by default. */
  ref(): this {
    this.connection.ref?.();
    return this;
  }

  /** Closes at once; what is on its way may be lost. */
  destroy(): void {
    this.connection.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** A stream that the broker has opened: its first command says for which subscription. [BRK-39] */
  private onStream(stream: MessageStream): void {
    if (stream.label !== STREAM_LABEL || !stream.ordered || stream.delivery !== 'reliable') {
      stream.on('error', () => {});
      stream.reset(ReasonCode.UNKNOWN_PROTOCOL);
      return;
    }
    const lane: CommandStream = new CommandStream(this.connection, stream, {
      onLane: (id) => {
        const subscription = this.subscriptions.get(id);
        if (subscription === undefined) lane.reset();
        else subscription.addLane(lane);
      },
      onClosed: () => {},
    });
  }

  private tellLost(subscription: Subscription, error: Error): void {
    // A connection that is over tells of itself.
    queueMicrotask(() => {
      if (this.failure === null) this.tell('lost', subscription, error);
    });
  }

  private assertOpen(): void {
    if (this.failure !== null) throw this.failure;
    if (this.closing !== null) throw closedError();
  }
}

/** A close that is under way: waits until the broker has everything, as long as that gets on and there is time. */
class Goodbye {
  readonly done: Promise<void>;
  private readonly connection: ClientConnection;
  private readonly publishing: Publishing;
  private readonly failureOf: () => Error | null;
  /** When it is over at the latest. */
  private endsAt = Number.POSITIVE_INFINITY;
  private stallMs = Number.POSITIVE_INFINITY;
  private timer: NodeJS.Timeout | undefined;
  private wasCut = false;
  /** What it has not done, when it was cut. */
  private incomplete: JspError | null = null;

  /** @param failureOf - what has ended the connection; null as long as it is open */
  constructor(connection: ClientConnection, publishing: Publishing, failureOf: () => Error | null) {
    this.connection = connection;
    this.publishing = publishing;
    this.failureOf = failureOf;
    this.done = this.finish();
  }

  /** Sees to it that it is over after so long, or when nothing has got on for so long. */
  shorten(timeoutMs: number, stallMs = Number.POSITIVE_INFINITY): void {
    this.stallMs = Math.min(this.stallMs, stallMs);
    const endsAt = performance.now() + timeoutMs;
    if (endsAt >= this.endsAt) return;
    this.endsAt = endsAt;
    clearTimeout(this.timer);
    if (timeoutMs <= 0) this.cutShort();
    else this.timer = setTimeout(() => this.cutShort(), Math.min(timeoutMs, TIMEOUT_MS_MAX));
  }

  private async finish(): Promise<void> {
    const watch = new ProgressWatch(this.publishing, PROGRESS_MS, (stillMs) => {
      if (stillMs >= this.stallMs && this.publishing.unconfirmed > 0) this.cutShort();
    });
    try {
      await this.publishing.flushUnconfirmed();
      if (this.failureOf() === null) await this.connection.close({ stallMs: this.stallMs });
    } catch (error) {
      // The end of the connection says what it has cost. Where that is nothing, the broker has everything, however the connection ended.
      if (!this.wasCut && this.publishing.unconfirmed > 0) throw this.failureOf() ?? error;
    } finally {
      watch.stop();
      clearTimeout(this.timer);
      this.connection.destroy();
    }
    if (this.incomplete !== null) throw this.incomplete;
  }

  private cutShort(): void {
    const { unconfirmed } = this.publishing;
    if (this.failureOf() !== null) return;
    this.wasCut = true;
    if (unconfirmed > 0) {
      this.incomplete = new JspError(
        'ERR_JSP_CLOSE_INCOMPLETE',
        `closed before the broker had taken ${counted(unconfirmed)}: it waits for subscribers whose queues are full, or the way to it is slow; give close() more timeoutMs or stallMs`,
      );
    }
    this.connection.destroy();
  }
}

function counted(messages: number): string {
  return messages === 1 ? '1 published message' : `${messages} published messages`;
}

/** The same error, with what it may have cost. A connection of somebody else's may tell of its end in its own way. */
function withUnconfirmed(error: Error, unconfirmed: number): JspError {
  const { code, applicationCode, reason } =
    error instanceof JspError
      ? error
      : { code: 'ERR_JSP_CLOSED' as const, applicationCode: undefined, reason: undefined };
  if (unconfirmed === 0 && error instanceof JspError) return error;
  const cost = unconfirmed === 0 ? '' : `. The broker has not confirmed ${counted(unconfirmed)}.`;
  return new JspError(code, `${error.message}${cost}`, { applicationCode, reason, cause: error });
}

const CLIENT_OPTIONS: OptionTable<BrokerClientOptions> = {
  ...CONNECT_OPTIONS,
  // In a smaller one the broker's answers would not fit, and whoever waits for them would wait for ever.
  messageBytesMax: whole(DROPPED_BYTES, Number.MAX_SAFE_INTEGER),
  publishPriority: oneOf(STREAM_PRIORITIES),
};
const WAIT_OPTIONS: OptionTable<WaitOptions> = { signal: abortSignal };
const CLIENT_CLOSE_OPTIONS: OptionTable<ClientCloseOptions> = {
  timeoutMs: number(0, Number.POSITIVE_INFINITY),
  stallMs: number(0, Number.POSITIVE_INFINITY),
  signal: abortSignal,
};

/** Room for the windows of many subscriptions that are not read, so that they leave the answers to requests their own. [BRK-22] */
const WINDOW_BYTES = 1024 * 1024 * 1024;
const PROGRESS_MS = 100;
