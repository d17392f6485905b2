/**
 * A node's end of the model of NATS: the whole port of a broker's core, and the store behind it, in virtual time. It keeps a connection, and comes back when that breaks; it says again what
 * the server has forgotten; it drops what comes twice or too late; and when it was out of reach for as long as its lease is, it gives up what it had.
 */

import { MILLISECOND, type Micros } from '../../../src/base/time.ts';
import type { Backplane } from '../../../src/broker/backplane/backplane.ts';
import type {
  BackplaneEvents,
  BackplanePort,
  ClaimAsker,
  ClaimDemand,
} from '../../../src/broker/core/backplane/backplane-port.ts';
import type { ValueChange } from '../../../src/broker/core/backplane/value-port.ts';
import type { LogOptions } from '../../../src/broker/core/store-port.ts';
import { HEADER_BYTES } from '../../../src/pubsub/command.ts';
import type { ClaimChanges, Grant, Owner } from './model-claims.ts';
import {
  LEASE_MS,
  type LiveMessage,
  type ModelNats,
  type NatsConnection,
  type NatsListener,
} from './model-nats.ts';
import { ModelStore } from './model-store.ts';
import { ModelValues } from './model-values.ts';

export interface ModelNodeOptions {
  /** As a broker is configured; the log `default` always is. */
  readonly logs?: readonly LogOptions[] | undefined;
  /** Which claim an entry of the state belongs to; null: to none, it is this process's alone. */
  readonly claimOf?: ((stateKey: string) => string | null) | undefined;
}

interface AskedClaim {
  readonly demand: ClaimDemand;
  readonly asker: ClaimAsker;
}

type News = (events: BackplaneEvents) => void;

/** A process of a node: another of the same name begins anew. */
export class ModelNode
  implements Pick<Backplane, 'port' | 'store' | 'onNews' | 'close'>, BackplanePort, NatsListener
{
  readonly node: string;
  readonly messageBytesMax = Number.POSITIVE_INFINITY;
  readonly store: ModelStore;
  readonly values: ModelValues;
  onNews: () => void = () => {};
  readonly nats: ModelNats;
  /** Null: it is on its way to the server. */
  connection: NatsConnection | null = null;
  /** Of what it claims: another since it was given up. */
  life: number;
  private readonly filters = new Set<string>();
  private readonly claiming = new Map<string, AskedClaim>();
  private readonly claims = new Set<string>();
  /** What the server may not know of as given back, with what was written last. */
  private readonly givenBack = new Map<string, ClaimChanges>();
  private news: News[] = [];
  private published = 0;
  /** By node, its life, and group: the last message that came. */
  private readonly lastFrom = new Map<string, number>();
  /** Until then nobody else takes what it has. */
  private leaseUntil: Micros = 0;
  private others: ReadonlySet<string> = new Set();
  /** Others take it for gone, as far as it knows. */
  private isLapsed = false;
  private isOver = false;

  constructor(nats: ModelNats, node: string, options: ModelNodeOptions = {}) {
    this.nats = nats;
    this.node = node;
    this.life = ++nats.lives;
    this.values = new ModelValues(this, this.life);
    this.store = new ModelStore(this, options.logs ?? [], options.claimOf ?? claimOfState);
    this.connect();
    this.keepLease();
  }

  get port(): this {
    return this;
  }

  get owner(): Owner {
    return { node: this.node, life: this.life };
  }

  get isConnected(): boolean {
    return this.connection !== null;
  }

  hasNode(node: string): boolean {
    return node === this.node || this.others.has(node);
  }

  get hasNews(): boolean {
    return this.news.length > 0;
  }

  tell(events: BackplaneEvents): void {
    const { news } = this;
    this.news = [];
    for (const each of news) each(events);
  }

  // ---- what the core asks ----

  publish(message: Uint8Array, topicEnd: number, priority: number, ttlMs: number, request: number): void {
    const { connection } = this;
    if (connection === null) {
      if (request > 0) this.later((events) => events.unanswered(request));
      return;
    }
    const live: LiveMessage = {
      ...{ node: this.node, life: this.life, number: ++this.published, priority },
      topic: Buffer.from(message.buffer, message.byteOffset, message.length).toString(
        'utf8',
        HEADER_BYTES,
        topicEnd,
      ),
      message: Uint8Array.from(message),
      deadline: this.nats.clock.now() + ttlMs * MILLISECOND,
    };
    connection.up(() => {
      if (!this.nats.route(connection, live) && request > 0)
        connection.down(() => this.later((events) => events.unanswered(request)));
    });
  }

  want(filter: string): void {
    this.filters.add(filter);
    this.subscribe(filter);
  }

  unwant(filter: string): void {
    this.filters.delete(filter);
    this.connection?.up((connection) => connection.filters.delete(filter));
  }

  claim(key: string, demand: ClaimDemand, asker: ClaimAsker = ANYBODY): void {
    const asked = { demand, asker };
    this.claiming.set(key, asked);
    this.askForClaim(key, asked);
  }

  release(key: string): void {
    const { owner } = this;
    if (this.claiming.delete(key)) this.connection?.up(() => this.nats.claims.forget(key, owner));
    if (!this.claims.has(key)) return;
    this.claims.delete(key);
    this.giveBack(key, this.store.state.release(key));
  }

  keep(key: string): void {
    const { owner } = this;
    this.connection?.up(() => this.nats.claims.keep(key, owner));
  }

  newNumber(): number {
    return this.nats.newNumber();
  }

  send(node: string, bytes: Uint8Array): void {
    const copy = Uint8Array.from(bytes);
    this.connection?.up((connection) => this.nats.send(connection, node, copy));
  }

  broadcast(bytes: Uint8Array): void {
    const copy = Uint8Array.from(bytes);
    this.connection?.up((connection) => this.nats.send(connection, null, copy));
  }

  /** What it has, as far as it knows. */
  get holding(): ReadonlySet<string> {
    return this.claims;
  }

  has(key: string): boolean {
    return this.claims.has(key);
  }

  /** Leaves the cluster: what it has is written, and nobody's. */
  close(): Promise<void> {
    for (const key of [...this.claims]) this.release(key);
    this.connection?.up((connection) => {
      this.nats.lapse(this.node);
      this.nats.forget(connection);
    });
    this.isOver = true;
    return Promise.resolve();
  }

  /** The process is gone without a word; the server notices its connection after so long. */
  kill(noticedMs = 0): void {
    this.isOver = true;
    this.onNews = () => {};
    this.connection?.break(0, noticedMs);
    this.connection = null;
  }

  // ---- what the server tells ----

  message(live: LiveMessage, group: string | null): void {
    if (live.node === this.node && group === null) return;
    const source = `${live.node} ${live.life} ${group}`;
    const isLate = live.number <= (this.lastFrom.get(source) ?? 0);
    if (isLate) return;
    this.lastFrom.set(source, live.number);
    const { message, priority, deadline } = live;
    this.later((events) => events.message(Uint8Array.from(message), priority, deadline / MILLISECOND, group));
  }

  received(node: string, bytes: Uint8Array): void {
    this.later((events) => events.received(node, bytes));
  }

  nodesAre(nodes: readonly string[]): void {
    const gone = [...this.others].filter((node) => !nodes.includes(node));
    this.others = new Set(nodes);
    for (const node of gone) this.later((events) => events.nodeGone(node));
  }

  valueChanged(change: ValueChange, life: number): void {
    this.values.changed(change, life);
  }

  valuesRead(): void {
    this.values.completed();
  }

  claimed({ key, entries, life, isAdopted }: Grant): void {
    if (this.claims.has(key) || life !== this.life) return;
    if (!this.claiming.delete(key) && !isAdopted) {
      this.giveBack(key, new Map()); // it is not waited for any more
      return;
    }
    this.claims.add(key);
    this.store.state.take(entries);
    this.later((events) => events.claimed(key, entries));
  }

  claimedByOther(key: string, node: string, stays: boolean): void {
    if (this.claiming.delete(key)) this.later((events) => events.claimedByOther(key, node, stays));
  }

  claimAsked(key: string, by: string, ageMs: number): void {
    const { owner } = this;
    if (this.claims.has(key)) this.later((events) => events.claimAsked(key, by, ageMs));
    else if (!this.givenBack.has(key)) this.connection?.up(() => this.nats.claims.release(key, owner)); // [CLU-61]
  }

  claimTaken(key: string, life: number): void {
    if (life === this.life) this.lose(key);
  }

  streamMoved(name: string, earliest: number, head: number): void {
    this.store.moved(name, earliest, head);
  }

  broken(): void {
    if (this.connection === null) return;
    this.connection = null;
    if (this.isOver) return;
    this.later((events) => events.disconnected());
    this.store.disconnected();
    this.values.disconnected();
    this.nats.after(this.nats.random.between(...RECONNECT_MS), () => this.connect());
  }

  /** A revision of it did not go on: another has it. */
  lose(key: string): void {
    if (!this.claims.delete(key)) return;
    const untold = this.store.state.lose(key);
    this.later((events) => {
      events.claimLost(key);
      untold();
    });
  }

  /** Something is to be told in the next turn. */
  later(news: News): void {
    if (this.isOver) return;
    this.news.push(news);
    this.onNews();
  }

  private connect(): void {
    if (this.isOver || this.connection !== null) return;
    const connection = this.nats.connect(this.node, this);
    if (connection === null) {
      this.nats.after(this.nats.random.between(...RECONNECT_MS), () => this.connect());
      return;
    }
    this.connection = connection;
    this.renewLease();
    this.later((events) => events.connected());
    for (const filter of this.filters) this.subscribe(filter);
    this.reviewClaims(connection);
    for (const [key, changes] of this.givenBack) this.giveBack(key, changes);
    for (const [key, asked] of this.claiming) this.askForClaim(key, asked);
    this.store.connected();
    this.values.connected();
  }

  /** What has become another's meanwhile, nobody could tell it. */
  private reviewClaims(connection: NatsConnection): void {
    const { owner } = this;
    const keys = [...this.claims];
    connection.up(() => {
      const lost = keys.filter((key) => !this.nats.claims.has(key, owner));
      connection.down(() => {
        if (owner.life === this.life) for (const key of lost) this.lose(key);
      });
    });
  }

  private subscribe(filter: string): void {
    this.connection?.up((connection) => {
      this.nats.traffic++;
      if (this.filters.has(filter)) connection.filters.add(filter);
      connection.down(() => this.later((events) => events.wanted(filter)));
    });
  }

  private askForClaim(key: string, asked: AskedClaim): void {
    const { owner } = this;
    this.connection?.up((connection) => {
      const entries = this.nats.claims.entriesOf(key);
      connection.down(() => {
        if (this.claiming.get(key) !== asked) return;
        if (asked.asker.mayTake(entries)) {
          const { ageMs } = asked.asker;
          connection.up(() => this.nats.claims.claim(connection, key, asked.demand, owner, ageMs));
        } else {
          this.claiming.delete(key);
          this.later((events) => events.claimDenied(key));
        }
      });
    });
  }

  /** Also when that takes another connection. */
  private giveBack(key: string, changes: ClaimChanges): void {
    const { owner } = this;
    this.givenBack.set(key, changes);
    this.connection?.up((connection) => {
      this.nats.claims.write(key, owner, changes);
      this.nats.claims.release(key, owner);
      connection.down(() => {
        if (this.givenBack.get(key) === changes) this.givenBack.delete(key);
      });
    });
  }

  private keepLease(): void {
    if (this.isOver) return;
    this.renewLease();
    this.nats.after(RENEW_MS, () => this.keepLease());
  }

  private renewLease(): void {
    const sentAt = this.nats.clock.now();
    const { owner } = this;
    this.connection?.up((connection) => {
      this.nats.renew(owner);
      connection.down(() => {
        this.setLapsed(false);
        const until = sentAt + (LEASE_MS - MARGIN_MS) * MILLISECOND;
        this.leaseUntil = until;
        this.nats.clock.schedule(until, () => {
          if (this.leaseUntil === until && !this.isOver) this.giveUp();
        });
      });
    });
  }

  /** It cannot know any more that what it has is not another's. */
  private giveUp(): void {
    for (const key of [...this.claims]) this.lose(key);
    this.givenBack.clear();
    this.life = ++this.nats.lives;
    this.setLapsed(true);
  }

  private setLapsed(isLapsed: boolean): void {
    if (this.isLapsed === isLapsed) return;
    this.isLapsed = isLapsed;
    this.later((events) => events.cutOff(isLapsed));
  }
}

/** As the core names what it keeps. */
const ANYBODY: ClaimAsker = { mayTake: () => true, ageMs: 0 };

function claimOfState(key: string): string | null {
  if (key.startsWith('session/')) return `s/${key.slice('session/'.length)}`;
  return key.startsWith('durable/') ? `d/${key.slice('durable/'.length)}` : null;
}

const RECONNECT_MS = [50, 400] as const;
const RENEW_MS = 2_500;
/** So much earlier than the server the node itself takes its lease for over. */
const MARGIN_MS = 1_500;
