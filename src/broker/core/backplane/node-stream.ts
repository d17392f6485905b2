/**
 * Streams of messages between two nodes of a cluster: in order, whole, and no more on their way than the other end takes. What is below them loses messages (a node is
 * cut off, a line is full), and may bring one twice; so frames are numbered, and a stream of which one is missing ends at both ends, rather than go on without it. Whoever
 * uses it begins anew. [CLU-50]
 *
 *     OPEN ── end() here or there, a frame is missing, this node was cut off, the other is gone ──> OVER
 *
 * frame: kind u8 (NodeMessage.STREAM), type u8 (the highest bit: from the end that has opened it), life of that end's node u48, id u32, number u32, body
 */

import { Ring } from '../../../base/ring.ts';
import { type Time, Timer } from '../timers.ts';
import type { BackplaneEvents, BackplanePort } from './backplane-port.ts';
import { NodeMessage } from './node-message.ts';

/** Why a stream is over, beside the codes of those who use it. */
export const StreamEnd = {
  DONE: 0,
  /** A frame is missing, or this node was cut off. */
  BROKEN: 1,
  /** The other node is gone, or has begun anew. */
  GONE: 2,
  /** It has too many. */
  TOO_MANY: 3,
} as const;

/** One end of a stream, for whoever uses it. */
export interface StreamUser {
  /** A message has come; {@link NodeStream.taken} says when its bytes are not held any more. */
  received(message: Uint8Array): void;
  /** After {@link NodeStream.send} had said that it is enough: there is room again. */
  drained(): void;
  /** It is over, but not by this end. @param code - of {@link StreamEnd}, or of whoever uses it: from 16 */
  ended(code: number): void;
}

const FrameType = {
  /** The first: the body is for whoever is to accept it. */
  OPEN: 0,
  MESSAGE: 1,
  /** A piece of a message, which goes on with the next frame. */
  PART: 2,
  /** All bytes that were taken until now, u48. */
  CREDIT: 3,
  /** Tell the credit again. */
  PROBE: 4,
  /** code u8 */
  END: 5,
} as const;

export class NodeStream {
  readonly node: string;
  user: StreamUser | null = null;
  private readonly streams: NodeStreams;
  /** How frames to the other end begin. */
  private readonly head: Buffer;
  private isOver = false;
  private sentFrames = 0;
  private heardFrames = 0;
  private sentBytes = 0;
  private creditedBytes = 0;
  private takenBytes = 0;
  private toldBytes = 0;
  private isFull = false;
  private isPaused = false;
  private readonly unread = new Ring<Uint8Array>(2);
  private parts: Uint8Array[] = [];
  private partBytes = 0;

  constructor(streams: NodeStreams, node: string, head: Buffer) {
    this.streams = streams;
    this.node = node;
    this.head = head;
  }

  get key(): string {
    return keyOf(this.node, this.head, (this.head[TYPE_AT] & FROM_OPENER) !== 0);
  }

  /** Bytes that the other end has not taken yet. */
  get queuedBytes(): number {
    return this.sentBytes - this.creditedBytes;
  }

  /** Sends a message; without effect when it is over. False: enough for now, and `drained` follows. */
  send(message: Uint8Array): boolean {
    if (this.isOver) return false;
    let from = 0;
    for (; message.length - from > PART_BYTES_MAX; from += PART_BYTES_MAX) {
      this.frame(FrameType.PART, message.subarray(from, from + PART_BYTES_MAX));
    }
    this.frame(FrameType.MESSAGE, message.subarray(from));
    this.sentBytes += message.length;
    if (this.queuedBytes >= STREAM_WINDOW_BYTES && !this.isFull) {
      this.isFull = true;
      this.streams.watch(this);
    }
    return !this.isFull;
  }

  /** So many bytes of what has come are not held any more. */
  taken(bytes: number): void {
    this.takenBytes += bytes;
    if (!this.isOver && this.takenBytes - this.toldBytes >= CREDIT_BYTES) this.tellCredit();
  }

  /** What comes waits; the other end has at most as much on its way as it may. */
  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
    while (!this.isPaused && this.unread.length > 0) {
      const message = this.unread.shift() as Uint8Array;
      this.user?.received(message);
    }
  }

  /** Ends it; `user` is told of nothing any more. */
  end(code: number = StreamEnd.DONE): void {
    if (this.isOver) return;
    this.frame(FrameType.END, Buffer.of(code));
    this.user = null;
    this.finish(code);
  }

  // ---- of the streams only ----

  hear(type: number, number: number, body: Uint8Array): void {
    if (this.isOver || number < this.heardFrames) return; // it comes twice
    if (number > this.heardFrames) {
      this.break(StreamEnd.BROKEN);
      return;
    }
    this.heardFrames++;
    switch (type) {
      case FrameType.PART:
      case FrameType.MESSAGE:
        this.hearPart(body, type === FrameType.MESSAGE);
        break;
      case FrameType.CREDIT:
        if (body.length === CREDIT_LENGTH) this.hearCredit(asBuffer(body).readUIntBE(0, CREDIT_LENGTH));
        break;
      case FrameType.PROBE:
        this.tellCredit();
        break;
      case FrameType.END:
        this.finish(body.length > 0 ? body[0] : StreamEnd.BROKEN);
        break;
    }
  }

  /** Ends it for both ends, for which it is over without either having wished it. */
  break(code: number): void {
    if (this.isOver) return;
    this.frame(FrameType.END, Buffer.of(StreamEnd.BROKEN));
    this.finish(code);
  }

  /** Whether it still waits for the other end, which is asked then. */
  probe(): boolean {
    if (this.isOver || !this.isFull) return false;
    this.frame(FrameType.PROBE, NOTHING);
    return true;
  }

  open(body: Uint8Array): void {
    this.frame(FrameType.OPEN, body);
  }

  /** The frame that has opened it has come. */
  opened(): void {
    this.heardFrames = 1;
  }

  private hearPart(body: Uint8Array, isLast: boolean): void {
    if (isLast && this.partBytes === 0) {
      this.take(body);
      return;
    }
    this.partBytes += body.length;
    this.parts.push(body);
    const isPart = isLast || body.length === PART_BYTES_MAX; // small ones would be many
    if (!isPart || this.partBytes > MESSAGE_BYTES_MAX) this.break(StreamEnd.BROKEN);
    else if (isLast) {
      const message = Buffer.concat(this.parts);
      this.parts = [];
      this.partBytes = 0;
      this.take(message);
    }
  }

  private take(message: Uint8Array): void {
    if (this.isPaused) this.unread.push(message);
    else this.user?.received(message);
  }

  private hearCredit(bytes: number): void {
    if (bytes <= this.creditedBytes || bytes > this.sentBytes) return;
    this.creditedBytes = bytes;
    if (!this.isFull || this.queuedBytes * 2 > STREAM_WINDOW_BYTES) return;
    this.isFull = false;
    this.user?.drained();
  }

  private tellCredit(): void {
    const body = Buffer.alloc(CREDIT_LENGTH);
    body.writeUIntBE(this.takenBytes, 0, CREDIT_LENGTH);
    this.toldBytes = this.takenBytes;
    this.frame(FrameType.CREDIT, body);
  }

  private frame(type: number, body: Uint8Array): void {
    const { head } = this;
    const frame = Buffer.allocUnsafe(head.length + NUMBER_BYTES + body.length);
    head.copy(frame);
    frame[TYPE_AT] |= type;
    frame.writeUInt32BE(this.sentFrames++, head.length);
    frame.set(body, head.length + NUMBER_BYTES);
    this.streams.transmit(this.node, frame);
  }

  private finish(code: number): void {
    this.isOver = true;
    this.unread.clear();
    this.parts = [];
    this.streams.forget(this);
    const { user } = this;
    this.user = null;
    user?.ended(code);
  }
}

/** All streams between this node and others. */
export class NodeStreams implements Partial<BackplaneEvents> {
  /** Accepts a stream that another node opens: returns who uses it here, or the code with which it ends. */
  accept: (stream: NodeStream, body: Uint8Array) => StreamUser | number = () => StreamEnd.DONE;
  /** Frames of other nodes that were none. */
  invalid = 0;
  private readonly port: Pick<BackplanePort, 'send'>;
  private readonly time: Time;
  private readonly byKey = new Map<string, NodeStream>();
  private readonly countOf = new Map<string, number>();
  private readonly full = new Set<NodeStream>();
  private readonly timer = new Timer(() => this.probe());
  private lastId = 0;
  /** Differs from that of this node's earlier lives. */
  private life = 0;

  constructor(port: Pick<BackplanePort, 'send'>, time: Time) {
    this.port = port;
    this.time = time;
  }

  get size(): number {
    return this.byKey.size;
  }

  open(node: string, body: Uint8Array, user: StreamUser): NodeStream {
    if (this.life === 0) this.life = Math.max(1, Math.floor(this.time.wallMs));
    const head = headOf(this.life, ++this.lastId, true);
    const stream = new NodeStream(this, node, head);
    stream.user = user;
    this.keep(stream);
    stream.open(body);
    return stream;
  }

  /** A message of another node that is a frame. */
  hear(node: string, frame: Uint8Array): void {
    if (frame.length < HEAD_BYTES + NUMBER_BYTES) {
      this.invalid++;
      return;
    }
    const type = frame[TYPE_AT] & ~FROM_OPENER;
    const isFromOpener = (frame[TYPE_AT] & FROM_OPENER) !== 0;
    const number = asBuffer(frame).readUInt32BE(HEAD_BYTES);
    const body = frame.subarray(HEAD_BYTES + NUMBER_BYTES);
    const known = this.byKey.get(keyOf(node, frame, !isFromOpener));
    if (known !== undefined) known.hear(type, number, body);
    else if (type === FrameType.OPEN && isFromOpener && number === 0) this.take(node, frame, body);
    else if (type !== FrameType.END) this.refuse(node, frame, !isFromOpener);
  }

  /** What was on its way is lost. */
  connected(): void {
    for (const stream of [...this.byKey.values()]) stream.break(StreamEnd.BROKEN);
  }

  nodeGone(node: string): void {
    if (!this.countOf.has(node)) return;
    for (const stream of [...this.byKey.values()]) if (stream.node === node) stream.break(StreamEnd.GONE);
  }

  // ---- of its streams only ----

  transmit(node: string, frame: Uint8Array): void {
    this.port.send(node, frame);
  }

  forget(stream: NodeStream): void {
    this.full.delete(stream);
    if (!this.byKey.delete(stream.key)) return;
    const left = (this.countOf.get(stream.node) ?? 1) - 1;
    if (left > 0) this.countOf.set(stream.node, left);
    else this.countOf.delete(stream.node);
  }

  /** It waits for its other end: what that has said of it may be lost. */
  watch(stream: NodeStream): void {
    this.full.add(stream);
    if (this.timer.heapIndex < 0) this.time.timers.set(this.timer, this.time.nowMs + PROBE_MS);
  }

  private probe(): void {
    for (const stream of [...this.full]) if (!stream.probe()) this.full.delete(stream);
    if (this.full.size > 0) this.time.timers.set(this.timer, this.time.nowMs + PROBE_MS);
  }

  private keep(stream: NodeStream): void {
    this.byKey.set(stream.key, stream);
    this.countOf.set(stream.node, (this.countOf.get(stream.node) ?? 0) + 1);
  }

  private take(node: string, frame: Uint8Array, body: Uint8Array): void {
    const stream = new NodeStream(this, node, answering(frame));
    stream.opened();
    if ((this.countOf.get(node) ?? 0) >= STREAMS_OF_NODE_MAX) {
      stream.end(StreamEnd.TOO_MANY);
      return;
    }
    this.keep(stream);
    const accepted = this.accept(stream, body);
    if (typeof accepted === 'number') stream.end(accepted);
    else stream.user = accepted;
  }

  /** There is no such stream here any more, which its other end does not know. */
  private refuse(node: string, frame: Uint8Array, isOpener: boolean): void {
    const end = Buffer.alloc(HEAD_BYTES + NUMBER_BYTES + 1);
    end.set(frame.subarray(0, HEAD_BYTES));
    end[TYPE_AT] = FrameType.END | (isOpener ? FROM_OPENER : 0);
    end.writeUInt32BE(0xffff_ffff, HEAD_BYTES); // behind all frames: one is missing
    end[HEAD_BYTES + NUMBER_BYTES] = StreamEnd.BROKEN;
    this.transmit(node, end);
  }
}

function headOf(life: number, id: number, isOpener: boolean): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head[0] = NodeMessage.STREAM;
  head[TYPE_AT] = isOpener ? FROM_OPENER : 0;
  head.writeUIntBE(life, LIFE_AT, 6);
  head.writeUInt32BE(id, ID_AT);
  return head;
}

/** How the frames of the end begin that has accepted what `frame` opens. */
function answering(frame: Uint8Array): Buffer {
  const head = Buffer.from(frame.subarray(0, HEAD_BYTES));
  head[TYPE_AT] = 0;
  return head;
}

/** @param isOpener - the end that is looked for has opened it */
function keyOf(node: string, frame: Uint8Array, isOpener: boolean): string {
  const text = asBuffer(frame);
  return `${node} ${isOpener ? 1 : 0} ${text.readUIntBE(LIFE_AT, 6)} ${text.readUInt32BE(ID_AT)}`;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

const TYPE_AT = 1;
const LIFE_AT = 2;
const ID_AT = 8;
const HEAD_BYTES = 12;
const NUMBER_BYTES = 4;
const FROM_OPENER = 0x80;
const CREDIT_LENGTH = 6;
/** Bytes on their way at which a sender is told that it is enough; and so many that were taken are told together. */
export const STREAM_WINDOW_BYTES = 256 * 1_024;
const CREDIT_BYTES = STREAM_WINDOW_BYTES / 4;
/** Larger messages go in pieces. */
const PART_BYTES_MAX = 512 * 1_024;
const MESSAGE_BYTES_MAX = 17 * 1_024 * 1_024;
/** Streams with one other node. */
const STREAMS_OF_NODE_MAX = 65_536;
const PROBE_MS = 5_000;
const NOTHING = new Uint8Array(0);
