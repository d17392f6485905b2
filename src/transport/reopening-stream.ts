/** A stream that outlives its connections: on each it is a stream of that connection, opened with the same label and options. [CON-105] */

import type { AsyncResource } from 'node:async_hooks';
import { JspError } from '../base/errors.ts';
import { checkOptions } from '../base/options.ts';
import { Ring } from '../base/ring.ts';
import { MILLISECOND, type Micros, NEVER } from '../base/time.ts';
import type { Clock } from '../udp/clock.ts';
import type { Connection, Undelivered } from './connection.ts';
import { IsolatedEmitter, Iterations } from './listeners.ts';
import {
  type Delivery,
  laidOver,
  type Outcome,
  type Priority,
  SEND_OPTIONS,
  type SendOptions,
  STREAM_OPTIONS,
  type StreamOptions,
} from './options.ts';
import { protectionOf } from './protection.ts';
import { endOfStream, hasRoomFor, mayBeRead, type Stream, tooLarge } from './stream.ts';

interface ReopeningStreamEvents {
  message: [data: Buffer];
  drain: [];
  /** The peer has ended the stream, and all that it sent was told. */
  end: [];
  /**
   * A message that `send` took, and that waited, is above what the server takes that there is now (ERR_JSP_MESSAGE_TOO_LARGE): it was not sent, the others go on. Without a listener the
   * stream ends with that error.
   */
  unsent: [error: JspError, data: Buffer];
  error: [error: JspError];
  /** It is over for good: ended, reset, or the handle that it belongs to is closed. */
  close: [];
}

/** A message that waits for a connection, and was never sent. */
interface Held {
  readonly data: Uint8Array;
  readonly options: SendOptions;
  readonly deadline: Micros;
  /** Whoever wants to know what becomes of it. */
  readonly resolve: ((outcome: Outcome | Promise<Outcome>) => void) | null;
}

/** Made by `openStream({ label, reopen: true })` of a connection with `reconnect`. */
export class ReopeningStream extends IsolatedEmitter<ReopeningStreamEvents> implements AsyncIterable<Buffer> {
  readonly label: string;
  readonly priority: Priority;
  readonly ordered: boolean;
  readonly delivery: Delivery;
  private readonly options: StreamOptions;
  private readonly clock: Clock;
  private life: Life = Life.AWAY;
  private connection: Connection | null = null;
  /** On the present connection, or the latest. */
  private inner: Stream | null = null;
  /** All that it was, to know what was sent on it. */
  private readonly inners = new WeakSet<Stream>();
  /** Of connections that are over: what came on them and was not read goes first. */
  private past: Stream[] = [];
  private readonly held = new Ring<Held>();
  private heldBytes = 0;
  private isEnded = false;
  private isPeerEnded = false;
  private isPaused = false;
  private awaitsDrain = false;
  private closedBy: JspError | null = null;
  /** Resolve when nothing waits any more, or it is over. */
  private flushes: (() => void)[] = [];
  /** What iterations have not taken yet; null while there are none. */
  private taken: Buffer[] | null = null;
  private readonly iterations = new Iterations<Buffer>(() => this.takeNext());

  constructor(given: StreamOptions, defaults: StreamOptions, clock: Clock, context: AsyncResource) {
    super(context);
    checkOptions('openStream', given, STREAM_OPTIONS);
    this.options = laidOver(defaults, given);
    protectionOf('openStream', this.options);
    this.clock = clock;
    const { label = '', priority = 'chat', ordered = true, delivery = 'reliable' } = this.options;
    this.label = label;
    this.priority = priority;
    this.ordered = ordered;
    this.delivery = delivery;
  }

  /** As `Stream.messageBytesMax`, of the present connection, or the latest; infinite before there is one. A message that waits may find another. */
  get messageBytesMax(): number {
    return this.inner?.messageBytesMax ?? Number.POSITIVE_INFINITY;
  }

  /** Bytes accepted by {@link send} and not sent for the first time yet. */
  get queuedBytes(): number {
    return this.heldBytes + (this.isAway ? 0 : (this.inner?.queuedBytes ?? 0));
  }

  /**
   * As `Stream.send`. While there is no connection messages wait, those with a lifetime as long as that lasts; one that is best effort and has none is dropped.
   *
   * @returns false when more than `highWaterMark` bytes wait: hold on until `drain`
   * @throws JspError ERR_JSP_STREAM_CLOSED, ERR_JSP_QUEUE_FULL, ERR_JSP_MESSAGE_TOO_LARGE as `Stream.send`; of one that waited and proves too large for the peer the
   * event `unsent` tells
   */
  send(data: Uint8Array | string, options: SendOptions = {}): boolean {
    const inner = this.direct();
    if (inner === null) return this.hold(data, options, null);
    const isFree = inner.send(data, options);
    if (!isFree) this.awaitsDrain = true;
    return isFree;
  }

  /** As {@link send} for each of `messages`. */
  sendBatch(messages: Iterable<Uint8Array | string>, options?: SendOptions): boolean {
    let open = true;
    for (const message of messages) open = this.send(message, options);
    return open;
  }

  /** As `Stream.sendTracked`. Of a message whose connection is lost the outcome is `dropped`; it is handed back. One that waited may be rejected as too large. */
  async sendTracked(data: Uint8Array | string, options: SendOptions = {}): Promise<Outcome> {
    const inner = this.direct();
    if (inner !== null) return inner.sendTracked(data, options);
    return new Promise((resolve) => this.hold(data, options, resolve));
  }

  /** As `Stream.flush`, once there is a connection. Rejects when that is lost: what is not settled then is handed back. */
  async flush(): Promise<void> {
    if (this.held.length > 0) await new Promise<void>((resolve) => this.flushes.push(resolve));
    if (this.isOver) throw this.closedBy ?? streamClosed();
    if (!this.isAway) await this.inner?.flush();
  }

  /** As `Stream.end`: behind what waits. After that it is not opened again. */
  end(): void {
    if (this.isEnded || this.isOver) return;
    this.isEnded = true;
    if (this.held.length > 0) return;
    if (this.isAway) this.over(null);
    else this.inner?.end();
  }

  /** As `Stream.reset`, for good; also what waits is dropped. */
  reset(code = 0): void {
    if (this.isOver) return;
    if (!this.isAway) this.inner?.reset(code);
    this.takeHeld(this.clock.now());
    this.over(null);
  }

  pause(): this {
    this.isPaused = true;
    this.pauseAll();
    return this;
  }

  resume(): this {
    this.isPaused = false;
    this.flow();
    return this;
  }

  /** Messages until the peer ends the stream or it is over for good, whatever becomes of connections. Of several iterations each message goes to one. */
  [Symbol.asyncIterator](): AsyncIterator<Buffer> {
    this.taken ??= [];
    this.flow();
    return this.iterations.begin();
  }

  // ---- what its owner tells it ----

  /** There is another connection. Until {@link goOn} what is sent goes ahead of what waits. */
  reopen(connection: Connection): void {
    if (this.isOver) return;
    const { inner } = this;
    if (inner !== null && this.life === Life.OPEN) {
      // The connection that is left goes on for a while.
      inner.end();
      this.keepUnread(inner);
      if (this.isOver) return; // too much of it is unread
    }
    this.connection = connection;
    this.attach(connection.openStream(this.options));
    this.life = Life.REOPENED;
  }

  goOn(): void {
    if (this.life !== Life.REOPENED) return;
    this.life = Life.OPEN;
    this.sendHeld();
  }

  /** The connection is over, and there may be another. */
  lose(connection: Connection): void {
    const { inner } = this;
    if (connection !== this.connection || inner === null || this.isOver) return;
    this.life = Life.AWAY;
    this.keepUnread(inner);
    // The peer, or this side, was done with it.
    if (this.isPeerEnded || (this.isEnded && this.held.length === 0)) this.over(null);
  }

  /** It is over for good. */
  over(error: JspError | null): void {
    if (this.isOver) return;
    this.life = Life.CLOSED;
    this.closedBy = error;
    this.tellFlushes();
    this.iterations.wake();
    if (error !== null) this.tell('error', error);
    this.tell('close');
  }

  isOn(stream: Stream): boolean {
    return this.inners.has(stream);
  }

  get hasHeld(): boolean {
    for (let i = 0; i < this.held.length; i++)
      if (this.held.peek(i)?.options.delivery !== 'bestEffort') return true;
    return false;
  }

  /** What waits, which is dropped here: the reliable messages of it. */
  takeHeld(now: Micros): Undelivered<ReopeningStream>[] {
    const held: Held[] = [];
    for (let next = this.held.shift(); next !== undefined; next = this.held.shift()) held.push(next);
    this.heldBytes = 0;
    for (const { resolve, deadline } of held) resolve?.(deadline <= now ? 'expired' : 'dropped');
    return held
      .filter(({ options }) => options.delivery !== 'bestEffort')
      .map(({ data, deadline }) => ({
        ...{ stream: this, deadline, mayHaveArrived: false },
        data: Buffer.from(data.buffer, data.byteOffset, data.length),
      }));
  }

  // ---- sending ----

  private get isAway(): boolean {
    return this.life === Life.AWAY || this.isOver;
  }

  private get isOver(): boolean {
    return this.life === Life.CLOSED;
  }

  /** The stream to send on at once; null while something waits. */
  private direct(): Stream | null {
    if (this.isOver || this.isEnded) throw this.closedBy ?? streamClosed();
    if (this.life === Life.AWAY) return null;
    return this.life === Life.REOPENED || this.held.length === 0 ? this.inner : null;
  }

  private hold(data: Uint8Array | string, given: SendOptions, resolve: Held['resolve']): boolean {
    checkOptions('send', given, SEND_OPTIONS);
    const isText = typeof data === 'string';
    if (!isText && !(data instanceof Uint8Array))
      throw new TypeError('data must be a Uint8Array or a string');
    const delivery = given.delivery ?? this.delivery;
    const lifetimeMs = given.lifetimeMs ?? this.options.lifetimeMs ?? 0;
    if (delivery === 'bestEffort' && lifetimeMs === 0) {
      resolve?.('dropped');
      return true;
    }
    const bytes = isText ? Buffer.from(data) : given.transfer === true ? data : data.slice();
    if (this.heldBytes + bytes.length + MESSAGE_COST > HELD_BYTES_MAX) {
      throw new JspError(
        'ERR_JSP_QUEUE_FULL',
        `${this.heldBytes} bytes wait on the stream ${this.label}: when send() answers false, wait for 'drain'`,
      );
    }
    const deadline = lifetimeMs === 0 ? NEVER : this.clock.now() + Math.floor(lifetimeMs * MILLISECOND);
    this.held.push({ data: bytes, options: { ...given, delivery, transfer: true }, deadline, resolve });
    this.heldBytes += bytes.length + MESSAGE_COST;
    const isFree = this.heldBytes <= (this.options.highWaterMark ?? HIGH_WATER_MARK);
    if (!isFree) this.awaitsDrain = true;
    return isFree;
  }

  /** As far as the stream takes it; the rest when it has drained. */
  private sendHeld(): void {
    const now = this.clock.now();
    try {
      // Who is told of one that is too large may do anything, such as to end all.
      while (this.canSendHeld) this.sendOne(this.takeOne(), now);
    } catch (error) {
      return this.fail(error as JspError);
    }
    if (this.held.length > 0 || this.life !== Life.OPEN) return;
    this.tellFlushes();
    if (this.isEnded) this.inner?.end();
    else this.onDrain();
  }

  /** A connection that closes takes nothing more: what waits then was not sent, and is handed back. */
  private get canSendHeld(): boolean {
    const next = this.held.peek();
    if (next === undefined || this.life !== Life.OPEN || this.connection?.isOpen !== true) return false;
    return hasRoomFor(this.inner as Stream, next.data.length);
  }

  private takeOne(): Held {
    const next = this.held.shift() as Held;
    this.heldBytes -= next.data.length + MESSAGE_COST;
    return next;
  }

  private sendOne({ data, options, deadline, resolve }: Held, now: Micros): void {
    const inner = this.inner as Stream;
    if (deadline <= now) return resolve?.('expired');
    if (data.length > inner.messageBytesMax)
      return this.refuse(data, resolve, tooLarge(data.length, inner.messageBytesMax));
    const sending = deadline === NEVER ? options : { ...options, lifetimeMs: (deadline - now) / MILLISECOND };
    if (resolve === null) inner.send(data, sending);
    else resolve(inner.sendTracked(data, sending));
  }

  /** What waited is too large for the server that there is now: nothing else suffers from that. [CON-105] */
  private refuse(data: Uint8Array, resolve: Held['resolve'], error: JspError): void {
    if (resolve !== null) return resolve(Promise.reject(error));
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.length);
    if (!this.tell('unsent', error, bytes)) throw error;
  }

  private onDrain(): void {
    if (this.held.length > 0) return this.sendHeld();
    const mark = this.options.highWaterMark ?? HIGH_WATER_MARK;
    if (!this.awaitsDrain || this.queuedBytes > mark / 2) return;
    this.awaitsDrain = false;
    this.tell('drain');
  }

  private tellFlushes(): void {
    for (const resolve of this.flushes.splice(0)) resolve();
  }

  private fail(error: JspError): void {
    this.inner?.reset(0);
    this.takeHeld(this.clock.now());
    this.over(error);
  }

  // ---- receiving ----

  private attach(stream: Stream): void {
    this.inner = stream;
    this.inners.add(stream);
    stream.on('error', () => {}); // told with its end, if it is not that of a connection
    stream.on('unsent', (error, data) => {
      if (!this.isOver && !this.tell('unsent', error, data)) this.fail(error);
    });
    stream.on('drain', () => {
      if (stream === this.inner && this.life === Life.OPEN) this.onDrain();
    });
    stream.on('end', () => {
      if (stream !== this.inner) return;
      this.isPeerEnded = true;
      this.iterations.wake();
      this.tell('end');
    });
    stream.on('close', () => this.onClosed(stream));
    if (this.isPaused) stream.pause();
    if (this.isWanted) stream.on('message', this.onMessage);
  }

  /** It has ended, unless its connection has: of that its owner tells. */
  private onClosed(stream: Stream): void {
    if (stream !== this.inner || this.isAway || this.connection?.isOpen !== true) return;
    this.over(endOfStream(stream) ?? null);
  }

  private readonly onMessage = (data: Buffer): void => {
    if (this.taken === null) return void this.tell('message', data);
    this.taken.push(data);
    if (this.taken.length >= TAKEN_MAX) this.pauseAll();
    this.iterations.wake();
  };

  /** Somebody takes messages. */
  private get isWanted(): boolean {
    return this.taken !== null || this.listenerCount('message') > 0;
  }

  /** And somebody has not enough for now. */
  private get isRead(): boolean {
    return this.isWanted && !this.isPaused && (this.taken?.length ?? 0) < TAKEN_MAX;
  }

  /** What is not read yet of a stream whose connection is left, or over, is read first. */
  private keepUnread(stream: Stream): void {
    this.past = [...this.past, stream].filter(mayBeRead);
    if (this.isRead || this.past.length <= PAST_MAX) return;
    this.fail(
      new JspError(
        'ERR_JSP_QUEUE_FULL',
        `messages of ${PAST_MAX} connections wait on the stream ${this.label}: read it, or end it`,
      ),
    );
  }

  /** Lets messages come, oldest first, until who gets them has enough. */
  private flow(): void {
    for (const stream of [...this.past, this.inner]) {
      if (!this.isRead) return;
      if (stream === null) continue;
      if (!stream.listeners('message').includes(this.onMessage)) stream.on('message', this.onMessage);
      stream.resume();
    }
    this.past = this.past.filter(mayBeRead);
  }

  private pauseAll(): void {
    for (const stream of [...this.past, this.inner]) stream?.pause();
  }

  /** For iterations: the next message, or the end; null when there is neither yet. */
  private takeNext(): IteratorResult<Buffer, undefined> | null {
    const { taken } = this;
    const message = taken?.shift();
    if (message !== undefined) {
      if (taken?.length === 0) this.flow();
      return { done: false, value: message };
    }
    if (this.isPeerEnded) return { done: true, value: undefined };
    if (!this.isOver) return null;
    if (this.closedBy !== null) throw this.closedBy;
    return { done: true, value: undefined };
  }

  protected override onListenerAdded(event: keyof ReopeningStreamEvents): void {
    if (event === 'message') this.flow();
  }
}

function streamClosed(): JspError {
  return new JspError('ERR_JSP_STREAM_CLOSED', 'the stream has ended; open another one to send more');
}

/** What it is to send on. */
const Life = {
  /** There is no connection: what is sent waits. */
  AWAY: 0,
  /** There is another connection, and its owner tells the application, which may send first. */
  REOPENED: 1,
  OPEN: 2,
  CLOSED: 3,
} as const;
type Life = (typeof Life)[keyof typeof Life];

const HIGH_WATER_MARK = 1024 * 1024;
/** As much as a stream's queue takes. */
const HELD_BYTES_MAX = 64 * 1024 * 1024;
/** What a message that waits is charged beside its bytes. */
const MESSAGE_COST = 64;
/** Messages that are taken ahead of an iteration. */
const TAKEN_MAX = 64;
/** Connections of which messages wait unread. */
const PAST_MAX = 16;
