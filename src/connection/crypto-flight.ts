import { RangeSet } from '../base/ranges.ts';
import { CloseCode } from '../wire/close-code.ts';
import type { FrameReader } from '../wire/frame-reader.ts';
import { FrameType } from '../wire/frame-type.ts';
import { cryptoHeaderSize, writeCryptoHeader } from '../wire/frame-writer.ts';

/** Where the ledger's entries go: the sent ledger of the packet's space. */
interface SentFrames {
  add(kind: number, id: number, a: number, b: number, c: number): void;
}

/** The one handshake message that an endpoint sends in a packet number space, cut into CRYPTO frames. */
export class OutgoingFlight {
  private message: Uint8Array = EMPTY;
  private readonly unsent = new RangeSet();
  private readonly acknowledged = new RangeSet();

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

  /** Writes one frame with as much as fits before `limit`; returns the new offset, `at` when nothing fits. */
  write(out: Uint8Array, at: number, limit: number, sent: SentFrames): number {
    if (!this.pending) return at;
    const offset = this.unsent.start(0);
    const room = limit - at - cryptoHeaderSize(offset, this.message.length, limit - at);
    const length = Math.min(room, this.unsent.end(0) - offset);
    if (length < 1) return at;
    const dataStart = writeCryptoHeader(out, at, offset, this.message.length, length);
    out.set(this.message.subarray(offset, offset + length), dataStart);
    this.unsent.remove(offset, offset + length);
    sent.add(FrameType.CRYPTO, 0, offset, length, 0);
    return dataStart + length;
  }

  onAcked(offset: number, length: number): void {
    this.acknowledged.add(offset, offset + length);
    this.unsent.remove(offset, offset + length);
  }

  onLost(offset: number, length: number): void {
    this.unsent.add(offset, offset + length);
    for (let i = 0; i < this.acknowledged.size; i++) {
      this.unsent.remove(this.acknowledged.start(i), this.acknowledged.end(i));
    }
  }

  /** Sends again all that is not acknowledged, for a probe. */
  resend(): void {
    this.onLost(0, this.message.length);
  }
}

/** Puts together the one handshake message that the peer sends in a packet number space. */
export class IncomingFlight {
  private message: Uint8Array | null = null;
  private readonly received = new RangeSet();
  private total = 0;

  /** Takes a CRYPTO frame. Returns 0 or a close code. */
  onFrame(frame: FrameReader): number {
    // [FRM-11] one total, a bounded one, and nothing beyond it
    if (frame.total < 1 || frame.total > FLIGHT_BYTES_MAX) return CloseCode.CRYPTO_ERROR;
    if (frame.offset + frame.dataLength > frame.total) return CloseCode.CRYPTO_ERROR;
    if (this.total === 0) {
      this.total = frame.total;
      this.message = new Uint8Array(frame.total);
    }
    if (this.total !== frame.total) return CloseCode.CRYPTO_ERROR;
    if (this.message === null) return 0;
    this.message.set(
      frame.buffer.subarray(frame.dataStart, frame.dataStart + frame.dataLength),
      frame.offset,
    );
    this.received.add(frame.offset, frame.offset + frame.dataLength);
    return 0;
  }

  /** The whole message, once, when it is complete. */
  take(): Uint8Array | null {
    const message = this.message;
    if (message === null || !this.received.covers(0, this.total)) return null;
    this.message = null;
    return message;
  }
}

const EMPTY = new Uint8Array(0);
const FLIGHT_BYTES_MAX = 16_384;
