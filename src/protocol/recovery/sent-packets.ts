import { assert } from '../../base/errors.ts';
import { type Micros, NEVER } from '../../base/time.ts';
import { type Delivery, PacketReport } from '../congestion/controller.ts';
import { type RecordOwner, SentFrames } from '../wire/frames/sent-frames.ts';

/**
 * What was sent in one packet number space and is not settled yet: a ring of packets indexed by their number, each with its part of
 * {@link frames}, which say what it carried. A packet is recorded with begin, then its frames, then commit (or cancel).
 *
 * Acknowledged packets are freed when the ring needs their place; packets declared lost are kept for {@link retention}, so
 * that a late acknowledgement is recognised. Nothing is allocated unless a ring grows.
 */
export class SentPackets implements RecordOwner {
  /** Bytes sent and neither acknowledged nor declared lost. */
  bytesInFlight = 0;
  /** Ack-eliciting packets in flight. */
  ackElicitingInFlight = 0;
  largestSent = -1;
  largestAcked = -1;
  /** The largest number that was left out on purpose, or -1: known for good, also when its place in the ring is gone. */
  largestSkipped = -1;
  /** When the last ack-eliciting packet was sent. */
  lastAckElicitingTime: Micros = 0;
  /** When the next packet will count as lost by time, or NEVER. */
  lossDeadline: Micros = NEVER;
  /** How long after its sending the record of a lost packet is kept. */
  retention: Micros = 1_000_000;

  // The packet ring. Read and changed by the functions of this folder only.
  state: Uint8Array;
  sentTime: Float64Array;
  bytes: Uint16Array;
  /** For an acknowledged packet: how many numbers right below it are known to be acknowledged too. */
  ackedRun: Uint16Array;
  mask: number;
  /** The lowest number with a record. */
  base = 0;
  /** All numbers below are acknowledged, lost or skipped. */
  lossCursor = 0;
  /** Sent time of the first packet of an unbroken run of losses, or NEVER (RFC 9002 section 7.6). */
  lossRunStart: Micros = NEVER;

  /** Four numbers a packet: what {@link PacketReport} says of what was delivered before. Made when it is first wanted. */
  private delivery: Float64Array | null = null;
  private readonly report = new PacketReport();
  /** What the packets carried: of each packet `frameCount` records from `frameFirst` on. */
  readonly frames: SentFrames;
  private frameFirst: Uint32Array;
  private frameCount: Uint16Array;

  private pending = -1;
  private pendingTime: Micros = 0;
  private readonly capacityMin: number;
  private readonly packetsMax: number;

  /**
   * @param capacity - first size of both rings, a power of two
   * @param packetsMax - bound of {@link isFull}, a power of two; the ring has room for twice as many
   */
  constructor(capacity = 8, packetsMax = PACKETS_MAX) {
    this.capacityMin = capacity;
    this.packetsMax = packetsMax;
    this.mask = capacity - 1;
    this.state = new Uint8Array(capacity);
    this.sentTime = new Float64Array(capacity);
    this.bytes = new Uint16Array(capacity);
    this.ackedRun = new Uint16Array(capacity);
    this.frameFirst = new Uint32Array(capacity);
    this.frameCount = new Uint16Array(capacity);
    this.frames = new SentFrames(capacity, this);
  }

  /** True when no more data may be sent: the bound of outstanding packets is reached. Acknowledgements and probes still fit. */
  isFull(now: Micros): boolean {
    if (this.largestSent + 1 - this.base < this.packetsMax) return false;
    this.release(now, true);
    return this.largestSent + 1 - this.base >= this.packetsMax;
  }

  /**
   * True when not even an acknowledgement can be recorded any more: the peer makes us send, and lets the oldest packet go
   * unacknowledged all the while. [REC-12]
   */
  isExhausted(now: Micros): boolean {
    if (this.largestSent + 1 - this.base < 2 * this.packetsMax - 1) return false;
    this.release(now, true);
    return this.largestSent + 1 - this.base >= 2 * this.packetsMax - 1;
  }

  /** Starts the record of a packet. Numbers between the largest sent and this one are skipped: they are never sent. */
  begin(number: number, now: Micros): void {
    assert(this.pending < 0, 'a packet is being recorded already');
    assert(number > this.largestSent, 'packet numbers grow');
    this.makeRoom(number, now);
    this.frames.begin();
    this.pending = number;
    this.pendingTime = now;
  }

  /** The begun packet is going out with this size. `isSizeProbe`: it only tests whether the path carries this size. */
  commit(bytes: number, ackEliciting: boolean, inFlight: boolean, isSizeProbe = false): void {
    const number = this.pending;
    assert(number >= 0, 'commit follows begin');
    if (number > this.largestSent + 1) this.largestSkipped = number - 1;
    const firstSkipped = Math.max(this.largestSent + 1, this.base);
    for (let skipped = firstSkipped; skipped < number; skipped++) this.markSkipped(skipped & this.mask);
    const i = number & this.mask;
    let state: number = PacketState.SENT;
    if (ackEliciting) state |= PacketState.ACK_ELICITING;
    if (inFlight) state |= PacketState.IN_FLIGHT;
    if (isSizeProbe) state |= PacketState.SIZE_PROBE;
    this.state[i] = state;
    this.sentTime[i] = this.pendingTime;
    this.bytes[i] = bytes;
    this.frameFirst[i] = this.frames.head;
    this.frameCount[i] = this.frames.commit();
    this.largestSent = number;
    this.pending = -1;
    if (inFlight) {
      this.bytesInFlight += bytes;
      if (ackEliciting) {
        this.ackElicitingInFlight++;
        this.lastAckElicitingTime = this.pendingTime;
      }
    }
  }

  /** Notes what the path had delivered when the packet, the newest, was sent. */
  noteDelivery(delivery: Delivery): void {
    this.delivery ??= new Float64Array(4 * (this.mask + 1));
    const at = (this.largestSent & this.mask) << 2;
    this.delivery[at] = delivery.delivered;
    this.delivery[at + 1] = delivery.deliveredTime;
    this.delivery[at + 2] = delivery.firstSentTime;
    this.delivery[at + 3] = delivery.isAppLimited ? 1 : 0;
  }

  /** What a congestion controller is told of the packet; valid until the next call. */
  reportOf(number: number): PacketReport {
    const { delivery, report } = this;
    const i = number & this.mask;
    report.bytes = this.bytes[i];
    report.sentTime = this.sentTime[i];
    if (delivery === null) return report;
    report.delivered = delivery[i << 2];
    report.deliveredTime = delivery[(i << 2) + 1];
    report.firstSentTime = delivery[(i << 2) + 2];
    report.isAppLimited = delivery[(i << 2) + 3] !== 0;
    return report;
  }

  /** The begun packet is not going out; its number may be used again. */
  cancel(): void {
    this.pending = -1;
    this.frames.begin();
  }

  /** The oldest packet in flight that carries something, or -1: a bare PING, such as a probe for the packet size, mends nothing. */
  get oldestInFlight(): number {
    for (let number = this.lossCursor; number <= this.largestSent; number++) {
      const i = number & this.mask;
      const isInFlight = (this.state[i] & (PacketState.IN_FLIGHT | SETTLED)) === PacketState.IN_FLIGHT;
      if (isInFlight && this.frameCount[i] > 0) return number;
    }
    return -1;
  }

  /** True while the packet's record exists; its frames may be read only then. */
  holds(number: number): boolean {
    return (
      number >= this.base &&
      number <= this.largestSent &&
      (this.state[number & this.mask] & PacketState.SENT) !== 0
    );
  }

  /** Position of the packet's first frame in {@link frames}. */
  framesStart(number: number): number {
    return this.frameFirst[number & this.mask];
  }

  /** Position behind the packet's last frame. */
  framesEnd(number: number): number {
    const i = number & this.mask;
    return this.frameFirst[i] + this.frameCount[i];
  }

  sentTimeOf(number: number): Micros {
    return this.sentTime[number & this.mask];
  }

  bytesOf(number: number): number {
    return this.bytes[number & this.mask];
  }

  isSizeProbe(number: number): boolean {
    return (this.state[number & this.mask] & PacketState.SIZE_PROBE) !== 0;
  }

  /** Gives memory back when nothing is outstanding, for a connection that goes idle. */
  trim(): void {
    if (this.ackElicitingInFlight > 0 || this.bytesInFlight > 0 || this.pending >= 0) return;
    this.base = this.largestSent + 1;
    this.lossCursor = this.base;
    if (this.mask + 1 > this.capacityMin) this.resizePackets(this.capacityMin);
    this.frames.clear(this.capacityMin);
  }

  /** {@link frames} asks for room. */
  onRecordsFull(): void {
    this.release(this.pendingTime, false);
  }

  /** Frees settled packets from the low end. `force` forgets lost ones before their time. */
  private release(now: Micros, force: boolean): void {
    const end = this.largestSent + 1;
    let number = this.base;
    while (number < end) {
      const i = number & this.mask;
      const state = this.state[i];
      if ((state & SETTLED) === 0 && (state & PacketState.SENT) !== 0) {
        // A packet that is not in flight holds nothing that must arrive.
        if ((state & PacketState.IN_FLIGHT) !== 0) break;
      } else if ((state & (PacketState.LOST | PacketState.ACKED)) === PacketState.LOST) {
        if (!force && this.sentTime[i] + this.retention > now) break;
      }
      number++;
    }
    this.base = number;
    if (this.lossCursor < number) {
      // What loss detection did not come to see was acknowledged.
      this.lossCursor = number;
      this.lossRunStart = NEVER;
    }
    this.frames.forgetBefore(number < end ? this.frameFirst[number & this.mask] : this.frames.head);
  }

  private makeRoom(number: number, now: Micros): void {
    if (number - this.base <= this.mask) return;
    this.release(now, number - this.base >= this.packetsMax);
    if (this.base > this.largestSent) {
      this.base = number;
      this.lossCursor = number;
      return;
    }
    // At least half of a ring is free after it was cleared or grew, so that neither is frequent.
    let capacity = this.mask + 1;
    while (number - this.base >= capacity >> 1 && capacity < 2 * this.packetsMax) capacity *= 2;
    assert(number - this.base < capacity, 'no more packets are outstanding than the sent holds');
    if (capacity > this.mask + 1) this.resizePackets(capacity);
  }

  private markSkipped(i: number): void {
    this.state[i] = 0;
    this.frameFirst[i] = this.frames.head;
    this.frameCount[i] = 0;
  }

  private resizePackets(capacity: number): void {
    const mask = capacity - 1;
    const state = new Uint8Array(capacity);
    const sentTime = new Float64Array(capacity);
    const bytes = new Uint16Array(capacity);
    const ackedRun = new Uint16Array(capacity);
    const frameFirst = new Uint32Array(capacity);
    const frameCount = new Uint16Array(capacity);
    const delivery = this.delivery === null ? null : new Float64Array(4 * capacity);
    for (let number = this.base; number <= this.largestSent; number++) {
      const from = number & this.mask;
      const to = number & mask;
      state[to] = this.state[from];
      sentTime[to] = this.sentTime[from];
      bytes[to] = this.bytes[from];
      ackedRun[to] = this.ackedRun[from];
      frameFirst[to] = this.frameFirst[from];
      frameCount[to] = this.frameCount[from];
      if (this.delivery !== null) delivery?.set(this.delivery.subarray(4 * from, 4 * from + 4), 4 * to);
    }
    this.delivery = delivery;
    this.state = state;
    this.sentTime = sentTime;
    this.bytes = bytes;
    this.ackedRun = ackedRun;
    this.frameFirst = frameFirst;
    this.frameCount = frameCount;
    this.mask = mask;
  }
}

/** Bits of {@link SentPackets.state}. A number without SENT was skipped. */
export const PacketState = {
  SENT: 0x01,
  ACK_ELICITING: 0x02,
  IN_FLIGHT: 0x04,
  ACKED: 0x08,
  LOST: 0x10,
  /** LOST was concluded from time, not from later packets. */
  LOST_BY_TIME: 0x20,
  /** A probe for a larger packet size: its loss says nothing about congestion. */
  SIZE_PROBE: 0x40,
} as const;

/** A growing list of packet numbers, used again: how results are handed out without allocating. */
export class PacketList {
  count = 0;
  /** Only the first {@link count} are meaningful. Replaced when it grows: do not keep a reference. */
  numbers: Float64Array = new Float64Array(8);

  push(number: number): void {
    if (this.count === this.numbers.length) {
      const grown = new Float64Array(this.count * 2);
      grown.set(this.numbers);
      this.numbers = grown;
    }
    this.numbers[this.count++] = number;
  }

  clear(): void {
    this.count = 0;
  }
}

const SETTLED = PacketState.ACKED | PacketState.LOST;
/** [REC-12] The most numbers from the oldest outstanding packet to the newest one with data. */
export const PACKETS_MAX = 65_536;
