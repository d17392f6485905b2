import { MILLISECOND, type Micros, SECOND } from '../../base/time.ts';
import type { CongestionState } from '../congestion/controller.ts';
import { PlanMode } from '../fec/protection.ts';
import type { RepairCounts } from '../fec/repair-decoder.ts';
import { EcnState } from '../path/ecn.ts';
import type { Path } from '../path/path.ts';
import { MESSAGE_COST } from '../stream/flow-control.ts';
import { STREAM_BYTES, type Streams, type StreamsHost } from '../stream/streams.ts';
import type { ConnectionCounters } from '../trace/counters.ts';
import type { ConnectionTimes, SendLimit } from '../trace/time-in-states.ts';
import { PRIORITY_NAMES } from '../wire/frame-type.ts';
import type { AppState, Device, NetworkType } from './device.ts';
import type { Liveness } from './liveness.ts';

/**
 * True figures of a connection at one moment, with those of `ConnectionCounters`. Names tell units: `...Ms` are milliseconds, `...Bytes`
 * and `bytes...` bytes, `...Rate` a share from 0 to 1; all others are counts, or say what they are. Counts and times in states begin at 0
 * with the connection and are never set back: take the difference of two snapshots. Each field is documented by itself, as
 * `docs/metrics.md` has it. [CON-70]
 */
export interface ConnectionMetrics extends ConnectionCounters {
  // ---- Life ----
  /** Time since the first packet. */
  ageMs: number;
  /** Time from the first packet until the handshake was complete; 0 before. */
  handshakeMs: number;
  /** Time since a packet of the peer was last opened. */
  silenceMs: number;
  /** What the application said that the machine is connected by; `unknown` where it said nothing. */
  networkType: NetworkType;
  /** Whether the application said that somebody looks at it; `foreground` where it said nothing. */
  appState: AppState;
  /** Time between this side's heartbeats, as it is now; 0 without heartbeats. */
  heartbeatIntervalMs: number;
  // ---- Round trip ----
  /** The smoothed round-trip time (RFC 9002 section 5.3): what to look at. 0 before the first sample, as the next three. */
  rttMs: number;
  /** The newest round trip, the peer's delay of its acknowledgement included. */
  rttLatestMs: number;
  /** The shortest round trip: the path with empty queues. What `rttMs` is above it is waiting. */
  rttMinMs: number;
  /** Mean deviation of round trips, which is called jitter elsewhere. */
  rttVariationMs: number;
  /** How long nothing is acknowledged before the sender asks again: the probe timeout without back-off. */
  probeTimeoutMs: number;
  // ---- Packet size ----
  /** UDP payload of the datagrams in use, in bytes. */
  mtu: number;
  /** How often the path was found not to carry the size in use (a black hole of RFC 8899). */
  mtuFalls: number;
  /**
   * 1 when datagrams of this size are known to arrive, but not whether IP takes them apart on the way, which the socket cannot forbid.
   * 0 up to 1,200 bytes, which every path in use carries whole.
   */
  mtuMayFragment: 0 | 1;
  // ---- Congestion marks (ECN) ----
  /** 1 when the datagrams sent say that routers may mark instead of drop them, and the peer counts the marks as it should. */
  ecnCapable: 0 | 1;
  /** Packets that reached the peer marked by a router that is congested. */
  congestionMarks: number;
  // ---- Congestion control and pacing ----
  /** Bytes that may be in flight. */
  congestionWindowBytes: number;
  /** Bytes sent and neither acknowledged nor lost yet. */
  bytesInFlight: number;
  /** What the congestion controller does; of `bbr` the state of draft-ietf-ccwg-bbr. */
  congestionState: CongestionState;
  /** Milliseconds in each state of the congestion controller; 0 in those of other controllers. Their sum is `ageMs`. */
  congestionStateMs: Readonly<Record<CongestionState, number>>;
  /** How often losses or marks made the controller send less. */
  congestionEvents: number;
  /** Bytes a second at which packets leave, headers of UDP and IP not included; 0 before the first round trip is measured. */
  pacingRate: number;
  /** The share of packets, 0 to 1, that `bbr` takes the path to lose whatever the rate is, and does not slow down for. */
  lossFloor: number;
  /**
   * Why no more is sent now. `idle`: all is acknowledged and nothing waits. `application`: nothing waits. `window`: the congestion window is
   * full. `pacing`: it is not the time for the next packet. `flow-control`: the peer lets no more be sent, or no more streams be opened.
   */
  limitedBy: SendLimit;
  /** Milliseconds for which each of these was the reason. Their sum is `ageMs`; all but `idle` is what TCP_INFO calls busy. */
  limitedByMs: Readonly<Record<SendLimit, number>>;
  // ---- Loss and recovery ----
  /** Packets declared lost and not found later, as a share of those sent since the connection began. */
  packetLossRate: number;
  /** Messages, or parts of one, sent again. */
  retransmittedMessages: number;
  /** Bytes of frames sent again. */
  retransmittedBytes: number;
  /** Packets that held something sent again. */
  retransmittedPackets: number;
  // ---- Messages ----
  /** Messages that the application gave to `send`. */
  messagesSent: number;
  /** Messages that the application read. */
  messagesReceived: number;
  /** Bytes of the messages given to `send`, without any header. */
  messageBytesSent: number;
  /** Bytes of the messages read. */
  messageBytesReceived: number;
  /** Messages whose lifetime ended before they were known to have arrived, and before they were read. */
  messagesExpired: number;
  /** Best-effort messages sent of which a packet was lost. */
  messagesLost: number;
  /** Messages sent that the peer gave up before its application read them. */
  messagesDropped: number;
  /** Best-effort messages that were not sent because newer ones of their stream took their place: more was offered than the path carries. */
  messagesThinned: number;
  /** Best-effort messages received too late for their order, or once more, as those do that protection repeats. */
  messagesLate: number;
  /** Best-effort messages that had to give way to newer ones before they were read. */
  messagesEvicted: number;
  // ---- Queue to send ----
  /** What waits for its first transmission, by the priority of its stream. */
  queue: Readonly<Record<QueueClass, QueueMetrics>>;
  /** Bytes of all that waits, over all classes. */
  queueBytes: number;
  /** How long that takes to leave at the present pacing rate; 0 before a rate is known. */
  queueMs: number;
  // ---- Streams and flow control ----
  /** Streams that are open in a direction at least, those that wait for the peer's leave included. */
  streamsOpen: number;
  /** Streams opened by this side. */
  streamsOpened: number;
  /** Streams opened by the peer. */
  streamsAccepted: number;
  /** Streams of this side that wait until the peer lets more be open. */
  streamsWaiting: number;
  /** How often the peer was told that its limit of streams holds us back. */
  streamsBlocked: number;
  /** How often the peer was told that its connection window holds us back. */
  dataBlocked: number;
  /** Bytes that the peer's connection window still lets us send; each message counts 128 more than its length. */
  sendCreditBytes: number;
  /** Bytes that this side's connection window still lets the peer send. */
  receiveCreditBytes: number;
  // ---- Protection against loss (FEC) ----
  /** Messages that protection sent again before anything was known of their loss. */
  repeatsSent: number;
  /** Those of them whose first packet was lost; the others were of no use. */
  repeatsUsed: number;
  /** Bytes that protection has spent of its budget, on repeats and repairs. Blocks that were asked for have none: see `repairBytesSent`. */
  protectionBytes: number;
  /** Bytes that it could have spent: a share of what was sent under protection. */
  protectionBytesMax: number;
  /** Streams that are protected by repeats at the moment. */
  streamsRepeated: number;
  /** Streams that are protected by repairs at the moment. */
  streamsRepaired: number;
  /** Protected packets that were lost and that repairs did not bring back, as a share of the protected ones. */
  residualLossRate: number;
  /** Repairs that came. */
  repairsReceived: number;
  /** Those of them that had nothing to mend: what the peer's protection cost for nothing. */
  repairsUseless: number;
  /** Those of them that were not looked at, for lack of memory or credit. */
  repairsIgnored: number;
  // ---- Compression ----
  /** Messages sent compressed. */
  messagesCompressed: number;
  /** Bytes that the application gave for them. */
  bytesBeforeCompression: number;
  /** Bytes that they took on the way, envelopes included. */
  bytesAfterCompression: number;
  /** The first of these divided by the second: 3 when messages became a third of what they were; 0 while none was compressed. */
  compressionRatio: number;
  /** Messages that were to be compressed and were sent as they are, because the peer has not said that it opens compressed ones. */
  compressionSkippedNotAgreed: number;
  /** The same, because they are short. */
  compressionSkippedSmall: number;
  /** The same, because they, a sample of them, or those before them did not become smaller by enough. */
  compressionSkippedIncompressible: number;
  /** The same, with `auto`, because they arrive earlier as they are. */
  compressionSkippedCostly: number;
  /** Compressed messages received that were read. */
  messagesInflated: number;
  /** Bytes that they took on the way. */
  bytesBeforeInflation: number;
  /** Bytes that the application got for them. */
  bytesAfterInflation: number;
  /** Time spent on compressing, in vain too. Of messages below 1 KiB one in eight is measured and stands for all. */
  deflateMs: number;
  /** Time spent on opening what the peer compressed, measured in the same way. */
  inflateMs: number;
  // ---- Memory ----
  /** What the peer makes this process keep now. [CON-50] */
  memoryBytes: number;
  /** What is reserved for it of the endpoint's `memoryBytesMax`. [CON-50] */
  memoryReservedBytes: number;
}

/** The classes of priority, as streams are opened with them. */
export type QueueClass = 'system' | 'media' | 'chat' | 'bulk';

/** What waits in one class. */
export interface QueueMetrics {
  /** Messages that wait, those that are partly sent included. */
  messages: number;
  /** Bytes of them that were not sent yet. */
  bytes: number;
  /** Streams that have some. */
  streams: number;
  /** How long the oldest of them has waited, one that is partly sent included; 0 where none waits. Of a long queue somewhat too much, never too little. */
  oldestMs: number;
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
  readonly probeTimeout: Micros;
  readonly liveness: Liveness;
  readonly device: Device;
  readonly times: ConnectionTimes<CongestionState>;
  readonly now: Micros;
}

/** The streams of a connection, as far as they are counted. */
type StreamCounts = Pick<
  Streams<StreamsHost>,
  'limits' | 'packer' | 'receiveCounts' | 'sendCounts' | 'size' | 'values'
>;

export function metricsOf(source: MetricsSource): ConnectionMetrics {
  const { counters, now, path, streams, times } = source;
  const { congestion, rtt } = path;
  const { limits } = streams;
  const { protection } = streams.packer;
  const compressed = streams.packer.compression.counts;
  const sent = streams.sendCounts;
  const received = streams.receiveCounts;
  const lost = counters.packetsLost - counters.packetsSpuriouslyLost;
  const isPaced = rtt.hasSample && congestion.pacingRate < Number.POSITIVE_INFINITY;
  const pacingRate = isPaced ? congestion.pacingRate * SECOND : 0;
  const queue = queuesOf(streams, now);
  const queueBytes = queue.system.bytes + queue.media.bytes + queue.chat.bytes + queue.bulk.bytes;
  const own: Omit<ConnectionMetrics, keyof ConnectionCounters> = {
    ageMs: milliseconds(now - times.startedAt),
    handshakeMs: times.completedAt < 0 ? 0 : milliseconds(times.completedAt - times.startedAt),
    silenceMs: milliseconds(now - source.liveness.receivedAt),
    networkType: source.device.networkType,
    appState: source.device.appState,
    heartbeatIntervalMs: source.liveness.intervalMs(source.probeTimeout),
    rttMs: rtt.hasSample ? rtt.smoothed / MILLISECOND : 0,
    rttLatestMs: rtt.latest / MILLISECOND,
    rttMinMs: rtt.hasSample ? rtt.min / MILLISECOND : 0,
    rttVariationMs: rtt.hasSample ? rtt.variance / MILLISECOND : 0,
    probeTimeoutMs: rtt.hasSample ? source.probeTimeout / MILLISECOND : 0,
    mtu: path.mtu,
    mtuFalls: path.mtuDiscovery.falls,
    mtuMayFragment: source.mayFragment && path.mtu > UNFRAGMENTED ? 1 : 0,
    ecnCapable: path.ecn?.state === EcnState.CAPABLE ? 1 : 0,
    congestionMarks: path.ecn?.marks ?? 0,
    congestionWindowBytes: congestion.window,
    bytesInFlight: path.bytesInFlight,
    congestionState: congestion.state,
    congestionStateMs: times.congestion.upTo(now),
    congestionEvents: congestion.congestionEvents,
    pacingRate,
    lossFloor: congestion.lossFloor,
    limitedBy: times.limit.state,
    limitedByMs: times.limit.upTo(now),
    packetLossRate: counters.packetsSent === 0 ? 0 : lost / counters.packetsSent,
    retransmittedMessages: sent.retransmittedMessages,
    retransmittedBytes: sent.retransmittedBytes,
    retransmittedPackets: sent.retransmittedPackets,
    messagesSent: sent.messages,
    messagesReceived: received.messages,
    messageBytesSent: sent.messageBytes + compressed.bytesBefore - compressed.bytesAfter - compressed.stored,
    messageBytesReceived:
      received.messageBytes +
      compressed.openedBytesAfter -
      compressed.openedBytesBefore -
      compressed.openedStored,
    messagesExpired: sent.expired + received.expired,
    messagesLost: sent.lost,
    messagesDropped: sent.dropped,
    messagesThinned: sent.thinned,
    messagesLate: received.late,
    messagesEvicted: received.evicted,
    queue,
    queueBytes,
    queueMs: pacingRate === 0 ? 0 : (queueBytes / pacingRate) * 1_000,
    streamsOpen: streams.size,
    streamsOpened: limits.streams.openedCount,
    streamsAccepted: limits.streams.acceptedCount,
    streamsWaiting: limits.streams.waiting,
    streamsBlocked: limits.streams.blockedCount,
    dataBlocked: limits.data.blockedCount,
    sendCreditBytes: sent.credit.available,
    receiveCreditBytes: received.window.announced - received.window.used,
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
    messagesCompressed: compressed.messages,
    bytesBeforeCompression: compressed.bytesBefore,
    bytesAfterCompression: compressed.bytesAfter,
    compressionRatio: compressed.messages === 0 ? 0 : compressed.bytesBefore / compressed.bytesAfter,
    compressionSkippedNotAgreed: compressed.skippedNotAgreed,
    compressionSkippedSmall: compressed.skippedSmall,
    compressionSkippedIncompressible: compressed.skippedIncompressible,
    compressionSkippedCostly: compressed.skippedCostly,
    messagesInflated: compressed.opened,
    bytesBeforeInflation: compressed.openedBytesBefore,
    bytesAfterInflation: compressed.openedBytesAfter,
    deflateMs: compressed.deflateTime / MILLISECOND,
    inflateMs: compressed.inflateTime / MILLISECOND,
    memoryBytes: source.memoryBytes,
    memoryReservedBytes: source.memoryReservedBytes,
  };
  shape ??= { ...counters, ...own };
  return Object.assign({ ...shape }, counters, own);
}

function queuesOf(streams: StreamCounts, now: Micros): Record<QueueClass, QueueMetrics> {
  const queues: QueueMetrics[] = PRIORITY_NAMES.map(() => ({
    messages: 0,
    bytes: 0,
    streams: 0,
    oldestMs: 0,
  }));
  for (const { priority, sender } of streams.values()) {
    const { bytes } = sender.queue;
    if (bytes === 0) continue;
    const queue = queues[priority];
    const { cut, unsent } = sender.mark();
    queue.messages += unsent + cut;
    queue.bytes += bytes - unsent * MESSAGE_COST;
    queue.streams++;
    queue.oldestMs = Math.max(queue.oldestMs, milliseconds(now - sender.waitsSince));
  }
  const [system, media, chat, bulk] = queues;
  return { system, media, chat, bulk };
}

function milliseconds(time: Micros): number {
  return Math.max(0, time) / MILLISECOND;
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
  return bytes + streams.receiveCounts.kept.bytes;
}

/** What a connection costs with nothing in it: its own state, keys, sent packets, tables. */
export const CONNECTION_BYTES = 49_152;
/** IPv6 carries 1,280 bytes whole everywhere, and networks that carry less of IPv4 are gone. */
const UNFRAGMENTED = 1_200;

/** The first that were asked for. To set all members of a copy takes 3 us; to add them to an object, one after the other, takes V8 340. */
let shape: ConnectionMetrics | null = null;
