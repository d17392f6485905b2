/**
 * The broker's commands (spec/broker.md): their numbers, flags and codes, one reader of them all, and a writer for each. Every command begins
 * with the same eight bytes:
 *
 *     command u8, flags u8, topic length u16, id u32, topic bytes, body
 *
 * It is one file because the reader is the tables put to use. The bodies that have fields of their own are in acknowledgement.ts, properties.ts,
 * session-commands.ts and subscribe-options.ts.
 */

import { NO_BYTES } from '../base/bytes.ts';
import { CREDENTIALS_BYTES_MAX } from './credentials.ts';
import { endOfProperties } from './properties.ts';
import { TOPIC_BYTES_MAX } from './topic.ts';

/** Label of every stream that carries commands. [BRK-1] */
export const STREAM_LABEL = 'jsp-broker/1';

/** Lanes that a broker opens to one client at once: within what a client of the transport allows by default. [BRK-39] */
export const LANES_MAX = 64;

/** An answer is its request with 0x80 set. LEAVE is not answered; LANE, DROPPED, NOTICE and POSITION answer nothing; MARK asks the client, which answers MARKED. */
export const Command = {
  PUBLISH: 0x01,
  SUBSCRIBE: 0x02,
  UNSUBSCRIBE: 0x03,
  FLUSH: 0x04,
  PING: 0x05,
  ACK: 0x06,
  NACK: 0x07,
  HELLO: 0x08,
  ALIAS: 0x09,
  WILL: 0x0b,
  RENEW: 0x0c,
  MARKED: 0x0e,
  LEAVE: 0x10,
  PUBLISHED: 0x81,
  SUBSCRIBED: 0x82,
  UNSUBSCRIBED: 0x83,
  FLUSHED: 0x84,
  PONG: 0x85,
  LANE: 0x86,
  MARK: 0x87,
  WELCOME: 0x88,
  DROPPED: 0x8a,
  WILL_SET: 0x8b,
  RENEWED: 0x8c,
  NOTICE: 0x8d,
  POSITION: 0x8e,
  REFUSED: 0x8f,
} as const;
export type Command = (typeof Command)[keyof typeof Command];

/** Flags of PUBLISH, and of WILL, which is a PUBLISH to come. */
export const PublishFlag = {
  /** Two bits, of which the higher is never set. */
  QOS: 0x03,
  QOS1: 0x01,
  /** To the broker: keep it as the last value of its topic. From it: it is such a value, sent because of a new subscription. [BRK-29] */
  RETAIN: 0x04,
  /** The topic field is an alias, and no topic follows. [BRK-30] */
  ALIAS: 0x08,
  /** Properties stand between topic and payload. [BRK-31] */
  PROPERTIES: 0x10,
  /** From the broker: it may have been delivered before. [BRK-28] */
  REDELIVERED: 0x20,
  /** The payload is in an envelope (spec/compression.md), which only subscribers open. [BRK-42] */
  COMPRESSED: 0x40,
  RESERVED: 0x80,
} as const;

/** Flags of SUBSCRIBE. */
export const SubscribeFlag = {
  OVERFLOW: 0x03,
  /** Reads a log, and acknowledges what it is given. */
  QOS1: 0x04,
  /** Without the last values that topics have now. [BRK-29] */
  NO_RETAINED: 0x08,
  /** Without what the same client publishes. */
  NO_LOCAL: 0x10,
  /** The subscriber opens envelopes. [BRK-43] */
  COMPRESSED: 0x20,
  /** Options stand behind the bounds of the queue. [BRK-45] */
  OPTIONS: 0x40,
  /** The broker may open streams for what else would wait behind other messages. */
  LANES: 0x80,
} as const;

/** Flags of ACK. */
export const AckFlag = {
  /** The message and all before it. */
  ALL: 0x01,
  /** Not done yet: the time to acknowledge begins anew. */
  PROGRESS: 0x02,
  /** Given up: not to be delivered again, but to the dead-letter topic. */
  TERMINATE: 0x04,
} as const;

/** Flag of PUBLISHED: the answer is also that to all ids before it which are not answered yet. */
export const PUBLISHED_ALL = 0x01;

/** What a subscriber's queue does at its bound, as SUBSCRIBE carries it. */
export const Overflow = { BLOCK: 0, DROP_OLDEST: 1, DROP_NEWEST: 2, LATEST: 3 } as const;
export type Overflow = (typeof Overflow)[keyof typeof Overflow];
/** By their numbers, as applications, JSON and operators have them. */
export const OVERFLOW_NAMES = ['block', 'dropOldest', 'dropNewest', 'latest'] as const;

export function overflowNamed(name: (typeof OVERFLOW_NAMES)[number]): Overflow {
  return OVERFLOW_NAMES.indexOf(name) as Overflow;
}

/** Why messages were dropped, as DROPPED says. */
export const DropReason = {
  /** The subscription's queue was full, and its policy drops. */
  POLICY: 0,
  /** Their time to live was over. */
  EXPIRED: 1,
  /** The log did not keep them until they were read. */
  RETENTION: 2,
  NOT_AUTHORIZED: 3,
  TOO_LARGE: 4,
  COMPRESSED: 5,
  /** They were delivered as often as is allowed and never acknowledged, and there is no dead-letter topic. */
  REJECTED: 6,
  /** They did not come from the node of the cluster where they were published. */
  CLUSTER: 7,
} as const;
export type DropReason = (typeof DropReason)[keyof typeof DropReason];
/** By their numbers, as applications and JSON have them. */
export const DROP_REASON_NAMES = [
  'policy',
  'expired',
  'retention',
  'notAuthorized',
  'tooLarge',
  'compressed',
  'rejected',
  'cluster',
] as const;

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
  NOT_AUTHORIZED: 0x09,
  FILTER_INVALID: 0x0a,
  TOO_MANY_SUBSCRIPTIONS: 0x0b,
  POLICY_MISMATCH: 0x0c,
  NOT_SUBSCRIBED: 0x0d,
  STALLED: 0x0e,
  STORE_FULL: 0x0f,
  STORE_FAILED: 0x10,
  QUOTA: 0x11,
  TOO_LARGE: 0x12,
  NO_SUCH_DURABLE: 0x13,
  BUSY: 0x14,
  CONTRADICTION: 0x15,
  SESSION_TAKEN: 0x16,
  TAKEN: 0x17,
  EPOCH_MISMATCH: 0x18,
  LIMITED: 0x19,
  SESSION_REQUIRED: 0x1a,
  TOKEN_EXPIRED: 0x1b,
  KICKED: 0x1c,
  MOVED: 0x1d,
} as const;
export type ReasonCode = (typeof ReasonCode)[keyof typeof ReasonCode];

/** The table's name for a code, or its number in hex. */
export function reasonCodeName(code: number): string {
  return NAMES_OF_CODES.get(code) ?? `0x${code.toString(16)}`;
}

/** By code: every connection that goes asks for one. */
const NAMES_OF_CODES: ReadonlyMap<number, string> = new Map(
  Object.entries(ReasonCode).map(([name, code]) => [code, name]),
);

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
  /** Of a PUBLISH with the flag ALIAS: the alias that stands for its topic. */
  alias = 0;
  /** Of PUBLISH and WILL: where the payload begins, behind the properties if there are any. */
  payloadStart = HEADER_BYTES;
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
    if (this.command === Command.PUBLISH) return this.readPublish(bytes);
    const fromBroker = (this.command & ANSWER) !== 0;
    if (fromBroker !== (this.side === Side.CLIENT)) return ReasonCode.UNKNOWN_COMMAND;
    if (this.command === Command.SUBSCRIBE) return this.readSubscribe(bytes);
    if (this.command === Command.WILL) return this.readWill(bytes);
    return fromBroker ? this.checkAnswer() : this.checkRequest();
  }

  private readPublish(bytes: Uint8Array): ReasonCode {
    const { flags } = this;
    // The common message has no flags, or only that of an envelope.
    if ((flags & ~PublishFlag.COMPRESSED) === 0) {
      this.payloadStart = this.topicEnd;
      return verdict(this.id === 0 && this.hasTopic());
    }
    if ((flags & (PublishFlag.RESERVED | QOS_HIGH)) !== 0) return ReasonCode.COMMAND_ENCODING_ERROR;
    if (this.side === Side.BROKER) {
      if ((flags & PublishFlag.REDELIVERED) !== 0) return ReasonCode.COMMAND_ENCODING_ERROR;
      if (((flags & PublishFlag.QOS1) !== 0) !== (this.id !== 0)) return ReasonCode.COMMAND_ENCODING_ERROR;
    } else if (
      (flags & PublishFlag.QOS1) === 0 &&
      (this.id !== 0 || (flags & PublishFlag.REDELIVERED) !== 0)
    ) {
      return ReasonCode.COMMAND_ENCODING_ERROR;
    }
    if ((flags & PublishFlag.ALIAS) !== 0) {
      if (this.side === Side.CLIENT) return ReasonCode.COMMAND_ENCODING_ERROR; // [BRK-30] only towards the broker
      this.alias = this.topicEnd - HEADER_BYTES;
      this.topicEnd = HEADER_BYTES;
      this.bodyLength = bytes.length - HEADER_BYTES;
      if (this.alias === 0) return ReasonCode.COMMAND_ENCODING_ERROR;
    } else if (!this.hasTopic()) {
      return ReasonCode.COMMAND_ENCODING_ERROR;
    }
    return this.readPayloadStart(bytes, this.topicEnd);
  }

  /** Where the payload begins, when what may stand before it begins at `at`. */
  private readPayloadStart(bytes: Uint8Array, at: number): ReasonCode {
    this.payloadStart = (this.flags & PublishFlag.PROPERTIES) === 0 ? at : endOfProperties(bytes, at);
    return verdict(this.payloadStart >= 0);
  }

  private readSubscribe(bytes: Uint8Array): ReasonCode {
    const hasOptions = (this.flags & SubscribeFlag.OPTIONS) !== 0;
    const bounded = hasOptions ? this.bodyLength >= BOUNDS_BYTES : this.bodyLength === BOUNDS_BYTES;
    if (this.id === 0 || !this.hasTopic() || !(bounded || (this.bodyLength === 0 && !hasOptions))) {
      return ReasonCode.COMMAND_ENCODING_ERROR;
    }
    this.queueMessages = bounded ? uint32(bytes, this.topicEnd) : 0;
    this.queueBytes = bounded ? uint32(bytes, this.topicEnd + 4) : 0;
    return ReasonCode.NO_ERROR;
  }

  /** A will is a delay and the rest of a PUBLISH; without topic and body it takes the will back. */
  private readWill(bytes: Uint8Array): ReasonCode {
    const { flags } = this;
    if ((flags & ~WILL_FLAGS) !== 0 || this.id === 0) return ReasonCode.COMMAND_ENCODING_ERROR;
    if (this.topicEnd === HEADER_BYTES) return verdict(flags === 0 && this.bodyLength === 0);
    if (!this.hasTopic() || this.bodyLength < WILL_DELAY_BYTES) return ReasonCode.COMMAND_ENCODING_ERROR;
    return this.readPayloadStart(bytes, this.topicEnd + WILL_DELAY_BYTES);
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
      case Command.ACK:
        return this.checkAck();
      case Command.NACK:
        return verdict(this.isBare && this.hasBody(4, 4 + NACK_REASON_BYTES_MAX));
      case Command.HELLO:
        return verdict(this.isBare && this.id !== 0 && this.hasBody(HELLO_BYTES_MIN, HELLO_BYTES_MAX));
      case Command.LEAVE:
        return verdict(this.isBare && this.id === 0 && (this.bodyLength === 0 || this.bodyLength === 4));
      case Command.RENEW:
        return verdict(this.isBare && this.id !== 0 && this.hasBody(1, HELLO_BYTES_MAX));
      case Command.ALIAS:
        return verdict(
          this.flags === 0 &&
            this.id > 0 &&
            this.id <= TOPIC_ALIAS_MAX &&
            this.hasTopic() &&
            this.bodyLength === 0,
        );
      default:
        return ReasonCode.UNKNOWN_COMMAND;
    }
  }

  /** One of ALL, PROGRESS and TERMINATE, or none; ranges only where ALL is not set. */
  private checkAck(): ReasonCode {
    const { flags, bodyLength } = this;
    if (this.topicEnd !== HEADER_BYTES || (flags & ~ACK_FLAGS) !== 0 || (flags & (flags - 1)) !== 0) {
      return ReasonCode.COMMAND_ENCODING_ERROR;
    }
    const hasRanges = bodyLength > 0;
    if (hasRanges && (flags & AckFlag.ALL) !== 0) return ReasonCode.COMMAND_ENCODING_ERROR;
    return verdict(bodyLength % ACK_RANGE_BYTES === 0 && bodyLength <= ACK_RANGES_MAX * ACK_RANGE_BYTES);
  }

  private checkAnswer(): ReasonCode {
    switch (this.command) {
      case Command.UNSUBSCRIBED:
      case Command.FLUSHED:
      case Command.MARK:
      case Command.WILL_SET:
        return this.checkPlain(0);
      case Command.SUBSCRIBED:
        return this.bodyLength === 0
          ? this.checkPlain(0)
          : verdict(this.isBare && this.id !== 0 && this.hasBody(SUBSCRIBED_BYTES, SUBSCRIBED_BYTES));
      case Command.PUBLISHED:
        return verdict(
          (this.flags & ~PUBLISHED_ALL) === 0 &&
            this.topicEnd === HEADER_BYTES &&
            this.id !== 0 &&
            (this.bodyLength === 1 || this.bodyLength === PUBLISHED_BYTES),
        );
      case Command.WELCOME:
        return verdict(this.isBare && this.id !== 0 && this.hasBody(WELCOME_BYTES, WELCOME_BYTES));
      case Command.RENEWED:
        return verdict(this.isBare && this.id !== 0 && this.hasBody(4, 4));
      case Command.NOTICE:
        return verdict(
          this.isBare &&
            this.id === 0 &&
            this.hasBody(NOTICE_BYTES_MIN, NOTICE_BYTES_MIN + NOTICE_TEXT_BYTES_MAX),
        );
      case Command.POSITION:
        return verdict(this.isBare && this.id === 0 && this.hasBody(POSITION_BYTES, POSITION_BYTES));
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

  private hasBody(bytesMin: number, bytesMax: number): boolean {
    return this.bodyLength >= bytesMin && this.bodyLength <= bytesMax;
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

/** A copy of a command with these flags as well. */
export function withFlags(command: Uint8Array, flags: number): Buffer {
  const copy = Buffer.from(command);
  copy[1] |= flags;
  return copy;
}

/** End of the topic of a command, which begins at {@link HEADER_BYTES}. */
export function topicEndOf(command: Uint8Array): number {
  return HEADER_BYTES + ((command[2] << 8) | command[3]);
}

/** The topic of a command that has one. */
export function topicOf(command: Uint8Array): string {
  const { buffer, byteOffset } = command;
  return Buffer.from(buffer, byteOffset, topicEndOf(command)).toString('utf8', HEADER_BYTES);
}

/** The topic of a command as a key of a map: not its text, but as good as that. */
export function topicKey(command: Uint8Array): string {
  const { buffer, byteOffset } = command;
  return Buffer.from(buffer, byteOffset, topicEndOf(command)).toString('latin1', HEADER_BYTES);
}

/** Header and topic of every PUBLISH to `topic` with these flags: put properties, if the flags say so, and a payload behind them and the command is complete. */
export function publishPrefix(topic: string, flags = 0, id = 0): Buffer {
  return encodeWithTopic(Command.PUBLISH, flags, id, topic, 0);
}

/** SUBSCRIBE, with its flags; bounds of 0 leave the choice to the broker. Options come from `encodeSubscribeOptions`. */
export function encodeSubscribe(
  id: number,
  filter: string,
  flags: number,
  queueMessages: number,
  queueBytes: number,
  options: Uint8Array = NO_BYTES,
): Buffer {
  const hasOptions = options.length > 0;
  const bounded = queueMessages !== 0 || queueBytes !== 0 || hasOptions;
  const bodyBytes = (bounded ? BOUNDS_BYTES : 0) + options.length;
  const allFlags = hasOptions ? flags | SubscribeFlag.OPTIONS : flags;
  const out = encodeWithTopic(Command.SUBSCRIBE, allFlags, id, filter, bodyBytes);
  if (bounded) {
    const at = out.length - bodyBytes;
    out.writeUInt32BE(queueMessages, at);
    out.writeUInt32BE(queueBytes, at + 4);
    out.set(options, at + BOUNDS_BYTES);
  }
  return out;
}

/** ALIAS: on this stream the number stands for the topic from now on. [BRK-30] */
export function encodeAlias(alias: number, topic: string): Buffer {
  return encodeWithTopic(Command.ALIAS, 0, alias, topic, 0);
}

/** WILL: the PUBLISH that the broker makes in the client's place, `delayMs` after its session has lost its connection. */
export function encodeWill(
  id: number,
  topic: string,
  flags: number,
  delayMs: number,
  rest: Uint8Array,
): Buffer {
  const out = encodeWithTopic(Command.WILL, flags, id, topic, WILL_DELAY_BYTES + rest.length);
  const at = out.length - rest.length;
  out.writeUInt32BE(delayMs, at - WILL_DELAY_BYTES);
  out.set(rest, at);
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

/** A command with nothing but a header, and room for a body. */
export function encodeBare(command: Command, id: number, bodyBytes: number, flags = 0): Buffer {
  const out = Buffer.allocUnsafe(HEADER_BYTES + bodyBytes);
  writeHeader(out, command, flags, 0, id);
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

export function uint32(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
}

/** Of the two bits of QOS the one that would mean 2 or 3. */
const QOS_HIGH = 0x02;
const WILL_FLAGS = PublishFlag.QOS1 | PublishFlag.RETAIN | PublishFlag.PROPERTIES | PublishFlag.COMPRESSED;
const ACK_FLAGS = AckFlag.ALL | AckFlag.PROGRESS | AckFlag.TERMINATE;
/** The bit that tells what a broker sends from what a client sends. */
const ANSWER = 0x80;
/** Two bounds of a queue. */
const BOUNDS_BYTES = 8;
/** Two 32-bit numbers: the first message and how many. */
export const ACK_RANGE_BYTES = 8;
/** Ranges that one ACK may have. */
export const ACK_RANGES_MAX = 256;
export const NACK_REASON_BYTES_MAX = 256;
/** Version, flags, aliases, capabilities, expiry, method, and the lengths of a name and of credentials. */
export const HELLO_BYTES_MIN = 16;
const HELLO_BYTES_MAX = HELLO_BYTES_MIN + 256 + CREDENTIALS_BYTES_MAX;
export const WELCOME_BYTES = 52;
/** A result and an offset. */
const PUBLISHED_BYTES = 9;
/** Epoch, next, earliest, head and missed, and flags. */
const SUBSCRIBED_BYTES = 41;
const POSITION_BYTES = 16;
const NOTICE_BYTES_MIN = 10;
export const NOTICE_TEXT_BYTES_MAX = 1_024;
export const WILL_DELAY_BYTES = 4;
/** The largest topic alias there can be; a WELCOME says how many there may be. */
const TOPIC_ALIAS_MAX = 0xffff;
const PING_BYTES_MAX = 1_024;
const REASON_BYTES_MAX = 512;
