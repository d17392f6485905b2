/**
 * The core's end of what it shares with one worker: the connections that the worker has, and their streams, as the broker's driver takes them. What is said in a turn goes to the worker
 * together, when the turn is over; what the worker says comes in batches. So the core knows nothing of workers. [BRK-134]
 *
 * It is one file because connection and stream end each other.
 */

import { EventEmitter } from 'node:events';
import { JspError } from '../../base/errors.ts';
import { Ring } from '../../base/ring.ts';
import { ReasonCode } from '../../pubsub/command.ts';
import type {
  ConnectionFacts,
  LinkFigures,
  MessageConnection,
  MessageStream,
  StreamPriority,
} from '../../pubsub/message-stream.ts';
import { STREAM_PRIORITIES } from '../../pubsub/message-stream.ts';
import type { Clock } from '../../udp/clock.ts';
import {
  type BatchPort,
  FrameReader,
  FrameWriter,
  LINK_FIGURES,
  Manner,
  MESSAGE_BYTES,
  Order,
  Report,
} from './frames.ts';

export interface WorkerLineSurroundings {
  readonly port: BatchPort;
  readonly clock: Clock;
  /** A monotonic time that the worker has, too. */
  readonly sharedMs: () => number;
  /** A client has come. */
  readonly onConnection: (connection: WorkerConnection) => void;
  /** A listener of a connection or a stream threw, and its connection has failed. */
  readonly onFault: (error: unknown) => void;
}

export class WorkerLine {
  private readonly around: WorkerLineSurroundings;
  private readonly writer = new FrameWriter();
  private readonly reader = new FrameReader();
  private readonly connections = new Map<number, WorkerConnection>();
  private readonly streams = new Map<number, WorkerStream>();
  private readonly questions = new Map<number, (secret: Uint8Array | null) => void>();
  private lastStream = 0;
  private lastQuestion = 0;
  /** The message that the batch has last, and how it is sent. */
  private current: Uint8Array | null = null;
  private currentManner = -1;
  /** Streams of which this batch has left something unread. */
  private readonly leftUnread = new Set<WorkerStream>();
  private isFlushDue = false;
  private isOver = false;
  private readonly flush = () => this.flushNow();

  constructor(around: WorkerLineSurroundings) {
    this.around = around;
  }

  /** Connections that it has. */
  get size(): number {
    return this.connections.size;
  }

  /** Takes what the worker says. */
  take(batch: Uint8Array): void {
    if (this.isOver) return;
    const { reader, writer } = this;
    reader.begin(batch);
    while (!reader.isAtEnd && !this.isOver) this.takeFrame(reader.u8());
    // Before it says that they were taken: what lies here is never counted nowhere.
    for (const stream of this.leftUnread) stream.tellUnread();
    this.leftUnread.clear();
    writer.u8(Order.TAKEN);
    this.flushLater();
  }

  /** The worker is gone: so is everybody whom it had. [BRK-136] */
  end(error: Error): void {
    if (this.isOver) return;
    this.isOver = true;
    for (const told of this.questions.values()) told(null);
    this.questions.clear();
    for (const connection of [...this.connections.values()]) connection.finish(error);
    this.connections.clear();
    this.streams.clear();
  }

  /** Resolves when the worker has done all that it was told, or is gone. */
  async settled(): Promise<void> {
    if (this.isOver) return;
    const question = this.ask();
    this.order(Order.SYNC, question);
    await this.answerTo(question);
  }

  /** Its clients are told that the broker ends within so long, and where to go: empty, here again. */
  announceEnd(url: string, withinMs: number): void {
    this.order(Order.ANNOUNCE, withinMs);
    this.writer.text(url);
  }

  private flushNow(): void {
    this.isFlushDue = false;
    this.current = null;
    if (this.writer.length > 0 && !this.isOver) this.around.port.post(this.writer.take());
  }

  // ---- of its connections and streams only ----

  send(stream: number, message: Uint8Array, manner: number, lifetimeMs: number): void {
    const { writer } = this;
    // Who sends a message to many hands over the same bytes each time, and never changes them. One that says how long it lives is said for each, for that is counted from when it is sent.
    if (message !== this.current || manner !== this.currentManner || lifetimeMs > 0) {
      writer.u8(Order.MESSAGE);
      writer.u8(manner);
      writer.f64(lifetimeMs > 0 ? this.around.sharedMs() + lifetimeMs : Number.POSITIVE_INFINITY);
      writer.u32(message.length);
      writer.put(message);
      this.current = message;
      this.currentManner = manner;
    }
    writer.frame(Order.TO, stream);
    // A worker is to have something to do while the turn goes on.
    if (writer.length >= BATCH_BYTES) this.flushNow();
    else this.flushLater();
  }

  order(type: number, subject: number): void {
    this.writer.frame(type, subject);
    this.flushLater();
  }

  orderWith(type: number, subject: number, value: number): void {
    this.writer.frame(type, subject);
    this.writer.u32(value);
    this.flushLater();
  }

  open(connection: WorkerConnection, priority: StreamPriority): WorkerStream {
    this.lastStream += 2;
    const stream = new WorkerStream(this, connection, this.lastStream, {
      id: this.lastStream,
      label: '',
      priority,
      ordered: true,
      delivery: 'reliable',
      messageBytesMax: connection.messageBytesMax,
    });
    this.streams.set(this.lastStream, stream);
    this.writer.frame(Order.OPEN, connection.number);
    this.writer.u32(this.lastStream);
    this.writer.u8(STREAM_PRIORITIES.indexOf(priority));
    this.flushLater();
    return stream;
  }

  askSecret(
    connection: number,
    label: string,
    context: Uint8Array,
    length: number,
  ): Promise<Uint8Array | null> {
    if (this.isOver) return Promise.resolve(null);
    const question = this.ask();
    const { writer } = this;
    writer.frame(Order.EXPORT, connection);
    writer.u32(question);
    writer.u32(length);
    writer.text(label);
    writer.blob(context);
    this.flushLater();
    return this.answerTo(question);
  }

  /** A stream has something that is not read: the worker hears how much when this batch was taken. */
  leavesUnread(stream: WorkerStream): void {
    this.leftUnread.add(stream);
  }

  forgetStream(stream: number): void {
    this.streams.delete(stream);
  }

  /** Lets listeners run. What they throw costs this connection, and nobody else's turn. */
  telling(connection: WorkerConnection, tell: () => void): void {
    try {
      tell();
    } catch (error) {
      this.around.onFault(error);
      connection.destroy(ReasonCode.INTERNAL_ERROR);
    }
  }

  private ask(): number {
    return ++this.lastQuestion;
  }

  /** Null, too, when the worker is gone. */
  private answerTo(question: number): Promise<Uint8Array | null> {
    return new Promise((resolve) => this.questions.set(question, resolve));
  }

  private flushLater(): void {
    if (this.isFlushDue) return;
    this.isFlushDue = true;
    const { clock } = this.around;
    if (clock.atEndOfTick === undefined) clock.soon(this.flush);
    else clock.atEndOfTick(this.flush);
  }

  private takeFrame(type: number): void {
    const { reader } = this;
    switch (type) {
      case Report.MESSAGE: {
        const stream = this.streams.get(reader.u32());
        const isBestEffort = reader.u8() !== 0;
        const message = reader.take(reader.u32());
        // The core may keep it: the few bytes of one message are not to keep the whole batch.
        stream?.receive(Buffer.from(message), isBestEffort);
        break;
      }
      case Report.LEFT: {
        const stream = this.streams.get(reader.u32());
        const bytes = reader.u32();
        stream?.left(bytes); // the core may have reset it meanwhile
        break;
      }
      case Report.CONNECTED:
        this.connected(reader.u32());
        break;
      case Report.DISCONNECTED: {
        const number = reader.u32();
        const why = reader.text();
        const connection = this.connections.get(number);
        this.connections.delete(number);
        connection?.finish(why === '' ? null : new JspError('ERR_JSP_CLOSED', why));
        break;
      }
      case Report.FACTS: {
        const connection = this.connections.get(reader.u32());
        const openable = reader.u32();
        const address = reader.text();
        const identity = reader.text();
        connection?.learn(openable, address, identity);
        break;
      }
      case Report.LINK: {
        const connection = this.connections.get(reader.u32());
        const figures = LINK_FIGURES.map((name) => [name, reader.f64()] as const);
        if (connection !== undefined) connection.link = Object.fromEntries(figures) as unknown as LinkFigures;
        break;
      }
      case Report.STREAM:
        this.streamOpened();
        break;
      case Report.NOT_OPENED:
        this.streams.get(reader.u32())?.finish(null);
        break;
      case Report.ENDED:
        this.streams.get(reader.u32())?.receive(null, false);
        break;
      case Report.CLOSED: {
        const stream = this.streams.get(reader.u32());
        const why = reader.text();
        stream?.finish(why === '' ? null : new JspError('ERR_JSP_STREAM_RESET', why));
        break;
      }
      case Report.ANSWER: {
        const question = reader.u32();
        const answer = reader.blob();
        this.questions.get(question)?.(answer.length === 0 ? null : Uint8Array.from(answer));
        this.questions.delete(question);
        break;
      }
    }
  }

  private connected(number: number): void {
    const { reader } = this;
    const openable = reader.u32();
    const connection = new WorkerConnection(this, number);
    connection.learn(openable, reader.text(), reader.text());
    this.connections.set(number, connection);
    this.around.onConnection(connection);
  }

  private streamOpened(): void {
    const { reader } = this;
    const connection = this.connections.get(reader.u32());
    const number = reader.u32();
    const told = {
      id: reader.f64(),
      messageBytesMax: reader.f64(),
      priority: STREAM_PRIORITIES[reader.u8()],
      ordered: reader.u8() !== 0,
      label: reader.text(),
      delivery: reader.text(),
    };
    if (connection === undefined || connection.isClosing) return;
    const stream = new WorkerStream(this, connection, number, told);
    this.streams.set(number, stream);
    connection.opened(stream);
  }
}

/** What a worker has said of a client's connection. */
class WorkerFacts implements ConnectionFacts {
  readonly door = 'native';
  readonly overLimit = 'wait';
  address = '';
  identity: string | null = null;
  private readonly connection: WorkerConnection;

  constructor(connection: WorkerConnection) {
    this.connection = connection;
  }

  exporter(label: string, context: Uint8Array, length: number): Promise<Uint8Array | null> {
    return this.connection.askSecret(label, context, length);
  }

  link(): LinkFigures | null {
    return this.connection.link;
  }
}

/** A connection that a worker has. */
export class WorkerConnection extends EventEmitter implements MessageConnection {
  readonly number: number;
  readonly facts: WorkerFacts;
  /** The largest message that the client takes, as its streams have said. */
  messageBytesMax = 0;
  /** Figures that the worker tells now and then. */
  link: LinkFigures | null = null;
  private readonly line: WorkerLine;
  private readonly streams = new Set<WorkerStream>();
  /** Streams that may be opened in all, and those that were. */
  private openable = 0;
  private openedHere = 0;
  /** It is over, or is to be: nothing of it is told any more but its end. */
  private closes = false;
  private isOver = false;

  constructor(line: WorkerLine, number: number) {
    super();
    this.line = line;
    this.number = number;
    this.facts = new WorkerFacts(this);
  }

  get isClosing(): boolean {
    return this.closes;
  }

  get openableStreams(): number {
    return this.closes ? 0 : Math.max(0, this.openable - this.openedHere);
  }

  /** @throws {JspError} ERR_JSP_CLOSED */
  openStream({ priority }: { label: string; priority: StreamPriority }): WorkerStream {
    if (this.closes) throw new JspError('ERR_JSP_CLOSED', 'the connection is closed');
    this.openedHere++;
    const stream = this.line.open(this, priority);
    this.streams.add(stream);
    return stream;
  }

  /** Its client hears of nothing that was not handed to its worker's transport; `close` follows. */
  destroy(code: number = ReasonCode.NO_ERROR): void {
    if (this.closes) return;
    this.closes = true;
    this.line.orderWith(Order.CLOSE, this.number, code);
  }

  // ---- of its line and its streams only ----

  /** @param openable - streams that may be opened in all, since the connection began */
  learn(openable: number, address: string, identity: string): void {
    this.openable = openable;
    this.facts.address = address;
    this.facts.identity = identity === '' ? null : identity;
  }

  opened(stream: WorkerStream): void {
    this.streams.add(stream);
    this.messageBytesMax = stream.messageBytesMax;
    this.line.telling(this, () => this.emit('stream', stream));
  }

  askSecret(label: string, context: Uint8Array, length: number): Promise<Uint8Array | null> {
    return this.closes ? Promise.resolve(null) : this.line.askSecret(this.number, label, context, length);
  }

  forget(stream: WorkerStream): void {
    this.streams.delete(stream);
  }

  finish(error: Error | null): void {
    if (this.isOver) return;
    this.isOver = true;
    this.closes = true;
    for (const stream of [...this.streams]) stream.finish(error);
    this.line.telling(this, () => this.emit('close', error));
  }
}

interface StreamFacts {
  readonly id: number;
  readonly label: string;
  readonly priority: StreamPriority;
  readonly ordered: boolean;
  readonly delivery: string;
  readonly messageBytesMax: number;
}

/** A stream of such a connection: what its client has sent and nobody here has taken yet waits in it. */
export class WorkerStream implements MessageStream {
  readonly id: number;
  readonly label: string;
  readonly priority: StreamPriority;
  readonly ordered: boolean;
  readonly delivery: string;
  readonly messageBytesMax: number;
  hasReceivedBestEffort = false;
  highWaterMark = HIGH_WATER_BYTES;
  /** That the worker has, or that is on its way there, as far as it has said what has left. */
  queuedBytes = 0;
  private readonly line: WorkerLine;
  private readonly connection: WorkerConnection;
  private readonly number: number;
  /** What came while it was paused, of which the worker hears later; null: the end. */
  private readonly unread = new Ring<Buffer | null>(4);
  /** What that is, and what the worker knows of it. */
  private unreadBytes = 0;
  private toldUnreadBytes = 0;
  private isPaused = false;
  private awaitsDrain = false;
  private hasEnded = false;
  private isOver = false;
  private onMessage: ((message: Buffer) => void) | null = null;
  private onEnd: Listener | null = null;
  private onDrain: Listener | null = null;
  private onError: ((error: Error) => void) | null = null;
  private onClose: Listener | null = null;

  constructor(line: WorkerLine, connection: WorkerConnection, number: number, facts: StreamFacts) {
    this.line = line;
    this.connection = connection;
    this.number = number;
    this.id = facts.id;
    this.label = facts.label;
    this.priority = facts.priority;
    this.ordered = facts.ordered;
    this.delivery = facts.delivery;
    this.messageBytesMax = facts.messageBytesMax;
  }

  on(event: 'message', listener: (message: Buffer) => void): this;
  on(event: 'error', listener: (error: Error) => void): this;
  on(event: 'end' | 'drain' | 'close', listener: () => void): this;
  /** One listener for each: the driver of the broker. */
  on(event: 'message' | 'end' | 'drain' | 'error' | 'close', listener: (value: never) => void): this {
    if (event === 'message') this.onMessage = listener as (message: Buffer) => void;
    else if (event === 'error') this.onError = listener as (error: Error) => void;
    else if (event === 'end') this.onEnd = listener as Listener;
    else if (event === 'drain') this.onDrain = listener as Listener;
    else this.onClose = listener as Listener;
    return this;
  }

  /** @throws {JspError} ERR_JSP_STREAM_CLOSED */
  send(
    message: Uint8Array,
    options?: { delivery?: 'bestEffort' | 'reliable'; lifetimeMs?: number },
  ): boolean {
    if (this.hasEnded || this.isOver) throw new JspError('ERR_JSP_STREAM_CLOSED', 'the stream has ended');
    if (this.connection.isClosing) return false;
    const lifetimeMs = options?.lifetimeMs ?? 0;
    const isBestEffort = options?.delivery === 'bestEffort';
    const manner = isBestEffort ? Manner.BEST_EFFORT : lifetimeMs > 0 ? Manner.LIVES : Manner.RELIABLE;
    this.queuedBytes += message.length;
    if (this.queuedBytes > this.highWaterMark) this.awaitsDrain = true;
    this.line.send(this.number, message, manner, lifetimeMs);
    return !this.awaitsDrain;
  }

  pause(): void {
    if (this.isPaused || this.isOver) return;
    this.isPaused = true;
    this.line.order(Order.PAUSE, this.number);
  }

  resume(): void {
    if (!this.isPaused || this.isOver) return;
    this.isPaused = false;
    while (!this.isPaused && this.unread.length > 0) {
      const message = this.unread.shift() as Buffer | null;
      if (message !== null) this.unreadBytes -= message.length + MESSAGE_BYTES;
      this.read(message);
    }
    this.tellUnread();
    if (!this.isPaused && !this.isOver) this.line.order(Order.RESUME, this.number);
  }

  end(): void {
    if (this.hasEnded || this.isOver) return;
    this.hasEnded = true;
    this.line.order(Order.END, this.number);
  }

  reset(code: number): void {
    if (this.isOver) return;
    this.line.orderWith(Order.RESET, this.number, code);
    this.finish(null);
  }

  // ---- of its line and its connection only ----

  /** @param message - null: the client has ended its direction */
  receive(message: Buffer | null, isBestEffort: boolean): void {
    if (this.isOver || this.connection.isClosing) return;
    if (isBestEffort) this.hasReceivedBestEffort = true;
    if (!this.isPaused) {
      this.read(message);
      return;
    }
    this.unread.push(message);
    if (message === null) return;
    this.unreadBytes += message.length + MESSAGE_BYTES;
    this.line.leavesUnread(this);
  }

  /** Tells the worker how much of it is not read, where that has changed. */
  tellUnread(): void {
    if (this.isOver || this.unreadBytes === this.toldUnreadBytes) return;
    this.toldUnreadBytes = this.unreadBytes;
    this.line.orderWith(Order.UNREAD, this.number, this.unreadBytes);
  }

  left(bytes: number): void {
    this.queuedBytes -= bytes;
    if (!this.awaitsDrain || this.queuedBytes * 2 > this.highWaterMark) return;
    this.awaitsDrain = false;
    this.line.telling(this.connection, () => this.onDrain?.());
  }

  /** It is over, for whatever reason: with the error of a reset or of the connection, or without one. */
  finish(error: Error | null): void {
    if (this.isOver) return;
    this.isOver = true;
    this.unread.clear();
    this.unreadBytes = 0;
    this.queuedBytes = 0;
    this.line.forgetStream(this.number);
    this.connection.forget(this);
    this.line.telling(this.connection, () => {
      if (error !== null) this.onError?.(error);
      this.onClose?.();
    });
  }

  private read(message: Buffer | null): void {
    try {
      if (message === null) this.onEnd?.();
      else this.onMessage?.(message);
    } catch (error) {
      this.line.telling(this.connection, () => {
        throw error;
      });
    }
    if (message === null) this.end(); // as a stream of the transport does, behind what was answered
  }
}

type Listener = () => void;

/** That of the transport. */
const HIGH_WATER_BYTES = 1_024 * 1_024;
/** A batch that has so much goes before the turn is over. */
const BATCH_BYTES = 64 * 1_024;
