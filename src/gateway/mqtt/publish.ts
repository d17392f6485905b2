/**
 * PUBLISH of MQTT (section 3.3) to PUBLISH of the broker and back. It is the packet that comes and goes most, so it is read and written here, without an object for each; all
 * others are the matter of packets.ts.
 */

import { Command, HEADER_BYTES, PublishFlag } from '../../pubsub/command.ts';
import { TopicTable, topicFault } from '../../pubsub/topic.ts';
import { MqttFault, MqttReason, malformed, PacketType, protocolError } from './codes.ts';
import {
  endOfText,
  IncomingProperties,
  OutgoingProperties,
  variableBytes,
  writeVariable,
} from './properties.ts';

/** Reads one PUBLISH after another into its own fields. */
export class IncomingPublish {
  qos: 0 | 1 | 2 = 0;
  isRetained = false;
  isDuplicate = false;
  /** 0: QoS 0. */
  packetId = 0;
  /** Why the broker takes no such message, as a sentence; null: it does. */
  fault: string | null = null;
  /** What that is in MQTT 5. */
  faultReason: MqttReason = MqttReason.SUCCESS;
  private body: Buffer = NOTHING;
  private topicFrom = 0;
  private topicEnd = 0;
  private readonly properties = new IncomingProperties();
  private readonly known = new TopicTable<true>(KNOWN_TOPICS);

  get topicAlias(): number {
    return this.properties.topicAlias;
  }

  /** The topic is one that the broker has. */
  get isTopicGood(): boolean {
    return this.faultReason !== MqttReason.TOPIC_NAME_INVALID;
  }

  /** The topic that an alias stands for is none. */
  refuseTopic(): void {
    this.fault = 'the topic of the alias is none that there may be';
    this.faultReason = MqttReason.TOPIC_NAME_INVALID;
  }

  /** A view, which is empty where an alias stands for it. */
  get topic(): Buffer {
    return this.body.subarray(this.topicFrom, this.topicEnd);
  }

  /**
   * @param head - type and flags
   * @throws {MqttFault}
   */
  read(head: number, body: Buffer, isV5: boolean): void {
    const qos = (head >> 1) & 3;
    if (qos === 3) throw malformed('there is no QoS 3');
    this.qos = qos as 0 | 1 | 2;
    this.isRetained = (head & 1) !== 0;
    this.isDuplicate = (head & 8) !== 0;
    if (qos === 0 && this.isDuplicate) throw protocolError('a message of QoS 0 is no duplicate');
    this.body = body;
    this.topicFrom = 2;
    this.topicEnd = endOfText(body, 0, body.length);
    let at = this.topicEnd;
    this.packetId = 0;
    if (qos > 0) {
      if (at + 2 > body.length) throw malformed('a packet ends before what it says it has');
      this.packetId = body.readUInt16BE(at);
      at += 2;
      if (this.packetId === 0) throw protocolError('a packet identifier is not 0');
    }
    if (isV5) this.properties.read(body, at);
    else this.properties.clear(at);
    this.faultReason = MqttReason.SUCCESS;
    this.fault = this.properties.fault;
    if (this.fault !== null) this.faultReason = MqttReason.IMPLEMENTATION_SPECIFIC;
    const hasAlias = this.properties.topicAlias !== 0;
    if (this.topicEnd > this.topicFrom) this.checkTopic();
    else if (!hasAlias) throw protocolError('a message has a topic');
  }

  /** The PUBLISH of the broker, in bytes of its own. @param aliased - the topic that the alias stands for; null: it has its own */
  command(aliased: Uint8Array | null): Buffer {
    const { body, properties } = this;
    const topic = aliased ?? this.topic;
    const more = properties.bytes;
    const payloadBytes = body.length - properties.end;
    const moreBytes = more.length === 0 ? 0 : 2 + more.length;
    const bytes = HEADER_BYTES + topic.length + moreBytes + payloadBytes;
    // A large one is not of Node's pool: the broker may keep it for long, and with it what else is there.
    const out = bytes < POOLED_BYTES_MAX ? Buffer.allocUnsafe(bytes) : Buffer.allocUnsafeSlow(bytes);
    out[0] = Command.PUBLISH;
    out[1] =
      (this.qos > 0 ? PublishFlag.QOS1 : 0) |
      (this.isRetained ? PublishFlag.RETAIN : 0) |
      (moreBytes > 0 ? PublishFlag.PROPERTIES : 0);
    out.writeUInt16BE(topic.length, 2);
    out.writeUInt32BE(0, 4);
    out.set(topic, HEADER_BYTES);
    let at = HEADER_BYTES + topic.length;
    if (moreBytes > 0) {
      at = out.writeUInt16BE(more.length, at);
      at += more.copy(out, at);
    }
    body.copy(out, at, properties.end);
    return out;
  }

  private checkTopic(): void {
    const { body, topicFrom, topicEnd } = this;
    if (this.known.lookup(body, topicFrom, topicEnd) === true) return;
    const topic = body.toString('utf8', topicFrom, topicEnd);
    if (/[+#]/.test(topic)) {
      throw new MqttFault(MqttReason.TOPIC_NAME_INVALID, 'a topic has no wildcards');
    }
    const fault = topicFault(topic);
    if (fault === null) this.known.store(body, topicFrom, topicEnd, true);
    else {
      this.fault = `the topic ${fault}`;
      this.faultReason = MqttReason.TOPIC_NAME_INVALID;
    }
  }
}

/** What a message to a client has beside what was published. */
export interface Envelope {
  readonly qos: 0 | 1;
  readonly isRetained: boolean;
  readonly isDuplicate: boolean;
  /** Of QoS 1. */
  readonly packetId: number;
  /** 0: none. */
  readonly topicAlias: number;
  /** The client knows which topic the alias stands for. */
  readonly isAliasKnown: boolean;
  /** Of the subscriptions that match. */
  readonly subscriptionIds: readonly number[];
}

/** Writes PUBLISH packets. */
export class OutgoingPublish {
  private readonly properties = new OutgoingProperties();
  /** The one that was written last for nobody in particular: many subscribers get the same. */
  private last: Buffer = NOTHING;
  private lastMessage: Buffer = NOTHING;
  private lastKind = 0;

  /**
   * A message of QoS 0 with nothing of its subscriber's own: those who are given the same message share the bytes.
   *
   * @param topicEnd - of the message, a PUBLISH of the broker
   */
  shared(message: Buffer, topicEnd: number, payload: Buffer, isRetained: boolean, isV5: boolean): Buffer {
    const kind = 1 + (isRetained ? 1 : 0) + (isV5 ? 2 : 0);
    if (this.lastKind === kind && isSame(this.lastMessage, message)) return this.last;
    const packet = this.write(message, topicEnd, payload, isRetained ? RETAINED : PLAIN, isV5);
    this.last = packet;
    this.lastMessage = message;
    this.lastKind = kind;
    return packet;
  }

  write(message: Buffer, topicEnd: number, payload: Buffer, envelope: Envelope, isV5: boolean): Buffer {
    const { qos, isRetained, isDuplicate, topicAlias, isAliasKnown } = envelope;
    const { properties } = this;
    properties.clear();
    if (isV5) {
      if ((message[1] & PublishFlag.PROPERTIES) !== 0) properties.add(message, topicEnd);
      if (topicAlias > 0) properties.addTopicAlias(topicAlias);
      for (const id of envelope.subscriptionIds) properties.addSubscriptionId(id);
    }
    const more = properties.bytes;
    const topicFrom = isAliasKnown ? topicEnd : HEADER_BYTES;
    const length =
      2 +
      (topicEnd - topicFrom) +
      (qos > 0 ? 2 : 0) +
      (isV5 ? variableBytes(more.length) + more.length : 0) +
      payload.length;
    const out = Buffer.allocUnsafe(1 + variableBytes(length) + length);
    out[0] = (PacketType.PUBLISH << 4) | (isDuplicate ? 8 : 0) | (qos << 1) | (isRetained ? 1 : 0);
    let at = writeVariable(out, length, 1);
    at = out.writeUInt16BE(topicEnd - topicFrom, at);
    at += message.copy(out, at, topicFrom, topicEnd);
    if (qos > 0) at = out.writeUInt16BE(envelope.packetId, at);
    if (isV5) {
      at = writeVariable(out, more.length, at);
      at += more.copy(out, at);
    }
    payload.copy(out, at);
    return out;
  }

  /** Nobody is given the last one any more. */
  forget(): void {
    this.last = NOTHING;
    this.lastMessage = NOTHING;
    this.lastKind = 0;
  }
}

function isSame(a: Buffer, b: Buffer): boolean {
  return a === b || (a.buffer === b.buffer && a.byteOffset === b.byteOffset && a.length === b.length);
}

const NOTHING = Buffer.alloc(0);
const NO_IDS: readonly number[] = [];
const PLAIN: Envelope = {
  qos: 0,
  isRetained: false,
  isDuplicate: false,
  packetId: 0,
  topicAlias: 0,
  isAliasKnown: false,
  subscriptionIds: NO_IDS,
};
const RETAINED: Envelope = { ...PLAIN, isRetained: true };
/** Topics that were looked at lately, a power of two. */
const KNOWN_TOPICS = 4_096;
const POOLED_BYTES_MAX = 1_024;
