import { NO_BYTES } from '../../base/bytes.ts';
import { RangeSet } from '../../base/ranges.ts';
import { CloseCode } from '../wire/close-code.ts';
import type { FrameReader } from '../wire/frame-reader.ts';
import type { FrameWriter } from '../wire/frame-writer.ts';
import { cryptoHeaderSize, writeCryptoHeader } from '../wire/frames/crypto.ts';
import type { SentFrame } from '../wire/frames/sent-frames.ts';
import { MESSAGES_BYTES_MAX } from './messages.ts';

/** Of a message, as the record of a CRYPTO frame names it. */
type Part = Pick<SentFrame, 'offset' | 'length'>;

/**
 * What an endpoint has to say as a whole, cut into frames: the string of handshake messages of a packet number space, in CRYPTO frames, or what
 * ADMITTED says.
 */
export class OutgoingFlight {
  /** Datagrams of padding that a client still sends behind it, to pay for a long answer. [HS-41] */
  paddingDue = 0;
  private message: Uint8Array = NO_BYTES;
  private readonly unsent = new RangeSet();
  private readonly acknowledged = new RangeSet();
  private readonly writeHeader: typeof writeCryptoHeader;

  /** @param writeHeader - of its frames, which have the fields of CRYPTO */
  constructor(writeHeader: typeof writeCryptoHeader = writeCryptoHeader) {
    this.writeHeader = writeHeader;
  }

  start(message: Uint8Array): void {
    this.message = message;
    this.unsent.add(0, message.length);
  }

  get isEmpty(): boolean {
    return this.message.length === 0;
  }

  get pending(): boolean {
    return this.unsent.size > 0;
  }

  /** All of the message is acknowledged, or there is none. */
  get settled(): boolean {
    return this.acknowledged.total === this.message.length;
  }

  /** Writes one frame with as much as fits. False when nothing does. */
  write(w: FrameWriter): boolean {
    if (!this.pending) return false;
    const offset = this.unsent.start(0);
    const room = w.room - cryptoHeaderSize(offset, this.message.length, w.room);
    const length = Math.min(room, this.unsent.end(0) - offset);
    if (length < 1) return false;
    this.writeHeader(w, offset, this.message.length, length);
    w.bytes(this.message.subarray(offset, offset + length));
    this.unsent.remove(offset, offset + length);
    return true;
  }

  onFrameAcked({ offset, length }: Part): void {
    this.acknowledged.add(offset, offset + length);
    this.unsent.remove(offset, offset + length);
  }

  onFrameLost({ offset, length }: Part): void {
    this.lose(offset, length);
  }

  /** Sends again all that is not acknowledged, for a probe. */
  resend(): void {
    this.lose(0, this.message.length);
  }

  private lose(offset: number, length: number): void {
    this.unsent.add(offset, offset + length);
    for (let i = 0; i < this.acknowledged.size; i++) {
      this.unsent.remove(this.acknowledged.start(i), this.acknowledged.end(i));
    }
  }
}

/**
 * Puts together the one handshake message that the peer sends in a packet number space. Until an address is validated anyone can send such
 * frames, so what they cost is bounded: memory comes in blocks, as bytes arrive for them, and a message lies in few pieces at a time.
 */
export class IncomingFlight {
  /** Blocks of the message, made when the first byte of one arrives; null when the message was taken. */
  private blocks: (Uint8Array | undefined)[] | null = [];
  private readonly received = new RangeSet();
  private total = 0;

  /** Bytes of the message that came, those that came again aside. */
  get bytesReceived(): number {
    return this.received.total;
  }

  /** Bytes of memory that hold what came of the message. */
  get bytesHeld(): number {
    return (this.blocks ?? []).reduce((sum, block) => sum + (block?.length ?? 0), 0);
  }

  /** Takes a CRYPTO frame. Returns 0 or a close code. */
  onFrame(frame: FrameReader): number {
    const { total, offset, dataLength } = frame;
    // [FRM-11] one total, a bounded one, and nothing beyond it
    if (total < 1 || total > MESSAGES_BYTES_MAX) return CloseCode.CRYPTO_ERROR;
    if (offset + dataLength > total) return CloseCode.CRYPTO_ERROR;
    if (this.total === 0) this.total = total;
    if (this.total !== total) return CloseCode.CRYPTO_ERROR;
    const { blocks } = this;
    if (blocks === null) return 0;
    if (!this.agrees(blocks, frame)) return CloseCode.CRYPTO_ERROR; // [FRM-11] what was said is not said otherwise
    if (this.received.add(offset, offset + dataLength) === 0) return 0;
    if (this.received.size > PIECES_MAX) return CloseCode.CRYPTO_ERROR; // [FRM-16]
    this.store(blocks, frame);
    return 0;
  }

  /** All of the message is there, and was not taken. */
  get isComplete(): boolean {
    return this.blocks !== null && this.total > 0 && this.received.covers(0, this.total);
  }

  /** The whole message, once, when it is complete. */
  take(): Uint8Array | null {
    const { blocks, total } = this;
    if (blocks === null || !this.isComplete) return null;
    const message = new Uint8Array(total);
    for (let i = 0; i < blocks.length; i++) message.set(blocks[i] ?? NO_BYTES, i * BLOCK_BYTES);
    this.blocks = null;
    return message;
  }

  /** Whether those of the frame's bytes that came before are what they were. */
  private agrees(blocks: readonly (Uint8Array | undefined)[], frame: FrameReader): boolean {
    const { buffer, offset, dataStart, dataLength } = frame;
    const { received } = this;
    for (let i = 0; i < received.size; i++) {
      const end = Math.min(received.end(i), offset + dataLength);
      for (let at = Math.max(received.start(i), offset); at < end; at++) {
        const block = blocks[Math.floor(at / BLOCK_BYTES)];
        if (block?.[at % BLOCK_BYTES] !== buffer[dataStart + at - offset]) return false;
      }
    }
    return true;
  }

  private store(blocks: (Uint8Array | undefined)[], frame: FrameReader): void {
    const { buffer, offset, dataStart, dataLength } = frame;
    for (let done = 0; done < dataLength; ) {
      const at = offset + done;
      const index = Math.floor(at / BLOCK_BYTES);
      const start = index * BLOCK_BYTES;
      blocks[index] ??= new Uint8Array(Math.min(BLOCK_BYTES, this.total - start));
      const block = blocks[index];
      const count = Math.min(dataLength - done, start + block.length - at);
      for (let i = 0; i < count; i++) block[at - start + i] = buffer[dataStart + done + i];
      done += count;
    }
  }
}

const BLOCK_BYTES = 512;
/** [FRM-16] The largest message in the smallest datagrams, all of them out of order, lies in fewer. */
const PIECES_MAX = 64;
