/**
 * What became of sent packets (RFC 9002 section 6.1): {@link acknowledge} applies an ACK frame to the packets of a space, and
 * {@link detectLost} declares lost what is too far behind the acknowledged ones. Both take packets out of flight, tell the path of each
 * one, and list it in {@link PacketFates}.
 */

import { type Micros, NEVER } from '../../base/time.ts';
import type { Path } from '../path/path.ts';
import { GRANULARITY, type RttEstimator } from '../path/rtt.ts';
import { CloseCode } from '../wire/close-code.ts';
import { PacketSpace } from '../wire/packet-header.ts';
import { PacketList, PacketState, type SentPackets } from './sent-packets.ts';

/** What one acknowledgement or timeout settled. Reused: valid until the next one. */
export class PacketFates {
  /** The space that all numbers are of. */
  space: PacketSpace = PacketSpace.INITIAL;
  /** Newly acknowledged packets, newest first. */
  readonly acked = new PacketList();
  /** Packets acknowledged after they had been declared lost, newest first. */
  readonly spurious = new PacketList();
  /** Packets newly declared lost, oldest first. */
  readonly lost = new PacketList();
  /** Packets that the peer newly says it recovered, as it told them; they stay in flight. */
  readonly recovered = new PacketList();
  /** Size of the largest packet that is known now to have arrived; 0 without any. */
  largestAckedBytes = 0;
  /** Size of the smallest packet lost, probes for a larger packet size aside; 0 without any. */
  smallestLostBytes = 0;
  /** True when an ack-eliciting packet is newly acknowledged. */
  isAckEliciting = false;
  /** True when the losses span more than the persistent congestion duration. */
  isPersistent = false;

  clear(space: PacketSpace): void {
    this.space = space;
    this.acked.clear();
    this.spurious.clear();
    this.lost.clear();
    this.recovered.clear();
    this.largestAckedBytes = 0;
    this.smallestLostBytes = 0;
    this.isAckEliciting = false;
    this.isPersistent = false;
  }

  /** Forgets all, and gives memory back. */
  trim(): void {
    this.clear(this.space);
    this.acked.trim();
    this.spurious.trim();
    this.lost.trim();
    this.recovered.trim();
  }
}

/**
 * Applies the ranges of an ACK frame to the packets sent in a space. The cost is that of the ranges and of the newly acknowledged packets:
 * runs of packets known to be acknowledged are stepped over at once. [REC-11]
 *
 * @param ranges - descending pairs [start, end)
 * @returns 0, or the code to close the connection with
 */
export function acknowledge(
  sent: SentPackets,
  ranges: Float64Array,
  rangeCount: number,
  path: Path,
  fates: PacketFates,
  now: Micros,
): number {
  if (rangeCount === 0) return 0;
  // [FRM-9] Nothing was sent under the number.
  if (ranges[1] - 1 > sent.largestSent) return CloseCode.PROTOCOL_VIOLATION;
  const { largestSkipped, ring } = sent;
  const { state, ackedRun, mask, base } = ring;
  for (let r = 0; r < rangeCount; r++) {
    const low = Math.max(ranges[2 * r], base);
    const top = ranges[2 * r + 1] - 1;
    // [PKT-23] A number that was left out on purpose was never sent.
    if (top >= largestSkipped && ranges[2 * r] <= largestSkipped) return CloseCode.PROTOCOL_VIOLATION;
    if (top < low) break;
    let number = top;
    let steps = 0;
    while (number >= low) {
      const i = number & mask;
      const known = state[i];
      if ((known & PacketState.ACKED) !== 0) {
        number -= ackedRun[i] + 1;
        steps++;
        continue;
      }
      if ((known & PacketState.SENT) === 0) return CloseCode.PROTOCOL_VIOLATION; // [PKT-23] as above
      state[i] = known | PacketState.ACKED;
      ackedRun[i] = 0;
      onAcked(sent, number, known, path, fates, now);
      number--;
    }
    const bottom = Math.max(number + 1, base);
    if (steps > STEPS_MAX) joinRuns(sent, top, bottom);
    else ackedRun[top & mask] = Math.min(top - bottom, RUN_MAX);
  }
  if (ranges[1] - 1 > sent.largestAcked) sent.largestAcked = ranges[1] - 1;
  return 0;
}

/**
 * Every packet of [bottom, top] is acknowledged: makes all the runs that were stepped over reach down to `bottom`, so that no later
 * range, wherever it begins, has to step over them again.
 */
function joinRuns(sent: SentPackets, top: number, bottom: number): void {
  const { ackedRun, mask } = sent.ring;
  for (let number = top; number > bottom; ) {
    const i = number & mask;
    const next = number - ackedRun[i] - 1;
    ackedRun[i] = Math.min(number - bottom, RUN_MAX);
    number = next;
  }
}

function onAcked(
  sent: SentPackets,
  number: number,
  known: number,
  path: Path,
  fates: PacketFates,
  now: Micros,
): void {
  if ((known & PacketState.OFF_PATH) !== 0) return onAckedElsewhere(sent, number, known, fates);
  const report = sent.reportOf(number);
  const { bytes } = report;
  if (bytes > fates.largestAckedBytes) fates.largestAckedBytes = bytes;
  if ((known & PacketState.LOST) !== 0 && (known & PacketState.IN_FLIGHT) !== 0) {
    fates.spurious.push(number);
    return;
  }
  fates.acked.push(number);
  if ((known & PacketState.IN_FLIGHT) === 0) return;
  sent.flight.bytes -= bytes;
  if ((known & PacketState.ACK_ELICITING) !== 0) {
    sent.flight.ackEliciting--;
    fates.isAckEliciting = true;
    if (countsAsLoss(fates, known)) path.loss.onAcked(number, now);
  }
  path.onPacketAcked(report, now);
}

/** The packet went another way than packets go now: what it carried arrived, and that is all. [CON-88] */
function onAckedElsewhere(sent: SentPackets, number: number, known: number, fates: PacketFates): void {
  if ((known & PacketState.LOST) !== 0 && (known & PacketState.IN_FLIGHT) !== 0) {
    fates.spurious.push(number);
    return;
  }
  fates.acked.push(number);
  if ((known & PacketState.IN_FLIGHT) === 0) return;
  sent.flight.bytes -= sent.reportOf(number).bytes;
  if ((known & PacketState.ACK_ELICITING) !== 0) sent.flight.ackEliciting--;
}

/**
 * Declares packets lost and sets the next loss deadline. Sent times grow with the numbers, so the pass begins where the last one stopped,
 * and stops at the first packet that may still arrive.
 */
export function detectLost(
  sent: SentPackets,
  now: Micros,
  thresholds: LossThresholds,
  path: Path,
  fates: PacketFates,
): void {
  const { largestAcked, loss, ring } = sent;
  const { state, sentTime, mask } = ring;
  const { packetThreshold, lossDelay } = thresholds;
  loss.deadline = NEVER;
  let number = loss.cursor;
  for (; number <= largestAcked; number++) {
    const i = number & mask;
    const known = state[i];
    if ((known & PacketState.ACKED) !== 0) {
      loss.runStart = NEVER; // [REC-22] whatever it carried, the path carried it
      continue;
    }
    // [REC-6] What is not in flight carried nothing that must arrive.
    if ((known & IN_FLIGHT_MASK) !== IN_FLIGHT) continue;
    const isBehind = number + packetThreshold <= largestAcked;
    if (!isBehind && sentTime[i] + lossDelay > now) {
      // [REC-7] The oldest that may still arrive sets the loss timer.
      loss.deadline = sentTime[i] + lossDelay;
      break;
    }
    declareLost(sent, number, isBehind ? PacketState.LOST : LOST_BY_TIME, fates);
    if ((known & PacketState.OFF_PATH) !== 0) continue; // [CON-88] of the old path
    const report = sent.reportOf(number);
    if ((known & PacketState.SIZE_PROBE) !== 0) {
      path.bytesInFlight -= report.bytes; // [REC-32] no congestion signal
    } else {
      thresholds.onLost(report.sentTime, now);
      path.onPacketLost(report, now);
      if (countsAsLoss(fates, known))
        path.loss.onLost(number, report.sentTime, (known & PacketState.CALM) !== 0, now);
      if (fates.smallestLostBytes === 0 || report.bytes < fates.smallestLostBytes)
        fates.smallestLostBytes = report.bytes;
      if (extendsLossRun(loss, known, report.sentTime, thresholds)) fates.isPersistent = true;
    }
  }
  loss.cursor = number;
}

/** Declares everything in flight below a number lost without a word about congestion: the peer can never have accepted it. */
export function withdraw(sent: SentPackets, below: number, path: Path, fates: PacketFates): void {
  const end = Math.min(below, sent.largestSent + 1);
  for (let number = sent.ring.base; number < end; number++) {
    const known = sent.ring.state[number & sent.ring.mask];
    if ((known & IN_FLIGHT_MASK) !== IN_FLIGHT) continue;
    declareLost(sent, number, PacketState.LOST, fates);
    path.bytesInFlight -= sent.reportOf(number).bytes;
  }
}

/** Of a lost packet: whether time told so, not later packets. */
export function isLostByTime({ ring }: SentPackets, number: number): boolean {
  return (ring.state[number & ring.mask] & PacketState.LOST_BY_TIME) !== 0;
}

function declareLost(sent: SentPackets, number: number, mark: number, fates: PacketFates): void {
  const { flight, ring } = sent;
  const i = number & ring.mask;
  const known = ring.state[i];
  ring.state[i] = known | mark;
  flight.bytes -= ring.bytes[i];
  if ((known & PacketState.ACK_ELICITING) !== 0) flight.ackEliciting--;
  fates.lost.push(number);
}

/** [REC-55] Whether what becomes of such a packet says how the path loses: probes for a larger size do not, nor what is not acknowledged. */
function countsAsLoss(fates: PacketFates, known: number): boolean {
  return (
    fates.space === PacketSpace.APPLICATION &&
    (known & (PacketState.ACK_ELICITING | PacketState.SIZE_PROBE)) === PacketState.ACK_ELICITING
  );
}

/** [REC-22] True when an unbroken run of lost ack-eliciting packets has become persistent congestion with this one. */
function extendsLossRun(
  loss: SentPackets['loss'],
  known: number,
  sentTime: Micros,
  thresholds: LossThresholds,
): boolean {
  if ((known & PacketState.ACK_ELICITING) === 0 || sentTime <= thresholds.persistentAfter) return false;
  if (loss.runStart === NEVER) {
    loss.runStart = sentTime;
    return false;
  }
  if (sentTime - loss.runStart <= thresholds.persistentDuration) return false;
  loss.runStart = NEVER;
  return true;
}

/**
 * How late or how far behind a packet must be to count as lost. The thresholds rise with each spurious loss up to a bound, because the
 * path reorders packets, and fall back when it has not done so for long.
 */
export class LossThresholds {
  /** A packet is lost so many packets behind an acknowledged one. */
  packetThreshold = PACKET_THRESHOLD;
  /** It is lost when sent so long before an acknowledged one that was sent later. */
  lossDelay: Micros = NEVER;
  /** Losses over more than this are persistent congestion. */
  persistentDuration: Micros = NEVER;
  /** Only packets sent after this count towards persistent congestion; NEVER before the first RTT sample. */
  persistentAfter: Micros = NEVER;

  /** What is waited beyond a round trip, as a fraction of it. */
  private extraFraction = EXTRA_FRACTION;
  /** Recovery periods since the last spurious loss, and when the newest began. */
  private periods = 0;
  private periodStart: Micros = -1;

  update(rtt: RttEstimator, peerMaxAckDelay: Micros): void {
    // [REC-9] An eighth more than a round trip, or more where the path reorders.
    const base = Math.max(rtt.latest, rtt.smoothed);
    const delay = Math.ceil(base * (1 + this.extraFraction));
    this.lossDelay = Math.max(delay, GRANULARITY);
    this.persistentDuration = PERSISTENT_FACTOR * (rtt.probeTimeout + peerMaxAckDelay);
    this.persistentAfter = rtt.hasSample ? rtt.firstSampleTime : NEVER;
  }

  /** A packet declared lost was acknowledged; before that, `largestAcked` was the largest acknowledged number. */
  onSpurious(sent: SentPackets, number: number, largestAcked: number): void {
    this.periods = 0;
    // [REC-10] Whichever threshold was wrong is raised.
    if ((sent.ring.state[number & sent.ring.mask] & PacketState.LOST_BY_TIME) !== 0) {
      this.extraFraction = Math.min(this.extraFraction * 2, EXTRA_FRACTION_MAX);
      return;
    }
    const seen = largestAcked - number + 1;
    this.packetThreshold = Math.min(Math.max(this.packetThreshold, seen), PACKET_THRESHOLD_MAX);
  }

  /** A packet is lost: a recovery period begins with the first that was sent after the last one began. */
  onLost(sentTime: Micros, now: Micros): void {
    if (sentTime <= this.periodStart) return;
    this.periodStart = now;
    if (++this.periods < PERIODS_TO_FORGET) return;
    this.packetThreshold = PACKET_THRESHOLD;
    this.extraFraction = EXTRA_FRACTION;
  }
}

const IN_FLIGHT = PacketState.SENT | PacketState.IN_FLIGHT;
const IN_FLIGHT_MASK = IN_FLIGHT | PacketState.ACKED | PacketState.LOST;
const LOST_BY_TIME = PacketState.LOST | PacketState.LOST_BY_TIME;
const RUN_MAX = 0xffff;
/** Runs that a range may step over one by one. */
const STEPS_MAX = 16;
/** Where {@link LossThresholds} begin: packets, and what is waited beyond a round trip as a fraction of it. */
export const PACKET_THRESHOLD = 3;
export const EXTRA_FRACTION = 1 / 8;
const PACKET_THRESHOLD_MAX = 64;
const EXTRA_FRACTION_MAX = 1;
const PERIODS_TO_FORGET = 16;
const PERSISTENT_FACTOR = 3;
