/**
 * A log of the cluster as a node sees it: a stream of the model, behind a way that takes time. What it takes is on its way until the stream has acknowledged it.
 * In the place of src/broker/backplane/log, whose own tests are beside test/broker/backplane/log/model-stream.ts.
 */

import { keyOfMessage } from '../../../src/broker/core/publishing/message-ids.ts';
import {
  AppendFault,
  type LogElsewhere,
  type LogOptions,
  type LogPort,
  type LogRecord,
  type StoredRecord,
} from '../../../src/broker/core/store-port.ts';
import type { ModelNode } from './model-backplane.ts';
import type { ModelStore } from './model-store.ts';
import type { ModelStream, StreamAnswer } from './model-stream.ts';

/** A record that was handed to the stream and is not acknowledged. */
interface Underway {
  readonly ticket: number;
  readonly id: string;
  readonly record: LogRecord;
  /** How often it was sent. */
  sent: number;
  answer: StreamAnswer | null;
}

export class ModelLog implements LogPort, LogElsewhere {
  readonly name: string;
  readonly filters: readonly string[];
  readonly isDurable = true;
  readonly elsewhere: LogElsewhere = this;
  lastTicket = 0;
  placedTicket = 0;
  readonly stream: ModelStream;
  private readonly node: ModelNode;
  private readonly store: ModelStore;
  private earliestSeen: number;
  private headSeen: number;
  private underway: Underway[] = [];
  /** What was loaded last, and from where on that is all that there is. */
  private loadedFrom = 0;
  private records: readonly StoredRecord[] = [];
  private wanted: { from: number; bytesMax: number } | null = null;
  /** It has been out of reach for too long: it takes nothing. */
  private isOutOfReach = false;
  private outages = 0;
  /** The answer to a question, while it is told; null else. */
  private headAsked: number | null = null;
  private asksHead = false;
  private isRead = false;

  constructor(node: ModelNode, options: LogOptions, store: ModelStore) {
    this.node = node;
    this.store = store;
    this.name = options.name;
    this.filters = options.filters ?? [];
    this.stream = node.nats.stream(options);
    this.earliestSeen = this.stream.earliest;
    this.headSeen = this.stream.head;
  }

  get epoch(): number {
    return this.stream.epoch;
  }

  get earliest(): number {
    return this.earliestSeen;
  }

  get head(): number {
    return this.headSeen;
  }

  get synced(): number {
    return this.headSeen;
  }

  get bytes(): number {
    return this.stream.bytes;
  }

  append(record: LogRecord): number {
    if (this.isOutOfReach) return AppendFault.UNREACHABLE;
    const ticket = ++this.lastTicket;
    const { session, sequence, id, command, topicEnd } = record;
    const { node, life } = this.node;
    // [CLU-32] A message id goes before all else.
    const key = keyOfMessage(command, topicEnd);
    const name = session === 0 ? `${node}#${life}:${ticket}` : `${session}:${sequence}:${id}`;
    const underway = { ticket, id: key === null ? name : `id ${key}`, record, sent: 0, answer: null };
    this.underway.push(underway);
    this.hand(underway);
    return AppendFault.PENDING;
  }

  read(from: number, until: number, bytesMax: number): readonly StoredRecord[] | null {
    const end = Math.min(until, this.headSeen);
    if (from >= end) return [];
    if (from >= this.loadedFrom) {
      const records = this.records.filter(({ offset }) => offset >= from && offset < end);
      if (records.length > 0) return records;
    }
    this.load(from, bytesMax);
    return null;
  }

  headNow(): number | null {
    if (this.headAsked !== null) return this.headAsked;
    this.asksHead = true;
    this.askHead();
    return null;
  }

  /** Whoever reads nothing is not told of what others append. */
  follow(isRead: boolean): void {
    this.isRead = isRead;
    if (isRead) this.look();
  }

  firstAt(timeMs: number): number {
    return this.stream.firstAt(timeMs);
  }

  // ---- what the server tells ----

  /** What others append is heard of while somebody reads. */
  appendedTo(earliest: number, head: number): void {
    if (this.isRead) this.moved(earliest, head);
  }

  private moved(earliest: number, head: number): void {
    const isTrimmed = earliest > this.earliestSeen;
    const isStored = head > this.headSeen;
    this.earliestSeen = Math.max(earliest, this.earliestSeen);
    this.headSeen = Math.max(head, this.headSeen);
    if (isTrimmed) this.store.later((events) => events.trimmed(this));
    if (isStored) this.store.later((events) => events.stored(this));
  }

  connected(): void {
    this.outages++;
    this.isOutOfReach = false;
    for (const underway of this.underway) if (underway.answer === null) this.hand(underway);
    this.look();
    if (this.asksHead) this.askHead();
    if (this.wanted !== null) this.load(this.wanted.from, this.wanted.bytesMax);
  }

  disconnected(): void {
    const outage = ++this.outages;
    this.node.nats.after(OUT_OF_REACH_MS, () => {
      if (outage !== this.outages) return;
      this.isOutOfReach = true;
      for (const underway of this.underway) underway.answer ??= UNREACHABLE;
      this.tell();
    });
  }

  private askHead(): void {
    this.node.connection?.up((connection) => {
      const { earliest, head } = this.stream;
      connection.down(() => {
        if (!this.asksHead) return;
        this.asksHead = false;
        this.moved(earliest, head);
        this.store.later((events) => {
          this.headAsked = head;
          events.loaded(this);
          this.headAsked = null;
        });
      });
    });
  }

  /** Finds out where it ends. */
  private look(): void {
    this.node.connection?.up((connection) => {
      const { earliest, head } = this.stream;
      connection.down(() => this.moved(earliest, head));
    });
  }

  private hand(underway: Underway): void {
    const { node, stream } = this;
    const attempt = ++underway.sent;
    node.connection?.up((connection) => {
      const answer = stream.append(underway.record, underway.id, node.nats.clock.now() / 1_000);
      if (!node.nats.random.chance(node.nats.weather.unacknowledged))
        connection.down(() => {
          underway.answer ??= answer;
          this.moved(this.earliestSeen, answer.offset + 1);
          this.tell();
        });
    });
    node.nats.after(ACKNOWLEDGED_MS, () => {
      if (underway.answer === null && underway.sent === attempt && node.isConnected) this.hand(underway);
    });
  }

  /** Tells what has become of records, in their order. */
  private tell(): void {
    for (let next = this.underway[0]; next !== undefined && next.answer !== null; next = this.underway[0]) {
      const { ticket, answer, sent } = next;
      this.underway.shift();
      this.placedTicket = ticket;
      // Of what was sent several times nobody knows whose repetition it is: it may be its own.
      const isDuplicate = answer.isDuplicate && sent === 1;
      this.store.later((events) => events.placed(this, ticket, answer.offset, isDuplicate));
    }
  }

  private load(from: number, bytesMax: number): void {
    const wanted = { from, bytesMax };
    this.wanted = wanted;
    this.node.connection?.up((connection) => {
      const records = this.stream.read(from, this.stream.head, bytesMax);
      connection.down(() => {
        if (this.wanted !== wanted) return;
        this.wanted = null;
        this.loadedFrom = from;
        this.records = records;
        this.store.later((events) => events.loaded(this));
      });
    });
  }
}

/** After so long without a connection nothing is taken any more, and what is under way is given up. */
const OUT_OF_REACH_MS = 5_000;
const ACKNOWLEDGED_MS = 1_000;
const UNREACHABLE: StreamAnswer = { offset: AppendFault.UNREACHABLE, isDuplicate: false };
