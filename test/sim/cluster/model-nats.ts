/**
 * NATS with JetStream as brokers meet it, in memory and in virtual time: interest, live messages that are lost, doubled and overtaken, streams that acknowledge late
 * or not at all and know what they have by its id, a table of claims by revision, leases that run out; a server that dies and comes back, and ways to it that are cut.
 * Nodes stand on it by a `ModelBackplane` each.
 */

import type { Prng } from '../../../src/base/random.ts';
import { MILLISECOND, type Micros } from '../../../src/base/time.ts';
import type { ValueChange } from '../../../src/broker/core/backplane/value-port.ts';
import type { VirtualClock } from '../../../src/testing/virtual-clock.ts';
import { slowMatches } from '../../pubsub/slow-topic.ts';
import { type Grant, ModelClaims, type Owner } from './model-claims.ts';
import { ModelStream, type StreamOptions } from './model-stream.ts';
import { ModelValueStream } from './model-values.ts';

/** How things are between nodes and the server. */
export interface NatsWeather {
  /** One way. */
  readonly latencyMs: number;
  /** Added to that, at most. */
  readonly jitterMs: number;
  /** Chances of a live message, for each node that is to get it: it gets lost, comes twice, or comes behind later ones. */
  readonly lost: number;
  readonly doubled: number;
  readonly overtaken: number;
  /** Chance of an acknowledgement of a stream: it gets lost. */
  readonly unacknowledged: number;
}

export const FINE_WEATHER: NatsWeather = {
  ...{ latencyMs: 0.5, jitterMs: 0.5, lost: 0, doubled: 0, overtaken: 0, unacknowledged: 0 },
};

/** A live message on its way. */
export interface LiveMessage {
  readonly node: string;
  /** Rises with each message of a node's life. */
  readonly life: number;
  readonly number: number;
  readonly topic: string;
  readonly message: Uint8Array;
  readonly priority: number;
  readonly deadline: Micros;
}

/** What the server tells a node. */
export interface NatsListener {
  /** As which it claims now. */
  readonly owner: Owner;
  message(live: LiveMessage, group: string | null): void;
  received(node: string, bytes: Uint8Array): void;
  /** All others that are alive. */
  nodesAre(nodes: readonly string[]): void;
  claimed(grant: Grant): void;
  claimedByOther(key: string, node: string, stays: boolean): void;
  claimAsked(key: string, by: string, ageMs: number): void;
  /** What this life of the node had is another's now: its revisions do not go on. */
  claimTaken(key: string, life: number): void;
  streamMoved(stream: string, earliest: number, head: number): void;
  /** @param life - of the node that has made it */
  valueChanged(change: ValueChange, life: number): void;
  /** It has heard of all changes that there were. */
  valuesRead(): void;
  /** The connection is gone. */
  broken(): void;
}

/** Connection of a node's process to the server. */
export class NatsConnection {
  readonly node: string;
  readonly listener: NatsListener;
  readonly filters = new Set<string>();
  /** What is sent arrives. */
  passes = true;
  private readonly nats: ModelNats;
  private nodeArrival: Micros = 0;
  private serverArrival: Micros = 0;

  constructor(nats: ModelNats, node: string, listener: NatsListener) {
    this.nats = nats;
    this.node = node;
    this.listener = listener;
  }

  /** As which it claims now. */
  get owner(): Owner {
    return this.listener.owner;
  }

  /** Lets `act` happen at the server, behind all that went there before. */
  up(act: (connection: NatsConnection) => void): void {
    this.serverArrival = this.cross(this.serverArrival, () => {
      if (this.nats.connections.has(this)) act(this);
    });
  }

  /** Lets `act` happen at the node, behind all that went there before; or somewhen, where it may be overtaken. */
  down(act: (listener: NatsListener) => void, isOvertaken = false): void {
    const at = this.cross(isOvertaken ? this.nodeArrival + OVERTAKEN : this.nodeArrival, () =>
      act(this.listener),
    );
    if (!isOvertaken) this.nodeArrival = at;
  }

  /** Nothing passes any more; the node and the server notice, each after its time. */
  break(nodeMs: number, serverMs: number): void {
    if (!this.passes) return;
    this.passes = false;
    this.nats.after(nodeMs, () => this.listener.broken());
    this.nats.after(serverMs, () => this.nats.forget(this));
  }

  private cross(notBefore: Micros, act: () => void): Micros {
    const { clock, random, weather } = this.nats;
    const ms = weather.latencyMs + random.float() * weather.jitterMs;
    const at = Math.max(notBefore, clock.now() + Math.round(ms * MILLISECOND));
    clock.schedule(at, () => {
      if (this.passes) act();
    });
    return at;
  }
}

export class ModelNats {
  readonly clock: VirtualClock;
  readonly random: Prng;
  weather: NatsWeather;
  readonly connections = new Set<NatsConnection>();
  readonly claims = new ModelClaims(this);
  readonly values = new ModelValueStream();
  /** Messages that passed, of any kind but leases: none where nobody does anything. */
  traffic = 0;
  /** Lives of nodes so far. */
  lives = 0;
  private numbers = 0;
  private readonly streams = new Map<string, ModelStream>();
  /** Nodes that are alive, and until when that is sure. */
  private readonly leases = new Map<string, { life: number; until: Micros }>();
  private readonly cutOff = new Set<string>();
  private isUp = true;

  constructor(clock: VirtualClock, random: Prng, weather: NatsWeather = FINE_WEATHER) {
    this.clock = clock;
    this.random = random;
    this.weather = weather;
  }

  // ---- connections ----

  /** A connection of a node's process; null: there is no way to the server now, or none there. */
  connect(node: string, listener: NatsListener): NatsConnection | null {
    if (!this.isUp || this.cutOff.has(node)) return null;
    const connection = new NatsConnection(this, node, listener);
    this.connections.add(connection);
    this.tellNodes(connection);
    return connection;
  }

  forget(connection: NatsConnection): void {
    connection.passes = false;
    this.connections.delete(connection);
  }

  /** The way between a node and the server is cut. */
  cut(node: string, nodeNoticesMs: number, serverNoticesMs: number): void {
    this.cutOff.add(node);
    for (const connection of this.connections)
      if (connection.node === node) connection.break(nodeNoticesMs, serverNoticesMs);
  }

  mend(node: string): void {
    this.cutOff.delete(node);
  }

  /** The server's process is killed: all connections break at once, and what it has stored stays. */
  crash(): void {
    this.isUp = false;
    for (const connection of [...this.connections]) connection.break(0, 0);
    this.connections.clear();
  }

  start(): void {
    if (this.isUp) return;
    this.isUp = true;
    // It is not to take nodes for dead that could not reach it.
    for (const [node, { life }] of this.leases) this.renew({ node, life });
  }

  // ---- live messages ----

  /** Hands a message to whoever wants it. False: nobody else does. */
  route(from: NatsConnection, live: LiveMessage): boolean {
    this.traffic++;
    let isWanted = false;
    const groups = new Map<string, NatsConnection[]>();
    for (const connection of this.connections) {
      for (const filter of connection.filters) {
        if (!slowMatches(filter.replace(GROUP, ''), live.topic)) continue;
        if (filter.startsWith('$share/')) {
          groups.set(filter, [...(groups.get(filter) ?? []), connection]);
        } else if (connection !== from) {
          isWanted = true;
          this.deliver(connection, live, null); // one for each filter: that is how NATS has it
        }
      }
    }
    for (const [group, members] of groups) {
      isWanted = true;
      this.deliver(members[this.random.below(members.length)], live, group);
    }
    return isWanted;
  }

  send(from: NatsConnection, node: string | null, bytes: Uint8Array): void {
    this.traffic++;
    for (const connection of this.connections)
      if (connection !== from && (node === null || connection.node === node))
        connection.down((to) => to.received(from.node, bytes));
  }

  private deliver(connection: NatsConnection, live: LiveMessage, group: string | null): void {
    const { lost, doubled, overtaken } = this.weather;
    const { random } = this;
    if (random.chance(lost)) return;
    const copies = random.chance(doubled) ? 2 : 1;
    for (let i = 0; i < copies; i++)
      connection.down((to) => to.message(live, group), random.chance(overtaken));
  }

  // ---- nodes ----

  isAlive({ node, life }: Owner): boolean {
    return this.leases.get(node)?.life === life;
  }

  get nodes(): readonly string[] {
    return [...this.leases.keys()];
  }

  renew(owner: Owner): void {
    const { node, life } = owner;
    if (this.leases.has(node) && !this.isAlive(owner)) this.lapse(node);
    const isNew = !this.leases.has(node);
    const lease = { life, until: this.clock.now() + LEASE_MS * MILLISECOND };
    this.leases.set(node, lease);
    this.clock.schedule(lease.until, () => {
      if (this.isUp && this.leases.get(node) === lease) this.lapse(node);
    });
    if (!isNew) return;
    for (const connection of this.connections) this.tellNodes(connection);
    this.claims.adopt();
  }

  /** The node is not alive any more: its time is over, or it says so. */
  lapse(node: string): void {
    if (!this.leases.delete(node)) return;
    for (const connection of this.connections) this.tellNodes(connection);
    this.claims.adopt();
  }

  private tellNodes(connection: NatsConnection): void {
    const others = this.nodes.filter((node) => node !== connection.node);
    connection.down((to) => to.nodesAre(others));
  }

  /** A number that was never given before: nodes take them in advance, many at a time. */
  newNumber(): number {
    return ++this.numbers;
  }

  // ---- streams ----

  /** The stream of that name, made where there is none. */
  stream(options: StreamOptions): ModelStream {
    let stream = this.streams.get(options.name);
    if (stream === undefined) {
      stream = new ModelStream(options, 1 + this.random.below(1_000_000));
      this.streams.set(options.name, stream);
      stream.onMoved = (earliest, head) => {
        this.traffic++;
        for (const connection of this.connections)
          connection.down((to) => to.streamMoved(options.name, earliest, head));
      };
    }
    return stream;
  }

  after(ms: number, act: () => void): void {
    this.clock.schedule(this.clock.now() + Math.round(ms * MILLISECOND), act);
  }
}

/** How long a node counts as alive after its last word. */
export const LEASE_MS = 10_000;
/** By so much a message is late that others overtake. */
const OVERTAKEN: Micros = 20 * MILLISECOND;
const GROUP = /^\$share\/[^/]*\//;
