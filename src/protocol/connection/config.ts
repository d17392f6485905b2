import { JspError } from '../../base/errors.ts';
import { shown } from '../../base/options.ts';
import { MILLISECOND } from '../../base/time.ts';
import { COMPRESSION_OFF, type CompressionOptions, compressionParameter } from '../compress/compression.ts';
import type { CongestionName } from '../congestion/controller.ts';
import type { AeadProvider } from '../crypto/aead.ts';
import { type MlKem, nobleMlKem } from '../crypto/hybrid-kem.ts';
import { type MlDsa, nobleMlDsa } from '../crypto/ml-dsa.ts';
import { PROTECTION_OFF, type ProtectionOptions } from '../fec/protection.ts';
import type { OfferedSuite } from '../handshake/suite-choice.ts';
import { INTERNET_MTU_MAX } from '../path/mtu-discovery.ts';
import type { KeyLog, Tracing } from '../trace/trace.ts';
import {
  DATAGRAM_BYTES_MAX,
  DATAGRAM_BYTES_MIN,
  defaultParameters,
  type TransportParameters,
} from '../wire/transport-parameters.ts';
import type { KeyUpdateConfig } from './key-updates.ts';

/** Limits and choices of a connection. Every field has a default in {@link defaultConnectionConfig}. */
export interface ConnectionConfig {
  /** Of ChaCha20-Poly1305, which Initial packets are sealed with whatever comes of the handshake. */
  aead: AeadProvider;
  /** What other packets may be sealed with, at least one, the preferred first. Default: `aead` alone. [HS-60] */
  suites: readonly OfferedSuite[];
  /** Default: the one in JavaScript, which is made of the random bytes it is handed alone. */
  mlKem: MlKem;
  /** Of hybrid identities. Default: the one in JavaScript, which signs the same thing alike each time. */
  mlDsa: MlDsa;
  /** Where connections are traced to. Default null: nowhere. [TRC-1] */
  tracing: Tracing | null;
  /** Where the secrets of connections are told. Default null: nowhere. [TRC-11] */
  keyLog: KeyLog | null;
  /** UDP payload bytes of a datagram until more is proved; 512 to 65,507. Default 1,200. */
  mtu: number;
  /** Rather no connection than packets that are smaller than `mtu`. Default false. */
  mtuIsExact: boolean;
  /** Largest datagram to look for when the path may carry more; equal to `mtu` turns the search off. */
  mtuMax: number;
  /** The network under the socket drops what it does not carry whole, instead of taking it apart. Default false. */
  setsDontFragment: boolean;
  /** The socket can set and read the ECN bits of the IP header. Default false. [REC-81] */
  usesEcn: boolean;
  /** Largest datagram this endpoint takes in. Default 65,507. */
  receiveDatagramBytesMax: number;
  /** Bytes that the socket was granted for receiving, told to the peer; 0 = unknown. */
  receiveBufferBytes: number;
  /** Peers may move to another address on purpose; their NAT may give them one in any case. Default true. [CON-92] */
  takesMigration: boolean;
  congestion: CongestionName;
  /** What messages are protected by against loss, of streams that do not say. Default off. [FEC-1] */
  protection: ProtectionOptions;
  /** Nobody chose that, and on networks that lose packets messages are protected. Default true. [CON-67] */
  protectsByNetwork: boolean;
  /** What is compressed, and opened. Default nothing. */
  compression: CompressionOptions;
  /** Most bytes in flight, whatever the congestion controller would allow. */
  congestionWindowBytesMax: number;
  handshakeTimeoutMs: number;
  /** How long a server's application may take to decide about a client. [HS-45] */
  admissionMs: number;
  /** Silence after which the connection is given up; 0 = never. */
  idleTimeoutMs: number;
  /** Silence after which a heartbeat is sent; 0 = no heartbeats. */
  heartbeatMs: number;
  /** Heartbeats without any answer after which the connection is given up. */
  heartbeatMisses: number;
  /** Largest message, both taken and sent. */
  messageBytesMax: number;
  /** Most that the receive window of a stream grows to; raised to hold one message of maximal size. */
  streamWindowBytes: number;
  /** Most that the receive window of the connection grows to; raised to twice a stream's. */
  connectionWindowBytes: number;
  /** What these windows are at first; lowered to what they may be at most, and to what is sure to be there for every stream. [STR-34] */
  streamWindowStartBytes: number;
  connectionWindowStartBytes: number;
  /** Most memory that all peers of the endpoint together can make it keep. [CON-50] */
  memoryBytesMax: number;
  /** How long an incomplete message may wait for its next byte before the connection is given up; 0 = for ever. [STR-35] */
  stallTimeoutMs: number;
  /** Streams that the peer may have open at once. */
  streamsMax: number;
  /** Memory for best-effort messages that are incomplete or unread. */
  bestEffortBytes: number;
  /** Delay that best-effort and partial messages may add in the queue of the path, and as long again in that of the sender; 0 = any. */
  thinningDelayMs: number;
  /** Most delay that all messages of this side are to add in the queue of the path; 0 = any. Null: only while urgent messages are sent. [SCH-6] [SCH-10] */
  queueDelayMaxMs: number | null;
  /** When keys are updated; null: never, and the peer must not either. [PKT-18] */
  keyUpdate: KeyUpdateConfig | null;
  /** Packets that may fail to open before the connection is closed: the AEAD's integrity limit, 2^36. */
  openFailuresMax: number;
  /** Longest time an acknowledgement is held back. */
  ackDelayMaxMs: number;
  /** Memory for symbols and repairs of the peer, to recover lost packets with; 0 = it must not send any. [FEC-40] */
  repairBytes: number;
}

/** The defaults, with `aead` from the caller. */
export function defaultConnectionConfig(aead: AeadProvider): ConnectionConfig {
  return {
    aead,
    suites: [{ aead, costNs: 0 }],
    mlKem: nobleMlKem,
    mlDsa: nobleMlDsa,
    tracing: null,
    keyLog: null,
    mtu: 1_200,
    mtuIsExact: false,
    mtuMax: 1_200,
    setsDontFragment: false,
    usesEcn: false,
    receiveDatagramBytesMax: DATAGRAM_BYTES_MAX,
    receiveBufferBytes: 0,
    takesMigration: true,
    congestion: 'cubic',
    protection: PROTECTION_OFF,
    protectsByNetwork: true,
    compression: COMPRESSION_OFF,
    congestionWindowBytesMax: 64 * MIB,
    handshakeTimeoutMs: 10_000,
    admissionMs: 5_000,
    idleTimeoutMs: 30_000,
    heartbeatMs: 5_000,
    heartbeatMisses: 3,
    messageBytesMax: 16 * MIB,
    streamWindowBytes: 1 * MIB,
    connectionWindowBytes: 2 * MIB,
    streamWindowStartBytes: 128 * 1024,
    connectionWindowStartBytes: 256 * 1024,
    memoryBytesMax: 1024 * MIB,
    stallTimeoutMs: 30_000,
    streamsMax: 100,
    bestEffortBytes: 1 * MIB,
    thinningDelayMs: 50,
    queueDelayMaxMs: null,
    keyUpdate: { packets: 2 ** 22, ageMs: 3_600_000 },
    openFailuresMax: 2 ** 36,
    ackDelayMaxMs: 25,
    repairBytes: 128 * 1024,
  };
}

/** `config` with windows raised to what its largest message needs. Throws {@link JspError} for values out of range. */
export function checkedConnectionConfig(config: ConnectionConfig): ConnectionConfig {
  for (const [name, low, high] of BOUNDS) {
    const value = config[name];
    if (value === null && name === 'queueDelayMaxMs') continue; // [SCH-10] only while urgent messages are sent
    if (value === null || !Number.isInteger(value) || value < low || value > high) {
      throw new JspError(
        'ERR_JSP_OPTION_INVALID',
        `${name} must be a whole number from ${low} to ${high}, not ${shown(value)}`,
      );
    }
  }
  const streamWindowBytes = Math.max(config.streamWindowBytes, config.messageBytesMax + WINDOW_SLACK_BYTES);
  const connectionWindowBytes = Math.max(config.connectionWindowBytes, 2 * streamWindowBytes);
  // A quarter of the connection's window is for what streams have from the start; the rest is for those that grow.
  const shareBytes = Math.floor(connectionWindowBytes / 4 / Math.max(1, config.streamsMax));
  return {
    ...config,
    mtuMax: Math.max(config.mtu, config.mtuMax),
    streamWindowBytes,
    connectionWindowBytes,
    streamWindowStartBytes: Math.min(
      streamWindowBytes,
      config.streamWindowStartBytes,
      Math.max(STREAM_WINDOW_BYTES_MIN, shareBytes),
    ),
    connectionWindowStartBytes: Math.min(connectionWindowBytes, config.connectionWindowStartBytes),
  };
}

/** `config` for a peer: only packets that do not leave the machine may be larger than those of the internet. */
export function configForPeer(
  config: ConnectionConfig,
  isLoopback: boolean,
  memoryBytes: number,
): ConnectionConfig {
  // Where there is little left for many, each newcomer begins with little. [CON-50]
  const share = Math.max(CONNECTION_WINDOW_BYTES_MIN, Math.floor(memoryBytes / NEWCOMERS));
  const connectionWindowStartBytes = Math.min(config.connectionWindowStartBytes, share);
  const mtuMax = isLoopback ? config.mtuMax : Math.max(config.mtu, Math.min(config.mtuMax, INTERNET_MTU_MAX));
  // Mostly nothing is other than usual, and a copy for each connection would be half a kilobyte.
  const isUsual =
    mtuMax === config.mtuMax && connectionWindowStartBytes === config.connectionWindowStartBytes;
  return isUsual ? config : { ...config, connectionWindowStartBytes, mtuMax };
}

/** What an endpoint with this configuration tells its peer. */
export function localParameters(
  config: ConnectionConfig,
  localId: Uint8Array,
  originalDestinationId: Uint8Array | null,
  statelessResetToken: Uint8Array | null = null,
): TransportParameters {
  return {
    ...defaultParameters(localId),
    originalDestinationId,
    idleTimeoutMs: config.idleTimeoutMs,
    maxDatagramBytes: config.receiveDatagramBytesMax,
    initialMaxData: config.connectionWindowStartBytes,
    initialMaxStreamData: config.streamWindowStartBytes,
    initialMaxStreams: config.streamsMax,
    maxMessageBytes: config.messageBytesMax,
    bestEffortBytes: config.bestEffortBytes,
    maxAckDelayUs: config.ackDelayMaxMs * MILLISECOND,
    heartbeatMs: config.heartbeatMs,
    receiveBufferBytes: config.receiveBufferBytes,
    minAckDelayUs: MILLISECOND,
    statelessResetToken,
    repairBytes: config.repairBytes,
    noMigration: !config.takesMigration,
    inflates: compressionParameter(config.compression),
    keyUpdates: config.keyUpdate !== null,
  };
}

/** A new connection's window begins with so small a part of the memory that is left. */
const NEWCOMERS = 4_096;
/** No connection's window is smaller, whatever others have; without room for that none is accepted. */
export const CONNECTION_WINDOW_BYTES_MIN = 32_768;

const MIB = 1024 * 1024;
/** Beyond a maximal message, room for its fixed cost and for small messages beside it. */
const WINDOW_SLACK_BYTES = 64 * 1024;

/** A stream's window is not smaller at first, unless it may never be larger. */
const STREAM_WINDOW_BYTES_MIN = 16 * 1024;

type NumericField = {
  [K in keyof ConnectionConfig]: ConnectionConfig[K] extends number | null ? K : never;
}[keyof ConnectionConfig];

const BOUNDS: readonly (readonly [NumericField, number, number])[] = [
  ['mtu', DATAGRAM_BYTES_MIN, DATAGRAM_BYTES_MAX],
  ['mtuMax', DATAGRAM_BYTES_MIN, DATAGRAM_BYTES_MAX],
  ['receiveDatagramBytesMax', DATAGRAM_BYTES_MIN, DATAGRAM_BYTES_MAX],
  ['receiveBufferBytes', 0, 2 ** 32],
  ['congestionWindowBytesMax', 16_384, 2 ** 32],
  ['handshakeTimeoutMs', 1, 2 ** 31],
  ['admissionMs', 1, 2 ** 31],
  ['idleTimeoutMs', 0, 2 ** 31],
  ['heartbeatMs', 0, 2 ** 31],
  ['heartbeatMisses', 1, 100],
  ['messageBytesMax', 1, 2 ** 30],
  ['streamWindowBytes', 1, 2 ** 32],
  ['connectionWindowBytes', 1, 2 ** 32],
  ['streamWindowStartBytes', 1, 2 ** 32],
  ['connectionWindowStartBytes', 1, 2 ** 32],
  ['memoryBytesMax', 1, 2 ** 48],
  ['stallTimeoutMs', 0, 2 ** 31],
  ['streamsMax', 0, 2 ** 20],
  ['bestEffortBytes', 0, 2 ** 30],
  ['thinningDelayMs', 0, 60_000],
  ['queueDelayMaxMs', 0, 60_000],
  ['openFailuresMax', 1, 2 ** 36],
  ['ackDelayMaxMs', 1, 1_000],
  ['repairBytes', 0, 2 ** 24],
];
