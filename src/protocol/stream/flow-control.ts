/**
 * Flow control, at its two levels: a stream and the connection. {@link FlowCredit} is what the peer lets us send, {@link FlowWindow} what we
 * let the peer send, and {@link WindowPool} what the windows of a connection's streams grow by. Limits are cumulative, as MAX_DATA and
 * MAX_STREAM_DATA give them.
 */

import { hasLarge, LARGE_ZERO } from '../../base/large-count.ts';
import type { MemorySource } from '../../base/memory-budget.ts';
import { MILLISECOND, type Micros } from '../../base/time.ts';

/** Counts the credits that something waits for. */
export interface BlockedCredits {
  blockedCredits: number;
}

/** What a sender may still send, at one level. */
export class FlowCredit {
  /** Charged so far; never above `limit`. */
  used = 0;
  limit: number;
  /** The limit at which the peer was last told that we are blocked, or -1. */
  blockedAt = -1;
  /** True once something had to wait for this credit, until the limit is raised. */
  blocked = false;
  /** The limit that what waits needs: the highest, where several wait. */
  needed = 0;
  /** What was last said to be needed. */
  private neededThen = 0;
  /** Where those that something waits for are counted, if they are. */
  private readonly counts: BlockedCredits | null;

  constructor(limit: number, counts: BlockedCredits | null = null) {
    this.limit = limit;
    this.counts = counts;
  }

  get available(): number {
    return this.limit - this.used;
  }

  /** Takes a limit of the peer; an older, smaller one changes nothing. True when there is more credit than before. [STR-9] */
  raise(limit: number): boolean {
    if (limit <= this.limit) return false;
    this.limit = limit;
    this.unblock();
    this.needed = 0;
    return true;
  }

  /** Nothing was sent after all, and the peer's limit is another one. [HS-58] */
  restart(limit: number): void {
    this.used = 0;
    this.limit = limit;
    this.blockedAt = -1;
    this.needed = 0;
    this.unblock();
  }

  /** Something needs this limit, and waits for it. */
  block(needed: number): void {
    if (!this.blocked && this.counts !== null) this.counts.blockedCredits++;
    this.blocked = true;
    if (needed > this.needed) this.needed = needed;
  }

  /** Nothing waits for it any more. */
  unblock(): void {
    if (this.blocked && this.counts !== null) this.counts.blockedCredits--;
    this.blocked = false;
  }

  /** True while a BLOCKED frame is owed for the current limit: one a limit. */
  get owesBlocked(): boolean {
    return this.blocked && this.blockedAt !== this.limit;
  }

  /** A BLOCKED frame goes into a packet. Returns the limit that it says is needed. [STR-10] */
  sayBlocked(): number {
    this.blockedAt = this.limit;
    this.neededThen = this.needed;
    return this.needed;
  }

  /** The packet with the BLOCKED frame that asked for `needed` is lost: say it again if it still holds. */
  onBlockedLost(needed: number): void {
    if (needed === this.neededThen) this.blockedAt = -1;
  }
}

/** How fast a connection is, for windows that follow it; its owner keeps it current. */
export class Pace {
  now: Micros = 0;
  rtt: Micros = 0;
}

/** How a window may grow. */
export interface WindowGrowth {
  /** Most bytes of the window. */
  readonly bytesMax: number;
  readonly source: MemorySource;
  readonly pace: Pace;
  /**
   * It is the window of all streams: each of them bounds what it holds unread, so that what is unread of some must not keep others
   * waiting, and a part of what the peer needs is of use, too.
   */
  readonly isShared: boolean;
}

/**
 * What a receiver allows and counts, at one level: a stream or the whole connection. Everything first seen is charged; what the
 * application has read, and what was abandoned or dropped, is freed and so becomes credit again. A window begins small and grows in two
 * ways [STR-9]: it doubles while the application reads so fast that the window is what holds the peer back, and it admits the one message
 * that a blocked peer says it has.
 *
 * Messages that came and cannot be read yet, since one ahead of them is missing, count for growth as if they were read [STR-47]: behind a
 * gap nothing is read, however fast the application is, and on a path that loses packets the windows would follow its rate late. They stay
 * charged, and are no credit.
 */
export class FlowWindow {
  /** What the window is when nobody waits: it grows with the pace at which messages are read. */
  windowBytes: number;
  /** Charged so far. */
  used = 0;
  /** Freed so far; never above `used`. */
  freed = 0;
  /** What is charged of it for messages that came behind one that is missing: the application cannot read them yet. */
  private behind = 0;
  /** The limit that the peer was told last. */
  announced: number;
  /** The source has too little for what the peer needs. */
  isStarved = false;
  private readonly initialBytes: number;
  private readonly growth: WindowGrowth | null;
  /** Bytes taken from the source. */
  private taken = 0;
  private peerBlocked = false;
  /** The limit that a blocked peer needs, and as much of it as it can have. */
  private needed = 0;
  private admitted = 0;
  /** When, and with how much read or behind a gap, the measuring of the pace began. */
  private since: Micros = -1;
  private progressThen: number = LARGE_ZERO;

  constructor(windowBytes: number, growth: WindowGrowth | null = null) {
    this.windowBytes = windowBytes;
    this.initialBytes = windowBytes;
    this.announced = windowBytes;
    this.growth = growth;
  }

  /** Charges `bytes`; false when the peer went over its limit. */
  charge(bytes: number): boolean {
    this.used += bytes;
    if (this.since < 0 && this.growth !== null) this.since = this.growth.pace.now;
    return this.used <= this.announced;
  }

  free(bytes: number): void {
    this.freed += bytes;
    if (this.isStarved) this.admit();
  }

  /** Messages with a charge of `bytes` came behind one that is missing. They count only where the application reads all that it can. [STR-47] */
  hold(bytes: number): void {
    this.behind += bytes;
    if (this.growth !== null && this.unread * 2 <= this.windowBytes) this.follow(this.growth);
  }

  /** They can be read now, or are given up. */
  release(bytes: number): void {
    this.behind -= bytes;
  }

  /** The peer says that it needs `limit` to go on. One that is not above the last one sent is old, or says only that it waits. */
  onBlocked(limit: number): void {
    if (limit < this.announced) return;
    this.peerBlocked = true;
    this.needed = limit;
    this.admit();
    // The application has read most of what it can: the window is what the peer waits for.
    if (this.growth !== null && this.unread * 2 <= this.windowBytes) this.double(this.growth);
  }

  /** There may be room now in the source for what the peer needs. */
  retry(): void {
    if (this.isStarved) this.admit();
  }

  /** True when a new limit is worth a frame: a quarter of the window was freed, or the peer waits for less. [STR-11] */
  get due(): boolean {
    const fresh = this.next - this.announced;
    return fresh * 4 >= this.windowBytes ? fresh > 0 : this.peerBlocked && fresh > 0;
  }

  /** The limit to send now. [STR-9] */
  announce(): number {
    const { growth } = this;
    if (growth !== null) {
      this.giveWay(growth);
      this.follow(growth);
    }
    this.announced = Math.max(this.announced, this.next);
    this.peerBlocked = false;
    if (growth !== null) this.giveBack(growth);
    return this.announced;
  }

  /** Gives back what was taken and is not promised: the stream or connection has been idle. */
  relax(): void {
    this.windowBytes = this.initialBytes;
    if (this.growth !== null) this.giveBack(this.growth);
  }

  /** Gives back all: nothing is received any more. */
  close(): void {
    this.isStarved = false;
    this.growth?.source.give(this.taken);
    this.taken = 0;
  }

  /** Charged, and neither freed nor behind a gap: what the application could read, and incomplete messages. */
  private get unread(): number {
    return this.used - this.freed - this.behind;
  }

  /** What was read since the pace was measured last, or came behind a gap; what was behind one then does not count again when it is read. */
  private get progress(): number {
    return this.freed + this.behind - this.progressThen;
  }

  private get next(): number {
    return Math.max(this.freed + this.windowBytes, this.admitted);
  }

  /** Makes room for what the peer needs, as far as the window may grow and its source has it. */
  private admit(): void {
    const { growth, needed } = this;
    this.isStarved = false;
    if (growth === null || needed <= this.next) return;
    if (!growth.isShared && this.unread * 2 > this.windowBytes) {
      this.isStarved = true; // until the application has read what is there
      return;
    }
    const target = Math.min(needed, this.freed + growth.bytesMax);
    const more = target - this.freed - this.initialBytes - this.taken;
    const { available } = growth.source;
    if (more <= 0 || growth.source.admits(more)) this.extend(growth, Math.max(0, more), target);
    else if (growth.isShared && available > 0) this.extend(growth, available, target - more + available);
    if (this.next >= needed || target < needed) return;
    this.isStarved = true;
    growth.source.awaitRoom();
  }

  private extend(growth: WindowGrowth, bytes: number, limit: number): void {
    growth.source.take(bytes);
    this.taken += bytes;
    if (limit > this.admitted) this.admitted = limit;
  }

  /** Gives way where another found too little of what this one has much more of. [CON-52] */
  private giveWay({ pace, source }: WindowGrowth): void {
    if (!source.owes(pace.now)) return;
    this.windowBytes = Math.max(this.initialBytes, Math.floor(this.windowBytes * GIVE_WAY));
  }

  /**
   * Doubles the window when a quarter of it, or more, was read in the time of one round trip for each quarter; and behind a gap when what the
   * peer may still send lasts less than two round trips at this pace: one of them takes the new limit there, and what it lets out back.
   */
  private follow(growth: WindowGrowth): void {
    const { progress } = this;
    if (progress * 4 < this.windowBytes) return; // too little to tell a pace from a burst
    const { now, rtt } = growth.pace;
    const elapsed = now - this.since;
    this.since = now;
    this.progressThen += progress;
    const inRoundTrip = progress * Math.max(rtt, RTT_MIN); // times `elapsed`
    const isFast = elapsed * this.windowBytes < 4 * inRoundTrip;
    const isGap = this.behind > 0 && this.unread * 2 <= this.windowBytes;
    if (isFast || (isGap && elapsed * (this.next - this.used) < 2 * inRoundTrip)) this.double(growth);
  }

  /** Doubles the window, but takes no more than half of what is left for all. */
  private double(growth: WindowGrowth): void {
    const wanted = Math.min(2 * this.windowBytes, growth.bytesMax);
    const spare = this.initialBytes + this.taken - this.windowBytes;
    const { pace, source } = growth;
    const more = Math.min(wanted - this.windowBytes, Math.floor(spare + source.available / 2));
    if (more < wanted - this.windowBytes) source.noteNeed(pace.now);
    if (more <= 0 || source.owes(pace.now)) return;
    this.windowBytes += more;
    const lacking = this.windowBytes - this.initialBytes - this.taken;
    if (lacking > 0) this.extend(growth, lacking, 0);
  }

  /** What was admitted for one message is given back when that was read. Limits never shrink, so what is promised stays. */
  private giveBack(growth: WindowGrowth): void {
    const bound =
      Math.max(this.windowBytes, this.announced - this.freed, this.admitted - this.freed) - this.initialBytes;
    const spare = this.taken - Math.max(0, bound);
    if (spare <= 0) return;
    this.taken -= spare;
    growth.source.give(spare);
  }
}

/**
 * What the windows of a connection's streams may grow by, all together, beyond what each has from the start. The rest of the
 * connection's window is for those beginnings, so that streams which nobody reads cannot take everything. [STR-34]
 *
 * What was promised to a peer cannot be taken back, and it may never use it: a stream grew, and falls silent. Such promises must not keep
 * another stream from its next message for ever, so a message is also admitted while what the streams really hold leaves room for it.
 */
export class WindowPool implements MemorySource {
  readonly bytesMax: number;
  /** Promised, or held. */
  used = 0;
  private readonly window: HeldBytes;
  /** A window found too little here, with so much held at that time. */
  private isAwaited = false;
  private heldThen = 0;
  private wasGiven = false;

  /** @param window - the connection's */
  constructor(bytesMax: number, window: HeldBytes) {
    this.bytesMax = bytesMax;
    this.window = window;
  }

  /** Bytes that are charged to the streams and not read yet. */
  private get held(): number {
    return this.window.used - this.window.freed;
  }

  get available(): number {
    return this.bytesMax - this.used;
  }

  admits(bytes: number): boolean {
    return bytes <= this.available || this.held + bytes <= this.bytesMax;
  }

  /** A window found too little here, and there is more since: it should ask again. */
  get hasRoomAgain(): boolean {
    return this.isAwaited && (this.wasGiven || this.held < this.heldThen);
  }

  take(bytes: number): void {
    this.used += bytes;
  }

  give(bytes: number): void {
    this.used -= bytes;
    if (bytes > 0) this.wasGiven = true;
  }

  awaitRoom(): void {
    const { held } = this;
    // One that asks again and again must not hide from the others, which may need less, that there is more since they asked.
    this.heldThen = this.isAwaited ? Math.max(this.heldThen, held) : held;
    if (!this.isAwaited) this.wasGiven = false;
    this.isAwaited = true;
  }

  /** Streams have one reader: what it reads faster is its affair. */
  noteNeed(): void {}

  owes(): boolean {
    return false;
  }

  /** Everybody asks again now. */
  retried(): void {
    this.isAwaited = false;
  }
}

/** What was charged to a window, and what of that was read or given up. */
interface HeldBytes {
  readonly used: number;
  readonly freed: number;
}

/** Bytes charged for a message besides its length, so that empty messages are not free. */
export const MESSAGE_COST = 128;

/** What is left of a window at each new limit while another needs it more. */
const GIVE_WAY = 7 / 8;

/** Sequences of the reliable space that may be unsettled, from the oldest one on. [STR-12] */
export const SEQUENCE_SPAN_MAX = 65_536;
/** Below this round trips say more about when processes get to run than about the path. */
const RTT_MIN: Micros = 5 * MILLISECOND;

hasLarge(new FlowCredit(0), 'used', 'limit');
hasLarge(new FlowWindow(0), 'used', 'freed', 'announced');
