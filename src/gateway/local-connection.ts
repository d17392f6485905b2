/**
 * A connection within the process: two ends in memory, with streams, flow control and ends as the transport has them, and nothing encoded, encrypted or copied.
 * What one end sends the other is handed over soon, all of a turn of the event loop together. So bytes that were given to `send` are never touched again,
 * by nobody, and a message that the broker hands to many of these is the same object for all of them.
 *
 * It is one file because connection and stream end each other.
 */

import { EventEmitter } from 'node:events';
import { JspError } from '../base/errors.ts';
import { Ring } from '../base/ring.ts';
import { MILLISECOND, type Micros, NEVER } from '../base/time.ts';
import { COMMAND_BYTES_MAX, ReasonCode, reasonCodeName } from '../pubsub/command.ts';
import type {
  ConnectionFacts,
  MessageConnection,
  MessageStream,
  StreamPriority,
} from '../pubsub/message-stream.ts';
import { type Clock, systemClock } from '../udp/clock.ts';

export interface LocalPairOptions {
  /** Of the far end: who it is that has connected. */
  readonly facts: ConnectionFacts;
  /** Whose turns the two take; pairs that share them take them in the order in which something happened. */
  readonly turns: Turns;
  /** A listener of either end threw, and its connection has failed. */
  readonly onFault: (error: unknown) => void;
}

/** The two ends of a new connection: the near one for who connects, the far one for who is connected to. */
export function localPair(options: LocalPairOptions): [near: LocalConnection, far: LocalConnection] {
  const near = new LocalConnection(options, undefined);
  const far = new LocalConnection(options, options.facts);
  near.join(far);
  far.join(near);
  return [near, far];
}

/** Something that has work to do in a turn. */
interface Worker {
  /** Does a share of its work. Returns how much that was; whatever is left has to be asked for again. */
  work(): number;
}

/**
 * Who works when: in the order in which they were called, when the event loop has been to all sockets that had something, until nobody has anything to do. What came by many of them
 * is so handed over together and answered together, which is worth more than anything else here: 20 callers by HTTP are answered twice as fast as where each is answered on his own.
 * What is said in answer follows at once, as a SUBSCRIBE does a WELCOME: so both are told in one write.
 * But a loop with many sockets can go on from one to the next for seconds, so that when enough has come it is handed over when what is running now has run; and after so much at a
 * time the event loop goes on first, for two ends that answer each other would keep it from everyone else.
 */
export class Turns {
  private readonly called = new Ring<Worker>(64);
  private readonly clock: Clock;
  /** The event loop will call. */
  private isArmed = false;
  private isHastened = false;
  private inTurn = false;
  /** Things to do that have come since the last turn. */
  private waiting = 0;
  private readonly onSoon = () => {
    this.isArmed = false;
    this.turn();
  };
  private readonly onHaste = () => this.turn();
  /** So many turns may follow one before the event loop goes on; until the end of its tick. */
  private followUps = 0;
  private isTickWatched = false;
  private readonly onEndOfTick = () => {
    this.isTickWatched = false;
    this.followUps = 0;
  };

  constructor(clock: Clock = systemClock) {
    this.clock = clock;
  }

  get now(): Micros {
    return this.clock.now();
  }

  call(worker: Worker): void {
    this.called.push(worker);
    this.callAgain();
  }

  /** Somebody who is called has one thing more to do. */
  callAgain(): void {
    if (this.inTurn || this.isHastened) return;
    if (++this.waiting >= WORK_TOGETHER || this.followUps > 0) {
      if (this.followUps > 0) this.followUps--;
      this.isHastened = true;
      void SETTLED.then(this.onHaste); // costs a fraction of what queueMicrotask does
    } else this.arm();
  }

  private arm(): void {
    if (this.isArmed) return;
    this.isArmed = true;
    this.clock.soon(this.onSoon);
  }

  private turn(): void {
    this.inTurn = true;
    let left = WORK_OF_A_TURN;
    while (left > 0) {
      const next = this.called.shift();
      if (next === undefined) break;
      left -= next.work();
    }
    this.inTurn = false;
    this.isHastened = false;
    this.waiting = 0;
    if (this.called.length > 0) this.arm();
    if (this.isTickWatched || this.clock.atEndOfTick === undefined) return;
    this.isTickWatched = true;
    this.followUps = FOLLOW_UPS_MAX;
    this.clock.atEndOfTick(this.onEndOfTick);
  }
}

/** One end of a connection within the process. */
export class LocalConnection extends EventEmitter implements MessageConnection, Worker {
  readonly facts: ConnectionFacts | undefined;
  private readonly turns: Turns;
  private readonly onFault: (error: unknown) => void;
  private peer: LocalConnection | null = null;
  private readonly streams = new Set<LocalStream>();
  /** Streams that the peer has opened and nobody here was told of yet. */
  private readonly opened = new Ring<LocalStream>(4);
  private lastStreamId = 0;
  private isOver = false;
  /** What the peer has ended it with. */
  private ending: JspError | null = null;
  private isEnding = false;

  constructor({ turns, onFault }: LocalPairOptions, facts: ConnectionFacts | undefined) {
    super();
    this.facts = facts;
    this.turns = turns;
    this.onFault = onFault;
  }

  /** Makes `peer` its other end: only of {@link localPair}. */
  join(peer: LocalConnection): void {
    this.peer = peer;
  }

  get openableStreams(): number {
    return Math.max(0, STREAMS_MAX - this.streams.size);
  }

  /** @throws {JspError} ERR_JSP_CLOSED, or what the other end has closed with; ERR_JSP_QUEUE_FULL when it has as many as it may have */
  openStream(options: { label: string; priority: StreamPriority }): LocalStream {
    const { peer } = this;
    if (this.isOver || peer === null) {
      throw this.ending ?? new JspError('ERR_JSP_CLOSED', 'the connection is closed');
    }
    if (this.streams.size >= STREAMS_MAX) {
      throw new JspError(
        'ERR_JSP_QUEUE_FULL',
        `the connection has ${STREAMS_MAX} streams, and may have no more`,
      );
    }
    const id = ++this.lastStreamId * 2 + (this.facts === undefined ? 0 : 1);
    const near = new LocalStream(this, id, options);
    const far = new LocalStream(peer, id, options);
    near.join(far);
    far.join(near);
    this.streams.add(near);
    peer.streams.add(far);
    peer.opened.push(far);
    this.turns.call(peer);
    return near;
  }

  /** Ends it at once: what the peer was not handed yet is lost. */
  destroy(code: number = ReasonCode.NO_ERROR, reason = ''): void {
    if (this.isOver) return;
    const { peer } = this;
    this.finish(null);
    if (peer === null || peer.isOver) return;
    peer.isEnding = true;
    peer.ending =
      code === ReasonCode.NO_ERROR
        ? null
        : new JspError(
            'ERR_JSP_CLOSED_BY_PEER',
            `the other end has closed: ${reason || reasonCodeName(code)}`,
            {
              applicationCode: code,
              reason,
            },
          );
    this.turns.call(peer);
  }

  /** The same: nothing is on its way that could be waited for. */
  async close(): Promise<void> {
    this.destroy();
  }

  work(): number {
    if (this.isEnding) this.finish(this.ending);
    for (let stream = this.opened.shift(); stream !== undefined; stream = this.opened.shift()) {
      const opened = stream;
      if (!this.isOver) this.telling(() => this.emit('stream', opened));
    }
    return 1;
  }

  // ---- of its streams only ----

  forget(stream: LocalStream): void {
    this.streams.delete(stream);
  }

  call(worker: Worker): void {
    this.turns.call(worker);
  }

  callAgain(): void {
    this.turns.callAgain();
  }

  get now(): Micros {
    return this.turns.now;
  }

  /** Lets listeners of this end run. What they throw costs this connection, and nobody else's turn. */
  telling(tell: () => void): void {
    try {
      tell();
    } catch (error) {
      this.onFault(error);
      this.destroy(ReasonCode.INTERNAL_ERROR, reasonCodeName(ReasonCode.INTERNAL_ERROR));
    }
  }

  private finish(error: JspError | null): void {
    if (this.isOver) return;
    this.isOver = true;
    for (const stream of this.streams) stream.finish(error);
    this.telling(() => this.emit('close', error));
  }
}

/** One end of a stream: what was sent to it and not read yet waits in it. */
export class LocalStream implements MessageStream, Worker {
  readonly id: number;
  readonly label: string;
  readonly ordered = true;
  readonly delivery = 'reliable';
  readonly priority: StreamPriority;
  readonly messageBytesMax = COMMAND_BYTES_MAX;
  readonly hasReceivedBestEffort = false;
  highWaterMark: number = HIGH_WATER_BYTES;
  private readonly connection: LocalConnection;
  private peer: LocalStream | null = null;
  private readonly unread = new Ring<Uint8Array>(4);
  /** Until when each of them is worth handing over. */
  private readonly deadlines = new Ring<Micros>(4);
  private unreadBytes = 0;
  private isPaused = false;
  private isCalled = false;
  /** This end has been told that there is enough for now. */
  private awaitsDrain = false;
  /** Of the two directions: what this end has done with its own, and how far it has come with the peer's. */
  private hasEnded = false;
  private peerHasEnded = false;
  private isRead = false;
  private isOver = false;
  /** What the peer has reset it with, until it is told. */
  private resetBy: JspError | null = null;
  // Who listens. There are four of these streams for each client of a door, and an EventEmitter would have a table for each.
  private onMessage: ((message: Buffer) => void) | null = null;
  private onEnd: Listener | null = null;
  private onDrain: Listener | null = null;
  private onError: ((error: JspError) => void) | null = null;
  private onClose: Listener | null = null;

  constructor(
    connection: LocalConnection,
    id: number,
    { label, priority }: { label: string; priority: StreamPriority },
  ) {
    this.connection = connection;
    this.id = id;
    this.label = label;
    this.priority = priority;
  }

  /** Makes `peer` its other end: only of {@link LocalConnection.openStream}. */
  join(peer: LocalStream): void {
    this.peer = peer;
  }

  on(event: 'message', listener: (message: Buffer) => void): this;
  on(event: 'error', listener: (error: JspError) => void): this;
  on(event: 'end' | 'drain' | 'close', listener: () => void): this;
  on(event: 'message' | 'end' | 'drain' | 'error' | 'close', listener: (value: never) => void): this {
    switch (event) {
      case 'message':
        this.onMessage = both(this.onMessage, listener as (message: Buffer) => void);
        break;
      case 'end':
        this.onEnd = both(this.onEnd, listener as Listener);
        break;
      case 'drain':
        this.onDrain = both(this.onDrain, listener as Listener);
        break;
      case 'error':
        this.onError = both(this.onError, listener as (error: JspError) => void);
        break;
      case 'close':
        this.onClose = both(this.onClose, listener as Listener);
        break;
    }
    return this;
  }

  get queuedBytes(): number {
    return this.peer === null ? 0 : this.peer.unreadBytes;
  }

  /**
   * Gives `message` to the other end, which keeps it, whatever `transfer` says.
   *
   * @throws {JspError} ERR_JSP_STREAM_CLOSED; ERR_JSP_MESSAGE_TOO_LARGE
   */
  send(message: Uint8Array, options?: { lifetimeMs?: number }): boolean {
    const { peer } = this;
    if (this.hasEnded || this.isOver || peer === null) {
      throw new JspError('ERR_JSP_STREAM_CLOSED', 'the stream has ended');
    }
    if (message.length > this.messageBytesMax) {
      throw new JspError('ERR_JSP_MESSAGE_TOO_LARGE', `a message is at most ${this.messageBytesMax} bytes`);
    }
    const { lifetimeMs = 0 } = options ?? NO_OPTIONS;
    peer.receive(message, lifetimeMs > 0 ? this.connection.now + lifetimeMs * MILLISECOND : NEVER);
    if (peer.unreadBytes > this.highWaterMark) this.awaitsDrain = true;
    return !this.awaitsDrain;
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
    this.call();
  }

  end(): void {
    if (this.hasEnded || this.isOver) return;
    this.hasEnded = true;
    if (this.peer === null) return;
    this.peer.peerHasEnded = true;
    this.peer.call();
  }

  reset(code: number): void {
    if (this.isOver) return;
    const { peer } = this;
    this.finish(null);
    if (peer === null || peer.isOver) return;
    peer.resetBy = new JspError('ERR_JSP_STREAM_RESET', `the stream was reset: ${reasonCodeName(code)}`, {
      applicationCode: code,
    });
    peer.call();
  }

  work(): number {
    this.isCalled = false;
    if (this.resetBy !== null) this.finish(this.resetBy);
    let count = 0;
    while (!this.isPaused && !this.isOver && this.unread.length > 0) {
      if (++count > MESSAGES_OF_A_TURN) {
        this.call();
        return count;
      }
      const message = this.unread.shift() as Uint8Array;
      const deadline = this.deadlines.shift() as Micros;
      this.unreadBytes -= message.length;
      if (deadline === NEVER || this.connection.now < deadline) this.tellMessage(message);
    }
    this.peer?.readOn();
    if (this.peerHasEnded && this.unread.length === 0 && !this.isPaused && !this.isRead) this.readEnd();
    return count + 1;
  }

  /** It is over, for whatever reason: with the error of a reset or of the connection, or without one. */
  finish(error: JspError | null): void {
    if (this.isOver) return;
    this.isOver = true;
    this.unread.clear();
    this.deadlines.clear();
    this.unreadBytes = 0;
    this.connection.forget(this);
    this.connection.telling(() => {
      if (error !== null) this.onError?.(error);
      this.onClose?.();
    });
  }

  private receive(message: Uint8Array, deadline: Micros): void {
    if (this.isOver) return;
    this.unread.push(message);
    this.deadlines.push(deadline);
    this.unreadBytes += message.length;
    if (this.isPaused) return;
    if (this.isCalled) this.connection.callAgain();
    else this.call();
  }

  private tellMessage(message: Uint8Array): void {
    try {
      this.onMessage?.(asBuffer(message));
    } catch (error) {
      this.connection.telling(() => {
        throw error;
      });
    }
  }

  /** The peer has read something. */
  private readOn(): void {
    if (!this.awaitsDrain || this.isOver || this.queuedBytes * 2 > this.highWaterMark) return;
    this.awaitsDrain = false;
    this.connection.telling(() => this.onDrain?.());
  }

  private readEnd(): void {
    this.isRead = true;
    this.connection.telling(() => this.onEnd?.());
    const { peer } = this;
    if (!this.hasEnded || peer === null || !peer.isRead) return;
    this.finish(null);
    peer.finish(null);
  }

  private call(): void {
    if (this.isCalled || this.isOver) return;
    this.isCalled = true;
    this.connection.call(this);
  }
}

type Listener = () => void;

/** One after the other. */
function both<T extends unknown[]>(
  first: ((...args: T) => void) | null,
  second: (...args: T) => void,
): (...args: T) => void {
  if (first === null) return second;
  return (...args) => {
    first(...args);
    second(...args);
  };
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Streams of both ends of a connection together: a broker opens lanes beside those of its client. */
const STREAMS_MAX = 1_104;
/** Unread bytes at which a sender is told that it is enough; whoever sends may choose another mark. */
const HIGH_WATER_BYTES = 256 * 1024;
/** Messages that one stream hands over before the others have their turn, and pieces of work before the event loop goes on. */
const MESSAGES_OF_A_TURN = 512;
const WORK_OF_A_TURN = 4_096;
/** Things to do that are enough to be done at once: much fewer than a busy loop goes through before it calls (1,024 sockets, up to 48 times), and more than gain by each other. */
const WORK_TOGETHER = 64;
const FOLLOW_UPS_MAX = 8;
const NO_OPTIONS: { lifetimeMs?: number } = {};
const SETTLED = Promise.resolve();
