/** A backplane of one core that does what a test says: what the core asks is written down, and what the test tells is news. Several cores that hear each other: fake-cluster.ts. */

import type {
  BackplaneEvents,
  BackplanePort,
  ClaimAsker,
  ClaimDemand,
} from '../../../src/broker/core/backplane/backplane-port.ts';
import { type FakeValues, ValueStream } from './fake-values.ts';

/** What the core has asked, in order, as a word and what it is about. */
export type Asked = readonly [what: string, about: string, more?: unknown];

export class FakeBackplane implements BackplanePort {
  readonly node: string;
  readonly values: FakeValues;
  /** Nodes that are of the cluster beside this one. */
  readonly others = new Set<string>();
  isConnected = true;
  messageBytesMax = Number.POSITIVE_INFINITY;
  /** What is wanted does not stand until the test says so. */
  takesLong = false;
  /** What was asked; a test takes out what it has seen. */
  readonly asked: Asked[] = [];
  /** Messages that were published, as they were handed over. */
  readonly published: {
    message: Buffer;
    topicEnd: number;
    priority: number;
    ttlMs: number;
    request: number;
  }[] = [];
  private lastNumber = 0;
  private news: ((events: BackplaneEvents) => void)[] = [];

  /** @param stream - the values of its cluster */
  constructor(node = 'here', stream: ValueStream = new ValueStream()) {
    this.node = node;
    this.values = stream.join(node, (tell) => this.push(tell));
  }

  hasNode(node: string): boolean {
    return node === this.node || this.others.has(node);
  }

  get hasNews(): boolean {
    return this.news.length > 0;
  }

  /** Tells the core something; the driver has to look afterwards. */
  push(tell: (events: BackplaneEvents) => void): void {
    this.news.push(tell);
  }

  tell(events: BackplaneEvents): void {
    const { news } = this;
    this.news = [];
    for (const tell of news) tell(events);
  }

  publish(message: Uint8Array, topicEnd: number, priority: number, ttlMs: number, request: number): void {
    this.published.push({ message: Buffer.from(message), topicEnd, priority, ttlMs, request });
  }

  want(filter: string): void {
    this.asked.push(['want', filter]);
    if (!this.takesLong) this.push((events) => events.wanted(filter));
  }

  unwant(filter: string): void {
    this.asked.push(['unwant', filter]);
  }

  claim(key: string, demand: ClaimDemand, _asker?: ClaimAsker): void {
    this.asked.push(['claim', key, demand]);
  }

  release(key: string): void {
    this.asked.push(['release', key]);
  }

  keep(key: string): void {
    this.asked.push(['keep', key]);
  }

  newNumber(): number {
    return ++this.lastNumber;
  }

  send(node: string, bytes: Uint8Array): void {
    this.asked.push(['send', node, Buffer.from(bytes)]);
  }

  broadcast(bytes: Uint8Array): void {
    this.asked.push(['broadcast', '', Buffer.from(bytes)]);
  }
}
