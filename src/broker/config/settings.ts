/**
 * Every setting of a broker, once: with its default and the reason of it. Names are those of a TOML file; `JSP_BROKER_QUEUES_MAX_MESSAGES` is the name of
 * `[queues] max_messages` in the environment (and `JSP_BROKER_HOST` that of `[broker] host`), `--set queues.max_messages=…` on the command line. [CFG-1]
 */

import { type OptionCheck, whole } from '../../base/options.ts';
import { filterFault } from '../../pubsub/topic.ts';
import { LISTEN_OPTIONS } from '../../transport/listen.ts';
import { CONTROLLERS } from '../../transport/options.ts';
import { PROFILE_NAMES } from '../../transport/profiles.ts';
import { DEFAULT_PORT, isPinnedUrl, parseAdvertised } from '../../transport/url.ts';
import { WORKERS_MAX } from '../../transport/workers/options.ts';
import { BROKER_LIMITS } from '../core/state.ts';
import { LOG_OPTIONS, STORE_OPTIONS } from '../store/options.ts';
import { AUTH_SETTINGS } from './auth-settings.ts';
import { BACKPLANE_SETTINGS } from './backplane-settings.ts';
import { FRONT_SETTINGS } from './front-settings.ts';
import { HTTP_SETTINGS } from './http-settings.ts';
import {
  bytesOf,
  durationOf,
  listOf,
  numberOf,
  numberOrWord,
  path,
  textOf,
  wordOf,
  yesOrNo,
} from './kinds.ts';
import { MQTT_SETTINGS } from './mqtt-settings.ts';
import { optional, required, setting, table, tableList, type ValuesOf } from './setting.ts';

const KIB = 1_024;
const MIB = 1_024 * KIB;
const SECOND = 1_000;
const DAY = 24 * 60 * 60 * SECOND;

/** Takes effect when a running broker reads its configuration again. */
const reloads = { reloads: true } as const;

const broker = table('Where the broker listens, and what it is.', {
  host: setting(
    textOf(),
    '127.0.0.1',
    'Address to listen on. This machine only, until somebody decides who may connect: 0.0.0.0 or :: is every address.',
  ),
  port: setting(numberOf(whole(0, 65_535)), DEFAULT_PORT, 'UDP port; 0 lets the system choose.'),
  advertise: optional(
    textOf(saidBy(parseAdvertised)),
    '"broker.example.org:4577"',
    'Host, or host:port, that the URL names: where clients reach a broker behind a NAT or a name. By default its own address.',
  ),
  authorized_keys: optional(
    path,
    '"authorized_keys"',
    'File with the fingerprints of the clients that are let in, one on each line, which is read again when it changes: others do not get as far as to say HELLO. By default anybody.',
  ),
  profile: optional(
    wordOf(PROFILE_NAMES),
    `"${PROFILE_NAMES[0]}"`,
    'Transport options for a kind of use, which "jsp profiles" explains. By default those of the transport.',
  ),
  workers: setting(
    numberOrWord(whole(0, WORKERS_MAX), 'auto'),
    0,
    'Threads that clients\' connections are in, each with a socket of its own at the same port; "auto": as many as there are cores. 0: none beside the broker\'s own, which is best on one core.',
  ),
  state: setting(
    path,
    '.jsp',
    'Folder of its identity, from which clients know it, and of the file with its URL: where it is started, so that clients there find it.',
  ),
  drain: setting(
    durationOf(whole(0, DAY)),
    5 * SECOND,
    'How long a broker that is stopped may take to deliver what is queued; longer is for clients on slow links, and must be below what the supervisor waits before it kills.',
    reloads,
  ),
  hand_over: setting(
    listOf(textOf(pinnedUrl), 16),
    [],
    'At most 16 URLs of brokers that clients are told to go to when this one is stopped. By default they wait for it to come back.',
    { ...reloads, example: '["jsp://<fingerprint>@other.example.org:4577"]' },
  ),
});

const transport = table('The connections of clients.', {
  heartbeat: optional(
    durationOf(whole(0, DAY)),
    '"5s"',
    'A silent connection is asked for a sign of life so often; 0: never. By default 5s, or as the profile says.',
  ),
  heartbeat_misses: optional(
    numberOf(whole(1, 1_000)),
    '3',
    'A connection that leaves so many unanswered is given up. By default 3, or as the profile says.',
  ),
  idle_timeout: optional(
    durationOf(whole(0, DAY)),
    '"30s"',
    'A connection on which nothing comes for so long is given up; 0: never. By default 30s, or as the profile says.',
  ),
  congestion: optional(
    wordOf(CONTROLLERS),
    '"bbr"',
    'How the rate of sending finds what the path carries. By default cubic, which is fair to others; or as the profile says.',
  ),
});

const store = table('What survives the process.', {
  directory: optional(
    path,
    '"store"',
    'Folder where messages of QoS 1, sessions, cursors and last values are kept. Without one they are in memory.',
  ),
  sync: setting(
    wordOf(['always', 'interval']),
    'always',
    'Whether a message is acknowledged when the disk has it, or when the system has. "always" alone survives a power cut.',
  ),
  sync_interval: setting(
    durationOf(STORE_OPTIONS.syncIntervalMs),
    SECOND,
    'A log that does not wait for the disk is on it after so long at the latest: what a power cut may cost.',
  ),
  on_corruption: setting(
    wordOf(['refuse', 'quarantine']),
    'refuse',
    'What a start does when something that was stored is damaged. "refuse" leaves it to somebody who looks at it ("jsp store check"); "quarantine" sets it aside and goes on.',
  ),
  on_failure: setting(
    wordOf(['readOnly', 'close']),
    'readOnly',
    'What the broker does when a disk fails. "readOnly" goes on with what needs no disk; "close" ends it with code 1, for a supervisor that has another disk.',
  ),
  verify_bytes: setting(
    bytesOf(STORE_OPTIONS.verifyBytes),
    256 * MIB,
    'A store of at most so many bytes is read from end to end when it opens, which takes a second for each GB or so; of a larger one its last segments.',
  ),
});

const log = tableList(
  'A log of messages beside the one named "default", which takes what no other does. A topic belongs to the first whose filters match.',
  {
    name: required(textOf(LOG_OPTIONS.name), '"orders"', 'Its name, and that of its files.'),
    filters: setting(
      listOf(textOf((value) => (filterFault(value as string) === null ? null : 'a topic filter'))),
      [],
      'What it stores. The log "default" has none.',
      { example: '["orders/#"]' },
    ),
    max_age: setting(
      durationOf(LOG_OPTIONS.maxAgeMs),
      7 * DAY,
      'Older messages are dropped. A week: who was away over a long weekend has missed nothing.',
    ),
    max_bytes: optional(
      bytesOf(LOG_OPTIONS.maxBytes),
      '"10GiB"',
      'Most bytes of it. By default 4 GiB on a disk, and 64 MiB in memory.',
    ),
    max_messages: optional(
      numberOf(LOG_OPTIONS.maxMessages),
      '1000000',
      'Most messages of it. By default any.',
    ),
    discard: setting(
      wordOf(['old', 'new']),
      'old',
      'What gives way at a bound: old messages, or new ones, whose publishers are told.',
    ),
    sync: optional(wordOf(['always', 'interval']), '"interval"', 'As [store] sync, for this log alone.'),
  },
  {
    example:
      '[[log]]\nname = "orders"\nfilters = ["orders/#"]\nmax_age = "30d"\nmax_bytes = "10GiB"\ndiscard = "new"',
  },
);

const queues = table('Messages that wait for subscribers who do not take them as fast as they come.', {
  max_messages: setting(
    numberOf(BROKER_LIMITS.queueMessagesMax),
    16_384,
    'Most messages that wait for one subscription. Enough for a burst of a second; what happens beyond, the subscription says: publishers wait, or messages are dropped and counted.',
    reloads,
  ),
  max_bytes: setting(bytesOf(BROKER_LIMITS.queueBytesMax), 4 * MIB, 'The same in bytes.', reloads),
  max_client_bytes: setting(
    bytesOf(BROKER_LIMITS.queueBytesPerClientMax),
    16 * MIB,
    'Most bytes that wait for all subscriptions of one client: four full ones.',
    reloads,
  ),
  max_total_bytes: setting(
    bytesOf(BROKER_LIMITS.queueBytesTotalMax),
    256 * MIB,
    'Most bytes that wait for all clients together: what slow subscribers may cost this process.',
    reloads,
  ),
  stall: setting(
    durationOf(BROKER_LIMITS.stallMs),
    30 * SECOND,
    'A subscription that makes publishers wait and does not take a message for so long is given up; 0: never.',
    reloads,
  ),
});

const delivery = table('How messages of QoS 1 are delivered.', {
  max_unacked: setting(
    numberOf(BROKER_LIMITS.unackedMax),
    16_384,
    'Most messages of one subscription that are delivered and not acknowledged, whatever it asks for.',
    reloads,
  ),
});

const limits = table('What clients may hold, so that none of them costs the others more than this.', {
  max_connections: setting(
    numberOf(LISTEN_OPTIONS.connectionsMax),
    65_536,
    'Most connections at once; who comes then is told that the server is full.',
  ),
  max_handshakes: setting(
    numberOf(LISTEN_OPTIONS.halfOpenMax),
    512,
    'Most handshakes under way: at the bound the oldest that was not answered gives way, so that a flood of first packets keeps nobody out.',
  ),
  retry: setting(
    wordOf(['auto', 'always', 'never']),
    'auto',
    'Whether a client has to show first that it is where it says, which costs it a round trip now and then. "auto": when many come at once, as in a flood.',
  ),
  max_message_bytes: setting(bytesOf(whole(1, 64 * MIB)), 16 * MIB, 'Largest payload of a message.'),
  max_memory_bytes: optional(
    bytesOf(whole(MIB, Number.MAX_SAFE_INTEGER)),
    '"1GiB"',
    'Most memory that all clients together can make the transport keep. By default a quarter of the memory of the machine, or of the container, from 64 MiB to 4 GiB.',
  ),
  max_filters_per_client: setting(
    numberOf(BROKER_LIMITS.filtersPerClientMax),
    1_024,
    'Most filters that one client subscribes to.',
    reloads,
  ),
  max_routes: setting(
    numberOf(BROKER_LIMITS.routesMax),
    8_192,
    'Most topics whose subscribers are remembered, a power of two: more take memory, and find their subscribers anew each time.',
  ),
  max_durables: setting(
    numberOf(BROKER_LIMITS.durablesMax),
    100_000,
    'Most durable subscriptions and shared groups, with or without a subscriber.',
    reloads,
  ),
  max_sessions: setting(
    numberOf(BROKER_LIMITS.sessionsMax),
    250_000,
    'Most sessions with a name, of clients that are connected or away.',
    reloads,
  ),
  max_session_expiry: setting(
    durationOf(BROKER_LIMITS.sessionExpiryMaxMs),
    7 * DAY,
    'A session outlives its connection for so long at most, whatever its client asks for; "4294967295ms": for ever, if it asks for that.',
    reloads,
  ),
  max_will_bytes: setting(
    bytesOf(BROKER_LIMITS.willBytesMax),
    64 * MIB,
    'Most bytes of all wills together.',
    reloads,
  ),
  max_retained_bytes: setting(
    bytesOf(BROKER_LIMITS.retainedBytesMax),
    64 * MIB,
    'Most bytes of the last values of all topics together: they are in memory.',
    reloads,
  ),
  connect_rate: setting(
    numberOf(BROKER_LIMITS.connectRate),
    0,
    'Most connections that are let in a second; the others have their turn after them, or come back. 0: as many as come.',
    reloads,
  ),
});

const logging = table('What the process itself has to say, on stderr unless there is a file.', {
  level: setting(
    wordOf(['debug', 'info', 'warn', 'error']),
    'info',
    'The least important lines that are written. "debug" has one for each client that comes and goes.',
    reloads,
  ),
  format: setting(
    wordOf(['text', 'json']),
    'text',
    'Lines for people, or one JSON object a line for what collects logs.',
  ),
  file: optional(
    path,
    '"/var/log/jsp/broker.log"',
    'Appended to, and opened anew when the broker reloads, so that logs can be rotated. By default stderr.',
  ),
});

const telemetry = table('Traces by OpenTelemetry, for who has installed it.', {
  enabled: setting(
    yesOrNo,
    false,
    'Spans of messages that come with a trace context. Needs @opentelemetry/api beside this package, and an SDK that exports them, loaded with NODE_OPTIONS.',
  ),
});

/** All tables. */
export const SETTINGS = table('', {
  broker,
  transport,
  store,
  log,
  backplane: BACKPLANE_SETTINGS,
  queues,
  delivery,
  limits,
  auth: AUTH_SETTINGS,
  http: HTTP_SETTINGS,
  mqtt: MQTT_SETTINGS,
  front: FRONT_SETTINGS,
  logging,
  telemetry,
});

export type SettingValues = ValuesOf<typeof SETTINGS.fields>;

function pinnedUrl(value: unknown): string | null {
  return isPinnedUrl(value)
    ? null
    : 'a URL with the fingerprint of its broker: jsp://<fingerprint>@host:port';
}

/** A value that this function takes; what it throws has the reason behind a colon. */
function saidBy(parse: (text: string) => unknown): OptionCheck {
  return (value) => {
    try {
      parse(value as string);
      return null;
    } catch (error) {
      return `as this says (${(error as Error).message})`;
    }
  };
}
