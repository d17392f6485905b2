/** Numbers that stand for topics on one publishing stream, so that a topic is sent once and not with every message. [BRK-30] */

import { HEADER_BYTES, PublishFlag, ReasonCode } from '../../../pubsub/command.ts';
import type { QueueAccount } from '../delivery/delivery-queue.ts';

/** Aliases of a stream at once, as WELCOME says. */
export const TOPIC_ALIASES_MAX = 256;

export class TopicAliases {
  private readonly topics = new Map<number, Uint8Array>();
  /** Topics count as what waits for the client: they are what it makes the broker keep. */
  private readonly account: QueueAccount;

  constructor(account: QueueAccount) {
    this.account = account;
  }

  /** `alias` stands for the topic in bytes[HEADER_BYTES, topicEnd) from now on. Returns NO_ERROR, or why not. */
  define(alias: number, bytes: Uint8Array, topicEnd: number): ReasonCode {
    if (alias > TOPIC_ALIASES_MAX) return ReasonCode.LIMITED;
    const held = this.topics.get(alias);
    const chargeBytes = topicEnd - HEADER_BYTES + ALIAS_CHARGE_BYTES;
    const moreBytes = chargeBytes - (held === undefined ? 0 : held.length + ALIAS_CHARGE_BYTES);
    if (this.account.bytes + moreBytes > this.account.bytesMax) return ReasonCode.LIMITED;
    this.account.charge(moreBytes);
    this.topics.set(alias, Uint8Array.prototype.slice.call(bytes, HEADER_BYTES, topicEnd));
    return ReasonCode.NO_ERROR;
  }

  /** A PUBLISH with the topic in the place of its alias; null: the alias stands for nothing. */
  restore(message: Uint8Array, alias: number): Uint8Array | null {
    const topic = this.topics.get(alias);
    if (topic === undefined) return null;
    const out = Buffer.allocUnsafe(message.length + topic.length);
    out.set(message.subarray(0, HEADER_BYTES));
    out[1] &= ~PublishFlag.ALIAS;
    out.writeUInt16BE(topic.length, 2);
    out.set(topic, HEADER_BYTES);
    out.set(message.subarray(HEADER_BYTES), HEADER_BYTES + topic.length);
    return out;
  }

  /** The stream is gone. */
  close(): void {
    for (const { length } of this.topics.values()) this.account.charge(-(length + ALIAS_CHARGE_BYTES));
    this.topics.clear();
  }
}

const ALIAS_CHARGE_BYTES = 128;
