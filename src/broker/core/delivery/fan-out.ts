/** A message goes to everyone whose filters match: the innermost loop of the broker. */

import { NEVER } from '../../../base/time.ts';
import { DropReason, PublishFlag, withFlags } from '../../../pubsub/command.ts';
import type { FilterEntry } from '../../../pubsub/router.ts';
import type { Channel, Client } from './client.ts';
import type { HeldMessage } from './conflation.ts';
import { Intake } from './delivery-queue.ts';
import { withTimeLeft } from './expiry.ts';
import type { Subscription } from './subscription.ts';

/** What fails while a message is offered is the subscriber's alone. [BRK-40] */
export interface FanOutOwner {
  failInternally(client: Client, error: unknown): void;
}

export class FanOut {
  /** Subscriptions that the latest message was for, and those of them whose queues did not take it. */
  offered = 0;
  refused = 0;
  private readonly owner: FanOutOwner;
  /** Number of the latest message. */
  private number = 0;

  constructor(owner: FanOutOwner) {
    this.owner = owner;
  }

  /**
   * Offers a message to all subscribers, once to each whatever its filters, and the same bytes to all. [BRK-7]
   *
   * @param publisher - the stream that is stopped when a queue is full [BRK-18]
   * @param priority - the message's class
   * @param deadlineMs - when it is not to be delivered any more
   * @param marks - flags that the message itself does not have here: QOS1, it is in a log, from where its readers get it; RETAIN, it was published so, which most subscriptions are not told [BRK-131]
   */
  offer(
    message: Uint8Array,
    entries: readonly FilterEntry<Subscription>[],
    publisher: Channel,
    priority: number,
    deadlineMs: number,
    marks: number,
  ): void {
    const number = ++this.number;
    const isStored = (marks & PublishFlag.QOS1) !== 0;
    const isRetained = (marks & PublishFlag.RETAIN) !== 0;
    const isCompressed = (message[1] & PublishFlag.COMPRESSED) !== 0;
    /** The message as it is queued: once for all subscribers. */
    let kept: Uint8Array | null = null;
    /** As it was published, for those who want it so. */
    let published: Uint8Array | null = null;
    this.offered = 0;
    this.refused = 0;
    for (let i = 0; i < entries.length; i++) {
      const { subscribers } = entries[i];
      for (let j = 0; j < subscribers.length; j++) {
        const subscriber = subscribers[j];
        const { main, conflation } = subscriber;
        if (subscriber.lastOffered === number || main.closed) continue;
        subscriber.lastOffered = number;
        const isRead = isStored && subscriber.readsLog;
        if (subscriber.isSelective && !subscriber.admits(message, publisher.client, isRead)) continue; // [BRK-94] its own, [BRK-115] or denied to it
        this.offered++;
        if (isRead) continue;
        try {
          if (isCompressed && !subscriber.takesCompressed) {
            main.delivery.skip(DropReason.COMPRESSED);
            continue;
          }
          if (conflation !== null) {
            kept ??= Buffer.from(message);
            if (!conflation.admits(kept, priority, deadlineMs)) continue;
          }
          const path = subscriber.pathOf(priority, message);
          const { delivery } = path;
          const isTold = isRetained && subscriber.tellsRetain;
          if (isTold) published ??= withFlags(message, PublishFlag.RETAIN);
          if (!delivery.offer(isTold ? (published as Uint8Array) : message)) {
            if (!isTold) kept ??= delivery.queue.mayKeep(message) ? message : Buffer.from(message);
            const waiting = (isTold ? published : kept) as Uint8Array;
            const intake = delivery.enqueue(waiting, deadlineMs);
            if (intake === Intake.REFUSED) this.refused++;
            else if (intake === Intake.WAITS && !publisher.closed) {
              // The broker itself cannot be stopped.
              if (publisher.client.waitsForMuch && publisher.client.closed) delivery.refuse();
              else delivery.stop(publisher, waiting, deadlineMs);
            }
          }
          if (path !== main) subscriber.onSent(path);
        } catch (error) {
          this.owner.failInternally(main.client, error);
        }
      }
    }
  }

  /** Gives a subscription a message whose time has come. False: its queue is full. [BRK-89] */
  release(subscriber: Subscription, { bytes, priority, deadlineMs }: HeldMessage, leftMs: number): boolean {
    const message = deadlineMs === NEVER ? bytes : withTimeLeft(bytes, leftMs);
    const path = subscriber.pathOf(priority, message);
    const isTaken =
      path.delivery.offer(message) || path.delivery.enqueue(message, deadlineMs) !== Intake.WAITS;
    if (path !== subscriber.main) subscriber.onSent(path);
    return isTaken;
  }
}
