/**
 * Runs sans-IO endpoints on a simulated network under virtual time. Each turn of an endpoint goes as in the real driver:
 *
 *   1. hand in the datagrams that arrived at this instant, all in one batch, and the timeout if it is due;
 *   2. `pump`: the test drains events and acts;
 *   3. take out and send what the endpoint wants sent, then 2 again, until nothing more comes;
 *   4. set the timer.
 */

import { Prng } from '../base/random.ts';
import { MILLISECOND, type Micros, NEVER } from '../base/time.ts';
import { EcnCodepoint, type ReceiveBatch, ReceiveQueue, TransmitBatch } from '../protocol/datagram/index.ts';
import type { LinkOptions } from '../udp/link.ts';
import { type LabDatagram, type LabPort, Network } from './network.ts';
import { type ScheduledEvent, VirtualClock } from './virtual-clock.ts';

/** What a {@link World} runs: the side of an endpoint that faces its driver. */
export interface LabEndpoint {
  receive(batch: ReceiveBatch, now: Micros): void;
  /** Fills the batch; answers 0 when there was nothing to send. */
  transmit(batch: TransmitBatch, now: Micros): number;
  nextTimeout(): Micros;
  timeout(now: Micros): void;
}

export interface WorldOptions {
  /** Decides everything that happens by chance. */
  seed: number;
  /** Options of each link that is not described otherwise. */
  link?: LinkOptions;
  /** Waits are rounded up to multiples of this, as the timers of the real driver are. Default 1 ms; 1 is exact. */
  timerGranularity?: Micros;
  /** Turns after which a run counts as endless. Default 5 million. */
  turnsMax?: number;
  /** Turns without time moving after which the run counts as a livelock. Default 10,000. */
  turnsAtOneTimeMax?: number;
}

export interface NodeOptions {
  host: string;
  port: number;
  /** For what it sends at a time. Default: of the usual size, which all nodes share. */
  batch?: TransmitBatch;
  /** Called in each turn after input and after each round of output, to drain events and act. */
  pump?: (now: Micros) => void;
}

export interface RunOptions {
  /** Ends the run when true; asked after each instant. */
  until?: () => boolean;
  /** Ends the run when this much time has passed. */
  forMs?: number;
}

/** Why a run ended: its predicate held, its time was over, or nothing was left to happen. */
export type RunEnd = 'until' | 'time' | 'quiet';

/** A run that went wrong. The message and {@link seed} say how to see it again. */
export class LabFailure extends Error {
  override readonly name = 'LabFailure';
  readonly seed: number;

  constructor(seed: number, at: Micros, problem: string, options?: ErrorOptions) {
    super(`seed ${seed}, at ${at} us: ${problem}`, options);
    this.seed = seed;
  }
}

export class World {
  readonly seed: number;
  readonly clock = new VirtualClock();
  readonly network: Network;
  /** For the test's own choices; independent of those of the links. */
  readonly random: Prng;
  private due: WorldNode[] = [];
  private readonly timerGranularity: Micros;
  private readonly turnsMax: number;
  private readonly turnsAtOneTimeMax: number;
  private turns = 0;
  private turnsAtThisTime = 0;

  constructor(options: WorldOptions) {
    const random = new Prng(options.seed);
    this.seed = options.seed;
    this.network = new Network(this.clock, random.fork(), options.link);
    this.random = random.fork();
    this.timerGranularity = options.timerGranularity ?? MILLISECOND;
    this.turnsMax = options.turnsMax ?? 5_000_000;
    this.turnsAtOneTimeMax = options.turnsAtOneTimeMax ?? 10_000;
  }

  get now(): Micros {
    return this.clock.now();
  }

  /** Puts an endpoint on the network. Its first turn is at once. */
  add(endpoint: LabEndpoint, options: NodeOptions): WorldNode {
    const node = new WorldNode(this, endpoint, options);
    node.wake();
    return node;
  }

  /**
   * Runs until the predicate holds, nothing is left to happen, or the time is over. Time stays at what happened last, or is
   * moved to the end of `forMs` when that was the reason.
   */
  run(options: RunOptions = {}): RunEnd {
    const end = options.forMs === undefined ? NEVER : this.now + Math.round(options.forMs * MILLISECOND);
    for (;;) {
      if (options.until?.() === true) return 'until';
      const next = this.clock.nextAt;
      if (next === NEVER) return 'quiet';
      if (next > end) {
        this.clock.advanceTo(end);
        return 'time';
      }
      this.runInstant(next);
    }
  }

  /** When a timer set now for `at` goes off. For {@link WorldNode}. */
  timerTime(at: Micros): Micros {
    const wait = Math.max(0, at - this.now);
    return this.now + Math.ceil(wait / this.timerGranularity) * this.timerGranularity;
  }

  /** Lets a node take a turn at the end of this instant. For {@link WorldNode}. */
  owe(node: WorldNode): void {
    this.due.push(node);
  }

  private runInstant(at: Micros): void {
    if (at > this.now) this.turnsAtThisTime = 0;
    this.guard('an event', () => this.clock.runInstant());
    const due = this.due;
    this.due = [];
    for (const node of due) {
      this.countTurn();
      this.guard(node.host, () => node.turn(at));
    }
  }

  /** Lets no error out without the seed. */
  private guard(where: string, action: () => void): void {
    try {
      action();
    } catch (error) {
      if (error instanceof LabFailure) throw error;
      const problem = error instanceof Error ? error.message : String(error);
      throw new LabFailure(this.seed, this.now, `${where}: ${problem}`, { cause: error });
    }
  }

  private countTurn(): void {
    this.turns++;
    this.turnsAtThisTime++;
    if (this.turns > this.turnsMax)
      throw new LabFailure(this.seed, this.now, `no end after ${this.turnsMax} turns`);
    if (this.turnsAtThisTime > this.turnsAtOneTimeMax) {
      throw new LabFailure(
        this.seed,
        this.now,
        `livelock: ${this.turnsAtOneTimeMax} turns and time stands still`,
      );
    }
  }
}

/** An endpoint with its place on the network. */
export class WorldNode {
  readonly world: World;
  readonly endpoint: LabEndpoint;
  readonly host: string;
  readonly port: LabPort;
  /** The datagrams of the latest turn: what was delivered in it was completed by one of these. */
  arrivals: readonly (LabDatagram & { readonly local: number })[] = [];
  pump: (now: Micros) => void;
  /** Further addresses, by the number that datagrams have them with less one. */
  private readonly others: LabPort[] = [];
  private inbox: (LabDatagram & { readonly local: number })[] = [];
  private readonly gone = new Set<number>();
  private isDue = false;
  private removed = false;
  private readonly received = new ReceiveQueue();
  private readonly batch: TransmitBatch;
  private timer: ScheduledEvent | null = null;
  private timerFor: Micros = NEVER;

  constructor(world: World, endpoint: LabEndpoint, options: NodeOptions) {
    this.world = world;
    this.endpoint = endpoint;
    this.host = options.host;
    this.batch = options.batch ?? SHARED_BATCH;
    this.pump = options.pump ?? (() => {});
    this.port = this.open(options.host, options.port, 0);
  }

  /** Gives the endpoint one more address, of a home of its own. Returns the number of it that datagrams go and come with. */
  addAddress(host: string, port: number): number {
    const local = this.others.length + 1;
    this.others.push(this.open(host, port, local));
    return local;
  }

  /** Takes an address away, as a network does that is left: what is sent from there is lost. */
  removeAddress(local: number): void {
    (local === 0 ? this.port : this.others[local - 1]).close();
    this.gone.add(local);
  }

  /** Takes a turn at this instant, for instance because the test called the endpoint from outside of `pump`. */
  wake(): void {
    this.at(this.world.now, () => {});
  }

  /** Calls `action` at `at` and then takes a turn. */
  at(at: Micros, action: () => void): ScheduledEvent {
    return this.world.clock.schedule(at, () => {
      this.mark();
      action();
    });
  }

  /** Takes the endpoint off the network: what is sent to it is dropped, and it gets no more turns of its own. */
  remove(): void {
    this.removed = true;
    this.port.close();
    for (const port of this.others) port.close();
    if (this.timer !== null) this.world.clock.cancel(this.timer);
  }

  /** For {@link World}. */
  turn(now: Micros): void {
    this.isDue = false;
    if (this.removed) return;
    this.arrivals = this.inbox;
    this.inbox = [];
    if (this.arrivals.length > 0) this.handIn(now);
    if (this.endpoint.nextTimeout() <= now) this.endpoint.timeout(now);
    this.pump(now);
    for (let rounds = 0; this.transmit(now) || this.pumpAndTransmit(now); rounds++) {
      if (rounds === ROUNDS_MAX) throw new Error(`more than ${ROUNDS_MAX} batches sent at one instant`);
      this.pump(now);
    }
    this.arm();
  }

  private open(host: string, port: number, local: number): LabPort {
    return this.world.network.open(host, port, ({ data, host, port, sentAt, arrivedAt, ecn }) => {
      // Member by member: V8 spreads an object slowly, and a simulation comes by here with each datagram.
      this.inbox.push({ data, host, port, sentAt, arrivedAt, ecn, local });
      this.mark();
    });
  }

  private mark(): void {
    if (this.isDue) return;
    this.isDue = true;
    this.world.owe(this);
  }

  private handIn(now: Micros): void {
    for (const { data, host, port, ecn, local } of this.arrivals) {
      this.received.push(data, host, port, local);
      if (ecn !== EcnCodepoint.NOT_ECT) this.received.mark(ecn);
    }
    this.received.handOver((batch) => this.endpoint.receive(batch, now));
  }

  /** Nothing was sent, but that may have made events, and these may make the test send. */
  private pumpAndTransmit(now: Micros): boolean {
    this.pump(now);
    return this.transmit(now);
  }

  /** Sends one batch. False when there was nothing to send. */
  private transmit(now: Micros): boolean {
    const { batch } = this;
    try {
      const sent = this.endpoint.transmit(batch, now) > 0;
      for (let i = 0; i < batch.count; i++) {
        const data = batch.arena.subarray(batch.offset[i], batch.offset[i] + batch.length[i]);
        const local = batch.local[i];
        if (this.gone.has(local)) continue;
        const port = local === 0 ? this.port : this.others[local - 1];
        port.send(data, batch.host[i], batch.port[i], batch.ecnOf(i));
      }
      return sent;
    } finally {
      // Whatever was thrown, the next node finds nothing in it.
      batch.clear();
    }
  }

  private arm(): void {
    const at = this.endpoint.nextTimeout();
    if (at === this.timerFor && this.timer !== null) return;
    if (this.timer !== null) this.world.clock.cancel(this.timer);
    this.timerFor = at;
    this.timer = null;
    if (at === NEVER) return;
    this.timer = this.at(this.world.timerTime(at), () => {
      this.timer = null;
    });
  }
}

/** For whatever is sent at a time, one node after the other: a quarter of a MiB for each node of each world would be much of the time that short worlds take. */
const SHARED_BATCH = new TransmitBatch();
const ROUNDS_MAX = 1_000;
