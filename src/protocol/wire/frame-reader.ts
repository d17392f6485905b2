import { CloseCode } from './close-code.ts';
import { PacketType } from './packet-header.ts';
import type { SharedDatagrams } from './shared-datagrams.ts';
import { ByteCursor, VARINT_MAX } from './varint.ts';

/**
 * The payload of an opened packet, and what its current frame says: the twin of `FrameWriter`. `nextFrame` of `frames/index.ts` moves it
 * from frame to frame; nothing is allocated, nothing is thrown, and nothing is read out of bounds, whatever the bytes are.
 *
 *     reader.reset(buffer, start, end);
 *     while (nextFrame(reader)) dispatch(reader);
 *     if (reader.error !== 0) close(reader.error);
 *
 * The fields that the current frame's type has describe it; the others hold what an earlier frame left there.
 */
export class FrameReader extends ByteCursor {
  /** 0, or the close code for the bytes that ended the reading. */
  error = 0;
  /** Set by whoever keeps a view of {@link buffer} beyond the frame: its memory must live on. */
  isKept = false;
  /** What copies are made of when {@link buffer} lies in a memory with others, so that it is kept from the start; else null. */
  shared: SharedDatagrams | null = null;
  /** Type byte of the current frame. That of a MESSAGE includes its {@link flags}. */
  type = 0;
  stream = 0;
  /** MESSAGE, NEW_ and RETIRE_CONNECTION_ID; the first one of MESSAGES, ABANDON and DROPPED. */
  sequence = 0;
  /** MESSAGES, ABANDON and DROPPED: how many messages. PADDING: how many frames in a row. */
  count = 0;
  /** MESSAGE: its {@link MessageFlag}s. STREAM_OPEN: the byte as it came. */
  flags = 0;
  /** MESSAGE, CRYPTO and ADMITTED: where the data belongs in the whole. */
  offset = 0;
  /** MESSAGE, CRYPTO and ADMITTED: length of the whole. */
  total = 0;
  /** MESSAGE: the oldest sequence of its space that the sender has not settled; -1 without FRAGMENT. */
  oldest = -1;
  /** MESSAGE: microseconds until its deadline when the packet was made; -1 without LIFETIME. */
  remaining = -1;
  /** MESSAGE and MESSAGES: each message begins with an envelope. */
  isEnveloped = false;
  /** STREAM_OPEN. */
  priority = 0;
  ordered = false;
  delivery = 0;
  /** STREAM_FIN and RESET_STREAM. */
  end = 0;
  /** RESET_STREAM, STOP_SENDING and CONNECTION_CLOSE: why. REPAIR: id of the erasure code. */
  code = 0;
  /** DROPPED: a {@link Space}. */
  space = 0;
  /** MAX_ and BLOCKED frames. */
  limit = 0;
  /** CONNECTION_CLOSE: 0 transport, 1 application, 2 application before all was delivered. */
  scope = 0;
  /** CONNECTION_CLOSE: the type at fault, 0 when none is. */
  frameType = 0;
  /** HEARTBEAT and ACK_FREQUENCY. */
  number = 0;
  /** HEARTBEAT: milliseconds until the next one at the latest. */
  interval = 0;
  /** ACK_FREQUENCY: packets. */
  threshold = 0;
  /** ACK, and the most for ACK_FREQUENCY: microseconds. GOAWAY: milliseconds. */
  delay = 0;
  /** TICKET: seconds. */
  lifetime = 0;
  /** TICKET: where the 16 bytes of its nonce begin. */
  nonceStart = 0;
  /** NEW_CONNECTION_ID. */
  retirePriorTo = 0;
  /** NEW_CONNECTION_ID: where the 16 bytes of the reset token begin. */
  resetTokenStart = 0;
  /** REPAIR. */
  group = 0;
  index = 0;
  k = 0;
  r = 0;
  /** ACK. */
  largest = 0;
  /** ACK: how many ranges were kept. */
  rangeCount = 0;
  /** ACK: the ranges, newest first: packets [ackRanges[2i], ackRanges[2i + 1]). */
  ackRanges: Float64Array = new Float64Array(2 * ACK_RANGES_AT_FIRST);
  /** ACK with recovered: packet numbers kept, as they came. 0 for the other ACKs. */
  recoveredCount = 0;
  recovered: Float64Array = EMPTY_NUMBERS;
  /** ACK with ECN: packets counted; -1 for the other ACKs. */
  ect0 = -1;
  ect1 = -1;
  ce = -1;
  /**
   * The frame's bytes are buffer[dataStart, dataStart + dataLength): message data, label, token, reason, connection id, URL. Of
   * MESSAGES the (length, data) pairs, of ABANDON the lengths: checked, to be walked with `readVarint`.
   */
  dataStart = 0;
  dataLength = 0;

  /** A view of the frame's bytes. */
  get bytes(): Uint8Array {
    return this.buffer.subarray(this.dataStart, this.dataStart + this.dataLength);
  }

  /** Begins with the payload buffer[start, end) of a packet. */
  override reset(buffer: Uint8Array, start: number, end: number): void {
    super.reset(buffer, start, end);
    this.type = 0;
    this.isKept = false;
    this.shared = null;
    this.error = start < end ? 0 : CloseCode.PROTOCOL_VIOLATION; // [FRM-1] a payload without frames
  }

  // ---- for the readers of frames/ ----

  /** Length varint, then so many bytes: the data of the frame. */
  data(): void {
    this.opaque(this.varint());
  }

  /** So many bytes: the data of the frame. */
  opaque(length: number): void {
    this.dataStart = this.skip(length);
    this.dataLength = this.failed ? 0 : length;
  }

  /** The count of a run that begins with {@link sequence} and takes at least a byte a message. [FRM-8] [FRM-12] */
  run(): void {
    this.count = this.varint();
    if (this.count < 1 || this.count > this.left || this.sequence + this.count > VARINT_MAX)
      this.count = this.fail();
    this.dataStart = this.at;
  }
}

/** What a file of `frames/` says of a frame. */
export interface FrameKind {
  /** Its type, or the first of those up to {@link last}. */
  readonly type: number;
  readonly last?: number;
  /** Reads the fields behind the type byte; what is malformed makes the reader fail. */
  readonly read: (reader: FrameReader) => void;
  /** The packets that may carry it: one of {@link InPackets}. [FRM-4] */
  readonly packets: number;
  /** A packet with this frame must be acknowledged. [FRM-3] */
  readonly isAckEliciting: boolean;
  /**
   * As qlog says it: a frame that means the same as one of QUIC under its name and with its fields, others as spec/qlog/jetstream.cddl defines them. What messages say is
   * left out. Empty where qlog has no room for what it says. [TRC-4]
   *
   * @param bytes - length of the frame
   */
  readonly json: (reader: FrameReader, bytes: number) => string;
}

/** Sets of packet types. */
export const InPackets = {
  ALL: bits(PacketType.INITIAL, PacketType.HANDSHAKE, PacketType.ZERO_RTT, PacketType.ONE_RTT),
  ALL_BUT_0RTT: bits(PacketType.INITIAL, PacketType.HANDSHAKE, PacketType.ONE_RTT),
  APPLICATION: bits(PacketType.ZERO_RTT, PacketType.ONE_RTT),
  ONE_RTT: bits(PacketType.ONE_RTT),
} as const;

function bits(...types: readonly PacketType[]): number {
  return types.reduce<number>((set, type) => set | (1 << type), 0);
}

const ACK_RANGES_AT_FIRST = 8;
const EMPTY_NUMBERS = new Float64Array(0);
