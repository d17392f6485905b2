import type { StreamProtection } from '../../../src/protocol/fec/stream-protection.ts';
import { FlowCredit, FlowWindow } from '../../../src/protocol/stream/flow-control.ts';
import { BestEffortBudget, ReceiveContext } from '../../../src/protocol/stream/receive/receive-context.ts';
import { ReceiveStream } from '../../../src/protocol/stream/receive/receive-stream.ts';
import { SlabPool } from '../../../src/protocol/stream/send/message-records.ts';
import { type Outcome, SendContext } from '../../../src/protocol/stream/send/send-context.ts';
import { SendStream } from '../../../src/protocol/stream/send/send-stream.ts';
import { FrameReader } from '../../../src/protocol/wire/frame-reader.ts';
import { FrameType, MessageFlag, type Space } from '../../../src/protocol/wire/frame-type.ts';
import { FrameWriter } from '../../../src/protocol/wire/frame-writer.ts';
import { nextFrame } from '../../../src/protocol/wire/frames/index.ts';
import { SharedDatagrams } from '../../../src/protocol/wire/shared-datagrams.ts';
import { PacketRecord } from '../wire/recorded.ts';

/** Writes frames to a packet of `limit` bytes. */
export function writerOn(out: Uint8Array, limit: number, now: number, record: PacketRecord): FrameWriter {
  const w = new FrameWriter();
  w.begin(out, 0, limit);
  w.now = now;
  w.sent = record;
  return w;
}

export interface Packet {
  readonly bytes: Uint8Array;
  readonly record: PacketRecord;
}

export interface LinkOptions {
  ordered?: boolean;
  windowBytes?: number;
  connectionWindowBytes?: number;
  messageBytesMax?: number;
  budgetBytes?: number;
  mtu?: number;
  /** Most unsettled sequences. */
  spanMax?: number;
  highWaterBytes?: number;
  queueBytesMax?: number;
  protection?: StreamProtection;
}

/** A sending half and the receiving half it feeds, with the frames between them in the hands of the test. */
export class Link {
  mtu: number;
  readonly slabs = new SlabPool();
  readonly sendContext: SendContext;
  readonly receiveContext: ReceiveContext;
  readonly send: SendStream;
  readonly receive: ReceiveStream;
  opened = 0;
  private readonly reader = new FrameReader();
  private readonly scratch = new Uint8Array(70_000);

  constructor(options: LinkOptions = {}) {
    const windowBytes = options.windowBytes ?? 1 << 20;
    const connectionWindowBytes = options.connectionWindowBytes ?? 2 * windowBytes;
    this.mtu = options.mtu ?? 1_200;
    this.sendContext = new SendContext(this.slabs, new FlowCredit(connectionWindowBytes), this.mtu);
    this.receiveContext = new ReceiveContext(
      new FlowWindow(connectionWindowBytes),
      new BestEffortBudget(options.budgetBytes ?? 1 << 20),
      options.messageBytesMax ?? 1 << 24,
    );
    this.send = new SendStream(this.sendContext, {
      id: 4,
      opening: { flags: 0, label: new Uint8Array(0) },
      initialMaxStreamData: windowBytes,
      ...(options.spanMax === undefined ? {} : { spanMax: options.spanMax }),
      ...(options.highWaterBytes === undefined ? {} : { highWaterBytes: options.highWaterBytes }),
      ...(options.protection === undefined ? {} : { protection: options.protection }),
      ...(options.queueBytesMax === undefined ? {} : { queueBytesMax: options.queueBytesMax }),
    });
    this.receive = new ReceiveStream(this.receiveContext, {
      id: 4,
      ordered: options.ordered ?? true,
      windowBytes,
      ...(options.spanMax === undefined ? {} : { spanMax: options.spanMax }),
    });
  }

  /** The next packet of the sender, or null when it has nothing to send. */
  pack(now: number): Packet | null {
    const record = new PacketRecord();
    this.sendContext.packetRoom = this.mtu;
    const w = writerOn(this.scratch, this.mtu, now, record);
    this.send.write(w);
    return w.at === 0 ? null : { bytes: this.scratch.slice(0, w.at), record };
  }

  /** Packs until the sender has nothing more to send. */
  packAll(now: number): Packet[] {
    const packets: Packet[] = [];
    for (let packet = this.pack(now); packet !== null; packet = this.pack(now)) packets.push(packet);
    return packets;
  }

  /** Packs, delivers and acknowledges everything, without loss. */
  exchange(now: number): void {
    for (const packet of this.packAll(now)) {
      const error = this.deliver(packet, now);
      if (error !== 0) throw new Error(`close code ${error}`);
      this.acked(packet);
    }
  }

  /** Takes all messages that can be read. */
  readAll(now: number): Uint8Array[] {
    const messages: Uint8Array[] = [];
    for (let data = this.receive.read(now); data !== null; data = this.receive.read(now)) messages.push(data);
    return messages;
  }

  /** What the receiver has to tell: control frames, and DROPPED. */
  reply(): Packet | null {
    const record = new PacketRecord();
    const w = writerOn(this.scratch, 1_200, 0, record);
    this.receive.writeDropped(w);
    this.receive.writeControl(w);
    return w.at === 0 ? null : { bytes: this.scratch.slice(0, w.at), record };
  }

  /** Hands a reply of the receiver to the sender. Returns 0 or a close code. */
  deliverReply(packet: Packet): number {
    const frame = this.reader;
    frame.reset(packet.bytes, 0, packet.bytes.length);
    while (nextFrame(frame)) {
      const error = this.send.onFrame(frame, 0);
      if (error !== 0) return error;
    }
    return frame.error;
  }

  /** The sender gets a frame of the receiver. Returns 0 or a close code. */
  maxStreamData(limit: number): number {
    return this.send.onFrame(Object.assign(new FrameReader(), { type: FrameType.MAX_STREAM_DATA, limit }), 0);
  }

  stopSending(code: number): number {
    return this.send.onFrame(Object.assign(new FrameReader(), { type: FrameType.STOP_SENDING, code }), 0);
  }

  dropped(space: Space, sequence: number, count: number, now = 0): number {
    const fields = { type: FrameType.DROPPED, space, sequence, count };
    return this.send.onFrame(Object.assign(new FrameReader(), fields), now);
  }

  /** Outcomes that were not taken yet, as [tracking id, outcome]. */
  outcomes(): [number, Outcome][] {
    const { outcomes } = this.sendContext;
    const taken: [number, Outcome][] = [];
    while (outcomes.next()) taken.push([outcomes.id, outcomes.outcome]);
    return taken;
  }

  /** Hands a packet to the receiver. Returns 0 or a close code. */
  deliver(packet: Packet, now: number): number {
    const frame = this.reader;
    frame.reset(packet.bytes, 0, packet.bytes.length);
    while (nextFrame(frame)) {
      const error = this.dispatch(frame, now);
      if (error !== 0) return error;
    }
    return frame.error;
  }

  /**
   * Hands packets to the receiver that lie in one memory, as those of a batch do, which is written over afterwards.
   * @param readers - whose each is; default: all are of one connection
   */
  deliverTogether(packets: readonly Packet[], now: number, readers?: readonly (object | null)[]): void {
    const arena = Buffer.concat(packets.map(({ bytes }) => bytes));
    const data: Uint8Array[] = [];
    const offset: number[] = [];
    let at = 0;
    for (const { bytes } of packets) {
      data.push(arena.subarray(at, at + bytes.length));
      offset.push(arena.byteOffset + at);
      at += bytes.length;
    }
    const shared = new SharedDatagrams();
    shared.begin({ data, offset, owner: readers ?? packets.map(() => this), count: packets.length });
    const frame = this.reader;
    for (const [i, datagram] of data.entries()) {
      shared.read(i);
      frame.reset(datagram, 0, datagram.length);
      frame.isKept = true;
      frame.shared = shared;
      while (nextFrame(frame)) {
        const error = this.dispatch(frame, now);
        if (error !== 0) throw new Error(`close code ${error}`);
      }
    }
    shared.finish();
    arena.fill(0xee);
  }

  acked(packet: Packet): void {
    for (const frame of packet.record.frames()) this.send.onFrameAcked(frame);
  }

  lost(packet: Packet, now: number): void {
    for (const frame of packet.record.frames()) this.send.onFrameLost(frame, now);
  }

  private dispatch(frame: FrameReader, now: number): number {
    if (frame.type !== FrameType.STREAM_OPEN) return this.receive.onFrame(frame, now);
    this.opened++;
    return 0;
  }
}

/** The frames of a packet in words, such as `MESSAGES 0+18` or `MESSAGE 3 [0,400) of 5000`. */
export function framesOf(bytes: Uint8Array): string[] {
  const frame = new FrameReader();
  const words: string[] = [];
  frame.reset(bytes, 0, bytes.length);
  while (nextFrame(frame)) words.push(frameInWords(frame));
  if (frame.error !== 0) throw new Error(`close code ${frame.error}`);
  return words;
}

function frameInWords(frame: FrameReader): string {
  const { type, sequence, count } = frame;
  if (type >= FrameType.MESSAGE && type < FrameType.MESSAGES) {
    const kind = (frame.flags & MessageFlag.BEST_EFFORT) === 0 ? 'MESSAGE' : 'MESSAGE_BEST_EFFORT';
    const end = frame.offset + frame.dataLength;
    const part =
      (frame.flags & MessageFlag.FRAGMENT) === 0 ? '' : ` [${frame.offset},${end}) of ${frame.total}`;
    return `${kind} ${sequence}${part}${frame.remaining < 0 ? '' : ` for ${frame.remaining}`}`;
  }
  switch (type) {
    case FrameType.MESSAGES:
      return `MESSAGES ${sequence}+${count}`;
    case FrameType.MESSAGES_BEST_EFFORT:
      return `MESSAGES_BEST_EFFORT ${sequence}+${count}`;
    case FrameType.ABANDON:
      return `ABANDON ${sequence}+${count}`;
    case FrameType.DROPPED:
      return `DROPPED ${frame.space} ${sequence}+${count}`;
    case FrameType.STREAM_OPEN:
      return 'OPEN';
    case FrameType.STREAM_FIN:
      return `FIN ${frame.end}`;
    case FrameType.RESET_STREAM:
      return `RESET ${frame.code} ${frame.end}`;
    case FrameType.STOP_SENDING:
      return `STOP ${frame.code}`;
    case FrameType.MAX_STREAM_DATA:
      return `MAX ${frame.limit}`;
    case FrameType.STREAM_DATA_BLOCKED:
      return `BLOCKED ${frame.limit}`;
    default:
      throw new Error(`unexpected frame ${type}`);
  }
}

/** `length` bytes that tell messages apart. */
export function bytesOf(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = seed * 37 + i * 7 + (i >> 8);
  return bytes;
}
