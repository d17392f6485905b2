import { JspError } from '../../../src/base/errors.ts';
import { connectClientBy } from '../../../src/client/broker-client.ts';
import type { BrokerClient, Subscription } from '../../../src/client/index.ts';
import { ReasonCode, reasonCodeName } from '../../../src/pubsub/command.ts';
import { LabClock } from '../../../src/testing/lab.ts';
import type { Delivered, Publication } from './model.ts';
import { Holder, Shelf } from './model.ts';
import type { Path, SimConnection } from './network.ts';
import type { BrokerWorld } from './run.ts';
import type { ClientPlan, DurablePlan, PublisherPlan, SubscriptionPlan, WeatherEvent } from './scenario.ts';

/** A subscription that an application has asked for. */
interface Held {
  readonly plan: SubscriptionPlan;
  readonly holder: Holder;
  subscription: Subscription | null;
  isOver: boolean;
  /** Texts of probes that it is to get, or whoever takes it over meanwhile, and their QoS. */
  readonly probes: Map<string, 0 | 1>;
  /** Messages that it was told it has missed since the first of them. */
  missed: number;
}

/** The machine of a client: the process that runs there, and what its application does. Once connected, the client helps itself. */
export class ClientHost {
  hasLeft = false;
  /** It never comes back. */
  isDead = false;
  private readonly world: BrokerWorld;
  private readonly number: number;
  private readonly plan: ClientPlan;
  private readonly path: Path;
  /** Lives of the process. */
  private life = 0;
  private isDown = false;
  private client: BrokerClient | null = null;
  private connection: SimConnection | null = null;
  private held: Held[] = [];
  /** The broker it has connected to last, and one that it does not come back to. */
  private connectedTo: string | null = null;
  private avoided: string | null = null;
  private stuckUntilMs = 0;
  private unanswered = 0;
  private abort = new AbortController();
  private willsLeft = 0;
  /** That the broker has taken on this connection; null: none that is known. */
  private will: Publication | null = null;

  constructor(world: BrokerWorld, plan: ClientPlan, number = 0) {
    this.world = world;
    this.number = number;
    this.plan = plan;
    this.path = { name: plan.name, latencyMs: plan.latencyMs, jitterMs: plan.jitterMs, frozenUntil: 0 };
  }

  /** The brokers, each client beginning with another. */
  private get urls(): readonly string[] {
    const { urls } = this.world;
    const first = this.number % urls.length;
    if (this.plan.isBound) return [urls[first]];
    return [...urls.slice(first), ...urls.slice(0, first)];
  }

  start(): void {
    this.isDown = false;
    void this.live(++this.life).catch((error) => this.world.fail(error));
    if (this.life === 1) for (const plan of this.plan.publishers) this.publishOften(plan);
  }

  suffer(event: Extract<WeatherEvent, { client: number }>): void {
    const { clock, nowMs } = this.world;
    switch (event.kind) {
      case 'break':
        this.connection?.vanish(event.nearMs, event.farMs);
        break;
      case 'move':
        this.avoided = this.connectedTo;
        this.world.after(event.forMs, () => {
          this.avoided = null;
        });
        this.connection?.vanish(event.nearMs, event.farMs);
        break;
      case 'freeze':
        this.path.frozenUntil = clock.now() + event.forMs * 1_000;
        break;
      case 'stuck':
        this.stuckUntilMs = nowMs + event.forMs;
        break;
      case 'takeover':
        this.hold(this.world.durables[event.durable]);
        break;
      case 'kill':
        this.kill(event.noticedMs, event.downMs);
        break;
      case 'die':
        this.die(event.noticedMs);
        break;
    }
  }

  clearUp(): void {
    this.avoided = null;
    this.path.frozenUntil = 0;
    this.stuckUntilMs = 0;
    if (this.isDown && !this.isDead) this.start();
  }

  /** It is connected, has subscribed, and everything that it published is answered. */
  get isSettled(): boolean {
    if (this.isDead) return true;
    return (
      this.client?.state === 'online' &&
      !this.world.withoutSession.has(this.connection?.number ?? 0) &&
      this.held.every(({ subscription, isOver }) => isOver || subscription !== null) &&
      this.unanswered === 0 &&
      this.client.unconfirmed === 0
    );
  }

  /** Subscribes to a durable, which whoever else holds it loses. */
  hold(durable: DurablePlan): void {
    if (this.client === null) return;
    const calm = { overflow: 'block', queueMessages: 0, concurrency: 1, handlerMs: 0, failures: 0 } as const;
    this.subscribe(this.client, this.life, { ...calm, filter: durable.filter, qos: 1, durable });
  }

  /** Looks at all that was given up, of which each counts as told. */
  undertake(): void {
    const { world } = this;
    const bury = (message: Delivered): void => {
      const durable = world.durables.find((each) => deadLetterOf(each) === message.topic);
      if (durable !== undefined) world.shelfOf(durable).handled.add(message.text().trimEnd());
      world.totals.add('dead letters', 1);
    };
    this.client
      ?.subscribe(`${DEAD}#`, bury, { qos: 1, from: 'earliest' })
      .catch((error) => world.fail(error));
  }

  /** Publishes to every topic, for everybody who subscribes to it. */
  probe(): void {
    if (this.isDead) return;
    for (const topic of PROBED_TOPICS) {
      for (const qos of [0, 1] as const) {
        const { text } = this.world.model.publish(`${this.plan.name}/probe${qos}`, topic, qos);
        this.world.expectProbe(topic, text, qos);
        if (qos === 0) this.client?.publish(topic, text);
        else this.client?.publish(topic, text, { qos }).catch((error) => this.world.fail(error));
      }
    }
  }

  /** It is to get this probe, where it subscribes to its topic by itself. */
  expectProbe(text: string, qos: 0 | 1, matches: (filter: string) => boolean): void {
    for (const { holder, isOver, probes } of this.held)
      if (!isOver && !holder.shelf.isShared && matches(holder.shelf.filter)) probes.set(text, qos);
  }

  get isProbed(): boolean {
    return this.held.every((held) => held.isOver || isProbed(held));
  }

  leave(): void {
    if (this.isDead) this.hasLeft = true;
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
    if (this.client === null) return `${name} is ${this.isDown ? 'down' : 'connecting'}`;
    const alive = this.held.filter(({ isOver }) => !isOver);
    const waiting = alive.filter(({ subscription }) => subscription === null).length;
    const probes = alive.flatMap(awaitedOf);
    return `${name} is ${this.client.state}, has ${alive.length} subscriptions, ${waiting} of them unanswered, awaits ${this.unanswered} receipts, ${this.client.unconfirmed} unconfirmed, misses ${probes.join(', ')}`;
  }

  /** One life of the process, with one client. */
  private async live(life: number): Promise<void> {
    const { plan, world } = this;
    this.abort = new AbortController();
    const { signal } = this.abort;
    const connecting = connectClientBy((url, options) => this.dial(life, url, options.signal), this.urls, {
      session: plan.name,
      sessionExpiryMs: plan.sessionExpiryMs,
      reconnect: { minMs: 50, maxMs: 1_000, stableMs: 2_000 },
      firstConnect: 'wait',
      random: world.random.fork(),
      clock: new LabClock(world.clock),
      signal,
    });
    const client = await connecting.catch((error) => {
      if (life === this.life) throw error;
      return null; // killed meanwhile
    });
    if (client === null || life !== this.life) return client?.destroy();
    this.client = client;
    client.on('state', (state, reason) => {
      world.totals.add(`clients, ${state}`, 1);
      const code = (reason as JspError | null)?.applicationCode;
      if (code !== undefined) world.totals.add(`clients, ${state}, ${reasonCodeName(code)}`, 1);
      world.trace(() => `${plan.name} is ${state}`);
      if (life !== this.life) return;
      if (state === 'online') {
        if (world.withoutSession.has(this.connection?.number ?? 0))
          world.totals.add('clients let in without a session', 1);
        this.leaveWill(client, life);
      }
      if (state === 'offline') this.takeWillBack(client);
    });
    client.on('close', (error) => {
      if (life === this.life && error !== null) world.fail(error);
    });
    this.leaveWill(client, life);
    for (const each of plan.subscriptions) this.subscribe(client, life, each);
  }

  private async dial(life: number, url: string, signal: AbortSignal | undefined): Promise<SimConnection> {
    const { world } = this;
    await world.sleep(2 * this.path.latencyMs + 1);
    if (life !== this.life || signal?.aborted) throw new JspError('ERR_JSP_ABORTED', 'given up');
    const broker = world.brokerAt(url);
    if (!broker.isUp || url === this.avoided) {
      await world.sleep(HANDSHAKE_MS);
      throw new JspError('ERR_JSP_HANDSHAKE_TIMEOUT', 'there is no broker');
    }
    const [near, far] = world.network.connect(this.path);
    broker.serve(far);
    this.connection = near;
    this.connectedTo = url;
    return near;
  }

  private subscribe(client: BrokerClient, life: number, plan: SubscriptionPlan): void {
    const { world } = this;
    const { filter, qos, durable, overflow, queueMessages, concurrency } = plan;
    const shelf =
      durable === null
        ? world.shelve(new Shelf(`${this.plan.name}.${life}`, filter, qos))
        : world.shelfOf(durable);
    const held: Held = {
      plan,
      holder: new Holder(shelf, this.plan.name),
      subscription: null,
      isOver: false,
      probes: new Map(),
      missed: 0,
    };
    this.held.push(held);
    const options = {
      ...(qos === 0 ? { overflow, queueMessages } : { qos, concurrency, maxDeliveries: 0 }),
      ...(durable === null || durable.isShared ? {} : { durable: durable.name }),
      ...(durable === null
        ? {}
        : {
            maxUnacked: durable.maxUnacked,
            ackWaitMs: durable.ackWaitMs,
            backoffMs: durable.backoffMs,
            maxDeliveries: durable.maxDeliveries,
            deadLetter: durable.maxDeliveries === 0 ? undefined : deadLetterOf(durable),
          }),
    };
    const over = (): void => {
      held.isOver = true;
      if (durable === null) shelf.isAbandoned = true;
      if (life === this.life) world.totals.add('subscriptions lost', 1);
    };
    const handler = (message: Delivered) => (life === this.life ? this.handle(held, message) : NEVER);
    client.subscribe(filter, handler, options).then(
      (subscription) => {
        if (life !== this.life) return;
        held.subscription = subscription;
        if (shelf.sinceMs === Number.POSITIVE_INFINITY) shelf.sinceMs = world.nowMs;
        void subscription.closed.then(over);
        subscription.on('handlerError', () => world.totals.add('handlers that failed', 1));
        subscription.on('missed', (count, reason) => {
          if (held.probes.size > 0) held.missed += count;
          this.guarded(life, `missed, ${reason}`, () => world.model.missed(shelf, count, reason));
        });
        subscription.on('gap', ({ missed }) =>
          this.guarded(life, 'gaps told', () => world.model.gap(shelf, missed)),
        );
        subscription.on('resumed', ({ recovered }) =>
          this.guarded(life, `resumed, recovered ${recovered}`, () => world.model.held(shelf, recovered)),
        );
      },
      (error) => {
        over();
        if (life === this.life && !isTakeover(error)) world.fail(error);
      },
    );
  }

  private guarded(life: number, what: string, tell: () => void): void {
    if (life !== this.life) return;
    this.world.totals.add(what, 1);
    this.world.trace(() => `${this.plan.name} ${what}`);
    this.world.guard(tell);
  }

  private handle({ plan, holder, subscription }: Held, message: Delivered): unknown {
    const { world, life } = this;
    if (message.topic.startsWith(DEAD)) return undefined; // whoever looks at the dead has them
    let text = '';
    world.trace(
      () =>
        `${holder.shelf.name} gets ${message.text().trimEnd()} ${message.offset} ${message.redelivered ? 'REDELIVERED' : ''}`,
    );
    world.guard(() => {
      text = world.model.delivered(holder, message).text;
    });
    const stuckMs = Math.max(0, this.stuckUntilMs - world.nowMs);
    const ms = stuckMs + (plan.handlerMs === 0 || world.isClear ? 0 : world.random.below(plan.handlerMs));
    // As long as nobody can listen for 'handlerError', the error would be nobody's.
    const isRefused = subscription !== null && !world.isClear && world.random.chance(plan.failures);
    const end = (): unknown => {
      if (life !== this.life) return NEVER;
      world.trace(() => `${holder.shelf.name} ${isRefused ? 'refuses' : 'has handled'} ${text}`);
      if (isRefused) throw new Error('refused');
      holder.shelf.handled.add(text);
      return undefined;
    };
    return ms === 0 ? end() : world.sleep(ms).then(end);
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

  private publish({ topic, qos, ttlMs, payloadBytes, retain }: PublisherPlan): void {
    const { client, world, life } = this;
    if (client === null) return;
    const isUnguarded = this.plan.sessionExpiryMs < SAFE_EXPIRY_MS;
    const ttl = ttlMs === 0 ? undefined : ttlMs;
    const publication = world.model.publish(`${this.plan.name}.${life}`, topic, qos, {
      ttlMs: ttl,
      isUnguarded,
      isRetained: retain === true,
    });
    const payload = publication.text.padEnd(payloadBytes);
    if (qos === 0) {
      try {
        if (!client.publish(topic, payload, { ttlMs: ttl }))
          world.totals.add('publishes that met back-pressure', 1);
      } catch (error) {
        if (!(error instanceof JspError)) throw error;
        world.totals.add(`publishes refused, ${error.code}`, 1);
      }
      return;
    }
    this.unanswered++;
    client
      .publish(topic, payload, { qos, ttlMs: ttl, retain })
      .then(
        ({ offset, result }) => {
          if (life !== this.life) return;
          world.totals.add(`receipts, ${result}`, 1);
          if (result !== 'noSubscriber') world.model.stored(publication, world.epoch, offset ?? undefined);
        },
        (error) => {
          if (life !== this.life) return;
          if (!(error instanceof JspError)) throw error;
          world.totals.add(`publishes refused, ${error.code}`, 1);
        },
      )
      .catch((error) => world.fail(error))
      .finally(() => {
        if (life === this.life) this.unanswered--;
      });
  }

  /** Leaves a will on this connection, which no other has. */
  private leaveWill(client: BrokerClient, life: number): void {
    const { plan, world, connection } = this;
    if (plan.will === undefined || connection === null) return;
    const { topic, delayMs } = plan.will;
    const will = world.model.publish(`${plan.name}.${life}.will${++this.willsLeft}`, topic, 1, {
      isWill: true,
    });
    world.wills.set(will.text, connection);
    client.setWill({ topic, payload: will.text, qos: 1, delayMs }).then(
      () => {
        if (life !== this.life || connection !== this.connection || client.state !== 'online') return;
        world.totals.add('wills left', 1);
        this.will = will;
      },
      (error) => {
        if (life !== this.life) return;
        if (!(error instanceof JspError)) world.fail(error);
        world.totals.add(`wills refused, ${error.code}`, 1);
      },
    );
  }

  /** What the last connection was told is not told again on the next. */
  private takeWillBack(client: BrokerClient): void {
    this.will = null;
    if (this.plan.will !== undefined) client.setWill(null).catch(() => {});
  }

  private die(noticedMs: number): void {
    const { will, world } = this;
    if (this.isDown) return;
    if (will !== null && this.client?.state === 'online' && world.isThere(will.text)) {
      world.totals.add('wills owed', 1);
      world.model.died(will);
    }
    this.kill(noticedMs, null);
    this.isDead = true;
    this.hasLeft = true;
  }

  /** @param downMs - null: it does not come back */
  private kill(noticedMs: number, downMs: number | null): void {
    if (this.isDown) return;
    this.will = null;
    const { client, connection } = this;
    this.isDown = true;
    this.life++;
    this.unanswered = 0;
    this.client = null;
    for (const { holder, plan } of this.held) if (plan.durable === null) holder.shelf.isAbandoned = true;
    this.held = [];
    connection?.kill(noticedMs);
    this.abort.abort();
    client?.destroy();
    if (downMs === null) return;
    this.world.after(downMs, () => {
      if (this.isDown) this.start();
    });
  }
}

/** Somebody else has taken the durable. */
function isTakeover(error: unknown): boolean {
  return (error as JspError).applicationCode === ReasonCode.TAKEN;
}

function deadLetterOf({ name }: DurablePlan): string {
  return `${DEAD}${name}`;
}

/** Probes that have come to nobody. */
function awaitedOf({ probes, holder }: Held): string[] {
  return [...probes.keys()].filter((text) => !holder.shelf.handled.has(text));
}

/** Every probe has come, but for those of QoS 0 that its queue had no place for, which it was told. */
function isProbed(held: Held): boolean {
  const awaited = awaitedOf(held);
  return awaited.length <= held.missed && awaited.every((text) => held.probes.get(text) === 0);
}

const DEAD = 'dead/';
/** What a process that is gone answers. */
const NEVER = new Promise<never>(() => {});
const PROBED_TOPICS = ['a', 'a/b', 'a/c', 'b'];
const HANDSHAKE_MS = 300;
/** Longer than any outage of a world. */
const SAFE_EXPIRY_MS = 60_000;
