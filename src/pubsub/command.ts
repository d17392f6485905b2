/**
 * The broker's commands as numbers (spec/broker.md). Every command begins with the same eight bytes:
 *
 *     command u8, flags u8, topic length u16, id u32, topic bytes, body
 */

import { TOPIC_BYTES_MAX } from './topic.ts';

/** Label of every stream that carries commands. [BRK-1] */
export const STREAM_LABEL = 'jsp-broker/1';

/** An answer is its request with {@link ANSWER} set. LANE and DROPPED answer nothing; MARK asks the client, which answers MARKED. */
export const Command = {
  PUBLISH: 0x01,
  SUBSCRIBE: 0x02,
  UNSUBSCRIBE: 0x03,
  FLUSH: 0x04,
  PING: 0x05,
  MARKED: 0x0e,
  SUBSCRIBED: 0x82,
  UNSUBSCRIBED: 0x83,
  FLUSHED: 0x84,
  PONG: 0x85,
  LANE: 0x86,
  MARK: 0x87,
  DROPPED: 0x8a,
  REFUSED: 0x8f,
} as const;
export type Command = (typeof Command)[keyof typeof Command];

/** The bit that tells an answer from a request. */
export const ANSWER = 0x80;

/** Flags of PUBLISH. None is built yet. */
export const PublishFlag = {
  QOS: 0x03,
  RETAIN: 0x04,
  ALIAS: 0x08,
  PROPERTIES: 0x10,
  REDELIVERED: 0x20,
  RESERVED: 0xc0,
} as const;

/** Flags of SUBSCRIBE. Only the overflow policy and lanes are built yet. */
export const SubscribeFlag = {
  OVERFLOW: 0x03,
  QOS1: 0x04,
  NO_RETAINED: 0x08,
  NO_LOCAL: 0x10,
  /** The broker may open streams for what else would wait behind other messages. */
  LANES: 0x80,
  RESERVED: 0x60,
} as const;

/** What a subscriber's queue does at its bound, as SUBSCRIBE carries it. */
export const Overflow = { BLOCK: 0, DROP_OLDEST: 1, DROP_NEWEST: 2, LATEST: 3 } as const;
export type Overflow = (typeof Overflow)[keyof typeof Overflow];

/** Why messages were dropped, as DROPPED says. */
export const DropReason = { TOO_LARGE: 4 } as const;

/** A command that is longer than this goes on a stream of its own class, beside the shorter ones. [BRK-39] */
export const LARGE_BYTES_MIN = 64 * 1024;

export const HEADER_BYTES = 8;
/** Default for the largest message that broker and client take: 16 MiB of payload behind header and topic. */
export const COMMAND_BYTES_MAX = 16 * 1024 * 1024 + HEADER_BYTES + TOPIC_BYTES_MAX;
export const PING_BYTES_MAX = 1_024;
/** A count and a reason. */
export const DROPPED_BODY_BYTES = 9;
/** The number of a stream. */
export const LANE_BODY_BYTES = 4;
export const REASON_BYTES_MAX = 512;
