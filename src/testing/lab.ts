import { setImmediate } from 'node:timers/promises';
import { normalAddress } from '../base/ip-address.ts';
import { Prng, type RandomSource } from '../base/random.ts';
import { MILLISECOND, type Micros, NEVER } from '../base/time.ts';
import { type ReceiveBatch, ReceiveQueue, type TransmitBatch } from '../protocol/datagram/index.ts';
import type { Clock, TimerHandle } from '../udp/clock.ts';
import {
  type DatagramSocket,
  type SocketAddress,
  type SocketCounters,
  socketCounters,
} from '../udp/datagram-socket.ts';
import type { LinkOptions } from '../udp/link.ts';
import { type LabDatagram, type LabPort, Network } from './network.ts';
import { type ScheduledEvent, VirtualClock } from './virtual-clock.ts';
import { LabFailure } from './world.ts';

export interface LabOptions {
  /** Decides everything that happens by chance. */
  seed: number;
  /** Options of each link that is not described otherwise. */
  link?: LinkOptions | undefined;
  /** Instants after which a wait counts as endless. Default 5 million. */
  instantsMax?: number | undefined;
}

/**
 * A network lab for programs that use promises: hand {@link clock}, {@link random} and sockets of {@link socket} to what is
 * tested, and let virtual time pass with {@link run} or {@link settle}. Time stands still in between.
 */
export class Lab {
  readonly seed: number;
  readonly network: Network;
  /** The clock to give to a driver. */
  readonly clock: Clock;
  /** A seeded source of random bytes to give to what is tested. */
  readonly random: RandomSource;
  private readonly time = new VirtualClock();
  private readonly instantsMax: number;
  private instants = 0;

  constructor(options: LabOptions) {
    const random = new Prng(options.seed);
    this.seed = options.seed;
    this.network = new Network(this.time, random.fork(), options.link);
    this.random = random.fork();
    this.clock = new LabClock(this.time);
    this.instantsMax = options.instantsMax ?? 5_000_000;
  }

  get now(): Micros {
    return this.time.now();
  }

  /** A clock for a machine of its own, to give to that machine's driver; {@link sleep} puts the machine to sleep. */
  machineClock(): LabClock {
    return new LabClock(this.time);
  }

  /** The machine with this clock sleeps: nothing happens on it, and what is sent to its hosts is lost. */
  sleep(clock: LabClock, ms: number, ...hosts: readonly string[]): void {
    clock.sleep(ms);
    this.network.cut(...hosts);
    this.time.schedule(this.now + Math.round(ms * MILLISECOND), () => this.network.mend(...hosts));
  }

  /** A socket on the lab's network, for instance `lab.socket({ host: '10.0.0.1', port: 4577 })`. */
  socket(options: LabSocketOptions): LabSocket {
    return new LabSocket(this.network, this.time, options);
  }

  /** Lets this much virtual time pass. */
  async run(ms: number): Promise<void> {
    const end = this.now + Math.round(ms * MILLISECOND);
    await setImmediate();
    while (this.time.nextAt <= end) await this.instant();
    this.time.advanceTo(end);
  }

  /**
   * Lets virtual time pass until `promise` is settled, and answers as it does.
   * @throws LabFailure when it is not settled after `withinMs` of virtual time, or nothing is left to happen
   */
  async settle<T>(promise: Promise<T>, withinMs = 60_000): Promise<T> {
    const end = this.now + Math.round(withinMs * MILLISECOND);
    let settled = false;
    const done = (): void => {
      settled = true;
    };
    promise.then(done, done);
    await setImmediate();
    while (!settled) {
      const next = this.time.nextAt;
      if (next === NEVER)
        throw new LabFailure(this.seed, this.now, 'nothing is left that could settle the promise');
      if (next > end)
        throw new LabFailure(this.seed, this.now, `the promise was not settled within ${withinMs} ms`);
      await this.instant();
    }
    return promise;
  }

  /** All events of the next point in time, then whatever promises make of them. */
  private async instant(): Promise<void> {
    if (this.instants++ === this.instantsMax) {
      throw new LabFailure(this.seed, this.now, `no end after ${this.instantsMax} instants`);
    }
    this.time.runInstant();
    await setImmediate();
  }
}

/**
 * A driver's clock on virtual time. Its timers are as coarse as Node's: at least 1 ms, and whole milliseconds. Its machine can
 * {@link sleep}: what would happen on it meanwhile happens when it wakes.
 */
export class LabClock implements Clock {
  private readonly clock: VirtualClock;
  private readonly resumeListeners = new Set<() => void>();
  private asleepUntil: Micros = 0;

  constructor(clock: VirtualClock) {
    this.clock = clock;
  }

  now(): Micros {
    return this.clock.now();
  }

  setTimer(at: Micros, callback: () => void): TimerHandle {
    const now = this.clock.now();
    const waitMs = Math.max(1, Math.ceil((at - now) / MILLISECOND));
    return this.schedule(now + waitMs * MILLISECOND, callback);
  }

  clearTimer(timer: TimerHandle): void {
    const { event } = timer as LabTimer;
    if (event !== null) this.clock.cancel(event);
  }

  soon(callback: () => void): void {
    this.schedule(this.clock.now(), callback);
  }

  onResume(callback: () => void): () => void {
    this.resumeListeners.add(callback);
    return () => this.resumeListeners.delete(callback);
  }

  /**
   * The machine sleeps from now on, or its process is stopped: time goes on, and nothing happens here.
   *
   * @param isTold - whether listeners of {@link onResume} hear of it: a stopped process does not
   */
  sleep(ms: number, isTold = true): void {
    this.asleepUntil = this.clock.now() + Math.round(ms * MILLISECOND);
    if (!isTold) return;
    this.clock.schedule(this.asleepUntil, () => {
      for (const callback of [...this.resumeListeners]) callback();
    });
  }

  private schedule(at: Micros, callback: () => void): LabTimer {
    const timer: LabTimer = { event: null };
    const fire = (): void => {
      if (this.clock.now() < this.asleepUntil) timer.event = this.clock.schedule(this.asleepUntil, fire);
      else callback();
    };
    timer.event = this.clock.schedule(at, fire);
    return timer;
  }
}

interface LabTimer {
  event: ScheduledEvent | null;
}

export interface LabSocketOptions {
  host: string;
  /** Default 0: a free one. */
  port?: number | undefined;
  /** The only peer: datagrams of others are dropped. */
  connectTo?: SocketAddress | undefined;
  /** What the socket says that it was granted; the lab itself never drops for want of it. Default 4 MiB. */
  receiveBufferBytes?: number | undefined;
  /** The same for sending. Default 4 MiB. */
  sendBufferBytes?: number | undefined;
  /** It sets and reads the ECN bits, which links keep. Default false, as with a socket of `dgram`. */
  usesEcn?: boolean | undefined;
}

/** A socket on the lab's network. It never holds a batch back, so {@link onWritable} is never called. */
export class LabSocket implements DatagramSocket {
  readonly remote: SocketAddress | null;
  readonly receiveBufferBytes: number;
  readonly sendBufferBytes: number;
  readonly setsDontFragment = true;
  readonly usesEcn: boolean;
  readonly counters: SocketCounters = socketCounters();
  onBatch: ((batch: ReceiveBatch) => void) | null = null;
  onWritable: (() => void) | null = null;
  onError: ((error: Error, fatal: boolean) => void) | null = null;
  onTooLarge: ((bytes: number, host: string, port: number) => void) | null = null;
  /** Its place on the network, to {@link LabPort.rebind} it. */
  readonly labPort: LabPort;
  private readonly clock: VirtualClock;
  private readonly received = new ReceiveQueue({ isExclusive: true });
  private handOverIsDue = false;
  private closed = false;

  constructor(network: Network, clock: VirtualClock, options: LabSocketOptions) {
    this.clock = clock;
    const { connectTo } = options;
    this.remote = connectTo === undefined ? null : { ...connectTo, host: normalAddress(connectTo.host) };
    this.receiveBufferBytes = options.receiveBufferBytes ?? 4 * 1024 * 1024;
    this.sendBufferBytes = options.sendBufferBytes ?? 4 * 1024 * 1024;
    this.usesEcn = options.usesEcn ?? false;
    this.labPort = network.open(normalAddress(options.host), options.port ?? 0, (datagram) =>
      this.receive(datagram),
    );
    this.localHost = this.labPort.host;
    this.localPort = this.labPort.port;
  }

  readonly localHost: string;
  readonly localPort: number;

  send(batch: TransmitBatch): boolean {
    if (this.closed) return true;
    for (let i = 0; i < batch.count; i++) {
      const data = batch.arena.subarray(batch.offset[i], batch.offset[i] + batch.length[i]);
      this.counters.datagramsSent++;
      this.counters.bytesSent += data.length;
      const { host, port } = this.remote ?? { host: batch.host[i], port: batch.port[i] };
      this.labPort.send(data, host, port, batch.ecnOf(i));
    }
    return true;
  }

  close(): Promise<void> {
    this.closed = true;
    this.labPort.close();
    this.received.clear();
    return Promise.resolve();
  }

  ref(): void {}

  unref(): void {}

  private receive({ data, host, port, ecn }: LabDatagram): void {
    const { remote } = this;
    if (this.closed || (remote !== null && (remote.host !== host || remote.port !== port))) {
      this.counters.datagramsDropped++;
      return;
    }
    this.counters.datagramsReceived++;
    this.counters.bytesReceived += data.length;
    this.received.push(data, host, port);
    if (this.usesEcn) this.received.mark(ecn);
    if (this.handOverIsDue) return;
    this.handOverIsDue = true;
    // Behind all that arrives at this instant, so that it makes one batch.
    this.clock.schedule(this.clock.now(), () => this.handOver());
  }

  private handOver(): void {
    this.handOverIsDue = false;
    if (!this.closed) this.received.handOver(this.onBatch);
  }
}
