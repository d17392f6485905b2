/**
 * What a network does to datagrams, told once: the lab's hosts are joined by such links under virtual time, and `impairment` puts one on
 * each way of a real socket. A link has no clock of its own: it is asked what becomes of a datagram, and answers when it arrives.
 */

import { copyOf } from '../base/bytes.ts';
import {
  checkOptions,
  chosenOptions,
  flag,
  type Given,
  number,
  type OptionCheck,
  type OptionTable,
} from '../base/options.ts';
import type { Prng } from '../base/random.ts';
import { MILLISECOND, type Micros, NEVER, SECOND } from '../base/time.ts';
import { EcnCodepoint } from '../protocol/datagram/index.ts';

/** Burst loss after Gilbert and Elliott: a link that changes between a good and a bad state, datagram by datagram. */
export interface BurstLoss {
  /** Chance, per datagram, that a good link turns bad. */
  readonly enter: number;
  /** Chance, per datagram, that a bad link turns good: bursts are 1 / leave datagrams long on average. */
  readonly leave: number;
  /** Chance that a datagram is lost while the link is bad. Default 1. */
  readonly lossInBurst?: number | undefined;
  /** A burst ends after this long even if hardly anything was sent meanwhile. Default infinite. */
  readonly longestMs?: number | undefined;
}

/** What a one-way link does to datagrams. Chances are from 0 to 1, sizes are UDP payload; what is absent does nothing. */
export interface LinkOptions {
  /** One-way delay, without the time in the queue. */
  readonly delayMs?: number | undefined;
  /** Most that is added to the delay at random, evenly distributed. */
  readonly jitterMs?: number | undefined;
  /** Whether jitter may change the order of datagrams. Default false. */
  readonly jitterReorders?: boolean | undefined;
  /** Chance that a datagram is lost. */
  readonly loss?: number | undefined;
  /** Times in which much more is lost than else. Default none. */
  readonly burstLoss?: BurstLoss | undefined;
  /** Chance that a datagram is held back, so that later ones overtake it. */
  readonly reorder?: number | undefined;
  /** How much longer a datagram that is held back takes. Default 5. */
  readonly reorderHoldMs?: number | undefined;
  /** Chance that a datagram arrives a second time. */
  readonly duplicate?: number | undefined;
  /** How much later the second one arrives, at most. Default 5. */
  readonly duplicateLagMs?: number | undefined;
  /** Chance that 1 to 3 bits of a datagram are flipped. */
  readonly corrupt?: number | undefined;
  /** Rate at which datagrams leave the queue. Default infinite: there is no queue at all. */
  readonly bitsPerSecond?: number | undefined;
  /** Bytes that wait behind the rate, beyond which the newest is dropped. A lone datagram always has room. Default 256 KiB. */
  readonly queueBytesMax?: number | undefined;
  /** Bytes that wait behind the rate, beyond which a datagram that may be marked as of a congested path (ECN) is. Default infinite. */
  readonly ecnMarkBytes?: number | undefined;
  /** A policer in place of the queue: what comes within the rate passes at once, `queueBytesMax` is its bucket. Default false. */
  readonly polices?: boolean | undefined;
  /** Largest datagram that passes. Default 65,507, the largest there is. */
  readonly mtu?: number | undefined;
  /** True drops everything. */
  readonly blackHole?: boolean | undefined;
}

/** A datagram on its way. `data` belongs to it alone. */
export interface Arrival {
  readonly at: Micros;
  readonly data: Uint8Array;
  /** The ECN codepoint that it arrives with. */
  readonly ecn: EcnCodepoint;
}

/** What a link did since it was made. Each datagram that was dropped is in one of the drop counters. */
export class LinkCounters {
  sent = 0;
  sentBytes = 0;
  /** Arrivals scheduled, duplicates included. */
  delivered = 0;
  deliveredBytes = 0;
  droppedLoss = 0;
  droppedBurst = 0;
  droppedQueue = 0;
  droppedMtu = 0;
  droppedBlackHole = 0;
  /** Times the link turned bad. */
  bursts = 0;
  heldBack = 0;
  /** Arrivals that were scheduled before one that was sent earlier. */
  overtook = 0;
  duplicated = 0;
  corrupted = 0;
  /** Datagrams marked as of a congested path. */
  marked = 0;
  queueBytesPeak = 0;

  /** All that went in and did not come out. */
  get dropped(): number {
    return this.droppedLoss + this.droppedBurst + this.droppedQueue + this.droppedMtu + this.droppedBlackHole;
  }
}

/**
 * One direction of a path between two hosts. It is asked what becomes of each datagram and answers when it arrives, if it does;
 * the way is: black hole and MTU, queue, loss, corruption, delay, holding back, duplication. The same seed and the same
 * datagrams give the same answers.
 */
export class Link {
  readonly counters = new LinkCounters();
  private settings: Settings;
  private readonly random: Prng;
  /** When the last bit of what is queued will have left. */
  private queueEmptyAt: Micros = 0;
  private latestArrival: Micros = 0;
  /** Latest arrival of those whose order is kept. */
  private latestInOrder: Micros = 0;
  /** When the link turned bad; NEVER while it is good. */
  private badSince: Micros = NEVER;

  /** @throws JspError ERR_JSP_OPTION_INVALID when an option is out of its range */
  constructor(random: Prng, options: LinkOptions = {}) {
    this.random = random;
    this.settings = settingsOf(PERFECT, options);
  }

  get options(): Readonly<LinkOptions> {
    return this.settings;
  }

  /**
   * Changes some options from `now` on. What is under way keeps its arrival; what waits in the queue keeps its bytes.
   *
   * @throws JspError ERR_JSP_OPTION_INVALID when an option is out of its range
   */
  change(options: LinkOptions, now: Micros): void {
    const waiting = this.queuedBytes(now);
    this.settings = settingsOf(this.settings, options);
    this.queueEmptyAt = now + this.serializationTime(waiting);
  }

  /** Bytes that wait behind the rate at `now`. */
  queuedBytes(now: Micros): number {
    const { bitsPerSecond } = this.settings;
    if (this.queueEmptyAt <= now || bitsPerSecond === Number.POSITIVE_INFINITY) return 0;
    return ((this.queueEmptyAt - now) * bitsPerSecond) / (8 * SECOND);
  }

  /** Sends a copy of `data`. Answers its arrivals: none when it is dropped, two when it is duplicated. */
  send(data: Uint8Array, now: Micros, ecn: EcnCodepoint = EcnCodepoint.NOT_ECT): readonly Arrival[] {
    const { counters, settings } = this;
    counters.sent++;
    counters.sentBytes += data.length;
    if (settings.blackHole) {
      counters.droppedBlackHole++;
      return NOTHING;
    }
    if (data.length > settings.mtu) {
      counters.droppedMtu++;
      return NOTHING;
    }
    const isCongested = this.queuedBytes(now) > settings.ecnMarkBytes;
    const leaves = this.enqueue(data.length, now);
    if (leaves < 0 || this.loses(leaves)) return NOTHING;
    const isMarked = isCongested && ecn !== EcnCodepoint.NOT_ECT;
    if (isMarked) counters.marked++;
    return this.deliver(data, leaves, isMarked ? EcnCodepoint.CE : ecn);
  }

  /** Takes `bytes` into the queue. Answers when their last bit leaves it, or -1 when the queue is full. */
  private enqueue(bytes: number, now: Micros): Micros {
    if (this.settings.bitsPerSecond === Number.POSITIVE_INFINITY) return now;
    const waiting = this.queuedBytes(now);
    if (waiting > 0 && waiting + bytes > this.settings.queueBytesMax) {
      this.counters.droppedQueue++;
      return -1;
    }
    this.counters.queueBytesPeak = Math.max(this.counters.queueBytesPeak, Math.ceil(waiting + bytes));
    this.queueEmptyAt = Math.max(this.queueEmptyAt, now) + this.serializationTime(bytes);
    return this.settings.polices ? now : Math.ceil(this.queueEmptyAt);
  }

  private serializationTime(bytes: number): number {
    return (bytes * 8 * SECOND) / this.settings.bitsPerSecond;
  }

  private loses(at: Micros): boolean {
    if (this.losesInBurst(at)) {
      this.counters.droppedBurst++;
      return true;
    }
    if (this.random.chance(this.settings.loss)) {
      this.counters.droppedLoss++;
      return true;
    }
    return false;
  }

  private losesInBurst(at: Micros): boolean {
    const { burstLoss } = this.settings;
    if (burstLoss === undefined) {
      this.badSince = NEVER;
      return false;
    }
    if (at - this.badSince > micros(burstLoss.longestMs ?? NEVER)) this.badSince = NEVER;
    const isBad = this.badSince !== NEVER;
    if (this.random.chance(isBad ? burstLoss.leave : burstLoss.enter)) {
      this.badSince = isBad ? NEVER : at;
      if (!isBad) this.counters.bursts++;
    }
    return this.badSince !== NEVER && this.random.chance(burstLoss.lossInBurst ?? 1);
  }

  private deliver(data: Uint8Array, leaves: Micros, ecn: EcnCodepoint): readonly Arrival[] {
    const { counters, random, settings } = this;
    const copy = copyOf(data);
    if (random.chance(settings.corrupt)) this.corrupt(copy);
    const first: Arrival = { at: this.arrivalTime(leaves), data: copy, ecn };
    this.count(first);
    if (!random.chance(settings.duplicate)) return [first];
    counters.duplicated++;
    const lag = micros(random.float() * settings.duplicateLagMs);
    const second: Arrival = { at: first.at + lag, data: copyOf(copy), ecn };
    this.count(second);
    return [first, second];
  }

  private arrivalTime(leaves: Micros): Micros {
    const { random, settings } = this;
    let at = leaves + micros(settings.delayMs);
    if (settings.jitterMs > 0) at += micros(random.float() * settings.jitterMs);
    if (random.chance(settings.reorder)) {
      this.counters.heldBack++;
      return at + micros(settings.reorderHoldMs);
    }
    if (settings.jitterReorders) return at;
    this.latestInOrder = Math.max(this.latestInOrder, at);
    return this.latestInOrder;
  }

  private count(arrival: Arrival): void {
    this.counters.delivered++;
    this.counters.deliveredBytes += arrival.data.length;
    if (arrival.at < this.latestArrival) this.counters.overtook++;
    else this.latestArrival = arrival.at;
  }

  private corrupt(data: Uint8Array): void {
    if (data.length === 0) return;
    this.counters.corrupted++;
    // Different bits, so that no flip undoes another.
    const first = this.random.below(data.length * 8);
    const flips = Math.min(this.random.between(1, 3), data.length * 8);
    for (let i = 0; i < flips; i++) {
      const bit = (first + i * 11) % (data.length * 8);
      data[bit >> 3] ^= 1 << (bit & 7);
    }
  }
}

function micros(ms: number): Micros {
  return Math.round(ms * MILLISECOND);
}

function settingsOf(before: Settings, options: LinkOptions): Settings {
  checkOptions('link', options, LINK_OPTIONS);
  return { ...before, ...chosenOptions(options, LINK_OPTIONS) };
}

/** What the options of a link are when all are given. */
type Settings = Omit<Required<Given<LinkOptions>>, 'burstLoss'> & {
  readonly burstLoss: BurstLoss | undefined;
};

const PERFECT: Settings = {
  delayMs: 0,
  jitterMs: 0,
  jitterReorders: false,
  loss: 0,
  burstLoss: undefined,
  reorder: 0,
  reorderHoldMs: 5,
  duplicate: 0,
  duplicateLagMs: 5,
  corrupt: 0,
  bitsPerSecond: Number.POSITIVE_INFINITY,
  queueBytesMax: 256 * 1024,
  ecnMarkBytes: Number.POSITIVE_INFINITY,
  polices: false,
  mtu: 65_507,
  blackHole: false,
};
const NOTHING: readonly Arrival[] = [];
const CHANCE = number(0, 1);
const DELAY_MS = number(0, 1e9);
const SIZE = number(0, Number.POSITIVE_INFINITY);
const BURST_LOSS: OptionTable<BurstLoss> = {
  enter: CHANCE,
  leave: CHANCE,
  lossInBurst: CHANCE,
  longestMs: number(0, Number.POSITIVE_INFINITY),
};
const burstLossOptions: OptionCheck = (value) => {
  if (typeof value !== 'object' || value === null) return 'an object';
  checkOptions('burstLoss', value as BurstLoss, BURST_LOSS);
  const { enter, leave } = value as Partial<BurstLoss>;
  return enter === undefined || leave === undefined ? 'an object with enter and leave' : null;
};
/** What the options of a link may be. */
export const LINK_OPTIONS: OptionTable<LinkOptions> = {
  delayMs: DELAY_MS,
  jitterMs: DELAY_MS,
  jitterReorders: flag,
  loss: CHANCE,
  burstLoss: burstLossOptions,
  reorder: CHANCE,
  reorderHoldMs: DELAY_MS,
  duplicate: CHANCE,
  duplicateLagMs: DELAY_MS,
  corrupt: CHANCE,
  bitsPerSecond: number(1, Number.POSITIVE_INFINITY),
  queueBytesMax: SIZE,
  ecnMarkBytes: SIZE,
  polices: flag,
  mtu: SIZE,
  blackHole: flag,
};
