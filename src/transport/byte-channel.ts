/**
 * A message stream taken for a stream of bytes: what Node's `Duplex` and the Web's pair of streams, in byte-streams.ts, have in common.
 *
 * The bytes are those of the messages, one after the other. Where one message ends and the next begins means nothing, and a message without
 * bytes brings none. [STR-44] So a sender cuts what is too large for a message and joins what is small; a receiver hands on each message in the
 * memory in which it came, without a copy.
 */

import { JspError } from '../base/errors.ts';
import type { SendOptions } from './options.ts';
import { endOfStream, type Stream } from './stream.ts';

/** Who gets the bytes that come. */
export interface ByteTaker {
  /** Takes what came; false when that is enough for now, until {@link ByteChannel.pull}. */
  take(bytes: Buffer): boolean;
  /** The peer has ended its direction, and everything before was taken. */
  end(): void;
  /** Nothing works any more: neither direction, though bytes may have been taken that nobody has read. */
  fail(error: Error): void;
  /** All bytes of the peer have come, and nothing can be written any more; null: nor was anything missed. */
  failWriting(error: Error | null): void;
}

/** Told when something is done, with null, or with the error that kept it from being done. */
export type Done = (error?: Error | null) => void;

/** One message stream as bytes in both directions. It takes the stream over: nobody else reads it, or writes to it. */
export class ByteChannel {
  private readonly stream: Stream;
  private readonly taker: ByteTaker;
  private readonly messageBytes: number;
  private reading: Reading = Reading.PAUSED;
  private writing: Writing = Writing.IDLE;
  /** What is being written, and who is told when it is. */
  private messages: Iterator<CutMessage> | null = null;
  private done: Done = () => {};
  /** The stream is over; `closedBy` says why unless both sides ended it. */
  private isClosed = false;
  private closedBy: JspError | null = null;
  private cancelCode = 0;

  /**
   * @param messageBytes - where writes are cut
   * @throws JspError ERR_JSP_OPTION_INVALID for a stream that may lose messages, or mix them up; and for one that is read already [STR-45]
   */
  constructor(stream: Stream, taker: ByteTaker, messageBytes: number) {
    assertCarriesBytes(stream);
    this.stream = stream;
    this.taker = taker;
    this.messageBytes = messageBytes;
    stream.allowHalfOpen = true; // who has the bytes decides when this direction ends
    stream.pause();
    stream.on('message', (message) => this.onMessage(message));
    stream.on('end', () => this.onEnd());
    stream.on('drain', () => this.sendOn());
    stream.on('error', (error) => {
      this.closedBy = error;
    });
    stream.on('close', () => this.onClose());
    const end = endOfStream(stream);
    if (end === undefined) return;
    this.closedBy = end;
    queueMicrotask(() => this.onClose());
  }

  /** There is room for more bytes. */
  pull(): void {
    if (this.reading !== Reading.PAUSED) return;
    this.reading = Reading.FLOWING;
    this.stream.resume();
    this.judge();
  }

  /** Sends bytes, one call at a time; `done` follows as soon as more may be written, or with the error. */
  write(chunks: readonly Uint8Array[], done: Done): void {
    this.writing = Writing.WRITING;
    this.done = done;
    this.messages = cutIntoMessages(
      chunks,
      Math.max(1, Math.min(this.messageBytes, this.stream.messageBytesMax)),
    );
    this.sendOn();
  }

  /** Ends this direction; `done` follows when the peer's transport has everything. */
  finish(done: Done): void {
    if (this.isClosed && this.closedBy === null) return done();
    this.writing = Writing.ENDING;
    this.done = done;
    this.stream.end();
    this.stream.flush().then(
      () => this.onFinished(),
      () => this.onUnfinished(),
    );
  }

  /** What still comes is not wanted. The other direction stays as it is. */
  cancel(code: number): void {
    this.cancelCode = code;
    if (this.reading === Reading.ENDED) return;
    this.reading = Reading.CANCELLED;
    if (this.writing === Writing.FINISHED) this.stream.reset(code);
    else this.stream.resume(); // and throw away
  }

  /**
   * Gives up both directions, with a code that the peer sees. Where there is nothing to give up, since the peer has ended and nothing waits
   * to be sent, and no error either, this side just ends. Whoever waits for a write hears of it.
   */
  abandon(error: unknown, code: number): void {
    const isDone = this.reading === Reading.ENDED && this.writing !== Writing.WRITING;
    this.reading = Reading.ENDED;
    if (error === null && isDone) this.stream.end();
    else this.stream.reset(error === null ? 0 : code);
    this.settle(error instanceof Error ? error : abandoned());
    this.writing = Writing.FINISHED;
  }

  private onMessage(message: Buffer): void {
    if (this.stream.hasReceivedBestEffort) return this.fail(mixed(this.stream)); // [STR-45] what is best effort may be missing
    if (message.length === 0 || this.reading !== Reading.FLOWING) return;
    if (this.taker.take(message) || this.reading !== Reading.FLOWING) return;
    this.reading = Reading.PAUSED;
    this.stream.pause();
  }

  private onEnd(): void {
    if (this.reading === Reading.ENDED) return;
    const isWanted = this.reading !== Reading.CANCELLED;
    this.reading = Reading.ENDED;
    if (isWanted) this.taker.end();
  }

  private sendOn(): void {
    const { messages, stream } = this;
    if (messages === null) return;
    try {
      for (;;) {
        const next = messages.next();
        if (next.done === true) break;
        if (!stream.send(next.value.bytes, next.value.isOurs ? GIVEN_AWAY : COPIED)) return; // goes on at `drain`, or the end
      }
    } catch (error) {
      return this.settle(error as Error);
    }
    this.settle(null);
  }

  private onFinished(): void {
    this.writing = Writing.FINISHED;
    this.settle(null);
    if (this.reading === Reading.CANCELLED) this.stream.reset(this.cancelCode);
  }

  /** A peer that has ended, too, and then closes the connection well had what it wanted, even if it did not wait to say so. */
  private onUnfinished(): void {
    if (this.closedBy === null && this.reading === Reading.ENDED) this.onFinished();
    else this.fail(this.closedBy ?? closedEarly(this.stream));
  }

  private settle(error: Error | null): void {
    this.messages = null;
    if (this.writing === Writing.WRITING) this.writing = Writing.IDLE;
    const { done } = this;
    this.done = () => {};
    done(error);
  }

  /** What came before the end of the stream is still handed on, as long as the end does not make it worthless. */
  private onClose(): void {
    this.isClosed = true;
    const isReset = this.closedBy?.code === 'ERR_JSP_STREAM_RESET';
    if (isReset || this.writing === Writing.WRITING)
      return this.fail(this.closedBy ?? closedEarly(this.stream));
    if (this.reading === Reading.FLOWING) this.stream.resume();
    this.judge();
  }

  /** Once the stream is over and all that came was taken: whether something is missing. */
  private judge(): void {
    if (!this.isClosed || this.reading === Reading.PAUSED) return;
    if (this.reading === Reading.FLOWING) return this.fail(this.closedBy ?? closedEarly(this.stream));
    if (this.writing === Writing.IDLE) this.taker.failWriting(this.closedBy);
  }

  private fail(error: Error): void {
    this.reading = Reading.ENDED;
    this.settle(error);
    this.taker.fail(error);
  }
}

/** A message to send, and whether its memory is nobody else's. */
export interface CutMessage {
  readonly bytes: Uint8Array;
  readonly isOurs: boolean;
}

/** Messages of at most `bytesMax` with the bytes of `chunks`: large chunks are cut, small neighbours joined. */
export function* cutIntoMessages(chunks: readonly Uint8Array[], bytesMax: number): Generator<CutMessage> {
  for (let first = 0; first < chunks.length; ) {
    let next = first;
    let bytes = 0;
    while (next < chunks.length && bytes + chunks[next].length <= bytesMax) bytes += chunks[next++].length;
    if (next - first > 1) {
      yield { bytes: Buffer.concat(chunks.slice(first, next), bytes), isOurs: true };
    } else {
      next = first + 1;
      const chunk = chunks[first];
      for (let from = 0; from < chunk.length; from += bytesMax) {
        yield { bytes: chunk.subarray(from, from + bytesMax), isOurs: false };
      }
    }
    first = next;
  }
}

/** [STR-45] Bytes need an order, and none may be missing. */
function assertCarriesBytes(stream: Stream): void {
  if (stream.delivery !== 'reliable' || !stream.ordered) {
    const way = `${stream.delivery}${stream.ordered ? '' : ', unordered'}`;
    throw new JspError(
      'ERR_JSP_OPTION_INVALID',
      `a stream of bytes needs a stream that is reliable and ordered, and stream ${stream.id} is ${way}: open it with { delivery: 'reliable', ordered: true }`,
    );
  }
  if (stream.listenerCount('message') > 0) {
    throw new JspError(
      'ERR_JSP_OPTION_INVALID',
      `stream ${stream.id} has a listener for 'message' already, which would get bytes that are missing elsewhere: make it a stream of bytes first, and once`,
    );
  }
}

function mixed(stream: Stream): JspError {
  return new JspError(
    'ERR_JSP_PROTOCOL',
    `the peer sent a best-effort message on stream ${stream.id}, of which bytes may be missing: send reliably what is read as bytes`,
  );
}

/** What was being written may be there, or not. */
function abandoned(): JspError {
  return new JspError('ERR_JSP_STREAM_CLOSED', 'the stream of bytes was given up before this was written');
}

function closedEarly(stream: Stream): JspError {
  return new JspError(
    'ERR_JSP_CLOSED',
    `the connection closed before all bytes of stream ${stream.id} were there: have each side call end(), and close the connection when both have`,
  );
}

const Reading = {
  /** Messages wait in the transport, which slows the peer down. */
  PAUSED: 0,
  FLOWING: 1,
  /** What comes is thrown away. */
  CANCELLED: 2,
  ENDED: 3,
} as const;
type Reading = (typeof Reading)[keyof typeof Reading];

const Writing = {
  IDLE: 0,
  /** Part of a write waits for `drain`. */
  WRITING: 1,
  /** All is sent, and not everything acknowledged. */
  ENDING: 2,
  FINISHED: 3,
} as const;
type Writing = (typeof Writing)[keyof typeof Writing];

// A lifetime that the stream has for its messages would lose bytes.
const COPIED: SendOptions = { lifetimeMs: 0 };
const GIVEN_AWAY: SendOptions = { lifetimeMs: 0, transfer: true };
