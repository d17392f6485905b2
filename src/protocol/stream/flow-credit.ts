/** Bytes charged for a message besides its length, so that empty messages are not free. */
export const MESSAGE_COST = 128;

/** Sequences of the reliable space that may be unsettled, from the oldest one on. [STR-12] */
export const SEQUENCE_SPAN_MAX = 65_536;

/**
 * What a sender may still send, at one level: a stream or the whole connection. Limits are cumulative, as the peer's MAX_DATA and
 * MAX_STREAM_DATA give them.
 */
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

  constructor(limit: number) {
    this.limit = limit;
  }

  get available(): number {
    return this.limit - this.used;
  }

  /** Takes a limit of the peer; an older, smaller one changes nothing. True when there is more credit than before. [STR-9] */
  raise(limit: number): boolean {
    if (limit <= this.limit) return false;
    this.limit = limit;
    this.blocked = false;
    this.needed = 0;
    return true;
  }

  /** Something needs this limit, and waits for it. */
  block(needed: number): void {
    this.blocked = true;
    if (needed > this.needed) this.needed = needed;
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
