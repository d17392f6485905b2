/**
 * The values of a cluster in memory: changes are put in order when the test says so, and each node hears of them when it is told to. Nodes come with {@link ValueStream.join}.
 */

import type { BackplaneEvents } from '../../../src/broker/core/backplane/backplane-port.ts';
import type { ValueChange, ValuePort } from '../../../src/broker/core/backplane/value-port.ts';

/** The order of all changes. */
export class ValueStream {
  /** The latest of each topic, in their order. */
  private readonly latest = new Map<string, ValueChange>();
  private readonly nodes: FakeValues[] = [];
  /** Of the latest change. */
  revision = 0;

  /** @param push - news for the core of the node */
  join(node: string, push: (tell: (events: BackplaneEvents) => void) => void): FakeValues {
    const values = new FakeValues(this, node, push);
    this.nodes.push(values);
    return values;
  }

  leave(values: FakeValues): void {
    this.nodes.splice(this.nodes.indexOf(values), 1);
  }

  /** Topics that have a value. */
  get topics(): string[] {
    return [...this.latest.values()].filter(({ record }) => record !== null).map(({ topic }) => topic);
  }

  snapshot(): ValueChange[] {
    return [...this.latest.values()];
  }

  take(
    by: FakeValues,
    change: Omit<ValueChange, 'revision' | 'number'>,
    number: number,
    after: number,
  ): void {
    const { topic } = change;
    if (change.isConditional && (this.latest.get(topic)?.revision ?? 0) !== after) return;
    const placed = { ...change, revision: ++this.revision, number: 0 };
    this.latest.delete(topic);
    this.latest.set(topic, placed);
    for (const node of this.nodes) node.hear(node === by ? { ...placed, number } : placed);
  }
}

export class FakeValues implements ValuePort {
  isComplete = false;
  written = 0;
  synced = 0;
  current = 0;
  recordBytesMax = 1024 * 1024;
  /** Changes of this node, and those of all, wait until {@link carry}. */
  isSlow = false;
  private readonly stream: ValueStream;
  private readonly node: string;
  private readonly push: (tell: (events: BackplaneEvents) => void) => void;
  private readonly out: (() => void)[] = [];
  private readonly heard: ValueChange[] = [];

  constructor(stream: ValueStream, node: string, push: (tell: (events: BackplaneEvents) => void) => void) {
    this.stream = stream;
    this.node = node;
    this.push = push;
  }

  put(topic: string, record: Uint8Array | null, ifRevision: number): number {
    const number = ++this.written;
    const kept = record === null ? null : Uint8Array.from(record);
    this.out.push(() => {
      const isConditional = ifRevision !== 0;
      this.stream.take(this, { topic, record: kept, node: this.node, isConditional }, number, ifRevision);
      this.synced = number;
      this.push((events) => events.valuesStored());
    });
    if (!this.isSlow) this.send();
    return number;
  }

  mark(): number {
    return this.stream.revision;
  }

  /** What it has put takes its place in the order. */
  send(): void {
    for (const place of this.out.splice(0)) place();
  }

  /** It hears of what has happened. */
  listen(): void {
    for (const change of this.heard.splice(0))
      this.push((events) => {
        this.current = change.revision;
        events.valueChanged(change);
      });
  }

  /** It has come, and hears of everything that there is. */
  complete(): void {
    for (const change of this.stream.snapshot()) this.push((events) => events.valueChanged(change));
    const { revision } = this.stream;
    this.push((events) => {
      this.isComplete = true;
      this.current = Math.max(this.current, revision);
      events.valuesComplete();
    });
  }

  hear(change: ValueChange): void {
    this.heard.push(change);
    if (!this.isSlow) this.listen();
  }
}
