import { BestEffortBudget } from '../../src/stream/best-effort-budget.ts';
import { FlowCredit } from '../../src/stream/flow-credit.ts';
import { FlowWindow } from '../../src/stream/flow-window.ts';
import { ReceiveContext } from '../../src/stream/receive-context.ts';
import { ReceiveStream } from '../../src/stream/receive-stream.ts';
import { SendContext } from '../../src/stream/send-context.ts';
import { SendStream } from '../../src/stream/send-stream.ts';
import type { SentFrames } from '../../src/stream/sent-frames.ts';
import { SlabPool } from '../../src/stream/slab.ts';
import { FrameReader } from '../../src/wire/frame-reader.ts';
import { FrameType } from '../../src/wire/frame-type.ts';

/** The frames of one packet, as a sent ledger would keep them. */
export class Ledger implements SentFrames {
  readonly entries: [number, number, number, number, number][] = [];

  add(kind: number, id: number, a: number, b: number, c: number): void {
    this.entries.push([kind, id, a, b, c]);
  }
}

export interface Packet {
  readonly bytes: Uint8Array;
  readonly ledger: Ledger;
}

export interface LinkOptions {
  ordered?: boolean;
  windowBytes?: number;
  connectionWindowBytes?: number;
  messageBytesMax?: number;
  budgetBytes?: number;
  mtu?: number;
  highWaterBytes?: number;
  queueBytesMax?: number;
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
      ...(options.highWaterBytes === undefined ? {} : { highWaterBytes: options.highWaterBytes }),
      ...(options.queueBytesMax === undefined ? {} : { queueBytesMax: options.queueBytesMax }),
    });
    this.receive = new ReceiveStream(this.receiveContext, {
      id: 4,
      ordered: options.ordered ?? true,
      windowBytes,
    });
  }

  /** The next packet of the sender, or null when it has nothing to send. */
  pack(now: number): Packet | null {
    const ledger = new Ledger();
    this.sendContext.packetRoom = this.mtu;
    const end = this.send.write(this.scratch, 0, this.mtu, now, ledger);
    return end === 0 ? null : { bytes: this.scratch.slice(0, end), ledger };
  }

  /** Hands a packet to the receiver. Returns 0 or a close code. */
  deliver(packet: Packet, now: number): number {
    const frame = this.reader;
    frame.reset(packet.bytes, 0, packet.bytes.length);
    while (frame.next()) {
      const error = this.dispatch(frame, now);
      if (error !== 0) return error;
    }
    return frame.error;
  }

  acked(packet: Packet): void {
    for (const [kind, , a, b, c] of packet.ledger.entries) this.send.onAcked(kind, a, b, c);
  }

  lost(packet: Packet, now: number): void {
    for (const [kind, , a, b, c] of packet.ledger.entries) this.send.onLost(kind, a, b, c, now);
  }

  private dispatch(frame: FrameReader, now: number): number {
    const { type } = frame;
    if (type === FrameType.MESSAGES || type === FrameType.MESSAGES_BEST_EFFORT)
      return this.receive.onMessages(frame);
    if (type >= FrameType.MESSAGE && type < FrameType.MESSAGES) return this.receive.onMessage(frame, now);
    switch (type) {
      case FrameType.STREAM_OPEN:
        this.opened++;
        return 0;
      case FrameType.STREAM_FIN:
        return this.receive.onFin(frame.end);
      case FrameType.STREAM_RESET:
        return this.receive.onReset(frame.code, frame.end);
      case FrameType.ABANDON:
        return this.receive.onAbandon(frame);
      case FrameType.STREAM_DATA_BLOCKED:
        this.receive.onBlocked(frame.limit);
        return 0;
      default:
        throw new Error(`unexpected frame ${type}`);
    }
  }
}
