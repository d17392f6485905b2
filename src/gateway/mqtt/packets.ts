/** The packets of MQTT but PUBLISH: read and written by `mqtt-packet`, a whole one at a time, and looked at for what it lets pass. [MQT-4] */

import {
  generate,
  type IAuthPacket,
  type IConnackPacket,
  type IConnectPacket,
  type IDisconnectPacket,
  type ISubscribePacket,
  type IUnsubscribePacket,
  type Packet,
  parser,
} from 'mqtt-packet';
import { MqttFault, MqttReason, malformed, PacketType, protocolError } from './codes.ts';
import { writeVariable } from './properties.ts';

/** 3 is MQTT 3.1, 4 is 3.1.1. */
export type MqttVersion = 3 | 4 | 5;

/** What a client sends and is not a PUBLISH or an answer to one. */
export type ClientPacket =
  | (IConnectPacket & { readonly protocolVersion: MqttVersion })
  | ISubscribePacket
  | IUnsubscribePacket
  | IDisconnectPacket
  | IAuthPacket;

/**
 * Reads a packet.
 *
 * @param head - type and flags
 * @throws {MqttFault}
 */
export function readPacket(head: number, body: Buffer, version: MqttVersion): ClientPacket {
  const header = Buffer.allocUnsafe(5);
  header[0] = head;
  const whole = Buffer.concat([header.subarray(0, writeVariable(header, body.length, 1)), body]);
  const read: { packet: Packet | null; error: Error | null } = { packet: null, error: null };
  const reader = parser({ protocolVersion: version });
  reader.on('packet', (packet) => {
    read.packet = packet;
  });
  reader.on('error', (error: Error) => {
    read.error ??= error;
  });
  try {
    reader.parse(whole);
  } catch (error) {
    throw malformed((error as Error).message);
  }
  if (read.error !== null) throw faultOf(read.error, head >> 4);
  const packet = read.packet as ClientPacket | null;
  if (packet === null) throw malformed('a packet ends before what it says it has');
  assertTexts(packet, body);
  assertProperties((packet as { properties?: Record<string, unknown> }).properties, packet.cmd);
  if (packet.cmd === 'connect') assertProperties(packet.will?.properties, 'will');
  return packet;
}

/** PUBACK, PUBREC, PUBREL and PUBCOMP from a client: the packet identifier, and in MQTT 5 a reason, which is 0 where it is not there. @throws {MqttFault} */
export function readAnswer(
  body: Buffer,
  isV5: boolean,
): { readonly packetId: number; readonly reason: number } {
  if (body.length < 2 || (!isV5 && body.length > 2))
    throw malformed('an acknowledgement is a packet identifier');
  const packetId = body.readUInt16BE(0);
  if (packetId === 0) throw protocolError('a packet identifier is not 0');
  return { packetId, reason: body.length > 2 ? body[2] : 0 };
}

/** The same to a client. What says that all is well is four bytes. */
export function writeAnswer(type: number, packetId: number, reason = 0, reasonString = ''): Buffer {
  const text = reason === 0 ? NOTHING : Buffer.from(reasonString);
  const length = reason === 0 ? 2 : text.length === 0 ? 3 : 4 + 3 + text.length;
  const out = Buffer.allocUnsafe(2 + length);
  out[0] = (type << 4) | (type === PacketType.PUBREL ? 2 : 0);
  out[1] = length; // reasons are short
  out.writeUInt16BE(packetId, 2);
  if (length > 2) out[4] = reason;
  if (length > 3) {
    out[5] = 3 + text.length;
    out[6] = REASON_STRING;
    out.writeUInt16BE(text.length, 7);
    out.set(text, 9);
  }
  return out;
}

export function writeConnack(packet: Omit<IConnackPacket, 'cmd'>, version: MqttVersion): Buffer {
  return generate({ cmd: 'connack', ...packet } as IConnackPacket, { protocolVersion: version });
}

export function writeSuback(packetId: number, codes: readonly number[], version: MqttVersion): Buffer {
  return generate({ cmd: 'suback', messageId: packetId, granted: [...codes] }, { protocolVersion: version });
}

export function writeUnsuback(packetId: number, codes: readonly number[], version: MqttVersion): Buffer {
  return generate(
    { cmd: 'unsuback', messageId: packetId, granted: [...codes] },
    { protocolVersion: version },
  );
}

/** Of MQTT 5: earlier a server says nothing as it goes. */
export function writeDisconnect(reasonCode: number, reasonString: string): Buffer {
  const properties = reasonString === '' ? undefined : { reasonString };
  return generate({ cmd: 'disconnect', reasonCode, properties } as IDisconnectPacket, { protocolVersion: 5 });
}

export const PINGRESP = Buffer.of(PacketType.PINGRESP << 4, 0);

/** What mqtt-packet says of a packet that it cannot read, as MQTT 5 has it. */
function faultOf({ message }: Error, type: number): MqttFault {
  if (type === PacketType.CONNECT && /protocol ?(version|id)/i.test(message)) {
    return new MqttFault(MqttReason.UNSUPPORTED_VERSION, 'this server speaks MQTT 3.1, 3.1.1 and 5');
  }
  return malformed(message);
}

/** It makes U+FFFD of what is not UTF-8, takes U+0000, and null for a text that is cut off. A text that was well-formed stands in the packet as it is. */
function assertTexts(packet: object, body: Buffer): void {
  for (const member of Object.values(packet)) {
    if (typeof member === 'string') {
      if (member.includes('\0')) throw malformed('a text has a U+0000');
      if (member.includes('\ufffd') && !body.includes(member)) throw malformed('a text is not UTF-8');
    } else if (typeof member === 'object' && member !== null && !Buffer.isBuffer(member)) {
      if (Object.values(member).includes(null)) throw malformed('a packet ends before what it says it has');
      assertTexts(member, body);
    }
  }
}

/** Each is there once, belongs to this packet, and has a value that it may have. [MQT-4] */
function assertProperties(properties: object | undefined, what: string): void {
  const allowed = ALLOWED[what];
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name === 'userProperties') continue;
    if (allowed === undefined || !allowed.has(name)) throw protocolError(`${name} is no property of ${what}`);
    if (Array.isArray(value)) throw protocolError(`${name} is there twice`);
    if (value === undefined || value === -1 || (value === false && !YES_OR_NO.has(name))) {
      throw malformed('a packet ends before what it says it has');
    }
    if (value === 0 && NOT_ZERO.has(name)) throw protocolError(`${name} is not 0`);
  }
}

const NOTHING = Buffer.alloc(0);
/** Its property. */
const REASON_STRING = 0x1f;
const NOT_ZERO: ReadonlySet<string> = new Set([
  'receiveMaximum',
  'maximumPacketSize',
  'subscriptionIdentifier',
]);
const YES_OR_NO: ReadonlySet<string> = new Set([
  'requestResponseInformation',
  'requestProblemInformation',
  'payloadFormatIndicator',
]);
const ALLOWED: Readonly<Record<string, ReadonlySet<string> | undefined>> = {
  connect: new Set([
    'sessionExpiryInterval',
    'receiveMaximum',
    'maximumPacketSize',
    'topicAliasMaximum',
    'requestResponseInformation',
    'requestProblemInformation',
    'authenticationMethod',
    'authenticationData',
  ]),
  will: new Set([
    'willDelayInterval',
    'payloadFormatIndicator',
    'messageExpiryInterval',
    'contentType',
    'responseTopic',
    'correlationData',
  ]),
  subscribe: new Set(['subscriptionIdentifier']),
  disconnect: new Set(['sessionExpiryInterval', 'reasonString']),
  auth: new Set(['authenticationMethod', 'authenticationData', 'reasonString']),
};
