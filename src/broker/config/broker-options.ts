/** What a configuration means for the functions that it configures. */

import { JspError } from '../../base/errors.ts';
import { HEADER_BYTES } from '../../pubsub/command.ts';
import { TOPIC_BYTES_MAX } from '../../pubsub/topic.ts';
import type { BehindFrontOptions } from '../../transport/behind-front.ts';
import { WORKERS_BEHIND_FRONT } from '../../transport/workers/options.ts';
import type { AuthOptions } from '../auth/options.ts';
import { type BackplaneOptions, checkBackplane } from '../backplane/options.ts';
import type { BrokerLimits } from '../core/state.ts';
import type { LogOptions } from '../core/store-port.ts';
import type { BrokerOptions } from '../server.ts';
import { checkLogs } from '../store/options.ts';
import { authOptionsOf } from './auth-settings.ts';
import { behindFrontOf } from './front-settings.ts';
import { type Config, ConfigError } from './load.ts';

/** What a running broker can be told anew. */
export interface ReloadableOptions {
  readonly limits: BrokerLimits;
  readonly auth: AuthOptions | undefined;
}

/**
 * Options of `startBroker`, but for its identity.
 *
 * @throws ConfigError for what no setting alone shows
 */
export function brokerOptionsOf(config: Config): Omit<BrokerOptions, 'identity'> {
  const { broker, transport, store, limits } = config.values;
  const { limits: reloadable, auth } = reloadableOptionsOf(config);
  return {
    host: broker.host,
    port: broker.port,
    advertise: broker.advertise,
    authorizedKeys: broker.authorized_keys === undefined ? undefined : { file: broker.authorized_keys },
    profile: broker.profile,
    workers: broker.workers,
    heartbeatMs: transport.heartbeat,
    heartbeatMisses: transport.heartbeat_misses,
    idleTimeoutMs: transport.idle_timeout,
    congestion: transport.congestion,
    connectionsMax: limits.max_connections,
    halfOpenMax: limits.max_handshakes,
    retry: limits.retry,
    messageBytesMax: limits.max_message_bytes + MESSAGE_HEAD_BYTES,
    memoryBytesMax: limits.max_memory_bytes,
    routesMax: limits.max_routes,
    ...reloadable,
    store:
      store.directory === undefined
        ? undefined
        : {
            directory: store.directory,
            sync: store.sync,
            syncIntervalMs: store.sync_interval,
            onCorruption: store.on_corruption,
            onFailure: store.on_failure,
            verifyBytes: store.verify_bytes,
          },
    logs: logsOf(config),
    backplane: backplaneOf(config),
    front: frontOf(config),
    auth,
  };
}

/** What its operator should know of a configuration that is in order, a sentence each. */
export function notesOf({ values: { backplane, store }, origins, notes }: Config): readonly string[] {
  if (backplane.kind === 'none' || store.directory === undefined) return notes;
  const what = `has no effect: with a backplane all is kept in its streams, and what is in ${store.directory} stays unread`;
  return [...notes, `${origins.get('store.directory')}: [store] directory ${what}`];
}

/** @throws ConfigError for what no setting alone shows */
export function reloadableOptionsOf(config: Config): ReloadableOptions {
  const { queues, delivery, limits } = config.values;
  return {
    auth: authOf(config),
    limits: {
      queueMessagesMax: queues.max_messages,
      queueBytesMax: queues.max_bytes,
      queueBytesPerClientMax: queues.max_client_bytes,
      queueBytesTotalMax: queues.max_total_bytes,
      stallMs: queues.stall,
      unackedMax: delivery.max_unacked,
      filtersPerClientMax: limits.max_filters_per_client,
      durablesMax: limits.max_durables,
      sessionsMax: limits.max_sessions,
      sessionExpiryMaxMs: limits.max_session_expiry,
      willBytesMax: limits.max_will_bytes,
      retainedBytesMax: limits.max_retained_bytes,
      connectRate: limits.connect_rate,
    },
  };
}

function logsOf({ values, origins }: Config): readonly LogOptions[] {
  const logs = values.log.map(
    (log): LogOptions => ({
      name: log.name,
      filters: log.filters,
      maxAgeMs: log.max_age,
      maxBytes: log.max_bytes,
      maxMessages: log.max_messages,
      discard: log.discard,
      sync: log.sync,
    }),
  );
  try {
    checkLogs(logs);
  } catch (error) {
    throw faultOf(error, origins.get('log') ?? '', '[[log]]');
  }
  return logs;
}

function backplaneOf({ values: { backplane }, origins }: Config): BackplaneOptions {
  const said = ['urls', 'cluster', 'node'].find((name) => origins.has(`backplane.${name}`));
  if (said !== undefined && !origins.has('backplane.kind')) {
    const what =
      'means nothing to a broker that is alone: add kind = "nats", or --backplane nats://HOST:PORT';
    throw new ConfigError([`${origins.get(`backplane.${said}`)}: [backplane] ${said}: ${what}`]);
  }
  const { tls_ca: ca, tls_cert: cert, tls_key: key, advertise, ...told } = backplane;
  const isEncrypted = ca !== undefined || cert !== undefined || key !== undefined;
  const options: BackplaneOptions = {
    kind: told.kind,
    urls: told.urls,
    cluster: told.cluster,
    node: told.node,
    credentials: told.credentials,
    user: told.user,
    password: told.password,
    token: told.token,
    tls: isEncrypted ? { ca, cert, key } : undefined,
    replicas: told.replicas,
    duplicateWindowMs: told.duplicate_window,
    advertise: advertise.length > 0 ? advertise : undefined,
  };
  try {
    checkBackplane(options);
  } catch (error) {
    const [place, line] = [...origins].find(([each]) => each.startsWith('backplane.')) ?? [];
    throw faultOf(error, line ?? place ?? '', '[backplane]', /^backplane: /);
  }
  return options;
}

function frontOf({ values, origins }: Config): BehindFrontOptions | undefined {
  if (values.front.secret_file !== undefined && values.broker.workers) {
    const what = `cannot be given beside workers (${origins.get('broker.workers')}), whose threads it does not reach`;
    const at = origins.get('front.secret_file');
    throw new ConfigError([`${at}: [front] secret_file: ${what}: ${WORKERS_BEHIND_FRONT}`]); // [BRK-137]
  }
  try {
    return behindFrontOf(values.front);
  } catch (error) {
    throw faultOf(error, origins.get('front.secret_file') ?? '', '[front] secret_file');
  }
}

function authOf(config: Config): AuthOptions | undefined {
  const { auth } = config.values;
  if (auth === undefined) return undefined;
  const twice = [
    auth.keys_file !== undefined && auth.key.length > 0 ? 'keys_file or [[auth.key]]' : null,
    auth.identities_file !== undefined && auth.identity.length > 0
      ? 'identities_file or [[auth.identity]]'
      : null,
    auth.revoked_file !== undefined && auth.revoked.length > 0 ? 'revoked_file or revoked' : null,
  ].filter((each) => each !== null);
  const { origins } = config;
  if (twice.length > 0)
    throw new ConfigError(
      twice.map((each) => `${lineOf('auth', origins)}: [auth]: must have either ${each}`),
    );
  try {
    return authOptionsOf(auth, (place) => origins.get(place));
  } catch (error) {
    throw authFault(error, config);
  }
}

/** What is wrong with the option `auth`, or with a file that it names, with the line of the configuration from which it comes; any other error as it is. [CFG-3] */
export function authFault(error: unknown, { values: { auth }, origins }: Config): unknown {
  if (auth === undefined) return error;
  return faultOf(error, lineOf(placeOfFault((error as Error).message, auth), origins), '[auth]');
}

/** What a message is about: it begins with that. */
function placeOfFault(message: string, auth: NonNullable<Config['values']['auth']>): string {
  const file = (['keys_file', 'identities_file', 'revoked_file'] as const).find((key) => {
    const path = auth[key];
    return path !== undefined && message.startsWith(path);
  });
  if (file !== undefined) return `auth.${file}`;
  const [, kind, name] = /^the (key|identity) ([^:]+):/.exec(message) ?? [];
  if (kind === 'key') return `auth.key[${auth.key.findIndex(({ id }) => id === name)}]`;
  if (kind === 'identity')
    return `auth.identity[${auth.identity.findIndex(({ fingerprint }) => fingerprint === name)}]`;
  return /^auth\.([\w.[\]]+)/.exec(message)?.[0] ?? 'auth';
}

/** Where something of the option `auth` was written, or the nearest thing around it. */
function lineOf(place: string, origins: Config['origins']): string {
  const singular = place
    .replace(/^auth\.keys\[/, 'auth.key[')
    .replace(/^auth\.identities\[/, 'auth.identity[')
    .replace(/^auth\.jwt(?!\[)/, 'auth.jwt[0]');
  for (let around = singular; around !== ''; around = around.replace(/(\.[^.[\]]+|\[\d+\]|^[^.]+)$/, '')) {
    const line = origins.get(around);
    if (line !== undefined) return line;
  }
  return [...origins].find(([each]) => each.startsWith('auth.'))?.[1] ?? 'auth';
}

function faultOf(error: unknown, at: string, table: string, prefix = /^$/): unknown {
  if (!(error instanceof JspError) || error.code !== 'ERR_JSP_OPTION_INVALID') return error;
  return new ConfigError([`${at}: ${table}: ${error.message.replace(prefix, '')}`], { cause: error });
}

/** What comes in front of the largest payload. */
const MESSAGE_HEAD_BYTES = HEADER_BYTES + TOPIC_BYTES_MAX;
