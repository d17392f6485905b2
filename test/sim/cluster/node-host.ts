import { claimOfState } from '../../../src/broker/core/backplane/claim-keys.ts';
import { BrokerService } from '../../../src/broker/service.ts';
import { LabClock } from '../../../src/testing/lab.ts';
import type { SimConnection } from '../broker/network.ts';
import type { Broker, BrokerWorld } from '../broker/run.ts';
import type { BrokerEvent } from '../broker/scenario.ts';
import { Violation } from '../invariants.ts';
import { ModelNode } from './model-backplane.ts';
import { FINE_WEATHER, LEASE_MS, type ModelNats } from './model-nats.ts';
import type { ClusterScenario } from './scenario.ts';

/** The machine of a broker that is a node of a cluster: its process dies and comes back, and its way to NATS is cut and mended. */
export class NodeHost implements Broker {
  readonly url: string;
  /** Offsets mean the same as long as the streams are there. */
  readonly epoch: number;
  private readonly world: BrokerWorld;
  private readonly nats: ModelNats;
  private readonly limits: ClusterScenario['limits'];
  private readonly name: string;
  /** Lives of the process. */
  private life = 0;
  private service: BrokerService | null = null;
  private node: ModelNode | null = null;
  private clock: LabClock;
  private connections: SimConnection[] = [];

  constructor(world: BrokerWorld, nats: ModelNats, { limits }: ClusterScenario, number: number) {
    this.world = world;
    this.nats = nats;
    this.limits = limits;
    this.name = `n${number}`;
    this.url = `sim:${number}`;
    this.epoch = nats.stream({ name: 'default' }).epoch;
    this.clock = new LabClock(world.clock);
  }

  get isUp(): boolean {
    return this.service !== null;
  }

  start(): void {
    if (this.service !== null) return;
    this.clock = new LabClock(this.world.clock);
    this.life++;
    const node = new ModelNode(this.nats, this.name, { claimOf: claimOfState });
    const service = new BrokerService(
      { ...this.limits, routesMax: ROUTES },
      {
        clock: this.clock,
        wallMs: this.world.wall.now,
        store: node.store,
        backplane: node,
        onFault: (error) => this.world.fail(error),
      },
    );
    node.onNews = () => service.hear();
    this.node = node;
    this.service = service;
    service.hear();
  }

  serve(connection: SimConnection): void {
    this.connections.push(connection);
    this.service?.serve(connection);
  }

  suffer(event: BrokerEvent): void {
    switch (event.kind) {
      case 'crash':
        this.crash(event.downMs, event.noticedMs);
        break;
      case 'leave':
        this.leave(event.downMs);
        break;
      case 'cut':
        this.nats.cut(this.name, event.nearMs, event.farMs);
        this.world.after(event.forMs, () => this.nats.mend(this.name));
        break;
      case 'nats':
        this.nats.crash();
        this.world.after(event.downMs, () => this.nats.start());
        break;
    }
  }

  clearUp(): void {
    this.nats.weather = FINE_WEATHER;
    this.nats.start();
    this.nats.mend(this.name);
    this.start();
  }

  get isSettled(): boolean {
    if (this.service === null || this.node?.isConnected !== true) return false;
    const { queuedMessages, publishersStopped } = this.service.metrics();
    return queuedMessages === 0 && publishersStopped === 0;
  }

  expectBounded(): void {
    if (this.service === null) return;
    const { queuedBytes, clients } = this.service.metrics();
    // What the broker publishes itself has the bound of a client.
    const bound = (clients + 1) * (this.limits.queueBytesPerClientMax + MESSAGE_CHARGE_MAX);
    if (queuedBytes > bound) throw new Violation(`${this.name} queues ${queuedBytes} of ${bound} bytes`);
    for (const key of this.node?.holding ?? []) {
      const sinceMs = this.nats.claims.othersSinceMs(key, (this.node as ModelNode).owner);
      if (sinceMs > LEASE_MS)
        throw new Violation(`${this.name} has ${key}, which is another's for ${sinceMs} ms`);
    }
  }

  /** Nobody is there any more, and nothing of anybody is. */
  expectEmpty(): void {
    const { clients, streams, subscriptions, filters, queuedBytes, lanes } = this.service?.metrics() ?? {};
    for (const [name, held] of Object.entries({
      clients,
      streams,
      subscriptions,
      filters,
      queuedBytes,
      lanes,
    }))
      if (held !== 0) throw new Violation(`all clients have gone, and ${name} of ${this.name} is ${held}`);
  }

  toString(): string {
    if (this.service === null) return `${this.name} is down`;
    const { queuedMessages, publishersStopped, clients } = this.service.metrics();
    const way = this.node?.isConnected ? 'connected' : 'cut off';
    return `${this.name} is ${way}, has ${clients} clients, queues ${queuedMessages} messages and stops ${publishersStopped} publishers`;
  }

  private crash(downMs: number, noticedMs: number): void {
    if (this.service === null) return;
    this.end(noticedMs);
    this.node?.kill(noticedMs);
    this.node = null;
    this.world.after(downMs, () => this.start());
  }

  /** It ends in order: its clients are told, and the others what it had. */
  private leave(downMs: number): void {
    const { service, node, life } = this;
    if (service === null) return;
    void service.drain(DRAIN_MS).then(() => {
      if (life !== this.life) return;
      this.end(0);
      void node?.close();
      this.node = null;
      this.world.after(downMs, () => this.start());
    });
  }

  private end(noticedMs: number): void {
    this.life++;
    this.service = null;
    this.clock.sleep(Number.MAX_SAFE_INTEGER / 4_000, false);
    for (const connection of this.connections.splice(0)) connection.kill(noticedMs);
    this.world.model.brokerDied(false);
  }
}

/** Above what any message of a world is charged. */
const MESSAGE_CHARGE_MAX = 1_000;
const DRAIN_MS = 500;
/** Few, so that a broker costs little to make. */
const ROUTES = 32;
