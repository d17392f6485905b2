import { EventEmitter } from 'node:events';
import { JspError } from '../../src/base/errors.ts';
import type { ClientConnection } from '../../src/client/index.ts';
import type { MessageStream, StreamPriority } from '../../src/pubsub/message-stream.ts';

export interface FakeStreamOptions {
  label?: string;
  ordered?: boolean;
  delivery?: string;
  priority?: StreamPriority;
}

type Item = { message: Buffer } | 'end';

/** One end of a stream in memory: a queue towards the peer, and what the peer has sent and this end has not read. */
export class FakeStream extends EventEmitter implements MessageStream {
  readonly id: number;
  readonly label: string;
  readonly ordered: boolean;
  readonly delivery: string;
  readonly priority: StreamPriority;
  messageBytesMax = 2 ** 30;
  highWaterMark = 2 ** 20;
  hasReceivedBestEffort = false;
  /** The code this end was reset with, by itself or by the peer. */
  resetWith: number | null = null;
  peer: FakeStream | null = null;
  /** Messages sent, and not given to the peer yet. */
  readonly outbox: Item[] = [];
  private readonly inbox: Item[] = [];
  private readonly network: FakeNetwork;
  private paused = false;
  private awaitsDrain = false;
  private ended = false;
  private endSeen = false;
  private closed = false;

  constructor(network: FakeNetwork, id: number, options: FakeStreamOptions) {
    super();
    this.network = network;
    this.id = id;
    this.label = options.label ?? '';
    this.ordered = options.ordered ?? true;
    this.delivery = options.delivery ?? 'reliable';
    this.priority = options.priority ?? 'chat';
  }

  get queuedBytes(): number {
    return this.outbox.reduce((sum, item) => sum + (item === 'end' ? 0 : item.message.length), 0);
  }

  get isClosed(): boolean {
    return this.closed;
  }

  send(message: Uint8Array): boolean {
    if (this.ended || this.closed) throw new JspError('ERR_JSP_STREAM_CLOSED', 'the stream has ended');
    this.outbox.push({ message: Buffer.from(message) });
    this.network.schedule();
    if (this.outbox.length > this.network.highWaterMessages) this.awaitsDrain = true;
    return !this.awaitsDrain;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    this.read();
  }

  end(): void {
    if (this.ended || this.closed) return;
    this.ended = true;
    this.outbox.push('end');
    this.network.schedule();
  }

  reset(code = 0): void {
    this.resetWith = code;
    const error = new JspError('ERR_JSP_STREAM_RESET', `the peer reset the stream with code ${code}`, {
      applicationCode: code,
    });
    this.close(null);
    queueMicrotask(() => this.peer?.onReset(code, error));
  }

  private onReset(code: number, error: Error): void {
    if (this.closed) return;
    this.resetWith = code;
    this.close(error);
  }

  override on(event: string, listener: (...args: never[]) => void): this {
    super.on(event, listener as (...args: unknown[]) => void);
    if (event === 'message') queueMicrotask(() => this.read());
    return this;
  }

  /** Moves what the peer's window allows. True when something moved. */
  carry(): boolean {
    const { peer } = this;
    if (peer === null) return false;
    let moved = false;
    while (this.outbox.length > 0 && peer.inbox.length < this.network.windowMessages) {
      peer.inbox.push(this.outbox.shift() as Item);
      moved = true;
    }
    if (moved) peer.read();
    if (this.awaitsDrain && this.outbox.length <= this.network.highWaterMessages / 2) {
      this.awaitsDrain = false;
      this.emit('drain');
    }
    return moved;
  }

  close(error: Error | null): void {
    if (this.closed) return;
    this.closed = true;
    this.outbox.length = 0;
    this.inbox.length = 0;
    if (error !== null && this.listenerCount('error') > 0) this.emit('error', error);
    this.emit('close');
  }

  private read(): void {
    if (this.listenerCount('message') === 0) return;
    while (!this.paused && this.inbox.length > 0) {
      const item = this.inbox.shift() as Item;
      this.network.schedule();
      if (item === 'end') this.onEnd();
      else this.emit('message', item.message);
    }
  }

  private onEnd(): void {
    this.endSeen = true;
    this.emit('end');
    if (this.ended && this.peer?.endSeen) {
      this.close(null);
      this.peer.close(null);
    }
  }
}

/** One end of a connection in memory. */
export class FakeConnection extends EventEmitter implements ClientConnection {
  peer: FakeConnection | null = null;
  readonly streams: FakeStream[] = [];
  /** The code this end closed with. */
  closedWith: number | null = null;
  openableStreams = 1_000;
  private readonly network: FakeNetwork;
  private over = false;

  constructor(network: FakeNetwork) {
    super();
    this.network = network;
  }

  get isOver(): boolean {
    return this.over;
  }

  openStream(options: FakeStreamOptions = {}): FakeStream {
    if (this.over) throw new JspError('ERR_JSP_CLOSED', 'the connection is closed');
    const id = this.network.nextStreamId++;
    const [near, far] = [this, this.peer as FakeConnection].map((end) => {
      const stream = new FakeStream(this.network, id, options);
      end.streams.push(stream);
      return stream;
    });
    near.peer = far;
    far.peer = near;
    queueMicrotask(() => this.peer?.emit('stream', far));
    return near;
  }

  async close(): Promise<void> {
    while (!this.over && this.streams.some((stream) => !stream.isClosed && stream.outbox.length > 0)) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.destroy();
  }

  destroy(code = 0): void {
    if (this.over) return;
    this.closedWith = code;
    this.finish(null);
    const error =
      code === 0
        ? null
        : new JspError('ERR_JSP_CLOSED_BY_PEER', `the peer closed with ${code}`, { applicationCode: code });
    queueMicrotask(() => this.peer?.finish(error));
  }

  /** The connection breaks, as after a heartbeat without an answer. */
  break(): void {
    const error = new JspError('ERR_JSP_HEARTBEAT_TIMEOUT', 'the peer is gone');
    this.finish(error);
    this.peer?.finish(error);
  }

  private finish(error: Error | null): void {
    if (this.over) return;
    this.over = true;
    this.network.forget(this);
    for (const stream of this.streams) stream.close(error);
    this.emit('close', error);
  }
}

/** Connections in memory that behave as the transport's: marks, windows, pause, ends and resets, each a turn later. */
export class FakeNetwork {
  /** Messages above which `send` answers false, and messages that a stream that is not read takes in. */
  readonly highWaterMessages: number;
  readonly windowMessages: number;
  private readonly connections = new Set<FakeConnection>();
  private scheduled = false;
  nextStreamId = 0;

  constructor(highWaterMessages = 16, windowMessages = 16) {
    this.highWaterMessages = highWaterMessages;
    this.windowMessages = windowMessages;
  }

  /** The two ends of a new connection: the client's and the broker's. */
  connect(): [FakeConnection, FakeConnection] {
    const near = new FakeConnection(this);
    const far = new FakeConnection(this);
    near.peer = far;
    far.peer = near;
    this.connections.add(near).add(far);
    return [near, far];
  }

  forget(connection: FakeConnection): void {
    this.connections.delete(connection);
  }

  schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      let moved = false;
      for (const { streams } of this.connections) {
        for (const stream of streams) moved = stream.carry() || moved;
      }
      if (moved) this.schedule();
    });
  }
}
