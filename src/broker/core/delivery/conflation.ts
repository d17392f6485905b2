/**
 * What a subscription gets that wants at most so many messages a second of a topic: a message goes on at once when the one before it is long enough ago; of those that come
 * sooner the newest goes on when its time has come, in the place of the others. [BRK-89]
 */

import { NEVER } from '../../../base/time.ts';
import { topicKey } from '../../../pubsub/command.ts';
import type { QueueAccount } from './delivery-queue.ts';
import type { Expiring, Expiry } from './expiry.ts';

/** A message that waits for its time. */
export interface HeldMessage {
  readonly bytes: Uint8Array;
  readonly priority: number;
  /** When it is not to be delivered any more, in monotonic ms. */
  readonly deadlineMs: number;
}

/** What becomes of messages that a subscription does not get at once. */
export interface ConflationOwner {
  /** The time of a message has come. False: the queue is full, and it is to wait for another time. */
  release(held: HeldMessage): boolean;
  /** A newer one has taken the place of a message. */
  superseded(): void;
  /** Its time to live was over first. */
  expired(): void;
}

export class Conflation {
  readonly intervalMs: number;
  readonly owner: ConflationOwner;
  readonly expiry: Expiry;
  readonly account: QueueAccount;
  private readonly topics = new Map<string, PacedTopic>();

  /** @param ratePerSecond - messages of one topic, at most */
  constructor(ratePerSecond: number, account: QueueAccount, expiry: Expiry, owner: ConflationOwner) {
    this.intervalMs = 1_000 / ratePerSecond;
    this.account = account;
    this.expiry = expiry;
    this.owner = owner;
  }

  /** True: the message goes on at once. False: it is held, in the place of an earlier one of its topic. */
  admits(message: Uint8Array, priority: number, deadlineMs: number): boolean {
    const key = topicKey(message);
    const topic = this.topics.get(key);
    if (topic === undefined) {
      const { account, topics } = this;
      if (topics.size >= TOPICS_MAX || account.bytes >= account.bytesMax) return true;
      account.charge(key.length + TOPIC_CHARGE_BYTES);
      topics.set(key, new PacedTopic(key, this));
      return true;
    }
    topic.hold(message, priority, deadlineMs);
    return false;
  }

  forget(key: string): void {
    if (this.topics.delete(key)) this.account.charge(-(key.length + TOPIC_CHARGE_BYTES));
  }

  /** Discards what waits and is `unwanted`. */
  discard(unwanted: (message: Uint8Array) => boolean): void {
    for (const topic of this.topics.values()) topic.discard(unwanted);
  }

  close(): void {
    for (const [key, topic] of this.topics) {
      topic.close();
      this.forget(key);
    }
  }
}

/** A topic of which a message went on less than an interval ago. */
class PacedTopic implements Expiring {
  deadline = NEVER;
  heapIndex = -1;
  private readonly key: string;
  private readonly conflation: Conflation;
  private held: HeldMessage | null = null;
  private nextMs: number;

  constructor(key: string, conflation: Conflation) {
    this.key = key;
    this.conflation = conflation;
    this.nextMs = conflation.expiry.nowMs + conflation.intervalMs;
    conflation.expiry.add(this, this.nextMs);
  }

  hold(message: Uint8Array, priority: number, deadlineMs: number): void {
    const { owner, account, expiry } = this.conflation;
    if (this.held !== null) owner.superseded();
    this.take(null);
    // What does not fit is lost as a message is that a newer one supersedes: the next one of the topic makes up for it.
    if (account.bytes >= account.bytesMax) {
      owner.superseded();
      return;
    }
    this.take({ bytes: message, priority, deadlineMs });
    expiry.add(this, Math.min(this.nextMs, deadlineMs));
  }

  discard(unwanted: (message: Uint8Array) => boolean): void {
    if (this.held !== null && unwanted(this.held.bytes)) this.take(null);
  }

  close(): void {
    this.take(null);
    this.conflation.expiry.remove(this);
  }

  /** The interval is over, or the time to live of what is held. */
  expire(): void {
    const { owner, expiry, intervalMs } = this.conflation;
    const { nowMs } = expiry;
    const { held } = this;
    if (held !== null && held.deadlineMs <= nowMs) {
      this.take(null);
      owner.expired();
    }
    if (this.nextMs > nowMs) {
      expiry.add(this, this.nextMs);
      return;
    }
    if (this.held === null) {
      this.conflation.forget(this.key);
      return;
    }
    if (owner.release(this.held)) this.take(null);
    this.nextMs = nowMs + intervalMs;
    expiry.add(this, Math.min(this.nextMs, this.held?.deadlineMs ?? NEVER));
  }

  private take(held: HeldMessage | null): void {
    const { account } = this.conflation;
    if (this.held !== null) account.charge(-(this.held.bytes.length + HELD_CHARGE_BYTES));
    this.held = held;
    if (held !== null) account.charge(held.bytes.length + HELD_CHARGE_BYTES);
  }
}

/** What a held message costs beside its bytes. */
const HELD_CHARGE_BYTES = 256;
/** What a topic costs beside its text, held message or not. */
const TOPIC_CHARGE_BYTES = 320;
/** Topics of a subscription that are paced at once; messages of others go on. Each is one only for an interval. */
const TOPICS_MAX = 16_384;
