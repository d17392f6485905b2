import { FrameType } from '../../wire/frame-type.ts';
import type { FrameWriter } from '../../wire/frame-writer.ts';
import type { SentFrame } from '../../wire/frames/sent-frames.ts';
import {
  recordStreamOpen,
  streamOpenSize,
  writeResetStream,
  writeStreamFin,
  writeStreamOpen,
} from '../../wire/frames/stream.ts';

/** What STREAM_OPEN tells the peer. */
export interface StreamOpening {
  /** The byte of the frame: priority, ordered, default delivery. */
  readonly flags: number;
  /** UTF-8, at most 64 bytes. */
  readonly label: Uint8Array;
}

/** How far the peer has been told of something. */
export const Told = { NOT_WANTED: 0, WANTED: 1, SENT: 2, ACKED: 3 } as const;

/** The beginning and the end of a stream, as far as its sender tells them: STREAM_OPEN, STREAM_FIN and RESET_STREAM. [STR-30] */
export class SendSignals {
  open: number;
  fin: number = Told.NOT_WANTED;
  reset: number = Told.NOT_WANTED;
  private readonly stream: number;
  private readonly opening: StreamOpening | null;
  private resetCode = 0;

  /** @param opening - null on the side that does not open the stream */
  constructor(stream: number, opening: StreamOpening | null) {
    this.stream = stream;
    this.opening = opening;
    this.open = opening === null ? Told.ACKED : Told.WANTED;
  }

  /** The stream was ended or reset: it takes no more messages. */
  get isEnding(): boolean {
    return this.fin !== Told.NOT_WANTED || this.reset !== Told.NOT_WANTED;
  }

  /** STREAM_FIN is to be sent as soon as nothing is unsent. */
  get isFinWanted(): boolean {
    return this.fin === Told.WANTED && this.reset === Told.NOT_WANTED;
  }

  /** The end is on its way, or will be, and the peer has not said that it knows. */
  get isEndUntold(): boolean {
    if (this.reset !== Told.NOT_WANTED) return this.reset !== Told.ACKED;
    return this.fin === Told.WANTED || this.fin === Told.SENT;
  }

  /** The peer knows the end. */
  get isEndTold(): boolean {
    return this.reset === Told.ACKED || (this.fin === Told.ACKED && this.reset === Told.NOT_WANTED);
  }

  wantReset(code: number): void {
    this.reset = Told.WANTED;
    this.resetCode = code;
  }

  /** Writes STREAM_OPEN without recording it yet: it goes only with something else, or when it is owed. False when it does not fit. */
  putOpening(w: FrameWriter): boolean {
    const { flags, label } = this.opening!;
    if (w.room < streamOpenSize(this.stream, label)) return false;
    writeStreamOpen(w, this.stream, flags, label);
    return true;
  }

  /** The packet keeps the STREAM_OPEN that was put into it. */
  openingSent(w: FrameWriter): void {
    recordStreamOpen(w, this.stream);
    this.open = Told.SENT;
  }

  writeReset(w: FrameWriter, end: number): void {
    if (!w.hasControlRoom) return;
    this.reset = Told.SENT;
    writeResetStream(w, this.stream, this.resetCode, end);
  }

  writeFin(w: FrameWriter, end: number): void {
    if (!w.hasControlRoom) return;
    this.fin = Told.SENT;
    writeStreamFin(w, this.stream, end);
  }

  onFrameAcked({ type }: SentFrame): void {
    if (type === FrameType.STREAM_OPEN) this.open = Told.ACKED;
    else if (type === FrameType.STREAM_FIN) this.fin = Told.ACKED;
    else if (type === FrameType.RESET_STREAM) this.reset = Told.ACKED;
  }

  onFrameLost({ type }: SentFrame): void {
    if (type === FrameType.STREAM_OPEN && this.open === Told.SENT) this.open = Told.WANTED;
    else if (type === FrameType.STREAM_FIN && this.fin === Told.SENT) this.fin = Told.WANTED;
    else if (type === FrameType.RESET_STREAM && this.reset === Told.SENT) this.reset = Told.WANTED;
  }
}
