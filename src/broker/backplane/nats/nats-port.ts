/** The face that a broker's core sees of NATS: each part of it does its own. */

import type {
  BackplaneEvents,
  BackplanePort,
  ClaimAsker,
  ClaimDemand,
} from '../../core/backplane/backplane-port.ts';
import type { ValuePort } from '../../core/backplane/value-port.ts';
import type { NatsLive } from './live.ts';
import type { News } from './news.ts';
import type { NodeMessages } from './node-messages.ts';
import type { NatsNodes } from './nodes.ts';

/** What one node has alone. */
export type ClaimPort = Pick<BackplanePort, 'claim' | 'release' | 'keep' | 'newNumber'>;

export interface NatsParts {
  readonly live: NatsLive;
  readonly messages: NodeMessages;
  readonly nodes: NatsNodes;
  readonly claims: ClaimPort;
  readonly values: ValuePort;
}

export class NatsPort implements BackplanePort {
  readonly node: string;
  /** All lines to NATS are up. */
  isConnected = true;
  private readonly parts: NatsParts;
  private readonly news: News;

  constructor(node: string, news: News, parts: NatsParts) {
    this.node = node;
    this.news = news;
    this.parts = parts;
  }

  get messageBytesMax(): number {
    return this.isConnected ? this.parts.live.messageBytesMax : Number.POSITIVE_INFINITY;
  }

  get hasNews(): boolean {
    return !this.news.isEmpty;
  }

  get values(): ValuePort {
    return this.parts.values;
  }

  hasNode(node: string): boolean {
    return this.parts.nodes.has(node);
  }

  tell(events: BackplaneEvents): void {
    this.news.tell(events);
  }

  publish(message: Uint8Array, topicEnd: number, priority: number, ttlMs: number, request: number): void {
    const { live } = this.parts;
    // Where one line is down nothing goes out, or the members of a group here would have it, too.
    if (this.isConnected) live.publish(message, topicEnd, priority, ttlMs, request);
    else live.leaveOut(message, topicEnd);
  }

  want(filter: string): void {
    this.parts.live.want(filter);
  }

  unwant(filter: string): void {
    this.parts.live.unwant(filter);
  }

  claim(key: string, demand: ClaimDemand, asker: ClaimAsker): void {
    this.parts.claims.claim(key, demand, asker);
  }

  release(key: string): void {
    this.parts.claims.release(key);
  }

  keep(key: string): void {
    this.parts.claims.keep(key);
  }

  newNumber(): number {
    return this.parts.claims.newNumber();
  }

  send(node: string, bytes: Uint8Array): void {
    this.parts.messages.send(node, bytes);
  }

  broadcast(bytes: Uint8Array): void {
    this.parts.messages.broadcast(bytes);
  }
}
