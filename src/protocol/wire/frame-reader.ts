import { CloseCode } from './close-code.ts';
import { FrameFields } from './frame-fields.ts';
import { Delivery, EnvelopeFlag, FrameType, MessageFlag } from './frame-type.ts';
import { CONNECTION_ID_BYTES_MAX } from './packet-header.ts';
import { isUtf8 } from './utf8.ts';
import { readVarint, VARINT_MAX, varintLength } from './varint.ts';

/** Most ranges, and most recovered numbers, that are kept of one ACK: the newest. The others are checked and forgotten. */
export const ACK_RANGES_MAX = 256;
/** Longest label of a stream. [FRM-10] */
export const LABEL_BYTES_MAX = 64;

/**
 * Reads the frames of an opened packet, one after the other, without allocating. Never throws and never reads out of bounds,
 * whatever the bytes are.
 *
 *     reader.reset(buffer, start, end);
 *     while (reader.next()) dispatch(reader);
 *     if (reader.error !== 0) close(reader.error);
 */
export class FrameReader extends FrameFields {
  /** 0, or the close code for the bytes that ended the reading. */
  error = 0;
  /** Set by whoever keeps a view of {@link buffer} beyond the frame: its memory must live on. */
  isKept = false;

  /** Begins with the payload buffer[start, end) of a packet. */
  override reset(buffer: Uint8Array, start: number, end: number): void {
    super.reset(buffer, start, end);
    this.type = FrameType.PADDING;
    this.isKept = false;
    this.error = start < end ? 0 : CloseCode.PROTOCOL_VIOLATION; // [FRM-1] a payload without frames
  }

  /** Reads the next frame. False at the end of the payload, or when {@link error} says that it is malformed. */
  next(): boolean {
    if (this.error !== 0 || this.at >= this.bound) return false;
    this.type = this.buffer[this.at++];
    this.fields();
    if (!this.failed) return true;
    this.error = CloseCode.FRAME_ENCODING_ERROR;
    return false;
  }

  private fields(): void {
    const type = this.type;
    if (type >= FrameType.MESSAGE && type < FrameType.MESSAGES) {
      this.message();
      return;
    }
    switch (type) {
      case FrameType.MESSAGES:
      case FrameType.MESSAGES_BEST_EFFORT:
        this.messages();
        return;
      case FrameType.ACK:
      case FrameType.ACK_ECN:
      case FrameType.ACK_RECOVERED:
      case FrameType.ACK_ECN_RECOVERED:
        this.ack();
        return;
      case FrameType.PADDING:
        this.padding();
        return;
      case FrameType.PING:
      case FrameType.HANDSHAKE_DONE:
        return;
      case FrameType.CRYPTO:
        this.offset = this.varint();
        this.total = this.varint();
        this.data();
        return;
      case FrameType.NEW_TOKEN:
        this.data();
        return;
      case FrameType.TICKET:
        this.lifetime = this.varint();
        this.nonceStart = this.skip(NONCE_BYTES);
        this.data();
        return;
      case FrameType.STREAM_OPEN:
        this.streamOpen();
        return;
      case FrameType.STREAM_FIN:
        this.stream = this.varint();
        this.end = this.varint();
        return;
      case FrameType.RESET_STREAM:
        this.stream = this.varint();
        this.code = this.varint();
        this.end = this.varint();
        return;
      case FrameType.STOP_SENDING:
        this.stream = this.varint();
        this.code = this.varint();
        return;
      case FrameType.ABANDON:
        this.abandon();
        return;
      case FrameType.DROPPED:
        this.dropped();
        return;
      case FrameType.MAX_STREAM_DATA:
      case FrameType.STREAM_DATA_BLOCKED:
        this.stream = this.varint();
        this.limit = this.varint();
        return;
      case FrameType.MAX_DATA:
      case FrameType.MAX_STREAMS:
      case FrameType.DATA_BLOCKED:
      case FrameType.STREAMS_BLOCKED:
        this.limit = this.varint();
        return;
      default:
        this.rareFields(type);
        return;
    }
  }

  private rareFields(type: number): void {
    switch (type) {
      case FrameType.REPAIR:
        this.repair();
        return;
      case FrameType.HEARTBEAT:
        this.number = this.varint();
        this.interval = this.varint();
        return;
      case FrameType.PATH_CHALLENGE:
      case FrameType.PATH_RESPONSE:
        this.opaque(CHALLENGE_BYTES);
        return;
      case FrameType.NEW_CONNECTION_ID:
        this.newConnectionId();
        return;
      case FrameType.RETIRE_CONNECTION_ID:
        this.sequence = this.varint();
        return;
      case FrameType.CONNECTION_CLOSE:
        this.close();
        return;
      case FrameType.ACK_FREQUENCY:
        this.number = this.varint();
        this.threshold = this.varint();
        this.delay = this.varint();
        return;
    }
    // [FRM-2] what can be skipped; [FRM-1] what nobody knows
    if (type >= FrameType.EXTENSION && type <= EXTENSION_LAST) this.data();
    else this.fail();
  }

  private message(): void {
    const flags = this.type & 0xf;
    this.flags = flags;
    this.stream = this.varint();
    this.sequence = this.varint();
    this.offset = 0;
    this.oldest = -1;
    this.remaining = -1;
    this.envelope = 0;
    this.dictionaryStart = -1;
    this.originalLength = -1;
    if ((flags & MessageFlag.FRAGMENT) !== 0) {
      this.offset = this.varint();
      this.total = this.varint();
      this.oldest = this.sequence - this.varint();
    }
    if ((flags & MessageFlag.LIFETIME) !== 0) this.remaining = this.varint();
    if ((flags & MessageFlag.ENVELOPE) !== 0) this.envelopeFields();
    this.data();
    if ((flags & MessageFlag.FRAGMENT) === 0) this.total = this.dataLength;
    else if (this.oldest < 0 || this.dataLength === 0 || this.offset + this.dataLength > this.total) {
      this.fail(); // [FRM-6]
    }
  }

  private envelopeFields(): void {
    this.envelope = this.u8();
    if (this.envelope > ENVELOPE_KNOWN) this.fail();
    if ((this.envelope & EnvelopeFlag.DICTIONARY) !== 0)
      this.dictionaryStart = this.skip(DICTIONARY_HASH_BYTES);
    if ((this.envelope & EnvelopeFlag.LENGTH) !== 0) this.originalLength = this.varint();
  }

  private messages(): void {
    this.stream = this.varint();
    this.sequence = this.varint();
    this.run();
    const buffer = this.buffer;
    const bound = this.bound;
    let at = this.at;
    for (let i = this.count; i > 0; i--) {
      const length = readVarint(buffer, at, bound);
      if (length < 0) {
        this.fail();
        return;
      }
      at += varintLength(buffer[at]) + length;
    }
    // [FRM-8] a length beyond the end makes the next read, or this, fail
    this.dataLength = this.left < at - this.at ? this.fail() : at - this.at;
    this.at += this.dataLength;
  }

  private abandon(): void {
    this.stream = this.varint();
    this.sequence = this.varint();
    this.run();
    for (let i = this.count; i > 0 && !this.failed; i--) this.varint();
    this.dataLength = this.at - this.dataStart;
  }

  /** Reads the count of a run that begins with {@link sequence} and takes at least a byte a message. [FRM-8] [FRM-12] */
  private run(): void {
    this.count = this.varint();
    if (this.count < 1 || this.count > this.left || this.sequence + this.count > VARINT_MAX)
      this.count = this.fail();
    this.dataStart = this.at;
  }

  private dropped(): void {
    this.stream = this.varint();
    this.space = this.u8();
    this.sequence = this.varint();
    this.count = this.varint();
    // [FRM-12]
    if (this.space > 1 || this.count < 1 || this.sequence + this.count > VARINT_MAX) this.fail();
  }

  private streamOpen(): void {
    this.stream = this.varint();
    const flags = this.u8();
    this.flags = flags;
    this.priority = flags & 0x3;
    this.ordered = (flags & 0x4) !== 0;
    this.delivery = (flags >> 3) & 0x3;
    this.opaque(this.u8());
    if (this.failed) return;
    // [FRM-10]
    if ((flags & 0xe0) !== 0 || this.delivery > Delivery.BEST_EFFORT) this.fail();
    else if (this.dataLength > LABEL_BYTES_MAX || !isUtf8(this.buffer, this.dataStart, this.at)) this.fail();
  }

  private close(): void {
    this.scope = this.u8();
    this.code = this.varint();
    this.frameType = this.u8();
    this.data();
    if (this.scope > 2) this.fail(); // [FRM-12]
  }

  private repair(): void {
    this.code = this.u8();
    this.group = this.varint();
    this.index = this.u8();
    this.k = this.u8();
    this.r = this.u8();
    this.data();
  }

  private newConnectionId(): void {
    this.sequence = this.varint();
    this.retirePriorTo = this.varint();
    this.opaque(this.u8());
    this.resetTokenStart = this.skip(RESET_TOKEN_BYTES);
    // [FRM-12]
    if (this.dataLength < 1 || this.dataLength > CONNECTION_ID_BYTES_MAX) this.fail();
    else if (this.retirePriorTo > this.sequence) this.fail();
  }

  private padding(): void {
    const start = this.at - 1;
    while (this.at < this.bound && this.buffer[this.at] === FrameType.PADDING) this.at++;
    this.count = this.at - start;
  }

  private ack(): void {
    this.largest = this.varint();
    this.delay = this.varint();
    this.acknowledged();
    this.ect0 = -1;
    this.ect1 = -1;
    this.ce = -1;
    this.recoveredCount = 0;
    if (this.type === FrameType.ACK_ECN || this.type === FrameType.ACK_ECN_RECOVERED) {
      this.ect0 = this.varint();
      this.ect1 = this.varint();
      this.ce = this.varint();
    }
    if (this.type >= FrameType.ACK_RECOVERED) this.recoveredNumbers();
  }

  /** [FRM-9] */
  private acknowledged(): void {
    let more = this.varint();
    if (more * 2 > this.left) more = this.fail();
    let end = this.largest + 1;
    let start = this.largest - this.varint();
    this.rangeCount = 0;
    this.keepRange(start, end);
    for (; more > 0 && start >= 0; more--) {
      end = start - this.varint() - 1;
      start = end - this.varint() - 1;
      this.keepRange(start, end);
    }
    if (start < 0) this.fail();
  }

  private keepRange(start: number, end: number): void {
    const i = this.rangeCount;
    if (i === ACK_RANGES_MAX) return;
    if (2 * i === this.ackRanges.length) this.ackRanges = grown(this.ackRanges);
    this.ackRanges[2 * i] = start;
    this.ackRanges[2 * i + 1] = end;
    this.rangeCount = i + 1;
  }

  private recoveredNumbers(): void {
    let more = this.varint();
    if (more > this.left) more = this.fail();
    for (; more > 0; more--) {
      const number = this.largest - this.varint();
      if (number < 0) this.fail();
      if (this.recoveredCount === ACK_RANGES_MAX) continue;
      if (this.recoveredCount === this.recovered.length) this.recovered = grown(this.recovered);
      this.recovered[this.recoveredCount++] = number;
    }
  }

  private data(): void {
    this.opaque(this.varint());
  }

  private opaque(length: number): void {
    this.dataStart = this.skip(length);
    this.dataLength = this.failed ? 0 : length;
  }
}

function grown(numbers: Float64Array): Float64Array {
  const larger = new Float64Array(Math.max(RECOVERED_AT_FIRST, numbers.length * 2));
  larger.set(numbers);
  return larger;
}

const RECOVERED_AT_FIRST = 8;
const NONCE_BYTES = 16;
const RESET_TOKEN_BYTES = 16;
const CHALLENGE_BYTES = 8;
const DICTIONARY_HASH_BYTES = 8;
const ENVELOPE_KNOWN = EnvelopeFlag.COMPRESSED | EnvelopeFlag.DICTIONARY | EnvelopeFlag.LENGTH;
const EXTENSION_LAST = 0x3f;
