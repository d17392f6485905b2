/**
 * Several cores on fake backplanes, in one time, for tests of what nodes say to each other: what one sends another comes, in order, when there is nothing else to do. Claims
 * are a table that refuses nobody; how they are fought over is for claim-world.ts, and ways that lose things are for test/sim/cluster.
 */

import { claimOfState } from '../../../src/broker/core/backplane/claim-keys.ts';
import type { BrokerLimits } from '../../../src/broker/core/state.ts';
import { MemoryStore } from '../../../src/broker/core/store/memory-store.ts';
import { DrivenCore } from '../core/driven-core.ts';
import { FakeClient, type FakeStream } from '../core/fake-client.ts';
import { Guest } from '../core/world.ts';
import { type Asked, FakeBackplane } from './fake-backplane.ts';
import { ValueStream } from './fake-values.ts';
import { NodeStore } from './node-store.ts';

/** Who has what, and what belongs to it while nobody does. */
class FakeClaims {
  private readonly holders = new Map<string, string>();
  private readonly entries = new Map<string, Map<string, Uint8Array>>();
  private readonly askers = new Map<string, string[]>();

  ask(key: string, node: FakeNode, nodes: ReadonlyMap<string, FakeNode>): void {
    const holder = nodes.get(this.holders.get(key) ?? '');
    if (holder === undefined || holder === node) this.give(key, node);
    else {
      this.askers.set(key, [...(this.askers.get(key) ?? []), node.name]);
      holder.backplane.push((events) => events.claimAsked(key, node.name, 0));
    }
  }

  release(key: string, node: FakeNode, nodes: ReadonlyMap<string, FakeNode>): void {
    if (this.holders.get(key) !== node.name) return;
    this.save(key, node);
    this.holders.delete(key);
    const [next, ...others] = this.askers.get(key) ?? [];
    this.askers.set(key, others);
    const asker = nodes.get(next ?? '');
    if (asker !== undefined) this.give(key, asker);
  }

  keep(key: string, node: FakeNode, nodes: ReadonlyMap<string, FakeNode>): void {
    for (const asker of this.askers.get(key) ?? []) {
      nodes.get(asker)?.backplane.push((events) => events.claimedByOther(key, node.name, true));
    }
    this.askers.delete(key);
  }

  /** What a node that dies has written is there for whoever comes next. */
  saveAll(node: FakeNode): void {
    for (const [key, holder] of this.holders) if (holder === node.name) this.save(key, node);
  }

  private save(key: string, { store }: FakeNode): void {
    this.entries.set(
      key,
      new Map([...store.state.entries('')].filter(([name]) => claimOfState(name) === key)),
    );
  }

  private give(key: string, node: FakeNode): void {
    this.holders.set(key, node.name);
    const entries = this.entries.get(key) ?? new Map<string, Uint8Array>();
    for (const [name, value] of entries) node.store.state.put(name, value);
    node.backplane.push((events) => events.claimed(key, entries));
  }
}

export class FakeNode {
  readonly name: string;
  readonly backplane: FakeBackplane;
  readonly store: NodeStore;
  readonly core: DrivenCore;

  constructor(
    name: string,
    { values, logs }: { values: ValueStream; logs: MemoryStore },
    limits: BrokerLimits,
    report: (error: unknown) => void,
  ) {
    this.name = name;
    this.store = new NodeStore(logs);
    this.backplane = new FakeBackplane(name, values);
    this.core = new DrivenCore(limits, report, this.store, this.backplane);
  }

  connect(): FakeClient {
    return new FakeClient(this.core);
  }

  hello(session: string, expiryMs = 60_000): Guest {
    const guest = new Guest(this.connect());
    guest.hello(session, { expiryMs });
    return guest;
  }

  /** A stream that is subscribed to `filter`. */
  subscribed(filter: string): FakeStream {
    const stream = this.connect().open();
    stream.subscribe(1, filter);
    return stream;
  }
}

export class FakeCluster {
  readonly values = new ValueStream();
  readonly logs = new MemoryStore();
  readonly claims = new FakeClaims();
  readonly nodes = new Map<string, FakeNode>();
  /** Of messages from node to node: false loses it. */
  carries: (from: string, to: string, bytes: Buffer) => boolean = () => true;
  /** How many there were. */
  carried = 0;
  readonly faults: unknown[] = [];
  nowMs = 5_000;
  wallMs = 1_700_000_000_000;
  private readonly limits: BrokerLimits;

  constructor(limits: BrokerLimits = {}, ...names: readonly string[]) {
    this.limits = limits;
    for (const name of names) this.start(name).backplane.values.complete();
    this.settle();
  }

  /** A node comes, which does not know the values yet. */
  start(name: string): FakeNode {
    const node = new FakeNode(name, this, this.limits, (error) => this.faults.push(error));
    for (const [other, { backplane }] of this.nodes) {
      if (other === name) continue;
      backplane.others.add(name);
      node.backplane.others.add(other);
    }
    this.nodes.set(name, node);
    node.core.advance(this.nowMs, this.wallMs);
    return node;
  }

  node(name: string): FakeNode {
    const node = this.nodes.get(name);
    if (node === undefined) throw new Error(`there is no node ${name}`);
    return node;
  }

  /** The process ends without a word; the others hear of it when they are told. */
  kill(name: string): void {
    this.values.leave(this.node(name).backplane.values);
    this.claims.saveAll(this.node(name));
    this.nodes.delete(name);
  }

  tellGone(name: string): void {
    for (const { backplane } of this.nodes.values()) {
      backplane.others.delete(name);
      backplane.push((events) => events.nodeGone(name));
    }
    this.settle();
  }

  /** Everything is told that is on its way. */
  settle(): void {
    for (let isBusy = true; isBusy; ) {
      isBusy = false;
      for (const node of this.nodes.values()) {
        if (node.backplane.hasNews || node.store.hasNews) isBusy = true;
        node.core.look();
        for (const asked of node.backplane.asked.splice(0)) if (this.serve(node, asked)) isBusy = true;
      }
    }
  }

  private serve(node: FakeNode, [what, about, bytes]: Asked): boolean {
    const { nodes, claims } = this;
    if (what === 'send') this.carry(node.name, about, bytes as Buffer);
    else if (what === 'broadcast') {
      for (const to of nodes.keys()) if (to !== node.name) this.carry(node.name, to, bytes as Buffer);
    } else if (what === 'claim') claims.ask(about, node, nodes);
    else if (what === 'release') claims.release(about, node, nodes);
    else if (what === 'keep') claims.keep(about, node, nodes);
    else return false;
    return true;
  }

  private carry(from: string, to: string, bytes: Buffer): void {
    this.carried++;
    if (this.carries(from, to, bytes))
      this.nodes.get(to)?.backplane.push((events) => events.received(from, bytes));
  }

  pass(ms: number): void {
    const endMs = this.nowMs + ms;
    this.settle();
    while (this.nowMs < endMs) {
      let nextMs = endMs;
      for (const { core } of this.nodes.values())
        nextMs = Math.min(nextMs, Math.max(core.nextTimeoutMs, this.nowMs));
      this.wallMs += nextMs - this.nowMs;
      this.nowMs = nextMs;
      for (const { core } of this.nodes.values()) core.advance(this.nowMs, this.wallMs);
      this.settle();
    }
  }
}

/** What a stream was given since this was asked last: `topic=payload`, `topic!payload` for a last value, or an answer. */
export function given(stream: FakeStream): string[] {
  stream.carry();
  const lines = stream.link.lines.map((line, i) =>
    stream.link.delivered[i][0] === 1 && (stream.link.delivered[i][1] & 4) !== 0
      ? line.replace('=', '!')
      : line,
  );
  stream.link.delivered.length = 0;
  return lines;
}
