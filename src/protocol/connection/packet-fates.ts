import type { Micros } from '../../base/time.ts';
import type { CongestionState } from '../congestion/controller.ts';
import type { Path } from '../path/path.ts';
import { isLostByTime } from '../recovery/loss-detection.ts';
import { isRecovered, symbolStart } from '../recovery/recovered-packets.ts';
import type { Recovery } from '../recovery/recovery.ts';
import type { PacketList, SentPackets } from '../recovery/sent-packets.ts';
import { isOpen, newestInFlight, oldestToMend } from '../recovery/thin-probe.ts';
import type { ThinSender } from '../recovery/thin-sender.ts';
import { PACKET_OVERHEAD, type StreamPacker } from '../stream/stream-packer.ts';
import type { ConnectionCounters } from '../trace/counters.ts';
import type { QlogTrace } from '../trace/qlog-trace.ts';
import type { TimeInStates } from '../trace/time-in-states.ts';
import { FrameType } from '../wire/frame-type.ts';
import type { SentFrame } from '../wire/frames/sent-frames.ts';
import { PacketSpace } from '../wire/packet-header.ts';
import type { ControlFrames } from './control-frames.ts';
import type { IncomingRepairs } from './incoming-repairs.ts';
import type { Lifecycle } from './lifecycle.ts';
import type { OutgoingRepairs } from './outgoing-repairs.ts';
import type { PacketNumberSpaces } from './packet-number-space.ts';

/** The parts of a connection whose frames were in packets. */
export interface FateParts {
  readonly control: ControlFrames;
  readonly counters: ConnectionCounters;
  readonly lifecycle: Lifecycle;
  readonly outgoingRepairs: OutgoingRepairs;
  readonly path: Path;
  readonly recovery: Recovery;
  /** Null where neither symbols nor repairs are taken. */
  readonly repairs: IncomingRepairs | null;
  readonly spaces: PacketNumberSpaces;
  readonly streams: FateStreams;
  readonly thin: ThinSender;
  readonly times: { readonly congestion: TimeInStates<CongestionState> };
  /** Null when nobody looks on. */
  readonly trace: QlogTrace | null;
}

/** What the streams of a connection are told of what became of packets. */
export interface FateStreams {
  onFrameAcked(frame: SentFrame): boolean;
  onFrameLost(frame: SentFrame, now: Micros): boolean;
  readonly packer: Pick<StreamPacker, 'onLoss' | 'repeat'>;
}

/** What follows for the connection. */
export interface FateHost {
  /** The packet size in use changed. */
  onMtu(now: Micros): void;
  /** The path does not carry packets of the size that is to be used. [REC-52] */
  onMtuGivenUp(now: Micros): void;
}

/**
 * Tells what became of sent packets: recovery says which were acknowledged and which are lost, their records say what they carried, and
 * each part of the connection is told of its own. What still matters of a lost packet goes out in new frames. [FRM-5]
 */
export class PacketFateTeller {
  private readonly parts: FateParts;
  private readonly host: FateHost;

  constructor(parts: FateParts, host: FateHost) {
    this.parts = parts;
    this.host = host;
  }

  /** Hands out what the last acknowledgement or timeout of recovery found. */
  tell(now: Micros): void {
    const { counters, path, recovery, streams, thin } = this.parts;
    const { space, acked, spurious, lost, recovered } = recovery.fates;
    if (this.parts.trace !== null) this.trace(this.parts.trace, now);
    if (acked.count > 0) this.acknowledged(space, acked, now);
    if (spurious.count > 0) {
      counters.packetsSpuriouslyLost += spurious.count;
      this.acknowledged(space, spurious, now);
    }
    if (recovered.count > 0) this.recovered(space, recovered, now);
    if (lost.count > 0) {
      counters.packetsLost += lost.count;
      streams.packer.onLoss(path.loss.rateUpper, thin.interval);
      for (let i = 0; i < lost.count; i++) this.packetLost(space, lost.numbers[i], now);
    }
    // A path that swallows large packets shows here, and one that only delayed them.
    const { largestAckedBytes, smallestLostBytes } = recovery.fates;
    if (path.mtuDiscovery.onAck(largestAckedBytes, smallestLostBytes)) this.host.onMtu(now);
    if (this.parts.outgoingRepairs.isHolding) this.release(now);
    this.parts.times.congestion.move(path.congestion.state, now);
  }

  private trace(trace: QlogTrace, now: Micros): void {
    const { path, recovery } = this.parts;
    const { space, spurious, lost, recovered } = recovery.fates;
    const sent = recovery.sentPackets(space);
    for (const number of lost.numbers.subarray(0, lost.count))
      trace.lost(space, number, sent.isSizeProbe(number), isLostByTime(sent, number), now);
    for (const [what, packets] of [
      ['packets_spuriously_lost', spurious],
      ['packets_recovered_by_peer', recovered],
    ] as const) {
      if (packets.count > 0) trace.found(what, space, packets.numbers.subarray(0, packets.count), now);
    }
    trace.metrics(path, recovery.ptoCount, now);
  }

  /** What lost packets carried whose frames waited for repairs of them, and need not any longer, is lost now. [FEC-50] */
  release(now: Micros): void {
    const { outgoingRepairs, recovery } = this.parts;
    const sent = recovery.sentPackets(PacketSpace.APPLICATION);
    for (
      let number = outgoingRepairs.release(sent, now);
      number >= 0;
      number = outgoingRepairs.release(sent, now)
    ) {
      this.framesLost(PacketSpace.APPLICATION, number, now);
    }
  }

  /**
   * A probe is due: what the oldest packet in flight carried goes out again, so that a lost tail is mended by the probe itself. The packet
   * stays in flight, and its acknowledgement is as good as ever. Best-effort messages are sent once only.
   */
  resendOldest(now: Micros, isThin = this.parts.recovery.probesPending(PacketSpace.APPLICATION) === 1): void {
    const { recovery } = this.parts;
    const { space } = recovery.fates;
    if (space !== PacketSpace.APPLICATION) return;
    const sent = recovery.sentPackets(space);
    const number = isThin ? oldestToMend(sent) : sent.oldestInFlight;
    if (number < 0) return;
    this.resend(sent, number, isThin && this.isSmall(sent, number), now);
    if (!isThin) return;
    const newest = newestInFlight(sent);
    if (newest > number && this.isSmall(sent, newest)) this.resend(sent, newest, true, now);
  }

  /** The hello goes out again: so does the early data that is under way, which would be lost with it. [REC-16] */
  resendEarly(now: Micros): void {
    const sent = this.parts.recovery.sentPackets(PacketSpace.APPLICATION);
    const first = sent.oldestInFlight;
    if (first < 0) return;
    for (let number = first; number <= sent.largestSent; number++)
      if (isOpen(sent, number)) this.resend(sent, number, false, now);
  }

  /**
   * What was sent a probe timeout ago, and should have been acknowledged, may have gone where the peer is no more: its messages go out once more, the oldest first and no
   * more of them than `bytes`, and are not taken for lost before their packets are.
   */
  repeatLate(bytes: number, now: Micros): void {
    const { recovery, path, streams } = this.parts;
    const sent = recovery.sentPackets(PacketSpace.APPLICATION);
    const until = now - path.rtt.probeTimeout;
    let room = bytes;
    let stream = -1;
    let repeated = -1;
    for (let number = sent.loss.cursor; number <= sent.largestSent; number++) {
      if (!isOpen(sent, number)) continue;
      const report = sent.reportOf(number);
      room -= report.bytes - PACKET_OVERHEAD;
      if (report.sentTime > until || room < 0) return;
      for (let i = sent.framesStart(number), end = sent.framesEnd(number); i < end; i++) {
        const frame = sent.frames.read(i);
        const { lastMessage } = frame;
        // A probe may have brought it again already.
        if (frame.isBestEffort || (frame.stream === stream && lastMessage <= repeated)) continue;
        if (!streams.packer.repeat(frame, now)) continue;
        stream = frame.stream;
        repeated = lastMessage;
      }
    }
  }

  /** @param asCopies - its messages go out once more, and are not taken for lost before the packet is */
  private resend(sent: SentPackets, number: number, asCopies: boolean, now: Micros): void {
    const { packer } = this.parts.streams;
    for (let i = sent.framesStart(number), end = sent.framesEnd(number); i < end; i++) {
      const frame = sent.frames.read(i);
      if (frame.isBestEffort || (asCopies && packer.repeat(frame, now))) continue;
      this.frameLost(PacketSpace.APPLICATION, frame, now);
    }
  }

  private isSmall(sent: SentPackets, number: number): boolean {
    return sent.reportOf(number).bytes <= this.parts.path.mtu * SMALL_SHARE;
  }

  private acknowledged(space: PacketSpace, packets: PacketList, now: Micros): void {
    const { outgoingRepairs, path, recovery } = this.parts;
    const sent = recovery.sentPackets(space);
    const isCovered = outgoingRepairs.isTracking && space === PacketSpace.APPLICATION;
    for (let k = 0; k < packets.count; k++) {
      const number = packets.numbers[k];
      if (isCovered) outgoingRepairs.onAcked(number);
      if (sent.isSizeProbe(number) && path.mtuDiscovery.onProbeAcked(sent.reportOf(number).bytes))
        this.host.onMtu(now);
      for (let i = sent.framesStart(number), end = openEnd(sent, number); i < end; i++) {
        this.frameAcked(space, sent.frames.read(i), now);
      }
    }
  }

  /** The peer has the symbols of these packets: what was in them is acknowledged, once. [FEC-47] */
  private recovered(space: PacketSpace, packets: PacketList, now: Micros): void {
    const sent = this.parts.recovery.sentPackets(space);
    this.parts.counters.packetsRecoveredByPeer += packets.count;
    this.parts.outgoingRepairs.onRecovered();
    for (let k = 0; k < packets.count; k++) {
      const number = packets.numbers[k];
      this.parts.outgoingRepairs.onAcked(number);
      for (let i = symbolStart(sent, number), end = sent.framesEnd(number); i < end; i++) {
        this.frameAcked(space, sent.frames.read(i), now);
      }
    }
  }

  private packetLost(space: PacketSpace, number: number, now: Micros): void {
    const sent = this.parts.recovery.sentPackets(space);
    const { bytes } = sent.reportOf(number);
    this.parts.counters.bytesLost += bytes;
    if (sent.isSizeProbe(number)) this.sizeProbeLost(bytes, now);
    const mayWait = space === PacketSpace.APPLICATION && this.parts.outgoingRepairs.isTracking;
    if (mayWait && this.parts.outgoingRepairs.holds(number, sent, now)) return;
    this.framesLost(space, number, now);
  }

  private framesLost(space: PacketSpace, number: number, now: Micros): void {
    const sent = this.parts.recovery.sentPackets(space);
    for (let i = sent.framesStart(number), end = openEnd(sent, number); i < end; i++) {
      this.frameLost(space, sent.frames.read(i), now);
    }
  }

  private frameAcked(space: PacketSpace, frame: SentFrame, now: Micros): void {
    const { control, lifecycle, spaces, streams } = this.parts;
    switch (frame.type) {
      case FrameType.CRYPTO:
        spaces[space]?.outgoing?.onFrameAcked(frame);
        break;
      case FrameType.ACK:
        spaces[space]?.acks.onFrameAcked(frame);
        break;
      case FrameType.ACK_RECOVERED:
        spaces[space]?.acks.onFrameAcked(frame);
        this.parts.repairs?.recovered.onFrameAcked(frame.number, frame.largest);
        break;
      case FrameType.REPAIR:
        break;
      case FrameType.HANDSHAKE_DONE:
      case FrameType.HEARTBEAT:
      case FrameType.GOAWAY:
      case FrameType.NEW_CONNECTION_ID:
      case FrameType.RETIRE_CONNECTION_ID:
      case FrameType.ADMITTED:
      case FrameType.ACK_FREQUENCY:
      case FrameType.NEW_TOKEN:
      case FrameType.TICKET:
        control.onFrameAcked(frame);
        break;
      default:
        if (streams.onFrameAcked(frame)) lifecycle.onProgress(now);
    }
  }

  private frameLost(space: PacketSpace, frame: SentFrame, now: Micros): void {
    const { control, spaces, streams } = this.parts;
    switch (frame.type) {
      case FrameType.CRYPTO:
        spaces[space]?.outgoing?.onFrameLost(frame);
        break;
      case FrameType.ACK: // the next one says the same, and more
      case FrameType.ACK_RECOVERED:
      case FrameType.REPAIR: // what it was to mend is lost, too, and is sent again
        break;
      default:
        if (!streams.onFrameLost(frame, now)) control.onFrameLost(frame);
    }
  }

  private sizeProbeLost(bytes: number, now: Micros): void {
    const { counters, path } = this.parts;
    counters.packetSizeProbesLost++;
    if (path.mtuDiscovery.onProbeLost(bytes, path.loss.rateUpper, now)) this.host.onMtuGivenUp(now);
  }
}

/** Behind the last frame of which it is open what becomes of it: a packet that was recovered has its symbol settled. [FEC-47] */
function openEnd(sent: SentPackets, number: number): number {
  return isRecovered(sent, number) ? symbolStart(sent, number) : sent.framesEnd(number);
}

/** A packet that takes no more than this of what there may be holds only small messages. */
const SMALL_SHARE = 1 / 4;
