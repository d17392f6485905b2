/**
 * A client of a broker as its application sees it, in one file because it is one door: behind it are its life (life.ts), what it publishes (outbox.ts), what it
 * subscribes to (subscriptions.ts), and what it asks (requests.ts). One file because it is one class, each call of which is told at length.
 */

import { performance } from 'node:perf_hooks';
import { JspError } from '../base/errors.ts';
import { checkOptions, chosenOptions, number, type OptionTable } from '../base/options.ts';
import { type RandomSource, randomBytes } from '../base/random.ts';
import { COMMAND_BYTES_MAX, Command, encodePlain, LANES_MAX } from '../pubsub/command.ts';
import { type Notice, NoticeCode } from '../pubsub/session-commands.ts';
import { assertFilter, assertTopic } from '../pubsub/topic.ts';
import { Tracing } from '../pubsub/tracing.ts';
import { abortError, abortSignal, unlessAborted } from '../transport/abort.ts';
import { CONNECT_OPTIONS, type ConnectOptions, connect } from '../transport/connect.ts';
import type { AppState, NetworkType } from '../transport/connection.ts';
import { onHint } from '../transport/hints.ts';
import { IsolatedEmitter } from '../transport/listeners.ts';
import { clockOf, laidOver, randomOf, withProfile } from '../transport/options.ts';
import { type Breaker, type BreakerState, breakerOf, circuitOpenError } from './breaker.ts';
import { type BrokerClientEvents, type ClientMetrics, clientNotice } from './client-events.ts';
import { type BrokerClientOptions, CLIENT_OPTIONS } from './client-options.ts';
import { type ClientCloseOptions, Goodbye, withUnconfirmed } from './closing.ts';
import { type Codec, encodeWith } from './codec.ts';
import { closedError, offlineError } from './command-stream.ts';
import { ClientCompression } from './compression.ts';
import { identityOf } from './credentials.ts';
import { type Connect, GivenConnection, UrlDialer } from './dialing.ts';
import { Drain, type DrainOptions } from './draining.ts';
import { Greeter, NAMED_EXPIRY_MS, PASSING_EXPIRY_MS } from './greeting.ts';
import { type ClientState, type Dialer, Life } from './life.ts';
import type { ClientConnection, Link } from './link.ts';
import type { Message, MessageHandler } from './message.ts';
import { Outbox } from './outbox.ts';
import type { PublishOptions } from './publish-options.ts';
import { backoffOf } from './reconnecting.ts';
import { answering, groupFilters, REPLY_OPTIONS, type ReplyHandler, type ReplyOptions } from './replying.ts';
import { REQUEST_OPTIONS, type RequestOptions, Requests } from './requests.ts';
import type { PublishReceipt } from './sequence.ts';
import {
  checkTogether,
  misplacedHandler,
  SUBSCRIBE_OPTIONS,
  type SubscribeOptions,
} from './subscribe-options.ts';
import type { Subscription } from './subscription.ts';
import { Subscriptions } from './subscriptions.ts';
import { undertake } from './undertaking.ts';
import { type Will, WillKeeper } from './will.ts';

/** For whatever waits for the broker. */
export interface WaitOptions {
  signal?: AbortSignal | undefined;
}

/**
 * Connects to a broker. The client comes back by itself when it loses its connection (spec/client.md), unless `reconnect` is false, or it was given a
 * connection rather than a URL, or a `socket`: there is no other like it.
 *
 * @param target - the URL of the broker, `jsp://<fingerprint>@host:port`, or several, which are tried in turn; or a connection to it, which the client takes
 * over and closes
 * @throws {JspError} as `connect` of the transport does; what a first attempt failed with, unless `firstConnect` says otherwise
 */
export async function connectClient(
  target: string | readonly string[] | ClientConnection,
  options: BrokerClientOptions = {},
): Promise<BrokerClient> {
  checkOptions('connectClient', options, CLIENT_OPTIONS);
  const takesLanes = (options.streamsMax ?? LANES_MAX) >= LANES_MAX;
  if (isConnection(target)) {
    const given: BrokerClientOptions = { ...options, reconnect: false, firstConnect: 'reject' };
    const greeter = greeterFor(given);
    return newClient(new GivenConnection(target, greeter, takesLanes), greeter, given);
  }
  return connectClientBy(connect, target, options);
}

/** As {@link connectClient} with URLs, over a transport of the caller's own: one that is simulated. */
export async function connectClientBy(
  connectBy: Connect,
  target: string | readonly string[],
  options: BrokerClientOptions = {},
): Promise<BrokerClient> {
  const takesLanes = (options.streamsMax ?? LANES_MAX) >= LANES_MAX;
  const urls = typeof target === 'string' ? [target] : [...new Set(target)];
  if (urls.length === 0)
    throw new JspError('ERR_JSP_URL_INVALID', 'connectClient: the list of URLs is empty');
  const defaults = { messageBytesMax: COMMAND_BYTES_MAX, connectionWindowBytes: WINDOW_BYTES };
  const { signal: _, ...chosen } = chosenOptions<ConnectOptions>(
    { ...options, identity: options.identity ?? identityOf(options.credentials) },
    CONNECT_OPTIONS,
  );
  // Payloads are compressed, by the client; what a profile says of it is of the connection.
  if (options.compression !== undefined) chosen.compression = false;
  // A socket of the application's is closed with its connection.
  const own: BrokerClientOptions = options.socket === undefined ? options : { ...options, reconnect: false };
  const greeter = greeterFor(own);
  const dialer = new UrlDialer(
    urls,
    laidOver(defaults, withProfile<ConnectOptions>(chosen)),
    greeter,
    takesLanes,
    connectBy,
  );
  return newClient(dialer, greeter, own);
}

/**
 * A client that does not come back, and names no session, needs none beyond its connection; but where it says who it is, one that ends with it, for a broker that knows its
 * clients lets none but a session have an inbox. [BRK-116]
 */
function greeterFor(options: BrokerClientOptions): Greeter {
  const { session, sessionExpiryMs, reconnect, credentials, identity } = options;
  const isPassing = session === undefined;
  const comesBack = reconnect !== false;
  const passingMs = comesBack ? PASSING_EXPIRY_MS : 0;
  const expiryMs = sessionExpiryMs ?? (isPassing ? passingMs : NAMED_EXPIRY_MS);
  const name = session ?? Buffer.from(randomBytes(randomOf(options), NAME_BYTES)).toString('base64url');
  const isSomebody = credentials !== undefined || identity !== undefined;
  return new Greeter(
    isPassing && !comesBack && !isSomebody ? null : { name, expiryMs, isPassing },
    credentials,
    clockOf(options),
  );
}

function isConnection(target: string | readonly string[] | ClientConnection): target is ClientConnection {
  return typeof target !== 'string' && !Array.isArray(target);
}

/** The constructor of {@link BrokerClient}, which is nobody else's. */
let newClient: (dialer: Dialer, greeter: Greeter, options: BrokerClientOptions) => Promise<BrokerClient>;

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
  /** Resolves when the client is over, with the error that ended it or null. */
  readonly closed: Promise<JspError | null>;
  private readonly life: Life;
  private readonly subscriptions: Subscriptions;
  private readonly requests: Requests;
  private readonly will = new WillKeeper((error) => void this.tell('willRefused', error));
  /** Of payloads, where neither a publish nor a subscription has its own. */
  private readonly tracing: Tracing | null;
  private readonly codec: Codec<unknown> | null;
  private readonly compression: ClientCompression;
  private readonly outbox: Outbox;
  private readonly breaker: Breaker | null;
  private readonly device: Device = {};
  private readonly greeter: Greeter;
  /** Ends what tells that the broker may be reached again. */
  private endHints: () => void = () => {};
  private goodbye: Goodbye | null = null;
  private draining: Drain | null = null;
  private resolveClosed: (error: JspError | null) => void = () => {};

  static {
    newClient = async (dialer, greeter, options) => {
      const first = options.firstConnect ?? 'reject';
      const client = new BrokerClient(dialer, greeter, options);
      await client.life.begin(first, options.signal);
      return client;
    };
  }

  private constructor(dialer: Dialer, greeter: Greeter, options: BrokerClientOptions) {
    super();
    this.greeter = greeter;
    this.closed = new Promise((resolve) => {
      this.resolveClosed = resolve;
    });
    this.compression = new ClientCompression(options, options.messageBytesMax ?? COMMAND_BYTES_MAX);
    this.breaker = breakerOf(options.breaker, clockOf(options), (state, reason) =>
      this.onBreaker(state, reason),
    );
    this.outbox = new Outbox(
      options.publishPriority ?? 'chat',
      this.compression,
      options.buffer ?? {},
      this.breaker,
      clockOf(options),
      {
        onDrain: () => void this.tell('drain'),
        onUnpublished: (message, error) => void this.tell('unpublished', message, error),
      },
    );
    const backoff = backoffOf(options.reconnect, dialer.ways, () => fraction(options.random));
    this.life = new Life(dialer, backoff, clockOf(options), {
      onState: (state, reason) => this.onState(state, reason),
      withCost: (reason) => withUnconfirmed(reason, this.outbox.unconfirmed),
    });
    this.life.use({
      online: (link) => {
        const { connection } = link;
        this.endHints();
        link.onNotice = (notice) => this.onNotice(link, notice);
        if (this.device.networkType !== undefined) connection.setNetworkType?.(this.device.networkType);
        if (this.device.appState !== undefined) connection.setAppState?.(this.device.appState);
      },
      offline: () => {
        this.endHints = onHint(clockOf(options), () => this.life.hurry());
      },
      closed: () => this.endHints(),
    });
    this.life.useLast(this.outbox);
    this.codec = options.codec ?? null;
    this.tracing = options.telemetry === undefined ? null : new Tracing(options.telemetry);
    const reading = { codec: this.codec, clock: clockOf(options) };
    this.subscriptions = new Subscriptions(
      this.life,
      this.compression,
      reading,
      (event, ...args) => this.tell(event, ...(args as never)),
      (topic, payload, options) => this.publishBytes(topic, payload, options) !== false,
    );
    this.requests = new Requests(
      this.subscriptions,
      (topic, payload, options) => this.publishBytes(topic, payload, options),
      reading,
      greeter.sessionName,
      randomOf(options),
    );
    this.life.use(this.requests);
    this.life.use(this.will);
  }

  /** What is with its connection: `connecting` before the first, `offline` between two; `draining` and `closed` as asked for, or when it is over. */
  get state(): ClientState {
    return this.life.state;
  }

  /**
   * Publishes a message. With QoS 0 it is delivered to every subscription that matches, unless the connection breaks; {@link flush} tells. With QoS 1 the answer is a
   * promise that resolves when the broker has stored it, once, whatever becomes of the connection meanwhile. A client without a connection keeps what is
   * published until it has one, as its option `buffer` says.
   *
   * A promise that nobody awaits does no harm: what was not published is told by the event `unpublished` as well.
   *
   * @param payload - copied; a string is sent as UTF-8
   * @returns with QoS 0 false when more than 1 MiB is queued, or the buffer is half full: wait for `drain`, or {@link drained}. A loop that does not is stopped by
   * ERR_JSP_QUEUE_FULL at 64 MiB, or ERR_JSP_BUFFER_FULL
   * @throws {JspError} (a promise rejects) `ERR_JSP_TOPIC_INVALID`; `ERR_JSP_OPTION_INVALID`; `ERR_JSP_MESSAGE_TOO_LARGE`; `ERR_JSP_QUEUE_FULL`; `ERR_JSP_BUFFER_FULL`; `ERR_JSP_CLOSED`, or the error
   * that ended the client; with QoS 1 also what the broker refused it for: `ERR_JSP_STORE_FULL`, `ERR_JSP_STORE_FAILED`, `ERR_JSP_NOT_AUTHORIZED`, `ERR_JSP_BROKER`; `ERR_JSP_EXPIRED`;
   * `ERR_JSP_ABORTED`
   */
  publish<T = Uint8Array | string>(
    topic: string,
    payload: T,
    options: PublishOptions<T> & { qos: 1 },
  ): Promise<PublishReceipt>;
  publish<T = Uint8Array | string>(
    topic: string,
    payload: T,
    options?: PublishOptions<T> & { qos?: 0 | undefined },
  ): boolean;
  publish<T = Uint8Array | string>(
    topic: string,
    payload: T,
    options?: PublishOptions<T>,
  ): boolean | Promise<PublishReceipt>;
  publish(topic: string, payload: unknown, options?: PublishOptions): boolean | Promise<PublishReceipt> {
    const { codec: usual, outbox } = this;
    const isPlain = options === undefined && usual === null && this.tracing === null;
    if (isPlain && this.goodbye === null && outbox.isDirect) {
      return outbox.publishNow(topic, payload as Uint8Array | string);
    }
    const codec = options?.codec ?? usual;
    if (codec !== null) return this.publishEncoded(topic, payload, codec, options);
    return this.publishBytes(topic, payload as Uint8Array | string, options);
  }

  /** How many published messages the broker has not confirmed to have. After the end of the connection: which it may not have got. */
  get unconfirmed(): number {
    return this.outbox.unconfirmed;
  }

  /** Bytes that were published and have not left yet. */
  get queuedBytes(): number {
    return this.outbox.queuedBytes;
  }

  /** Resolves when {@link publish} may go on; at once when it never had to stop. Rejects when the connection ends. */
  drained(options: WaitOptions = {}): Promise<void> {
    return undertake(
      () => checkOptions('drained', options, WAIT_OPTIONS),
      async () => {
        if (this.life.failure !== null) throw this.life.failure;
        await this.outbox.drained(options.signal);
      },
    );
  }

  /**
   * Resolves when the broker has handed everything published so far to the queues of its subscribers. Where a queue is full that
   * takes until its subscriber has read: do not await it between messages of a subscription that this client's publishes feed.
   */
  flush(options: WaitOptions = {}): Promise<void> {
    return undertake(
      () => checkOptions('flush', options, WAIT_OPTIONS),
      async () => {
        this.assertOpen();
        await this.outbox.flush(options.signal);
      },
    );
  }

  /**
   * Subscribes to one filter, or to several that share one queue and give a message once. Resolves when the broker has
   * acknowledged; it delivers what it takes from then on. A client that is offline asks when it is back.
   *
   * @param filter - `$share/<group>/<filter>`: each message goes to one of those that share the group
   * @param handler - called with each message; without one, iterate over the subscription
   * @throws {JspError} `ERR_JSP_FILTER_INVALID`; `ERR_JSP_BROKER` when the broker refuses; `ERR_JSP_ABORTED`; `ERR_JSP_CLOSED`
   */
  subscribe<T = unknown>(
    filter: string | readonly string[],
    options?: SubscribeOptions<T>,
  ): Promise<Subscription<T>>;
  subscribe<T = unknown>(
    filter: string | readonly string[],
    handler: MessageHandler<T>,
    options?: SubscribeOptions<T>,
  ): Promise<Subscription<T>>;
  subscribe<T>(
    filter: string | readonly string[],
    second?: MessageHandler<T> | SubscribeOptions<T>,
    third?: SubscribeOptions<T>,
  ): Promise<Subscription<T>> {
    const handler = typeof second === 'function' ? second : null;
    const given = handler === null && second !== undefined ? (second as SubscribeOptions<T>) : third;
    const options = given === undefined ? {} : given;
    const filters = Array.isArray(filter) ? [...new Set<string>(filter)] : [filter as string];
    const check = () => {
      checkOptions('subscribe', options as SubscribeOptions, SUBSCRIBE_OPTIONS);
      checkTogether(options as SubscribeOptions);
      if (handler === null && third !== undefined) throw misplacedHandler();
      if (filters.length === 0) throw new RangeError('filter must not be an empty list');
      filters.forEach(assertFilter);
    };
    return undertake(check, async () => {
      this.assertOpen();
      const opening = this.subscriptions.open(
        filters,
        this.traced(handler as MessageHandler | null),
        options as SubscribeOptions,
      );
      return (await opening) as unknown as Subscription<T>;
    });
  }

  /**
   * Publishes a request, and waits for its answer. With QoS 0 a request that is under way when the connection is lost fails with ERR_JSP_OFFLINE; with QoS 1 it is
   * published again when the client is back, as far as its time allows.
   *
   * @throws {JspError} `ERR_JSP_TIMEOUT`; `ERR_JSP_NO_RESPONDERS` at once, when nobody is there to answer; `ERR_JSP_REQUEST_FAILED`, with the status as its
   * `applicationCode`, when the one who answers says so; `ERR_JSP_OFFLINE`; `ERR_JSP_PAYLOAD_INVALID`; `ERR_JSP_ABORTED`; what a publish throws
   */
  request<T = unknown>(
    topic: string,
    payload: unknown,
    options: RequestOptions<T> = {},
  ): Promise<Message<T>> {
    const check = () => {
      checkOptions('request', options as RequestOptions, REQUEST_OPTIONS);
      assertTopic(topic);
    };
    return undertake(check, async () => {
      this.assertOpen();
      const { breaker } = this;
      if (breaker === null) return this.requests.request(topic, payload, options);
      // With QoS 1 it is its publish that may be the trial.
      const isSpared = options.qos === 1 ? breaker.state === 'open' : !breaker.admits();
      if (isSpared) throw circuitOpenError();
      const answered = this.requests.request(topic, payload, options);
      answered.then(
        () => breaker.settled(null),
        (error) => breaker.settled(error as JspError),
      );
      return answered;
    });
  }

  /**
   * Answers requests: what `handler` returns, or its promise resolves with, goes to who asked. One that throws a {@link ReplyError} answers with its status
   * and text; any other error is answered with status 500, and told by `handlerError`.
   *
   * @throws {JspError} as {@link subscribe}
   */
  reply<T = unknown>(
    filter: string | readonly string[],
    handler: ReplyHandler<T>,
    options: ReplyOptions<T> = {},
  ): Promise<Subscription<T>> {
    const check = () => {
      checkOptions('reply', options as ReplyOptions, REPLY_OPTIONS);
      if (typeof handler !== 'function') throw new TypeError('handler must be a function');
      filters().forEach(assertFilter);
    };
    const filters = () => groupFilters(typeof filter === 'string' ? [filter] : filter, options.group);
    return undertake(check, () => {
      const { group: _, ...rest } = options;
      return this.subscribe(filters(), answering(handler as ReplyHandler) as MessageHandler<T>, rest);
    });
  }

  /**
   * Leaves the broker a message to publish when this client is gone without a goodbye; null takes it back, as {@link close} does. Resolves when the broker has it. Each connection
   * is told it anew.
   *
   * @throws {JspError} as a publish of it; `ERR_JSP_BROKER` when the broker refuses
   */
  setWill<T = Uint8Array | string>(will: Will<T> | null, options: WaitOptions = {}): Promise<void> {
    return undertake(
      () => checkOptions('setWill', options, WAIT_OPTIONS),
      async () => {
        this.assertOpen();
        if (options.signal?.aborted) throw abortError(options.signal);
        await unlessAborted(this.will.set(will as Will | null, this.codec), options.signal);
      },
    );
  }

  /** One round trip to the broker, in ms. */
  ping(options: WaitOptions = {}): Promise<number> {
    return undertake(
      () => checkOptions('ping', options, WAIT_OPTIONS),
      async () => {
        const { control } = this.onlineLink();
        const start = performance.now();
        await control.request((id) => encodePlain(Command.PING, id), options.signal);
        return performance.now() - start;
      },
    );
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
    if (this.goodbye === null) {
      this.subscriptions.close();
      this.will.takeBack();
      this.goodbye = new Goodbye(this.life, this.outbox);
    }
    this.goodbye.shorten(options);
    return this.goodbye.done;
  }

  /**
   * Goes when everything is done: no more messages are handed over, handlers finish those that they have, the broker has their acknowledgements and everything that was
   * published, and takes back the will. A client that is offline comes back for that. Handlers may publish meanwhile. A further call waits for the same.
   *
   * @throws {DrainError} `ERR_JSP_CLOSE_INCOMPLETE` when the time is over first, when messages were left that nobody acknowledged, or when the client cannot come back: its `unsettled` lists
   * what is not settled
   */
  drain(options: DrainOptions = {}): Promise<void> {
    return undertake(
      () => checkOptions('drain', options, DRAIN_OPTIONS),
      async () => {
        if (this.draining === null) {
          this.assertOpen();
          this.draining = new Drain(
            this.life,
            this.subscriptions,
            this.outbox,
            () => this.close({ timeoutMs: GOODBYE_MS }),
            this.closed,
          );
        }
        this.draining.shorten(options);
        await this.draining.done;
      },
    );
  }

  /** Figures of this client, up to now. */
  metrics(): ClientMetrics {
    const { connects, failedAttempts, link } = this.life;
    const { held, heldBytes, waiting, dropped, expired, ...published } = this.outbox.metrics;
    return {
      state: this.state,
      breaker: this.breaker?.state ?? null,
      connects,
      failedAttempts,
      unconfirmed: this.unconfirmed,
      queuedBytes: this.queuedBytes,
      buffered: { messages: held, bytes: heldBytes, waiting, dropped, expired },
      ...published,
      subscriptions: this.subscriptions.size,
      requests: this.requests.waiting,
      lateAnswers: this.requests.late,
      connection: link?.connection.metrics?.() ?? null,
    };
  }

  /** Tells what this machine is connected by, whenever it changes: as `setNetworkType` of the transport's connection. */
  setNetworkType(type: NetworkType): void {
    this.device.networkType = type;
    this.life.link?.connection.setNetworkType?.(type);
  }

  /** Tells whether somebody looks at the application, whenever it changes: as `setAppState` of the transport's connection. */
  setAppState(state: AppState): void {
    this.device.appState = state;
    this.life.link?.connection.setAppState?.(state);
  }

  /** Lets the process end although the connection is open. */
  unref(): this {
    this.life.setReferenced(false);
    return this;
  }

  /** Undoes {@link unref}: the open connection keeps the process alive, as it does by default. */
  ref(): this {
    this.life.setReferenced(true);
    return this;
  }

  /** Closes at once; what is on its way may be lost. */
  destroy(): void {
    this.life.end(null);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private onState(state: ClientState, reason: JspError | null): void {
    if (state !== 'closed') return void this.tell('state', state, reason);
    this.breaker?.end();
    this.resolveClosed(reason);
    this.tell('state', state, reason);
    this.tell('close', reason, this.outbox.unconfirmed);
  }

  private onBreaker(state: BreakerState, reason: JspError | null): void {
    if (state !== 'open') this.outbox.goOn();
    this.tell('breaker', state, reason);
  }

  private onNotice(link: Link, notice: Notice): void {
    const known = clientNotice(notice);
    if (known === null) return;
    const { code, value, text } = notice;
    if (code === NoticeCode.SHUTTING_DOWN) this.life.onShuttingDown(value, text);
    // A refusal ends the connection when the time comes, and then the next attempt asks once more.
    if (code === NoticeCode.CREDENTIALS_EXPIRE) this.greeter.renew(link).catch(() => {});
    this.tell('notice', known);
  }

  private publishBytes(
    topic: string,
    payload: Uint8Array | string,
    options: PublishOptions | undefined,
  ): boolean | Promise<PublishReceipt> {
    const { tracing } = this;
    if (tracing === null) return this.publishUntraced(topic, payload, options);
    return tracing.publishing(topic, options?.traceparent, (traceparent) =>
      this.publishUntraced(topic, payload, { ...options, traceparent }),
    );
  }

  /** A handler whose calls are spans, where there are any. [OPS-11] */
  private traced(handler: MessageHandler | null): MessageHandler | null {
    const { tracing } = this;
    if (tracing === null || handler === null) return handler;
    return (message) =>
      tracing.handling(message.topic, message.properties.traceparent, () => handler(message));
  }

  private publishUntraced(
    topic: string,
    payload: Uint8Array | string,
    options: PublishOptions | undefined,
  ): boolean | Promise<PublishReceipt> {
    if (options?.qos === 1) {
      return this.goodbye === null
        ? this.outbox.publishAcknowledged(topic, payload, options)
        : this.outbox.reject(topic, closedError());
    }
    if (this.goodbye !== null || this.life.failure !== null) this.assertOpen();
    return this.outbox.publish(topic, payload, options);
  }

  private publishEncoded(
    topic: string,
    value: unknown,
    codec: Codec<unknown>,
    options: PublishOptions = {},
  ): boolean | Promise<PublishReceipt> {
    let payload: Uint8Array | string;
    try {
      payload = encodeWith(codec, value);
    } catch (error) {
      if (options.qos === 1) return this.outbox.reject(topic, error);
      throw error;
    }
    const contentType = options.contentType ?? codec.contentType;
    return this.publishBytes(topic, payload, { ...options, contentType });
  }

  private onlineLink(): Link {
    this.assertOpen();
    const { link } = this.life;
    if (link === null) throw offlineError();
    return link;
  }

  private assertOpen(): void {
    if (this.life.failure !== null) throw this.life.failure;
    if (this.goodbye !== null) throw closedError();
  }
}

/** What is known of the machine and the application, for each connection anew. */
interface Device {
  networkType?: NetworkType;
  appState?: AppState;
}

/** A number in [0, 1) of `random`. */
function fraction(random: RandomSource | undefined): number {
  if (random === undefined) return Math.random();
  const [a, b, c, d] = randomBytes(random, 4);
  return (a * 2 ** 24 + b * 2 ** 16 + c * 2 ** 8 + d) / 2 ** 32;
}

const WAIT_OPTIONS: OptionTable<WaitOptions> = { signal: abortSignal };
const DRAIN_OPTIONS: OptionTable<DrainOptions> = {
  timeoutMs: number(0, Number.POSITIVE_INFINITY),
  signal: abortSignal,
};
const CLIENT_CLOSE_OPTIONS: OptionTable<ClientCloseOptions> = {
  timeoutMs: number(0, Number.POSITIVE_INFINITY),
  stallMs: number(0, Number.POSITIVE_INFINITY),
  signal: abortSignal,
};

/** Room for the windows of many subscriptions that are not read, so that they leave the answers to requests their own. [BRK-22] */
const WINDOW_BYTES = 1024 * 1024 * 1024;
/** Of a random session name. */
const NAME_BYTES = 12;
/** For the goodbye of a client that has drained. */
const GOODBYE_MS = 5_000;
