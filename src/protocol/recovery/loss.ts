import { type Micros, NEVER } from '../../base/time.ts';
import { PacketList } from './packet-list.ts';
import { PacketState } from './packet-state.ts';
import type { SentPackets } from './sent-packets.ts';

/** What one pass of loss detection found. Reused: valid until the next pass. */
export class Lost {
  /** Packets newly declared lost, oldest first. */
  readonly packets = new PacketList();
  /** Bytes that count for congestion: all but size probes. */
  congestionBytes = 0;
  /** Packets that count for congestion. */
  congestionPackets = 0;
  /** When the newest packet that counts for congestion was sent, or -1. */
  largestSentTime: Micros = -1;
  /** Size of the smallest packet that counts for congestion; 0 without any. */
  smallestPacketBytes = 0;
  /** True when the losses span more than the persistent congestion duration. */
  isPersistent = false;

  clear(): void {
    this.packets.clear();
    this.congestionBytes = 0;
    this.congestionPackets = 0;
    this.largestSentTime = -1;
    this.smallestPacketBytes = 0;
    this.isPersistent = false;
  }
}

/** How late or how far behind a packet must be to count as lost (RFC 9002 section 6.1). */
export interface LossThresholds {
  /** This many packets behind an acknowledged one. */
  readonly packetThreshold: number;
  /** Sent this long before an acknowledged one that was sent later. */
  readonly lossDelay: Micros;
  /** Losses over more than this are persistent congestion. */
  readonly persistentDuration: Micros;
  /** Only packets sent after this count towards persistent congestion; NEVER before the first RTT sample. */
  readonly persistentAfter: Micros;
}

/**
 * Declares packets lost and sets the next loss deadline. Sent times grow with the numbers, so the pass begins where
 * the last one stopped, and stops at the first packet that may still arrive.
 */
export function detectLost(sent: SentPackets, now: Micros, thresholds: LossThresholds, out: Lost): void {
  const { state, sentTime, mask, largestAcked } = sent;
  const { packetThreshold, lossDelay } = thresholds;
  sent.lossDeadline = NEVER;
  let number = sent.lossCursor;
  for (; number <= largestAcked; number++) {
    const i = number & mask;
    const known = state[i];
    if ((known & PacketState.ACKED) !== 0) {
      sent.lossRunStart = NEVER; // [REC-22] whatever it carried, the path carried it
      continue;
    }
    // [REC-6] What is not in flight carried nothing that must arrive.
    if ((known & IN_FLIGHT_MASK) !== IN_FLIGHT) continue;
    const isBehind = number + packetThreshold <= largestAcked;
    if (!isBehind && sentTime[i] + lossDelay > now) {
      // [REC-7]
      sent.lossDeadline = sentTime[i] + lossDelay;
      break;
    }
    declareLost(sent, i, isBehind ? PacketState.LOST : LOST_BY_TIME);
    out.packets.push(number);
    // [REC-32]
    if ((known & PacketState.SIZE_PROBE) === 0) countForCongestion(sent, i, known, thresholds, out);
  }
  sent.lossCursor = number;
}

/** Declares everything in flight lost without a word about congestion: the peer can never have accepted it. */
export function withdrawAll(sent: SentPackets, below: number, out: Lost): void {
  const end = Math.min(below, sent.largestSent + 1);
  for (let number = sent.base; number < end; number++) {
    const i = number & sent.mask;
    const known = sent.state[i];
    if ((known & IN_FLIGHT_MASK) !== IN_FLIGHT) continue;
    declareLost(sent, i, PacketState.LOST);
    out.packets.push(number);
  }
}

function declareLost(sent: SentPackets, i: number, mark: number): void {
  const known = sent.state[i];
  sent.state[i] = known | mark;
  sent.bytesInFlight -= sent.bytes[i];
  if ((known & PacketState.ACK_ELICITING) !== 0) sent.ackElicitingInFlight--;
}

function countForCongestion(
  sent: SentPackets,
  i: number,
  known: number,
  thresholds: LossThresholds,
  out: Lost,
): void {
  const bytes = sent.bytes[i];
  const sentTime = sent.sentTime[i];
  out.congestionBytes += bytes;
  out.congestionPackets++;
  out.largestSentTime = sentTime;
  if (out.smallestPacketBytes === 0 || bytes < out.smallestPacketBytes) out.smallestPacketBytes = bytes;
  // [REC-22] An unbroken run of lost ack-eliciting packets over a long time.
  if ((known & PacketState.ACK_ELICITING) === 0 || sentTime <= thresholds.persistentAfter) return;
  if (sent.lossRunStart === NEVER) {
    sent.lossRunStart = sentTime;
  } else if (sentTime - sent.lossRunStart > thresholds.persistentDuration) {
    out.isPersistent = true;
    sent.lossRunStart = NEVER;
  }
}

const IN_FLIGHT = PacketState.SENT | PacketState.IN_FLIGHT;
const IN_FLIGHT_MASK = IN_FLIGHT | PacketState.ACKED | PacketState.LOST;
const LOST_BY_TIME = PacketState.LOST | PacketState.LOST_BY_TIME;
