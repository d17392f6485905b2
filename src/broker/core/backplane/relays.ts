/** All members of this node whose shared groups other nodes have. [CLU-51] */

import type { Subscription } from '../delivery/subscription.ts';
import type { NodeStreams } from './node-stream.ts';
import { type MemberRequest, Relay, type RelayOwner, type RelaySurroundings } from './relay.ts';

export class Relays implements RelayOwner {
  private readonly broker: RelaySurroundings;
  private readonly streams: NodeStreams;
  private readonly bySubscription = new Map<Subscription, Relay>();

  constructor(broker: RelaySurroundings, streams: NodeStreams) {
    this.broker = broker;
    this.streams = streams;
  }

  /** The group is `node`'s: its member joins it there. */
  join(node: string, member: MemberRequest): void {
    new Relay(this.broker, this.streams, member, this).join(node);
  }

  of(subscription: Subscription): Relay | null {
    return this.bySubscription.get(subscription) ?? null;
  }

  /** The subscription is over, or takes nothing of its group any more. */
  release(subscription: Subscription, isUnsubscribed = false): void {
    this.of(subscription)?.close(isUnsubscribed);
  }

  begun(subscription: Subscription, relay: Relay): void {
    this.bySubscription.set(subscription, relay);
  }

  over(subscription: Subscription): void {
    this.bySubscription.delete(subscription);
  }
}
