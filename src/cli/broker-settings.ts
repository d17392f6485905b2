/** How the options of `jsp broker` are settings of its configuration, and what a gateway is told of that. */

import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import { listenAddressText } from '../broker/config/http-settings.ts';
import type { Written } from '../broker/config/kinds.ts';
import {
  CONFIG_VARIABLE,
  type Config,
  ConfigError,
  type ConfigSources,
  type Flag,
} from '../broker/config/load.ts';
import { Addresses } from '../gateway/caller.ts';
import type { GatewayOptions } from '../gateway/options.ts';
import { Origins } from '../gateway/origin.ts';
import { mqttLimitsOf } from './mqtt.ts';

/** Of each option that is a setting: its name on the command line, its place, and its value as a file would have it. */
const FLAGS: Readonly<Record<string, { flag: string; place: string; written?: (value: never) => Written }>> =
  {
    host: { flag: '--host', place: 'broker.host' },
    port: { flag: '--port', place: 'broker.port' },
    advertise: { flag: '--advertise', place: 'broker.advertise' },
    authorizedKeys: { flag: '--authorized-keys', place: 'broker.authorized_keys' },
    profile: { flag: '--profile', place: 'broker.profile' },
    workers: { flag: '--workers', place: 'broker.workers' },
    retry: { flag: '--retry', place: 'limits.retry' },
    state: { flag: '--state', place: 'broker.state' },
    drain: { flag: '--drain', place: 'broker.drain', written: milliseconds },
    store: { flag: '--store', place: 'store.directory' },
    sync: { flag: '--sync', place: 'store.sync' },
    onCorruption: { flag: '--on-corruption', place: 'store.on_corruption' },
    onStoreFailure: {
      flag: '--on-store-failure',
      place: 'store.on_failure',
      written: (value: string) => (value === 'close' ? 'close' : 'readOnly'),
    },
    queueTotal: { flag: '--queue-total', place: 'queues.max_total_bytes', written: mebibytes },
    queuePerClient: { flag: '--queue-per-client', place: 'queues.max_client_bytes', written: mebibytes },
    stall: {
      flag: '--stall',
      place: 'queues.stall',
      written: (seconds: number) => milliseconds(seconds * 1_000),
    },
    backplane: { flag: '--backplane', place: 'backplane.urls' },
    cluster: { flag: '--cluster', place: 'backplane.cluster' },
    node: { flag: '--node', place: 'backplane.node' },
    replicas: { flag: '--replicas', place: 'backplane.replicas' },
    frontSecret: { flag: '--front-secret', place: 'front.secret_file' },
    frontId: { flag: '--front-id', place: 'front.id' },
    http: { flag: '--http', place: 'http.listen', written: listenAddressText },
    tlsCert: { flag: '--tls-cert', place: 'http.tls_cert' },
    tlsKey: { flag: '--tls-key', place: 'http.tls_key' },
    mqtt: { flag: '--mqtt', place: 'mqtt.listen', written: listenAddressText },
    mqttTls: { flag: '--mqtt-tls', place: 'mqtt.tls_listen', written: listenAddressText },
    handOver: { flag: '--hand-over', place: 'broker.hand_over' },
    logLevel: { flag: '--log-level', place: 'logging.level' },
    logFormat: { flag: '--log-format', place: 'logging.format' },
    logFile: { flag: '--log-file', place: 'logging.file' },
  };

/** What {@link sourcesOf} reads of the options. */
export interface SettingOptions {
  readonly config?: string;
  readonly set?: ReadonlyMap<string, string>;
}

/** Where the configuration of this command stands. */
export function sourcesOf(options: SettingOptions, command: Command): ConfigSources {
  const flags = new Map<string, Flag>();
  for (const [place, text] of options.set ?? [])
    flags.set(place, { written: `--set ${place}`, value: text, isText: true });
  for (const [name, { flag, place, written }] of Object.entries(FLAGS)) {
    if (command.getOptionValueSource(name) !== 'cli') continue;
    const value = command.getOptionValue(name) as Written;
    flags.set(place, { written: flag, value: written?.(value as never) ?? value, isText: false });
  }
  // Whoever names where the engine is wants it.
  if (flags.has('backplane.urls') && !flags.has('backplane.kind'))
    flags.set('backplane.kind', { written: '--backplane', value: 'nats', isText: false });
  const file = options.config ?? (process.env[CONFIG_VARIABLE] || undefined);
  return { file, environment: process.env, flags };
}

/** The argument of `--set`: `queues.max_messages=1000`. */
export function collectSetting(
  text: string,
  before: ReadonlyMap<string, string> = new Map(),
): Map<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('It must be table.key=value, such as queues.max_messages=1000.');
  return new Map([...before, [text.slice(0, at), text.slice(at + 1)]]);
}

/**
 * What the gateway of this process is told; null: there is to be none.
 *
 * @param listen - where, unless the configuration says it
 * @throws ConfigError
 */
export function gatewayOptionsOf(
  config: Config,
  listen = config.values.http.listen,
): Omit<GatewayOptions, 'broker'> | null {
  const { values, origins } = config;
  const { http } = values;
  if (listen === undefined) return null;
  const told = (name: string, attempt: () => unknown): void => {
    try {
      attempt();
    } catch (error) {
      const what = (error as Error).message.replace(/^\w+ /, ''); // which names it as an option
      throw new ConfigError([`${origins.get(`http.${name}`)}: [http] ${name}: ${what}`], { cause: error });
    }
  };
  told('origins', () => new Origins([], http.origins));
  told('trusted_proxies', () => new Addresses(http.trusted_proxies));
  const { tls_cert: cert, tls_key: key } = http;
  if ((cert === undefined) !== (key === undefined)) {
    const [there, missing] = cert === undefined ? ['tls_key', 'tls_cert'] : ['tls_cert', 'tls_key'];
    throw new ConfigError([`${origins.get(`http.${there}`)}: [http] ${there}: needs ${missing} as well`]);
  }
  return {
    ...(http.listen ?? listen),
    tls: cert === undefined || key === undefined ? undefined : { cert, key },
    hosts: http.hosts,
    origins: http.origins,
    trustedProxies: http.trusted_proxies,
    dashboard: http.dashboard,
    mqtt: mqttLimitsOf(config),
    limits: {
      payloadBytesMax: http.max_payload_bytes,
      bulkBytesMax: http.max_bulk_bytes,
      bulkItemsMax: http.max_bulk_items,
      connectionsMax: http.max_connections,
      inFlightMax: http.max_in_flight,
      inFlightBytesMax: http.max_in_flight_bytes,
      loopDelayMsMax: http.max_loop_delay,
      sessionsMax: http.max_sessions,
      requestMs: http.request_timeout,
      answerMs: http.answer_timeout,
      keepAliveMs: http.keep_alive,
    },
  };
}

function mebibytes(count: number): Written {
  return count * 1_024 * 1_024;
}

function milliseconds(ms: number): Written {
  return ms === 0 ? 0 : `${ms}ms`;
}
