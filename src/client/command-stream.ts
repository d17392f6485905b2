/** A stream to the broker, and the requests on it that wait for their answer. */

import { JspError } from '../base/errors.ts';
import { decodePosition } from '../pubsub/acknowledgement.ts';
import {
  Command,
  CommandReader,
  decodeDropped,
  decodeLane,
  decodeRefused,
  encodePlain,
  PUBLISHED_ALL,
  ReasonCode,
  reasonCodeName,
  Side,
  STREAM_LABEL,
} from '../pubsub/command.ts';
import type { MessageConnection, MessageStream, StreamPriority } from '../pubsub/message-stream.ts';
import { abortError, onAbort } from '../transport/abort.ts';
import { refusedError } from './refusal.ts';

/** What the owner of a {@link CommandStream} wants to hear. */
export interface CommandListener {
  onDrain?(): void;
  /** A delivery, as `reader` has read it: good until the next command. */
  onDelivery?(message: Buffer, reader: CommandReader): void;
  /** The answer to a SUBSCRIBE, before its request settles: deliveries may come right behind it. */
  onSubscribed?(answer: Buffer): void;
  /** Where a reader of a log is. */
  onPosition?(epoch: number, offset: number): void;
  /** Messages are missing here, because this client does not take so large ones, or none that are compressed. [BRK-24, BRK-43] */
  onDropped?(count: number, reason: number): void;
  /** The stream carries deliveries of the subscribing stream with this number. [BRK-39] */
  onLane?(streamId: number): void;
  /** A PUBLISHED, and a REFUSED of what {@link CommandStream.request} has not sent. */
  onPublished?(answer: Buffer, id: number, isAll: boolean): void;
  onRefused?(id: number, error: JspError): void;
  /** What the broker tells without having been asked. */
  onNotice?(notice: Buffer): void;
  /** The stream is over: with null after an end that was asked for. */
  onClosed(error: Error | null): void;
}

/** Opens a stream to the broker. [BRK-1] */
export function openCommandStream(connection: MessageConnection, priority: StreamPriority): MessageStream {
  return connection.openStream({ label: STREAM_LABEL, priority, delivery: 'reliable', ordered: true });
}

/** A stream to the broker on which requests are answered. */
export class CommandStream {
  readonly stream: MessageStream;
  private readonly requests = new PendingRequests();
  private readonly reader = new CommandReader(Side.CLIENT);
  private readonly connection: MessageConnection;
  private listener: CommandListener;
  private closed = false;

  constructor(connection: MessageConnection, stream: MessageStream, listener: CommandListener) {
    this.connection = connection;
    this.stream = stream;
    this.listener = listener;
    this.stream.on('message', (message) => this.receive(message));
    this.stream.on('drain', () => this.listener.onDrain?.());
    this.stream.on('error', (error) => this.close(error));
    this.stream.on('end', () => this.end());
    this.stream.on('close', () => this.close(null));
  }

  /** So much waits for the broker to read it that nothing more should be added, until `onDrain`. */
  get isFull(): boolean {
    return this.stream.queuedBytes > this.stream.highWaterMark;
  }

  /** From now on `listener` hears what comes. */
  giveTo(listener: CommandListener): void {
    this.listener = listener;
  }

  /** Sends the command that `encode` makes of a fresh id, and waits for its answer. Rejects with what the broker refused it for. */
  async request(encode: (id: number) => Uint8Array, signal?: AbortSignal): Promise<void> {
    await this.ask(encode, signal);
  }

  /** As {@link request}, for what is in the answer. */
  ask(encode: (id: number) => Uint8Array, signal?: AbortSignal): Promise<Buffer> {
    if (this.closed) return Promise.reject(closedError());
    return this.requests.ask((id) => void this.stream.send(encode(id)), signal);
  }

  /** Ends this direction; what the broker still sends is ignored. */
  end(): void {
    this.close(null);
    this.stream.end();
    this.stream.resume();
  }

  /** The broker breaks the protocol: nothing that it says on this connection counts any more. */
  fail(code: ReasonCode): void {
    this.connection.destroy(code, reasonCodeName(code));
  }

  /** Gives the stream up. */
  reset(): void {
    if (this.closed) return;
    this.close(null);
    this.stream.reset(ReasonCode.NO_ERROR);
  }

  private receive(message: Buffer): void {
    if (this.closed) return;
    const { reader, listener } = this;
    const code = reader.read(message); // [BRK-2]
    if (code !== ReasonCode.NO_ERROR) {
      this.fail(code); // [BRK-6]
      return;
    }
    switch (reader.command) {
      case Command.PUBLISH:
        listener.onDelivery?.(message, reader);
        break;
      case Command.SUBSCRIBED:
        listener.onSubscribed?.(message);
        this.requests.settle(reader.id);
        break;
      case Command.POSITION: {
        const { epoch, offset } = decodePosition(message);
        listener.onPosition?.(epoch, offset);
        break;
      }
      case Command.REFUSED:
        if (!this.requests.refuse(reader.id, refusal(message))) {
          listener.onRefused?.(reader.id, refusal(message));
        }
        break;
      case Command.PUBLISHED:
        listener.onPublished?.(message, reader.id, (reader.flags & PUBLISHED_ALL) !== 0);
        break;
      case Command.NOTICE:
        listener.onNotice?.(message);
        break;
      case Command.MARK:
        this.answerMark(reader.id);
        break;
      case Command.LANE:
        listener.onLane?.(decodeLane(message));
        break;
      case Command.DROPPED: {
        const { count, reason } = decodeDropped(message);
        listener.onDropped?.(count, reason);
        break;
      }
      default:
        this.requests.settle(reader.id, message);
    }
  }

  /** A broker that asks without end and takes no answer is not worth keeping, nor is it the application's fault. [BRK-39] */
  private answerMark(mark: number): void {
    try {
      this.stream.send(encodePlain(Command.MARKED, mark));
    } catch {
      this.connection.destroy(ReasonCode.INTERNAL_ERROR, reasonCodeName(ReasonCode.INTERNAL_ERROR));
    }
  }

  private close(error: Error | null): void {
    if (this.closed) return;
    this.closed = true;
    if (!this.requests.isEmpty) this.requests.failAll(error ?? closedError());
    this.listener.onClosed(error);
  }
}

/** Requests on one stream that wait for their answer, by id. */
export class PendingRequests {
  /** Null: nobody waits, as on most streams nearly always. */
  private pending: Map<number, Pending> | null = null;
  private lastId: number;

  /** @param lastId - the id before the first one */
  constructor(lastId = 0) {
    this.lastId = lastId;
  }

  /**
   * Gives a request its id, sends it, and waits for the answer.
   *
   * @param send - sends the request with this id
   * @throws {JspError} `ERR_JSP_ABORTED` when `signal` fires first; what {@link refuse} and {@link failAll} were given
   */
  async request(send: (id: number) => void, signal?: AbortSignal): Promise<void> {
    await this.ask(send, signal);
  }

  /** As {@link request}, for what is in the answer. */
  ask(send: (id: number) => void, signal?: AbortSignal): Promise<Buffer> {
    return new Promise<Buffer>((resolve, reject) => {
      if (signal?.aborted) throw abortError(signal);
      const id = this.nextId();
      send(id);
      this.pending ??= new Map();
      if (signal === undefined) {
        this.pending.set(id, { resolve, reject });
        return;
      }
      const forget = onAbort(signal, () => {
        this.take(id);
        reject(abortError(signal));
      });
      this.pending.set(id, {
        resolve: (answer) => {
          forget();
          resolve(answer);
        },
        reject: (error) => {
          forget();
          reject(error);
        },
      });
    });
  }

  /** Nobody waits. */
  get isEmpty(): boolean {
    return this.pending === null;
  }

  /** The answer to `id` has come. An id that is not waited for any more is ignored. */
  settle(id: number, answer: Buffer = NO_ANSWER): void {
    this.take(id)?.resolve(answer);
  }

  /** False: nobody waits for an answer to `id`. */
  refuse(id: number, error: Error): boolean {
    const waiting = this.take(id);
    waiting?.reject(error);
    return waiting !== undefined;
  }

  settleAll(): void {
    for (const waiting of this.takeAll()) waiting.resolve(NO_ANSWER);
  }

  failAll(error: Error): void {
    for (const waiting of this.takeAll()) waiting.reject(error);
  }

  private take(id: number): Pending | undefined {
    const waiting = this.pending?.get(id);
    if (this.pending?.delete(id) === true && this.pending.size === 0) this.pending = null;
    return waiting;
  }

  private takeAll(): Iterable<Pending> {
    const all = this.pending?.values() ?? [];
    this.pending = null;
    return all;
  }

  /** Ids go round, and none is used that waits. */
  private nextId(): number {
    do this.lastId = this.lastId >= ID_MAX ? 1 : this.lastId + 1;
    while (this.pending?.has(this.lastId) === true);
    return this.lastId;
  }
}

interface Pending {
  resolve: (answer: Buffer) => void;
  reject: (error: Error) => void;
}

function refusal(message: Buffer): JspError {
  const { code, reason } = decodeRefused(message);
  return refusedError(code, reason);
}

/** The error of whatever waits or is asked for when the connection is over without an error of its own. */
export function closedError(): JspError {
  return new JspError('ERR_JSP_CLOSED', 'The connection to the broker is closed; connect again.');
}

/** The error of what needs a connection while the client has none. */
export function offlineError(): JspError {
  return new JspError(
    'ERR_JSP_OFFLINE',
    'The client has no connection to the broker now; it comes back by itself, and tells that by the event state.',
  );
}

const NO_ANSWER = Buffer.alloc(0);
const ID_MAX = 0xffff_ffff;
