/** Streams of bytes as programs know them, over a stream of messages: {@link createDuplex} for Node, {@link createWebStreams} for the Web. */

import { addAbortSignal, Duplex } from 'node:stream';
import {
  ReadableStream,
  type ReadableStreamDefaultController,
  WritableStream,
  type WritableStreamDefaultController,
} from 'node:stream/web';
import { JspError } from '../base/errors.ts';
import { checkOptions, flag, type OptionTable, whole } from '../base/options.ts';
import { abortError, abortSignal, onAbort } from './abort.ts';
import { ByteChannel, type Done } from './byte-channel.ts';
import { APPLICATION_CODE } from './options.ts';
import { endOfStream, type Stream } from './stream.ts';

export interface WebStreamsOptions {
  /** Bytes that `readable` keeps before it lets the peer wait, and `writable` before `ready` waits. Default 65,536. */
  highWaterMark?: number | undefined;
  /** Longer writes are cut into messages of so many bytes. Default 65,536, at most what the peer takes. */
  messageBytes?: number | undefined;
  /** The code with which the peer sees the stream reset by an error that has no `applicationCode` of its own. Default 1. */
  resetCode?: number | undefined;
  /** Ends both directions with an error when it fires, and resets the stream. */
  signal?: AbortSignal | undefined;
}

export interface DuplexOptions extends WebStreamsOptions {
  /** The same for reading only, as of every `Duplex`. Default: `highWaterMark`. */
  readableHighWaterMark?: number | undefined;
  /** The same for writing only; on top of what the stream's own `highWaterMark` lets wait. */
  writableHighWaterMark?: number | undefined;
  /** False: this side ends as soon as the peer has, and all it sent was read. Default true, as of every `Duplex`. */
  allowHalfOpen?: boolean | undefined;
}

/**
 * A Node `Duplex` over a stream of messages, for `pipeline()` and whatever reads or writes bytes. It takes the stream over. The bytes are those
 * of the messages in order; their boundaries mean nothing: both sides agree that the stream carries bytes.
 *
 * - Back-pressure goes both ways: the callback of a write waits while `send` answers false, and who stops reading stops the peer.
 * - `end()` ends this direction; `finish` follows when the peer's transport has every byte. The other direction goes on: a side that has
 *   nothing to say calls `end()`, too, or has `allowHalfOpen: false`, for the stream is over when both have ended.
 * - `destroy(error)` resets the stream: the peer's side fails with ERR_JSP_STREAM_RESET, whose `applicationCode` is that of the error, or
 *   `resetCode`. Without an error the code is 0; and after the peer's end, with nothing left to be written, it is an end like any other.
 * - A reset by the peer, and the loss of the connection, are its `error`. What had come complete before that loss can still be read.
 *
 * @throws JspError ERR_JSP_OPTION_INVALID for a stream that is not reliable and ordered, or that has a listener for `message` already
 * @example
 * await pipeline(createReadStream('log'), createGzip(), createDuplex(connection.openStream({ priority: 'bulk' })));
 */
export function createDuplex(stream: Stream, options: DuplexOptions = {}): Duplex {
  checkOptions('createDuplex', options, DUPLEX_OPTIONS);
  return new StreamDuplex(stream, options);
}

/**
 * The Web's pair of streams over a stream of messages, for `pipeTo`, `pipeThrough` and `fetch`-like code; see {@link createDuplex}, whose rules
 * hold. Of `readable` come `Uint8Array`s, which need not fill their `ArrayBuffer`; `writable` takes buffers and views of them.
 *
 * `readable.cancel()` leaves `writable` as it is; `writable.abort(reason)` resets the stream, both directions of it.
 *
 * @throws JspError ERR_JSP_OPTION_INVALID as {@link createDuplex}
 * @example
 * const { readable, writable } = createWebStreams(stream);
 * await readable.pipeThrough(new CompressionStream('gzip')).pipeTo(writable);
 */
export function createWebStreams(stream: Stream, options: WebStreamsOptions = {}): WebStreams {
  checkOptions('createWebStreams', options, WEB_STREAMS_OPTIONS);
  return webStreams(stream, options);
}

export interface WebStreams {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array | ArrayBuffer | ArrayBufferView>;
}

class StreamDuplex extends Duplex {
  private readonly channel: ByteChannel;
  private readonly resetCode: number;
  private readonly signal: AbortSignal | undefined;
  private isWritten = false;

  constructor(stream: Stream, options: DuplexOptions) {
    super({
      readableHighWaterMark: options.readableHighWaterMark ?? options.highWaterMark ?? HIGH_WATER_MARK,
      writableHighWaterMark: options.writableHighWaterMark ?? options.highWaterMark ?? HIGH_WATER_MARK,
      allowHalfOpen: options.allowHalfOpen ?? true,
    });
    this.resetCode = options.resetCode ?? RESET_CODE;
    this.signal = options.signal;
    const taker = {
      take: (bytes: Buffer) => this.push(bytes),
      end: () => void this.push(null),
      fail: (error: Error) => void this.destroy(error),
      failWriting: (error: Error | null) => this.onWritingFailed(error),
    };
    this.channel = new ByteChannel(stream, taker, options.messageBytes ?? MESSAGE_BYTES);
    if (options.signal !== undefined) addAbortSignal(options.signal, this);
  }

  override _read(): void {
    this.channel.pull();
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: Done): void {
    this.isWritten = true;
    this.channel.write([chunk], done);
  }

  override _writev(chunks: { chunk: Uint8Array }[], done: Done): void {
    this.isWritten = true;
    this.channel.write(
      chunks.map(({ chunk }) => chunk),
      done,
    );
  }

  override _final(done: Done): void {
    this.channel.finish(done);
  }

  override _destroy(error: Error | null, done: Done): void {
    const isLeft = this.isIterated(error);
    this.channel.abandon(isLeft ? null : error, codeOf(error, this.resetCode));
    done(isLeft ? null : error);
  }

  /**
   * Some versions of Node destroy what a `for await` has read to its end, as if it were aborted where writing has not ended. Where nothing
   * was ever written that is nobody's failure.
   */
  private isIterated(error: Error | null): boolean {
    return error?.name === 'AbortError' && this.readableEnded && !this.isWritten && !this.signal?.aborted;
  }

  /** What has come and was not read yet is lost with the first error: so that waits for its end. */
  private onWritingFailed(error: Error | null): void {
    if (error === null) this.end();
    else if (this.readableEnded) this.destroy(error);
    else this.once('end', () => this.destroy(error));
  }
}

function webStreams(stream: Stream, options: WebStreamsOptions): WebStreams {
  const { highWaterMark = HIGH_WATER_MARK, resetCode = RESET_CODE, signal } = options;
  let out: ReadableStreamDefaultController<Uint8Array>;
  let into: WritableStreamDefaultController;
  const fail = (error: unknown): void => {
    out.error(error);
    into.error(error);
  };
  const taker = {
    take(bytes: Buffer): boolean {
      out.enqueue(new Uint8Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length));
      return (out.desiredSize ?? 0) > 0;
    },
    end: () => out.close(),
    fail,
    failWriting: (error: Error | null) => into.error(error ?? closed()),
  };
  const channel = new ByteChannel(stream, taker, options.messageBytes ?? MESSAGE_BYTES);
  const giveUp = (reason: unknown): void => {
    channel.abandon(reason ?? closed(), codeOf(reason, resetCode));
    out.error(reason);
  };
  const abort = (reason: unknown): void => {
    giveUp(reason);
    into.error(reason);
  };
  const readable = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        out = controller as ReadableStreamDefaultController<Uint8Array>;
      },
      pull: () => channel.pull(),
      cancel: (reason) => channel.cancel(codeOf(reason, 0)),
    },
    { highWaterMark, size: byteLength },
  );
  const writable = new WritableStream<Uint8Array | ArrayBuffer | ArrayBufferView>(
    {
      start(controller) {
        into = controller;
        // An abort of the sink would wait for the write that is under way, and that for the peer.
        const { signal } = controller as WritableStreamDefaultController & { readonly signal: AbortSignal };
        signal.addEventListener('abort', () => giveUp(signal.reason));
      },
      write: (chunk) => settled((done) => channel.write([bytesOf(chunk)], done)),
      close: () => settled((done) => channel.finish(done)),
    },
    { highWaterMark, size: byteLength },
  );
  if (signal?.aborted) abort(abortError(signal));
  else if (signal !== undefined && endOfStream(stream) === undefined)
    stream.once(
      'close',
      onAbort(signal, () => abort(abortError(signal))),
    );
  return { readable, writable };
}

function settled(begin: (done: Done) => void): Promise<void> {
  return new Promise((resolve, reject) => begin((error) => (error ? reject(error) : resolve())));
}

function byteLength(chunk: { byteLength?: number } | undefined): number {
  return chunk?.byteLength ?? 0;
}

function closed(): JspError {
  return new JspError('ERR_JSP_STREAM_CLOSED', 'the stream of bytes is closed');
}

function bytesOf(chunk: unknown): Uint8Array {
  if (chunk instanceof Uint8Array) return chunk;
  if (chunk instanceof ArrayBuffer) return new Uint8Array(chunk);
  if (ArrayBuffer.isView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  throw new TypeError('a stream of bytes takes ArrayBuffers and views of them; encode text first');
}

/** What the peer sees: the code that an error has, so that a reset goes on through those who only pass bytes on. */
function codeOf(error: unknown, otherwise: number): number {
  const code = (error as { applicationCode?: unknown } | null | undefined)?.applicationCode;
  return Number.isSafeInteger(code) && (code as number) >= 0 ? (code as number) : otherwise;
}

/** What the options of {@link createWebStreams} may be. */
const WEB_STREAMS_OPTIONS: OptionTable<WebStreamsOptions> = {
  highWaterMark: whole(0, Number.MAX_SAFE_INTEGER),
  messageBytes: whole(1, Number.MAX_SAFE_INTEGER),
  resetCode: APPLICATION_CODE,
  signal: abortSignal,
};

/** What the options of {@link createDuplex} may be. */
const DUPLEX_OPTIONS: OptionTable<DuplexOptions> = {
  ...WEB_STREAMS_OPTIONS,
  readableHighWaterMark: whole(0, Number.MAX_SAFE_INTEGER),
  writableHighWaterMark: whole(0, Number.MAX_SAFE_INTEGER),
  allowHalfOpen: flag,
};

const HIGH_WATER_MARK = 65_536;
const MESSAGE_BYTES = 65_536;
/** Something went wrong, as against 0. */
const RESET_CODE = 1;
