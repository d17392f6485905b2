import { RangeSet } from '../../base/ranges.ts';
import { type Micros, NEVER, SECOND } from '../../base/time.ts';
import type { SentFrames } from '../stream/sent-frames.ts';
import { CloseCode } from '../wire/close-code.ts';
import { FrameType } from '../wire/frame-type.ts';
import { CONTROL_FRAME_BYTES_MAX, writeMaxStreams, writeStreamsBlocked } from '../wire/frame-writer.ts';

/**
 * Which stream ids exist, and how many streams each side may open. Ids of the client are even, those of the server odd; limits are
 * cumulative: a peer may open the streams with an index below the limit. [STR-4]
 */
export class StreamLimits {
  /** STREAMS_BLOCKED frames sent. */
  blockedCount = 0;
  private readonly isClient: boolean;
  private readonly streamsMax: number;
  /** Streams that we opened, and how many the peer lets us open. */
  private opened = 0;
  private peerLimit = 0;
  private blockedAt = -1;
  /** Indices of streams that the peer opened, those long closed included. */
  private readonly accepted = new RangeSet();
  private acceptedClosed = 0;
  private announced: number;
  private announcementLost = false;
  private isPeerBlocked = false;
  /** When the application is to be told that streams wait; NEVER when none does, or it was told. */
  warnAt: Micros = NEVER;
  private isWarned = false;

  /** @param streamsMax - streams that the peer may have open at once */
  constructor(isClient: boolean, streamsMax: number) {
    this.isClient = isClient;
    this.streamsMax = streamsMax;
    this.announced = streamsMax;
  }

  /** The id of the next stream that we open. */
  open(): number {
    return this.opened++ * 2 + (this.isClient ? 0 : 1);
  }

  isOurs(id: number): boolean {
    return (id % 2 === 0) === this.isClient;
  }

  /** False for a stream of ours that is beyond the peer's limit: it has to wait. */
  isAllowed(id: number): boolean {
    return !this.isOurs(id) || Math.floor(id / 2) < this.peerLimit;
  }

  /** Streams of ours that wait until the peer lets us open more. */
  get waiting(): number {
    return Math.max(0, this.opened - this.peerLimit);
  }

  /** Streams that we may open without waiting. */
  get openable(): number {
    return Math.max(0, this.peerLimit - this.opened);
  }

  /** Looks whether streams wait: when they do for long, that is worth a word, once until none waits. [STR-39] */
  watch(now: Micros): void {
    const isWaiting = this.waiting > 0;
    if (!isWaiting) this.isWarned = false;
    if (!isWaiting || this.isWarned) this.warnAt = NEVER;
    else if (this.warnAt === NEVER) this.warnAt = now + WARNED_AFTER;
  }

  /** How many streams wait, when that is to be told now; else 0. */
  takeWarning(now: Micros): number {
    if (now < this.warnAt) return 0;
    this.warnAt = NEVER;
    this.isWarned = this.waiting > 0;
    return this.waiting;
  }

  /** The peer opens a stream that was not open before. Returns 0 or a close code. */
  accept(id: number): number {
    const index = Math.floor(id / 2);
    if (index >= this.announced) return CloseCode.STREAM_LIMIT_ERROR;
    this.accepted.add(index, index + 1);
    return 0;
  }

  /** Whether a stream with this id is, or once was, open. [STR-5] */
  wasOpen(id: number): boolean {
    const index = Math.floor(id / 2);
    return this.isOurs(id) ? index < this.opened : this.accepted.contains(index);
  }

  /** A stream is forgotten; one of the peer's makes room for another. */
  onForgotten(id: number): void {
    if (!this.isOurs(id)) this.acceptedClosed++;
  }

  /** MAX_STREAMS, or the peer's initial limit. True when we may open more than before. */
  raise(limit: number): boolean {
    if (limit <= this.peerLimit) return false;
    this.peerLimit = limit;
    return true;
  }

  /** STREAMS_BLOCKED: the peer wants to open more streams than this. */
  onBlocked(limit: number): void {
    if (limit === this.announced) this.isPeerBlocked = true;
  }

  /** True when {@link write} has something to write. */
  get due(): boolean {
    return this.isAnnouncementDue || this.isBlocked;
  }

  /** Writes MAX_STREAMS and STREAMS_BLOCKED. Returns the new offset. */
  write(out: Uint8Array, start: number, limit: number, sent: SentFrames): number {
    let at = start;
    if (this.isAnnouncementDue && limit - at >= CONTROL_FRAME_BYTES_MAX) {
      this.announcementLost = false;
      this.isPeerBlocked = false;
      this.announced = this.acceptedClosed + this.streamsMax;
      at = writeMaxStreams(out, at, this.announced);
      sent.add(FrameType.MAX_STREAMS, 0, this.announced, 0, 0);
    }
    if (this.isBlocked && limit - at >= CONTROL_FRAME_BYTES_MAX) {
      this.blockedAt = this.peerLimit;
      this.blockedCount++;
      at = writeStreamsBlocked(out, at, this.peerLimit);
      sent.add(FrameType.STREAMS_BLOCKED, 0, this.peerLimit, 0, 0);
    }
    return at;
  }

  /** The packet that held this frame of ours is lost. */
  onLost(kind: number, limit: number): void {
    if (kind === FrameType.MAX_STREAMS) this.announcementLost ||= limit === this.announced;
    else if (kind === FrameType.STREAMS_BLOCKED && limit === this.blockedAt) this.blockedAt = -1;
  }

  private get isAnnouncementDue(): boolean {
    if (this.announcementLost) return true;
    const fresh = this.acceptedClosed + this.streamsMax - this.announced;
    // [STR-4] as windows do: by a quarter, or by anything when the peer waits for it
    return fresh > 0 && (this.isPeerBlocked || fresh * 4 >= this.streamsMax);
  }

  private get isBlocked(): boolean {
    return this.opened > this.peerLimit && this.blockedAt !== this.peerLimit;
  }
}

/** Streams that wait for the peer's limit so long are told of. */
const WARNED_AFTER: Micros = 5 * SECOND;
