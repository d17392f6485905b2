/** CONNECT and CONNACK: what a client asks for, looked at, what that is as a session of the broker, and what it is answered. [MQT-6] */

import { randomBytes } from 'node:crypto';
import type { IConnectPacket } from 'mqtt-packet';
import { encodeWill, PublishFlag } from '../../pubsub/command.ts';
import { CREDENTIALS_BYTES_MAX } from '../../pubsub/credentials.ts';
import { EXPIRY_NEVER, SESSION_NAME_BYTES_MAX, type Welcome } from '../../pubsub/session-commands.ts';
import { inboxOf, topicFault } from '../../pubsub/topic.ts';
import { ANONYMOUS, proofFromText } from '../caller.ts';
import type { Proof } from '../session.ts';
import { MqttFault, MqttReason, protocolError, returnCodeOf } from './codes.ts';
import type { MqttLimits } from './limits.ts';
import { type MqttVersion, writeConnack } from './packets.ts';
import { IncomingProperties, variableBytes, writeVariable } from './properties.ts';

/** A client that wants to be connected. */
export interface ConnectRequest {
  readonly version: MqttVersion;
  readonly clientId: string;
  /** It gave no client identifier, and has this one from us. */
  readonly isAssigned: boolean;
  readonly isClean: boolean;
  readonly expiryMs: number;
  /** Seconds; 0: none. */
  readonly keepAliveS: number;
  readonly proof: Proof;
  /** Messages of QoS 1 that it takes unacknowledged, bytes of a packet, and topic aliases. */
  readonly receiveMaximum: number;
  readonly packetBytesMax: number;
  readonly topicAliasMaximum: number;
  readonly wantsResponseInformation: boolean;
  readonly wantsReasons: boolean;
  /** It is another broker: what it publishes does not come back to it, and RETAIN stays. */
  readonly isBridge: boolean;
  /** The WILL of the broker with this id; null: it has none. */
  readonly will: ((id: number) => Uint8Array) | null;
}

/** @throws {MqttFault} with what is told in CONNACK */
export function connectRequestOf(packet: IConnectPacket & { protocolVersion: MqttVersion }): ConnectRequest {
  const { protocolVersion: version, clean = false, clientId, properties = {} } = packet;
  const isV5 = version === 5;
  if (properties.authenticationMethod !== undefined) {
    throw new MqttFault(MqttReason.BAD_AUTHENTICATION_METHOD, 'there is no enhanced authentication here');
  }
  if (properties.authenticationData !== undefined) {
    throw protocolError('authentication data needs an authentication method');
  }
  if (!isV5 && packet.password !== undefined && packet.username === undefined) {
    throw protocolError('a password needs a user name');
  }
  const isAssigned = clientId === '';
  if (isAssigned && !isV5 && !clean) {
    throw new MqttFault(MqttReason.CLIENT_ID_NOT_VALID, 'a session that stays needs a client identifier');
  }
  if (Buffer.byteLength(clientId) > SESSION_NAME_BYTES_MAX || CONTROL.test(clientId)) {
    const what = `a client identifier has at most ${SESSION_NAME_BYTES_MAX} bytes, and no control characters`;
    throw new MqttFault(MqttReason.CLIENT_ID_NOT_VALID, what);
  }
  const { sessionExpiryInterval: expiryS = 0 } = properties;
  return {
    version,
    clientId: isAssigned ? `mqtt-${randomBytes(15).toString('base64url')}` : clientId,
    isAssigned,
    isClean: clean,
    expiryMs: isV5 ? expiryMsOf(expiryS) : clean ? 0 : EXPIRY_NEVER,
    keepAliveS: packet.keepalive ?? 0,
    proof: proofIn(packet),
    receiveMaximum: properties.receiveMaximum ?? RECEIVE_MAXIMUM,
    packetBytesMax: properties.maximumPacketSize ?? Number.POSITIVE_INFINITY,
    topicAliasMaximum: properties.topicAliasMaximum ?? 0,
    wantsResponseInformation: properties.requestResponseInformation === true,
    wantsReasons: properties.requestProblemInformation !== false,
    isBridge: (packet as { bridgeMode?: boolean }).bridgeMode === true,
    will: packet.will === undefined ? null : willOf(packet.will, isV5),
  };
}

/** Of so many seconds; all ones: for ever. */
export function expiryMsOf(seconds: number): number {
  return seconds === EXPIRY_NEVER ? EXPIRY_NEVER : Math.min(seconds * 1_000, EXPIRY_NEVER - 1);
}

/** How long a client may be silent, in s; 0: for ever. That of MQTT 5 can be told to be heard sooner than it would have. [MQT-8] */
export function keepAliveOf({ version, keepAliveS }: ConnectRequest, { keepAliveMaxS }: MqttLimits): number {
  const isTooLong = keepAliveMaxS > 0 && (keepAliveS === 0 || keepAliveS > keepAliveMaxS);
  return version === 5 && isTooLong ? keepAliveMaxS : keepAliveS;
}

/**
 * Of a client that is let in.
 *
 * @param welcome - what the broker has made of it
 * @param keepAliveS - what {@link keepAliveOf} says
 */
export function connackOf(
  request: ConnectRequest,
  { isPresent: sessionPresent, expiryMs }: Welcome,
  keepAliveS: number,
  limits: MqttLimits,
): Buffer {
  const { version } = request;
  if (version !== 5) return writeConnack({ sessionPresent, returnCode: 0 }, version);
  const expiryS = expirySecondsOf(expiryMs);
  const properties = {
    ...(expiryS === expirySecondsOf(request.expiryMs) ? {} : { sessionExpiryInterval: expiryS }),
    receiveMaximum: limits.receiveMax,
    maximumQoS: 1,
    maximumPacketSize: limits.packetBytesMax,
    ...(request.isAssigned ? { assignedClientIdentifier: request.clientId } : {}),
    topicAliasMaximum: limits.topicAliasMax,
    ...(keepAliveS === request.keepAliveS ? {} : { serverKeepAlive: keepAliveS }),
    ...(request.wantsResponseInformation ? { responseInformation: inboxOf(request.clientId) } : {}),
  };
  return writeConnack({ sessionPresent, reasonCode: MqttReason.SUCCESS, properties }, version);
}

/** Of a client that is not. @param reasonString - '' says nothing */
export function refusalOf(version: MqttVersion, reason: MqttReason, reasonString: string): Buffer {
  const answer =
    version === 5
      ? { reasonCode: reason, ...(reasonString === '' ? {} : { properties: { reasonString } }) }
      : { returnCode: returnCodeOf(reason) };
  return writeConnack({ sessionPresent: false, ...answer }, version);
}

/** Of a session that outlives its connection for so many ms, as MQTT 5 tells it. */
function expirySecondsOf(ms: number): number {
  return ms === EXPIRY_NEVER ? EXPIRY_NEVER : Math.floor(ms / 1_000);
}

/** The password is an API key or a token; the user name is for people. [MQT-7] */
function proofIn({ password }: IConnectPacket): Proof {
  if (password === undefined || password.length === 0) return ANONYMOUS;
  if (password.length > CREDENTIALS_BYTES_MAX) {
    throw new MqttFault(MqttReason.BAD_CREDENTIALS, `credentials are at most ${CREDENTIALS_BYTES_MAX} bytes`);
  }
  return proofFromText(password.toString());
}

/** @throws {MqttFault} */
function willOf(will: NonNullable<IConnectPacket['will']>, isV5: boolean): (id: number) => Uint8Array {
  const { topic, qos = 0, retain = false, payload, properties = {} } = will;
  if (qos === 2 && isV5) throw new MqttFault(MqttReason.QOS_NOT_SUPPORTED, 'the maximum QoS here is 1');
  if (qos > 2) throw protocolError('there is no QoS 3');
  const fault = topicFault(topic);
  if (fault !== null) throw new MqttFault(MqttReason.TOPIC_NAME_INVALID, `the topic of the will ${fault}`);
  const encoded = isV5 ? brokerProperties(properties) : NOTHING;
  const flags =
    (qos > 0 ? PublishFlag.QOS1 : 0) |
    (retain ? PublishFlag.RETAIN : 0) |
    (encoded.length > 0 ? PublishFlag.PROPERTIES : 0);
  const length = Buffer.of(encoded.length >> 8, encoded.length);
  const rest = Buffer.concat([...(encoded.length > 0 ? [length, encoded] : []), Buffer.from(payload)]);
  const delayMs = Math.min((properties.willDelayInterval ?? 0) * 1_000, EXPIRY_NEVER);
  return (id) => encodeWill(id, topic, flags, delayMs, rest);
}

/** Those of a will, which are those of a message but for the delay: read as that has them. @throws {MqttFault} */
function brokerProperties(
  properties: NonNullable<NonNullable<IConnectPacket['will']>['properties']>,
): Buffer {
  const parts: Buffer[] = [];
  const field = (id: number, value: string | Buffer | undefined): void => {
    if (value === undefined) return;
    const bytes = Buffer.from(value as string);
    parts.push(Buffer.of(id, bytes.length >> 8, bytes.length), bytes);
  };
  const { payloadFormatIndicator, messageExpiryInterval, userProperties } = properties;
  if (payloadFormatIndicator !== undefined) parts.push(Buffer.of(0x01, payloadFormatIndicator ? 1 : 0));
  if (messageExpiryInterval !== undefined) {
    const expiry = Buffer.of(0x02, 0, 0, 0, 0);
    expiry.writeUInt32BE(messageExpiryInterval, 1);
    parts.push(expiry);
  }
  field(0x03, properties.contentType);
  field(0x08, properties.responseTopic);
  field(0x09, properties.correlationData);
  for (const [name, values] of Object.entries(userProperties ?? {})) {
    for (const value of Array.isArray(values) ? values : [values]) {
      const key = Buffer.from(name);
      const text = Buffer.from(value);
      parts.push(
        Buffer.of(0x26, key.length >> 8, key.length),
        key,
        Buffer.of(text.length >> 8, text.length),
        text,
      );
    }
  }
  const all = Buffer.concat(parts);
  const length = Buffer.alloc(variableBytes(all.length));
  writeVariable(length, all.length, 0);
  willReader ??= new IncomingProperties();
  willReader.read(Buffer.concat([length, all]), 0);
  if (willReader.fault !== null) throw new MqttFault(MqttReason.IMPLEMENTATION_SPECIFIC, willReader.fault);
  return Buffer.from(willReader.bytes);
}

let willReader: IncomingProperties | null = null;
const NOTHING = Buffer.alloc(0);
/** Where the client does not say. (MQTT 5, section 3.1.2.11.3) */
const RECEIVE_MAXIMUM = 65_535;
/** A session's name is shown to people. */
const CONTROL = /\p{Cc}/u;
