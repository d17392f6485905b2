/**
 * Requests and their answers. A request is a message with a topic for its answer; all answers to one client come by one subscription, on topics of its inbox
 * that are used once. [CLT-32]
 */

import { JspError } from '../base/errors.ts';
import { number, type OptionTable } from '../base/options.ts';
import { type RandomSource, randomBytes } from '../base/random.ts';
import { MILLISECOND } from '../base/time.ts';
import { STATUS_NO_RESPONDERS } from '../pubsub/properties.ts';
import { inboxOf } from '../pubsub/topic.ts';
import { abortError, abortSignal, onAbort } from '../transport/abort.ts';
import { type Clock, TIMEOUT_MS_MAX, type TimerHandle } from '../udp/clock.ts';
import { assertPayload, type Codec, codecOption, decodeWith, encodeWith } from './codec.ts';
import { closedError } from './command-stream.ts';
import type { LinkUser } from './link.ts';
import type { Message } from './message.ts';
import { keptOptions, PUBLISH_OPTIONS, type PublishOptions } from './publish-options.ts';
import type { PublishReceipt } from './sequence.ts';
import type { Subscriptions } from './subscriptions.ts';

/** Those of a publish, without what a request itself needs. */
export interface RequestOptions<T = unknown>
  extends Omit<PublishOptions, 'replyTo' | 'owned' | 'retain' | 'codec'> {
  /** How long to wait for the answer, in ms. Default 5,000. */
  timeoutMs?: number | undefined;
  /** What makes a payload of the request's value, and a value of the answer's. Default: that of the client. */
  codec?: Codec<T> | undefined;
}

/** Publishes a message as the client does. */
export type Publish = (
  topic: string,
  payload: Uint8Array | string,
  options: PublishOptions,
) => boolean | Promise<PublishReceipt>;

/** A request that waits for its answer. */
interface Pending {
  /** Its place among those that wait, and its number: the last level of the topic of its answer. */
  readonly name: string;
  readonly topic: string;
  readonly qos: 0 | 1;
  readonly codec: Codec<unknown> | null;
  /** Publishes it, unless its wait is over. */
  begin(): void;
  resolve(answer: Message): void;
  reject(error: Error): void;
}

/** Of the subscription for answers. */
const Inbox = { NONE: 0, OPENING: 1, OPEN: 2 } as const;
type Inbox = (typeof Inbox)[keyof typeof Inbox];

export class Requests implements LinkUser {
  /** Answers for which nobody waited any more, or to which another was faster. [CLT-33] */
  late = 0;
  private readonly subscriptions: Subscriptions;
  private readonly publish: Publish;
  private readonly codec: Codec<unknown> | null;
  private readonly clock: Clock;
  /** What the topics of answers begin with. */
  private readonly inbox: string;
  /** At their places; null where none waits. Not a Map, for the same reason as the timers of a clock. */
  private readonly pending: (Pending | null)[] = [];
  private readonly freePlaces: number[] = [];
  /** Those of them that wait for the subscription for answers. */
  private readonly unsent = new Set<Pending>();
  private lastNumber = 0;
  /** The first request opens it, and the next one when it was given up. */
  private inboxState: Inbox = Inbox.NONE;

  /** @param session - whose inbox it is; a client without one has an ordinary topic that nobody can guess */
  constructor(
    subscriptions: Subscriptions,
    publish: Publish,
    { codec, clock }: { codec: Codec<unknown> | null; clock: Clock },
    session: string | null,
    random: RandomSource,
  ) {
    this.subscriptions = subscriptions;
    this.publish = publish;
    this.codec = codec;
    this.clock = clock;
    // Of this process alone: an answer to an earlier one with the same session is none of ours.
    const own = Buffer.from(randomBytes(random, NONCE_BYTES)).toString('base64url');
    this.inbox = `${session === null ? 'inbox/' : inboxOf(session)}${own}/`;
  }

  /** Requests that wait for their answer. */
  get waiting(): number {
    return this.pending.length - this.freePlaces.length;
  }

  async request<T>(topic: string, value: unknown, options: RequestOptions<T>): Promise<Message<T>> {
    const { timeoutMs = TIMEOUT_MS, codec = this.codec, signal, ...rest } = options;
    if (signal?.aborted) throw abortError(signal);
    const encoded =
      codec === null ? (value as Uint8Array | string) : encodeWith(codec as Codec<unknown>, value);
    assertPayload(encoded);
    const contentType = rest.contentType ?? codec?.contentType;
    const waits = this.inboxState !== Inbox.OPEN;
    // What waits is the request as it was asked, whatever the caller does with its memory meanwhile.
    const payload = waits && typeof encoded !== 'string' ? Buffer.from(encoded) : encoded;
    const said = waits ? keptOptions(rest) : rest;
    const place = this.freePlaces.pop() ?? this.pending.length;
    const name = `${place}.${++this.lastNumber}`;
    const wait = new Wait(this.clock, timeoutMs, topic, signal);
    const published = Object.assign({}, said, { contentType, replyTo: this.inbox + name });
    const pending: Pending = {
      name,
      topic,
      qos: rest.qos ?? 0,
      codec: codec as Codec<unknown> | null,
      begin: () => {
        if (!wait.isOver) this.send(pending, payload, published);
      },
      resolve: (answer) => wait.resolve(answer),
      reject: (error) => wait.reject(error),
    };
    this.pending[place] = pending;
    try {
      if (waits) this.unsent.add(pending);
      else pending.begin();
      if (this.inboxState === Inbox.NONE) void this.openInbox();
      return (await wait.over) as Message<T>;
    } finally {
      this.pending[place] = null;
      this.freePlaces.push(place);
      this.unsent.delete(pending);
      wait.end();
    }
  }

  online(): void {}

  /** The connection is over: what was asked with QoS 0 may have been answered, or not, and nobody will say. [CLT-34] */
  offline(reason: Error): void {
    for (const { qos, topic, reject } of this.allPending()) {
      if (qos === 1 || this.inboxState !== Inbox.OPEN) continue;
      const lost = `The connection was lost while a request to ${topic} was under way: whether it was handled is not known`;
      reject(new JspError('ERR_JSP_OFFLINE', lost, { cause: reason }));
    }
  }

  closed(reason: Error | null): void {
    for (const { reject } of this.allPending()) reject(reason ?? closedError());
  }

  private allPending(): Pending[] {
    return this.pending.filter((pending) => pending !== null);
  }

  private send(pending: Pending, payload: Uint8Array | string, options: PublishOptions): void {
    const sent = this.publish(pending.topic, payload, options);
    if (typeof sent === 'boolean') return;
    sent.then(
      ({ result }) => {
        if (result === 'noSubscriber') pending.reject(noResponders(pending.topic));
      },
      (error) => pending.reject(error),
    );
  }

  /** What was asked meanwhile goes out when it is open, or fails with it. */
  private async openInbox(): Promise<void> {
    this.inboxState = Inbox.OPENING;
    try {
      const inbox = await this.subscriptions.openInbox(`${this.inbox}+`, (answer) => this.onAnswer(answer));
      this.inboxState = Inbox.OPEN;
      void inbox.closed.then(() => {
        this.inboxState = Inbox.NONE;
      });
    } catch (error) {
      this.inboxState = Inbox.NONE;
      for (const pending of this.unsent) pending.reject(error as Error);
    }
    for (const pending of this.unsent) {
      this.unsent.delete(pending);
      try {
        pending.begin();
      } catch (error) {
        pending.reject(error as Error);
      }
    }
  }

  private onAnswer(answer: Message): void {
    const name = answer.topic.slice(this.inbox.length);
    const pending = this.pending[Number.parseInt(name, 10)];
    if (pending?.name !== name) {
      this.late++;
      return;
    }
    const { status = 0 } = answer.properties;
    if (status === STATUS_NO_RESPONDERS) pending.reject(noResponders(pending.topic));
    else if (status !== 0) pending.reject(failed(pending.topic, status, answer.text()));
    else if (pending.codec === null) pending.resolve(answer);
    else this.resolveDecoded(pending, answer, pending.codec);
  }

  private resolveDecoded(pending: Pending, answer: Message, codec: Codec<unknown>): void {
    try {
      pending.resolve(answer.withValue(decodeWith((bytes) => codec.decode(bytes), answer.payload)));
    } catch (error) {
      pending.reject(error as Error);
    }
  }
}

/** How long one request waits, and for what. */
class Wait {
  isOver = false;
  readonly over: Promise<Message>;
  resolve: (answer: Message) => void = () => {};
  reject: (error: Error) => void = () => {};
  private readonly clock: Clock;
  private readonly timer: TimerHandle;
  private readonly forget: () => void;

  constructor(clock: Clock, timeoutMs: number, topic: string, signal: AbortSignal | undefined) {
    this.clock = clock;
    this.over = new Promise((resolve, reject) => {
      this.resolve = (answer) => {
        this.isOver = true;
        resolve(answer);
      };
      this.reject = (error) => {
        this.isOver = true;
        reject(error);
      };
    });
    this.over.catch(() => {}); // whoever asked hears of it
    this.timer = clock.setTimer(clock.now() + timeoutMs * MILLISECOND, () =>
      this.reject(tooLate(topic, timeoutMs)),
    );
    this.forget = onAbort(signal, () => this.reject(abortError(signal as AbortSignal)));
  }

  end(): void {
    this.clock.clearTimer(this.timer);
    this.forget();
  }
}

function noResponders(topic: string): JspError {
  return new JspError(
    'ERR_JSP_NO_RESPONDERS',
    `Nobody is there to answer requests to ${topic}: start the service, or look at the topic`,
  );
}

function failed(topic: string, status: number, reason: string): JspError {
  const why = reason === '' ? '' : `: ${reason}`;
  return new JspError(
    'ERR_JSP_REQUEST_FAILED',
    `A request to ${topic} was answered with status ${status}${why}`,
    {
      applicationCode: status,
      reason,
    },
  );
}

function tooLate(topic: string, timeoutMs: number): JspError {
  return new JspError('ERR_JSP_TIMEOUT', `A request to ${topic} was not answered within ${timeoutMs} ms`);
}

const { replyTo: _, owned: __, retain: ___, ...OF_PUBLISH } = PUBLISH_OPTIONS;
export const REQUEST_OPTIONS: OptionTable<RequestOptions> = {
  ...OF_PUBLISH,
  timeoutMs: number(0, TIMEOUT_MS_MAX),
  codec: codecOption,
  signal: abortSignal,
};

const TIMEOUT_MS = 5_000;
const NONCE_BYTES = 12;
