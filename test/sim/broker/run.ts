/** Runs the world of a seed: a broker that crashes and comes back, clients that come, go, break, get stuck and are killed, and the model that judges. */

import { Prng } from '../../../src/base/random.ts';
import { MILLISECOND } from '../../../src/base/time.ts';
import { VirtualClock } from '../../../src/testing/virtual-clock.ts';
import { slowMatches } from '../../pubsub/slow-topic.ts';
import { Violation } from '../invariants.ts';
import { Totals } from '../totals.ts';
import { BrokerHost, WORKER_NOTICED_MS_MAX } from './broker-host.ts';
import { ClientHost } from './client-host.ts';
import { Model, Shelf } from './model.ts';
import { type SimConnection, SimNetwork } from './network.ts';
import {
  type BrokerEvent,
  brokerScenarioOf,
  type ClientPlan,
  type DurablePlan,
  type WeatherEvent,
} from './scenario.ts';
import { tap } from './taps.ts';
import { inVirtualTime, WallClock } from './virtual-time.ts';

/**
 * Runs the world of a seed to its end and answers what it met. Rejects, naming the seed, when a promise is broken.
 *
 * @param workers - threads of the broker that its clients are in; 0: its own
 */
export async function runBrokerSeed(seed: number, workers = 0): Promise<Totals> {
  const scenario = brokerScenarioOf(seed);
  return runWorld(new BrokerWorld(scenario, (world) => [new BrokerHost(world, scenario, workers)]), seed);
}

/** Runs a world to its end, as {@link runBrokerSeed} does. */
export async function runWorld(world: BrokerWorld, seed: number): Promise<Totals> {
  try {
    return await inVirtualTime(world.clock, world.wall, new Prng(seed + 1), () => world.toItsEnd());
  } catch (error) {
    const at = (world.nowMs / 1_000).toFixed(3);
    const story = error instanceof Violation ? error.message : ((error as Error).stack ?? String(error));
    throw new Violation(`seed ${seed}, at ${at} s: ${story}`);
  }
}

/** A broker of a world. */
export interface Broker {
  /** What clients connect to. */
  readonly url: string;
  readonly isUp: boolean;
  /** Of its logs, where that stays; undefined where a receipt may be of an earlier one. */
  readonly epoch: number | undefined;
  start(): void;
  serve(connection: SimConnection): void;
  /** Something happens to it. */
  suffer(event: BrokerEvent): void;
  /** The weather is clear from now on. */
  clearUp(): void;
  readonly isSettled: boolean;
  expectBounded(): void;
  expectEmpty(): void;
  toString(): string;
}

/** Somebody who looks at all brokers when everything is over. */
export interface Witness {
  begin(): void;
  readonly isContent: boolean;
  /** What it sees that is not so. */
  readonly faults: readonly string[];
  leave(): Promise<void>;
}

/** What a world is made of. */
export interface WorldPlan {
  readonly seed: number;
  readonly durationMs: number;
  readonly durables: readonly DurablePlan[];
  readonly clients: readonly ClientPlan[];
  readonly weather: readonly WeatherEvent[];
}

/** What the hosts share. */
export class BrokerWorld {
  readonly clock = new VirtualClock();
  readonly wall = new WallClock(this.clock);
  readonly network: SimNetwork;
  readonly model: Model;
  readonly brokers: readonly Broker[];
  readonly totals = new Totals();
  readonly random: Prng;
  /** Numbers of connections whose client has no session but the connection's, whether it has named one or not. */
  readonly withoutSession = new Set<number>();
  /** The connections on which wills were left, by their text. */
  readonly wills = new Map<string, SimConnection>();
  /** The weather is clear from now on. */
  isClear = false;
  readonly durables: readonly DurablePlan[];
  private readonly shelves = new Map<DurablePlan, Shelf>();
  private readonly scenario: WorldPlan;
  private readonly clients: readonly ClientHost[];
  private failure: unknown = null;
  private instants = 0;
  private readonly witness: Witness | null;
  private readonly onUnhandled = (error: unknown) => this.fail(error);

  constructor(
    scenario: WorldPlan,
    brokersOf: (world: BrokerWorld) => readonly Broker[],
    witnessOf: (world: BrokerWorld) => Witness | null = () => null,
  ) {
    this.scenario = scenario;
    this.random = new Prng(scenario.seed);
    this.network = new SimNetwork(this.clock, this.random.fork());
    this.model = new Model(() => this.nowMs);
    this.brokers = brokersOf(this);
    tap(this);
    this.durables = scenario.durables;
    this.clients = scenario.clients.map((plan, i) => new ClientHost(this, plan, i));
    this.witness = witnessOf(this);
  }

  /** The client that has left this will is still connected as it was then, as far as anybody can know. */
  isThere(will: string): boolean {
    const connection = this.wills.get(will);
    return connection !== undefined && !connection.isGone && !connection.isOver && !connection.peer.isOver;
  }

  /** What clients connect to. */
  get urls(): readonly string[] {
    return this.brokers.map(({ url }) => url);
  }

  /** The broker that clients reach by this URL. */
  brokerAt(url: string): Broker {
    return this.brokers[this.urls.indexOf(url)];
  }

  /** Of the logs, where that stays. */
  get epoch(): number | undefined {
    return this.brokers[0].epoch;
  }

  get nowMs(): number {
    return this.clock.now() / MILLISECOND;
  }

  async toItsEnd(): Promise<Totals> {
    process.on('unhandledRejection', this.onUnhandled);
    try {
      for (const broker of this.brokers) broker.start();
      for (const client of this.clients) client.start();
      for (const event of this.scenario.weather) this.after(event.atMs, () => this.happen(event));
      await this.run(this.scenario.durationMs);
      this.clearUp();
      await this.run(NOTICED_MS_MAX);
      await this.until('is connected', () => this.isSettled);
      // Whoever held a durable before and has lost it: now somebody does, so that all must come.
      const heir = this.clients.find(({ isDead }) => !isDead);
      for (const durable of this.shelves.keys()) heir?.hold(durable);
      heir?.undertake();
      await this.until('settles', () => this.isSettled && this.model.missing().length === 0);
      for (const client of this.clients) client.probe();
      await this.until('delivers the probes', () => this.isProbed);
      await this.until('delivers everything', () => this.isSettled && this.model.missing().length === 0);
      if (this.witness !== null) {
        this.witness.begin();
        const { witness } = this;
        await this.until('has the right last values', () => witness.isContent);
        await witness.leave();
      }
      for (const client of this.clients) client.leave();
      await this.until('lets the clients go', () => this.clients.every(({ hasLeft }) => hasLeft));
      await this.run(1_000);
      for (const broker of this.brokers) broker.expectEmpty();
    } finally {
      process.off('unhandledRejection', this.onUnhandled);
    }
    this.totals.add('runs', 1);
    this.totals.add('virtual seconds', this.nowMs / 1_000);
    this.totals.add('instants', this.instants);
    this.totals.add('messages published', this.model.publications.size);
    this.totals.add('messages delivered', this.model.deliveries);
    this.totals.add('messages redelivered', this.model.redeliveries);
    return this.totals;
  }

  /** The shelf of a durable, which all that hold it share. */
  shelfOf(durable: DurablePlan): Shelf {
    let shelf = this.shelves.get(durable);
    if (shelf === undefined) {
      shelf = this.shelve(new Shelf(durable.name, durable.filter, 1, durable.isShared));
      shelf.givesUp = durable.maxDeliveries > 0;
      this.shelves.set(durable, shelf);
    }
    return shelf;
  }

  shelve(shelf: Shelf): Shelf {
    this.model.shelves.push(shelf);
    return shelf;
  }

  /** Says what happens, where somebody follows one world: with JSP_SIM_TRACE set to a part of what is looked for. */
  trace(tell: () => string): void {
    if (TRACE === undefined) return;
    const line = tell();
    if (line.includes(TRACE)) console.log(`${this.nowMs.toFixed(1).padStart(10)} ${line}`);
  }

  /** Keeps what is thrown where nobody can catch it. */
  fail(error: unknown): void {
    this.failure ??= error;
  }

  /** Does something whose failure is that of the run, wherever it is called. */
  guard(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.fail(error);
    }
  }

  after(ms: number, callback: () => void): void {
    this.clock.schedule(this.clock.now() + Math.round(ms * MILLISECOND), () => this.guard(callback));
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  /** Everybody who subscribes to `topic` is to get `text` now. */
  expectProbe(topic: string, text: string, qos: 0 | 1): void {
    for (const client of this.clients) client.expectProbe(text, qos, (filter) => slowMatches(filter, topic));
  }

  private happen(event: WeatherEvent): void {
    if (this.isClear) return;
    this.totals.add(`weather, ${event.kind}`, 1);
    this.trace(() => JSON.stringify(event));
    if (event.kind === 'clock') this.setClock(event.byMs);
    else if ('client' in event) this.clients[event.client].suffer(event);
    else this.brokers[event.broker].suffer(event);
  }

  private setClock(byMs: number): void {
    this.wall.offsetMs += byMs;
    this.model.clockSet(byMs);
  }

  private clearUp(): void {
    this.isClear = true;
    for (const broker of this.brokers) broker.clearUp();
    for (const client of this.clients) client.clearUp();
  }

  private get isSettled(): boolean {
    return (
      this.clients.every(({ isSettled }) => isSettled) && this.brokers.every(({ isSettled }) => isSettled)
    );
  }

  private get isProbed(): boolean {
    return this.clients.every(({ isProbed }) => isProbed);
  }

  private async until(what: string, predicate: () => boolean): Promise<void> {
    if (await this.run(SETTLE_MS_MAX, predicate)) return;
    const missing = this.model.missing();
    const faults = this.witness?.faults ?? [];
    const few = [
      ...missing.slice(0, 4),
      ...faults.slice(0, 4),
      ...this.clients.map((client) => client.toString()),
    ];
    throw new Violation(
      `never ${what}: ${this.brokers.join('; ')}; ${missing.length} are missing: ${few.join('; ')}`,
    );
  }

  /** Lets time pass, until `predicate` holds, where one is given. False: it does not hold. */
  private async run(forMs: number, predicate: () => boolean = () => false): Promise<boolean> {
    const { clock } = this;
    const end = clock.now() + Math.round(forMs * MILLISECOND);
    await instant();
    while (this.instants % LOOK_EVERY !== 0 || !predicate()) {
      if (clock.nextAt > end) {
        clock.advanceTo(end);
        return predicate();
      }
      if (this.instants++ > INSTANTS_MAX)
        throw new Violation(`no end after ${INSTANTS_MAX} instants: ${this.brokers.join('; ')}`);
      clock.runInstant();
      await instant();
      if (this.instants % LOOK_EVERY === 0) for (const broker of this.brokers) broker.expectBounded();
      if (this.failure !== null) throw this.failure;
    }
    return true;
  }
}

const { JSP_SIM_TRACE: TRACE } = process.env;
const instant = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Until then everybody has noticed that a connection is gone. */
const NOTICED_MS_MAX = WORKER_NOTICED_MS_MAX + 1_000;
const SETTLE_MS_MAX = 300_000;
/** Instants between two looks at what costs much to look at. */
const LOOK_EVERY = 32;
const INSTANTS_MAX = 200_000;
