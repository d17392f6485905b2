/** The last values of a cluster over the model of NATS: a stream with one change a topic, which each node reads from its beginning, and goes on where it was when its connection comes back. */

import type { ValueChange, ValuePort } from '../../../src/broker/core/backplane/value-port.ts';
import type { ModelNode } from './model-backplane.ts';
import type { NatsConnection } from './model-nats.ts';

/** A change as it goes to the server, with the life of the node that makes it. */
interface Put {
  readonly topic: string;
  readonly record: Uint8Array | null;
  readonly ifRevision: number;
  readonly node: string;
  readonly life: number;
  readonly number: number;
}

/** At the server. */
export class ModelValueStream {
  /** The latest of each topic, in their order. */
  private readonly latest = new Map<string, ValueChange & { readonly life: number }>();
  private readonly readers = new Set<NatsConnection>();
  /** Of the latest change. */
  revision = 0;
  /** By life of a node: its last change, so that none is made twice. */
  private readonly lastOf = new Map<number, number>();

  put(put: Put): void {
    const { topic, record, ifRevision, node, life, number } = put;
    if (number <= (this.lastOf.get(life) ?? 0)) return;
    this.lastOf.set(life, number);
    const isConditional = ifRevision !== 0;
    if (isConditional && (this.latest.get(topic)?.revision ?? 0) !== ifRevision) return;
    const change = { topic, record, revision: ++this.revision, node, number, isConditional, life };
    this.latest.delete(topic);
    this.latest.set(topic, change);
    for (const reader of this.readers) this.tell(reader, change);
  }

  /** From now on this connection hears of all changes behind `revision`, and when it has those that there were. */
  read(connection: NatsConnection, revision: number): void {
    for (const reader of this.readers) if (!reader.passes) this.readers.delete(reader);
    for (const change of this.latest.values()) if (change.revision > revision) this.tell(connection, change);
    connection.down((to) => to.valuesRead());
    this.readers.add(connection);
  }

  /** What topics have, by name. */
  get values(): ReadonlyMap<string, Uint8Array> {
    const values = new Map<string, Uint8Array>();
    for (const { topic, record } of this.latest.values()) if (record !== null) values.set(topic, record);
    return values;
  }

  private tell(reader: NatsConnection, { life, ...change }: ValueChange & { readonly life: number }): void {
    reader.down((to) => to.valueChanged(change, life));
  }
}

/** At a node. */
export class ModelValues implements ValuePort {
  isComplete = false;
  written = 0;
  synced = 0;
  current = 0;
  readonly recordBytesMax = 1024 * 1024;
  private readonly node: ModelNode;
  /** Of the process, whatever it has given up meanwhile. */
  private readonly life: number;
  private underway: Put[] = [];
  private heard = 0;

  constructor(node: ModelNode, life: number) {
    this.node = node;
    this.life = life;
  }

  put(topic: string, record: Uint8Array | null, ifRevision: number): number {
    const number = ++this.written;
    const put = { topic, record, ifRevision, node: this.node.node, life: this.life, number };
    this.underway.push(put);
    this.send(put);
    return number;
  }

  mark(): number {
    return this.node.nats.values.revision;
  }

  connected(): void {
    for (const put of this.underway) this.send(put);
    this.node.connection?.up((connection) => this.node.nats.values.read(connection, this.heard));
  }

  changed(change: ValueChange, life: number): void {
    this.heard = change.revision;
    const number = life === this.life ? change.number : 0;
    this.node.later((events) => {
      this.current = Math.max(this.current, change.revision);
      events.valueChanged({ ...change, number });
    });
  }

  /** All that there was has been told. */
  completed(): void {
    if (this.isComplete) return;
    this.node.later((events) => {
      this.isComplete = true;
      events.valuesComplete();
    });
  }

  private send(put: Put): void {
    this.node.connection?.up((connection) => {
      this.node.nats.traffic++;
      this.node.nats.values.put(put);
      connection.down(() => {
        if (put.number <= this.synced) return;
        this.synced = put.number;
        this.underway = this.underway.filter(({ number }) => number > put.number);
        this.node.later((events) => events.valuesStored());
      });
    });
  }
}
