/** A stream as applications see it. One file because it is one class, each call of which is told at length. */

import type { AsyncResource } from 'node:async_hooks';
import { once } from 'node:events';
import { isDetached } from '../base/bytes.ts';
import { JspError } from '../base/errors.ts';
import { checkArgument, checkOptions } from '../base/options.ts';
import { MILLISECOND, NEVER } from '../base/time.ts';
import {
  type ConnectionStream,
  type Connection as CoreConnection,
  type EndpointEvent,
  type MessageAsks,
  ReadFault,
  type SendMark,
  SendResult,
  Delivery as WireDelivery,
} from '../protocol/endpoint/index.ts';
import { compressionModeOf } from './compression.ts';
import { streamClose } from './diagnostics.ts';
import type { Driver } from './driver.ts';
import { InflatingTurn } from './inflating.ts';
import { IsolatedEmitter, Iterations, type SoleListener } from './listeners.ts';
import {
  DELIVERIES,
  type Delivery,
  deliveryNumber,
  OUTCOMES,
  type Outcome,
  PRIORITIES,
  type Priority,
  RESET_OPTIONS,
  SEND_OPTIONS,
  type SendOptions,
  STREAM_OPTIONS,
  type StreamOptions,
} from './options.ts';
import { protectionOf } from './protection.ts';

/** What the core tells of streams that are open. */
export type StreamEvent = Extract<
  EndpointEvent,
  { type: 'readable' | 'writable' | 'outcome' | 'unsent' | 'reset' | 'streamClosed' }
>;

interface StreamEvents {
  message: [data: Buffer];
  drain: [];
  end: [];
  /**
   * A message that `send` took under the limit that a ticket said is above what the server takes now (ERR_JSP_MESSAGE_TOO_LARGE): it was not sent, the others go on. Without a
   * listener the stream ends with that error.
   */
  unsent: [error: JspError, data: Buffer];
  error: [error: JspError];
  close: [];
}

// How the transport itself reaches streams, which applications cannot: set by the class, whose private members these are.

/** Makes the stream that stands for `core` in the application. */
export let openStream: (
  core: ConnectionStream,
  driver: Driver,
  connection: CoreConnection,
  options: StreamOptions,
  context?: AsyncResource,
) => Stream;
/** Tells the stream in question what happened to it. */
export let tellStream: (event: StreamEvent) => void;
/** The stream ends with its connection; `error` says why that did. */
export let closeStream: (core: ConnectionStream, error: JspError | null) => void;
/** Listeners of the stream hear of no more messages. */
export let hushStream: (core: ConnectionStream) => void;
/** Why the stream is over, null where both sides ended it; undefined while it is not. */
export let endOfStream: (stream: Stream) => JspError | null | undefined;
/** Whether there is something to read of it, or may yet be. */
export let mayBeRead: (stream: Stream) => boolean;
/** Whether a message of so many bytes has room in its queue; if not, `drain` follows. */
export let hasRoomFor: (stream: Stream, bytes: number) => boolean;

/** One stream of messages, in both directions. Made by `connection.openStream` and the `stream` event. */
export class Stream extends IsolatedEmitter<StreamEvents> implements AsyncIterable<Buffer> {
  readonly id: number;
  readonly label: string;
  readonly priority: Priority;
  readonly ordered: boolean;
  readonly delivery: Delivery;
  /** Whether this side stays open when the peer has ended; what it is at that moment counts. See {@link StreamOptions}. */
  allowHalfOpen: boolean;
  private readonly core: ConnectionStream;
  private readonly driver: Driver;
  private readonly connection: CoreConnection;
  private mark: number;
  private readonly lifetimeMs: number;
  /** Listeners for `message`: while there are none, messages wait. */
  private listening = 0;
  /** The one that can be called without more ado. */
  private sole: SoleListener | null = null;
  private hasFlowed = false;
  private paused = false;
  private awaitsDrain = false;
  private endEmitted = false;
  private life: Life = Life.OPEN;
  private closedBy: JspError | null = null;
  /** The connection was destroyed here: listeners hear of no more messages. */
  private isHushed = false;
  private readonly inflating: InflatingTurn;
  private readonly iterations = new Iterations<Buffer>(() => this.takeNext());
  private readonly outcomes = new Map<number, (outcome: Outcome | Promise<never>) => void>();
  private readonly flushes = new PendingFlushes();

  static {
    openStream = (core, driver, connection, options, context) =>
      new Stream(core, driver, connection, options, context);
    tellStream = (event) => {
      const stream = event.stream.owner as Stream | null;
      switch (event.type) {
        case 'readable':
          return stream?.onReadable();
        case 'writable':
          return stream?.onWritable();
        case 'outcome':
          return stream?.onOutcome(event.tracking, event.outcome);
        case 'unsent':
          return stream?.onUnsent(event.data, event.tracking, event.bytesMax);
        case 'reset':
          return stream?.onReset(event.code);
        case 'streamClosed':
          return stream?.onClosed(null);
      }
    };
    closeStream = (core, error) => (core.owner as Stream | null)?.onClosed(error);
    hushStream = (core) => (core.owner as Stream | null)?.hush();
    endOfStream = (stream) => (stream.life === Life.CLOSED ? stream.closedBy : undefined);
    mayBeRead = ({ core, life }) => life !== Life.CLOSED || core.receiver.readable > 0;
    hasRoomFor = (stream, bytes) => {
      const hasRoom = stream.core.sender.queue.admits(bytes);
      if (!hasRoom) stream.awaitsDrain = true;
      return hasRoom;
    };
  }

  private constructor(
    core: ConnectionStream,
    driver: Driver,
    connection: CoreConnection,
    options: StreamOptions,
    context?: AsyncResource,
  ) {
    super(context);
    this.core = core;
    this.driver = driver;
    this.connection = connection;
    this.inflating = InflatingTurn.of(driver.clock);
    this.id = core.id;
    this.label = core.label;
    this.priority = PRIORITIES[core.priority];
    this.ordered = core.ordered;
    this.delivery = DELIVERIES[core.delivery];
    this.lifetimeMs = options.lifetimeMs ?? 0;
    this.allowHalfOpen = options.allowHalfOpen ?? false;
    core.owner = this;
    this.mark = options.highWaterMark ?? HIGH_WATER_MARK;
    this.useMark();
  }

  /** Unsent bytes above which `send` answers false; `drain` follows at half of it. From 0 on, or ERR_JSP_OPTION_INVALID. */
  get highWaterMark(): number {
    return this.mark;
  }

  set highWaterMark(bytes: number) {
    checkArgument('stream', 'highWaterMark', bytes, STREAM_OPTIONS.highWaterMark);
    this.mark = bytes;
    this.useMark();
  }

  /** The largest message that the peer takes, in bytes. */
  get messageBytesMax(): number {
    return this.core.messageBytesMax;
  }

  /** The peer has sent something best effort: on a reliable stream that can happen, too. */
  get hasReceivedBestEffort(): boolean {
    return this.core.receiver.hasReceivedBestEffort;
  }

  /** Bytes accepted by `send` and not sent for the first time yet. */
  get queuedBytes(): number {
    return this.core.sender.queue.bytes;
  }

  /**
   * Queues one message. Strings are sent as UTF-8.
   *
   * @returns false when more than `highWaterMark` bytes wait: hold on until `drain`. False also while the connection closes: what it
   * is told then is not sent any more, so that it comes to an end
   * @throws JspError ERR_JSP_STREAM_CLOSED after `end`, `reset` or the connection's end
   * @throws JspError ERR_JSP_MESSAGE_TOO_LARGE above the peer's largest message; but on a server, for a message that is within its own
   * `messageBytesMax`, the stream ends with that error, and the answer is false: no client can make a server throw
   * @throws JspError ERR_JSP_QUEUE_FULL when 64 MiB wait: `send` has answered false for long
   */
  send(data: Uint8Array | string, options?: SendOptions): boolean {
    if (options === undefined && this.lifetimeMs === 0)
      return this.enqueue(data, this.core.delivery, 0, false);
    return this.enqueueWith(data, options ?? NO_OPTIONS);
  }

  /** As {@link send} for each of `messages`. */
  sendBatch(messages: Iterable<Uint8Array | string>, options?: SendOptions): boolean {
    let open = true;
    for (const message of messages) open = this.send(message, options);
    return open;
  }

  /** As {@link send}, and resolves with what became of the message. Rejects as {@link send} throws. */
  async sendTracked(data: Uint8Array | string, options: SendOptions = NO_OPTIONS): Promise<Outcome> {
    if (this.isLate) return 'dropped';
    let tracking: number;
    try {
      tracking = this.core.track();
    } catch (error) {
      throw this.driver.onInternalError(this.connection, error);
    }
    try {
      this.enqueueWith(data, options, tracking);
    } catch (error) {
      this.core.untrack(tracking);
      throw error;
    }
    return new Promise((resolve) => this.outcomes.set(tracking, resolve));
  }

  /** Resolves when every message sent so far is settled: acknowledged, expired, lost or dropped. */
  flush(): Promise<void> {
    if (this.life === Life.CLOSED) return Promise.reject(this.closedBy ?? streamClosed());
    const until = this.core.sender.mark();
    if (until.isSettled) return Promise.resolve();
    this.core.wantsSettled = true;
    this.driver.wake();
    return this.flushes.add(until);
  }

  /**
   * Sends what is queued, then tells the peer that nothing follows. The other direction stays open: the peer may still send what it has to,
   * and then ends, by itself unless it has asked for `allowHalfOpen`.
   */
  end(): void {
    if (this.life !== Life.OPEN) return;
    this.life = Life.ENDED;
    this.call(() => this.core.finish());
  }

  /**
   * Gives up both directions: what is not delivered yet is dropped. The peer sees `code`.
   *
   * @throws JspError ERR_JSP_OPTION_INVALID unless the code is a whole number from 0 on
   */
  reset(code = 0): void {
    checkOptions('reset', { code }, RESET_OPTIONS);
    if (this.life === Life.CLOSED) return;
    this.life = Life.ENDED;
    this.call(() => this.core.reset(code));
  }

  /** Leaves messages in the transport: their credit stays used, so the peer is slowed down. */
  pause(): this {
    this.paused = true;
    return this;
  }

  resume(): this {
    this.paused = false;
    this.resumeFlow();
    return this;
  }

  /**
   * Messages until the peer ends the stream, or this side resets it. Of several iterations each message goes to one.
   *
   * @throws JspError ERR_JSP_STREAM_RESET when the peer resets it
   * @throws JspError why the connection closed, when it does before the peer has ended the stream; ERR_JSP_CLOSED without a reason
   */
  [Symbol.asyncIterator](): AsyncIterator<Buffer> {
    return this.iterations.begin();
  }

  /** The next message, or null when none is there. The bytes are the caller's. */
  read(): Buffer | null {
    const { compression } = this.connection.streams.packer;
    const inflated = compression.counts.openedBytesAfter;
    try {
      const message = this.core.receiver.read(this.driver.now());
      if (message !== null) {
        this.inflating.spend(compression.counts.openedBytesAfter - inflated);
        this.core.onRead();
        this.driver.wake();
        return message;
      }
    } catch (error) {
      throw this.driver.onInternalError(this.connection, error);
    }
    if (this.core.receiver.fault !== ReadFault.NONE) this.failReading();
    return null;
  }

  /** Ends the stream and waits until the peer has ended it, too; what it still sends goes to listeners for `message`, or nowhere. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.life === Life.CLOSED) return;
    const closed = once(this, 'close');
    this.end();
    if (this.listening === 0) this.on('message', () => {});
    this.resume();
    await closed;
  }

  /** The core has messages, or the end of the stream. */
  private onReadable(): void {
    this.iterations.wake();
    if (!this.paused && this.hasFlowed && !this.isHushed) this.within(this.flow);
  }

  /** The queue is below its low-water mark, or messages were settled. */
  private onWritable(): void {
    if (this.awaitsDrain && this.queuedBytes <= this.mark / 2) {
      this.awaitsDrain = false;
      this.tell('drain');
    }
    if (!this.flushes.isEmpty) this.settleFlushes();
  }

  private onOutcome(tracking: number, outcome: number): void {
    const resolve = this.outcomes.get(tracking);
    this.outcomes.delete(tracking);
    resolve?.(OUTCOMES[outcome]);
  }

  /** A message was taken in before it was known to be too large. [STR-46] */
  private onUnsent(data: Uint8Array, tracking: number, bytesMax: number): void {
    const error = tooLarge(data.length, bytesMax);
    const resolve = this.outcomes.get(tracking);
    this.outcomes.delete(tracking);
    if (resolve !== undefined) resolve(Promise.reject(error));
    else if (!this.tell('unsent', error, Buffer.from(data.buffer, data.byteOffset, data.length)))
      this.fail(error);
  }

  /** The peer gave the stream up, or reads it no more. */
  private onReset(code: number): void {
    if (this.life === Life.CLOSED) return;
    this.closedBy = new JspError(
      'ERR_JSP_STREAM_RESET',
      `the peer reset stream ${this.id} with code ${code}`,
      { applicationCode: code },
    );
    this.call(() => this.core.reset(code));
    this.onClosed(this.closedBy);
  }

  /** The stream is gone; `error` says why unless both sides ended it. */
  private onClosed(error: JspError | null): void {
    if (this.life === Life.CLOSED) return;
    this.life = Life.CLOSED;
    this.closedBy = error;
    for (const resolve of this.outcomes.values()) resolve('dropped');
    this.outcomes.clear();
    if (error === null) this.settleFlushes();
    this.flushes.rejectAll(error ?? streamClosed());
    this.iterations.wake();
    if (streamClose.hasSubscribers)
      streamClose.publish({ connection: this.connection.owner, stream: this, error });
    if (error !== null) this.tell('error', error);
    this.tell('close');
  }

  /** The application destroyed the connection. */
  private hush(): void {
    this.isHushed = true;
  }

  /** For iterations: the next message, or the end; null when there is neither yet. */
  private takeNext(): IteratorResult<Buffer, undefined> | null {
    if (this.inflating.isSpent && this.core.receiver.readable > 0) {
      this.inflating.wait(this.resumeFlow);
      return null;
    }
    const message = this.read();
    if (message !== null) return { done: false, value: message };
    const { ended, resetCode } = this.core.receiver;
    if (ended && resetCode < 0) {
      this.onEnd();
      return ITERATED;
    }
    if (this.closedBy !== null) throw this.closedBy;
    if (this.life !== Life.CLOSED) return null;
    if (this.connection.lifecycle.takesStreams) return ITERATED;
    if (this.core.receiver.fault === ReadFault.UNREADABLE) throw unreadable(this.id);
    throw new JspError(
      'ERR_JSP_CLOSED',
      `the connection closed before the peer ended stream ${this.id}; have it call end() when that was all`,
    );
  }

  private useMark(): void {
    this.core.sender.queue.highWaterBytes = this.mark;
    this.core.sender.queue.lowWaterBytes = this.mark / 2;
  }

  /** The peer sends nothing more and all was read: unless half-open is allowed our direction ends, too, behind what is queued. */
  private onEnd(): void {
    if (this.endEmitted) return;
    this.endEmitted = true;
    this.tell('end');
    // After listeners, and what awaits the end of an iteration, had their say.
    this.driver.clock.soon(() => {
      if (!this.allowHalfOpen) this.end();
    });
  }

  /** The connection closes, and nothing new begins. [CON-11] */
  private get isLate(): boolean {
    return this.life !== Life.CLOSED && !this.connection.lifecycle.takesStreams;
  }

  /** Without a listener for `message` messages wait, as they do before there is one: so `once` loses none. */
  protected override onListenerAdded(event: keyof StreamEvents): void {
    if (event !== 'message') return;
    const before = this.listening;
    this.listening = this.listenerCount('message');
    this.sole = this.soleListener('message');
    if (before > 0) return;
    this.hasFlowed = true;
    queueMicrotask(() => this.resumeFlow());
  }

  protected override onListenersRemoved(): void {
    this.listening = this.listenerCount('message');
    this.sole = this.soleListener('message');
  }

  /** Gives the listeners for `message` what is there, then those for `end` the end. */
  private flow(): void {
    if (this.listening > 0) this.emitMessages();
    if (this.core.receiver.ended && !this.paused && !this.isHushed) this.onEnd();
  }

  private emitMessages(): void {
    const receiver = this.core.receiver;
    const now = this.driver.now();
    const { inflating } = this;
    const { compression } = this.connection.streams.packer;
    while (this.listening > 0 && !this.paused && !this.isHushed) {
      if (inflating.isSpent) return inflating.wait(this.resumeFlow);
      const inflated = compression.counts.openedBytesAfter;
      const message = receiver.read(now);
      if (message === null) break;
      if (compression.counts.openedBytesAfter > inflated)
        inflating.spend(compression.counts.openedBytesAfter - inflated);
      if (this.sole !== null) this.tellSole('message', this.sole, message);
      else this.tellWithin('message', message);
    }
    if (receiver.fault === ReadFault.DETACHED) this.failDetached();
    this.core.onRead();
  }

  /** The application detached, or wrote over, memory that held messages it had not read: they are lost, which no reliable stream survives. [STR-32] */
  private failDetached(): void {
    this.fail(
      new JspError(
        'ERR_JSP_MESSAGE_DETACHED',
        `unread messages of stream ${this.id} were lost: the ArrayBuffer behind a message was detached, or written over beyond the message; copy what is to be transferred`,
      ),
    );
  }

  /** A message that came cannot be had: the stream ends with that or, when it is the peer's fault, the connection. */
  private failReading(): void {
    if (this.core.receiver.fault === ReadFault.DETACHED) this.failDetached();
    else this.call(() => this.core.onRead());
  }

  private fail(error: JspError): void {
    if (this.life === Life.CLOSED) return;
    this.call(() => this.core.reset(0));
    this.onClosed(error);
    this.driver.wake();
  }

  private readonly resumeFlow = (): void => this.call(() => this.onReadable());

  /** Does something in the core on behalf of a caller who is not to see it fail: he is told by the end of the connection. */
  private call(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.driver.onInternalError(this.connection, error);
    }
    this.driver.wake();
  }

  private settleFlushes(): void {
    this.flushes.settle();
    this.core.wantsSettled = !this.flushes.isEmpty;
  }

  private enqueueWith(data: Uint8Array | string, options: SendOptions, tracking = 0): boolean {
    const lifetimeMs = options.lifetimeMs ?? this.lifetimeMs;
    if (options !== checkedLast || lifetimeMs !== checkedLifetimeMs) {
      checkOptions('send', options, SEND_OPTIONS);
      checkedLast = options;
      checkedLifetimeMs = lifetimeMs;
    }
    const asked = options.delivery === undefined ? this.core.delivery : deliveryNumber(options.delivery);
    if (asked < this.core.delivery) {
      throw new JspError(
        'ERR_JSP_OPTION_INVALID',
        `a message cannot be ${options.delivery} on a ${this.delivery} stream; open a stream with that delivery`,
      );
    }
    const delivery = asked === WireDelivery.RELIABLE && lifetimeMs > 0 ? WireDelivery.PARTIAL : asked;
    return this.enqueue(data, delivery, lifetimeMs, options.transfer === true, tracking, asksOf(options));
  }

  private enqueue(
    data: Uint8Array | string,
    delivery: WireDelivery,
    lifetimeMs: number,
    transfer: boolean,
    tracking = 0,
    asks: MessageAsks | null = null,
  ): boolean {
    const text = typeof data === 'string';
    const bytes = text ? Buffer.from(data) : data;
    const { core } = this;
    const isPlain = bytes instanceof Uint8Array && bytes.length > 0 && bytes.length <= core.messageBytesMax;
    if (
      !isPlain ||
      this.life !== Life.OPEN ||
      !this.connection.lifecycle.takesStreams ||
      core.sender.stopCode >= 0
    ) {
      if (!this.mayQueue(bytes, tracking)) return false;
    }
    const deadline = lifetimeMs === 0 ? NEVER : this.driver.now() + Math.floor(lifetimeMs * MILLISECOND);
    let result: SendResult;
    try {
      result = core.send(bytes, delivery, deadline, transfer || text, tracking, asks);
    } catch (error) {
      throw this.driver.onInternalError(this.connection, error);
    }
    this.driver.wake();
    if (result === SendResult.ACCEPTED) return true;
    this.awaitsDrain = true;
    if (result === SendResult.REFUSED) this.throwQueueFull();
    return false;
  }

  /** What seldom happens stands by itself, for {@link enqueue} is fast as long as all of it down to the queue is compiled into one. */
  private mayQueue(bytes: Uint8Array, tracking: number): boolean {
    if (this.life !== Life.OPEN) throw this.closedBy ?? streamClosed();
    if (!(bytes instanceof Uint8Array)) throw new TypeError('data must be a Uint8Array or a string');
    if (isDetached(bytes)) {
      throw new TypeError('the ArrayBuffer of data is detached: its bytes are gone');
    }
    if (bytes.length > this.core.messageBytesMax) {
      const error = tooLarge(bytes.length, this.core.messageBytesMax);
      if (tracking > 0 || this.core.isOwnFault(bytes.length)) throw error;
      this.fail(error);
      return false;
    }
    // The peer has just stopped the stream, and the event that tells so comes next: no reason to throw in a listener that answers.
    return !this.isLate && this.core.sender.stopCode < 0;
  }

  private throwQueueFull(): never {
    throw new JspError(
      'ERR_JSP_QUEUE_FULL',
      `${this.queuedBytes} bytes wait on stream ${this.id}: when send() answers false, wait for 'drain'`,
    );
  }
}

/** The calls of `flush` that wait until what was sent before them is settled. */
class PendingFlushes {
  private waiting: Flush[] = [];

  get isEmpty(): boolean {
    return this.waiting.length === 0;
  }

  add(until: SendMark): Promise<void> {
    return new Promise((resolve, reject) => this.waiting.push({ until, resolve, reject }));
  }

  /** Resolves those whose messages are settled. */
  settle(): void {
    this.waiting = this.waiting.filter((flush) => {
      if (!flush.until.isSettled) return true;
      flush.resolve();
      return false;
    });
  }

  rejectAll(error: JspError): void {
    for (const flush of this.waiting) flush.reject(error);
    this.waiting = [];
  }
}

interface Flush {
  readonly until: SendMark;
  readonly resolve: () => void;
  readonly reject: (error: JspError) => void;
}

export function tooLarge(bytes: number, bytesMax: number): JspError {
  return new JspError(
    'ERR_JSP_MESSAGE_TOO_LARGE',
    `a message of ${bytes} bytes is above the peer's limit of ${bytesMax}; split it, or raise messageBytesMax there`,
  );
}

/** Where Node has no `ArrayBuffer.detached` yet, only trying tells. */
/** What a message asks for that its stream does not have; null for nothing. */
function asksOf(options: SendOptions): MessageAsks | null {
  const protection = protectionOf('send', options);
  const { compression, earlyData } = options;
  if (protection === null && compression === undefined && earlyData === undefined) return null;
  return { protection, compression: compressionModeOf(compression), earlyData: earlyData ?? null };
}

/** The connection was over before the message was read; else it closes with that. [CMP-7] */
function unreadable(id: number): JspError {
  return new JspError(
    'ERR_JSP_PROTOCOL',
    `the peer broke the protocol: a message of stream ${id} cannot be opened`,
  );
}

function streamClosed(): JspError {
  return new JspError('ERR_JSP_STREAM_CLOSED', 'the stream has ended; open another one to send more');
}

/** What this side may still do. */
const Life = {
  OPEN: 0,
  /** It sends nothing more. */
  ENDED: 1,
  /** Nor does anything come: both sides have ended, one has reset the stream, or the connection is over. */
  CLOSED: 2,
} as const;
type Life = (typeof Life)[keyof typeof Life];

const ITERATED: IteratorReturnResult<undefined> = { done: true, value: undefined };
const NO_OPTIONS: SendOptions = {};
/** Options that were fine: callers who send much pass the same object again, though they may have changed it. */
let checkedLast: SendOptions = NO_OPTIONS;
let checkedLifetimeMs = 0;
const HIGH_WATER_MARK = 1024 * 1024;
