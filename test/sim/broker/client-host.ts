import { JspError } from '../../../src/base/errors.ts';
import { type BrokerClient, connectClient, type Subscription } from '../../../src/client/index.ts';
import { LabClock } from '../../../src/testing/lab.ts';
import { type Delivered, Holder, Shelf } from './model.ts';
import type { Path, SimConnection } from './network.ts';
import type { BrokerWorld } from './run.ts';
import type { ClientPlan, PublisherPlan, SubscriptionPlan, WeatherEvent } from './scenario.ts';

/** A subscription that its application holds. */
interface Held {
  readonly plan: SubscriptionPlan;
  readonly holder: Holder;
  readonly subscription: Subscription;
  isOver: boolean;
  /** Texts of probes that it is to get and has not got. */
  readonly probes: Set<string>;
}

/** The machine of a client: the process that runs there, and what its application does. */
export class ClientHost {
  hasLeft = false;
  private readonly world: BrokerWorld;
  private readonly plan: ClientPlan;
  private readonly path: Path;
  /** Lives of the process, and of the client in it. */
  private life = 0;
  private generation = 0;
  private isDown = false;
  private client: BrokerClient | null = null;
  private connection: SimConnection | null = null;
  private held: Held[] = [];
  private stuckUntilMs = 0;
  private unanswered = 0;
  private leaving = false;
  /** Timers of the process, for its application to wait for. */
  private clock: LabClock;

  constructor(world: BrokerWorld, plan: ClientPlan) {
    this.world = world;
    this.plan = plan;
    this.path = { latencyMs: plan.latencyMs, jitterMs: plan.jitterMs, frozenUntil: 0 };
    this.clock = new LabClock(world.clock);
  }

  start(): void {
    this.isDown = false;
    this.clock = new LabClock(this.world.clock);
    void this.live(++this.life).catch((error) => this.world.fail(error));
    if (this.life === 1) for (const plan of this.plan.publishers) this.publishOften(plan);
  }

  suffer(event: Extract<WeatherEvent, { client: number }>): void {
    const { clock } = this.world;
    switch (event.kind) {
      case 'break':
        this.connection?.vanish(event.nearMs, event.farMs);
        break;
      case 'freeze':
        this.path.frozenUntil = clock.now() + event.forMs * 1_000;
        break;
      case 'stuck':
        this.stuckUntilMs = this.world.nowMs + event.forMs;
        break;
      case 'kill':
        this.kill(event.downMs, event.noticedMs);
        break;
    }
  }

  clearUp(): void {
    this.path.frozenUntil = 0;
    this.stuckUntilMs = 0;
    if (this.isDown) this.start();
  }

  /** It is connected, has subscribed, and everything that it published is answered. */
  get isSettled(): boolean {
    return (
      this.client !== null &&
      this.held.length === this.plan.subscriptions.length &&
      this.unanswered === 0 &&
      this.client.unconfirmed === 0
    );
  }

  /** Publishes to every topic, for everybody who subscribes to it. */
  probe(): void {
    for (const topic of PROBED_TOPICS) {
      const publication = this.world.model.publish(`${this.plan.name}/probe`, topic, 0);
      this.world.expectProbe(topic, publication.text);
      this.client?.publish(topic, publication.text);
    }
  }

  /** It is to get this probe, where it subscribes to its topic. */
  expectProbe(text: string, matches: (filter: string) => boolean): void {
    for (const { holder, isOver, probes } of this.held)
      if (!isOver && matches(holder.shelf.filter)) probes.add(text);
  }

  get isProbed(): boolean {
    return this.held.every(({ isOver, probes }) => isOver || probes.size === 0);
  }

  leave(): void {
    this.leaving = true;
    const done = this.client?.close() ?? Promise.resolve();
    done.then(
      () => {
        this.hasLeft = true;
      },
      (error) => this.world.fail(error),
    );
  }

  toString(): string {
    const { name } = this.plan;
    if (this.client === null) return `${name} is ${this.isDown ? 'down' : 'not connected'}`;
    const probes = this.held.flatMap(({ probes, isOver }) => (isOver ? [] : [...probes]));
    return `${name} holds ${this.held.length} of ${this.plan.subscriptions.length} subscriptions, awaits ${this.unanswered} answers, ${this.client.unconfirmed} unconfirmed, misses ${probes.join(', ')}`;
  }

  /** One life of the process: connects, and again when it has lost the connection. */
  private async live(life: number): Promise<void> {
    while (life === this.life && !this.leaving) {
      const connection = await this.dial();
      if (life !== this.life) return connection?.destroy();
      if (connection === null) {
        await this.world.sleep(REDIAL_MS);
        continue;
      }
      this.connection = connection;
      const client = await connectClient(connection, { clock: this.clock });
      this.generation++;
      this.client = client;
      this.held = [];
      for (const plan of this.plan.subscriptions) this.subscribe(client, life, plan);
      await client.closed;
      if (life === this.life) this.client = null;
      this.world.totals.add('connections lost', 1);
      await this.world.sleep(REDIAL_MS);
    }
  }

  /** Null: there is no broker. */
  private async dial(): Promise<SimConnection | null> {
    await this.world.sleep(2 * this.path.latencyMs + 1);
    if (!this.world.broker.isUp) return null;
    const [near, far] = this.world.network.connect(this.path);
    this.world.broker.serve(far);
    return near;
  }

  private subscribe(client: BrokerClient, life: number, plan: SubscriptionPlan): void {
    const { filter, overflow, queueMessages } = plan;
    const shelf = new Shelf(`${this.plan.name}.${this.generation}`, filter, 0);
    const holder = new Holder(shelf);
    const probes = new Set<string>();
    const handler = (message: Delivered) =>
      life === this.life ? this.handle(plan, holder, probes, message) : undefined;
    client.subscribe(filter, handler, { overflow, queueMessages }).then(
      (subscription) => {
        if (client !== this.client) return;
        shelf.sinceMs = this.world.nowMs;
        const held: Held = { plan, holder, subscription, probes, isOver: false };
        this.held.push(held);
        void subscription.closed.then(() => {
          held.isOver = true;
          this.world.totals.add('subscriptions over', 1);
        });
      },
      (error) => {
        if (!isOfConnection(error)) this.world.fail(error);
      },
    );
  }

  private handle(plan: SubscriptionPlan, holder: Holder, probes: Set<string>, message: Delivered): unknown {
    const { world } = this;
    try {
      const { text } = world.model.delivered(holder, message);
      probes.delete(text);
    } catch (error) {
      world.fail(error);
    }
    const stuckMs = Math.max(0, this.stuckUntilMs - world.nowMs);
    const ms = stuckMs + (plan.handlerMs === 0 || world.isClear ? 0 : world.random.below(plan.handlerMs));
    return ms === 0 ? undefined : world.sleep(ms);
  }

  private publishOften(plan: PublisherPlan): void {
    let count = plan.count;
    const go = () => {
      if (count-- <= 0 || this.world.isClear) return;
      for (let i = 0; i < plan.burst; i++) this.publish(plan);
      this.world.after(plan.everyMs, go);
    };
    this.world.after(plan.fromMs, go);
  }

  private publish({ topic, payloadBytes }: PublisherPlan): void {
    const { client } = this;
    if (client === null) return;
    const publication = this.world.model.publish(`${this.plan.name}.${this.generation}`, topic, 0);
    try {
      if (!client.publish(topic, publication.text.padEnd(payloadBytes)))
        this.world.totals.add('publishes that met back-pressure', 1);
    } catch (error) {
      if (!isOfConnection(error)) throw error;
    }
  }

  private kill(downMs: number, noticedMs: number): void {
    if (this.isDown) return;
    this.isDown = true;
    this.life++;
    this.connection?.kill(noticedMs);
    this.client = null;
    this.held = [];
    this.world.after(downMs, () => {
      if (this.isDown) this.start();
    });
  }
}

function isOfConnection(error: unknown): boolean {
  return error instanceof JspError;
}

const REDIAL_MS = 100;
const PROBED_TOPICS = ['a', 'a/b', 'a/c', 'b'];
