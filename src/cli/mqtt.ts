/** What `jsp broker` has of MQTT: which doors its configuration asks for, and how they are opened. */

import { type Config, ConfigError } from '../broker/config/load.ts';
import type { Broker } from '../broker/server.ts';
import type { MqttDoor, MqttLimitOptions, MqttOptions } from '../gateway/index.ts';
import { addressAdvice, listeningError } from './listening.ts';
import { warn } from './terminal.ts';

/** Bounds of MQTT clients, by whichever way they come. */
export function mqttLimitsOf({ values: { mqtt } }: Config): MqttLimitOptions {
  return {
    connectionsMax: mqtt.max_connections,
    packetBytesMax: mqtt.max_packet_bytes,
    receiveMax: mqtt.receive_maximum,
    inFlightMax: mqtt.max_in_flight,
    topicAliasMax: mqtt.topic_aliases,
    keepAliveMaxS: Math.floor(mqtt.max_keep_alive / 1_000),
    connectMs: mqtt.connect_timeout,
    partialBytesMax: mqtt.max_partial_bytes,
  };
}

/**
 * The doors that are to be opened, with the option of the command line that asks for each.
 *
 * @throws ConfigError
 */
export function mqttOptionsOf(config: Config): [flag: string, options: Omit<MqttOptions, 'broker'>][] {
  const { values, origins } = config;
  const { mqtt, http } = values;
  const limits = mqttLimitsOf(config);
  const doors: [string, Omit<MqttOptions, 'broker'>][] = [];
  if (mqtt.listen !== undefined) doors.push(['--mqtt', { ...mqtt.listen, limits }]);
  if (mqtt.tls_listen === undefined) return doors;
  const [cert, key] =
    mqtt.tls_cert === undefined && mqtt.tls_key === undefined
      ? [http.tls_cert, http.tls_key]
      : [mqtt.tls_cert, mqtt.tls_key];
  if (cert === undefined || key === undefined) {
    const at = origins.get('mqtt.tls_listen');
    throw new ConfigError([
      `${at === undefined ? '' : `${at}: `}[mqtt] tls_listen: needs a certificate and its key: tls_cert and tls_key, or --tls-cert and --tls-key`,
    ]);
  }
  return [...doors, ['--mqtt-tls', { ...mqtt.tls_listen, tls: { cert, key }, limits }]];
}

/** Opens them. Those that are open are closed again where one cannot be. */
export async function startedMqtt(broker: Broker, config: Config): Promise<MqttDoor[]> {
  const doors: MqttDoor[] = [];
  for (const [flag, options] of mqttOptionsOf(config)) {
    const { startMqtt } = await import('../gateway/index.ts'); // what a broker alone does not need
    const door = await startMqtt({ broker, ...options }).catch(async (error: unknown) => {
      for (const opened of doors) await opened.close({ drainMs: 0 });
      throw listeningError(error, addressAdvice(flag, 'Another program, perhaps Mosquitto,'));
    });
    door.on('fault', (error) => {
      const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
      warn(`a fault of the MQTT door cost a client its connection: ${what}`);
    });
    door.on('error', (error) => warn(`the MQTT door is closed: ${error.message}`));
    doors.push(door);
  }
  return doors;
}
