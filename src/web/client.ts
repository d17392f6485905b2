/**
 * A client in a browser as its application sees it, with the names of the native one. It is one file because it is one door: behind it are its life, which is that of the native client
 * (client/life.ts), over connections of its own (link.ts), what it publishes (outbox.ts), what it subscribes to (open-subscription.ts), and what it asks (requests.ts).
 */

import { JspError } from '../base/errors.ts';
import { checkOptions, number, type OptionTable, text } from '../base/options.ts';
import { MILLISECOND } from '../base/time.ts';
import { type Breaker, type BreakerState, breakerOf, circuitOpenError } from '../client/breaker.ts';
import type { ClientMetrics, ClientNotice } from '../client/client-events.ts';
import type { DrainOptions } from '../client/draining.ts';
import { NAMED_EXPIRY_MS, PASSING_EXPIRY_MS } from '../client/greeting.ts';
import { type ClientState, Life } from '../client/life.ts';
import type { Settlement } from '../client/message.ts';
import type { UnpublishedMessage } from '../client/outbox.ts';
import { backoffOf } from '../client/reconnecting.ts';
import { answering, groupFilters } from '../client/replying.ts';
import type { PublishReceipt } from '../client/sequence.ts';
import { misplacedHandler } from '../client/subscribe-options.ts';
import type { Gap, MissedReason, Resumed } from '../client/subscription.ts';
import { undertake } from '../client/undertaking.ts';
import { assertFilter, assertTopic } from '../pubsub/topic.ts';
import { abortError, abortSignal, unlessAborted } from '../transport/abort.ts';
import { socketConstructor, WEB_CLIENT_OPTIONS, type WebClientOptions } from './client-options.ts';
import { type CloseOptions, closedError, Drain, Leaving } from './closing.ts';
import { socketUrl, WebDialer } from './dialing.ts';
import { Emitter } from './emitter.ts';
import { countIn, type Frame, textIn } from './frames.ts';
import type { WebLink } from './link.ts';
import type { Message, MessageHandler } from './message.ts';
import { OpenSubscription, type SubscriptionOwner } from './open-subscription.ts';
import { Outbox } from './outbox.ts';
import { type Codec, payloadOf } from './payload.ts';
import { checkPublishOptions, type PublishOptions, type Will } from './publish-options.ts';
import { REQUEST_OPTIONS, type RequestOptions, Requests } from './requests.ts';
import { checkSubscribeOptions, SUBSCRIBE_OPTIONS, type SubscribeOptions } from './subscribe-options.ts';
import type { Subscription, UndecodableMessage } from './subscription.ts';
import { type Surroundings, surroundings } from './surroundings.ts';
import { WillKeeper } from './will.ts';

/** For whatever waits for the broker. */
export interface WaitOptions {
  signal?: AbortSignal | undefined;
}

/** Called with each request. What it returns, or its promise resolves with, is the answer; undefined: an empty one. */
export type ReplyHandler<T = unknown> = (request: Message<T>) => unknown;

export interface ReplyOptions<T = unknown> extends SubscribeOptions<T> {
  /** Those that answer in one group share the requests: each goes to one of them. */
  group?: string | undefined;
}

// As a type: what is looked up by name in an interface is no record of lists.
export type WebClientEvents = {
  /** What is with the connection has changed, with the reason where there is one: why it is offline, or closed. */
  state: [state: ClientState, reason: JspError | null];
  /** The broker tells something that concerns the whole client, such as that it is about to go. */
  notice: [notice: ClientNotice];
  /** After a publish that answered false: go on. */
  drain: [];
  /** The circuit breaker has opened, for this reason, tries whether it may close, or has closed. */
  breaker: [state: BreakerState, reason: JspError | null];
  /** A message that was taken did not get to the broker, for one with QoS 1 whoever awaits it or not. */
  unpublished: [message: UnpublishedMessage, error: JspError];
  /** The broker did not take the will that it was told anew, on a later connection. */
  willRefused: [error: Error];
  /** Messages for a subscription are missing here: the broker could not keep them, or does not know how many. */
  gap: [subscription: Subscription, gap: Gap];
  /** A subscription goes on, on another connection. */
  resumed: [subscription: Subscription, resumed: Resumed];
  /** Messages for a subscription are missing here, for the reason that is given. */
  missed: [subscription: Subscription, count: number, reason: MissedReason];
  /** A message could not be decoded; whoever subscribed does not get it. */
  undecodable: [subscription: Subscription, message: UndecodableMessage];
  /** A handler threw, or rejected with, `error`. */
  handlerError: [subscription: Subscription, error: unknown, message: Message];
  /** The broker gave a subscription up for good; the connection goes on. */
  lost: [subscription: Subscription, error: Error];
  /** The client is over and does not come back; `error` is null when this side closed it. `unconfirmed` is how many published messages the broker may not have. */
  close: [error: JspError | null, unconfirmed: number];
};

/** Figures of a client. */
export type WebClientMetrics = Omit<ClientMetrics, 'connection'>;

/**
 * Connects to a broker through its gateway. The client comes back by itself when it loses its connection, and looks after it when the machine has slept or the page was put aside.
 *
 * @param url - of the gateway, such as `https://example.com`, or several, which are tried in turn. Default: where this module was loaded from, else where the page is
 * @throws {JspError} what a first attempt failed with, unless `firstConnect` says otherwise
 */
export async function connectClient(
  url?: string | URL | readonly (string | URL)[],
  options: WebClientOptions = {},
): Promise<WebClient> {
  checkOptions('connectClient', options, WEB_CLIENT_OPTIONS);
  return connectClientIn(surroundings(socketConstructor(options)), url ?? defaultUrl(), options);
}

/** As {@link connectClient}, in surroundings of the caller's own: simulated ones. */
export async function connectClientIn(
  around: Surroundings,
  url: string | URL | readonly (string | URL)[],
  options: WebClientOptions = {},
): Promise<WebClient> {
  const given: readonly (string | { readonly href: string })[] =
    typeof url === 'string' || 'href' in url ? [url] : url;
  const urls = [...new Set(given.map(socketUrl))];
  if (urls.length === 0)
    throw new JspError('ERR_JSP_URL_INVALID', 'connectClient: the list of URLs is empty');
  return newClient(around, urls, options);
}

let newClient: (
  around: Surroundings,
  urls: readonly string[],
  options: WebClientOptions,
) => Promise<WebClient>;

/**
 * A client of a broker in a browser: publishes and subscribes over one WebSocket.
 *
 * @example
 * import { connectClient } from '/jsp.js';
 * const client = await connectClient();
 * await client.subscribe('chat/#', (message) => console.log(message.topic, message.text()));
 * client.publish('chat/hall', 'hello');
 */
export class WebClient extends Emitter<WebClientEvents> {
  /** Resolves when the client is over, with the error that ended it or null. */
  readonly closed: Promise<JspError | null>;
  /** Name of its session. */
  readonly session: string;
  private readonly around: Surroundings;
  private readonly dialer: WebDialer;
  private readonly life: Life<WebLink>;
  private readonly codec: Codec<unknown> | null;
  private readonly breaker: Breaker | null;
  private readonly outbox: Outbox;
  private readonly requests: Requests;
  private readonly will = new WillKeeper((error) => void this.tell('willRefused', error));
  private readonly subscriptions = new Set<OpenSubscription>();
  private readonly owner: SubscriptionOwner;
  private readonly forgetReturns: () => void;
  private leaving: Leaving | null = null;
  private draining: Drain | null = null;
  private resolveClosed: (error: JspError | null) => void = () => {};

  static {
    newClient = async (around, urls, options) => {
      const client = new WebClient(around, urls, options);
      await client.life.begin(options.firstConnect ?? 'reject', options.signal);
      return client;
    };
  }

  private constructor(around: Surroundings, urls: readonly string[], options: WebClientOptions) {
    super();
    const { session, sessionExpiryMs = session === undefined ? PASSING_EXPIRY_MS : NAMED_EXPIRY_MS } =
      options;
    const { clock } = around;
    this.around = around;
    this.session = session ?? around.name();
    this.codec = options.codec ?? null;
    this.closed = new Promise((resolve) => {
      this.resolveClosed = resolve;
    });
    this.owner = this.ownerOfSubscriptions();
    this.breaker = breakerOf(options.breaker, clock, (state, reason) => this.onBreaker(state, reason));
    this.outbox = new Outbox(options.buffer ?? {}, this.breaker, clock, around.name(), {
      onDrain: () => void this.tell('drain'),
      onUnpublished: (message, error) => void this.tell('unpublished', message, error),
    });
    this.requests = new Requests(this.codec, clock);
    this.dialer = new WebDialer(
      urls,
      options.credentials,
      { name: this.session, expiryMs: sessionExpiryMs },
      around,
    );
    this.dialer.onTold = (link, frame) => this.onTold(link, frame);
    this.life = new Life(
      this.dialer,
      backoffOf(options.reconnect, urls.length, () => around.random()),
      clock,
      {
        onState: (state, reason) => this.onState(state, reason),
        withCost: (reason) => reason,
      },
    );
    this.life.use(this.will);
    this.life.useLast(this.requests);
    this.life.useLast(this.outbox);
    this.forgetReturns = around.onReturn(() => this.onReturn());
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
   * @returns with QoS 0 false when much is queued: wait for `drain`, or {@link drained}
   * @throws {JspError} (a promise rejects) `ERR_JSP_TOPIC_INVALID`; `ERR_JSP_BUFFER_FULL`; `ERR_JSP_CLOSED`, or the error that ended the client; with QoS 1 also what the broker refused it
   * for: `ERR_JSP_NOT_AUTHORIZED`, `ERR_JSP_LIMITED`, `ERR_JSP_STORE_FULL`, `ERR_JSP_STORE_FAILED`, `ERR_JSP_BROKER`; `ERR_JSP_EXPIRED`; `ERR_JSP_ABORTED`
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
  publish(topic: string, value: unknown, options: PublishOptions = {}): boolean | Promise<PublishReceipt> {
    let codec: Codec<unknown> | null;
    let payload: Uint8Array | string;
    try {
      checkPublishOptions(options);
      codec = (options.codec ?? this.codec) as Codec<unknown> | null;
      if (this.leaving !== null) throw closedError();
      payload = payloadOf(value, codec);
    } catch (error) {
      if (options?.qos === 1) return this.outbox.reject(topic, error);
      throw error;
    }
    const contentType = options.contentType ?? codec?.contentType;
    const said = contentType === options.contentType ? options : { ...options, contentType };
    if (said.qos === 1) return this.outbox.publishAcknowledged(topic, payload, said);
    return this.outbox.publish(topic, payload, said);
  }

  /** How many published messages the broker has not confirmed to have. */
  get unconfirmed(): number {
    return this.outbox.unconfirmed;
  }

  /** Resolves when {@link publish} may go on; at once when it never had to stop. */
  drained(options: WaitOptions = {}): Promise<void> {
    return undertake(
      () => checkOptions('drained', options, WAIT_OPTIONS),
      async () => this.outbox.drained(options.signal),
    );
  }

  /** Resolves when everything published so far is at the broker. Rejects when a connection took messages with QoS 0 with it. */
  flush(options: WaitOptions = {}): Promise<void> {
    return undertake(
      () => checkOptions('flush', options, WAIT_OPTIONS),
      async () => this.outbox.flush(options.signal),
    );
  }

  /**
   * Subscribes to one filter, or to several that share one queue and give a message once. Resolves when the broker has confirmed it. Without a handler, iterate over what this
   * resolves with.
   *
   * @throws {JspError} `ERR_JSP_FILTER_INVALID`; `ERR_JSP_OPTION_INVALID`; what the broker refuses: `ERR_JSP_NOT_AUTHORIZED`, `ERR_JSP_QUOTA`, `ERR_JSP_BROKER`; what ended the client
   */
  subscribe<T = Uint8Array>(
    filter: string | readonly string[],
    handler: MessageHandler<T>,
    options?: SubscribeOptions<T>,
  ): Promise<Subscription<T>>;
  subscribe<T = Uint8Array>(
    filter: string | readonly string[],
    options?: SubscribeOptions<T>,
  ): Promise<Subscription<T>>;
  subscribe<T>(
    filter: string | readonly string[],
    second?: MessageHandler<T> | SubscribeOptions<T>,
    third?: SubscribeOptions<T>,
  ): Promise<Subscription<T>> {
    const handler = typeof second === 'function' ? (second as MessageHandler) : null;
    const given = (handler === null && second !== undefined ? second : third) as SubscribeOptions | undefined;
    const options = given === undefined ? {} : given;
    const filters = Array.isArray(filter) ? [...new Set<string>(filter)] : [filter as string];
    const check = () => {
      checkSubscribeOptions(options);
      if (handler === null && third !== undefined) throw misplacedHandler();
      if (filters.length === 0) throw new RangeError('filter must not be an empty list');
      filters.forEach(assertFilter);
    };
    return undertake(check, async () => {
      this.assertOpen();
      const reading = {
        codec: (options.codec ?? this.codec) as Codec<unknown> | null,
        clock: this.around.clock,
      };
      const subscription = new OpenSubscription(filters, handler, options, reading, this.owner);
      this.subscriptions.add(subscription);
      this.life.use(subscription.linkUser);
      await subscription.opened(options.signal);
      return subscription as unknown as Subscription<T>;
    });
  }

  /**
   * Publishes a request, and waits for its answer. One that is under way when the connection is lost fails with ERR_JSP_OFFLINE.
   *
   * @throws {JspError} `ERR_JSP_TIMEOUT`; `ERR_JSP_NO_RESPONDERS` at once, when nobody is there to answer; `ERR_JSP_REQUEST_FAILED`, with the status as its
   * `applicationCode`, when the one who answers says so; `ERR_JSP_OFFLINE`; `ERR_JSP_PAYLOAD_INVALID`; `ERR_JSP_ABORTED`
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
      if (breaker?.admits() === false) throw circuitOpenError();
      const answered = this.requests.request(topic, payload, options as RequestOptions);
      answered.then(
        () => breaker?.settled(null),
        (error) => breaker?.settled(error as JspError),
      );
      return answered as Promise<Message<T>>;
    });
  }

  /**
   * Answers requests: what `handler` returns, or its promise resolves with, goes to who asked. One that throws a `ReplyError` answers with its status
   * and text; any other error is answered with status 500, and told by `handlerError`.
   */
  reply<T = unknown>(
    filter: string | readonly string[],
    handler: ReplyHandler<T>,
    options: ReplyOptions<T> = {},
  ): Promise<Subscription<T>> {
    const check = () => {
      checkOptions('reply', options as ReplyOptions, REPLY_OPTIONS);
      if (typeof handler !== 'function') throw new TypeError('handler must be a function');
    };
    return undertake(check, async () => {
      const { group, ...rest } = options;
      const filters = groupFilters(typeof filter === 'string' ? [filter] : filter, group);
      return this.subscribe(filters, answering(handler as never) as unknown as MessageHandler<T>, rest);
    });
  }

  /**
   * Leaves the broker a message to publish when this client is gone without a goodbye; null takes it back, as {@link close} does. Resolves when the broker has it. Each connection
   * is told it anew.
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

  /** One round trip to the gateway, in ms. */
  ping(options: WaitOptions = {}): Promise<number> {
    return undertake(
      () => checkOptions('ping', options, WAIT_OPTIONS),
      async () => {
        this.assertOpen();
        const { link } = this.life;
        if (link === null) throw new JspError('ERR_JSP_OFFLINE', 'The client has no connection at present.');
        const { clock } = this.around;
        const start = clock.now();
        await unlessAborted(link.answer({ type: 'ping' }), options.signal);
        return (clock.now() - start) / MILLISECOND;
      },
    );
  }

  /**
   * Ends the subscriptions, waits until the broker has everything that was published, and closes the connection. A further call waits for the same, and can only shorten it.
   *
   * @throws {JspError} `ERR_JSP_CLOSE_INCOMPLETE` when the time is over first; what ended the connection before the broker had everything
   */
  close(options: CloseOptions = {}): Promise<void> {
    return undertake(
      () => checkOptions('close', options, CLOSE_OPTIONS),
      async () => {
        if (this.leaving === null) {
          for (const each of [...this.subscriptions]) each.close();
          this.will.takeBack();
          this.leaving = new Leaving(this.life, this.outbox, this.around.clock);
        }
        this.leaving.shorten(options);
        await this.leaving.done;
      },
    );
  }

  /**
   * Goes when everything is done: no more messages are handed over, handlers finish those that they have, the broker has their acknowledgements and everything that was
   * published, and takes back the will. A client that is offline comes back for that. A further call waits for the same, and can only shorten it.
   *
   * @throws {DrainError} `ERR_JSP_CLOSE_INCOMPLETE`: its `unsettled` lists what is not settled
   */
  drain(options: DrainOptions = {}): Promise<void> {
    return undertake(
      () => checkOptions('drain', options, CLOSE_OPTIONS as OptionTable<DrainOptions>),
      async () => {
        if (this.draining === null) {
          this.assertOpen();
          const all = () => [...this.subscriptions];
          const draining = {
            drain: async (): Promise<readonly Settlement[]> => {
              const left = (await Promise.all(all().map((each) => each.drain()))).flat();
              this.will.takeBack();
              return left;
            },
            get handedOver() {
              return all().flatMap(({ handedOver }) => handedOver);
            },
          };
          this.draining = new Drain(this.life, draining, this.outbox, this.around.clock);
        }
        this.draining.shorten(options);
        await this.draining.done;
      },
    );
  }

  /** Figures of this client, up to now. */
  metrics(): WebClientMetrics {
    const { connects, failedAttempts } = this.life;
    return {
      state: this.state,
      breaker: this.breaker?.state ?? null,
      connects,
      failedAttempts,
      unconfirmed: this.unconfirmed,
      queuedBytes: this.outbox.queuedBytes,
      ...this.outbox.metrics,
      subscriptions: this.subscriptions.size,
      requests: this.requests.waiting,
      lateAnswers: this.requests.late,
    };
  }

  /** Closes at once; what is on its way may be lost. */
  destroy(): void {
    this.life.end(null);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** The machine, the page or the network was away. [WEB-4] */
  private onReturn(): void {
    this.life.link?.probe();
    this.life.hurry();
  }

  private onTold(link: WebLink, frame: Frame): void {
    switch (frame.type) {
      case 'goodbye': {
        const windowMs = countIn(frame, 'retryAfterMs');
        if (windowMs === null) return;
        this.life.onShuttingDown(windowMs, '');
        if (textIn(frame, 'code') === 'SHUTTING_DOWN') this.tell('notice', notice('shuttingDown', windowMs));
        return;
      }
      case 'expiring':
        // [CLT-7] a refusal ends the connection when the time comes, and then the next attempt asks once more
        this.dialer.renew(link).catch(() => {});
        this.tell('notice', notice('credentialsExpire', countIn(frame, 'inMs') ?? 0));
        return;
      case 'notice': {
        const about = NOTICES[textIn(frame, 'code')];
        if (about === 'shuttingDown') this.life.onShuttingDown(countIn(frame, 'value') ?? 0, '');
        if (about !== undefined)
          this.tell('notice', notice(about, countIn(frame, 'value') ?? 0, textIn(frame, 'text')));
      }
    }
  }

  private onState(state: ClientState, reason: JspError | null): void {
    if (state !== 'closed') return void this.tell('state', state, reason);
    this.forgetReturns();
    this.breaker?.end();
    this.resolveClosed(reason);
    this.tell('state', state, reason);
    this.tell('close', reason, this.outbox.unconfirmed);
  }

  private onBreaker(state: BreakerState, reason: JspError | null): void {
    if (state !== 'open') this.outbox.goOn();
    this.tell('breaker', state, reason);
  }

  private ownerOfSubscriptions(): SubscriptionOwner {
    return {
      onClosed: (over, error) => {
        this.subscriptions.delete(over);
        this.life.forget(over.linkUser);
        if (error === null) return;
        // A client that is over tells of itself.
        queueMicrotask(() => {
          if (this.life.failure === null) this.tell('lost', over, error);
        });
      },
      onMissed: (of, count, reason) => void this.tell('missed', of, count, reason),
      onGap: (of, gap) => void this.tell('gap', of, gap),
      onResumed: (of, resumed) => void this.tell('resumed', of, resumed),
      onUndecodable: (of, message) => void this.tell('undecodable', of, message),
      onHandlerError: (of, error, message) => this.tell('handlerError', of, error, message),
      publish: (topic, payload, options) => {
        checkPublishOptions(options);
        return this.outbox.publish(topic, payload, options);
      },
    };
  }

  private assertOpen(): void {
    if (this.life.failure !== null) throw this.life.failure;
    if (this.leaving !== null) throw closedError();
  }
}

function notice(about: ClientNotice['about'], value: number, text = ''): ClientNotice {
  return { about, value, text };
}

/** Where this module is from, which is the gateway where it was loaded from there; else where the page is. */
function defaultUrl(): string {
  if (/^https?:/.test(import.meta.url)) return new URL('/', import.meta.url).href;
  const { location } = globalThis as { location?: { readonly origin: string } };
  if (location !== undefined) return location.origin;
  throw new JspError(
    'ERR_JSP_URL_INVALID',
    'connectClient: outside of a page the URL of the gateway must be given',
  );
}

const NOTICES: Readonly<Record<string, ClientNotice['about']>> = {
  SHUTTING_DOWN: 'shuttingDown',
  REVOKED: 'revoked',
  LIMITED: 'limited',
  STORE_READ_ONLY: 'storeReadOnly',
  NOT_AUTHORIZED: 'notAuthorized',
};
const WAIT_OPTIONS: OptionTable<WaitOptions> = { signal: abortSignal };
const REPLY_OPTIONS: OptionTable<ReplyOptions> = { ...SUBSCRIBE_OPTIONS, group: text };
const CLOSE_OPTIONS: OptionTable<CloseOptions> = {
  timeoutMs: number(0, Number.POSITIVE_INFINITY),
  signal: abortSignal,
};
