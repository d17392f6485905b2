/** Runs the world of a seed: a broker that crashes and comes back, clients that come, go, break, get stuck and are killed, and the model that judges. */

import { Prng } from '../../../src/base/random.ts';
import { MILLISECOND } from '../../../src/base/time.ts';
import { VirtualClock } from '../../../src/testing/virtual-clock.ts';
import { slowMatches } from '../../pubsub/slow-topic.ts';
import { Violation } from '../invariants.ts';
import { Totals } from '../totals.ts';
import { BrokerHost } from './broker-host.ts';
import { ClientHost } from './client-host.ts';
import { Model } from './model.ts';
import { SimNetwork } from './network.ts';
import { type BrokerScenario, brokerScenarioOf, type WeatherEvent } from './scenario.ts';
import { inVirtualTime, WallClock } from './virtual-time.ts';

/** Runs the world of a seed to its end and answers what it met. Rejects, naming the seed, when a promise is broken. */
export async function runBrokerSeed(seed: number): Promise<Totals> {
  const world = new BrokerWorld(brokerScenarioOf(seed));
  try {
    return await inVirtualTime(world.clock, world.wall, new Prng(seed + 1), () => world.toItsEnd());
  } catch (error) {
    const at = (world.nowMs / 1_000).toFixed(3);
    const story = error instanceof Violation ? error.message : ((error as Error).stack ?? String(error));
    throw new Violation(`seed ${seed}, at ${at} s: ${story}`);
  }
}

/** What the hosts share. */
export class BrokerWorld {
  readonly clock = new VirtualClock();
  readonly wall = new WallClock(this.clock);
  readonly network: SimNetwork;
  readonly model: Model;
  readonly broker: BrokerHost;
  readonly totals = new Totals();
  readonly random: Prng;
  /** The weather is clear from now on. */
  isClear = false;
  private readonly scenario: BrokerScenario;
  private readonly clients: readonly ClientHost[];
  private failure: unknown = null;
  private instants = 0;
  private readonly onUnhandled = (error: unknown) => this.fail(error);

  constructor(scenario: BrokerScenario) {
    this.scenario = scenario;
    this.random = new Prng(scenario.seed);
    this.network = new SimNetwork(this.clock, this.random.fork());
    this.model = new Model(() => this.nowMs);
    this.broker = new BrokerHost(this, scenario.limits);
    this.clients = scenario.clients.map((plan) => new ClientHost(this, plan));
  }

  get nowMs(): number {
    return this.clock.now() / MILLISECOND;
  }

  async toItsEnd(): Promise<Totals> {
    process.on('unhandledRejection', this.onUnhandled);
    try {
      this.broker.start();
      for (const client of this.clients) client.start();
      for (const event of this.scenario.weather) this.after(event.atMs, () => this.happen(event));
      await this.run(this.scenario.durationMs);
      this.clearUp();
      await this.run(NOTICED_MS_MAX);
      await this.until('settles', () => this.isSettled);
      for (const client of this.clients) client.probe();
      await this.until('delivers the probes', () => this.isProbed);
      const missing = this.model.missing();
      if (missing.length > 0)
        throw new Violation(`${missing.length} are missing: ${missing.slice(0, 4).join('; ')}`);
      for (const client of this.clients) client.leave();
      await this.until('lets the clients go', () => this.clients.every(({ hasLeft }) => hasLeft));
      await this.run(1_000);
      this.broker.expectEmpty();
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

  /** Keeps what is thrown where nobody can catch it. */
  fail(error: unknown): void {
    this.failure ??= error;
  }

  after(ms: number, callback: () => void): void {
    this.clock.schedule(this.clock.now() + Math.round(ms * MILLISECOND), () => {
      try {
        callback();
      } catch (error) {
        this.fail(error);
      }
    });
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  /** Everybody who subscribes to `topic` is to get `text` now. */
  expectProbe(topic: string, text: string): void {
    for (const client of this.clients) client.expectProbe(text, (filter) => slowMatches(filter, topic));
  }

  private happen(event: WeatherEvent): void {
    if (this.isClear) return;
    this.totals.add(`weather, ${event.kind}`, 1);
    if (event.kind === 'crash') this.broker.crash(event.downMs, event.noticedMs);
    else if (event.kind === 'clock') this.wall.offsetMs += event.byMs;
    else this.clients[event.client].suffer(event);
  }

  private clearUp(): void {
    this.isClear = true;
    this.broker.start();
    for (const client of this.clients) client.clearUp();
  }

  private get isSettled(): boolean {
    return this.broker.isSettled && this.clients.every(({ isSettled }) => isSettled);
  }

  private get isProbed(): boolean {
    return this.clients.every(({ isProbed }) => isProbed);
  }

  private async until(what: string, predicate: () => boolean): Promise<void> {
    if (await this.run(SETTLE_MS_MAX, predicate)) return;
    const waits = this.clients.map((client) => client.toString()).join('; ');
    throw new Violation(`never ${what}: ${this.broker}; ${waits}`);
  }

  /** Lets time pass, until `predicate` holds, where one is given. False: it does not hold. */
  private async run(forMs: number, predicate: () => boolean = () => false): Promise<boolean> {
    const { clock } = this;
    const end = clock.now() + Math.round(forMs * MILLISECOND);
    await instant();
    while (!predicate()) {
      if (clock.nextAt > end) {
        clock.advanceTo(end);
        return predicate();
      }
      if (this.instants++ > INSTANTS_MAX)
        throw new Violation(`no end after ${INSTANTS_MAX} instants: ${this.broker}`);
      clock.runInstant();
      await instant();
      if (this.instants % 64 === 0) this.broker.expectBounded();
      if (this.failure !== null) throw this.failure;
    }
    return true;
  }
}

const instant = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Until then everybody has noticed that a connection is gone. */
const NOTICED_MS_MAX = 16_000;
const SETTLE_MS_MAX = 300_000;
const INSTANTS_MAX = 200_000;
