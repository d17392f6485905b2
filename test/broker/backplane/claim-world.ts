/**
 * Nodes of a cluster in virtual time: the core of each, with its claims over one bucket that answers late, loses answers, and is out of reach for nodes that are cut off. Logs are one for all.
 * Of what is behind the port the claims are the real ones; all else does what FakeBackplane does.
 */

import { Prng } from '../../../src/base/random.ts';
import { MILLISECOND } from '../../../src/base/time.ts';
import {
  type BucketEntry,
  type ClaimBucket,
  WriteFault,
} from '../../../src/broker/backplane/claims/claim-bucket.ts';
import { decodeClaim, type NodeRun } from '../../../src/broker/backplane/claims/claim-record.ts';
import { ClaimTable, type ClaimWord } from '../../../src/broker/backplane/claims/claim-table.ts';
import { ClaimedState } from '../../../src/broker/backplane/claims/claimed-state.ts';
import { ClusterNumbers } from '../../../src/broker/backplane/claims/numbers.ts';
import { Orphans } from '../../../src/broker/backplane/claims/orphans.ts';
import type { ClaimAsker, ClaimDemand } from '../../../src/broker/core/backplane/backplane-port.ts';
import type { BrokerLimits } from '../../../src/broker/core/state.ts';
import { MemoryStore, NO_IDS } from '../../../src/broker/core/store/memory-store.ts';
import type { LogPort, StatePort, StoreEvents, StorePort } from '../../../src/broker/core/store-port.ts';
import type { Hello } from '../../../src/pubsub/session-commands.ts';
import { VirtualClock } from '../../../src/testing/virtual-clock.ts';
import { DrivenCore } from '../core/driven-core.ts';
import { FakeClient } from '../core/fake-client.ts';
import { Guest } from '../core/world.ts';
import { FakeBackplane } from './fake-backplane.ts';

/** The table that all nodes see. */
export class ModelTable {
  readonly values = new Map<string, BucketEntry>();
  changes = 0;
  private revision = 0;

  put(key: string, value: Uint8Array | null, revision: number): number {
    if ((this.values.get(key)?.revision ?? 0) !== revision) return WriteFault.CONFLICT;
    this.changes++;
    if (value === null) this.values.delete(key);
    else this.values.set(key, { revision: ++this.revision, value });
    return this.revision;
  }

  /** Who has a claim, and what belongs to it; null: nobody has it. */
  holderOf(key: string) {
    const value = this.values.get(key)?.value ?? null;
    const record = value === null ? null : decodeClaim(value);
    return record === null || record.isFree ? null : record.holder.node;
  }
}

export class ClaimNode {
  readonly run: NodeRun;
  readonly core: DrivenCore;
  readonly table: ClaimTable;
  readonly state: ClaimedState;
  readonly backplane: ClaimBackplane;
  /** Clients may come. */
  isReady = false;
  /** Nothing of it reaches anybody, and the other way. */
  isCut = false;
  isDead = false;
  /** It does not answer what others say. */
  isDeaf = false;
  lapsesAt = Number.POSITIVE_INFINITY;
  readonly orphans: Orphans;
  readonly store: NodeStore;
  private readonly world: ClaimWorld;
  private parked: (() => void)[] = [];

  constructor(world: ClaimWorld, run: NodeRun, limits: BrokerLimits) {
    this.world = world;
    this.run = run;
    const after = (ms: number, act: () => void) => world.after(ms, () => this.isDead || act());
    const bucket: ClaimBucket = {
      read: (key, done) => this.read(key, done),
      write: (key, value, revision, done) => this.write(key, value, revision, done),
      scan: (each, done) => this.scan(each, done),
    };
    this.table = new ClaimTable({
      bucket,
      own: run,
      after,
      isAlive: (other) => world.isAlive(other),
      say: (...said) => this.say(...said),
      tell: (news) => this.backplane.push(news),
      onSynced: () => {
        this.store.hasNews = true;
      },
    });
    const numbers = new ClusterNumbers(bucket, { after });
    this.backplane = new ClaimBackplane(run.node, this.table, numbers);
    this.state = new ClaimedState(this.table);
    this.store = new NodeStore(world.logs, this.state);
    this.core = new DrivenCore(limits, (error) => world.faults.push(error), this.store, this.backplane);
    this.orphans = new Orphans(
      { bucket, own: run, after, isAlive: (other) => world.isAlive(other), nodes: () => world.names() },
      this.table,
    );
    numbers.start(() => {
      this.isReady = true;
      this.orphans.start();
    });
  }

  hello(session: string, options: Partial<Hello> = {}): Guest {
    const guest = new Guest(new FakeClient(this.core));
    guest.hello(session, options);
    return guest;
  }

  get isIdle(): boolean {
    return !this.backplane.hasNews && !this.store.hasNews && this.core.nextTimeoutMs > this.world.nowMs;
  }

  look(): void {
    this.store.check();
    this.core.advance(this.world.nowMs, this.world.wallMs);
  }

  hear(from: string, word: ClaimWord, key: string, ageMs: number): void {
    if (!this.isDead && !this.isCut && !this.isDeaf) this.table.hear(from, word, key, ageMs);
  }

  /** The way to the others is there again. */
  heal(): void {
    this.isCut = false;
    this.backplane.isConnected = true;
    const { parked } = this;
    this.parked = [];
    for (const read of parked) read();
  }

  private say(node: string, word: ClaimWord, key: string, ageMs: number): void {
    if (this.isCut || this.isDead) return;
    this.world.after(this.world.latencyMs(), () =>
      this.world.nodes.get(node)?.hear(this.run.node, word, key, ageMs),
    );
  }

  private read(key: string, done: (found: BucketEntry | null) => void): void {
    if (this.isCut) {
      this.parked.push(() => this.read(key, done));
      return;
    }
    this.pass(() => {
      const found = this.world.table.values.get(key) ?? { revision: 0, value: null };
      this.back(
        () => done(found),
        () => done(null),
      );
    });
  }

  private write(
    key: string,
    value: Uint8Array | null,
    revision: number,
    done: (outcome: number) => void,
  ): void {
    const unknown = () => done(WriteFault.UNKNOWN);
    if (this.isCut) {
      this.world.after(0, unknown);
      return;
    }
    const isLost = this.world.random.float() < this.world.lost;
    this.pass(() => {
      const outcome =
        isLost && this.world.random.float() < 0.5 ? null : this.world.table.put(key, value, revision);
      if (isLost || outcome === null) this.world.after(100, () => this.isDead || unknown());
      else this.back(() => done(outcome), unknown);
    });
  }

  private scan(each: (key: string, entry: BucketEntry) => boolean, done: (isWhole: boolean) => void): void {
    const stop = (isWhole: boolean) => void this.world.after(1, () => this.isDead || done(isWhole));
    if (this.isCut) {
      stop(false);
      return;
    }
    for (const [key, entry] of this.world.table.values)
      if (key[1] === '/' && !each(key, entry)) return stop(false);
    stop(true);
  }

  private pass(act: () => void): void {
    this.world.after(this.world.latencyMs(), () => {
      if (!this.isDead) act();
    });
  }

  private back(act: () => void, otherwise: () => void): void {
    this.world.after(this.world.latencyMs(), () => {
      if (!this.isDead) (this.isCut ? otherwise : act)();
    });
  }
}

/** The claims of a node as its core sees them. */
class ClaimBackplane extends FakeBackplane {
  private readonly table: ClaimTable;
  private readonly numbers: ClusterNumbers;

  constructor(node: string, table: ClaimTable, numbers: ClusterNumbers) {
    super(node);
    this.table = table;
    this.numbers = numbers;
    this.values.complete();
  }

  override claim(key: string, demand: ClaimDemand, asker: ClaimAsker): void {
    this.table.claim(key, demand, asker);
  }

  override release(key: string): void {
    this.table.release(key);
  }

  override keep(key: string): void {
    this.table.keep(key);
  }

  override newNumber(): number {
    return this.numbers.newNumber();
  }
}

/** What one node has of the logs of all. */
class NodeStore implements StorePort {
  readonly logs: readonly LogPort[];
  readonly state: StatePort;
  hasNews = false;
  private seen = 0;

  constructor(shared: MemoryStore, state: StatePort) {
    this.logs = shared.logs;
    this.state = state;
  }

  tell(events: StoreEvents): void {
    this.hasNews = false;
    events.stateStored();
    for (const log of this.logs) if (log.head !== this.seen) events.stored(log);
    this.seen = this.logs[0].head;
  }

  /** Whether somebody has appended something. */
  check(): void {
    this.hasNews ||= this.seen !== this.logs[0].head;
  }

  lastIds(): readonly number[] {
    return NO_IDS;
  }

  isMissing(): boolean {
    return false;
  }

  forgetSession(): void {}
}

export class ClaimWorld {
  readonly clock = new VirtualClock();
  readonly random: Prng;
  readonly table = new ModelTable();
  readonly logs = new MemoryStore();
  readonly nodes = new Map<string, ClaimNode>();
  readonly faults: unknown[] = [];
  /** Chance of an answer to a change: it gets lost, and in half of these cases the change, too. */
  lost = 0;
  private readonly limits: BrokerLimits;
  private readonly alive = new Set<number>();
  private runs = 0;

  constructor(seed: number, names: readonly string[], limits: BrokerLimits = {}) {
    this.random = new Prng(seed);
    this.limits = limits;
    for (const name of names) this.start(name);
    this.pass(500);
  }

  get nowMs(): number {
    return this.clock.now() / MILLISECOND;
  }

  get wallMs(): number {
    return 1_700_000_000_000 + this.nowMs;
  }

  latencyMs(): number {
    return 0.2 + this.random.float();
  }

  names(): string[] {
    return [...this.nodes.values()]
      .filter(({ run }) => this.alive.has(run.number))
      .map(({ run }) => run.node);
  }

  isAlive(run: NodeRun): boolean {
    return this.alive.has(run.number);
  }

  after(ms: number, act: () => void): () => void {
    const event = this.clock.schedule(this.clock.now() + Math.round(ms * MILLISECOND), act);
    return () => this.clock.cancel(event);
  }

  node(name: string): ClaimNode {
    const node = this.nodes.get(name);
    if (node === undefined) throw new Error(`there is no node ${name}`);
    return node;
  }

  start(name: string): ClaimNode {
    const before = this.nodes.get(name);
    if (before !== undefined) this.alive.delete(before.run.number);
    const run = { node: name, number: ++this.runs };
    this.alive.add(run.number);
    const node = new ClaimNode(this, run, this.limits);
    this.nodes.set(name, node);
    node.look();
    return node;
  }

  /** Its process ends without a word; the others know when its lease is over. */
  kill(name: string): void {
    const node = this.node(name);
    node.isDead = true;
    this.after(LEASE_MS, () => this.end(node));
  }

  /** Nothing passes to it and from it. It gives up what it has a second before the others give it up. */
  cut(name: string): void {
    const node = this.node(name);
    node.isCut = true;
    node.backplane.isConnected = false;
    this.after(LEASE_MS - 1_000, () => {
      if (!node.isCut || node.isDead) return;
      node.table.lapse();
      node.backplane.push((events) => events.cutOff(true));
    });
    this.after(LEASE_MS, () => {
      if (node.isCut) this.end(node);
    });
  }

  heal(name: string): void {
    const node = this.node(name);
    node.heal();
    this.alive.add(node.run.number);
    node.orphans.lookAgain();
    node.backplane.push((events) => events.cutOff(false));
  }

  pass(ms: number): void {
    const end = this.clock.now() + Math.round(ms * MILLISECOND);
    for (const node of this.living()) node.look();
    for (;;) {
      let next = Math.min(end, this.clock.nextAt);
      for (const { core } of this.living()) {
        const isLater = core.nextTimeoutMs > this.nowMs; // by less than the clock can tell, too
        next = Math.min(
          next,
          Math.max(this.clock.now() + (isLater ? 1 : 0), Math.ceil(core.nextTimeoutMs * MILLISECOND)),
        );
      }
      if (this.clock.nextAt <= next) this.clock.runInstant();
      else this.clock.advanceTo(Math.max(next, this.clock.now()));
      for (const node of this.living()) node.look();
      if (this.clock.now() >= end && this.clock.nextAt > end && this.living().every((node) => node.isIdle))
        return;
    }
  }

  living(): ClaimNode[] {
    return [...this.nodes.values()].filter(({ isDead }) => !isDead);
  }

  private end(node: ClaimNode): void {
    if (!this.alive.delete(node.run.number)) return;
    for (const other of this.living()) {
      if (other === node || other.isCut) continue;
      other.backplane.push((events) => events.nodeGone(node.run.node));
      other.table.nodeGone();
      other.orphans.lookAgain();
    }
  }
}

export const LEASE_MS = 10_000;
