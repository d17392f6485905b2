/** How the bytes of a delivery become a message, and its payload what its publisher had. */

import { type CommandReader, HEADER_BYTES, PublishFlag } from '../pubsub/command.ts';
import { TopicTable } from '../pubsub/topic.ts';
import type { Clock } from '../udp/clock.ts';
import { type Codec, decodeWith } from './codec.ts';
import type { PayloadInflater, UnopenedMessage } from './compression.ts';
import { Delivery, Message, type MessageSource, type Settlement } from './message.ts';

/** What a client has for the messages of its subscriptions. */
export interface MessageReading {
  readonly topics: Topics;
  /** Null: no compressed ones are taken. */
  readonly inflater: PayloadInflater | null;
  /** Null: the payload is the value. */
  readonly codec: Codec<unknown> | null;
  readonly clock: Clock;
}

/** A message whose payload the codec did not take. Nobody gets it. [CLT-21] */
export interface UndecodableMessage {
  readonly topic: string;
  /** What the codec said. */
  readonly reason: string;
  /** The message, with its payload as it came. */
  readonly message: Message;
}

/** What is told of a message that nobody gets. */
export interface UnreadListener {
  onUnopened(message: UnopenedMessage, of: Message): void;
  onUndecodable(message: UndecodableMessage): void;
}

/** One whose payload is still in its envelope, as long as it waits: it takes no more memory than it came with. [BRK-44] */
class CompressedMessage extends Message {}

/** The message that `reader` has just read; `settlement` is that of one with QoS 1. */
export function messageOf(
  command: Buffer,
  { flags, topicEnd, payloadStart }: CommandReader,
  topic: string,
  settlement: Settlement | null,
  source: MessageSource,
): Message {
  const payload = command.subarray(payloadStart);
  const isBare = settlement === null && (flags & ~PublishFlag.COMPRESSED) === 0;
  const how = isBare ? null : new Delivery(command, topicEnd, settlement);
  return (flags & PublishFlag.COMPRESSED) === 0
    ? new Message(topic, payload, how, source)
    : new CompressedMessage(topic, payload, how, source);
}

/** True as long as the payload is in its envelope. */
export function isCompressedMessage(message: Message): boolean {
  return message instanceof CompressedMessage;
}

/** The message as its application gets it: out of its envelope [BRK-44], and decoded [CLT-21]; null for one that cannot be, which is told. */
export function openedMessage(
  message: Message,
  { inflater, codec }: MessageReading,
  source: MessageSource,
  listener: UnreadListener,
): Message | null {
  const { topic, delivery } = message;
  let { payload } = message;
  const isCompressed = message instanceof CompressedMessage;
  if (isCompressed) {
    const opened = inflater?.inflate(topic, payload);
    if (!Buffer.isBuffer(opened)) {
      const broken = { topic, reason: 'broken', dictionary: null, bytes: payload.length } as const;
      listener.onUnopened(opened ?? broken, message);
      return null;
    }
    payload = opened;
  }
  if (codec === null) return isCompressed ? new Message(topic, payload, delivery, source) : message;
  try {
    const value = decodeWith((bytes) => codec.decode(bytes), payload);
    return new Message(topic, payload, delivery, source, value);
  } catch (error) {
    const raw = isCompressed ? new Message(topic, payload, delivery, source) : message;
    listener.onUndecodable({ topic, reason: (error as Error).message, message: raw });
    return null;
  }
}

/** What tells the topic of a PUBLISH. */
export interface Topics {
  textOf(message: Buffer, topicEnd: number): string;
}

/** Topics of which each comes once. */
export const FRESH_TOPICS: Topics = {
  textOf: (message, topicEnd) => message.toString('utf8', HEADER_BYTES, topicEnd),
};

/** Topics as text, decoded once as long as they are remembered. */
export class TopicTexts implements Topics {
  private readonly texts = new TopicTable<string>(TOPICS_MAX);

  /** The topic of a PUBLISH. */
  textOf(message: Buffer, topicEnd: number): string {
    const known = this.texts.lookup(message, HEADER_BYTES, topicEnd);
    if (known !== undefined) return known;
    const text = message.toString('utf8', HEADER_BYTES, topicEnd);
    this.texts.store(message, HEADER_BYTES, topicEnd, text);
    return text;
  }
}

const TOPICS_MAX = 1_024;
