/** Bytes charged for a message besides its length, so that empty messages are not free. */
export const MESSAGE_COST = 128;

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
    return true;
  }

  /** True while a BLOCKED frame is owed for the current limit: one a limit. */
  get owesBlocked(): boolean {
    return this.blocked && this.blockedAt !== this.limit;
  }

  /** A BLOCKED frame for the current limit went into a packet. */
  blockedSent(): void {
    this.blockedAt = this.limit;
  }

  /** The packet with the BLOCKED frame for `limit` is lost: say it again if it still holds. */
  onBlockedLost(limit: number): void {
    if (limit === this.blockedAt) this.blockedAt = -1;
  }
}
