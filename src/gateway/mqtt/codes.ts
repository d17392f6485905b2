/** What MQTT calls things: its packet types and reason codes (MQTT 5, sections 2.1.2 and 2.4), and what a code of the broker is among them. */

import { ReasonCode } from '../../pubsub/command.ts';

export const PacketType = {
  CONNECT: 1,
  CONNACK: 2,
  PUBLISH: 3,
  PUBACK: 4,
  PUBREC: 5,
  PUBREL: 6,
  PUBCOMP: 7,
  SUBSCRIBE: 8,
  SUBACK: 9,
  UNSUBSCRIBE: 10,
  UNSUBACK: 11,
  PINGREQ: 12,
  PINGRESP: 13,
  DISCONNECT: 14,
  AUTH: 15,
} as const;

/** Of MQTT 5. */
export const MqttReason = {
  SUCCESS: 0x00,
  DISCONNECT_WITH_WILL: 0x04,
  NO_MATCHING_SUBSCRIBERS: 0x10,
  NO_SUBSCRIPTION_EXISTED: 0x11,
  UNSPECIFIED: 0x80,
  MALFORMED: 0x81,
  PROTOCOL_ERROR: 0x82,
  IMPLEMENTATION_SPECIFIC: 0x83,
  UNSUPPORTED_VERSION: 0x84,
  CLIENT_ID_NOT_VALID: 0x85,
  BAD_CREDENTIALS: 0x86,
  NOT_AUTHORIZED: 0x87,
  SERVER_UNAVAILABLE: 0x88,
  SERVER_BUSY: 0x89,
  SERVER_SHUTTING_DOWN: 0x8b,
  BAD_AUTHENTICATION_METHOD: 0x8c,
  KEEP_ALIVE_TIMEOUT: 0x8d,
  SESSION_TAKEN_OVER: 0x8e,
  TOPIC_FILTER_INVALID: 0x8f,
  TOPIC_NAME_INVALID: 0x90,
  PACKET_ID_NOT_FOUND: 0x92,
  RECEIVE_MAXIMUM_EXCEEDED: 0x93,
  TOPIC_ALIAS_INVALID: 0x94,
  PACKET_TOO_LARGE: 0x95,
  QUOTA_EXCEEDED: 0x97,
  ADMINISTRATIVE_ACTION: 0x98,
  QOS_NOT_SUPPORTED: 0x9b,
  CONNECTION_RATE_EXCEEDED: 0x9f,
  MAXIMUM_CONNECT_TIME: 0xa0,
} as const;
export type MqttReason = (typeof MqttReason)[keyof typeof MqttReason];

/** Of a CONNACK before MQTT 5. */
const ReturnCode = {
  UNSUPPORTED_VERSION: 1,
  IDENTIFIER_REJECTED: 2,
  UNAVAILABLE: 3,
  BAD_CREDENTIALS: 4,
  NOT_AUTHORIZED: 5,
} as const;

/** What breaks the connection: the client's fault against the protocol, or a bound that it has met. */
export class MqttFault extends Error {
  readonly reason: MqttReason;

  constructor(reason: MqttReason, message: string) {
    super(message);
    this.name = 'MqttFault';
    this.reason = reason;
  }
}

export function malformed(message: string): MqttFault {
  return new MqttFault(MqttReason.MALFORMED, message);
}

export function protocolError(message: string): MqttFault {
  return new MqttFault(MqttReason.PROTOCOL_ERROR, message);
}

/** Why the broker has not let a client in. */
export function connectReasonOf(code: number | undefined): MqttReason {
  switch (code) {
    case undefined:
      return MqttReason.SERVER_UNAVAILABLE;
    case ReasonCode.NOT_AUTHORIZED:
      return MqttReason.NOT_AUTHORIZED;
    case ReasonCode.TOKEN_EXPIRED:
      return MqttReason.BAD_CREDENTIALS;
    case ReasonCode.LIMITED:
    case ReasonCode.QUOTA:
      return MqttReason.QUOTA_EXCEEDED;
    case ReasonCode.BUSY:
      return MqttReason.SERVER_BUSY;
    case ReasonCode.KICKED:
      return MqttReason.ADMINISTRATIVE_ACTION;
    case ReasonCode.TOPIC_INVALID:
      return MqttReason.TOPIC_NAME_INVALID;
    case ReasonCode.TOO_LARGE:
      return MqttReason.PACKET_TOO_LARGE;
    case ReasonCode.INTERNAL_ERROR:
      return MqttReason.UNSPECIFIED;
    default:
      return MqttReason.SERVER_UNAVAILABLE;
  }
}

/** The same for a client of MQTT 3.1.1. */
export function returnCodeOf(reason: MqttReason): number {
  switch (reason) {
    case MqttReason.UNSUPPORTED_VERSION:
      return ReturnCode.UNSUPPORTED_VERSION;
    case MqttReason.CLIENT_ID_NOT_VALID:
      return ReturnCode.IDENTIFIER_REJECTED;
    case MqttReason.BAD_CREDENTIALS:
      return ReturnCode.BAD_CREDENTIALS;
    case MqttReason.NOT_AUTHORIZED:
    case MqttReason.TOPIC_NAME_INVALID:
      return ReturnCode.NOT_AUTHORIZED;
    default:
      return ReturnCode.UNAVAILABLE;
  }
}

/** Why a message was not taken. */
export function publishReasonOf(code: number): MqttReason {
  switch (code) {
    case ReasonCode.NOT_AUTHORIZED:
      return MqttReason.NOT_AUTHORIZED;
    case ReasonCode.TOPIC_INVALID:
      return MqttReason.TOPIC_NAME_INVALID;
    case ReasonCode.STORE_FULL:
    case ReasonCode.QUOTA:
    case ReasonCode.LIMITED:
    case ReasonCode.TOO_LARGE:
      return MqttReason.QUOTA_EXCEEDED;
    case ReasonCode.CONTRADICTION:
      return MqttReason.IMPLEMENTATION_SPECIFIC;
    default:
      return MqttReason.UNSPECIFIED;
  }
}

/** Whether the same message would be refused again, however often it came: MQTT 3.1.1 can only say that it was taken. [MQT-13] */
export function isFinalRefusal(reason: MqttReason): boolean {
  return (
    reason === MqttReason.NOT_AUTHORIZED ||
    reason === MqttReason.TOPIC_NAME_INVALID ||
    reason === MqttReason.IMPLEMENTATION_SPECIFIC
  );
}

/** Why there is no subscription. */
export function subscribeReasonOf(code: number | undefined): MqttReason {
  switch (code) {
    case ReasonCode.NOT_AUTHORIZED:
      return MqttReason.NOT_AUTHORIZED;
    case ReasonCode.FILTER_INVALID:
      return MqttReason.TOPIC_FILTER_INVALID;
    case ReasonCode.TOO_MANY_SUBSCRIPTIONS:
    case ReasonCode.QUOTA:
    case ReasonCode.LIMITED:
      return MqttReason.QUOTA_EXCEEDED;
    case ReasonCode.CONTRADICTION:
    case ReasonCode.UNSUPPORTED:
      return MqttReason.IMPLEMENTATION_SPECIFIC;
    default:
      return MqttReason.UNSPECIFIED;
  }
}

/** Why a connection that was open is over. */
export function disconnectReasonOf(code: number | undefined): MqttReason {
  switch (code) {
    case ReasonCode.SESSION_TAKEN:
    case ReasonCode.TAKEN:
      return MqttReason.SESSION_TAKEN_OVER;
    case ReasonCode.NOT_AUTHORIZED:
      return MqttReason.NOT_AUTHORIZED;
    case ReasonCode.TOKEN_EXPIRED:
      return MqttReason.MAXIMUM_CONNECT_TIME;
    case ReasonCode.KICKED:
      return MqttReason.ADMINISTRATIVE_ACTION;
    case ReasonCode.LIMITED:
    case ReasonCode.STALLED:
      return MqttReason.QUOTA_EXCEEDED;
    case ReasonCode.TOPIC_INVALID:
      return MqttReason.TOPIC_NAME_INVALID;
    case ReasonCode.INTERNAL_ERROR:
      return MqttReason.UNSPECIFIED;
    default:
      return MqttReason.SERVER_SHUTTING_DOWN;
  }
}
