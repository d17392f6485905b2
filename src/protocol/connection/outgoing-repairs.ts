/**
 * The repairs that a connection sends, so that its peer can recover packets that are lost:
 *
 *   1. a packet with new messages of a stream whose plan asks for repairs is protected: its symbol is kept ({@link OutgoingRepairs.onPacked});
 *   2. under a plan of windows every so many of them the next packet that goes out anyway carries a repair of the last ones; [FEC-52]
 *   3. under a plan of blocks or bursts repairs follow the last packet of one at once, each in a packet of its own; [FEC-54]
 *   4. what no other packet followed in time is followed by a repair in a packet of its own;
 *   5. what a lost packet carried is held back for a moment, while a repair of it is on its way ({@link OutgoingRepairs.holds}).
 *
 * Nothing is allocated until a packet is protected.
 */

import { MILLISECOND, type Micros, NEVER, SECOND } from '../../base/time.ts';
import { BurstSizes } from '../fec/burst-size.ts';
import type { ConnectionProtection } from '../fec/connection-protection.ts';
import { PlanMode } from '../fec/protection.ts';
import { RepairEncoder } from '../fec/repair-encoder.ts';
import { PACKET_BYTES, type StreamProtection } from '../fec/stream-protection.ts';
import type { Path } from '../path/path.ts';
import { hold, isRecovered, letGo } from '../recovery/recovered-packets.ts';
import { PacketState, type SentPackets } from '../recovery/sent-packets.ts';
import type { ConnectionCounters } from '../trace/counters.ts';
import { FrameType } from '../wire/frame-type.ts';
import type { FrameWriter } from '../wire/frame-writer.ts';
import { SPAN_MAX, SYMBOL_BYTES_MAX } from '../wire/frames/repair.ts';

/** Room that a packet leaves when its symbol may have to fit into a REPAIR: the frame's fields, its mask, and a longer packet number. */
export const REPAIR_ROOM = 24;

export class OutgoingRepairs {
  private readonly counters: ConnectionCounters;
  private readonly path: Path;
  private readonly protection: ConnectionProtection;
  private encoder: RepairEncoder | null = null;
  private bursts: BurstSizes | null = null;
  /** The last protected numbers, at their count modulo the length, and their count. Empty where none was. */
  private numbers = NONE;
  private count = 0;
  /** Whose new messages the newest has. */
  private latest: StreamProtection | null = null;

  /** Protected packets since a repair of the window was due, and what the next one covers while it is. */
  private sinceRepair = 0;
  private window = NO_GROUP;

  /** The open block or burst. */
  private open = NO_GROUP;
  /** The last one that ended, as far as its repairs are still to be sent. */
  private ended = NO_GROUP;

  /** Repairs that may be on their way, each as the number of its packet and those from and to which it covers; the oldest give way. */
  private sentRepairs = NONE;
  private sentCount = 0;
  /** Lost packets whose frames are held back, and until when. */
  private held: number[] = NONE_HELD;
  private heldUntil: Micros[] = NONE_HELD;

  /** Repairs sent while the path lost packets, since the peer last recovered one. */
  private fruitless = 0;

  constructor(counters: ConnectionCounters, path: Path, protection: ConnectionProtection) {
    this.counters = counters;
    this.path = path;
    this.protection = protection;
  }

  /** Packets are protected, or repairs are still due. */
  get isOn(): boolean {
    return this.protection.isRepairing || this.ended.repairs > 0;
  }

  /** A repair is to go out, in a packet of its own if need be. */
  get isDue(): boolean {
    return this.ended.repairs > 0 || this.isFlushDue;
  }

  /** When {@link release} has something to say, or NEVER. */
  get nextTimeout(): Micros {
    return this.heldUntil.length === 0 ? NEVER : Math.min(...this.heldUntil);
  }

  // ---- packets ----

  /**
   * Writes the repair that is due, if one is: at most one a packet, so that they are not lost together. [FEC-51]
   *
   * @param isEmpty - the packet is empty, so that what does not fit never will
   */
  write(w: FrameWriter, carrying: number, isEmpty: boolean): void {
    const { ended, latest, window } = this;
    const isFlush = this.isFlushDue && latest !== null;
    if (isFlush) this.flush(latest);
    if (ended.repairs > 0) return this.writeOfGroup(w, carrying, isEmpty);
    if (window.stream === null) return;
    const { packets } = window.stream;
    if (!isFlush && window.stream.isApart(packets + 1)) return; // [FEC-52] it goes behind this packet
    window.first = this.numberBack(window.stream.plan.span);
    window.last = this.numberBack(1);
    // The next packet carries one of its own all the same.
    const isApart = isFlush && window.stream.isApart(packets);
    this.writeRepair(w, carrying, window, isFlush);
    if (!isApart) window.clear();
  }

  /** Keeps the symbol w.out[start, end) of a packet that is about to go out. True when it is protected. [FEC-42] */
  onPacked(number: number, w: FrameWriter, start: number): boolean {
    const { protection } = this;
    const stream = protection.repaired;
    protection.repaired = null;
    const bytes = w.at - start;
    if (stream === null || bytes === 0 || bytes > SYMBOL_BYTES_MAX || bytes > w.limit - start - REPAIR_ROOM)
      return false;
    this.encoder ??= this.begin();
    if (!this.encoder.keep(number, w.out, start, w.at)) return false;
    this.latest = stream;
    this.numbers[this.count++ % SPAN_MAX] = number;
    this.counters.packetsProtected++;
    if (stream.plan.mode === PlanMode.WINDOW) this.onWindowPacket(stream);
    else this.onGroupPacket(number, stream);
    return true;
  }

  /** There is nothing more to send: a burst is over. True when repairs are to follow it. */
  onDrained(): boolean {
    const { open } = this;
    if (open.stream?.plan.mode !== PlanMode.BURST) return false;
    this.endGroup();
    return this.ended.repairs > 0;
  }

  // ---- what became of packets ----

  /** Packets are, or were lately, protected: it is to be told of their fates. */
  get isTracking(): boolean {
    return this.encoder !== null;
  }

  /** Frames of lost packets wait: see {@link release}. */
  get isHolding(): boolean {
    return this.held.length > 0;
  }

  /** The packet arrived, or was recovered: repairs need not cover it. */
  onAcked(number: number): void {
    this.encoder?.forget(number);
  }

  /** The peer recovered packets, so that repairs are of use. */
  onRecovered(): void {
    this.fruitless = 0;
  }

  /**
   * True when the frames of a lost packet are to wait: a repair that covers it is on its way. They wait no longer than that repair, and not
   * for long. Congestion control has heard of the loss already. [FEC-50]
   */
  holds(number: number, sent: SentPackets, now: Micros): boolean {
    if (this.isProtected(number)) this.counters.packetsProtectedLost++;
    if (isRecovered(sent, number) || !this.isCovered(number, sent)) return false;
    if (this.held.length === HELD_MAX) return false;
    hold(sent, number);
    if (this.held === NONE_HELD) {
      this.held = [];
      this.heldUntil = [];
    }
    this.held.push(number);
    this.heldUntil.push(now + this.holdTime);
    return true;
  }

  /** The next packet with frames that waited for long enough, or -1: what went ahead of its symbol, and that, if it was not recovered. [FEC-47] */
  release(sent: SentPackets, now: Micros): number {
    for (let i = 0; i < this.held.length; ) {
      const number = this.held[i];
      const isOpen = isUnacknowledged(number, sent);
      const mayCome = isOpen && !isRecovered(sent, number);
      if (mayCome && now < this.heldUntil[i] && this.isCovered(number, sent)) {
        i++;
        continue;
      }
      letGo(sent, number);
      this.held.splice(i, 1);
      this.heldUntil.splice(i, 1);
      if (isOpen) return number;
    }
    return -1;
  }

  /** Gives memory back, for a connection that goes idle. */
  trim(): void {
    this.encoder = null;
    this.bursts = null;
    this.count = 0;
    this.numbers = NONE;
    this.latest = null;
    this.window = NO_GROUP;
    this.open = NO_GROUP;
    this.ended = NO_GROUP;
  }

  // ---- inside ----

  /** Something is to be protected, for the first time or after a {@link trim}. */
  private begin(): RepairEncoder {
    this.numbers = new Float64Array(SPAN_MAX).fill(-1);
    if (this.sentRepairs === NONE) this.sentRepairs = new Float64Array(3 * REPAIRS_KEPT).fill(-1);
    this.window = new Group();
    this.open = new Group();
    this.ended = new Group();
    return new RepairEncoder();
  }

  /** Whose new messages the newest protected packet has is to be flushed, and still by repairs. */
  private get isFlushDue(): boolean {
    const { latest } = this;
    return latest?.isFlushDue === true && latest.plan.mode > PlanMode.REPEAT;
  }

  /** The newest protected packet, which is this stream's, was not followed in time. [FEC-53] */
  private flush(stream: StreamProtection): void {
    stream.endFlush();
    if (stream.plan.mode === PlanMode.WINDOW) this.window.stream = stream;
    else if (this.open.count > 0) this.endGroup();
  }

  private onWindowPacket(stream: StreamProtection): void {
    this.sinceRepair++;
    if (this.sinceRepair < stream.plan.every) return;
    this.sinceRepair = 0;
    this.window.stream = stream;
  }

  private onGroupPacket(number: number, stream: StreamProtection): void {
    const { open } = this;
    if (open.count > 0 && open.stream !== stream) this.endGroup();
    open.add(number, stream);
    const { mode, span, repairs } = stream.plan;
    const isFull = open.count >= (mode === PlanMode.BLOCK ? span : BURST_PACKETS_MAX);
    // A repair in a packet too far behind could not cover all of it. [FEC-24]
    const reach = SPAN_MAX - 2 - Math.min(repairs, SPAN_MAX / 2);
    if (isFull || number - open.first >= reach) this.endGroup();
  }

  /** The open block or burst is over; repairs that are left of the one before it are not sent any more. */
  private endGroup(): void {
    const { ended, open } = this;
    const { stream } = open;
    if (stream === null) return;
    ended.take(open);
    const { plan, asked } = stream;
    if (plan.mode === PlanMode.BLOCK) {
      ended.repairs = Math.ceil((plan.repairs * ended.count) / plan.span);
    } else if (plan.mode === PlanMode.BURST) {
      const repairs = this.repairsFor(ended.count, plan.target);
      ended.repairs = repairs <= asked.overheadMax * ended.count || ended.count === 1 ? repairs : 0;
    }
  }

  private repairsFor(packets: number, target: number): number {
    const { rate, runPackets } = this.path.loss;
    this.bursts ??= new BurstSizes();
    this.bursts.update({ loss: rate, burst: runPackets }, target);
    return this.bursts.repairsFor(packets);
  }

  private writeOfGroup(w: FrameWriter, carrying: number, isEmpty: boolean): void {
    const { ended } = this;
    const written = this.writeRepair(w, carrying, ended, true);
    if (written === Written.NO_ROOM && !isEmpty) return;
    ended.repairs--;
    ended.isFirst = false;
    // Everything arrived meanwhile, or no packet is large enough for it, or it may cost no more.
    if (written !== Written.YES) ended.clear();
  }

  /** Writes one repair of what is kept of a group. @param makesPacket - there may be no packet but for it */
  private writeRepair(w: FrameWriter, carrying: number, group: Group, makesPacket: boolean): Written {
    const { encoder } = this;
    const { stream, first, last, isFirst } = group;
    const bytes = encoder === null ? 0 : encoder.size(carrying, first, last);
    if (encoder === null || stream === null || bytes === 0) return Written.NOTHING;
    if (bytes > w.room) return Written.NO_ROOM;
    const cost = makesPacket ? bytes + PACKET_BYTES : bytes;
    if (!affords(stream, cost)) return Written.NOTHING;
    if (encoder.write(w, carrying, first, last, isFirst) === 0) return Written.NOTHING;
    if (stream.plan.mode !== PlanMode.BLOCK) stream.budget.spend(cost);
    w.sent.plain(FrameType.REPAIR);
    this.counters.repairBytesSent += cost;
    this.noteSent(carrying, first, last, w.now);
    return Written.YES;
  }

  private noteSent(carrying: number, first: number, last: number, now: Micros): void {
    this.counters.repairsSent++;
    const at = 3 * (this.sentCount++ % REPAIRS_KEPT);
    this.sentRepairs[at] = carrying;
    this.sentRepairs[at + 1] = first;
    this.sentRepairs[at + 2] = last;
    if (this.path.loss.rate <= FRUITFUL_LOSS || ++this.fruitless < FRUITLESS_MAX) return;
    this.fruitless = 0;
    this.protection.pauseRepairs(now + PAUSE);
  }

  /**
   * A window has more repairs to come: it is waited for what the next one brought, if that is known soon. What went again before that had most
   * often been recovered when it came: 97 times of 100 at 10 % loss and a message each 10 ms, for 1.3 % of the bytes.
   */
  private get holdTime(): Micros {
    const { latest } = this;
    const { smoothed } = this.path.rtt;
    const usual = Math.ceil(Math.max(HOLD_MIN, smoothed / 8));
    const between = latest === null || latest.plan.every === 0 ? NEVER : latest.plan.every * latest.interval;
    const soon = smoothed / 4;
    return between > soon ? usual : Math.max(usual, Math.ceil(Math.min(soon, NEXT_REPAIR * between)));
  }

  /** Whether the packet is one of the last that were protected. */
  private isProtected(number: number): boolean {
    return this.numbers.includes(number);
  }

  /** Whether a repair that covers the number is in flight. */
  private isCovered(number: number, sent: SentPackets): boolean {
    const { sentRepairs } = this;
    for (let at = 0; at < sentRepairs.length; at += 3) {
      if (number < sentRepairs[at + 1] || number > sentRepairs[at + 2]) continue;
      if (isInFlight(sentRepairs[at], sent)) return true;
    }
    return false;
  }

  /** The protected number that is `back` packets back, or the oldest that is known. */
  private numberBack(back: number): number {
    const steps = Math.min(back, this.count, SPAN_MAX);
    return this.numbers[(this.count - steps) % SPAN_MAX];
  }
}

/** Protected packets that the same repairs cover. */
class Group {
  /** Whose plan it follows; null while there is none. */
  stream: StreamProtection | null = null;
  first = 0;
  last = 0;
  /** Packets in it. */
  count = 0;
  /** Repairs to send. */
  repairs = 0;
  /** No repair of it was sent yet: the first may be a mere sum. */
  isFirst = false;

  add(number: number, stream: StreamProtection): void {
    if (this.count === 0) this.first = number;
    this.stream = stream;
    this.last = number;
    this.count++;
  }

  /** Takes the packets of another, which is empty then. */
  take(other: Group): void {
    this.stream = other.stream;
    this.first = other.first;
    this.last = other.last;
    this.count = other.count;
    this.isFirst = true;
    other.clear();
  }

  clear(): void {
    this.stream = null;
    this.count = 0;
    this.repairs = 0;
    this.isFirst = false;
  }
}

/** What became of an attempt to write a repair. */
const Written = { YES: 0, NO_ROOM: 1, NOTHING: 2 } as const;
type Written = (typeof Written)[keyof typeof Written];

/** [FEC-3] A block that the application chose costs what it costs; repairs of a burst are a share of it, however large it is. */
function affords({ budget, plan }: StreamProtection, bytes: number): boolean {
  if (plan.mode === PlanMode.BLOCK) return true;
  return plan.mode === PlanMode.BURST ? budget.affordsOfAll(bytes) : budget.affords(bytes);
}

function isInFlight(number: number, { ring }: SentPackets): boolean {
  if (number < ring.base) return false;
  return (ring.state[number & ring.mask] & FLIGHT_MASK) === PacketState.IN_FLIGHT;
}

function isUnacknowledged(number: number, { ring }: SentPackets): boolean {
  return number >= ring.base && (ring.state[number & ring.mask] & PacketState.ACKED) === 0;
}

const FLIGHT_MASK = PacketState.IN_FLIGHT | PacketState.ACKED | PacketState.LOST;
/** What all have that protect nothing: never written to. */
const NO_GROUP = new Group();
const NONE_HELD: number[] = [];
const NONE = new Float64Array(0);
const REPAIRS_KEPT = 64;
const HELD_MAX = 64;
const HOLD_MIN: Micros = 2 * MILLISECOND;
/** After so many times the usual time between repairs the acknowledgement of the next one is there. */
const NEXT_REPAIR = 1.5;
/** A burst of more packets has its repairs before it is over. */
const BURST_PACKETS_MAX = 32;
/** [FEC-55] After so many repairs that brought nothing back, while more than this share of packets is lost, none are sent for so long. */
const FRUITLESS_MAX = 1_000;
const FRUITFUL_LOSS = 0.01;
const PAUSE: Micros = 60 * SECOND;
