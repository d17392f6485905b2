/**
 * The values of a cluster in memory: changes are put in order when the test says so, and each node hears of them when it is told to. Nodes come with {@link ValueStream.join}.
 */

import {
  type NumberedChange,
  OwnChanges,
  type ValueEngine,
} from '../../../src/broker/backplane/values/own-changes.ts';
import type { BackplaneEvents } from '../../../src/broker/core/backplane/backplane-port.ts';
import type { MadeChange, ValueChange, ValuePort } from '../../../src/broker/core/backplane/value-port.ts';

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

  latestOf(topic: string): ValueChange | null {
    return this.latest.get(topic) ?? null;
  }

  /** Returns its revision; null: the latest change of the topic is another one than it is to take the place of. */
  take(by: FakeValues, change: Omit<ValueChange, 'revision'>, after: number): number | null {
    const { topic } = change;
    if ((this.latest.get(topic)?.revision ?? 0) !== after) return null;
    const placed = { ...change, revision: ++this.revision };
    this.latest.delete(topic);
    this.latest.set(topic, placed);
    for (const node of this.nodes) node.hear(node === by ? placed : { ...placed, number: 0 });
    return placed.revision;
  }
}

export class FakeValues implements ValuePort, ValueEngine {
  isComplete = false;
  current = 0;
  recordBytesMax = 1024 * 1024;
  readonly isReady = true;
  readonly nowMs = 0;
  /** Changes of this node, and those of all, wait until {@link send} and {@link listen}. */
  isSlow = false;
  /** False: it reads nothing, until {@link readAnew}. */
  hears = true;
  private readonly stream: ValueStream;
  private readonly node: string;
  private readonly push: (tell: (events: BackplaneEvents) => void) => void;
  private readonly own: OwnChanges;
  private readonly out: (() => void)[] = [];
  private readonly heard: ValueChange[] = [];
  private readUntil = 0;

  constructor(stream: ValueStream, node: string, push: (tell: (events: BackplaneEvents) => void) => void) {
    this.stream = stream;
    this.node = node;
    this.push = push;
    this.own = new OwnChanges(this, {
      placed: (topic, number, revision) => push((events) => events.valuePlaced(topic, number, revision)),
      outdone: (topic, number, latest) => push((events) => events.valueOutdone(topic, number, latest)),
      synced: () => push((events) => events.valuesStored()),
    });
  }

  get written(): number {
    return this.own.written;
  }

  get synced(): number {
    return this.own.synced;
  }

  put(change: MadeChange): number {
    const record = change.record === null ? null : Uint8Array.from(change.record);
    const number = this.own.put({ ...change, record });
    if (!this.isSlow) this.send();
    return number;
  }

  mark(): number {
    return this.stream.revision;
  }

  /** What it puts cannot be stored; or can again. */
  cut(isCut: boolean): void {
    if (isCut) this.own.down();
    else this.own.up();
    if (!this.isSlow) this.send();
  }

  /** What it has put takes its place in the order. */
  send(): void {
    for (let next = this.out.shift(); next !== undefined; next = this.out.shift()) next();
  }

  /** It hears of what has happened. */
  listen(): void {
    for (const change of this.heard.splice(0)) this.hearOf(change);
    if (!this.isSlow) this.send();
  }

  /** It has come, and hears of everything that there is. */
  complete(): void {
    for (const change of this.stream.snapshot()) this.hearOf({ ...change, number: 0 });
    const { revision } = this.stream;
    this.push((events) => {
      this.isComplete = true;
      this.current = Math.max(this.current, revision);
      events.valuesComplete();
    });
  }

  hear(change: ValueChange): void {
    if (!this.hears) return;
    this.heard.push(change);
    if (!this.isSlow) this.listen();
  }

  /** It goes on reading where it was: of each topic there is the latest change. */
  readAnew(): void {
    this.hears = true;
    for (const change of this.stream.snapshot()) {
      if (change.revision > this.readUntil)
        this.hear({ ...change, number: change.node === this.node ? change.number : 0 });
    }
  }

  // ---- what its own changes ask ----

  store(
    { topic, number, record, place, isConditional }: NumberedChange,
    revision: number,
    attempt: number,
  ): number {
    this.out.push(() => {
      const change = { topic, record, place, node: this.node, number, isConditional };
      const placed = this.stream.take(this, change, revision);
      if (placed === null) this.own.overtaken(number, attempt);
      else this.own.stored(number, placed);
    });
    return 1;
  }

  look(topic: string, number: number, attempt: number): void {
    this.out.push(() => {
      const latest = this.stream.latestOf(topic);
      this.own.looked(
        number,
        attempt,
        latest && { ...latest, number: latest.node === this.node ? latest.number : 0 },
      );
    });
  }

  private hearOf(change: ValueChange): void {
    this.readUntil = change.revision;
    this.own.heard(change.topic, change.revision, change.number);
    this.push((events) => {
      this.current = Math.max(this.current, change.revision);
      events.valueChanged(change);
    });
  }
}
