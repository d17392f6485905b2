/**
 * Decides what is done for a stream against loss, by what the path loses, how the stream sends and what was asked:
 *
 *   1. how long a message may take beyond the one-way delay, and what share may still be late;
 *   2. whether sending again what is lost is good enough, or is all that pays: then nothing;
 *   3. how many packets follow a message in that time, and how many of them must bring something of it;
 *   4. which way of bringing it costs least: repeats for messages that wait for no others, repairs over a window for those that do, repairs
 *      behind a message of many packets;
 *   5. as much of it as the bytes allow, and as window and pacer let out.
 */

import { MILLISECOND, type Micros, NEVER } from '../../base/time.ts';
import { PlanMode, ProtectionMode, type ProtectionOptions, type ProtectionPlan } from './protection.ts';
import { PACKET_BYTES, type StreamProtection } from './stream-protection.ts';

/** What the planner sees of the path. */
export interface PlannedPath {
  readonly loss: {
    readonly isLossy: boolean;
    /** Share of packets lost, and its upper bound. */
    readonly rate: number;
    readonly rateUpper: number;
    /** Mean length of a run of lost packets. */
    readonly runPackets: number;
  };
  readonly rtt: { readonly hasSample: boolean; readonly smoothed: Micros; readonly variance: Micros };
  /** Packet size in use. */
  readonly mtu: number;
}

/**
 * Makes the plan of a stream. [FEC-2]
 *
 * @param mayRepair - the peer takes repairs
 * @param halvings - how often protection was halved because window or pacer hold packets back
 */
export function planFor(
  { asked, bytes, interval, lifetime, plan, stream }: StreamProtection,
  path: PlannedPath,
  mayRepair: boolean,
  halvings: number,
): void {
  plan.clear();
  const { loss, rtt, mtu } = path;
  if (asked.mode === ProtectionMode.BLOCK) return planBlock(plan, asked, path, interval, mayRepair);
  if (asked.mode === ProtectionMode.OFF || !loss.isLossy || !rtt.hasSample || stream.isBulk) return;
  const latency = latencyOf(asked, lifetime, rtt.smoothed);
  const resent = Math.min(interval, 4 * MILLISECOND + 4 * rtt.variance) + rtt.smoothed;
  // A message that is late holds up what follows it on an ordered stream.
  const target = stream.ordered
    ? asked.residual / (1 + resent / Math.max(interval, MILLISECOND))
    : asked.residual;
  const { rate, rateUpper, runPackets } = loss;
  if (latency <= 0 || rateUpper <= target || (resent <= latency && rate * rate <= target)) return;
  plan.target = target;
  if (bytes > mtu * SMALL_SHARE) {
    if (mayRepair) plan.mode = PlanMode.BURST;
    return;
  }
  const later = Math.min(LATER_MAX, Math.floor(latency / Math.max(interval, 1)));
  const followers = Math.max(1, later);
  const needed = 1 + binomialQuantile(followers, rate, 1 - target / rateUpper);
  plan.flushAfter = later === 0 ? latency / 2 : flushAfter(latency, interval);
  const isBursty = runPackets > BURSTY_RUN;
  const prefersRepeats = !stream.ordered && (later <= 2 || isBursty);
  if (!mayRepair || prefersRepeats) {
    if (interval >= REPEAT_INTERVAL_MIN) planRepeats(plan, needed, later, isBursty ? runPackets : 1);
  } else planWindow(plan, needed / (followers * (1 - rate)), Math.max(later, 4 * runPackets));
  keepWithin(plan, bytes, asked.overheadMax, halvings);
  const copies = plan.repeats > 0 && later > 0 && halvings === 0;
  if (copies && isEdge(rate ** (plan.repeats + 1), target)) plan.apartShare = COPY_SHARE;
  // The one packet that follows in time brings only one of the symbols that may be missing by then.
  const fallsShort = plan.every === 1 && later === 1 && needed > 1;
  if (fallsShort && halvings === 0) plan.apartShare = apartShareOf(bytes, asked.overheadMax);
  if (plan.mode === PlanMode.NONE) plan.clear();
}

/**
 * A block has its size whatever the path loses. It ends early where the next packet is overdue; where packets are so far apart that a block
 * would take longer than sending again, each is one.
 */
function planBlock(
  plan: ProtectionPlan,
  asked: ProtectionOptions,
  { rtt }: PlannedPath,
  interval: Micros,
  mayRepair: boolean,
): void {
  if (!mayRepair) return;
  plan.mode = PlanMode.BLOCK;
  plan.span = asked.data;
  plan.repairs = asked.parity;
  const isSteady = interval <= Math.max(BLOCK_INTERVAL_MAX, rtt.smoothed);
  plan.flushAfter = isSteady
    ? Math.max(FLUSH_MIN, OVERDUE * interval)
    : latencyOf(asked, NEVER, rtt.smoothed) / 2;
}

/** Delay beyond the one-way delay that is worth bytes. */
function latencyOf(asked: ProtectionOptions, lifetime: Micros, rtt: Micros): Micros {
  if (asked.latencyMs > 0) return asked.latencyMs * MILLISECOND;
  return Math.min(lifetime - rtt / 2, Math.max(LATENCY_MIN, rtt / 4));
}

/** When a packet that should have been followed by another is followed by one of ours. */
function flushAfter(latency: Micros, interval: Micros): Micros {
  return Math.min(latency, Math.max(FLUSH_MIN, OVERDUE * interval));
}

function planRepeats(plan: ProtectionPlan, needed: number, later: number, run: number): void {
  plan.mode = PlanMode.REPEAT;
  plan.repeats = Math.min(REPEATS_MAX, needed);
  // A repeat that goes before the burst is over is lost with it.
  if (run > 1) plan.lag = Math.max(1, Math.min(later, Math.round(2 * run) + 2));
}

function planWindow(plan: ProtectionPlan, share: number, span: number): void {
  plan.mode = PlanMode.WINDOW;
  plan.every = EVERY.find((every) => share <= 1 / every) ?? 1;
  plan.span = Math.min(SPAN_MAX, Math.max(SPAN_MIN, Math.round(span)));
}

/** Does less where it would cost more than it may, or more than the path takes. [FEC-3] [FEC-4] */
function keepWithin(plan: ProtectionPlan, bytes: number, overheadMax: number, halvings: number): void {
  const bytesMax = overheadMax * (bytes + PACKET_BYTES);
  if (plan.mode === PlanMode.REPEAT) {
    plan.repeats = Math.min(
      plan.repeats,
      halvings > 1 ? 0 : Math.max(1, plan.repeats >> halvings),
      Math.floor(bytesMax / Math.max(1, bytes)),
    );
    if (plan.repeats === 0) plan.mode = PlanMode.NONE;
  } else if (plan.mode === PlanMode.WINDOW) {
    const every = Math.max(plan.every << halvings, (bytes + SYMBOL_BYTES) / Math.max(1, bytesMax));
    plan.every = [...EVERY].reverse().find((one) => one >= every) ?? 0;
    if (plan.every === 0) plan.mode = PlanMode.NONE;
  }
}

/** Of repairs that go with every packet, the share that may have packets of their own instead. [FEC-3] */
function apartShareOf(bytes: number, overheadMax: number): number {
  const spare = overheadMax * (bytes + PACKET_BYTES) - (bytes + SYMBOL_BYTES);
  return spare >= PACKET_BYTES ? 1 : Math.max(0, Math.min(APART_SHARE, spare / PACKET_BYTES));
}

/** Repeats alone may leave a little more than the target. */
function isEdge(late: number, target: number): boolean {
  return late > EDGE_LOW * target && late < EDGE_HIGH * target;
}

/** The least x with P(X <= x) >= q, X of `n` trials with probability `p`. */
export function binomialQuantile(n: number, p: number, q: number): number {
  let probability = (1 - p) ** n;
  let sum = probability;
  let x = 0;
  while (sum < q && x < n) {
    probability *= ((n - x) / (x + 1)) * (p / (1 - p));
    sum += probability;
    x++;
  }
  return x;
}

/** Messages up to this share of a packet are small. */
const SMALL_SHARE = 1 / 4;
const LATENCY_MIN: Micros = 10 * MILLISECOND;
/** More packets than so many behind a message are not reckoned with. */
const LATER_MAX = 64;
const BURSTY_RUN = 1.5;
const REPEATS_MAX = 3;
/** Who sends more often than this fills packets, or would be unfair to others with all that is repeated. */
const REPEAT_INTERVAL_MIN: Micros = MILLISECOND;
/** Shares of packets that carry a repair, most first. */
const EVERY: readonly number[] = [6, 4, 3, 2, 1];
const SPAN_MIN = 6;
const SPAN_MAX = 32;
/** What a repair costs beside its longest symbol. */
const SYMBOL_BYTES = 12;
/** Packets of a block are at most so far apart, or as far as a round trip is long. */
const BLOCK_INTERVAL_MAX: Micros = 20 * MILLISECOND;
const FLUSH_MIN: Micros = 2 * MILLISECOND;
/** A packet that does not come for so many times the usual time is overdue. */
const OVERDUE = 1.5;
const EDGE_LOW = 0.8;
const EDGE_HIGH = 2;
/** One in four left more than 1 % late more often, one in three cost more than 1.8 times the bytes, at 10 % loss and a message each 10 ms. */
const COPY_SHARE = 2 / 7;
/**
 * Where not all repairs can go apart: of two packets in a row one has to leave its repair behind, or both are lost with too little to make up
 * for them. At 10 % loss and a message each 10 ms 0.42 % of ordered messages are more than two packets late; with four of nine 0.6 %, as there one
 * that carries its own follows another.
 */
const APART_SHARE = 1 / 2;
