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
  return OF_CONNECT[code ?? NO_CODE] ?? MqttReason.SERVER_UNAVAILABLE;
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
  return OF_PUBLISH[code] ?? MqttReason.UNSPECIFIED;
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
  return OF_SUBSCRIBE[code ?? NO_CODE] ?? MqttReason.UNSPECIFIED;
}

/** Why a connection that was open is over. */
export function disconnectReasonOf(code: number | undefined): MqttReason {
  return OF_DISCONNECT[code ?? NO_CODE] ?? MqttReason.SERVER_SHUTTING_DOWN;
}

/** By the code of the broker. */
type ReasonTable = Readonly<Partial<Record<number, MqttReason>>>;
/** The broker has said none. */
const NO_CODE = -1;
const OF_CONNECT: ReasonTable = {
  [ReasonCode.NOT_AUTHORIZED]: MqttReason.NOT_AUTHORIZED,
  [ReasonCode.TOKEN_EXPIRED]: MqttReason.BAD_CREDENTIALS,
  [ReasonCode.LIMITED]: MqttReason.QUOTA_EXCEEDED,
  [ReasonCode.QUOTA]: MqttReason.QUOTA_EXCEEDED,
  [ReasonCode.BUSY]: MqttReason.SERVER_BUSY,
  [ReasonCode.KICKED]: MqttReason.ADMINISTRATIVE_ACTION,
  [ReasonCode.TOPIC_INVALID]: MqttReason.TOPIC_NAME_INVALID,
  [ReasonCode.TOO_LARGE]: MqttReason.PACKET_TOO_LARGE,
  [ReasonCode.INTERNAL_ERROR]: MqttReason.UNSPECIFIED,
};
const OF_PUBLISH: ReasonTable = {
  [ReasonCode.NOT_AUTHORIZED]: MqttReason.NOT_AUTHORIZED,
  [ReasonCode.TOPIC_INVALID]: MqttReason.TOPIC_NAME_INVALID,
  [ReasonCode.STORE_FULL]: MqttReason.QUOTA_EXCEEDED,
  [ReasonCode.QUOTA]: MqttReason.QUOTA_EXCEEDED,
  [ReasonCode.LIMITED]: MqttReason.QUOTA_EXCEEDED,
  [ReasonCode.TOO_LARGE]: MqttReason.QUOTA_EXCEEDED,
  [ReasonCode.CONTRADICTION]: MqttReason.IMPLEMENTATION_SPECIFIC,
};
const OF_SUBSCRIBE: ReasonTable = {
  [ReasonCode.NOT_AUTHORIZED]: MqttReason.NOT_AUTHORIZED,
  [ReasonCode.FILTER_INVALID]: MqttReason.TOPIC_FILTER_INVALID,
  [ReasonCode.TOO_MANY_SUBSCRIPTIONS]: MqttReason.QUOTA_EXCEEDED,
  [ReasonCode.QUOTA]: MqttReason.QUOTA_EXCEEDED,
  [ReasonCode.LIMITED]: MqttReason.QUOTA_EXCEEDED,
  [ReasonCode.CONTRADICTION]: MqttReason.IMPLEMENTATION_SPECIFIC,
  [ReasonCode.UNSUPPORTED]: MqttReason.IMPLEMENTATION_SPECIFIC,
};
const OF_DISCONNECT: ReasonTable = {
  [ReasonCode.SESSION_TAKEN]: MqttReason.SESSION_TAKEN_OVER,
  [ReasonCode.TAKEN]: MqttReason.SESSION_TAKEN_OVER,
  [ReasonCode.NOT_AUTHORIZED]: MqttReason.NOT_AUTHORIZED,
  [ReasonCode.TOKEN_EXPIRED]: MqttReason.MAXIMUM_CONNECT_TIME,
  [ReasonCode.KICKED]: MqttReason.ADMINISTRATIVE_ACTION,
  [ReasonCode.LIMITED]: MqttReason.QUOTA_EXCEEDED,
  [ReasonCode.STALLED]: MqttReason.QUOTA_EXCEEDED,
  [ReasonCode.TOPIC_INVALID]: MqttReason.TOPIC_NAME_INVALID,
  [ReasonCode.INTERNAL_ERROR]: MqttReason.UNSPECIFIED,
};
