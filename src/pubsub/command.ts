/**
 * The broker's commands (spec/broker.md): their numbers, flags and codes, one reader of them all, and a writer for each. Every command begins
 * with the same eight bytes:
 *
 *     command u8, flags u8, topic length u16, id u32, topic bytes, body
 */

import { NO_BYTES } from '../base/bytes.ts';
import { TOPIC_BYTES_MAX } from './topic.ts';

/** Label of every stream that carries commands. [BRK-1] */
export const STREAM_LABEL = 'jsp-broker/1';

/** Lanes that a broker opens to one client at once: within what a client of the transport allows by default. [BRK-39] */
export const LANES_MAX = 64;

/** An answer is its request with 0x80 set. LANE and DROPPED answer nothing; MARK asks the client, which answers MARKED. */
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

/** Flags of PUBLISH. Only COMPRESSED is built yet. */
export const PublishFlag = {
  QOS: 0x03,
  RETAIN: 0x04,
  ALIAS: 0x08,
  PROPERTIES: 0x10,
  REDELIVERED: 0x20,
  /** The payload is in an envelope (spec/compression.md), which only subscribers open. [BRK-42] */
  COMPRESSED: 0x40,
  RESERVED: 0x80,
} as const;

/** Flags of SUBSCRIBE. Only the overflow policy, compressed messages and lanes are built yet. */
export const SubscribeFlag = {
  OVERFLOW: 0x03,
  QOS1: 0x04,
  NO_RETAINED: 0x08,
  NO_LOCAL: 0x10,
  /** The subscriber opens envelopes. [BRK-43] */
  COMPRESSED: 0x20,
  /** The broker may open streams for what else would wait behind other messages. */
  LANES: 0x80,
  RESERVED: 0x40,
} as const;

/** What a subscriber's queue does at its bound, as SUBSCRIBE carries it. */
export const Overflow = { BLOCK: 0, DROP_OLDEST: 1, DROP_NEWEST: 2, LATEST: 3 } as const;
export type Overflow = (typeof Overflow)[keyof typeof Overflow];

/** Why messages were dropped, as DROPPED says. */
export const DropReason = { TOO_LARGE: 4, COMPRESSED: 5 } as const;
export type DropReason = (typeof DropReason)[keyof typeof DropReason];

/** Why a connection, a stream or a request ends: codes of a CONNECTION_CLOSE with scope 1, of a RESET_STREAM and of REFUSED. */
export const ReasonCode = {
  NO_ERROR: 0x00,
  INTERNAL_ERROR: 0x01,
  COMMAND_ENCODING_ERROR: 0x02,
  UNKNOWN_COMMAND: 0x03,
  TOPIC_INVALID: 0x04,
  WRONG_STREAM: 0x05,
  UNSUPPORTED: 0x06,
  UNKNOWN_PROTOCOL: 0x07,
  SHUTTING_DOWN: 0x08,
  FILTER_INVALID: 0x0a,
  TOO_MANY_SUBSCRIPTIONS: 0x0b,
  POLICY_MISMATCH: 0x0c,
  NOT_SUBSCRIBED: 0x0d,
  STALLED: 0x0e,
} as const;
export type ReasonCode = (typeof ReasonCode)[keyof typeof ReasonCode];

/** The table's name for a code, or its number in hex. */
export function reasonCodeName(code: number): string {
  for (const [name, value] of Object.entries(ReasonCode)) if (value === code) return name;
  return `0x${code.toString(16)}`;
}

/** Which side reads: each takes only what the other may send. PUBLISH goes both ways. */
export const Side = { BROKER: 0, CLIENT: 1 } as const;
export type Side = (typeof Side)[keyof typeof Side];

export const HEADER_BYTES = 8;
/** LANE is the smallest command that a client has to take to be given lanes; its body is the number of a stream. */
export const LANE_BYTES = HEADER_BYTES + 4;
/** DROPPED has a count and a reason. */
export const DROPPED_BYTES = HEADER_BYTES + 9;
/** Default for the largest message that broker and client take: 16 MiB of payload behind header and topic. */
export const COMMAND_BYTES_MAX = 16 * 1024 * 1024 + HEADER_BYTES + TOPIC_BYTES_MAX;
/** A command that is longer than this goes on a stream of its own class, beside the shorter ones. [BRK-39] */
export const LARGE_BYTES_MIN = 64 * 1024;

/**
 * Reads one command after another into its own fields, without allocating. It checks the layout; whether a topic or filter is valid
 * is not its matter.
 *
 * @example
 * const reader = new CommandReader(Side.BROKER);
 * const code = reader.read(message);
 * if (code === ReasonCode.NO_ERROR && reader.command === Command.PUBLISH) route(message, reader.topicEnd);
 */
export class CommandReader {
  command = 0;
  flags = 0;
  id = 0;
  /** End of the topic or filter, which begins at {@link HEADER_BYTES}, and start of the body. */
  topicEnd = HEADER_BYTES;
  bodyLength = 0;
  /** Of SUBSCRIBE: the bounds asked for its queue; 0 leaves the choice to the broker. */
  queueMessages = 0;
  queueBytes = 0;
  private readonly side: Side;

  constructor(side: Side) {
    this.side = side;
  }

  /** Reads `bytes`, one whole command. Returns NO_ERROR, or the code that closes the connection. */
  read(bytes: Uint8Array): ReasonCode {
    if (bytes.length < HEADER_BYTES) return ReasonCode.COMMAND_ENCODING_ERROR; // [BRK-6]
    this.command = bytes[0];
    this.flags = bytes[1];
    this.topicEnd = HEADER_BYTES + ((bytes[2] << 8) | bytes[3]);
    this.id = uint32(bytes, 4);
    this.bodyLength = bytes.length - this.topicEnd;
    if (this.command === Command.PUBLISH) return this.checkPublish();
    const fromBroker = (this.command & ANSWER) !== 0;
    if (fromBroker !== (this.side === Side.CLIENT)) return ReasonCode.UNKNOWN_COMMAND;
    if (this.command === Command.SUBSCRIBE) return this.readSubscribe(bytes);
    return fromBroker ? this.checkAnswer() : this.checkRequest();
  }

  private checkPublish(): ReasonCode {
    if ((this.flags & PublishFlag.RESERVED) !== 0) return ReasonCode.COMMAND_ENCODING_ERROR;
    if ((this.flags & PublishFlag.QOS) > 1) return ReasonCode.COMMAND_ENCODING_ERROR;
    if ((this.flags & ~PublishFlag.COMPRESSED) !== 0) return ReasonCode.UNSUPPORTED; // [BRK-8]
    return verdict(this.id === 0 && this.hasTopic());
  }

  private readSubscribe(bytes: Uint8Array): ReasonCode {
    if ((this.flags & SubscribeFlag.RESERVED) !== 0) return ReasonCode.COMMAND_ENCODING_ERROR;
    const bounded = this.bodyLength === BOUNDS_BYTES;
    if (this.id === 0 || !this.hasTopic() || !(bounded || this.bodyLength === 0)) {
      return ReasonCode.COMMAND_ENCODING_ERROR;
    }
    this.queueMessages = bounded ? uint32(bytes, this.topicEnd) : 0;
    this.queueBytes = bounded ? uint32(bytes, this.topicEnd + 4) : 0;
    return ReasonCode.NO_ERROR;
  }

  private checkRequest(): ReasonCode {
    switch (this.command) {
      case Command.UNSUBSCRIBE:
        return verdict(this.flags === 0 && this.id !== 0 && this.hasTopic() && this.bodyLength === 0);
      case Command.FLUSH:
      case Command.MARKED:
        return this.checkPlain(0);
      case Command.PING:
        return this.checkPlain(PING_BYTES_MAX);
      default:
        return ReasonCode.UNKNOWN_COMMAND;
    }
  }

  private checkAnswer(): ReasonCode {
    switch (this.command) {
      case Command.SUBSCRIBED:
      case Command.UNSUBSCRIBED:
      case Command.FLUSHED:
      case Command.MARK:
        return this.checkPlain(0);
      case Command.LANE:
        return verdict(this.isBare && this.id === 0 && this.bodyLength === LANE_BYTES - HEADER_BYTES);
      case Command.DROPPED:
        return verdict(this.isBare && this.id === 0 && this.bodyLength === DROPPED_BYTES - HEADER_BYTES);
      case Command.PONG:
        return this.checkPlain(PING_BYTES_MAX);
      case Command.REFUSED:
        return this.bodyLength < 2
          ? ReasonCode.COMMAND_ENCODING_ERROR
          : this.checkPlain(2 + REASON_BYTES_MAX);
      default:
        return ReasonCode.UNKNOWN_COMMAND;
    }
  }

  /** A command with an id and a body, and nothing else. */
  private checkPlain(bodyBytesMax: number): ReasonCode {
    return verdict(this.isBare && this.id !== 0 && this.bodyLength <= bodyBytesMax);
  }

  /** Neither flags nor topic. */
  private get isBare(): boolean {
    return this.flags === 0 && this.topicEnd === HEADER_BYTES;
  }

  private hasTopic(): boolean {
    const length = this.topicEnd - HEADER_BYTES;
    return length > 0 && length <= TOPIC_BYTES_MAX && this.bodyLength >= 0;
  }
}

/** True for a PUBLISH whose payload is in an envelope. [BRK-42] */
export function isCompressed(command: Uint8Array): boolean {
  return command[0] === Command.PUBLISH && (command[1] & PublishFlag.COMPRESSED) !== 0;
}

/** Header and topic of every PUBLISH to `topic` with these flags: put a payload behind them and the command is complete. */
export function publishPrefix(topic: string, flags = 0): Buffer {
  return encodeWithTopic(Command.PUBLISH, flags, 0, topic, 0);
}

/** SUBSCRIBE, with its flags; bounds of 0 leave the choice to the broker. */
export function encodeSubscribe(
  id: number,
  filter: string,
  flags: number,
  queueMessages: number,
  queueBytes: number,
): Buffer {
  const bounded = queueMessages !== 0 || queueBytes !== 0;
  const out = encodeWithTopic(Command.SUBSCRIBE, flags, id, filter, bounded ? BOUNDS_BYTES : 0);
  if (bounded) {
    out.writeUInt32BE(queueMessages, out.length - 8);
    out.writeUInt32BE(queueBytes, out.length - 4);
  }
  return out;
}

export function encodeUnsubscribe(id: number, filter: string): Buffer {
  return encodeWithTopic(Command.UNSUBSCRIBE, 0, id, filter, 0);
}

/** A command that is nothing but its header and, for PING and PONG, a body. */
export function encodePlain(command: Command, id: number, body: Uint8Array = NO_BYTES): Buffer {
  const out = encodeBare(command, id, body.length);
  out.set(body, HEADER_BYTES);
  return out;
}

/** LANE: this stream carries deliveries of the subscribing stream with that number. */
export function encodeLane(streamId: number): Buffer {
  const out = encodeBare(Command.LANE, 0, LANE_BYTES - HEADER_BYTES);
  out.writeUInt32BE(streamId, HEADER_BYTES);
  return out;
}

/** The number of the subscribing stream. */
export function decodeLane(lane: Buffer): number {
  return lane.readUInt32BE(HEADER_BYTES);
}

/** DROPPED: so many messages are missing here. */
export function encodeDropped(count: number, reason: number): Buffer {
  const out = encodeBare(Command.DROPPED, 0, DROPPED_BYTES - HEADER_BYTES);
  out.writeBigUInt64BE(BigInt(count), HEADER_BYTES);
  out[HEADER_BYTES + 8] = reason;
  return out;
}

/** How many messages are missing, and why. */
export function decodeDropped(dropped: Buffer): { count: number; reason: number } {
  return { count: Number(dropped.readBigUInt64BE(HEADER_BYTES)), reason: dropped[HEADER_BYTES + 8] };
}

/** REFUSED; a reason string that is too long, for the protocol or for a command of `bytesMax`, is cut. */
export function encodeRefused(
  id: number,
  code: number,
  reason: string,
  bytesMax = Number.POSITIVE_INFINITY,
): Buffer {
  const reasonBytesMax = Math.min(REASON_BYTES_MAX, Math.max(0, bytesMax - HEADER_BYTES - 2));
  const out = encodeBare(Command.REFUSED, id, 2 + reasonBytesMax);
  out.writeUInt16BE(code, HEADER_BYTES);
  const written = out.write(reason, HEADER_BYTES + 2); // never cuts a character in two
  return out.subarray(0, HEADER_BYTES + 2 + written);
}

/** Why a request was refused. */
export function decodeRefused(refused: Buffer): { code: number; reason: string } {
  return { code: refused.readUInt16BE(HEADER_BYTES), reason: refused.toString('utf8', HEADER_BYTES + 2) };
}

function encodeBare(command: Command, id: number, bodyBytes: number): Buffer {
  const out = Buffer.allocUnsafe(HEADER_BYTES + bodyBytes);
  writeHeader(out, command, 0, 0, id);
  return out;
}

function encodeWithTopic(
  command: Command,
  flags: number,
  id: number,
  topic: string,
  bodyBytes: number,
): Buffer {
  const topicBytes = Buffer.byteLength(topic);
  const out = Buffer.allocUnsafe(HEADER_BYTES + topicBytes + bodyBytes);
  writeHeader(out, command, flags, topicBytes, id);
  out.write(topic, HEADER_BYTES);
  return out;
}

function writeHeader(out: Buffer, command: Command, flags: number, topicBytes: number, id: number): void {
  out[0] = command;
  out[1] = flags;
  out.writeUInt16BE(topicBytes, 2);
  out.writeUInt32BE(id, 4);
}

function verdict(wellFormed: boolean): ReasonCode {
  return wellFormed ? ReasonCode.NO_ERROR : ReasonCode.COMMAND_ENCODING_ERROR;
}

function uint32(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
}

/** The bit that tells what a broker sends from what a client sends. */
const ANSWER = 0x80;
/** Two bounds of a queue. */
const BOUNDS_BYTES = 8;
const PING_BYTES_MAX = 1_024;
const REASON_BYTES_MAX = 512;
