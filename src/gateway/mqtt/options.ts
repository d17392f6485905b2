/** What the MQTT door can be told, and what each of it is where it is not told. */

import { anObject, checkOptions, type OptionTable, text, whole } from '../../base/options.ts';
import type { Broker } from '../../broker/index.ts';
import type { Clock } from '../../udp/clock.ts';
import type { GatewayTls } from '../options.ts';
import { MQTT_LIMITS, type MqttLimitOptions } from './limits.ts';

/** What the door needs of a broker in its process, and what it shows of it. */
export type MqttBroker = Pick<Broker, 'serve' | 'logsOf' | 'sessionNote' | 'setSessionNote'> &
  Partial<Pick<Broker, 'operations'>>;

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

export const DEFAULT_MQTT_HOST = '127.0.0.1';
export const DEFAULT_MQTT_PORT = 1883;
export const DEFAULT_MQTT_TLS_PORT = 8883;

/** @throws {JspError} ERR_JSP_OPTION_INVALID */
export function checkMqttOptions(options: MqttOptions): void {
  checkOptions('startMqtt', options, MQTT_OPTIONS);
  checkOptions('startMqtt', { broker: options.broker ?? null }, { broker: aBroker });
}

const aBroker = (value: unknown): string | null =>
  typeof (value as { serve?: unknown } | null)?.serve === 'function' ? null : 'a Broker of this process';

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
