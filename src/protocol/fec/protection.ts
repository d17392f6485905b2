/** What an application asks of the protection of its messages against loss, and what the planner makes of it for a stream. [FEC-1] */

/** How an application wants its messages protected. */
export const ProtectionMode = {
  /** Lost messages are sent again, as without any protection. */
  OFF: 0,
  /** The planner decides, by what the path loses and what the stream sends. */
  AUTO: 1,
  /** Blocks of so many packets, each followed by so many repairs, whatever the path loses. */
  BLOCK: 2,
} as const;
export type ProtectionMode = (typeof ProtectionMode)[keyof typeof ProtectionMode];

/** What a connection, a stream or a message is protected by. All objects have all fields. */
export interface ProtectionOptions {
  readonly mode: ProtectionMode;
  /** BLOCK: packets of a block, and repairs behind them; else 0. */
  readonly data: number;
  readonly parity: number;
  /** AUTO: share of messages that may still be late by a retransmission. */
  readonly residual: number;
  /** AUTO: delay that a message may have beyond the one-way delay; 0: by its lifetime and the round-trip time. */
  readonly latencyMs: number;
  /** AUTO: most bytes spent on protection, as a share of the bytes protected. */
  readonly overheadMax: number;
}

/** What an application leaves open. */
export const PROTECTION_AUTO: ProtectionOptions = {
  mode: ProtectionMode.AUTO,
  data: 0,
  parity: 0,
  residual: 0.01,
  latencyMs: 0,
  overheadMax: 0.9,
};
export const PROTECTION_OFF: ProtectionOptions = { ...PROTECTION_AUTO, mode: ProtectionMode.OFF };

/** What is done for a stream at the moment. */
export const PlanMode = {
  /** Nothing: what is lost is sent again. */
  NONE: 0,
  /** The last messages go again in the next packets. */
  REPEAT: 1,
  /** Repairs over the last packets ride along. */
  WINDOW: 2,
  /** Repairs follow each message of many packets. */
  BURST: 3,
  /** As BURST, over a number of packets that the application chose. */
  BLOCK: 4,
} as const;
export type PlanMode = (typeof PlanMode)[keyof typeof PlanMode];

/** What the planner decided for a stream. One object a stream, changed in place. */
export class ProtectionPlan {
  mode: PlanMode = PlanMode.NONE;
  /** REPEAT: how many later packets carry a message again; 1 to 3. */
  repeats = 0;
  /** REPEAT: how many messages later the first of them does; more than 1 where losses come in bursts. */
  lag = 1;
  /**
   * Share of packets with new messages behind which one of its own goes soon. REPEAT: with the same messages once more. WINDOW: with the
   * repair that the packet itself would have carried.
   */
  apartShare = 0;
  /** WINDOW: every so many packets one carries a repair: 1, 2, 3, 4 or 6. */
  every = 0;
  /** WINDOW: packets that a repair covers, 6 to 32. BLOCK: packets of a block. */
  span = 0;
  /** BURST and BLOCK: repairs behind the packets of a message, or of a block. */
  repairs = 0;
  /** WINDOW and BURST: share of messages that may still be late, ordered ones with all that wait for them. */
  target = 0;
  /** How long after a packet that no other followed one goes with a repeat or repair; 0 for never. */
  flushAfter = 0;

  /** Nothing is done. */
  clear(): void {
    this.mode = PlanMode.NONE;
    this.repeats = 0;
    this.lag = 1;
    this.apartShare = 0;
    this.every = 0;
    this.span = 0;
    this.repairs = 0;
    this.target = 0;
    this.flushAfter = 0;
  }
}

/** Bounds of what an application may ask. */
export const BLOCK_DATA_MAX = 64;
export const BLOCK_PARITY_MAX = 64;
export const RESIDUAL_MIN = 0.0001;
export const RESIDUAL_MAX = 0.5;
export const LATENCY_MS_MAX = 10_000;
export const OVERHEAD_MAX = 4;
