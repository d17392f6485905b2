/**
 * Profiles: options for a kind of application under one name. Each value stands beside its reason, and is here because it has an effect that
 * test/transport/profiles.test.ts measures. A profile decides when messages arrive and what that costs, never whether they do or in which
 * order: that is the application's to say.
 */

/** A value of a profile. */
export interface Preset<T> {
  readonly value: T;
  /** What it brings beside the default, and what it costs, in a sentence for people. */
  readonly reason: string;
}

function because<const T>(value: T, reason: string): Preset<T> {
  return { value, reason };
}

const KIB = 1_024;
const MIB = 1_024 * KIB;

/** The values of each profile, by the option of `listen` and `connect` that they are for. */
export const PRESETS = {
  gaming: {
    protection: because(
      'auto',
      'a lost packet is made up for by the next ones instead of a round trip later; takes BBR, and costs nothing on a clean path',
    ),
    heartbeatMs: because(1_000, 'a player who is gone is noticed after 3 s instead of 15 s'),
    queueDelayMaxMs: because(
      10,
      'a download on the same connection delays states by 10 ms, not by the whole queue of the path; it gives way to what others send',
    ),
    streamDefaults: because(
      { priority: 'media' },
      'streams of the game get four parts where a download of class bulk gets one, instead of two',
    ),
  },
  fileTransfer: {
    congestion: because(
      'bbr',
      'keeps its rate on a long path that loses packets, where CUBIC slows down for each',
    ),
    heartbeatMisses: because(
      18,
      'a path that is gone for a minute does not end the transfer: 90 s instead of 15 s',
    ),
    idleTimeoutMs: because(
      120_000,
      'longer than the silence that heartbeatMisses forgives, or it would end it first',
    ),
    receiveBufferBytes: because(
      8 * MIB,
      'a burst of a fast path waits in the socket while the process is busy',
    ),
    sendBufferBytes: because(8 * MIB, 'the same on the way out'),
    streamDefaults: because({ priority: 'bulk' }, 'other streams of the connection go before the files'),
  },
  mobileChat: {
    congestion: because(
      'bbr',
      'a picture goes out at the rate of the radio although that loses packets, and a line of text behind it waits far less than in the full queue of CUBIC',
    ),
    compression: because(
      true,
      'text takes half of the bytes; pictures, which do not shrink, stay as they are',
    ),
    heartbeatMs: because(
      25_000,
      'the radio wakes for two or three heartbeats a minute instead of twelve, and NAT bindings, which last 30 s and more, stay',
    ),
    heartbeatMisses: because(4, 'a lift or a tunnel of more than a minute does not end the connection'),
    idleTimeoutMs: because(
      120_000,
      'longer than the silence that heartbeatMisses forgives, or it would end it first',
    ),
  },
  iot: {
    mtu: because(512, 'no datagram sent is above 512 bytes, which narrow links carry whole'),
    datagramBytesMax: because(512, 'nor is one that comes, so that small receive buffers do'),
    receiveBufferBytes: because(512 * KIB, 'a device with little memory has little to give to its system'),
    sendBufferBytes: because(512 * KIB, 'the same on the way out'),
    messageBytesMax: because(
      64 * KIB,
      'a reading or a command is small; a larger message is refused before memory is taken for it',
    ),
    streamWindowBytes: because(128 * KIB, 'unread messages of one stream keep no more memory than this'),
    connectionWindowBytes: because(256 * KIB, 'nor do those of all streams together'),
    compression: because(
      true,
      'readings repeat themselves, and each byte costs energy; a dictionary of your own makes small ones smaller still',
    ),
    bestEffortBytes: because(64 * KIB, 'the same of best-effort messages that wait unread'),
    heartbeatMs: because(30_000, 'the radio wakes twice a minute instead of twelve times'),
    heartbeatMisses: because(
      10,
      'a device that is out of reach for four minutes keeps its connection, and need not pay for a new handshake',
    ),
    idleTimeoutMs: because(
      300_000,
      'longer than any silence that heartbeatMisses forgives, or it would end it first',
    ),
  },
  broker: {
    protection: because(
      'auto',
      'subscribers on lossy links get messages without waiting for a round trip; takes BBR, and costs nothing on a clean path',
    ),
    heartbeatMs: because(10_000, 'idle clients, of which a broker has many, cost half the packets'),
  },
} as const satisfies Record<string, Readonly<Record<string, Preset<unknown>>>>;

/** Whom each profile is for. */
export const PURPOSES: Readonly<Record<ProfileName, string>> = {
  gaming: 'states and inputs many times a second, events beside them, perhaps over Wi-Fi',
  fileTransfer: 'large files and backups, over paths that are fast, long or bad',
  mobileChat: 'text and pictures on a telephone, idle most of the time',
  iot: 'small devices that send small readings over narrow links and save their battery',
  broker: 'servers with many clients, on whose messages somebody waits',
};

/** The name of a profile. */
export type ProfileName = keyof typeof PRESETS;

/** The options of a profile, as `listen` and `connect` take them. */
export type Profiles = {
  readonly [P in ProfileName]: {
    readonly [K in keyof (typeof PRESETS)[P]]: (typeof PRESETS)[P][K] extends Preset<infer V>
      ? V extends number
        ? number
        : V
      : never;
  };
};

export const PROFILE_NAMES = Object.keys(PRESETS) as ProfileName[];

/**
 * The profiles, to read, and to spread: `connect(url, { ...profiles.gaming, heartbeatMs: 500 })` is what
 * `connect(url, { profile: 'gaming', heartbeatMs: 500 })` is. Frozen.
 */
export const profiles: Profiles = Object.freeze(
  Object.fromEntries(PROFILE_NAMES.map((name) => [name, valuesOf(PRESETS[name])])) as Profiles,
);

function valuesOf(presets: Readonly<Record<string, Preset<unknown>>>): object {
  const values = Object.entries(presets).map(([option, { value }]) => [option, frozen(value)]);
  return Object.freeze(Object.fromEntries(values));
}

function frozen(value: unknown): unknown {
  return typeof value === 'object' ? Object.freeze(value) : value;
}
