import { TOPIC_BYTES_MAX } from './topic.ts';
/**
 * The broker's commands as numbers (spec/broker.md). Every command begins with the same eight bytes:
 *
 *     command u8, flags u8, topic length u16, id u32, topic bytes, body
 */

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

/** Codes of a CLOSE with scope 1, of a STREAM_RESET and of REFUSED between a broker and its clients (spec/broker.md). */
export const BrokerCode = {
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
export type BrokerCode = (typeof BrokerCode)[keyof typeof BrokerCode];

/** The table's name for a code, or its number in hex. */
export function brokerCodeName(code: number): string {
  for (const [name, value] of Object.entries(BrokerCode)) if (value === code) return name;
  return `0x${code.toString(16)}`;
}

/** Which side reads: each takes only what the other may send. PUBLISH goes both ways. */
export const Side = { BROKER: 0, CLIENT: 1 } as const;
export type Side = (typeof Side)[keyof typeof Side];

/**
 * Reads one command after another into its own fields, without allocating. It checks the layout; whether a topic or filter is valid
 * is not its matter.
 *
 * @example
 * const reader = new CommandReader(Side.BROKER);
 * const code = reader.read(message);
 * if (code === BrokerCode.NO_ERROR && reader.command === Command.PUBLISH) route(message, reader.topicEnd);
 */
export class CommandReader {
  command = 0;
  flags = 0;
  id = 0;
  /** End of the topic or filter, which begins at {@link HEADER_BYTES}, and start of the body. */
  topicEnd = HEADER_BYTES;
  bodyLength = 0;
  private readonly side: Side;

  constructor(side: Side) {
    this.side = side;
  }

  /** Reads `bytes`, one whole command. Returns NO_ERROR, or the code that closes the connection. */
  read(bytes: Uint8Array): BrokerCode {
    if (bytes.length < HEADER_BYTES) return BrokerCode.COMMAND_ENCODING_ERROR; // [BRK-6]
    this.command = bytes[0];
    this.flags = bytes[1];
    this.topicEnd = HEADER_BYTES + ((bytes[2] << 8) | bytes[3]);
    this.id = ((bytes[4] << 24) | (bytes[5] << 16) | (bytes[6] << 8) | bytes[7]) >>> 0;
    this.bodyLength = bytes.length - this.topicEnd;
    if (this.command === Command.PUBLISH) return this.checkPublish();
    const fromBroker = (this.command & ANSWER) !== 0;
    if (fromBroker !== (this.side === Side.CLIENT)) return BrokerCode.UNKNOWN_COMMAND;
    return fromBroker ? this.checkAnswer() : this.checkRequest();
  }

  private checkPublish(): BrokerCode {
    if ((this.flags & PublishFlag.RESERVED) !== 0) return BrokerCode.COMMAND_ENCODING_ERROR;
    if ((this.flags & PublishFlag.QOS) > 1) return BrokerCode.COMMAND_ENCODING_ERROR;
    if (this.flags !== 0) return BrokerCode.UNSUPPORTED; // [BRK-8]
    return verdict(this.id === 0 && this.hasTopic());
  }

  private checkRequest(): BrokerCode {
    switch (this.command) {
      case Command.SUBSCRIBE:
        if ((this.flags & SubscribeFlag.RESERVED) !== 0) return BrokerCode.COMMAND_ENCODING_ERROR;
        return verdict(this.id !== 0 && this.hasTopic() && (this.bodyLength === 0 || this.bodyLength === 8));
      case Command.UNSUBSCRIBE:
        return verdict(this.flags === 0 && this.id !== 0 && this.hasTopic() && this.bodyLength === 0);
      case Command.FLUSH:
      case Command.MARKED:
        return this.checkPlain(0);
      case Command.PING:
        return this.checkPlain(PING_BYTES_MAX);
      default:
        return BrokerCode.UNKNOWN_COMMAND;
    }
  }

  private checkAnswer(): BrokerCode {
    switch (this.command) {
      case Command.SUBSCRIBED:
      case Command.UNSUBSCRIBED:
      case Command.FLUSHED:
      case Command.MARK:
        return this.checkPlain(0);
      case Command.LANE:
        return verdict(this.isBare && this.id === 0 && this.bodyLength === LANE_BODY_BYTES);
      case Command.DROPPED:
        return verdict(this.isBare && this.id === 0 && this.bodyLength === DROPPED_BODY_BYTES);
      case Command.PONG:
        return this.checkPlain(PING_BYTES_MAX);
      case Command.REFUSED:
        return this.bodyLength < 2
          ? BrokerCode.COMMAND_ENCODING_ERROR
          : this.checkPlain(2 + REASON_BYTES_MAX);
      default:
        return BrokerCode.UNKNOWN_COMMAND;
    }
  }

  /** A command with an id and a body, and nothing else. */
  private checkPlain(bodyBytesMax: number): BrokerCode {
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

function verdict(wellFormed: boolean): BrokerCode {
  return wellFormed ? BrokerCode.NO_ERROR : BrokerCode.COMMAND_ENCODING_ERROR;
}

/** Header and topic of every PUBLISH to `topic`: put a payload behind them and the command is complete. */
export function publishPrefix(topic: string): Buffer {
  const prefix = Buffer.allocUnsafe(HEADER_BYTES + Buffer.byteLength(topic));
  writeHeader(prefix, Command.PUBLISH, 0, prefix.length - HEADER_BYTES, 0);
  prefix.write(topic, HEADER_BYTES);
  return prefix;
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
  const out = encodeWithTopic(Command.SUBSCRIBE, flags, id, filter, bounded ? 8 : 0);
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
export function encodePlain(command: Command, id: number, body: Uint8Array = EMPTY): Buffer {
  const out = Buffer.allocUnsafe(HEADER_BYTES + body.length);
  writeHeader(out, command, 0, 0, id);
  out.set(body, HEADER_BYTES);
  return out;
}

/** LANE: this stream carries deliveries of the subscribing stream with that number. */
export function encodeLane(streamId: number): Buffer {
  const body = Buffer.alloc(LANE_BODY_BYTES);
  body.writeUInt32BE(streamId);
  return encodePlain(Command.LANE, 0, body);
}

/** DROPPED: so many messages are missing here. */
export function encodeDropped(count: number, reason: number): Buffer {
  const body = Buffer.alloc(DROPPED_BODY_BYTES);
  body.writeBigUInt64BE(BigInt(count), 0);
  body[8] = reason;
  return encodePlain(Command.DROPPED, 0, body);
}

/** REFUSED; a reason that is too long, for the protocol or for a command of `bytesMax`, is cut. */
export function encodeRefused(
  id: number,
  code: number,
  reason: string,
  bytesMax = Number.POSITIVE_INFINITY,
): Buffer {
  const reasonBytesMax = Math.min(REASON_BYTES_MAX, Math.max(0, bytesMax - HEADER_BYTES - 2));
  const body = Buffer.alloc(2 + reasonBytesMax);
  body.writeUInt16BE(code, 0);
  const written = body.write(reason, 2); // never cuts a character in two
  return encodePlain(Command.REFUSED, id, body.subarray(0, 2 + written));
}

function encodeWithTopic(
  command: Command,
  flags: number,
  id: number,
  topic: string,
  bodyBytes: number,
): Buffer {
  const topicBytes = Buffer.byteLength(topic);
  const out = Buffer.alloc(HEADER_BYTES + topicBytes + bodyBytes);
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

const EMPTY = new Uint8Array(0);
