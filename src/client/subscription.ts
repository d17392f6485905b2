/** One subscription of a client: its messages, their way to a handler or a loop, and how it ends. */

import { JspError } from '../base/errors.ts';
import { checkOptions, flag, type OptionTable, oneOf, whole } from '../base/options.ts';
import { Ring } from '../base/ring.ts';
import {
  DropReason,
  encodeSubscribe,
  encodeUnsubscribe,
  HEADER_BYTES,
  Overflow,
  ReasonCode,
  reasonCodeName,
  SubscribeFlag,
} from '../pubsub/command.ts';
import { type MessageConnection, STREAM_PRIORITIES, type StreamPriority } from '../pubsub/message-stream.ts';
import { TopicTable } from '../pubsub/topic.ts';
import { abortError, abortSignal, unlessAborted } from '../transport/abort.ts';
import type { InflatingTurn } from '../transport/inflating.ts';
import { throwByItself } from '../transport/listeners.ts';
import { type CommandListener, CommandStream, openCommandStream } from './command-stream.ts';
import type { PayloadInflater, UnopenedMessage } from './compression.ts';

/** A message as a subscriber gets it. */
export class Message {
  readonly topic: string;
  /** The publisher's bytes; they belong to the receiver. */
  readonly payload: Buffer;

  constructor(topic: string, payload: Buffer) {
    this.topic = topic;
    this.payload = payload;
  }

  /** The payload as UTF-8. */
  text(): string {
    return this.payload.toString();
  }
}

/** One whose payload is still in its envelope, as long as it waits: it takes no more memory than it came with. [BRK-44] */
class CompressedMessage extends Message {}

/**
 * Called with each message. When it returns a promise, or anything else with a `then`, the next message waits until that settles. What it throws or rejects with is the
 * application's: it is thrown again by itself, or stays an unhandled rejection, and the next message comes all the same.
 */
export type MessageHandler = (message: Message) => unknown;

export interface SubscribeOptions {
  /**
   * What the queues of this subscription do when they are full. `block` (default): its publishers wait, nothing is lost. `dropOldest`,
   * `dropNewest`: messages are dropped and counted, and nobody waits.
   */
  overflow?: 'block' | 'dropOldest' | 'dropNewest' | undefined;
  /** Most messages in its queue in the broker, within the broker's own bound, which is the default. */
  queueMessages?: number | undefined;
  /** The same in bytes. */
  queueBytes?: number | undefined;
  /** Class of the stream that carries what was published as `chat`. Default `chat`. */
  priority?: StreamPriority | undefined;
  /** Takes messages that their publishers have compressed. Default: true where the client has the option `compression`. */
  compression?: boolean | undefined;
  /** Ends the wait for the broker's answer. */
  signal?: AbortSignal | undefined;
}

export const SUBSCRIBE_OPTIONS: OptionTable<SubscribeOptions> = {
  overflow: oneOf(['block', 'dropOldest', 'dropNewest']),
  queueMessages: whole(0, 2 ** 32 - 1),
  queueBytes: whole(0, 2 ** 32 - 1),
  priority: oneOf(STREAM_PRIORITIES),
  compression: flag,
  signal: abortSignal,
};

/**
 * A subscription, on a stream of its own: a slow one holds up neither other subscriptions nor requests. Its messages go to its handler, or,
 * where it has none, to whoever iterates over it; several loops share them, each message going to the loop that has waited longest. Leaving a loop
 * closes the subscription; an error of the connection is thrown there.
 *
 * @example
 * for await (const message of await client.subscribe('sensors/+/temperature')) console.log(message.topic, message.text());
 */
export interface Subscription extends AsyncIterable<Message> {
  readonly filters: readonly string[];
  /**
   * Resolves when the subscription is over: with null after {@link unsubscribe} or {@link close}, else with what ended it, such as
   * `ERR_JSP_BROKER` when the broker gave it up because nobody read its messages.
   */
  readonly closed: Promise<Error | null>;
  /** Messages that the broker did not send, because they are above this client's `messageBytesMax`, or compressed and the subscription takes none of those. */
  readonly missed: number;
  /** Messages that came compressed and could not be opened; the client's event `unopened` says which, and why. */
  readonly unopened: number;
  /** Messages that this side dropped, because of a drop policy; the broker counts its own. */
  readonly dropped: number;
  /**
   * Takes the subscription back. Messages that the broker has queued still come, and have all arrived when this resolves; a handler or a
   * loop gets them, and then it is over, so this may be awaited there, too. {@link close} waits for nothing. A further call waits for the same,
   * so a handler may make one for each message that it does not want.
   *
   * @param signal - ends this wait; the subscription is taken back all the same
   * @throws {JspError} `ERR_JSP_ABORTED`; what ended the subscription, or its connection, meanwhile or before
   */
  unsubscribe(signal?: AbortSignal): Promise<void>;
  /** Ends the subscription at once: no message comes any more, not even one that has arrived. */
  close(): void;
  [Symbol.asyncIterator](): AsyncGenerator<Message, void, undefined>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** What a subscription tells its client. */
export interface SubscriptionOwner {
  onClosed(subscription: OpenSubscription, error: Error | null): void;
  onMissed(subscription: OpenSubscription, count: number, reason: MissedReason): void;
  onUnopened(subscription: OpenSubscription, message: UnopenedMessage): void;
}

/** Why the broker did not send messages: they are above the largest that the client takes; they are compressed, and the subscription does not take that. */
export type MissedReason = 'tooLarge' | 'compressed';

/** A subscription as its client knows it. */
export class OpenSubscription implements Subscription {
  readonly filters: readonly string[];
  readonly closed: Promise<Error | null>;
  missed = 0;
  unopened = 0;
  private readonly main: CommandStream;
  /** Streams that the broker has opened for what must not wait behind other messages. [BRK-39] */
  private readonly lanes = new Set<CommandStream>();
  private readonly handler: MessageHandler | null;
  private readonly buffer: MessageBuffer;
  private readonly reading: MessageReading;
  private readonly owner: SubscriptionOwner;
  private handling = false;
  private paused = false;
  /** Settles when it is taken back; null until that is asked for. From then on what the broker still has is read to the end, so that its answer comes. */
  private takenBack: Promise<void> | null = null;
  private over = false;
  private failure: Error | null = null;
  /** The loops that wait for a message, or for the end. */
  private readonly loops: (() => void)[] = [];
  private resolveClosed: (error: Error | null) => void = () => {};

  constructor(
    connection: MessageConnection,
    filters: readonly string[],
    handler: MessageHandler | null,
    options: SubscribeOptions,
    reading: MessageReading,
    owner: SubscriptionOwner,
  ) {
    this.filters = filters;
    this.reading = reading;
    this.handler = handler;
    this.owner = owner;
    this.closed = new Promise((resolve) => {
      this.resolveClosed = resolve;
    });
    this.buffer = new MessageBuffer(OVERFLOW[options.overflow ?? 'block']);
    this.main = new CommandStream(
      connection,
      openCommandStream(connection, options.priority ?? 'chat'),
      this.listenerOf((error) => this.finish(error)),
    );
  }

  get dropped(): number {
    return this.buffer.dropped;
  }

  /** Number of the subscribing stream. */
  get streamId(): number {
    return this.main.stream.id;
  }

  async unsubscribe(signal?: AbortSignal): Promise<void> {
    checkOptions('unsubscribe', { signal }, UNSUBSCRIBE_OPTIONS);
    if (this.takenBack === null) {
      this.takenBack = this.takeBack();
      this.takenBack.catch(() => {}); // whoever waits hears of it
      this.readOn();
    }
    if (signal?.aborted) throw abortError(signal);
    await unlessAborted(this.takenBack, signal);
  }

  close(): void {
    this.buffer.clear();
    for (const lane of this.lanes) lane.reset();
    this.main.reset();
  }

  /** Resolves when the broker has acknowledged all filters. */
  async confirm(options: SubscribeOptions, takesLanes: boolean): Promise<void> {
    const lanes = takesLanes ? SubscribeFlag.LANES : 0;
    const compressed = this.reading.inflater === null ? 0 : SubscribeFlag.COMPRESSED;
    const flags = OVERFLOW[options.overflow ?? 'block'] | lanes | compressed;
    const messages = options.queueMessages ?? 0;
    const bytes = options.queueBytes ?? 0;
    const encode = (filter: string) => (id: number) => encodeSubscribe(id, filter, flags, messages, bytes);
    try {
      await Promise.all(this.filters.map((filter) => this.main.request(encode(filter), options.signal)));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** A stream that the broker has opened for this subscription. Its listener hears of its end. */
  addLane(lane: CommandStream): void {
    lane.giveTo(this.listenerOf((error) => this.onLaneClosed(lane, error)));
    this.lanes.add(lane);
    if (this.paused) lane.stream.pause();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Message, void, undefined> {
    if (this.handler !== null) throw new TypeError('This subscription gives its messages to a handler.');
    try {
      const turn = this.reading.inflater?.turn;
      for (;;) {
        if (turn?.isSpent) await new Promise<void>((resolve) => turn.wait(resolve));
        // Those that have waited go first.
        const message = this.loops.length === 0 ? this.buffer.shift() : undefined;
        if (message !== undefined) {
          this.readOn();
          const opened = this.opened(message);
          if (opened !== null) yield opened;
        } else if (this.over && this.buffer.empty) {
          if (this.failure !== null) throw this.failure;
          return;
        } else {
          const own = await this.nextMessage();
          const opened = own === undefined ? null : this.opened(own);
          if (opened !== null) yield opened;
        }
      }
    } finally {
      this.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  /** What hears of one of its streams. */
  private listenerOf(onClosed: (error: Error | null) => void): CommandListener {
    return {
      onDelivery: (message, topicEnd, isCompressed) => this.receive(message, topicEnd, isCompressed),
      onDropped: (count, reason) => this.onMissed(count, reason),
      onClosed,
    };
  }

  private async takeBack(): Promise<void> {
    if (!this.over) {
      await Promise.all(
        this.filters.map((filter) => this.main.request((id) => encodeUnsubscribe(id, filter))),
      );
      this.main.end();
    } else if (this.failure !== null) throw this.failure;
  }

  /** Waits for its turn. Undefined: look again. */
  private async nextMessage(): Promise<Message | undefined> {
    let message: Message | undefined;
    await new Promise<void>((resolve) => {
      this.loops.push(() => {
        message = this.buffer.shift();
        this.readOn();
        resolve();
      });
    });
    return message;
  }

  private receive(bytes: Buffer, topicEnd: number, isCompressed: boolean): void {
    if (this.over) return;
    const topic = this.reading.topics.textOf(bytes, topicEnd);
    const payload = bytes.subarray(topicEnd);
    const message = isCompressed ? new CompressedMessage(topic, payload) : new Message(topic, payload);
    const { handler } = this;
    const isSpent = isCompressed && this.reading.inflater?.turn.isSpent === true;
    if (handler !== null && !this.handling && this.buffer.empty && !this.paused && !isSpent) {
      this.handle(handler, message);
      return;
    }
    this.buffer.push(message);
    if (handler === null) this.loops.shift()?.();
    else if (!this.handling) this.handleBuffered(handler);
    if (this.paused || !this.mustPause) return;
    this.paused = true;
    this.main.stream.pause();
    for (const lane of this.lanes) lane.stream.pause();
  }

  /** While it is being taken back, what the broker still holds is taken in; that has its bounds, too. */
  private get mustPause(): boolean {
    return this.takenBack !== null ? this.buffer.bytes >= LAST_BYTES_MAX : this.buffer.blocked;
  }

  private handleBuffered(handler: MessageHandler): void {
    const turn = this.reading.inflater?.turn;
    while (!this.handling) {
      if (turn?.isSpent) return this.handleLater(handler, turn);
      const message = this.buffer.shift();
      if (message === undefined) break;
      this.handle(handler, message);
    }
    this.readOn();
  }

  /** Little that came may have become much, and others have their turn. */
  private handleLater(handler: MessageHandler, turn: InflatingTurn): void {
    this.handling = true;
    turn.wait(() => {
      this.handling = false;
      this.handleBuffered(handler);
    });
  }

  private handle(handler: MessageHandler, message: Message): void {
    const opened = this.opened(message);
    if (opened === null) return;
    let result: unknown;
    try {
      result = handler(opened);
    } catch (error) {
      throwByItself(error);
      return;
    }
    if (!isThenable(result)) return;
    this.handling = true;
    const goOn = (): void => {
      this.handling = false;
      this.handleBuffered(handler);
    };
    // A rejection stays unhandled on purpose: it is the application's error, as a throw is.
    void Promise.resolve(result).finally(goOn);
  }

  private readOn(): void {
    if (!this.paused || this.over) return;
    if (this.takenBack !== null ? this.mustPause : !this.buffer.low) return;
    this.paused = false;
    this.main.stream.resume();
    for (const lane of this.lanes) lane.stream.resume();
  }

  /** The message as its publisher had it; null for one that cannot be opened, which is told. [BRK-44] */
  private opened(message: Message): Message | null {
    if (!(message instanceof CompressedMessage)) return message;
    const { topic, payload } = message;
    const opened = this.reading.inflater?.inflate(topic, payload);
    if (Buffer.isBuffer(opened)) return new Message(topic, opened);
    this.unopened++;
    const unopened = opened ?? { topic, reason: 'broken', dictionary: null, bytes: payload.length };
    this.owner.onUnopened(this, unopened);
    return null;
  }

  private onMissed(count: number, reason: number): void {
    this.missed += count;
    this.owner.onMissed(this, count, reason === DropReason.COMPRESSED ? 'compressed' : 'tooLarge');
  }

  private onLaneClosed(lane: CommandStream, error: Error | null): void {
    this.lanes.delete(lane);
    // Its messages are lost, as those of the main stream would be.
    if (error !== null && !this.over) {
      this.finish(error);
      this.close();
    }
  }

  private finish(error: Error | null): void {
    if (this.over) return;
    this.over = true;
    this.failure = error === null ? null : givenUp(error);
    for (const lane of [...this.lanes]) lane.reset();
    for (const wake of this.loops.splice(0)) wake();
    this.resolveClosed(this.failure);
    this.owner.onClosed(this, this.failure);
  }
}

/** How the bytes of a message become topic and payload. */
export interface MessageReading {
  readonly topics: TopicTexts;
  /** Null: no compressed ones are taken. */
  readonly inflater: PayloadInflater | null;
}

/** Topics as text, decoded once as long as they are remembered. */
export class TopicTexts {
  private readonly texts = new TopicTable<string>(TOPICS_MAX);

  /** The topic of a PUBLISH. */
  textOf(message: Buffer, topicEnd: number): string {
    const known = this.texts.lookup(message, HEADER_BYTES, topicEnd);
    if (known !== undefined) return known;
    const text = message.toString('utf8', HEADER_BYTES, topicEnd);
    this.texts.store(message, HEADER_BYTES, topicEnd, text);
    return text;
  }
}

/**
 * Messages that wait for a slow handler or iterator. Under `block` it says when the stream should pause; under a drop policy it
 * drops, as the broker's queue does, so that reading never stops. [BRK-19]
 */
class MessageBuffer {
  /** Messages dropped here. */
  dropped = 0;
  private readonly messages = new Ring<Message>();
  /** Of their payloads. */
  bytes = 0;
  private readonly overflow: Overflow;

  constructor(overflow: Overflow) {
    this.overflow = overflow;
  }

  get empty(): boolean {
    return this.messages.length === 0;
  }

  /** At a bound, and the stream should pause. Never true under a drop policy. */
  get blocked(): boolean {
    return this.overflow === Overflow.BLOCK && this.full;
  }

  private get full(): boolean {
    return this.messages.length >= MESSAGES_MAX || this.bytes >= BYTES_MAX;
  }

  /** Drained to half. */
  get low(): boolean {
    return this.messages.length * 2 <= MESSAGES_MAX && this.bytes * 2 <= BYTES_MAX;
  }

  push(message: Message): void {
    if (this.full && this.overflow !== Overflow.BLOCK) {
      this.dropped++;
      if (this.overflow === Overflow.DROP_NEWEST) return;
      this.shift();
    }
    this.messages.push(message);
    this.bytes += message.payload.length;
  }

  shift(): Message | undefined {
    const message = this.messages.shift();
    if (message !== undefined) this.bytes -= message.payload.length;
    return message;
  }

  clear(): void {
    this.messages.clear();
    this.bytes = 0;
  }
}

function isThenable(result: unknown): result is PromiseLike<unknown> {
  return (
    typeof result === 'object' && result !== null && typeof (result as { then?: unknown }).then === 'function'
  );
}

/** Says what a reset of the stream means for its subscription. */
function givenUp(error: Error): Error {
  if (!(error instanceof JspError) || error.code !== 'ERR_JSP_STREAM_RESET') return error;
  const { applicationCode } = error;
  return new JspError(
    'ERR_JSP_BROKER',
    applicationCode === ReasonCode.STALLED
      ? 'The broker gave the subscription up: its messages were not read for so long that others waited for it (STALLED). Read on, choose a drop policy, or subscribe again.'
      : `The broker gave the subscription up (${reasonCodeName(applicationCode ?? 0)})`,
    { applicationCode, cause: error },
  );
}

const UNSUBSCRIBE_OPTIONS = { signal: abortSignal };

const OVERFLOW = {
  block: Overflow.BLOCK,
  dropOldest: Overflow.DROP_OLDEST,
  dropNewest: Overflow.DROP_NEWEST,
} as const;
/** Unread bytes of a subscription that is being taken back at which reading stops. */
const LAST_BYTES_MAX = 64 * 1024 * 1024;
/** What waits for a handler or a loop at most, before the stream is paused or something is dropped. */
const MESSAGES_MAX = 256;
const BYTES_MAX = 1024 * 1024;
const TOPICS_MAX = 1_024;
