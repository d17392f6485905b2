import { NO_BYTES } from '../../base/bytes.ts';
import type { Micros } from '../../base/time.ts';
import { SentFrames } from './frames/sent-frames.ts';
import { writeVarint } from './varint.ts';

/**
 * Where frames are written: the payload of the packet being built, and the record of what it carries. The twin of `FrameReader`; one
 * object serves every packet. The writers of `frames/` put a frame at {@link at} and move it; whoever calls one made sure of the room,
 * with {@link CONTROL_FRAME_BYTES_MAX} or the frame's size function. What must be told when it is acknowledged or lost, they record in
 * {@link sent}. A `...Header` is followed by data, which the caller writes behind it.
 */
export class FrameWriter {
  /** The memory that the packet lies in. */
  out: Uint8Array = NO_BYTES;
  /** Where the next frame goes. */
  at = 0;
  /** Where the frames must end. */
  limit = 0;
  /** When the packet is made. */
  now: Micros = 0;
  /** The record of the packet. */
  sent = new SentFrames();
  /** What `writeMessageHeader` writes; filled in by whoever writes a message. */
  readonly message = new MessageHeader();

  /** Begins a payload at `out[at, limit)`, and its records. */
  begin(out: Uint8Array, at: number, limit: number): void {
    this.out = out;
    this.at = at;
    this.limit = limit;
    this.sent.begin();
  }

  /** Bytes that are left for frames. */
  get room(): number {
    return this.limit - this.at;
  }

  /** Whether any frame fits that has no data of its own. */
  get hasControlRoom(): boolean {
    return this.limit - this.at >= CONTROL_FRAME_BYTES_MAX;
  }

  u8(value: number): void {
    this.out[this.at++] = value;
  }

  varint(value: number): void {
    this.at = writeVarint(this.out, this.at, value);
  }

  bytes(bytes: Uint8Array): void {
    this.out.set(bytes, this.at);
    this.at += bytes.length;
  }

  /** Length varint, then so many bytes: what `FrameReader.data` reads. */
  data(bytes: Uint8Array): void {
    this.varint(bytes.length);
    this.bytes(bytes);
  }
}

/** The fields of a MESSAGE frame; those that its flags do not call for do not count. */
export class MessageHeader {
  /** `MessageFlag`s: they say which of the fields are written. */
  flags = 0;
  stream = 0;
  sequence = 0;
  /** FRAGMENT: where the data belongs in the message. */
  offset = 0;
  /** FRAGMENT: length of the message. */
  total = 0;
  /** FRAGMENT: the oldest sequence of this space that is not settled, at most `sequence`. */
  oldest = 0;
  /** LIFETIME: microseconds until the deadline. */
  remaining: Micros = 0;
  /** Bytes of data in this frame. */
  length = 0;
}

/** No frame is longer than this whose fields are only integers, or a PATH_CHALLENGE or PATH_RESPONSE. */
export const CONTROL_FRAME_BYTES_MAX = 26;
