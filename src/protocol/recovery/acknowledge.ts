import type { Micros } from '../../base/time.ts';
import { CloseCode } from '../wire/close-code.ts';
import { PacketList } from './packet-list.ts';
import { PacketState } from './packet-state.ts';
import type { SentPackets } from './sent-packets.ts';

/** What one acknowledgement settled. Reused: valid until the next acknowledgement or timeout. */
export class Acknowledged {
  /** Newly acknowledged packets, newest first. */
  readonly acked = new PacketList();
  /** Packets acknowledged after they had been declared lost, newest first. */
  readonly spurious = new PacketList();
  /** Bytes of {@link acked} that were in flight and sent after the current recovery period began. */
  ackedBytes = 0;
  /** Size of the largest packet that is known now to have arrived. */
  largestPacketBytes = 0;
  /** True when an ack-eliciting packet is newly acknowledged. */
  ackEliciting = false;

  clear(): void {
    this.acked.clear();
    this.spurious.clear();
    this.ackedBytes = 0;
    this.largestPacketBytes = 0;
    this.ackEliciting = false;
  }
}

/**
 * Applies the ranges of an ACK frame to the packets sent in a space. The cost is that of the ranges and of the newly acknowledged packets:
 * runs of packets known to be acknowledged are stepped over at once. [REC-11]
 *
 * @param ranges - descending pairs [start, end)
 * @param recoveryStart - packets sent until then do not count into `ackedBytes`
 * @returns 0, or the code to close the connection with
 */
export function acknowledge(
  sent: SentPackets,
  ranges: Float64Array,
  rangeCount: number,
  recoveryStart: Micros,
  out: Acknowledged,
): number {
  if (rangeCount === 0) return 0;
  // [FRM-9]
  if (ranges[1] - 1 > sent.largestSent) return CloseCode.PROTOCOL_VIOLATION;
  const { state, ackedRun, mask, base, largestSkipped } = sent;
  for (let r = 0; r < rangeCount; r++) {
    const low = Math.max(ranges[2 * r], base);
    const top = ranges[2 * r + 1] - 1;
    if (top >= largestSkipped && ranges[2 * r] <= largestSkipped) return CloseCode.PROTOCOL_VIOLATION; // [PKT-23]
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
      // [PKT-23] The number was left out.
      if ((known & PacketState.SENT) === 0) return CloseCode.PROTOCOL_VIOLATION;
      state[i] = known | PacketState.ACKED;
      ackedRun[i] = 0;
      settle(sent, number, i, known, recoveryStart, out);
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
  const { ackedRun, mask } = sent;
  for (let number = top; number > bottom; ) {
    const i = number & mask;
    const next = number - ackedRun[i] - 1;
    ackedRun[i] = Math.min(number - bottom, RUN_MAX);
    number = next;
  }
}

function settle(
  sent: SentPackets,
  number: number,
  i: number,
  known: number,
  recoveryStart: Micros,
  out: Acknowledged,
): void {
  const bytes = sent.bytes[i];
  if (bytes > out.largestPacketBytes) out.largestPacketBytes = bytes;
  if ((known & PacketState.LOST) !== 0 && (known & PacketState.IN_FLIGHT) !== 0) {
    out.spurious.push(number);
    return;
  }
  out.acked.push(number);
  if ((known & PacketState.IN_FLIGHT) === 0) return;
  sent.bytesInFlight -= bytes;
  if (sent.sentTime[i] > recoveryStart) out.ackedBytes += bytes;
  if ((known & PacketState.ACK_ELICITING) !== 0) {
    sent.ackElicitingInFlight--;
    out.ackEliciting = true;
  }
}

const RUN_MAX = 0xffff;
/** Runs that a range may step over one by one. */
const STEPS_MAX = 16;
