/**
 * What stands between one client and the broker, where it may not do everything, or not as fast as it can: asked of each message, so its answers are remembered for the topics seen lately. A client
 * that may do everything has none, and costs nothing. [BRK-114]
 */

import { HEADER_BYTES } from '../../../pubsub/command.ts';
import { decodeName, isInbox, isSystem, TopicTable } from '../../../pubsub/topic.ts';
import { type Access, Allowance } from './access.ts';
import type { Meter } from './rates.ts';

export class Gate {
  /** Null: it may do everything. */
  readonly access: Access | null;
  /** Null: as fast as it can. */
  readonly meter: Meter | null;
  private publishable: TopicTable<boolean> | null = null;
  private readable: TopicTable<boolean> | null = null;

  constructor(access: Access | null, meter: Meter | null) {
    this.access = access;
    this.meter = meter;
  }

  /** Whether the client may publish to the topic of a PUBLISH, which is a topic, as any message. */
  mayPublish(message: Uint8Array, topicEnd: number): boolean {
    const { access } = this;
    if (access === null) return true;
    this.publishable ??= new TopicTable(TOPICS_MAX);
    const known = this.publishable.lookup(message, HEADER_BYTES, topicEnd);
    if (known !== undefined) return known;
    const may = access.mayPublish(decodeName(message, HEADER_BYTES, topicEnd) ?? '');
    if (topicEnd <= REMEMBERED_END) this.publishable.store(message, HEADER_BYTES, topicEnd, may);
    return may;
  }

  /** Whether it may be given a message of a subscription that is allowed in part. */
  mayReceive(message: Uint8Array, topicEnd: number): boolean {
    const { access } = this;
    if (access === null) return true;
    this.readable ??= new TopicTable(TOPICS_MAX);
    const known = this.readable.lookup(message, HEADER_BYTES, topicEnd);
    if (known !== undefined) return known;
    const topic = decodeName(message, HEADER_BYTES, topicEnd) ?? '';
    // Filters for those are allowed as a whole: the client's own inbox, and what it may administer.
    const may = isInbox(topic) || isSystem(topic) || access.mayReceive(topic);
    if (topicEnd <= REMEMBERED_END) this.readable.store(message, HEADER_BYTES, topicEnd, may);
    return may;
  }

  /** @param filter - without `$share` and group, if it is `shared`; not one for an inbox, which is for its session whatever rules say */
  maySubscribe(filter: string, shared: boolean): Allowance {
    const { access } = this;
    if (access === null) return Allowance.ALLOWED;
    if (!isSystem(filter)) return access.maySubscribe(filter, shared);
    return access.mayAdminister(filter) ? Allowance.ALLOWED : Allowance.DENIED; // [BRK-117] `$sys/` is for administrators
  }
}

/** Topics whose verdict is remembered, a power of two; longer ones are not, so that they cost the broker little. */
const TOPICS_MAX = 64;
const REMEMBERED_END = HEADER_BYTES + 256;
