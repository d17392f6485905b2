/** What the MQTT door can be told, and what each of it is where it is not told. */

import { anObject, checkOptions, type OptionTable, text, whole } from '../../base/options.ts';
import type { Broker } from '../../broker/index.ts';
import { type Clock, TIMEOUT_MS_MAX } from '../../udp/clock.ts';
import type { GatewayTls } from '../options.ts';
import type { MqttLimits } from './limits.ts';

/** What the door needs of a broker in its process, and what it shows of it. */
export type MqttBroker = Pick<Broker, 'serve' | 'logsOf' | 'sessionNote' | 'setSessionNote'> &
  Partial<Pick<Broker, 'operations'>>;

/** Bounds of what MQTT clients may cost. */
export interface MqttLimitOptions {
  /** Connections at once; the next is closed as it comes. Default 20,000. */
  connectionsMax?: number | undefined;
  /** Bytes of one packet, either way, which clients of MQTT 5 are told. Default 1 MiB. */
  packetBytesMax?: number | undefined;
  /** Messages of QoS 1 and 2 that a client may publish before the first is answered. Default 1,024. */
  receiveMax?: number | undefined;
  /** Messages of QoS 1 that a client is given before it acknowledges the first, where it does not ask for fewer. Default 256. */
  inFlightMax?: number | undefined;
  /** Topic aliases that a client may define. Default 64. */
  topicAliasMax?: number | undefined;
  /** The longest keep-alive of MQTT 5, in s; 0: whatever a client says. Default 0. */
  keepAliveMaxS?: number | undefined;
  /** How long a client may take to send its CONNECT, in ms. Default 5,000. */
  connectMs?: number | undefined;
  /** Bytes of all packets together that have not come whole. Default 64 MiB. */
  partialBytesMax?: number | undefined;
}

export interface MqttOptions {
  /** The broker in this process. */
  broker: MqttBroker;
  /** Address to listen on. Default `127.0.0.1`: this machine only. */
  host?: string | undefined;
  /** TCP port; 0 lets the system choose. Default 1883, with `tls` 8883. */
  port?: number | undefined;
  /** TLS, with the certificate in these files. Default: plain TCP. */
  tls?: GatewayTls | undefined;
  /** Bounds of what clients may cost. */
  limits?: MqttLimitOptions | undefined;
  /** Where it takes its time from. Default: the machine's. */
  clock?: Clock | undefined;
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

export const DEFAULT_MQTT_HOST = '127.0.0.1';
export const DEFAULT_MQTT_PORT = 1883;
export const DEFAULT_MQTT_TLS_PORT = 8883;

/** @throws {JspError} ERR_JSP_OPTION_INVALID */
export function checkMqttOptions(options: MqttOptions): void {
  checkOptions('startMqtt', options, MQTT_OPTIONS);
  checkOptions('startMqtt', { broker: options.broker ?? null }, { broker: aBroker });
}

/** Those that are given, over those that hold else. */
export function limitsOf(given: MqttLimitOptions = {}): MqttLimits {
  const limits: Record<string, number> = { ...DEFAULT_MQTT_LIMITS };
  for (const [name, value] of Object.entries(given)) if (value !== undefined) limits[name] = value;
  return limits as unknown as MqttLimits;
}

const aBroker = (value: unknown): string | null =>
  typeof (value as { serve?: unknown } | null)?.serve === 'function' ? null : 'a Broker of this process';

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

const TLS: OptionTable<GatewayTls> = { cert: text, key: text };

const MQTT_OPTIONS: OptionTable<MqttOptions> = {
  broker: aBroker,
  host: text,
  port: whole(0, 65_535),
  tls: (value) => {
    if (anObject(value) !== null) return 'an object';
    checkOptions('startMqtt: tls', value as GatewayTls, TLS);
    return null;
  },
  limits: (value) => {
    if (anObject(value) !== null) return 'an object';
    checkOptions('startMqtt: limits', value as MqttLimitOptions, MQTT_LIMITS);
    return null;
  },
  clock: anObject,
};
