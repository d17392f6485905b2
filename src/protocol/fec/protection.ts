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
  overheadMax: 0.6,
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
  /** REPEAT: of every so many messages one goes again at once, in a packet of its own; 0 for none. */
  copyEvery = 0;
  /** WINDOW: every so many packets one carries a repair: 1, 2, 3, 4 or 6. */
  every = 0;
  /** WINDOW: packets that a repair covers, 6 to 32. BLOCK: packets of a block. */
  span = 0;
  /** BURST and BLOCK: repairs behind the packets of a message, or of a block.. */
  repairs = 0;
  /** How long after a packet that no other followed one goes with a repeat or repair; 0 for never. */
  flushAfter = 0;
}

/** How the messages of one stream are protected against loss: what was asked, and what is done. [FEC-1] */
export class StreamProtection {
  /** What was asked last, by the stream or a message; off while nobody has asked. */
  asked: ProtectionOptions;
  /** What is done at the moment. */
  readonly plan = new ProtectionPlan();
  private readonly ofStream: ProtectionOptions;

  constructor(ofStream: ProtectionOptions) {
    this.ofStream = ofStream;
    this.asked = ofStream;
  }

  /** True unless the next message, which asks for this, or null for what the stream has, is to be sent without. */
  admits(asked: ProtectionOptions | null): boolean {
    if (asked === null && this.asked === this.ofStream) return true;
    const said = asked ?? this.ofStream;
    if (said.mode === ProtectionMode.OFF) return this.asked.mode === ProtectionMode.OFF;
    this.asked = said;
    return true;
  }
}

/** Bounds of what an application may ask. */
export const BLOCK_DATA_MAX = 64;
export const BLOCK_PARITY_MAX = 64;
export const RESIDUAL_MIN = 0.0001;
export const RESIDUAL_MAX = 0.5;
export const LATENCY_MS_MAX = 10_000;
export const OVERHEAD_MAX = 4;
