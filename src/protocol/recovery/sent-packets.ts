import { assert } from '../../base/errors.ts';
import { type Micros, NEVER } from '../../base/time.ts';
import { type Delivery, PacketReport } from '../congestion/delivery-rate.ts';
import { type RecordOwner, SentFrames } from '../wire/frames/sent-frames.ts';

/**
 * What was sent in one packet number space and is not settled yet: a ring of packets indexed by their number, each with its part of
 * {@link frames}, which say what it carried. A packet is recorded with begin, then its frames, then commit (or cancel).
 *
 * Acknowledged packets are freed when the ring needs their place; packets declared lost are kept for {@link retention}, so
 * that a late acknowledgement is recognised. Nothing is allocated unless a ring grows, from no room at all before the first packet and after
 * a {@link trim}.
 */
export class SentPackets implements RecordOwner {
  readonly flight = new Flight();
  readonly loss = new LossProgress();
  /** The records. Read and changed by the functions of this folder only; replaced when there is another number of them: do not keep it. */
  ring: PacketRing;
  /** What the packets carried: of each packet `frameCount` records from `frameFirst` on. */
  readonly frames: SentFrames;
  largestSent = -1;
  largestAcked = -1;
  /** The largest number that was left out on purpose, or -1: known for good, also when its place in the ring is gone. */
  largestSkipped = -1;
  /** How long after its sending the record of a lost packet is kept. */
  retention: Micros = 1_000_000;

  private pending = -1;
  private pendingTime: Micros = 0;
  private readonly capacityMin: number;
  private readonly packetsMax: number;

  /**
   * @param capacity - size of both rings with the first packet, a power of two
   * @param packetsMax - bound of {@link isFull}, a power of two; the ring has room for twice as many
   */
  constructor(capacity = 8, packetsMax = PACKETS_MAX) {
    this.capacityMin = capacity;
    this.packetsMax = packetsMax;
    this.ring = new PacketRing(0);
    this.frames = new SentFrames(capacity, this);
  }

  /** True when no more data may be sent: the bound of outstanding packets is reached. Acknowledgements and probes still fit. */
  isFull(now: Micros): boolean {
    if (this.largestSent + 1 - this.ring.base < this.packetsMax) return false;
    this.release(now, true);
    return this.largestSent + 1 - this.ring.base >= this.packetsMax;
  }

  /**
   * True when not even an acknowledgement can be recorded any more: the peer makes us send, and lets the oldest packet go
   * unacknowledged all the while. [REC-12]
   */
  isExhausted(now: Micros): boolean {
    if (this.largestSent + 1 - this.ring.base < 2 * this.packetsMax - 1) return false;
    this.release(now, true);
    return this.largestSent + 1 - this.ring.base >= 2 * this.packetsMax - 1;
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

  /**
   * The begun packet is going out with this size.
   * @param isSizeProbe - it only tests whether the path carries this size
   * @param isCalm - the round-trip time shows no queue
   * @param delivery - what the path has delivered, when the congestion controller wants to know it with the packet
   */
  commit(
    bytes: number,
    ackEliciting: boolean,
    inFlight: boolean,
    isSizeProbe = false,
    isCalm = true,
    delivery: Delivery | null = null,
  ): void {
    const { flight, frames, pending: number, pendingTime, ring } = this;
    assert(number >= 0, 'commit follows begin');
    if (number > this.largestSent + 1) this.largestSkipped = number - 1;
    const firstSkipped = Math.max(this.largestSent + 1, ring.base);
    for (let skipped = firstSkipped; skipped < number; skipped++) ring.skip(skipped, frames.head);
    const i = number & ring.mask;
    let state: number = PacketState.SENT;
    if (ackEliciting) state |= PacketState.ACK_ELICITING;
    if (inFlight) state |= PacketState.IN_FLIGHT;
    if (isSizeProbe) state |= PacketState.SIZE_PROBE;
    if (isCalm) state |= PacketState.CALM;
    ring.state[i] = state;
    ring.sentTime[i] = pendingTime;
    ring.bytes[i] = bytes;
    ring.frameFirst[i] = frames.head;
    ring.frameCount[i] = frames.commit();
    if (delivery !== null) ring.noteDelivery(number, delivery);
    this.largestSent = number;
    this.pending = -1;
    if (!inFlight) return;
    flight.bytes += bytes;
    if (!ackEliciting) return;
    flight.ackEliciting++;
    flight.lastAckElicitingTime = pendingTime;
  }

  /** What a congestion controller is told of the packet; valid until the next call, of any space and connection. */
  reportOf(number: number): PacketReport {
    const { ring } = this;
    const i = number & ring.mask;
    REPORT.number = number;
    REPORT.bytes = ring.bytes[i];
    REPORT.sentTime = ring.sentTime[i];
    if (ring.delivery !== null) ring.reportDelivery(number, REPORT);
    return REPORT;
  }

  /** The begun packet is not going out; its number may be used again. */
  cancel(): void {
    this.pending = -1;
    this.frames.begin();
  }

  /** The oldest packet in flight that carries something, or -1: a bare PING, such as a probe for the packet size, mends nothing. */
  get oldestInFlight(): number {
    const { frameCount, mask, state } = this.ring;
    for (let number = this.loss.cursor; number <= this.largestSent; number++) {
      const i = number & mask;
      const isInFlight = (state[i] & OPEN_MASK) === PacketState.IN_FLIGHT;
      if (isInFlight && frameCount[i] > 0) return number;
    }
    return -1;
  }

  /** Position of the packet's first frame in {@link frames}. */
  framesStart(number: number): number {
    return this.ring.frameFirst[number & this.ring.mask];
  }

  /** Position behind the packet's last frame. */
  framesEnd(number: number): number {
    const { ring } = this;
    const i = number & ring.mask;
    return ring.frameFirst[i] + ring.frameCount[i];
  }

  isSizeProbe(number: number): boolean {
    return (this.ring.state[number & this.ring.mask] & PacketState.SIZE_PROBE) !== 0;
  }

  /** Gives memory back when nothing is outstanding, for a connection that goes idle. */
  trim(): void {
    const { flight, ring } = this;
    if (flight.ackEliciting > 0 || flight.bytes > 0 || this.pending >= 0 || this.isHolding()) return;
    if (ring.mask >= 0) this.ring = new PacketRing(0);
    this.ring.base = this.largestSent + 1;
    this.loss.cursor = this.ring.base;
    this.frames.clear();
  }

  /** {@link frames} asks for room. */
  onRecordsFull(): void {
    this.release(this.pendingTime, false);
  }

  /** Frees settled packets from the low end. `force` forgets lost ones before their time. */
  private release(now: Micros, force: boolean): void {
    const { frames, loss, ring } = this;
    const end = this.largestSent + 1;
    let number = ring.base;
    while (number < end) {
      const i = number & ring.mask;
      const state = ring.state[i];
      if ((state & SETTLED) === 0 && (state & PacketState.SENT) !== 0) {
        // A packet that is not in flight holds nothing that must arrive.
        if ((state & PacketState.IN_FLIGHT) !== 0) break;
      } else if ((state & (PacketState.LOST | PacketState.ACKED)) === PacketState.LOST) {
        if ((state & PacketState.HELD) !== 0) break; // its frames are still to be told of
        if (!force && ring.sentTime[i] + this.retention > now) break;
      }
      number++;
    }
    ring.base = number;
    if (loss.cursor < number) {
      // What loss detection did not come to see was acknowledged.
      loss.cursor = number;
      loss.runStart = NEVER;
    }
    frames.forgetBefore(number < end ? ring.frameFirst[number & ring.mask] : frames.head);
  }

  /** Frames of a lost packet are still to be told of. */
  private isHolding(): boolean {
    const { ring } = this;
    for (let number = ring.base; number <= this.largestSent; number++) {
      if ((ring.state[number & ring.mask] & PacketState.HELD) !== 0) return true;
    }
    return false;
  }

  private makeRoom(number: number, now: Micros): void {
    const { ring } = this;
    if (number - ring.base <= ring.mask) return;
    this.release(now, number - ring.base >= this.packetsMax);
    if (ring.base > this.largestSent) {
      ring.base = number;
      this.loss.cursor = number;
      if (ring.mask >= 0) return;
    }
    // At least half of a ring is free after it was cleared or grew, so that neither is frequent.
    let capacity = Math.max(ring.mask + 1, this.capacityMin);
    while (number - ring.base >= capacity >> 1 && capacity < 2 * this.packetsMax) capacity *= 2;
    assert(number - ring.base < capacity, 'no more packets are outstanding than there is room for');
    if (capacity > ring.mask + 1) this.ring = ring.resized(capacity, this.largestSent);
  }
}

/** What of a space counts against the congestion window. */
class Flight {
  /** Bytes sent and neither acknowledged nor declared lost. */
  bytes = 0;
  /** Ack-eliciting packets in flight. */
  ackEliciting = 0;
  /** When the last of them was sent. */
  lastAckElicitingTime: Micros = 0;
}

/** How far loss detection has come in a space. */
class LossProgress {
  /** When the next packet will count as lost by time, or NEVER. */
  deadline: Micros = NEVER;
  /** All numbers below are acknowledged, lost or skipped. */
  cursor = 0;
  /** Sent time of the first packet of an unbroken run of losses, or NEVER (RFC 9002 section 7.6). */
  runStart: Micros = NEVER;
}

/** The records of packets from {@link base} on, as columns: that of a number is at `number & mask`. */
export class PacketRing {
  /** Bits of {@link PacketState}. */
  readonly state: Uint16Array;
  readonly sentTime: Float64Array;
  readonly bytes: Uint16Array;
  /** For an acknowledged packet: how many numbers right below it are known to be acknowledged too. */
  readonly ackedRun: Uint16Array;
  readonly frameFirst: Uint32Array;
  readonly frameCount: Uint16Array;
  /** {@link DELIVERY_NUMBERS} a packet: what {@link PacketReport} says of what was delivered before. Made when it is first wanted. */
  delivery: Float64Array | null = null;
  readonly mask: number;
  /** The lowest number with a record. */
  base = 0;

  /** @param capacity - a power of two, or 0: what all rings without room have is the same */
  constructor(capacity: number) {
    const isEmpty = capacity === 0;
    this.mask = capacity - 1;
    this.state = isEmpty ? NO_COLUMN : new Uint16Array(capacity);
    this.sentTime = isEmpty ? NO_NUMBERS : new Float64Array(capacity);
    this.bytes = isEmpty ? NO_COLUMN : new Uint16Array(capacity);
    this.ackedRun = isEmpty ? NO_COLUMN : new Uint16Array(capacity);
    this.frameFirst = isEmpty ? NO_FRAMES : new Uint32Array(capacity);
    this.frameCount = isEmpty ? NO_COLUMN : new Uint16Array(capacity);
  }

  /** The number is never sent. */
  skip(number: number, frameFirst: number): void {
    const i = number & this.mask;
    this.state[i] = 0;
    this.frameFirst[i] = frameFirst;
    this.frameCount[i] = 0;
  }

  noteDelivery(number: number, delivery: Delivery): void {
    this.delivery ??= new Float64Array(DELIVERY_NUMBERS * (this.mask + 1));
    const { delivery: column } = this;
    const at = DELIVERY_NUMBERS * (number & this.mask);
    column[at] = delivery.delivered;
    column[at + 1] = delivery.deliveredTime;
    column[at + 2] = delivery.firstSentTime;
    column[at + 3] = delivery.lost;
    column[at + 4] = delivery.inFlight;
    column[at + 5] = 2 * delivery.tag + (delivery.isAppLimited ? 1 : 0);
  }

  reportDelivery(number: number, report: PacketReport): void {
    const { delivery: column } = this;
    if (column === null) return;
    const at = DELIVERY_NUMBERS * (number & this.mask);
    report.delivered = column[at];
    report.deliveredTime = column[at + 1];
    report.firstSentTime = column[at + 2];
    report.lost = column[at + 3];
    report.inFlight = column[at + 4];
    report.isAppLimited = (column[at + 5] & 1) !== 0;
    report.tag = column[at + 5] >> 1;
  }

  /** A ring of another capacity, a power of two, with the records up to `largest`, which must fit. */
  resized(capacity: number, largest: number): PacketRing {
    const ring = new PacketRing(capacity);
    ring.base = this.base;
    if (this.delivery !== null) ring.delivery = new Float64Array(DELIVERY_NUMBERS * capacity);
    for (let number = this.base; number <= largest; number++) {
      const from = number & this.mask;
      const to = number & ring.mask;
      ring.state[to] = this.state[from];
      ring.sentTime[to] = this.sentTime[from];
      ring.bytes[to] = this.bytes[from];
      ring.ackedRun[to] = this.ackedRun[from];
      ring.frameFirst[to] = this.frameFirst[from];
      ring.frameCount[to] = this.frameCount[from];
      if (this.delivery === null) continue;
      const column = this.delivery.subarray(DELIVERY_NUMBERS * from, DELIVERY_NUMBERS * (from + 1));
      ring.delivery?.set(column, DELIVERY_NUMBERS * to);
    }
    return ring;
  }
}

/** Bits of {@link PacketRing.state}. A number without SENT was skipped. */
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
  /** It did not come, but the peer has its symbol from repairs. */
  RECOVERED: 0x80,
  /** It was sent when the round-trip time showed no queue on the path. */
  CALM: 0x100,
  /** It is lost, and what it carried is told of later: its record stays. */
  HELD: 0x200,
  /** It went another way than packets go now: what becomes of it says nothing of the path. */
  OFF_PATH: 0x400,
} as const;

/** A growing list of packet numbers, used again: how results are handed out without allocating. */
export class PacketList {
  count = 0;
  /** Only the first {@link count} are meaningful. Replaced when it grows: do not keep a reference. */
  numbers: Float64Array = NO_NUMBERS;

  push(number: number): void {
    if (this.count === this.numbers.length) {
      const grown = new Float64Array(Math.max(LIST_AT_FIRST, this.count * 2));
      grown.set(this.numbers);
      this.numbers = grown;
    }
    this.numbers[this.count++] = number;
  }

  clear(): void {
    this.count = 0;
  }

  /** Forgets all numbers, and gives memory back. */
  trim(): void {
    this.count = 0;
    this.numbers = NO_NUMBERS;
  }
}

const DELIVERY_NUMBERS = 6;
const LIST_AT_FIRST = 8;
const NO_NUMBERS = new Float64Array(0);
const NO_COLUMN = new Uint16Array(0);
const NO_FRAMES = new Uint32Array(0);
const REPORT = new PacketReport();
const SETTLED = PacketState.ACKED | PacketState.LOST;
/** Of a packet in flight whose frames still matter only IN_FLIGHT is set. */
export const OPEN_MASK = PacketState.IN_FLIGHT | SETTLED | PacketState.RECOVERED;
/** [REC-12] The most numbers from the oldest outstanding packet to the newest one with data. */
export const PACKETS_MAX = 65_536;
