/**
 * The limits of a connection that its two sides tell each other: how many streams may be opened (MAX_STREAMS, STREAMS_BLOCKED), and how much
 * may be sent on all of them together (MAX_DATA, DATA_BLOCKED). Those of a single stream are in its two halves.
 */

import { RangeSet } from '../../base/ranges.ts';
import { type Micros, NEVER, SECOND } from '../../base/time.ts';
import { CloseCode } from '../wire/close-code.ts';
import { FrameType } from '../wire/frame-type.ts';
import type { FrameWriter } from '../wire/frame-writer.ts';
import {
  writeDataBlocked,
  writeMaxData,
  writeMaxStreams,
  writeStreamsBlocked,
} from '../wire/frames/flow-control.ts';
import type { SentFrame } from '../wire/frames/sent-frames.ts';
import type { FlowCredit, FlowWindow } from './flow-control.ts';

/** All limits of a connection. */
export class Limits {
  readonly streams: StreamLimits;
  readonly data: DataLimits;
  readonly messages: MessageLimits;

  constructor(streams: StreamLimits, data: DataLimits, messages: MessageLimits) {
    this.streams = streams;
    this.data = data;
    this.messages = messages;
  }

  /** True when {@link write} has something to write. */
  get due(): boolean {
    return this.streams.due || this.data.due;
  }

  /** Writes MAX_DATA, DATA_BLOCKED, MAX_STREAMS and STREAMS_BLOCKED. */
  write(w: FrameWriter): void {
    this.data.write(w);
    this.streams.write(w);
  }

  /** The packet that held this frame is lost. False when it is none of these. */
  onFrameLost(frame: SentFrame): boolean {
    switch (frame.type) {
      case FrameType.MAX_DATA:
      case FrameType.DATA_BLOCKED:
        this.data.onFrameLost(frame);
        return true;
      case FrameType.MAX_STREAMS:
      case FrameType.STREAMS_BLOCKED:
        this.streams.onFrameLost(frame);
        return true;
      default:
        return false;
    }
  }
}

/** How large a message may be. */
export class MessageLimits {
  /** The largest message that the peer takes. */
  peer: number;
  /** The largest message that this side takes, and is meant to send. */
  private readonly own: number;
  private readonly isServer: boolean;

  constructor(own: number, isServer: boolean) {
    this.peer = own;
    this.own = own;
    this.isServer = isServer;
  }

  /**
   * Whether a message of so many bytes is the fault of this side's application, which can know better: above its own limit, or above what
   * the server it chose takes. A server did not choose its clients, and none must end it by the limit that it advertises. [STR-36]
   */
  isOwnFault(bytes: number): boolean {
    return !this.isServer || bytes > this.own;
  }
}

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

  /** Streams opened so far, by us and by the peer. */
  get openedCount(): number {
    return this.opened;
  }

  get acceptedCount(): number {
    return this.accepted.total;
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

  /** So many streams of the peer that are closed make room for others; below 0: they do not yet, as whoever hears of them is not done with them. */
  makeRoom(streams: number): void {
    this.acceptedClosed += streams;
  }

  /** MAX_STREAMS, or the peer's initial limit. True when we may open more than before. */
  raise(limit: number): boolean {
    if (limit <= this.peerLimit) return false;
    this.peerLimit = limit;
    return true;
  }

  /** The peer knows none of our streams, and its limit is another one. [HS-58] */
  restart(limit: number): void {
    this.peerLimit = limit;
    this.blockedAt = -1;
  }

  /** STREAMS_BLOCKED: the peer wants to open more streams than this. */
  onBlocked(limit: number): void {
    if (limit === this.announced) this.isPeerBlocked = true;
  }

  /** True when {@link write} has something to write. */
  get due(): boolean {
    return this.isAnnouncementDue || this.isBlocked;
  }

  /** Writes MAX_STREAMS and STREAMS_BLOCKED. */
  write(w: FrameWriter): void {
    if (this.isAnnouncementDue && w.hasControlRoom) {
      this.announcementLost = false;
      this.isPeerBlocked = false;
      this.announced = Math.max(this.announced, this.grantable);
      writeMaxStreams(w, this.announced);
    }
    if (this.isBlocked && w.hasControlRoom) {
      this.blockedAt = this.peerLimit;
      this.blockedCount++;
      writeStreamsBlocked(w, this.peerLimit);
    }
  }

  /** The packet that held this frame of ours is lost. */
  onFrameLost({ type, limit }: SentFrame): void {
    if (type === FrameType.MAX_STREAMS) this.announcementLost ||= limit === this.announced;
    else if (type === FrameType.STREAMS_BLOCKED && limit === this.blockedAt) this.blockedAt = -1;
  }

  /** How many streams the peer may open in all, as of now. What was announced is not taken back. */
  private get grantable(): number {
    return this.acceptedClosed + this.streamsMax;
  }

  private get isAnnouncementDue(): boolean {
    if (this.announcementLost) return true;
    const fresh = this.grantable - this.announced;
    // [STR-4] as windows do: by a quarter, or by anything when the peer waits for it
    return fresh > 0 && (this.isPeerBlocked || fresh * 4 >= this.streamsMax);
  }

  private get isBlocked(): boolean {
    return this.opened > this.peerLimit && this.blockedAt !== this.peerLimit;
  }
}

/** Tells the peer how much it may send on the whole connection, and that we would send more than it allows. */
export class DataLimits {
  /** DATA_BLOCKED frames sent. */
  blockedCount = 0;
  private readonly window: FlowWindow;
  private readonly credit: FlowCredit;
  private announcementLost = false;

  /**
   * @param window - what we let the peer send
   * @param credit - what the peer lets us send
   */
  constructor(window: FlowWindow, credit: FlowCredit) {
    this.window = window;
    this.credit = credit;
  }

  /** True when {@link write} has something to write. */
  get due(): boolean {
    return this.window.due || this.announcementLost || this.credit.owesBlocked;
  }

  /** Writes MAX_DATA and DATA_BLOCKED. */
  write(w: FrameWriter): void {
    if ((this.window.due || this.announcementLost) && w.hasControlRoom) {
      this.announcementLost = false;
      writeMaxData(w, this.window.announce());
    }
    if (this.credit.owesBlocked && w.hasControlRoom) {
      this.blockedCount++;
      writeDataBlocked(w, this.credit.sayBlocked());
    }
  }

  /** The packet that held this frame of ours is lost. */
  onFrameLost({ type, limit }: SentFrame): void {
    if (type === FrameType.MAX_DATA) this.announcementLost ||= limit === this.window.announced;
    else this.credit.onBlockedLost(limit);
  }
}

/** Streams that wait for the peer's limit so long are told of. */
const WARNED_AFTER: Micros = 5 * SECOND;
