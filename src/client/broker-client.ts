/**
 * A client of a broker as its application sees it: how its connection lives and ends, and the requests that it makes. What it publishes is in
 * publishing.ts, what it subscribes to in subscription.ts.
 */

import { performance } from 'node:perf_hooks';
import type { JspError } from '../base/errors.ts';
import { checkOptions, chosenOptions, number, type OptionTable, oneOf, whole } from '../base/options.ts';
import { type RandomSource, randomBytes } from '../base/random.ts';
import { COMMAND_BYTES_MAX, Command, DROPPED_BYTES, encodePlain, LANES_MAX } from '../pubsub/command.ts';
import { STREAM_PRIORITIES, type StreamPriority } from '../pubsub/message-stream.ts';
import { type Notice, NoticeCode } from '../pubsub/session-commands.ts';
import { assertFilter } from '../pubsub/topic.ts';
import { abortSignal, onAbort } from '../transport/abort.ts';
import { CONNECT_OPTIONS, type ConnectOptions, connect } from '../transport/connect.ts';
import { type AppState, CLOSE_STALL_MS, type NetworkType } from '../transport/connection.ts';
import { IsolatedEmitter } from '../transport/listeners.ts';
import { clockOf, laidOver, randomOf, withProfile } from '../transport/options.ts';
import { Goodbye, withUnconfirmed } from './closing.ts';
import { type Codec, codecOption } from './codec.ts';
import { closedError, offlineError } from './command-stream.ts';
import { ClientCompression } from './compression.ts';
import { type CredentialsSource, credentialsOption } from './credentials.ts';
import { type Connect, GivenConnection, UrlDialer } from './dialing.ts';
import { Greeter } from './greeting.ts';
import { type ClientState, type Dialer, FIRST_CONNECT, type FirstConnect, Life } from './life.ts';
import type { ClientConnection, Link } from './link.ts';
import type { MessageHandler } from './message.ts';
import { Publishing, type PublishOptions } from './publishing.ts';
import { Backoff, type ReconnectOptions, reconnectOption } from './reconnecting.ts';
import { checkTogether, SUBSCRIBE_OPTIONS, type SubscribeOptions } from './subscribe-options.ts';
import type { Subscription } from './subscription.ts';
import { type ClientSubscriptionEvents, Subscriptions } from './subscriptions.ts';

/**
 * Those of a connection. `compression` compresses payloads rather than what goes over the connection: once for all subscribers, unopened by the broker. A
 * dictionary is used without being agreed, so give it to subscribers first; those that do not have it hear of each such message in the event `unopened`. Where
 * only a profile asks for compression, it is that of the connection.
 */
export interface BrokerClientOptions extends ConnectOptions {
  /** Class of what this client publishes, where a publish names none. Default `chat`. */
  publishPriority?: StreamPriority | undefined;
  /** What makes payloads of values, and values of payloads, where neither a publish nor a subscription has a codec of its own. Default: none. */
  codec?: Codec<unknown> | undefined;
  /**
   * How it comes back when it has lost its connection, or false: then the client is over with its connection. Default: after a random part of
   * 250 ms, which doubles with each failure up to 30 s and is back at the beginning when a connection has lasted 30 s.
   */
  reconnect?: boolean | ReconnectOptions | undefined;
  /**
   * What a broker that cannot be reached at first means: `reject` (default), `connectClient` fails when each URL was tried; `wait`, it goes on trying, and `signal`
   * ends that; `background`, it resolves at once, and the client is online later.
   */
  firstConnect?: FirstConnect | undefined;
  /**
   * Name of its session at the broker, which outlives connections, and the process where the next one takes the same name: 1 to 255 bytes. Two clients cannot have
   * one at a time: the newer takes it, and for the older that is the end. Default: a random name.
   */
  session?: string | undefined;
  /** How long the broker keeps the session while the client is away, in ms. Default 24 h with a `session` of your own, else 2 min. */
  sessionExpiryMs?: number | undefined;
  /** Who it is: credentials, or a function that is asked for them before each attempt to connect. Default: nobody. */
  credentials?: CredentialsSource | undefined;
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

/** What a broker tells a client without having been asked. */
export interface ClientNotice {
  /** What it is about. */
  readonly about:
    | 'shuttingDown'
    | 'credentialsExpire'
    | 'revoked'
    | 'limited'
    | 'storeReadOnly'
    | 'notAuthorized';
  /** `shuttingDown` and `credentialsExpire`: in so many ms. `limited` and `notAuthorized`: so many messages. */
  readonly value: number;
  /** A filter, a topic, or the name of a limit: text of the broker. */
  readonly text: string;
}

interface BrokerClientEvents extends ClientSubscriptionEvents {
  /** What is with the connection has changed, with the reason where there is one: why it is offline, or closed. */
  state: [state: ClientState, reason: JspError | null];
  /** The broker tells something that concerns the whole client, such as that it is about to go. */
  notice: [notice: ClientNotice];
  /** After a publish that answered false: go on. */
  drain: [];
  /**
   * The client is over and does not come back; `error` is null when this side closed it, else a {@link JspError} with the `applicationCode` and `reason` of
   * a broker that closed it. `unconfirmed` is how many published messages the broker may not have.
   */
  close: [error: JspError | null, unconfirmed: number];
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
  if (urls.length === 0) throw new RangeError('the list of URLs must not be empty');
  const defaults = { messageBytesMax: COMMAND_BYTES_MAX, connectionWindowBytes: WINDOW_BYTES };
  const { signal: _, ...chosen } = chosenOptions<ConnectOptions>(options, CONNECT_OPTIONS);
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

/** A client that does not come back, and names no session, needs none beyond its connection. */
function greeterFor(options: BrokerClientOptions): Greeter {
  const { session, sessionExpiryMs, reconnect, credentials } = options;
  const isPassing = session === undefined && reconnect === false;
  const expiryMs = sessionExpiryMs ?? (session === undefined ? PASSING_EXPIRY_MS : NAMED_EXPIRY_MS);
  const name = session ?? Buffer.from(randomBytes(randomOf(options), NAME_BYTES)).toString('base64url');
  return new Greeter(isPassing ? null : { name, expiryMs }, credentials, clockOf(options));
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
  private readonly compression: ClientCompression;
  private readonly publishing: Publishing;
  private readonly device: Device = {};
  private readonly greeter: Greeter;
  private goodbye: Goodbye | null = null;
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
    this.publishing = new Publishing(options.publishPriority ?? 'chat', this.compression, () =>
      this.tell('drain'),
    );
    this.life = new Life(dialer, backoffOf(options, dialer.ways), clockOf(options), {
      onState: (state, reason) => this.onState(state, reason),
      withCost: (reason) => withUnconfirmed(reason, this.publishing.unconfirmed),
    });
    this.life.use({
      online: (link) => {
        const { connection } = link;
        link.onNotice = (notice) => this.onNotice(link, notice);
        if (this.device.networkType !== undefined) connection.setNetworkType?.(this.device.networkType);
        if (this.device.appState !== undefined) connection.setAppState?.(this.device.appState);
      },
      offline: () => {},
      closed: () => {},
    });
    this.life.useLast(this.publishing);
    const reading = { codec: options.codec ?? null, clock: clockOf(options) };
    this.subscriptions = new Subscriptions(
      this.life,
      this.compression,
      reading,
      (event, ...args) => this.tell(event, ...(args as never)),
      () => false,
    );
  }

  /** What is with its connection: `connecting` before the first, `offline` between two; `draining` and `closed` as asked for, or when it is over. */
  get state(): ClientState {
    return this.life.state;
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
    if (this.goodbye !== null || this.life.failure !== null) this.assertOpen();
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
    if (this.life.failure !== null) return Promise.reject(this.life.failure);
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
  async subscribe<T>(
    filter: string | readonly string[],
    second?: MessageHandler<T> | SubscribeOptions<T>,
    third: SubscribeOptions<T> = {},
  ): Promise<Subscription<T>> {
    const handler = typeof second === 'function' ? second : null;
    const options = handler === null && second !== undefined ? (second as SubscribeOptions<T>) : third;
    checkOptions('subscribe', options as SubscribeOptions, SUBSCRIBE_OPTIONS);
    checkTogether(options as SubscribeOptions);
    const filters = Array.isArray(filter) ? [...new Set<string>(filter)] : [filter as string];
    if (filters.length === 0) throw new RangeError('filter must not be an empty list');
    filters.forEach(assertFilter);
    this.assertOpen();
    const opening = this.subscriptions.open(
      filters,
      handler as MessageHandler | null,
      options as SubscribeOptions,
    );
    return (await opening) as unknown as Subscription<T>;
  }

  /** One round trip to the broker, in ms. */
  async ping(options: WaitOptions = {}): Promise<number> {
    checkOptions('ping', options, WAIT_OPTIONS);
    const { control } = this.onlineLink();
    const start = performance.now();
    await control.request((id) => encodePlain(Command.PING, id), options.signal);
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
    if (this.goodbye === null) {
      this.subscriptions.close();
      this.goodbye = new Goodbye(this.life, this.publishing);
    }
    const { goodbye } = this;
    goodbye.shorten(
      options.signal?.aborted ? 0 : (options.timeoutMs ?? Number.POSITIVE_INFINITY),
      options.stallMs ?? CLOSE_STALL_MS,
    );
    const forget = onAbort(options.signal, () => goodbye.shorten(0));
    return goodbye.done.finally(forget);
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
    this.resolveClosed(reason);
    this.tell('state', state, reason);
    this.tell('close', reason, this.publishing.unconfirmed);
  }

  private onNotice(link: Link, { code, value, text }: Notice): void {
    const about = NOTICES[code];
    if (about === undefined) return; // [BRK-47] a client ignores what it does not know
    if (code === NoticeCode.SHUTTING_DOWN) this.life.onShuttingDown(value, text);
    // A refusal ends the connection when the time comes, and then the next attempt asks once more.
    if (code === NoticeCode.CREDENTIALS_EXPIRE) this.greeter.renew(link).catch(() => {});
    this.tell('notice', { about, value, text });
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

function backoffOf({ reconnect, random }: BrokerClientOptions, ways: number): Backoff | null {
  if (reconnect === false) return null;
  const given = typeof reconnect === 'object' ? reconnect : {};
  return new Backoff(given, ways, random === undefined ? Math.random : () => fraction(random));
}

/** A number in [0, 1) of `random`. */
function fraction(random: RandomSource): number {
  const [a, b, c, d] = randomBytes(random, 4);
  return (a * 2 ** 24 + b * 2 ** 16 + c * 2 ** 8 + d) / 2 ** 32;
}

const CLIENT_OPTIONS: OptionTable<BrokerClientOptions> = {
  ...CONNECT_OPTIONS,
  // In a smaller one the broker's answers would not fit, and whoever waits for them would wait for ever.
  messageBytesMax: whole(DROPPED_BYTES, Number.MAX_SAFE_INTEGER),
  publishPriority: oneOf(STREAM_PRIORITIES),
  codec: codecOption,
  reconnect: reconnectOption,
  firstConnect: oneOf(FIRST_CONNECT),
  session: sessionName,
  sessionExpiryMs: number(0, Number.POSITIVE_INFINITY),
  credentials: credentialsOption,
};
function sessionName(value: unknown): string | null {
  const bytes = typeof value === 'string' ? Buffer.byteLength(value) : 0;
  const isName = bytes > 0 && bytes <= NAME_BYTES_MAX && !/\p{Cc}/u.test(value as string);
  return isName ? null : `a string of 1 to ${NAME_BYTES_MAX} bytes without control characters`;
}

const NOTICES: Readonly<Record<number, ClientNotice['about']>> = {
  [NoticeCode.SHUTTING_DOWN]: 'shuttingDown',
  [NoticeCode.CREDENTIALS_EXPIRE]: 'credentialsExpire',
  [NoticeCode.REVOKED]: 'revoked',
  [NoticeCode.LIMITED]: 'limited',
  [NoticeCode.STORE_READ_ONLY]: 'storeReadOnly',
  [NoticeCode.NOT_AUTHORIZED]: 'notAuthorized',
};
const WAIT_OPTIONS: OptionTable<WaitOptions> = { signal: abortSignal };
const CLIENT_CLOSE_OPTIONS: OptionTable<ClientCloseOptions> = {
  timeoutMs: number(0, Number.POSITIVE_INFINITY),
  stallMs: number(0, Number.POSITIVE_INFINITY),
  signal: abortSignal,
};

/** Room for the windows of many subscriptions that are not read, so that they leave the answers to requests their own. [BRK-22] */
const WINDOW_BYTES = 1024 * 1024 * 1024;
/** Of a random session name. */
const NAME_BYTES = 12;
/** The header of a HELLO has a byte for its length. */
const NAME_BYTES_MAX = 255;
const PASSING_EXPIRY_MS = 2 * 60_000;
const NAMED_EXPIRY_MS = 24 * 3_600_000;
