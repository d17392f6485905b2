/** Several brokers on backplanes that do what a test says, in one time: what one sends another comes, in order, when there is nothing else to do. */

import type { BrokerLimits } from '../../../src/broker/core/state.ts';
import { MemoryStore } from '../../../src/broker/core/store/memory-store.ts';
import { DrivenCore } from '../core/driven-core.ts';
import { FakeClient, type FakeStream } from '../core/fake-client.ts';
import { Guest } from '../core/world.ts';
import { FakeBackplane } from './fake-backplane.ts';
import { ValueStream } from './fake-values.ts';

export class FakeNode {
  readonly backplane: FakeBackplane;
  readonly store = new MemoryStore();
  readonly core: DrivenCore;

  constructor(name: string, stream: ValueStream, limits: BrokerLimits, report: (error: unknown) => void) {
    this.backplane = new FakeBackplane(name, stream);
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
  readonly nodes = new Map<string, FakeNode>();
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
    const node = new FakeNode(name, this.values, this.limits, (error) => this.faults.push(error));
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
      for (const [from, { core, backplane }] of this.nodes) {
        if (backplane.hasNews) isBusy = true;
        core.look();
        for (const [what, about, bytes] of backplane.asked.splice(0)) {
          if (what === 'send')
            this.nodes.get(about)?.backplane.push((events) => events.received(from, bytes as Buffer));
          else if (what === 'broadcast') {
            for (const [to, other] of this.nodes) {
              if (to !== from) other.backplane.push((events) => events.received(from, bytes as Buffer));
            }
          } else continue;
          isBusy = true;
        }
      }
    }
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
