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
import { variableBytes, writeVariable } from './properties.ts';

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

/** The packet identifier of PUBACK or PUBREL from a client. In MQTT 5 a reason may follow, which changes nothing here. @throws {MqttFault} */
export function readAnswer(body: Buffer, isV5: boolean): number {
  if (body.length < 2 || (!isV5 && body.length > 2))
    throw malformed('an acknowledgement is a packet identifier');
  const packetId = body.readUInt16BE(0);
  if (packetId === 0) throw protocolError('a packet identifier is not 0');
  return packetId;
}

/** The same to a client. What says that all is well is four bytes. */
export function writeAnswer(type: number, packetId: number, reason = 0, reasonString = ''): Buffer {
  const text = reason === 0 ? NOTHING : Buffer.from(reasonString);
  const more = text.length === 0 ? 0 : 3 + text.length;
  const length = reason === 0 ? 2 : more === 0 ? 3 : 3 + variableBytes(more) + more;
  const out = Buffer.allocUnsafe(1 + variableBytes(length) + length);
  out[0] = (type << 4) | (type === PacketType.PUBREL ? 2 : 0);
  let at = out.writeUInt16BE(packetId, writeVariable(out, length, 1));
  if (length > 2) out[at++] = reason;
  if (more > 0) {
    at = writeVariable(out, more, at);
    out[at] = REASON_STRING;
    out.set(text, out.writeUInt16BE(text.length, at + 1));
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

/** It makes U+FFFD of what is not UTF-8, takes U+0000, and null for a text that is cut off. There is no more of that character than came, where all was well-formed. */
function assertTexts(packet: object, body: Buffer): void {
  const replaced = replacements(packet);
  if (replaced === 0) return;
  let came = 0;
  for (let at = body.indexOf(REPLACEMENT); at >= 0; at = body.indexOf(REPLACEMENT, at + 3)) came++;
  if (replaced > came) throw malformed('a text is not UTF-8');
}

/** How often U+FFFD is in the texts of a packet. */
function replacements(part: object): number {
  let count = 0;
  for (const [name, member] of Object.entries(part)) {
    count += replacementsIn(name); // of a user property
    if (typeof member === 'string') count += replacementsIn(member);
    else if (typeof member === 'object' && member !== null && !Buffer.isBuffer(member)) {
      if (Object.values(member).includes(null)) throw malformed('a packet ends before what it says it has');
      count += replacements(member);
    }
  }
  return count;
}

function replacementsIn(text: string): number {
  if (text.includes('\0')) throw malformed('a text has a U+0000');
  let count = 0;
  for (let at = text.indexOf('\ufffd'); at >= 0; at = text.indexOf('\ufffd', at + 1)) count++;
  return count;
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
const REPLACEMENT = Buffer.from('\ufffd');
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
