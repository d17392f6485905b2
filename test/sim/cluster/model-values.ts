/** The last values of a cluster over the model of NATS: a stream with one change a topic, which each node reads from its beginning, and goes on where it was when its connection comes back. */

import { MILLISECOND } from '../../../src/base/time.ts';
import {
  type NumberedChange,
  OwnChanges,
  type ValueEngine,
} from '../../../src/broker/backplane/values/own-changes.ts';
import type { MadeChange, ValueChange, ValuePort } from '../../../src/broker/core/backplane/value-port.ts';
import type { ModelNode } from './model-backplane.ts';
import type { NatsConnection } from './model-nats.ts';

/** A change as the stream has it, with the life of the node that has made it. */
type StoredChange = ValueChange & { readonly life: number };

/** At the server. */
export class ModelValueStream {
  /** The latest of each topic, in their order. */
  private readonly latest = new Map<string, StoredChange>();
  private readonly readers = new Set<NatsConnection>();
  /** Of the latest change. */
  revision = 0;

  /** Returns its revision; null: the latest change of the topic is not that after which it was made. */
  put(change: Omit<StoredChange, 'revision'>, after: number): number | null {
    const { topic } = change;
    if ((this.latest.get(topic)?.revision ?? 0) !== after) return null;
    const stored = { ...change, revision: ++this.revision };
    this.latest.delete(topic);
    this.latest.set(topic, stored);
    for (const reader of this.readers) this.tell(reader, stored);
    return stored.revision;
  }

  latestOf(topic: string): StoredChange | null {
    return this.latest.get(topic) ?? null;
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

  private tell(reader: NatsConnection, { life, ...change }: StoredChange): void {
    reader.down((to) => to.valueChanged(change, life));
  }
}

/** At a node. */
export class ModelValues implements ValuePort, ValueEngine {
  isComplete = false;
  current = 0;
  readonly recordBytesMax = 1024 * 1024;
  private readonly node: ModelNode;
  /** Of the process, whatever it has given up meanwhile. */
  private readonly life: number;
  private readonly own: OwnChanges;
  private heard = 0;

  constructor(node: ModelNode, life: number) {
    this.node = node;
    this.life = life;
    this.own = new OwnChanges(this, {
      placed: (topic, number, revision) =>
        node.later((events) => events.valuePlaced(topic, number, revision)),
      outdone: (topic, number, latest) => node.later((events) => events.valueOutdone(topic, number, latest)),
      synced: () => node.later((events) => events.valuesStored()),
    });
  }

  get written(): number {
    return this.own.written;
  }

  get synced(): number {
    return this.own.synced;
  }

  put(change: MadeChange): number {
    return this.own.put(change);
  }

  mark(): number {
    return this.node.nats.values.revision;
  }

  connected(): void {
    this.own.up();
    this.node.connection?.up((connection) => this.node.nats.values.read(connection, this.heard));
  }

  disconnected(): void {
    this.own.down();
  }

  changed(change: ValueChange, life: number): void {
    this.heard = change.revision;
    const number = life === this.life ? change.number : 0;
    this.own.heard(change.topic, change.revision, number);
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

  // ---- what its own changes ask ----

  get isReady(): boolean {
    return this.node.connection !== null;
  }

  get nowMs(): number {
    return this.node.nats.clock.now() / MILLISECOND;
  }

  store(
    { topic, number, record, place, isConditional }: NumberedChange,
    revision: number,
    attempt: number,
  ): number {
    const { node } = this;
    const change = { topic, record, place, node: node.node, number, isConditional, life: this.life };
    node.connection?.up((connection) => {
      node.nats.traffic++;
      const placed = node.nats.values.put(change, revision);
      connection.down(() => {
        if (placed === null) this.own.overtaken(number, attempt);
        else this.own.stored(number, placed);
      });
    });
    return 1 + (record?.length ?? 0);
  }

  look(topic: string, number: number, attempt: number): void {
    const { node } = this;
    node.connection?.up((connection) => {
      node.nats.traffic++;
      const latest = node.nats.values.latestOf(topic);
      const isOwn = latest?.life === this.life;
      connection.down(() =>
        this.own.looked(number, attempt, latest && { ...latest, number: isOwn ? latest.number : 0 }),
      );
    });
  }
}
