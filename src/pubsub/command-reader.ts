import { BrokerCode } from './broker-code.ts';
import {
  ANSWER,
  Command,
  DROPPED_BODY_BYTES,
  HEADER_BYTES,
  LANE_BODY_BYTES,
  PING_BYTES_MAX,
  PublishFlag,
  REASON_BYTES_MAX,
  SubscribeFlag,
} from './command.ts';
import { TOPIC_BYTES_MAX } from './topic.ts';

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
