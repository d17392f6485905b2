/**
 * The properties of a PUBLISH of MQTT 5 (section 3.3.2.3) as those of the broker, and the other way, in bytes: none is decoded that is only passed on, and user properties keep
 * their order. [MQT-20]
 *
 * What the broker has and MQTT does not are user properties there: `traceparent`, and names that begin with `jsp-`.
 */

import { isUtf8 } from 'node:buffer';
import { PROPERTIES_BYTES_MAX, PropertyType } from '../../pubsub/properties.ts';
import { topicFault } from '../../pubsub/topic.ts';
import { MqttFault, MqttReason, malformed, protocolError } from './codes.ts';

/** Of MQTT 5, as far as a PUBLISH has them. */
export const MqttProperty = {
  PAYLOAD_FORMAT: 0x01,
  MESSAGE_EXPIRY: 0x02,
  CONTENT_TYPE: 0x03,
  RESPONSE_TOPIC: 0x08,
  CORRELATION: 0x09,
  SUBSCRIPTION_ID: 0x0b,
  TOPIC_ALIAS: 0x23,
  USER: 0x26,
} as const;

/** Reads the properties of a PUBLISH from a client, and writes those of the broker. */
export class IncomingProperties {
  /** Where the payload begins. */
  end = 0;
  /** 0: none. */
  topicAlias = 0;
  /** Why the message cannot be taken, as a sentence; null: it can. */
  fault: string | null = null;
  private readonly out = Buffer.allocUnsafeSlow(PROPERTIES_BYTES_MAX);
  private length = 0;
  private seen = 0;

  /** For a message that has none. */
  clear(end: number): void {
    this.end = end;
    this.topicAlias = 0;
    this.fault = null;
    this.length = 0;
    this.seen = 0;
  }

  /** The properties of the broker, without their length; good until the next message. */
  get bytes(): Buffer {
    return this.out.subarray(0, this.length);
  }

  /** @throws {MqttFault} */
  read(body: Buffer, start: number): void {
    this.clear(start);
    const [length, from] = readVariable(body, start);
    const end = from + length;
    if (end > body.length) throw malformed('the properties are longer than their packet');
    this.end = end;
    for (let at = from; at < end; ) at = this.readOne(body, at, end);
  }

  private readOne(body: Buffer, at: number, end: number): number {
    const id = body[at];
    const from = at + 1;
    if (id !== MqttProperty.USER) this.see(id);
    switch (id) {
      case MqttProperty.PAYLOAD_FORMAT:
        if (from + 1 > end) throw cutOff();
        if (body[from] > 1) throw protocolError('the payload format is 0 or 1');
        this.write(PropertyType.PAYLOAD_FORMAT, body, from, from + 1);
        return from + 1;
      case MqttProperty.MESSAGE_EXPIRY:
        if (from + 4 > end) throw cutOff();
        this.writeTimeToLive(body.readUInt32BE(from));
        return from + 4;
      case MqttProperty.CONTENT_TYPE:
        return this.readText(PropertyType.CONTENT_TYPE, body, from, end);
      case MqttProperty.RESPONSE_TOPIC:
        return this.readReplyTopic(body, from, end);
      case MqttProperty.CORRELATION: {
        const next = endOfField(body, from, end);
        this.writeShort(PropertyType.CORRELATION, body, from + 2, next);
        return next;
      }
      case MqttProperty.TOPIC_ALIAS:
        if (from + 2 > end) throw cutOff();
        this.topicAlias = body.readUInt16BE(from);
        if (this.topicAlias === 0) {
          throw new MqttFault(MqttReason.TOPIC_ALIAS_INVALID, 'a topic alias is not 0');
        }
        return from + 2;
      case MqttProperty.USER:
        return this.readUser(body, from, end);
      case MqttProperty.SUBSCRIPTION_ID:
        throw protocolError('a client sends no subscription identifiers with a message');
      default:
        throw malformed(`there is no property 0x${id.toString(16)} of a message`);
    }
  }

  private readText(type: number, body: Buffer, from: number, end: number): number {
    const next = endOfText(body, from, end);
    this.writeShort(type, body, from + 2, next);
    return next;
  }

  private readReplyTopic(body: Buffer, from: number, end: number): number {
    const next = endOfText(body, from, end);
    const topic = body.toString('utf8', from + 2, next);
    if (/[+#]/.test(topic)) throw protocolError('a response topic has no wildcards');
    const fault = topicFault(topic);
    if (fault === null) this.write(PropertyType.REPLY_TOPIC, body, from + 2, next);
    else this.fault ??= `the response topic ${fault}`;
    return next;
  }

  private readUser(body: Buffer, from: number, end: number): number {
    const keyEnd = endOfText(body, from, end);
    const valueAt = keyEnd + 2;
    const next = endOfText(body, keyEnd, end);
    const keyBytes = keyEnd - from - 2;
    const own =
      keyBytes <= NAME_BYTES_MAX ? OWN_NAMES.get(body.toString('latin1', from + 2, keyEnd)) : undefined;
    if (own !== undefined && this.takeOwn(own, body, valueAt, next)) return next;
    if (keyBytes > KEY_BYTES_MAX) {
      this.fault ??= `the name of a user property is at most ${KEY_BYTES_MAX} bytes here`;
      return next;
    }
    const length = 1 + keyBytes + next - valueAt;
    if (!this.begin(PropertyType.USER, length)) return next;
    this.out[this.length++] = keyBytes;
    this.length += body.copy(this.out, this.length, from + 2, keyEnd);
    this.length += body.copy(this.out, this.length, valueAt, next);
    return next;
  }

  /** False: it is not what the broker's property may be, and stays the user's. */
  private takeOwn(type: number, body: Buffer, from: number, end: number): boolean {
    if ((this.seen & (1 << type)) !== 0 || end === from || end - from > SHORT_BYTES_MAX) return false;
    if (type === PropertyType.STATUS) {
      const status = Number(body.toString('latin1', from, end));
      if (!Number.isInteger(status) || status < 0 || status > 0xffff) return false;
      if (this.begin(type, 2)) this.length = this.out.writeUInt16BE(status, this.length);
    } else {
      this.write(type, body, from, end);
    }
    this.seen |= 1 << type;
    return true;
  }

  private writeTimeToLive(seconds: number): void {
    if (!this.begin(PropertyType.TTL, 4)) return;
    this.length = this.out.writeUInt32BE(Math.min(seconds * 1_000, 0xffff_ffff), this.length);
  }

  private writeShort(type: number, body: Buffer, from: number, end: number): void {
    if (end - from > SHORT_BYTES_MAX) {
      this.fault ??= `content types and correlation data are at most ${SHORT_BYTES_MAX} bytes here`;
    } else this.write(type, body, from, end);
  }

  private write(type: number, body: Buffer, from: number, end: number): void {
    if (this.begin(type, end - from)) this.length += body.copy(this.out, this.length, from, end);
  }

  private begin(type: number, length: number): boolean {
    if (this.length + 3 + length > PROPERTIES_BYTES_MAX) {
      this.fault ??= `the properties of a message are at most ${PROPERTIES_BYTES_MAX} bytes here`;
      return false;
    }
    this.out[this.length++] = type;
    this.length = this.out.writeUInt16BE(length, this.length);
    return true;
  }

  /** Each but that of users is there once. */
  private see(id: number): void {
    const bit = PLACES[id];
    if (bit === undefined) return;
    if ((this.seen & bit) !== 0) throw protocolError(`the property 0x${id.toString(16)} is there twice`);
    this.seen |= bit;
  }
}

/** Writes the properties of a PUBLISH to a client of MQTT 5. */
export class OutgoingProperties {
  private readonly out = Buffer.allocUnsafeSlow(USER_BYTES_MAX + OTHER_BYTES_MAX);
  private length = 0;

  /** Without their length; good until the next message. */
  get bytes(): Buffer {
    return this.out.subarray(0, this.length);
  }

  clear(): void {
    this.length = 0;
  }

  /** Those of a PUBLISH of the broker that begin at `start`, well-formed. */
  add(message: Buffer, start: number): void {
    const end = start + 2 + message.readUInt16BE(start);
    for (let at = start + 2; at < end; ) {
      const type = message[at];
      const from = at + 3;
      at = from + message.readUInt16BE(at + 1);
      this.addOne(message, type, from, at);
    }
  }

  addTopicAlias(alias: number): void {
    this.out[this.length++] = MqttProperty.TOPIC_ALIAS;
    this.length = this.out.writeUInt16BE(alias, this.length);
  }

  addSubscriptionId(id: number): void {
    if (this.length + ID_BYTES_MAX > this.out.length) return;
    this.out[this.length++] = MqttProperty.SUBSCRIPTION_ID;
    this.length = writeVariable(this.out, id, this.length);
  }

  private addOne(message: Buffer, type: number, from: number, end: number): void {
    if (type >= PropertyType.USER && type <= PropertyType.USER_LAST) {
      const keyEnd = from + 1 + message[from];
      this.addUser(message.subarray(from + 1, keyEnd), message.subarray(keyEnd, end));
      return;
    }
    switch (type) {
      case PropertyType.TTL:
        // Rounded up: what is not over yet has a second.
        this.out[this.length++] = MqttProperty.MESSAGE_EXPIRY;
        this.length = this.out.writeUInt32BE(Math.ceil(message.readUInt32BE(from) / 1_000), this.length);
        return;
      case PropertyType.PAYLOAD_FORMAT:
        this.out[this.length++] = MqttProperty.PAYLOAD_FORMAT;
        this.out[this.length++] = message[from];
        return;
      case PropertyType.CONTENT_TYPE:
        return this.addField(MqttProperty.CONTENT_TYPE, message, from, end);
      case PropertyType.REPLY_TOPIC:
        return this.addField(MqttProperty.RESPONSE_TOPIC, message, from, end);
      case PropertyType.CORRELATION:
        return this.addField(MqttProperty.CORRELATION, message, from, end);
      case PropertyType.STATUS:
        return this.addUser(NAMES[type] as Buffer, Buffer.from(String(message.readUInt16BE(from))));
      default: {
        const name = NAMES[type];
        if (name !== undefined) this.addUser(name, message.subarray(from, end));
      }
    }
  }

  private addField(id: number, message: Buffer, from: number, end: number): void {
    this.out[this.length++] = id;
    this.length = this.out.writeUInt16BE(end - from, this.length);
    this.length += message.copy(this.out, this.length, from, end);
  }

  /** What is no text is none for MQTT either: it is shown as well as it goes. */
  private addUser(key: Buffer, value: Buffer): void {
    const text = isUtf8(value) ? value : Buffer.from(value.toString());
    if (this.length + 5 + key.length + text.length > USER_BYTES_MAX || text.length > 0xffff) return;
    this.out[this.length++] = MqttProperty.USER;
    this.length = this.out.writeUInt16BE(key.length, this.length);
    this.length += key.copy(this.out, this.length);
    this.length = this.out.writeUInt16BE(text.length, this.length);
    this.length += text.copy(this.out, this.length);
  }
}

/** A variable byte integer (section 1.5.5), and where it ends. @throws {MqttFault} */
export function readVariable(bytes: Buffer, start: number): readonly [value: number, end: number] {
  let value = 0;
  for (let i = 0; i < 4; i++) {
    const byte = bytes[start + i];
    if (byte === undefined) throw cutOff();
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return [value, start + i + 1];
  }
  throw malformed('a number has more than four bytes');
}

export function variableBytes(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : 4;
}

/** Returns where it ends. */
export function writeVariable(out: Buffer, value: number, start: number): number {
  let at = start;
  let rest = value;
  while (rest >= 0x80) {
    out[at++] = 0x80 | (rest & 0x7f);
    rest = Math.floor(rest / 0x80);
  }
  out[at++] = rest;
  return at;
}

function endOfField(bytes: Buffer, start: number, end: number): number {
  const next = start + 2 > end ? end + 1 : start + 2 + bytes.readUInt16BE(start);
  if (next > end) throw cutOff();
  return next;
}

/** [MQT-4] text is UTF-8, and has no U+0000 */
export function endOfText(bytes: Buffer, start: number, end: number): number {
  const next = endOfField(bytes, start, end);
  const text = bytes.subarray(start + 2, next);
  if (!isUtf8(text) || text.includes(0)) throw malformed('a text is not UTF-8, or has a U+0000');
  return next;
}

function cutOff(): MqttFault {
  return malformed('a packet ends before what it says it has');
}

/** Names of user properties that are the broker's own properties. */
const OWN_NAMES: ReadonlyMap<string, number> = new Map([
  ['traceparent', PropertyType.TRACEPARENT],
  ['jsp-key', PropertyType.KEY],
  ['jsp-message-id', PropertyType.MESSAGE_ID],
  ['jsp-status', PropertyType.STATUS],
]);
const NAMES: Readonly<Record<number, Buffer | undefined>> = Object.fromEntries(
  [...OWN_NAMES].map(([name, type]) => [type, Buffer.from(name)]),
);
/** The longest of them. */
const NAME_BYTES_MAX = 14;
/** A bit for each property that may be there once, beside those of the broker's own types. */
const PLACES: Readonly<Record<number, number | undefined>> = {
  [MqttProperty.PAYLOAD_FORMAT]: 1 << 20,
  [MqttProperty.MESSAGE_EXPIRY]: 1 << 21,
  [MqttProperty.CONTENT_TYPE]: 1 << 22,
  [MqttProperty.RESPONSE_TOPIC]: 1 << 23,
  [MqttProperty.CORRELATION]: 1 << 24,
  [MqttProperty.TOPIC_ALIAS]: 1 << 25,
};
/** Of the broker's properties. [BRK-48] */
const SHORT_BYTES_MAX = 256;
const KEY_BYTES_MAX = 255;
/** Users' may be longer as text than the broker's are: what goes beyond this is left out. */
const USER_BYTES_MAX = 2 * PROPERTIES_BYTES_MAX;
/** All others, which always have room: each is there once, but for the identifiers of subscriptions. */
const OTHER_BYTES_MAX = 16 * 1_024;
/** A property with a variable byte integer. */
const ID_BYTES_MAX = 5;
