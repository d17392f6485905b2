import { setImmediate } from 'node:timers/promises';
import { Prng, type RandomSource } from '../base/random.ts';
import { MILLISECOND, type Micros, NEVER } from '../base/time.ts';
import type { Clock } from '../udp/clock.ts';
import { LabClock } from './lab-clock.ts';
import { LabSocket, type LabSocketOptions } from './lab-socket.ts';
import type { LinkOptions } from './link.ts';
import { Network } from './network.ts';
import { VirtualClock } from './virtual-clock.ts';
import { LabFailure } from './world.ts';

export interface LabOptions {
  /** Decides everything that happens by chance. */
  seed: number;
  /** Options of each link that is not described otherwise. */
  link?: Partial<LinkOptions> | undefined;
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
