import { Overflow, ReasonCode } from '../pubsub/command.ts';
import type { Router } from '../pubsub/router.ts';
import { filterFault, isShared } from '../pubsub/topic.ts';
import type { Channel } from './channel.ts';
import type { QueuePolicy } from './delivery-queue.ts';

/** Who holds which filter, and under which bounds. Answers are NO_ERROR or the code of a refusal. */
export class Subscriptions {
  private readonly router: Router<Channel>;
  private readonly queueMessagesMax: number;
  private readonly queueBytesMax: number;
  private readonly filtersPerClientMax: number;

  constructor(
    router: Router<Channel>,
    queueMessagesMax: number,
    queueBytesMax: number,
    filtersPerClientMax: number,
  ) {
    this.router = router;
    this.queueMessagesMax = queueMessagesMax;
    this.queueBytesMax = queueBytesMax;
    this.filtersPerClientMax = filtersPerClientMax;
  }

  /** Adds `filter` to those of `channel`. Null stands for a filter that is not text. */
  add(channel: Channel, filter: string | null, wanted: QueuePolicy): ReasonCode {
    if (filter === null || filterFault(filter) !== null) return ReasonCode.FILTER_INVALID; // [BRK-12]
    if (isShared(filter) || wanted.overflow === Overflow.LATEST) return ReasonCode.UNSUPPORTED;
    const policy = channel.policy;
    if (policy !== null && !samePolicy(policy, wanted)) return ReasonCode.POLICY_MISMATCH; // [BRK-17]
    if (channel.filters.has(filter)) return ReasonCode.NO_ERROR; // [BRK-14]
    const session = channel.session;
    if (session.filterCount >= this.filtersPerClientMax) return ReasonCode.TOO_MANY_SUBSCRIPTIONS; // [BRK-16]
    if (policy === null) this.settlePolicy(channel, wanted);
    session.filterCount++;
    channel.filters.add(filter);
    this.router.add(filter, channel);
    return ReasonCode.NO_ERROR;
  }

  remove(channel: Channel, filter: string | null): ReasonCode {
    if (filter === null || !channel.filters.delete(filter)) return ReasonCode.NOT_SUBSCRIBED; // [BRK-15]
    channel.session.filterCount--;
    this.router.remove(filter, channel);
    const unwanted = (message: Uint8Array) => !this.router.reaches(message, channel);
    channel.forgetWaiting(unwanted);
    if (channel.lanes !== null) for (const lane of channel.lanes) lane.forgetWaiting(unwanted);
    return ReasonCode.NO_ERROR;
  }

  removeAll(channel: Channel): void {
    for (const filter of channel.filters) this.router.remove(filter, channel);
    channel.session.filterCount -= channel.filters.size;
    channel.filters.clear();
  }

  /** The subscriber's bounds as far as it gives them, the broker's above all. [BRK-17] */
  private settlePolicy(channel: Channel, wanted: QueuePolicy): void {
    channel.policy = wanted;
    const messagesMax = Math.min(wanted.messages || this.queueMessagesMax, this.queueMessagesMax);
    const bytesMax = Math.min(wanted.bytes || this.queueBytesMax, this.queueBytesMax);
    channel.queue.configure(wanted.overflow, messagesMax, bytesMax);
  }
}

function samePolicy(a: QueuePolicy, b: QueuePolicy): boolean {
  return a.overflow === b.overflow && a.messages === b.messages && a.bytes === b.bytes;
}
