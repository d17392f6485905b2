import { copyOf } from '../base/bytes.ts';
import { JspError } from '../base/errors.ts';
import { Prng } from '../base/random.ts';
import { MILLISECOND, type Micros, SECOND } from '../base/time.ts';

/** What "fake lag" does to the datagrams of one direction. Chances are from 0 to 1; what is absent does nothing. */
export interface Impairment {
  /** Chance that a datagram is lost. */
  readonly loss?: number;
  readonly delayMs?: number;
  /** Most that is added to the delay at random, evenly distributed; it does not change the order. */
  readonly jitterMs?: number;
  /** Chance that a datagram arrives a second time, right behind the first. */
  readonly duplicate?: number;
  /** Chance that a datagram is held back, so that later ones overtake it. */
  readonly reorder?: number;
  /** How much longer a datagram that is held back takes. Default 5. */
  readonly reorderHoldMs?: number;
  /** Rate at which datagrams get through. */
  readonly bitsPerSecond?: number;
  /** Bytes that wait behind the rate, beyond which the newest is dropped. Default 256 KiB. */
  readonly queueBytesMax?: number;
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
  private readonly options: Required<Impairment>;
  private readonly random: Prng;
  /** When the last bit of what waits behind the rate will have left. */
  private rateFreeAt: Micros = 0;
  private latestInOrder: Micros = 0;

  /** @throws JspError ERR_JSP_OPTION_INVALID when an option is out of its range */
  constructor(seed: number, impairment: Impairment) {
    this.options = checked({ ...NONE, ...impairment });
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

function checked(options: Required<Impairment>): Required<Impairment> {
  for (const name of ['loss', 'duplicate', 'reorder'] as const) inRange(name, options[name], 1);
  for (const name of ['delayMs', 'jitterMs', 'reorderHoldMs'] as const)
    inRange(name, options[name], DELAY_MS_MAX);
  inRange('queueBytesMax', options.queueBytesMax, Number.POSITIVE_INFINITY);
  inRange('bitsPerSecond', options.bitsPerSecond, Number.POSITIVE_INFINITY);
  if (options.bitsPerSecond === 0) throw invalid('bitsPerSecond must be above 0');
  return options;
}

function inRange(name: string, value: number, high: number): void {
  if (!(value >= 0 && value <= high)) throw invalid(`${name} must be from 0 to ${high}, not ${value}`);
}

function invalid(message: string): JspError {
  return new JspError('ERR_JSP_OPTION_INVALID', `impairment: ${message}`);
}

const NONE: Required<Impairment> = {
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
