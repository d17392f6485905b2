import { anObject, checkOptions, number, type OptionTable } from '../base/options.ts';
import { Prng } from '../base/random.ts';
import { type Micros, NEVER, SECOND } from '../base/time.ts';
import { EcnCodepoint, type ReceiveBatch, ReceiveQueue, TransmitBatch } from '../protocol/datagram/index.ts';
import { type Clock, systemClock, type TimerHandle } from './clock.ts';
import type { DatagramSocket } from './datagram-socket.ts';
import { type Arrival, LINK_OPTIONS, Link, type LinkOptions } from './link.ts';
import { WrappedSocket } from './wrapped-socket.ts';

export interface ImpairmentOptions {
  /** The same seed draws the same fates. */
  readonly seed: number;
  /** What happens to datagrams that are sent. */
  readonly outgoing?: LinkOptions | undefined;
  /** What happens to datagrams that come. */
  readonly incoming?: LinkOptions | undefined;
}

/**
 * Puts a bad network around a socket, for trying out an application: "fake lag".
 * @throws JspError ERR_JSP_OPTION_INVALID when an option is out of its range
 */
export function impairSocket(
  inner: DatagramSocket,
  options: ImpairmentOptions,
  clock = systemClock,
): ImpairedSocket {
  return new ImpairedSocket(inner, options, clock);
}

/**
 * A {@link DatagramSocket} with a link on each of its ways. Its timers have the clock's granularity; its counters are those of the socket inside:
 * what was lost on the way out never was sent.
 */
export class ImpairedSocket extends WrappedSocket {
  /** Datagrams dropped, because they were lost on their way or too many were under way. */
  dropped = 0;

  private readonly clock: Clock;
  private outgoing: Link;
  private incoming: Link;
  private readonly sending = new DelayLine(DELAYED_BYTES_MAX);
  private readonly receiving = new DelayLine(DELAYED_BYTES_MAX);
  private readonly transmitBatch = new TransmitBatch();
  private readonly received = new ReceiveQueue();
  /** The inner socket holds our arena. */
  private blocked = false;
  /** We answered false, so `onWritable` is due. */
  private refused = false;
  private closed = false;
  private timer: TimerHandle | null = null;
  private timerAt: Micros = NEVER;

  constructor(inner: DatagramSocket, options: ImpairmentOptions, clock: Clock) {
    const links = linksOf(options); // before anything listens to a socket that is not taken
    super(inner);
    [this.outgoing, this.incoming] = links;
    this.clock = clock;
  }

  get setsDontFragment(): boolean {
    return this.inner.setsDontFragment ?? false;
  }

  get usesEcn(): boolean {
    return this.inner.usesEcn ?? false;
  }

  send(batch: TransmitBatch): boolean {
    if (this.closed) return true;
    const now = this.clock.now();
    for (let i = 0; i < batch.count; i++) {
      const data = batch.arena.subarray(batch.offset[i], batch.offset[i] + batch.length[i]);
      const to = { host: batch.host[i], port: batch.port[i], local: batch.local[i] };
      this.enter(this.sending, this.outgoing.send(data, now, batch.ecnOf(i)), to);
    }
    // Not what was received: we may be in a call of `onBatch`.
    this.sendDue(now);
    this.armTimer();
    this.refused = this.blocked;
    return !this.blocked;
  }

  /** Another bad network from now on; null for a good one. What is under way arrives as it would have, and may be overtaken. */
  impair(options: ImpairmentOptions | null): void {
    [this.outgoing, this.incoming] = linksOf(options ?? { seed: 0 });
  }

  /** What was sent is still under way, not least the last words of a connection: the inner socket is closed behind it. */
  override async close(): Promise<void> {
    this.closed = true;
    if (this.timer !== null) this.clock.clearTimer(this.timer);
    this.timer = null;
    this.receiving.clear();
    const until = this.clock.now() + LAST_DATAGRAM_MAX;
    while (this.sending.nextAt <= until) {
      const at = Math.max(this.sending.nextAt, this.clock.now());
      await new Promise<void>((resolve) => this.clock.setTimer(at, resolve));
      if (this.clock.now() > until) break;
      this.sendDue(this.clock.now());
    }
    this.sending.clear();
    await this.inner.close();
  }

  protected receive(batch: ReceiveBatch): void {
    const now = this.clock.now();
    for (let i = 0; i < batch.count; i++) {
      const from = { host: batch.host[i], port: batch.port[i], local: batch.local[i] };
      this.enter(this.receiving, this.incoming.send(batch.data[i], now, batch.ecnOf(i)), from);
    }
    this.turn(now);
  }

  private enter(line: DelayLine, arrivals: readonly Arrival[], address: Address): void {
    if (arrivals.length === 0) this.dropped++;
    for (const arrival of arrivals) if (!line.add({ ...arrival, ...address })) this.dropped++;
  }

  /** Lets go of all that is due, and sets the timer for the rest. */
  private turn(now: Micros): void {
    try {
      this.sendDue(now);
      this.handOverDue(now);
    } finally {
      // Also when the socket or its user threw: what is left has its time, too.
      if (!this.closed) this.armTimer();
    }
  }

  private sendDue(now: Micros): void {
    const batch = this.transmitBatch;
    while (!this.blocked) {
      batch.clear();
      while (batch.hasRoom(DATAGRAM_BYTES_MAX)) {
        const datagram = this.sending.takeDue(now);
        if (datagram === undefined) break;
        place(batch, datagram);
      }
      if (batch.count === 0) return;
      try {
        this.blocked = !this.inner.send(batch);
      } catch (error) {
        this.dropped += batch.count; // [CON-34] what a throwing socket was given is lost
        this.onError?.(error as Error, false);
      }
    }
  }

  private handOverDue(now: Micros): void {
    const { received } = this;
    while (!this.closed && this.receiving.nextAt <= now) {
      while (received.count < HANDED_OVER_MAX) {
        const datagram = this.receiving.takeDue(now);
        if (datagram === undefined) break;
        received.push(datagram.data, datagram.host, datagram.port, datagram.local);
        if (datagram.ecn !== EcnCodepoint.NOT_ECT) received.mark(datagram.ecn);
      }
      received.handOver(this.onBatch);
    }
  }

  protected override resume(): void {
    this.blocked = false;
    try {
      this.turn(this.clock.now());
    } finally {
      // Also when the socket threw: whoever waits for it must not wait for ever.
      if (!this.blocked && this.refused && !this.closed) {
        this.refused = false;
        this.onWritable?.();
      }
    }
  }

  private armTimer(): void {
    const at = Math.min(this.blocked ? NEVER : this.sending.nextAt, this.receiving.nextAt);
    if (this.timer !== null) {
      if (this.timerAt <= at) return;
      this.clock.clearTimer(this.timer);
    }
    this.timerAt = at;
    this.timer = at === NEVER ? null : this.clock.setTimer(at, this.onTimer);
  }

  private readonly onTimer = (): void => {
    this.timer = null;
    if (!this.closed) this.turn(this.clock.now());
  };
}

/** The links of the way out and of the way in. */
function linksOf(options: ImpairmentOptions): [outgoing: Link, incoming: Link] {
  checkOptions('impairment', options, IMPAIRMENT_OPTIONS);
  const { seed, outgoing = {}, incoming = {} } = options;
  checkOptions('impairment.outgoing', outgoing, LINK_OPTIONS);
  checkOptions('impairment.incoming', incoming, LINK_OPTIONS);
  return [new Link(new Prng(seed), outgoing), new Link(new Prng(seed + 1), incoming)];
}

/** Whom a datagram comes from, or goes to. */
interface Address {
  readonly host: string;
  readonly port: number;
  /** Of the socket's own addresses the one that it came to, or goes from. */
  readonly local: number;
}

/** A datagram that waits for its time. */
interface DelayedDatagram extends Arrival, Address {}

/**
 * Datagrams ordered by when they are due, and among those of one time by when they were added. Most are added at the end, so
 * it is a sorted array that is searched from there. Bounded in bytes: beyond, the newest is refused.
 */
export class DelayLine {
  /** Ascending by `at` from `head` on; below are datagrams that were taken. */
  private items: DelayedDatagram[] = [];
  private head = 0;
  private bytes = 0;
  private readonly bytesMax: number;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** When the first datagram is due, or NEVER. */
  get nextAt(): Micros {
    return this.head < this.items.length ? this.items[this.head].at : NEVER;
  }

  /** False when there is no room. */
  add(datagram: DelayedDatagram): boolean {
    const bytes = datagram.data.length + OVERHEAD_BYTES;
    if (this.bytes + bytes > this.bytesMax) return false;
    this.bytes += bytes;
    let index = this.items.length;
    while (index > this.head && this.items[index - 1].at > datagram.at) index--;
    this.items.splice(index, 0, datagram);
    return true;
  }

  /** Takes the first datagram if it is due at `now`. */
  takeDue(now: Micros): DelayedDatagram | undefined {
    if (this.nextAt > now) return undefined;
    const datagram = this.items[this.head++];
    this.bytes -= datagram.data.length + OVERHEAD_BYTES;
    if (this.head >= COMPACT_AT && this.head * 2 >= this.items.length) {
      this.items = this.items.slice(this.head);
      this.head = 0;
    }
    return datagram;
  }

  clear(): void {
    this.items = [];
    this.head = 0;
    this.bytes = 0;
  }
}

/** What the options of an impairment may be. */
export const IMPAIRMENT_OPTIONS: OptionTable<ImpairmentOptions> = {
  seed: number(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
  outgoing: anObject,
  incoming: anObject,
};

function place(batch: TransmitBatch, datagram: DelayedDatagram): void {
  batch.arena.set(datagram.data, batch.used);
  batch.push(datagram.data.length, datagram.host, datagram.port, datagram.local);
  if (datagram.ecn !== EcnCodepoint.NOT_ECT) batch.mark(datagram.ecn);
}

/** What is longer under way when the socket is closed is lost. */
const LAST_DATAGRAM_MAX: Micros = 30 * SECOND;
const DELAYED_BYTES_MAX = 64 * 1024 * 1024;
const DATAGRAM_BYTES_MAX = 65_536;
/** So many are handed over together. */
const HANDED_OVER_MAX = 64;
/** What a datagram costs besides its bytes, so that empty ones are not free. */
const OVERHEAD_BYTES = 256;
const COMPACT_AT = 64;
