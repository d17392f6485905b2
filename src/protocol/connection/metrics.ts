import { MILLISECOND, SECOND } from '../../base/time.ts';
import type { CongestionState } from '../congestion/controller.ts';
import { PlanMode } from '../fec/protection.ts';
import type { RepairCounts } from '../fec/repair-decoder.ts';
import { EcnState } from '../path/ecn.ts';
import type { Path } from '../path/path.ts';
import { STREAM_BYTES, type Streams, type StreamsHost } from '../stream/streams.ts';
import type { ConnectionCounters } from '../trace/counters.ts';

/** True figures of a connection at one moment. Durations in ms, sizes in bytes, counts since the connection began. */
export interface ConnectionMetrics extends ConnectionCounters {
  rttMs: number;
  rttMinMs: number;
  rttVariationMs: number;
  /** UDP payload of the datagrams in use. */
  mtu: number;
  /** How often the path was found not to carry the size in use. */
  mtuFalls: number;
  /**
   * 1 when datagrams of this size are known to arrive, but not whether IP takes them apart on the way, which the socket cannot forbid.
   * 0 up to 1,200 bytes, which every path in use carries whole.
   */
  mtuMayFragment: 0 | 1;
  /** 1 when the datagrams sent say that routers may mark instead of drop them, and the peer counts the marks as it should. */
  ecnCapable: 0 | 1;
  /** Packets that reached the peer marked by a router that is congested. */
  congestionMarks: number;
  congestionWindowBytes: number;
  bytesInFlight: number;
  /** What the congestion controller does; of `bbr` the state of draft-ietf-ccwg-bbr. */
  congestionState: CongestionState;
  /** Bytes a second at which packets leave, headers of UDP and IP not included; 0 before the first round trip is measured. */
  pacingRate: number;
  /** The share of packets, 0 to 1, that `bbr` takes the path to lose whatever the rate is, and does not slow down for. */
  lossFloor: number;
  /** Packets declared lost and not found later, as a share of those sent; 0 to 1. */
  packetLossRate: number;
  messagesSent: number;
  messagesReceived: number;
  messageBytesSent: number;
  messageBytesReceived: number;
  /** Bytes of frames sent again. */
  retransmittedBytes: number;
  /** Messages whose lifetime ended before they were known to have arrived, and before they were read. */
  messagesExpired: number;
  /** Best-effort messages sent of which a packet was lost. */
  messagesLost: number;
  /** Best-effort messages that were not sent because newer ones of their stream took their place: more was offered than the path carries. */
  messagesThinned: number;
  /** Best-effort messages received too late for their order, or once more, as those do that protection repeats. */
  messagesLate: number;
  /** Best-effort messages that had to give way to newer ones before they were read. */
  messagesEvicted: number;
  /** How often the peer was told that its connection window, or its limit of streams, holds us back. */
  dataBlocked: number;
  streamsBlocked: number;
  streamsOpen: number;
  /** Messages that protection sent again before anything was known of their loss, and those of them whose first packet was lost. The others were of no use. */
  repeatsSent: number;
  repeatsUsed: number;
  /** Bytes that protection has spent, and those that it could have: a share of what was sent under protection. */
  protectionBytes: number;
  protectionBytesMax: number;
  /** Streams that are protected at the moment, by repeats and by repairs. */
  streamsRepeated: number;
  streamsRepaired: number;
  /** Protected packets that were lost and that repairs did not bring back, as a share of the protected ones; 0 to 1. */
  residualLossRate: number;
  /** Repairs that came, those of them that had nothing to mend, and those that were not looked at, for lack of memory or credit. */
  repairsReceived: number;
  repairsUseless: number;
  repairsIgnored: number;
  /** What the peer makes this process keep now, in bytes, and what is reserved for it of the endpoint's `memoryBytesMax`. [CON-50] */
  memoryBytes: number;
  memoryReservedBytes: number;
}

/** What the figures are taken from. */
export interface MetricsSource {
  readonly counters: ConnectionCounters;
  readonly path: Path;
  readonly streams: StreamCounts;
  /** What became of the peer's repairs. */
  readonly repairs: RepairCounts;
  readonly memoryBytes: number;
  readonly memoryReservedBytes: number;
  /** IP may take datagrams apart on the way. */
  readonly mayFragment: boolean;
}

/** The streams of a connection, as far as they are counted. */
type StreamCounts = Pick<
  Streams<StreamsHost>,
  'limits' | 'packer' | 'receiveCounts' | 'sendCounts' | 'size' | 'values'
>;

export function metricsOf(source: MetricsSource): ConnectionMetrics {
  const { counters, path, streams } = source;
  const { rtt } = path;
  const { protection } = streams.packer;
  const sent = streams.sendCounts;
  const received = streams.receiveCounts;
  const lost = counters.packetsLost - counters.packetsSpuriouslyLost;
  return {
    ...counters,
    rttMs: rtt.hasSample ? rtt.smoothed / MILLISECOND : 0,
    rttMinMs: rtt.hasSample ? rtt.min / MILLISECOND : 0,
    rttVariationMs: rtt.hasSample ? rtt.variance / MILLISECOND : 0,
    mtu: path.mtu,
    mtuFalls: path.mtuDiscovery.falls,
    mtuMayFragment: source.mayFragment && path.mtu > UNFRAGMENTED ? 1 : 0,
    ecnCapable: path.ecn?.state === EcnState.CAPABLE ? 1 : 0,
    congestionMarks: path.ecn?.marks ?? 0,
    congestionWindowBytes: path.congestion.window,
    bytesInFlight: path.bytesInFlight,
    congestionState: path.congestion.state,
    pacingRate: rtt.hasSample ? path.congestion.pacingRate * SECOND : 0,
    lossFloor: path.congestion.lossFloor,
    packetLossRate: counters.packetsSent === 0 ? 0 : lost / counters.packetsSent,
    messagesSent: sent.messages,
    messagesReceived: received.messages,
    messageBytesSent: sent.messageBytes,
    messageBytesReceived: received.messageBytes,
    retransmittedBytes: sent.retransmittedBytes,
    messagesExpired: sent.expired + received.expired,
    messagesLost: sent.lost,
    messagesThinned: sent.thinned,
    messagesLate: received.late,
    messagesEvicted: received.evicted,
    dataBlocked: streams.limits.data.blockedCount,
    streamsBlocked: streams.limits.streams.blockedCount,
    streamsOpen: streams.size,
    repeatsSent: protection.repeatsSent,
    repeatsUsed: protection.repeatsUsed,
    protectionBytes: protection.spentBytes,
    protectionBytesMax: protection.earnedBytes,
    streamsRepeated: protection.count(PlanMode.REPEAT),
    streamsRepaired:
      protection.count(PlanMode.WINDOW) + protection.count(PlanMode.BURST) + protection.count(PlanMode.BLOCK),
    residualLossRate: residualOf(counters),
    repairsReceived: source.repairs.received,
    repairsUseless: source.repairs.useless,
    repairsIgnored: source.repairs.ignored,
    memoryBytes: source.memoryBytes,
    memoryReservedBytes: source.memoryReservedBytes,
  };
}

/** What was recovered before it was found to be lost, or was only late, may be more than what was. */
function residualOf({
  packetsProtected,
  packetsProtectedLost,
  packetsRecoveredByPeer,
}: ConnectionCounters): number {
  if (packetsProtected === 0) return 0;
  return Math.max(0, packetsProtectedLost - packetsRecoveredByPeer) / packetsProtected;
}

/**
 * What a connection's peer makes this process keep at this moment, in bytes: true within a factor of two, as a test that adds up what the
 * process holds shows. What the application has queued to send is its own. [CON-50]
 *
 * @param waitingBytes - of packets that are kept as they came: their key is not there yet, or others are recovered with them
 */
export function memoryOf(streams: StreamCounts, waitingBytes: number): number {
  let bytes = CONNECTION_BYTES + waitingBytes + streams.size * STREAM_BYTES;
  for (const { receiver } of streams.values()) bytes += receiver.memoryBytes;
  return bytes + streams.receiveCounts.keptBytes;
}

/** What a connection costs with nothing in it: its own state, keys, sent packets, tables. */
export const CONNECTION_BYTES = 49_152;
/** IPv6 carries 1,280 bytes whole everywhere, and networks that carry less of IPv4 are gone. */
const UNFRAGMENTED = 1_200;
