import { MILLISECOND } from '../../base/time.ts';
import type { Connection } from './connection.ts';
import { memoryOf } from './memory.ts';

/** True figures of a connection at one moment. Durations in ms, sizes in bytes, counts since the connection began. */
export interface ConnectionMetrics {
  rttMs: number;
  rttMinMs: number;
  rttVariationMs: number;
  /** UDP payload of the datagrams in use. */
  mtu: number;
  /** How often the path was found not to carry the size in use. */
  mtuFalls: number;
  /**
   * 1 when datagrams of this size are known to arrive, but not whether IP takes them apart on the way: `node:dgram` cannot forbid it.
   * 0 up to 1,200 bytes, which every path in use carries whole.
   */
  mtuMayFragment: 0 | 1;
  congestionWindowBytes: number;
  bytesInFlight: number;
  /** Packets declared lost and not found later, as a share of those sent; 0 to 1. */
  packetLossRate: number;
  datagramsSent: number;
  datagramsReceived: number;
  bytesSent: number;
  bytesReceived: number;
  packetsSent: number;
  packetsReceived: number;
  packetsLost: number;
  packetsSpuriouslyLost: number;
  /** Packets that did not open: damaged, forged, or not for us. */
  packetsUnopened: number;
  packetsReplayed: number;
  ptoCount: number;
  acksSent: number;
  acksReceived: number;
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
  /** Best-effort messages received too late for their order. */
  messagesLate: number;
  /** Best-effort messages that had to give way to newer ones before they were read. */
  messagesEvicted: number;
  /** How often the peer was told that its connection window, or its limit of streams, holds us back. */
  dataBlocked: number;
  streamsBlocked: number;
  heartbeatsSent: number;
  heartbeatsReceived: number;
  streamsOpen: number;
  /** What the peer makes this process keep now, in bytes, and what is reserved for it of the endpoint's `memoryBytesMax`. [CON-50] */
  memoryBytes: number;
  memoryReservedBytes: number;
}

export function metricsOf(connection: Connection): ConnectionMetrics {
  const { counters, path, streams } = connection;
  const { rtt } = path;
  const sent = streams.sendCounts;
  const received = streams.receiveCounts;
  const lost = counters.packetsLost - counters.packetsSpuriouslyLost;
  return {
    rttMs: rtt.hasSample ? rtt.smoothed / MILLISECOND : 0,
    rttMinMs: rtt.hasSample ? rtt.min / MILLISECOND : 0,
    rttVariationMs: rtt.hasSample ? rtt.variance / MILLISECOND : 0,
    mtu: connection.mtu,
    mtuFalls: path.mtuDiscovery.falls,
    mtuMayFragment: mayFragment(connection) ? 1 : 0,
    congestionWindowBytes: path.congestion.window,
    bytesInFlight: path.bytesInFlight,
    packetLossRate: counters.packetsSent === 0 ? 0 : lost / counters.packetsSent,
    datagramsSent: counters.datagramsSent,
    datagramsReceived: counters.datagramsReceived,
    bytesSent: counters.bytesSent,
    bytesReceived: counters.bytesReceived,
    packetsSent: counters.packetsSent,
    packetsReceived: counters.packetsReceived,
    packetsLost: counters.packetsLost,
    packetsSpuriouslyLost: counters.packetsSpuriouslyLost,
    packetsUnopened: counters.packetsUnopened,
    packetsReplayed: counters.packetsReplayed,
    ptoCount: counters.ptoCount,
    acksSent: counters.acksSent,
    acksReceived: counters.acksReceived,
    messagesSent: sent.messages,
    messagesReceived: received.messages,
    messageBytesSent: sent.messageBytes,
    messageBytesReceived: received.messageBytes,
    retransmittedBytes: sent.retransmittedBytes,
    messagesExpired: sent.expired + received.expired,
    messagesLost: sent.lost,
    messagesLate: received.late,
    messagesEvicted: received.evicted,
    dataBlocked: streams.limits.data.blockedCount,
    streamsBlocked: streams.limits.streams.blockedCount,
    heartbeatsSent: counters.heartbeatsSent,
    heartbeatsReceived: counters.heartbeatsReceived,
    streamsOpen: streams.size,
    memoryBytes: memoryOf(connection),
    memoryReservedBytes: connection.memory.reserved,
  };
}

function mayFragment({ config, isLoopback, mtu }: Connection): boolean {
  return !config.setsDontFragment && !isLoopback && mtu > UNFRAGMENTED;
}

/** IPv6 carries 1,280 bytes whole everywhere, and networks that carry less of IPv4 are gone. */
const UNFRAGMENTED = 1_200;
