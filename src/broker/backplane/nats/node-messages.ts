/** Messages of node to node, and of one to all: at most once and in order, as long as both are connected. [CLU-10] */

import { isNodeName } from '../node-name.ts';
import type { NatsLine } from './line.ts';
import type { News } from './news.ts';

export class NodeMessages {
  /** Messages that were not sent, because NATS could not be reached or takes none so large, and that were none of ours. */
  unsent = 0;
  invalid = 0;
  private readonly line: NatsLine;
  private readonly news: News;
  private readonly prefix: string;
  private readonly node: string;
  private readonly name: Buffer;

  /** @param line - brings nothing of what is published by it */
  constructor(line: NatsLine, news: News, prefix: string, node: string) {
    this.line = line;
    this.news = news;
    this.prefix = prefix;
    this.node = node;
    this.name = Buffer.from(node);
    const take = ({ data }: { data: Uint8Array }) => this.take(data);
    line.subscribe(`${prefix}n.${node}.m`, take);
    line.subscribe(`${prefix}a.m`, take);
  }

  send(node: string, bytes: Uint8Array): void {
    this.publish(`${this.prefix}n.${node}.m`, bytes);
  }

  broadcast(bytes: Uint8Array): void {
    this.publish(`${this.prefix}a.m`, bytes);
  }

  private publish(subject: string, bytes: Uint8Array): void {
    const { line, name } = this;
    const message = Buffer.allocUnsafe(2 + name.length + bytes.length);
    if (!line.isUp || !line.hasRoom || message.length > (line.nats.info?.max_payload ?? 0)) {
      this.unsent++;
      return;
    }
    message[0] = VERSION;
    message[1] = name.length;
    message.set(name, 2);
    message.set(bytes, 2 + name.length);
    line.nats.publish(subject, message);
    line.count(message.length);
  }

  private take(message: Uint8Array): void {
    const start = message.length < 2 ? Number.POSITIVE_INFINITY : 2 + message[1];
    const isWhole = message.length >= start && message[0] === VERSION;
    const from = isWhole ? Buffer.from(message.subarray(2, start)).toString() : '';
    if (!isNodeName(from)) {
      this.invalid++;
      return;
    }
    if (from === this.node) return;
    const bytes = message.subarray(start);
    this.news.push((events) => events.received(from, bytes));
  }
}

const VERSION = 1;
