/** What a broker keeps in a cluster, over the model of NATS: its logs are streams that all nodes share, its state the entries of what it claims. */

import { withDefaultLog } from '../../../src/broker/core/store/retention.ts';
import type { LogOptions, StatePort, StoreEvents, StorePort } from '../../../src/broker/core/store-port.ts';
import type { ModelNode } from './model-backplane.ts';
import type { ClaimChanges } from './model-claims.ts';
import { ModelLog } from './model-log.ts';

export class ModelStore implements StorePort {
  readonly logs: readonly ModelLog[];
  readonly state: ModelState;
  private readonly node: ModelNode;
  private news: ((events: StoreEvents) => void)[] = [];

  constructor(node: ModelNode, logs: readonly LogOptions[], claimOf: (stateKey: string) => string | null) {
    this.node = node;
    this.state = new ModelState(node, this, claimOf);
    this.logs = withDefaultLog(logs).map((options) => new ModelLog(node, options, this));
  }

  get hasNews(): boolean {
    return this.news.length > 0;
  }

  tell(events: StoreEvents): void {
    const { news } = this;
    this.news = [];
    for (const each of news) each(events);
  }

  later(news: (events: StoreEvents) => void): void {
    this.news.push(news);
    this.node.onNews();
  }

  lastIds(session: number): readonly number[] {
    const last = [0, 0, 0, 0];
    for (const { stream } of this.logs)
      for (const [sequence, id] of stream.lastIds(session)) last[sequence] = id;
    return last;
  }

  /** As src/broker/backplane/cluster-store.ts: whoever refused something knows it. */
  isMissing(): boolean {
    return false;
  }

  forgetSession(): void {}

  moved(name: string, earliest: number, head: number): void {
    this.logs.find((log) => log.name === name)?.appendedTo(earliest, head);
  }

  connected(): void {
    for (const log of this.logs) log.connected();
    this.state.connected();
  }

  disconnected(): void {
    for (const log of this.logs) log.disconnected();
  }
}

/** A change, or what is written of a claim at once, that is not safe. */
interface Change {
  /** Of one that is lost: which loss. */
  claim: string | null;
  isSafe: boolean;
}

class ModelState implements StatePort {
  written = 0;
  synced = 0;
  private readonly node: ModelNode;
  private readonly store: ModelStore;
  private readonly claimOf: (stateKey: string) => string | null;
  private readonly values = new Map<string, Uint8Array>();
  /** Those after {@link synced}. */
  private readonly changes: Change[] = [];
  /** By claim: what is to be written next, and whether something is under way. */
  private readonly unwritten = new Map<string, Map<string, Uint8Array | null>>();
  private readonly writing = new Map<string, { changes: ClaimChanges; upTo: number }>();
  /** Claims that are lost, and the core has not heard of it: which loss. */
  private readonly untold = new Map<string, string>();
  private losses = 0;

  constructor(node: ModelNode, store: ModelStore, claimOf: (stateKey: string) => string | null) {
    this.node = node;
    this.store = store;
    this.claimOf = claimOf;
  }

  get(key: string): Uint8Array | undefined {
    return this.values.get(key);
  }

  put(key: string, value: Uint8Array): void {
    if (!this.isInVain(key)) this.values.set(key, value);
    this.change(key, value);
  }

  delete(key: string): void {
    if (this.isInVain(key) || this.values.delete(key)) this.change(key, null);
  }

  *entries(prefix: string): Iterable<readonly [string, Uint8Array]> {
    for (const entry of this.values) if (entry[0].startsWith(prefix)) yield entry;
  }

  /** A claim is this node's now, with what belongs to it. */
  take(entries: ReadonlyMap<string, Uint8Array>): void {
    for (const [key, value] of entries) this.values.set(key, value);
  }

  /** A claim is to be given back, and what belongs to it forgotten here. Returns what of it is not written. */
  release(claim: string): ClaimChanges {
    const underway = this.writing.get(claim)?.changes ?? [];
    const changes = new Map([...underway, ...(this.unwritten.get(claim) ?? [])]);
    this.forget(claim);
    this.settle(claim);
    return changes;
  }

  /** It is another's. Returns what is to be called when the core knows: until then nothing is safe that it has changed of it. */
  lose(claim: string): () => void {
    this.forget(claim);
    const loss = `${claim}, lost ${++this.losses}`;
    for (const change of this.changes) if (change.claim === claim) change.claim = loss;
    this.untold.set(claim, loss);
    return () => {
      if (this.untold.get(claim) === loss) this.untold.delete(claim);
      this.settle(loss);
    };
  }

  /** What was under way may not have arrived. */
  connected(): void {
    for (const [claim, { changes, upTo }] of [...this.writing]) this.send(claim, changes, upTo);
  }

  private forget(claim: string): void {
    for (const key of [...this.values.keys()]) if (this.claimOf(key) === claim) this.values.delete(key);
    this.unwritten.delete(claim);
    this.writing.delete(claim);
  }

  private settle(claim: string): void {
    for (const change of this.changes) if (change.claim === claim) change.isSafe = true;
    this.goOn();
  }

  private isInVain(key: string): boolean {
    const claim = this.claimOf(key);
    return claim !== null && this.untold.has(claim);
  }

  private change(key: string, value: Uint8Array | null): void {
    this.written++;
    const claim = this.claimOf(key);
    const loss = claim === null ? undefined : this.untold.get(claim);
    if (loss !== undefined) {
      this.changes.push({ claim: loss, isSafe: false });
      return;
    }
    const isClaimed = claim !== null && this.node.has(claim);
    this.changes.push({ claim, isSafe: !isClaimed });
    if (isClaimed) {
      const unwritten = this.unwritten.get(claim) ?? new Map();
      this.unwritten.set(claim, unwritten.set(key, value));
      if (!this.writing.has(claim)) this.write(claim);
    } else this.goOn();
  }

  /** All that is to be written of a claim, together. */
  private write(claim: string): void {
    const changes = this.unwritten.get(claim);
    if (changes === undefined) return;
    this.unwritten.delete(claim);
    this.writing.set(claim, { changes, upTo: this.written });
    this.send(claim, changes, this.written);
  }

  private send(claim: string, changes: ClaimChanges, upTo: number): void {
    const { node } = this;
    const { owner } = node;
    node.connection?.up((connection) => {
      const isMine = node.nats.claims.write(claim, owner, changes);
      connection.down(() => {
        if (this.writing.get(claim)?.changes !== changes) return;
        if (isMine) this.wrote(claim, upTo);
        else node.lose(claim);
      });
    });
  }

  private wrote(claim: string, upTo: number): void {
    this.writing.delete(claim);
    const count = upTo - this.synced;
    for (let i = 0; i < count; i++) if (this.changes[i].claim === claim) this.changes[i].isSafe = true;
    this.goOn();
    this.write(claim);
  }

  private goOn(): void {
    const before = this.synced;
    while (this.changes[0]?.isSafe) {
      this.changes.shift();
      this.synced++;
    }
    if (this.synced > before) this.store.later((events) => events.stateStored());
  }
}
