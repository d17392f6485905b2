/**
 * A message transport in memory and in virtual time, for the broker's driver and its clients: what the real one promises (order within a stream, windows,
 * marks, pauses, ends, resets) and what it meets (delay, silence that is noticed late, connections that break, peers that are gone). One message is one
 * event or fewer, so that a thousand worlds cost seconds; the real protocol has worlds of its own.
 */

import { EventEmitter } from 'node:events';
import { JspError } from '../../../src/base/errors.ts';
import type { Prng } from '../../../src/base/random.ts';
import { MILLISECOND, type Micros } from '../../../src/base/time.ts';
import type { ClientConnection } from '../../../src/client/index.ts';
import type { MessageStream, StreamPriority } from '../../../src/pubsub/message-stream.ts';
import type { VirtualClock } from '../../../src/testing/virtual-clock.ts';

/** What the way between a client and the broker is like at the moment. */
export interface Path {
  readonly name: string;
  latencyMs: number;
  /** Added to each message's latency, at most. */
  jitterMs: number;
  /** What is sent before then arrives then: it was lost, and was sent again. */
  frozenUntil: Micros;
}

/** Which end of a connection. */
export type End = 'client' | 'broker';

/** Sees the messages of one end: when it hands them to the transport, or reads them from it. */
export type Tap = (stream: SimStream, message: Uint8Array) => void;

interface StreamOptions {
  label: string;
  ordered: boolean;
  delivery: string;
  priority: StreamPriority;
}

/** Null: the end of the direction. */
type Item = Buffer | null;

const StreamState = { OPEN: 0, ENDED: 1, CLOSED: 2 } as const;
type StreamState = (typeof StreamState)[keyof typeof StreamState];

/** One end of a stream: what it has to send, and what has come and is not read. */
export class SimStream extends EventEmitter implements MessageStream {
  readonly id: number;
  readonly label: string;
  readonly ordered: boolean;
  readonly delivery: string;
  readonly priority: StreamPriority;
  readonly messageBytesMax = 2 ** 30;
  readonly hasReceivedBestEffort = false;
  readonly connection: SimConnection;
  highWaterMark = HIGH_WATER_BYTES;
  queuedBytes = 0;
  peer!: SimStream;
  private readonly outbox: Item[] = [];
  private readonly inbox: Item[] = [];
  private state: StreamState = StreamState.OPEN;
  /** Sent, and not read over there. */
  private unread = 0;
  /** When the peer hears of it. */
  openedAt: Micros = 0;
  /** When the last of what was sent arrives. */
  lastArrival: Micros = 0;
  private flushIsDue = false;
  private awaitsDrain = false;
  private paused = false;
  private endSeen = false;

  constructor(connection: SimConnection, id: number, { label, ordered, delivery, priority }: StreamOptions) {
    super();
    this.connection = connection;
    this.id = id;
    this.label = label;
    this.ordered = ordered;
    this.delivery = delivery;
    this.priority = priority;
  }

  get isClosed(): boolean {
    return this.state === StreamState.CLOSED;
  }

  send(message: Uint8Array): boolean {
    if (this.state !== StreamState.OPEN) throw new JspError('ERR_JSP_STREAM_CLOSED', 'the stream has ended');
    this.connection.network.onSent?.(this, message);
    this.outbox.push(Buffer.from(message));
    this.queuedBytes += message.length;
    if (this.queuedBytes > Math.min(this.highWaterMark, HIGH_WATER_BYTES)) this.awaitsDrain = true;
    this.flushLater(0);
    return !this.awaitsDrain;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.connection.after(0, () => this.read());
  }

  end(): void {
    if (this.state !== StreamState.OPEN) return;
    this.state = StreamState.ENDED;
    this.outbox.push(null);
    this.flushLater(0);
  }

  reset(code = 0): void {
    if (this.isClosed) return;
    const { peer } = this;
    this.close(null);
    this.connection.cross(() => peer.onReset(code), this.openedAt);
  }

  override on(event: string, listener: (...args: never[]) => void): this {
    super.on(event, listener as (...args: unknown[]) => void);
    if (event === 'message') this.connection.after(0, () => this.read());
    return this;
  }

  /** The stream goes, with `error` where it was not this end that gave it up. */
  close(error: Error | null): void {
    if (this.isClosed) return;
    this.state = StreamState.CLOSED;
    this.outbox.length = 0;
    this.inbox.length = 0;
    this.queuedBytes = 0;
    if (error !== null && this.listenerCount('error') > 0) this.emit('error', error);
    this.emit('close');
  }

  private onReset(code: number): void {
    this.close(
      new JspError('ERR_JSP_STREAM_RESET', `the peer reset the stream with code ${code}`, {
        applicationCode: code,
      }),
    );
  }

  private flushLater(ms: number): void {
    if (this.flushIsDue) return;
    this.flushIsDue = true;
    this.connection.after(ms, () => {
      this.flushIsDue = false;
      this.flush();
    });
  }

  /** Sends what the window over there has room for: all that leaves at once arrives at once. */
  private flush(): void {
    if (this.isClosed) return;
    const room = Math.min(WINDOW_MESSAGES - this.unread, this.outbox.length);
    if (room > 0) {
      const items = this.outbox.splice(0, room);
      this.unread += room;
      for (const item of items) this.queuedBytes -= item?.length ?? 0;
      const { peer } = this;
      this.lastArrival = this.connection.cross(() => peer.receive(items), this.lastArrival);
    }
    if (!this.awaitsDrain || this.queuedBytes * 2 > Math.min(this.highWaterMark, HIGH_WATER_BYTES)) return;
    this.awaitsDrain = false;
    this.emit('drain');
  }

  private receive(items: readonly Item[]): void {
    if (this.isClosed) return;
    this.inbox.push(...items);
    this.read();
  }

  private read(): void {
    if (this.listenerCount('message') === 0) return;
    let count = 0;
    while (!this.paused && this.inbox.length > 0) {
      const item = this.inbox.shift() as Item;
      count++;
      if (item === null) this.onEnd();
      else {
        this.connection.network.onRead?.(this, item);
        this.emit('message', item);
      }
    }
    if (count > 0) this.giveCredit(count);
  }

  private giveCredit(count: number): void {
    const { peer } = this;
    this.connection.cross(() => {
      peer.unread -= count;
      peer.flush();
    });
  }

  private onEnd(): void {
    this.endSeen = true;
    this.emit('end');
    if (this.state === StreamState.OPEN || !this.peer.endSeen) return;
    this.close(null);
    const { peer } = this;
    this.connection.after(0, () => peer.close(null));
  }
}

/** One end of a connection. */
export class SimConnection extends EventEmitter implements ClientConnection {
  readonly network: SimNetwork;
  /** The same at both ends. */
  readonly number: number;
  readonly end: End;
  readonly path: Path;
  readonly streams = new Set<SimStream>();
  readonly openableStreams = 1_000;
  peer!: SimConnection;
  /** Cut off for good: nothing that it sends arrives, and nothing that is sent to it. */
  isGone = false;
  private over = false;

  constructor(network: SimNetwork, end: End, path: Path, number: number) {
    super();
    this.network = network;
    this.number = number;
    this.end = end;
    this.path = path;
  }

  get isOver(): boolean {
    return this.over;
  }

  openStream(options: StreamOptions): SimStream {
    if (this.over) throw new JspError('ERR_JSP_CLOSED', 'the connection is closed');
    const id = this.network.nextStreamId++;
    const near = new SimStream(this, id, options);
    const far = new SimStream(this.peer, id, options);
    near.peer = far;
    far.peer = near;
    this.streams.add(near);
    near.openedAt = this.cross(() => {
      this.peer.streams.add(far);
      this.peer.emit('stream', far);
    });
    near.lastArrival = near.openedAt;
    return near;
  }

  /** Closes when everything sent has arrived, or when nothing has got on for `stallMs`. */
  async close({ stallMs = 10_000 }: { stallMs?: number | undefined } = {}): Promise<void> {
    let before = -1;
    let still = 0;
    while (!this.over && still < stallMs) {
      let waiting = 0;
      for (const { queuedBytes, lastArrival } of this.streams)
        waiting += lastArrival > this.network.clock.now() ? queuedBytes + 1 : queuedBytes;
      if (waiting === 0) break;
      still = waiting === before ? still + CLOSE_LOOK_MS : 0;
      before = waiting;
      await new Promise<void>((resolve) => this.after(CLOSE_LOOK_MS, resolve));
    }
    this.destroy();
  }

  destroy(code = 0): void {
    if (this.over) return;
    const { peer } = this;
    this.cross(() =>
      peer.finish(
        new JspError('ERR_JSP_CLOSED_BY_PEER', `the peer closed with ${code}`, { applicationCode: code }),
      ),
    );
    this.finish(null);
  }

  /** From now on nothing passes, in neither direction; each end notices by itself, after a time of its own. */
  vanish(nearMs: number, farMs: number): void {
    this.isGone = true;
    this.peer.isGone = true;
    const error = () => new JspError('ERR_JSP_HEARTBEAT_TIMEOUT', 'the peer is gone');
    this.after(nearMs, () => this.finish(error()));
    this.after(farMs, () => this.peer.finish(error()));
  }

  /** The process of this end is killed: it says nothing more, hears nothing more, and its peer notices after a time. */
  kill(peerNoticesMs: number): void {
    this.over = true;
    this.isGone = true;
    this.peer.isGone = true;
    for (const stream of this.streams) stream.removeAllListeners();
    this.removeAllListeners();
    this.after(peerNoticesMs, () =>
      this.peer.finish(new JspError('ERR_JSP_STATELESS_RESET', 'the peer does not know the connection')),
    );
  }

  /** Lets `arrive` happen on the other side, after the way there, and not before `notBefore`. Answers when. */
  cross(arrive: () => void, notBefore: Micros = 0): Micros {
    const { clock, random } = this.network;
    const ms = this.path.latencyMs + random.float() * this.path.jitterMs;
    const at = Math.max(notBefore, this.path.frozenUntil, clock.now() + Math.round(ms * MILLISECOND));
    clock.schedule(at, () => {
      if (!this.isGone && !this.peer.isOver) arrive();
    });
    return at;
  }

  after(ms: number, callback: () => void): void {
    const { clock } = this.network;
    clock.schedule(clock.now() + Math.round(ms * MILLISECOND), callback);
  }

  private finish(error: Error | null): void {
    if (this.over) return;
    this.over = true;
    for (const stream of [...this.streams]) stream.close(error);
    this.streams.clear();
    this.emit('close', error);
  }
}

/** Makes connections, and carries what goes over them. */
export class SimNetwork {
  readonly clock: VirtualClock;
  readonly random: Prng;
  onSent: Tap | null = null;
  onRead: Tap | null = null;
  nextStreamId = 0;
  private connections = 0;

  constructor(clock: VirtualClock, random: Prng) {
    this.clock = clock;
    this.random = random;
  }

  /** The two ends of a new connection: the client's and the broker's. */
  connect(path: Path): [SimConnection, SimConnection] {
    const number = ++this.connections;
    const near = new SimConnection(this, 'client', path, number);
    const far = new SimConnection(this, 'broker', path, number);
    near.peer = far;
    far.peer = near;
    return [near, far];
  }
}

/** Small, so that a few messages fill them: windows and marks are what is to be met. */
const WINDOW_MESSAGES = 12;
const HIGH_WATER_BYTES = 600;
const CLOSE_LOOK_MS = 50;
