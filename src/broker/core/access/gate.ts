/**
 * What stands between one client and the broker, where it may not do everything: asked of each message, so its answers are remembered for the topics seen lately. A client
 * that may do everything has none, and costs nothing. [BRK-114]
 */

import { HEADER_BYTES } from '../../../pubsub/command.ts';
import { decodeName, isInbox, isSystem, TopicTable } from '../../../pubsub/topic.ts';
import { type Access, Allowance } from './access.ts';

export class Gate {
  readonly access: Access;
  private publishable: TopicTable<boolean> | null = null;
  private readable: TopicTable<boolean> | null = null;

  constructor(access: Access) {
    this.access = access;
  }

  /** Whether the client may publish to the topic of a PUBLISH, which is a topic, as any message. */
  mayPublish(message: Uint8Array, topicEnd: number): boolean {
    this.publishable ??= new TopicTable(TOPICS_MAX);
    const known = this.publishable.lookup(message, HEADER_BYTES, topicEnd);
    if (known !== undefined) return known;
    const may = this.access.mayPublish(decodeName(message, HEADER_BYTES, topicEnd) ?? '');
    if (topicEnd <= REMEMBERED_END) this.publishable.store(message, HEADER_BYTES, topicEnd, may);
    return may;
  }

  /** Whether it may be given a message of a subscription that is allowed in part. */
  mayReceive(message: Uint8Array, topicEnd: number): boolean {
    this.readable ??= new TopicTable(TOPICS_MAX);
    const known = this.readable.lookup(message, HEADER_BYTES, topicEnd);
    if (known !== undefined) return known;
    const topic = decodeName(message, HEADER_BYTES, topicEnd) ?? '';
    // Filters for those are allowed as a whole: the client's own inbox, and what it may administer.
    const may = isInbox(topic) || isSystem(topic) || this.access.mayReceive(topic);
    if (topicEnd <= REMEMBERED_END) this.readable.store(message, HEADER_BYTES, topicEnd, may);
    return may;
  }

  /** @param filter - without `$share` and group, if it is `shared`; not one for an inbox, which is for its session whatever rules say */
  maySubscribe(filter: string, shared: boolean): Allowance {
    if (!isSystem(filter)) return this.access.maySubscribe(filter, shared);
    return this.access.mayAdminister(filter) ? Allowance.ALLOWED : Allowance.DENIED; // [BRK-117]
  }
}

/** Topics whose verdict is remembered, a power of two; longer ones are not, so that they cost the broker little. */
const TOPICS_MAX = 64;
const REMEMBERED_END = HEADER_BYTES + 256;
