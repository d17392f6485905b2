import { totalmem } from 'node:os';
import { JspError } from '../base/errors.ts';
import { isLoopback } from '../base/ip-address.ts';
import {
  anObject,
  anything,
  checkOptions,
  chosenOptions,
  flag,
  number,
  type OptionCheck,
  type OptionTable,
  oneOf,
  text,
  whole,
} from '../base/options.ts';
import type { RandomSource } from '../base/random.ts';
import type { Lz4Preference } from '../protocol/compress/index.ts';
import {
  type AeadPreference,
  type CipherSuiteName,
  chooseAead,
  type MlKem,
  type MlKemName,
  nobleMlDsa,
  nobleMlKem,
} from '../protocol/crypto/index.ts';
import {
  type ConnectionConfig,
  checkedConnectionConfig,
  DATAGRAM_BYTES_MAX,
  DATAGRAM_BYTES_MIN,
  defaultConnectionConfig,
  INTERNET_MTU_MAX,
  PRIORITY_NAMES,
  ProtectionMode,
  type Delivery as WireDelivery,
  type Priority as WirePriority,
} from '../protocol/endpoint/index.ts';
import { type Clock, systemClock } from '../udp/clock.ts';
import type { DatagramSocket } from '../udp/datagram-socket.ts';
import { type ImpairmentOptions, impairSocket } from '../udp/impaired-socket.ts';
import { type AlertOptions, alerts } from './alerts.ts';
import {
  cipherSuites,
  type KeyUpdateOptions,
  keyUpdate,
  keyUpdateConfig,
  offeredSuites,
} from './cipher-suites.ts';
import {
  type Compression,
  type CompressionChoice,
  compression,
  compressionChoice,
  compressionOptions,
} from './compression.ts';
import { keyLogOf } from './key-log.ts';
import { PROFILE_NAMES, type ProfileName, profiles } from './profiles.ts';
import { type Protectable, type Protection, protection, protectionOf } from './protection.ts';
import { qlogTracing } from './qlog-files.ts';
import { loadNodeMlDsa, loadNodeMlKem, systemRandom } from './system-crypto.ts';

/** What an application may say to `listen`, `connect`, `openStream` and `send`, and what the core and the wire make of it: one file, for an option is looked up here. */

export type MlKemPreference = 'auto' | MlKemName;

/** What `listen` and `connect` have in common. Sizes in bytes, durations in ms. */
export interface TransportOptions {
  /**
   * A kind of application whose options these are to be: each option that is not given has its value of the profile, and only then its
   * default. `jsp profiles` prints them with their reasons, and they can be read in `profiles`. Both sides should have the same.
   * Default none.
   */
  profile?: ProfileName | undefined;
  /** Implementation of ChaCha20-Poly1305; the environment variable JSP_AEAD chooses where this is not given. Default `auto`. */
  aead?: AeadPreference | undefined;
  /**
   * The cipher suites that this side offers, the preferred first; the environment variable JSP_CIPHER_SUITES names them, with commas between, where this is
   * not given. A connection has the one that is cheapest for the slower of both sides, as measured, of those that both offer. Default: both; ChaCha20-Poly1305
   * alone where `aead` is neither `auto` nor `native` nor `node`, or `random` is given.
   */
  cipherSuites?: readonly CipherSuiteName[] | undefined;
  /**
   * When this side updates the keys of a connection; the peer may do so at any time. False: never, and the peer must not either, which ends a connection with
   * AES-256-GCM after eight million packets. Default: after 4,194,304 packets, or an hour.
   */
  keyUpdate?: KeyUpdateOptions | false | undefined;
  /**
   * Implementation of ML-KEM-768, and of the ML-DSA-65 of hybrid identities; the environment variable JSP_ML_KEM chooses where this is not
   * given. Default `auto`: that of `node:crypto` where this Node has it (24.7 and newer), else the one in JavaScript; with a `random` of your own
   * always the latter.
   */
  mlKem?: MlKemPreference | undefined;
  /**
   * UDP payload of the datagrams that this side sends, 512 to 65,507; what the peer sends is its own affair, but for
   * {@link datagramBytesMax}. Default 1,200, which grows where more is proved. A given one does not grow; where the path carries no more it
   * shrinks all the same, which the event `mtu` and the metrics `mtu` and `mtuFalls` tell. With `{ exactly: bytes }` the connection fails
   * with ERR_JSP_MTU_NOT_CARRIED instead. A server sends no larger datagrams than it got until the path has carried larger ones.
   */
  mtu?: number | { readonly exactly: number } | undefined;
  /** Largest datagram that this side takes, told to the peer as `max_datagram_bytes`; 512 to 65,507, which is the default. */
  datagramBytesMax?: number | undefined;
  /**
   * How the rate of sending finds what the path carries: RFC 9438 or RFC 9002 section 7, which slow down for each loss, or
   * draft-ietf-ccwg-bbr, which keeps its rate on a path that loses up to a fifth of all packets whatever it is sent. Default `cubic`; where
   * the connection asks for `protection`, `bbr`: what slows down for each loss has no room for what makes up for losses.
   */
  congestion?: 'bbr' | 'cubic' | 'newreno' | undefined;
  /**
   * What is done against loss for messages of streams that do not say themselves, those that the peer opens included. It is each side's own
   * affair what it sends. Default `off`.
   */
  protection?: Protection | undefined;
  /** Another name of `protection`: forward error correction, which is what many look for. */
  fec?: Protection | undefined;
  /**
   * What is compressed of what this side sends, and whether it opens what the peer compresses. Default false. Where both sides say more than
   * that, messages of streams that do not say themselves are compressed, those of streams that the peer opens included.
   *
   * @example
   * const compression = { mode: 'auto', dictionaries: [readFileSync('readings.dict')] } as const;
   * const listener = await listen({ identity, compression });
   * const connection = await connect(listener.url, { compression });
   * const stream = connection.openStream(); // compressed where that pays
   * stream.send(password, { compression: false }); // but for what holds a secret beside text of others
   */
  compression?: Compression | undefined;
  /**
   * Implementation of LZ4; the environment variable JSP_LZ4 chooses where this is not given. Default `auto`: `lz4-napi` for long messages,
   * where it loads, and for the others the one in JavaScript, which is faster for them.
   */
  lz4?: Lz4Preference | undefined;
  /** Default 10,000. */
  handshakeTimeoutMs?: number | undefined;
  /** Default 30,000; 0 = never. */
  idleTimeoutMs?: number | undefined;
  /** Default 5,000; 0 = none. */
  heartbeatMs?: number | undefined;
  /** Default 3. */
  heartbeatMisses?: number | undefined;
  /** Default 16 MiB. */
  messageBytesMax?: number | undefined;
  /** Most that the receive window of a stream grows to, which begins small. Default a little more than a maximal message. */
  streamWindowBytes?: number | undefined;
  /** Most that the receive window of a connection grows to. Default twice that of a stream. */
  connectionWindowBytes?: number | undefined;
  /** Streams that the peer may have open at once. Default 100. */
  streamsMax?: number | undefined;
  /** The default of streams' own `allowHalfOpen`, also for those that the peer opens. Default false. */
  allowHalfOpen?: boolean | undefined;
  /** What `openStream` has for options that it is not given, on connections of this side. Default none. */
  streamDefaults?: StreamOptions | undefined;
  /** Memory for best-effort messages that are incomplete or unread. Default 1 MiB. */
  bestEffortBytes?: number | undefined;
  /**
   * Most memory that all peers of this socket together can make the process keep. Default a quarter of the machine's, or the container's,
   * memory, from 64 MiB to 4 GiB. What comes and finds none counts as lost, and comes again (metric `packetsRefused`); a client for which there
   * are not some 120 KB is not let in.
   */
  memoryBytesMax?: number | undefined;
  /**
   * Delay that this side's best-effort and partial messages may add in the queues of the path, and as long again in its own, in ms. When
   * more is offered than the path carries, the newest best-effort messages of each stream are sent and older ones given up (outcome
   * `dropped`, metric `messagesThinned`), partial ones wait for their turn or their deadline. Default 50, which is three updates of a game
   * at 60 Hz and more than good links jitter; 0 = any.
   */
  thinningDelayMs?: number | undefined;
  /**
   * Most delay that all this side sends is to add in the queues of the path, in ms, whatever `congestion` would allow; 0 = any. What goes on
   * top where less would take from the rate, because others fill the queue or the path swings by itself, is seen to. Default: any, but while
   * messages of the class `system` are sent, and for 10 s after, a twelfth of the shortest round trip, at least 2 ms; so they do not wait behind
   * the transfers of the same connection.
   */
  queueDelayMaxMs?: number | undefined;
  /** How long an incomplete message may wait for its next byte before the connection is closed. Default 30,000; 0 = for ever. */
  stallTimeoutMs?: number | undefined;
  /** Asked of the system for the socket; it may grant less. Default 4 MiB. */
  receiveBufferBytes?: number | undefined;
  /** The same for sending. Default 4 MiB. */
  sendBufferBytes?: number | undefined;
  /**
   * A folder for logs of what each connection does, a `.sqlog` file each, in the format of qlog, which viewers such as qvis show: packets with
   * their frames, losses, round-trip times, windows. No payload of messages and no keys are in it. Default: that of the environment variable
   * `JSP_QLOGDIR`, else none.
   */
  qlogDir?: string | undefined;
  /** From when on the `alert` event of a connection tells that something is not as it should be. */
  alerts?: AlertOptions | undefined;
  /**
   * Is told the secrets of connections, a line each in the style of NSS (`SSLKEYLOGFILE`), so that tools such as Wireshark can open a capture.
   * Whoever has these lines reads all that the connections carry: for debugging only, never where the traffic matters. The environment
   * variable `JSPKEYLOGFILE` names a file that they are appended to, with or without this. Default none.
   */
  keyLog?: ((line: string) => void) | undefined;
  /** A bad network to try the application on, "fake lag": what happens to this side's datagrams. Default none. */
  impairment?: ImpairmentOptions | undefined;
  /**
   * A socket to use instead of a UDP socket of our own, such as the network lab's; it is closed with the connection or listener. One of your
   * own collects what comes in a `ReceiveQueue`.
   */
  socket?: DatagramSocket | undefined;
  /** The clock that belongs to `socket`. */
  clock?: Clock | undefined;
  /** The source of random bytes that belongs to `socket`. Only for the lab: a seeded one gives no secrecy. */
  random?: RandomSource | undefined;
}

/**
 * `reliable`: exactly once. `partial`: exactly once, or not at all once its lifetime is over. `bestEffort`: sent once,
 * never again, outside flow control.
 */
export type Delivery = 'reliable' | 'partial' | 'bestEffort';

/** Which traffic goes first: `system` with at most a tenth of the rate, then `media`, `chat` and `bulk` at 4:2:1. */
export type Priority = 'system' | 'media' | 'chat' | 'bulk';

/**
 * What became of a message: `acknowledged`, complete at the peer's transport; `expired`, its lifetime ended before, here, on the way
 * or unread there; `lost`, a
 * best-effort message of which a packet was lost; `dropped`, given up by the peer, because the stream was reset, or, best effort, for newer
 * ones of its stream while the path carries less than is offered.
 */
export type Outcome = 'acknowledged' | 'expired' | 'lost' | 'dropped';

export interface StreamOptions {
  /** Default `chat`. */
  priority?: Priority | undefined;
  /** Default `reliable`. */
  delivery?: Delivery | undefined;
  /**
   * Whether messages come out in the order they were sent. Default true. Of best-effort messages an ordered stream drops those that come
   * after a newer one (`messagesLate` of the peer's metrics): what games want of states. Unordered, each is delivered as it comes.
   */
  ordered?: boolean | undefined;
  /** Lifetime of `partial` and `bestEffort` messages that name none, in ms. Default none. */
  lifetimeMs?: number | undefined;
  /** At most 64 bytes of UTF-8 that the peer sees as `stream.label`. Default empty. */
  label?: string | undefined;
  /**
   * Whether this side may go on sending for as long as it likes when the peer has ended its own direction, as of sockets in `node:net`.
   * Default: what `listen` or `connect` was told, else false: then this side ends, too, behind what listeners of `end`, or the code after
   * a `for await`, send at once.
   */
  allowHalfOpen?: boolean | undefined;
  /** Unsent bytes above which `send` answers false. Default 1 MiB. */
  highWaterMark?: number | undefined;
  /** What is done against loss for this side's messages that do not say themselves. Default: what `listen` or `connect` was told. */
  protection?: Protection | undefined;
  /** Another name of `protection`. */
  fec?: Protection | undefined;
  /** Whether this side's messages that do not say themselves are compressed. Default: what `listen` or `connect` was told. */
  compression?: CompressionChoice | undefined;
  /**
   * Whether what this side sends on it may go as early data, on a connection that was made with `earlyData`: before the handshake is complete, and so
   * that somebody who captures it could have it handled twice if the server did not see to it. Best-effort messages wait in any case. Default false.
   */
  earlyData?: boolean | undefined;
}

export interface SendOptions {
  /** Lower than the stream's own only: a reliable stream can send a best-effort message, not the other way round. */
  delivery?: Delivery | undefined;
  /**
   * Not delivered later than this many ms from now. Makes a reliable message `partial`. Half of the measured round-trip time counts as the
   * time under way: what would come too late is not sent, and the outcome is `expired`. On a path whose two directions differ, a message may
   * come late by half of the difference, or be given up that much too early.
   */
  lifetimeMs?: number | undefined;
  /** The caller will not touch the bytes again, so they need not be copied. */
  transfer?: boolean | undefined;
  /**
   * What is done against loss for this message. Default: that of the stream. Where messages of one stream name different aims or codes, those
   * of the latest hold for all that are protected; one that is `off` is sent without protection in any case.
   */
  protection?: Protection | undefined;
  /** Another name of `protection`. */
  fec?: Protection | undefined;
  /** Whether this message is compressed. Default: as the stream says. */
  compression?: CompressionChoice | undefined;
  /** Whether this message may go as early data. It does unless one before it on its stream may not. Default: as the stream says. */
  earlyData?: boolean | undefined;
}

/** Names of the controllers that the option `congestion` chooses from. */
export const CONTROLLERS = ['cubic', 'bbr', 'newreno'] as const;

/** Options that go into the connection's config under their own name, which checks their range. */
const CONFIG_OPTIONS = {
  congestion: oneOf(CONTROLLERS),
  handshakeTimeoutMs: anything,
  idleTimeoutMs: anything,
  heartbeatMs: anything,
  heartbeatMisses: anything,
  messageBytesMax: anything,
  streamWindowBytes: anything,
  connectionWindowBytes: anything,
  streamsMax: anything,
  bestEffortBytes: anything,
  memoryBytesMax: anything,
  stallTimeoutMs: anything,
  thinningDelayMs: anything,
  queueDelayMaxMs: anything,
} satisfies Partial<OptionTable<TransportOptions>>;

/** Throws by itself what it has to say of members. */
const streamDefaults: OptionCheck = (value) => {
  const must = anObject(value);
  if (must !== null) return must;
  checkOptions('streamDefaults', value as StreamOptions, STREAM_OPTIONS);
  protectionOf('streamDefaults', value as StreamOptions);
  return null;
};

const AEAD_PREFERENCES: readonly AeadPreference[] = ['auto', 'native', 'sodium', 'node', 'noble'];

/** What the options of {@link TransportOptions} may be. */
export const TRANSPORT_OPTIONS: OptionTable<TransportOptions> = {
  ...CONFIG_OPTIONS,
  profile: oneOf(PROFILE_NAMES),
  streamDefaults: streamDefaults,
  aead: oneOf(AEAD_PREFERENCES),
  cipherSuites,
  keyUpdate,
  mlKem: oneOf(['auto', 'node', 'noble']),
  protection,
  fec: protection,
  compression,
  lz4: oneOf(['auto', 'native', 'js']),
  mtu: anything,
  datagramBytesMax: whole(DATAGRAM_BYTES_MIN, DATAGRAM_BYTES_MAX),
  allowHalfOpen: flag,
  receiveBufferBytes: whole(1, 2 ** 31 - 1),
  sendBufferBytes: whole(1, 2 ** 31 - 1),
  qlogDir: text,
  alerts,
  keyLog: (value) => (typeof value === 'function' ? null : 'a function'),
  impairment: anObject,
  socket: anObject,
  clock: anObject,
  random: anObject,
};

/** Names in the order of the wire's numbers. */
export const PRIORITIES: readonly Priority[] = PRIORITY_NAMES;
export const DELIVERIES: readonly Delivery[] = ['reliable', 'partial', 'bestEffort'];
export const OUTCOMES: readonly Outcome[] = ['acknowledged', 'expired', 'lost', 'dropped'];

/** What an application's code for a close or a reset may be. */
export const APPLICATION_CODE = whole(0, Number.MAX_SAFE_INTEGER);

/** What the options of `openStream`, `send` and `reset` may be. */
export const STREAM_OPTIONS: OptionTable<StreamOptions> = {
  priority: oneOf(PRIORITIES),
  delivery: oneOf(DELIVERIES),
  ordered: flag,
  lifetimeMs: number(0, Number.POSITIVE_INFINITY),
  label: text,
  allowHalfOpen: flag,
  highWaterMark: number(0, Number.POSITIVE_INFINITY),
  protection,
  fec: protection,
  compression: compressionChoice,
  earlyData: flag,
};
export const SEND_OPTIONS: OptionTable<SendOptions> = {
  delivery: oneOf(DELIVERIES),
  lifetimeMs: number(0, Number.POSITIVE_INFINITY),
  transfer: flag,
  protection,
  fec: protection,
  compression: compressionChoice,
  earlyData: flag,
};
export const RESET_OPTIONS: OptionTable<{ code: number }> = { code: APPLICATION_CODE };

/** Options with their defaults, for a socket that is bound. */
export function connectionConfig(
  options: TransportOptions,
  socket: DatagramSocket,
  loopback: boolean,
): ConnectionConfig {
  const preference = options.aead ?? environmentAead();
  const config = defaultConnectionConfig(chooseAead(preference));
  config.suites = offeredSuites(config.aead, preference, options.cipherSuites, options.random !== undefined);
  config.keyUpdate = keyUpdateConfig(options.keyUpdate, config.keyUpdate);
  config.mlKem = mlKemOf(options);
  config.mlDsa = config.mlKem === nobleMlKem ? nobleMlDsa : (loadNodeMlDsa() ?? nobleMlDsa);
  const protection = protectionOf('protection', options);
  config.protection = protection ?? config.protection;
  config.protectsByNetwork = protection === null;
  config.compression = compressionOptions(options, clockOf(options));
  if (config.protection.mode !== ProtectionMode.OFF) config.congestion = 'bbr'; // [FEC-9] unless the options choose
  if (options.mtu !== undefined) {
    config.mtuIsExact = typeof options.mtu === 'object' && options.mtu !== null;
    config.mtu = config.mtuIsExact ? (options.mtu as { exactly: number }).exactly : (options.mtu as number);
    config.mtuMax = config.mtu;
  } else {
    config.mtuMax = loopback ? LOOPBACK_MTU_MAX : INTERNET_MTU_MAX;
  }
  config.receiveDatagramBytesMax = options.datagramBytesMax ?? config.receiveDatagramBytesMax;
  config.setsDontFragment = socket.setsDontFragment ?? false;
  config.usesEcn = socket.usesEcn ?? false;
  config.receiveBufferBytes = socket.receiveBufferBytes;
  config.tracing = qlogTracing(options.qlogDir, socket);
  config.keyLog = keyLogOf(options.keyLog);
  config.memoryBytesMax = defaultMemoryBytes();
  const passedOn: Pick<TransportOptions, keyof typeof CONFIG_OPTIONS> = options;
  return checkedConnectionConfig({ ...config, ...chosenOptions(passedOn, CONFIG_OPTIONS) });
}

/** The options with those of their profile for what they do not say. A listener or connection is made of what this answers. */
export function withProfile<T extends TransportOptions>(options: T): T {
  const { profile, streamDefaults } = options;
  if (profile === undefined) return options;
  const presets: TransportOptions = profiles[profile];
  const merged = laidOver<TransportOptions>(presets, options) as T;
  if (presets.streamDefaults !== undefined && streamDefaults !== undefined)
    merged.streamDefaults = laidOver(presets.streamDefaults, streamDefaults);
  return merged;
}

/** `options` with `defaults` for what they do not say. What they say under one name of an option holds also against the other name. */
export function laidOver<T extends Protectable>(defaults: Partial<T>, options: T): T {
  const isProtectionSaid = options.protection !== undefined || options.fec !== undefined;
  const merged = (
    isProtectionSaid ? { ...defaults, protection: undefined, fec: undefined } : { ...defaults }
  ) as T;
  for (const name in options) if (options[name] !== undefined) merged[name] = options[name];
  return merged;
}

/** What streams of a connection have that are not told otherwise. */
export function streamDefaultsOf(options: TransportOptions): StreamOptions {
  return laidOver<StreamOptions>(
    { allowHalfOpen: options.allowHalfOpen ?? false },
    options.streamDefaults ?? {},
  );
}

export function clockOf(options: TransportOptions): Clock {
  return options.clock ?? systemClock;
}

export function randomOf(options: TransportOptions): RandomSource {
  return options.random ?? systemRandom;
}

/** The socket behind the bad network that the options ask for, if any. */
export function impairedOr(socket: DatagramSocket, options: TransportOptions): DatagramSocket {
  return options.impairment === undefined
    ? socket
    : impairSocket(socket, options.impairment, clockOf(options));
}

/** Which peers are near enough for large packets: behind a bad network none is. */
export function nearPeers(options: TransportOptions): (host: string) => boolean {
  return options.impairment === undefined ? isLoopback : () => false;
}

/** Numbers of the wire for the names of the API. */
export function priorityNumber(priority: Priority): WirePriority {
  const number = PRIORITIES.indexOf(priority);
  if (number < 0)
    throw new JspError('ERR_JSP_OPTION_INVALID', `priority must be one of ${PRIORITIES.join(', ')}`);
  return number as WirePriority;
}

export function deliveryNumber(delivery: Delivery): WireDelivery {
  const number = DELIVERIES.indexOf(delivery);
  if (number < 0)
    throw new JspError('ERR_JSP_OPTION_INVALID', `delivery must be one of ${DELIVERIES.join(', ')}`);
  return number as WireDelivery;
}

/** Asked once: the system reads it out of files, for 35 us. */
export function defaultMemoryBytes(): number {
  if (memoryBytes > 0) return memoryBytes;
  const granted = process.constrainedMemory() ?? 0;
  const machine = totalmem();
  const bytes = granted > 0 && granted < machine ? granted : machine;
  memoryBytes = Math.min(4 * GIB, Math.max(GIB / 16, Math.floor(bytes / 4)));
  return memoryBytes;
}

function mlKemOf(options: TransportOptions): MlKem {
  const preference = options.mlKem ?? process.env.JSP_ML_KEM ?? 'auto';
  if (preference !== 'auto' && preference !== 'node' && preference !== 'noble') {
    throw new JspError('ERR_JSP_OPTION_INVALID', `mlKem must be auto, node or noble, not "${preference}"`);
  }
  if (preference === 'noble' || (preference === 'auto' && options.random !== undefined)) return nobleMlKem;
  const native = loadNodeMlKem();
  if (native !== null) return native;
  if (preference === 'auto') return nobleMlKem;
  throw new JspError(
    'ERR_JSP_OPTION_INVALID',
    `this Node (${process.version}) has no ML-KEM, which comes with 24.7: choose auto or noble`,
  );
}

function environmentAead(): AeadPreference {
  const name = process.env.JSP_AEAD ?? 'auto';
  const known = AEAD_PREFERENCES.find((each) => each === name);
  if (known !== undefined) return known;
  throw new JspError(
    'ERR_JSP_OPTION_INVALID',
    `JSP_AEAD must be one of ${AEAD_PREFERENCES.join(', ')}, not "${name}"`,
  );
}

const GIB = 2 ** 30;
let memoryBytes = 0;
/** Larger loopback packets cost less a byte. */
const LOOPBACK_MTU_MAX = 32_768;
