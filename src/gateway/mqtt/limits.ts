/** What MQTT clients may cost, and what is counted of them. */

import { type OptionTable, whole } from '../../base/options.ts';
import { TIMEOUT_MS_MAX } from '../../udp/clock.ts';

/** Bounds of what MQTT clients may cost. */
export interface MqttLimitOptions {
  /** Connections at once; the next is closed as it comes. Default 20,000; 1 to 1,000,000. */
  connectionsMax?: number | undefined;
  /** Bytes of one packet, either way, which clients of MQTT 5 are told. Default 1 MiB, at most 16 MiB. */
  packetBytesMax?: number | undefined;
  /** Messages of QoS 1 and 2 that a client may publish before the first is answered. Default 1,024; 1 to 65,535. */
  receiveMax?: number | undefined;
  /** Messages of QoS 1 that a client is given before it acknowledges the first, where it does not ask for fewer. Default 256; 1 to 16,384. */
  inFlightMax?: number | undefined;
  /** Topic aliases that a client may define. Default 64; 0 to 1,024. */
  topicAliasMax?: number | undefined;
  /** The longest keep-alive of MQTT 5, in s; 0: whatever a client says. Default 0; 0 to 65,535. */
  keepAliveMaxS?: number | undefined;
  /** How long a client may take to send its CONNECT, in ms. Default 5,000. */
  connectMs?: number | undefined;
  /** Bytes of all packets together that have not come whole. Default 64 MiB. */
  partialBytesMax?: number | undefined;
}

/** Bounds of the MQTT door. */
export interface MqttLimits {
  /** Connections at once. */
  readonly connectionsMax: number;
  /** Bytes of one packet, either way. */
  readonly packetBytesMax: number;
  /** Messages of QoS 1 and 2 that a client may publish before the first is answered. */
  readonly receiveMax: number;
  /** Messages of QoS 1 that a client is given before it acknowledges the first, whatever it takes. */
  readonly inFlightMax: number;
  /** Topic aliases that a client may define. */
  readonly topicAliasMax: number;
  /** The longest keep-alive, in s; 0: whatever the client says. */
  readonly keepAliveMaxS: number;
  /** From the connection to its CONNECT. */
  readonly connectMs: number;
  /** Bytes of all packets together that have not come whole. */
  readonly partialBytesMax: number;
}

export const DEFAULT_MQTT_LIMITS: MqttLimits = {
  connectionsMax: 20_000,
  packetBytesMax: 1024 * 1024,
  receiveMax: 1_024,
  inFlightMax: 256,
  topicAliasMax: 64,
  keepAliveMaxS: 0,
  connectMs: 5_000,
  partialBytesMax: 64 * 1024 * 1024,
};

/** Those that are given, over those that hold else. */
export function limitsOf(given: MqttLimitOptions = {}): MqttLimits {
  const limits: Record<string, number> = { ...DEFAULT_MQTT_LIMITS };
  for (const [name, value] of Object.entries(given)) if (value !== undefined) limits[name] = value;
  return limits as unknown as MqttLimits;
}

/** Since the door was opened, but for `connected`. */
export class MqttCounters {
  /** Clients that are connected now. */
  connected = 0;
  packetsIn = 0;
  packetsOut = 0;
  /** Messages that clients published, and those that were not taken. */
  published = 0;
  refused = 0;
  /** Messages that clients were sent, those of QoS 1 among them, and those that were larger than a client takes. */
  delivered = 0;
  deliveredQos1 = 0;
  tooLarge = 0;
  refusedConnects = 0;
  protocolErrors = 0;
  keepAliveTimeouts = 0;
}

export const MQTT_LIMITS: OptionTable<MqttLimitOptions> = {
  connectionsMax: whole(1, 1_000_000),
  packetBytesMax: whole(1_024, 16 * 1024 * 1024),
  receiveMax: whole(1, 65_535),
  inFlightMax: whole(1, 16_384),
  topicAliasMax: whole(0, 1_024),
  keepAliveMaxS: whole(0, 65_535),
  connectMs: whole(1, TIMEOUT_MS_MAX),
  partialBytesMax: whole(1, 2 ** 40),
};
