/**
 * What goes out on one socket. What a turn of the event loop brings for it is written at once, at its end or, where it is a lot, when somebody else is brought something. And where sockets are brought the same, as those of the subscribers of one
 * topic are, the bytes are put together once [GW-46]. Whoever takes them too slowly is told of, and is given no more [GW-45].
 */

import { MILLISECOND } from '../base/time.ts';
import { type Clock, systemClock } from '../udp/clock.ts';

/** What bytes are written to. */
export interface ByteSink {
  /** Bytes that it was given and that the system has not taken. */
  readonly writableLength: number;
  /** Calls `done` when the system has taken them, or never will. */
  write(bytes: Uint8Array, done: () => void): unknown;
}

/** What whoever sends wants to hear. */
export interface OutgoingListener {
  /** So much waits that nothing more should come, until {@link onReady}. */
  onSlow(): void;
  onReady(): void;
}

/** The sockets that something is to be written to in this turn. */
export class OutgoingTurn {
  readonly clock: Clock;
  private called: Outgoing[] = [];
  /** Of the last one that had several: what they were, and put together. */
  private lastFrames: readonly Uint8Array[] = [];
  private lastJoined: Uint8Array = NOTHING;
  private readonly flush = () => this.flushAll();

  constructor(clock: Clock = systemClock) {
    this.clock = clock;
  }

  call(outgoing: Outgoing): void {
    // Who was brought so many before somebody else was brought anything has his turn's work, as a rule: he reads it while the others are brought theirs.
    const last = this.called.at(-1);
    if (last !== undefined && last.waitingFrames >= FRAMES_AT_ONCE) last.flush();
    if (this.called.push(outgoing) > 1) return;
    if (this.clock.atEndOfTick) this.clock.atEndOfTick(this.flush);
    else this.clock.soon(this.flush);
  }

  /** Frames one behind the other. */
  join(frames: readonly Uint8Array[], bytes: number): Uint8Array {
    if (sameFrames(frames, this.lastFrames)) return this.lastJoined;
    this.lastFrames = frames;
    this.lastJoined = Buffer.concat(frames, bytes);
    return this.lastJoined;
  }

  private flushAll(): void {
    const { called } = this;
    this.called = [];
    for (const outgoing of called) outgoing.flush();
    this.lastFrames = [];
    this.lastJoined = NOTHING;
  }
}

export class Outgoing {
  private readonly turn: OutgoingTurn;
  private readonly sink: ByteSink;
  private readonly listener: OutgoingListener;
  private frames: Uint8Array[] = [];
  private frameBytes = 0;
  private isCalled = false;
  private slow = false;
  private over = false;
  /** When the system last took something, or was last not behind. */
  private progressAt = 0;
  /** Called when nothing waits any more. */
  private whenEmpty: (() => void) | null = null;
  private readonly written = () => this.onWritten();

  constructor(turn: OutgoingTurn, sink: ByteSink, listener: OutgoingListener) {
    this.turn = turn;
    this.sink = sink;
    this.listener = listener;
  }

  /** Bytes that wait here or in the socket. */
  get bufferedBytes(): number {
    return this.frameBytes + this.sink.writableLength;
  }

  get waitingFrames(): number {
    return this.frames.length;
  }

  get isSlow(): boolean {
    return this.slow;
  }

  /** Takes a whole frame, or event, whose bytes nobody touches any more. */
  send(frame: Uint8Array): void {
    if (this.over) return;
    this.frames.push(frame);
    this.frameBytes += frame.length;
    if (!this.isCalled) {
      this.isCalled = true;
      this.turn.call(this);
    }
    this.look();
  }

  /** Somebody else has written to the socket, too. */
  look(): void {
    if (this.slow || this.over || this.bufferedBytes <= SLOW_BYTES) return;
    this.slow = true;
    this.progressAt = this.turn.clock.now();
    this.listener.onSlow();
  }

  /** Calls `then` when everything was taken by the system; at once where nothing waits. */
  finish(then: () => void): void {
    this.whenEmpty = then;
    if (!this.isCalled) this.onEmpty();
  }

  /** The socket is gone. */
  end(): void {
    this.over = true;
    this.frames = [];
    this.frameBytes = 0;
    this.whenEmpty = null;
  }

  /** The system has taken nothing for too long, even at a crawl. [GW-45] */
  get isStalled(): boolean {
    const crawlMs = this.sink.writableLength / CRAWL_BYTES_PER_MS;
    return this.slow && this.turn.clock.now() - this.progressAt > (STALL_MS + crawlMs) * MILLISECOND;
  }

  /** Of its turn: writes what there is, if the socket does not have enough. */
  flush(): void {
    this.isCalled = false;
    if (this.over || this.frames.length === 0 || this.sink.writableLength > SLOW_BYTES) return;
    const { frames, frameBytes } = this;
    this.frames = [];
    this.frameBytes = 0;
    if (frames.length === 1 || frameBytes > JOINED_BYTES_MAX) {
      for (const frame of frames) this.sink.write(frame, this.written);
    } else {
      this.sink.write(this.turn.join(frames, frameBytes), this.written);
    }
  }

  private onWritten(): void {
    if (this.over) return;
    this.progressAt = this.turn.clock.now();
    if (this.frames.length > 0 && !this.isCalled) this.flush();
    if (this.slow && this.bufferedBytes <= READY_BYTES) {
      this.slow = false;
      this.listener.onReady();
    }
    if (this.whenEmpty !== null) this.onEmpty();
  }

  private onEmpty(): void {
    if (this.bufferedBytes > 0 || this.whenEmpty === null) return;
    const then = this.whenEmpty;
    this.whenEmpty = null;
    then();
  }
}

function sameFrames(a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean {
  if (a.length !== b.length) return false;
  // From the end: those that were brought different things differ there, too.
  for (let i = a.length - 1; i >= 0; i--) if (a[i] !== b[i]) return false;
  return true;
}

/** So many are worth a write of their own. */
const FRAMES_AT_ONCE = 8;
/** At so many bytes nothing more is read for the socket, and at so many it goes on. [GW-45] */
const SLOW_BYTES = 256 * 1024;
const READY_BYTES = 64 * 1024;
/** More than that is not copied to be written at once. */
const JOINED_BYTES_MAX = 128 * 1024;
/** Who takes nothing for so long is let go. */
const STALL_MS = 20_000;
/** Who takes 32 KiB a second moves. */
export const CRAWL_BYTES_PER_MS = 32;
const NOTHING = new Uint8Array(0);
