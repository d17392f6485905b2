/**
 * What a worker of a broker and its core say to each other: frames, all of a turn in one batch, which is given away whole to the other thread. A message that goes to many streams of a
 * worker is in the batch once, and then so many numbers of streams. Both ends are of one process and one version, so a frame that is malformed is a fault of ours.
 *
 * Numbers are little endian. A `text` has its length in bytes in front, u16. What stands for a connection or a stream is a number that is never given twice: streams that the client has
 * opened have odd ones, which the worker gives, those that the core has opened even ones.
 */

import { assert } from '../../base/errors.ts';

/** From the core to the worker. */
export const Order = {
  /** A message that the next `TO` are about: `manner u8, until when it is of use f64 (ms of {@link sharedMs}; infinite: without end), length u32, bytes`. */
  MESSAGE: 1,
  /** The last message goes on this stream: `stream u32`. */
  TO: 2,
  /** `connection u32, stream u32, priority u8` */
  OPEN: 3,
  /** `stream u32` */
  PAUSE: 4,
  RESUME: 5,
  END: 6,
  /** `stream u32, code u32` */
  RESET: 7,
  /** `connection u32, code u32` */
  CLOSE: 8,
  /** A secret of a connection: `connection u32, question u32, length u32, label text, context text` */
  EXPORT: 9,
  /** A batch of the worker was taken. */
  TAKEN: 10,
  /** Is answered when all orders before it were done: `question u32`. */
  SYNC: 11,
  /** Clients are told that the broker ends: `ms until then u32, url text`. */
  ANNOUNCE: 12,
  /** So much of a stream waits unread, because the core has stopped it: `stream u32, bytes u32`. */
  UNREAD: 13,
} as const;

/** How a message is sent. */
export const Manner = { RELIABLE: 0, LIVES: 1, BEST_EFFORT: 2 } as const;

/** From the worker to the core. */
export const Report = {
  /** A client has come: `connection u32, streams that may be opened u32, address text, identity text (empty: none)`. */
  CONNECTED: 1,
  /** `connection u32`, why text (empty: no error) */
  DISCONNECTED: 2,
  /** What is known of a connection: as `CONNECTED`. */
  FACTS: 3,
  /** Figures of its link: `connection u32`, then as many f64 as {@link LINK_FIGURES} has. */
  LINK: 4,
  /** The client has opened a stream: `connection u32, stream u32, number f64, largest message f64, priority u8, ordered u8, label text, delivery text`. */
  STREAM: 5,
  /** A stream that the core asked for could not be opened: `stream u32`. */
  NOT_OPENED: 6,
  /** `stream u32, best effort was received u8, length u32, bytes` */
  MESSAGE: 7,
  /** The client has ended its direction: `stream u32`. */
  ENDED: 8,
  /** `stream u32, why text (empty: both have ended it)` */
  CLOSED: 9,
  /** Bytes of messages have left: `stream u32, count u32`. */
  LEFT: 10,
  /** `question u32`, what was asked for text: the secret (empty: there is none), or nothing. */
  ANSWER: 11,
} as const;

/** Figures of a link, in the order in which they go. */
export const LINK_FIGURES = [
  'rttMs',
  'loss',
  'packetsRecovered',
  'packetsLost',
  'packetsSent',
  'packetsReceived',
  'bytesSent',
  'bytesReceived',
  'mtu',
] as const;

/** A batch in the making. */
export class FrameWriter {
  private bytes = NOTHING;
  private view = new DataView(NOTHING.buffer);
  private at = 0;
  /** Of the last batch, which tells how large the next will be. */
  private expectedBytes = FIRST_BYTES;

  get length(): number {
    return this.at;
  }

  u8(value: number): void {
    this.room(1);
    this.bytes[this.at++] = value;
  }

  u32(value: number): void {
    this.room(4);
    this.view.setUint32(this.at, value, true);
    this.at += 4;
  }

  f64(value: number): void {
    this.room(8);
    this.view.setFloat64(this.at, value, true);
    this.at += 8;
  }

  text(value: string): void {
    this.blob(Buffer.from(value).subarray(0, TEXT_BYTES_MAX));
  }

  /** Bytes with their length in front, as of a text. */
  blob(value: Uint8Array): void {
    this.room(2);
    this.view.setUint16(this.at, value.length, true);
    this.at += 2;
    this.put(value);
  }

  /** A frame that is about a stream or a connection alone. */
  frame(type: number, subject: number): void {
    this.room(5);
    this.bytes[this.at] = type;
    this.view.setUint32(this.at + 1, subject, true);
    this.at += 5;
  }

  /** Bytes, of which the reader knows how many. */
  put(value: Uint8Array): void {
    this.room(value.length);
    this.bytes.set(value, this.at);
    this.at += value.length;
  }

  /** What was written, which is the caller's from now on. */
  take(): Uint8Array {
    const batch = this.bytes.subarray(0, this.at);
    this.expectedBytes = Math.min(EXPECTED_BYTES_MAX, Math.max(FIRST_BYTES, this.at + (this.at >> 2)));
    this.bytes = NOTHING;
    this.view = new DataView(NOTHING.buffer);
    this.at = 0;
    return batch;
  }

  private room(count: number): void {
    if (this.at + count > this.bytes.length) this.grow(this.at + count);
  }

  private grow(least: number): void {
    const old = this.bytes;
    // Not of the pool: it is given away.
    const size = Math.max(least, old.length === 0 ? this.expectedBytes : 2 * old.length);
    const { buffer } = Buffer.allocUnsafeSlow(size);
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
    this.bytes.set(old.subarray(0, this.at));
  }
}

/** Reads a batch. */
export class FrameReader {
  private bytes: Buffer = EMPTY;
  private view: DataView = new DataView(NOTHING.buffer);
  private at = 0;

  begin(batch: Uint8Array): void {
    const { buffer, byteOffset, length } = batch;
    this.bytes = Buffer.from(buffer, byteOffset, length);
    this.view = new DataView(buffer, byteOffset, length);
    this.at = 0;
  }

  get isAtEnd(): boolean {
    return this.at === this.bytes.length;
  }

  u8(): number {
    return this.bytes[this.at++];
  }

  u32(): number {
    const value = this.view.getUint32(this.at, true);
    this.at += 4;
    return value;
  }

  f64(): number {
    const value = this.view.getFloat64(this.at, true);
    this.at += 8;
    return value;
  }

  text(): string {
    return this.blob().toString();
  }

  /** A view. */
  blob(): Buffer {
    const length = this.view.getUint16(this.at, true);
    this.at += 2;
    return this.take(length);
  }

  /** A view of the next bytes. */
  take(length: number): Buffer {
    assert(this.at + length <= this.bytes.length, 'a frame of a worker goes beyond its batch');
    const taken = this.bytes.subarray(this.at, this.at + length);
    this.at += length;
    return taken;
  }
}

/** A monotonic time in ms that all threads of the process have. */
export function sharedMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1_000 + nanoseconds / 1e6;
}

/** How one end gives a batch to the other: in order, and all of them or, when the other thread is gone, none any more. */
export interface BatchPort {
  post(batch: Uint8Array): void;
}

/** What a message of a client takes beside its bytes. */
export const MESSAGE_BYTES = 10;

const NOTHING = new Uint8Array(0);
const EMPTY = Buffer.alloc(0);
const TEXT_BYTES_MAX = 0xffff;
const FIRST_BYTES = 4 * 1_024;
const EXPECTED_BYTES_MAX = 256 * 1_024;
