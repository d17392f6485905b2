import { copyOf } from '../base/bytes.ts';
import { checkOptions, chosenOptions, type Given, number, type OptionTable } from '../base/options.ts';
import { Prng } from '../base/random.ts';
import { MILLISECOND, type Micros, SECOND } from '../base/time.ts';

/** What "fake lag" does to the datagrams of one direction. Chances are from 0 to 1; what is absent does nothing. */
export interface Impairment {
  /** Chance that a datagram is lost. */
  readonly loss?: number | undefined;
  readonly delayMs?: number | undefined;
  /** Most that is added to the delay at random, evenly distributed; it does not change the order. */
  readonly jitterMs?: number | undefined;
  /** Chance that a datagram arrives a second time, right behind the first. */
  readonly duplicate?: number | undefined;
  /** Chance that a datagram is held back, so that later ones overtake it. */
  readonly reorder?: number | undefined;
  /** How much longer a datagram that is held back takes. Default 5. */
  readonly reorderHoldMs?: number | undefined;
  /** Rate at which datagrams get through. */
  readonly bitsPerSecond?: number | undefined;
  /** Bytes that wait behind the rate, beyond which the newest is dropped. Default 256 KiB. */
  readonly queueBytesMax?: number | undefined;
}

/** A datagram on its way. `data` belongs to it alone. */
export interface Arrival {
  readonly at: Micros;
  readonly data: Uint8Array;
}

/** One direction of a path: says when a datagram arrives, which may be never or twice. The lab's links are such ways too. */
export interface ImpairedWay {
  send(data: Uint8Array, now: Micros): readonly Arrival[];
}

/** An {@link ImpairedWay} by chance, from a seed: the same seed and the same datagrams give the same answers. */
export class RandomImpairment implements ImpairedWay {
  private readonly options: Readonly<Settings>;
  private readonly random: Prng;
  /** When the last bit of what waits behind the rate will have left. */
  private rateFreeAt: Micros = 0;
  private latestInOrder: Micros = 0;

  /** @throws JspError ERR_JSP_OPTION_INVALID when an option is out of its range */
  constructor(seed: number, impairment: Impairment) {
    checkOptions('impairment', impairment, IMPAIRMENT);
    this.options = { ...NONE, ...chosenOptions(impairment, IMPAIRMENT) };
    this.random = new Prng(seed);
  }

  send(data: Uint8Array, now: Micros): readonly Arrival[] {
    const { loss, duplicate } = this.options;
    const leaves = this.passRate(data.length, now);
    // Every datagram draws the same numbers in the same order, whatever becomes of it.
    const lost = this.random.chance(loss);
    const twice = this.random.chance(duplicate);
    const at = this.arrivalTime(leaves);
    if (lost || leaves < 0) return NOTHING;
    const first = { at, data: copyOf(data) };
    return twice ? [first, { at, data: copyOf(data) }] : [first];
  }

  /** When a datagram that comes now has left the queue behind the rate, or -1 when the queue is full. */
  private passRate(bytes: number, now: Micros): Micros {
    const { bitsPerSecond, queueBytesMax } = this.options;
    if (bitsPerSecond === Number.POSITIVE_INFINITY) return now;
    const microsPerByte = (8 * SECOND) / bitsPerSecond;
    const waitingBytes = Math.max(0, this.rateFreeAt - now) / microsPerByte;
    if (waitingBytes > 0 && waitingBytes + bytes > queueBytesMax) return -1;
    this.rateFreeAt = Math.max(now, this.rateFreeAt) + bytes * microsPerByte;
    return Math.ceil(this.rateFreeAt);
  }

  private arrivalTime(leaves: Micros): Micros {
    const { delayMs, jitterMs, reorder, reorderHoldMs } = this.options;
    const at = leaves + Math.round((delayMs + this.random.float() * jitterMs) * MILLISECOND);
    if (this.random.chance(reorder)) return at + Math.round(reorderHoldMs * MILLISECOND);
    if (leaves >= 0) this.latestInOrder = Math.max(this.latestInOrder, at);
    return this.latestInOrder;
  }
}

type Settings = Required<Given<Impairment>>;

const NONE: Settings = {
  loss: 0,
  delayMs: 0,
  jitterMs: 0,
  duplicate: 0,
  reorder: 0,
  reorderHoldMs: 5,
  bitsPerSecond: Number.POSITIVE_INFINITY,
  queueBytesMax: 256 * 1024,
};
const NOTHING: readonly Arrival[] = [];
const DELAY_MS_MAX = 600_000;
const CHANCE = number(0, 1);
const DELAY_MS = number(0, DELAY_MS_MAX);
const IMPAIRMENT: OptionTable<Impairment> = {
  loss: CHANCE,
  delayMs: DELAY_MS,
  jitterMs: DELAY_MS,
  duplicate: CHANCE,
  reorder: CHANCE,
  reorderHoldMs: DELAY_MS,
  bitsPerSecond: number(1, Number.POSITIVE_INFINITY),
  queueBytesMax: number(0, Number.POSITIVE_INFINITY),
};
