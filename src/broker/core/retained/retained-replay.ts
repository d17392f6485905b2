/**
 * The last values that a new subscription gets: found while they are sent, one after the other, as fast as the subscriber's transport takes them, and behind what is queued for
 * it. So they need no memory however many they are, and hold up nobody. [BRK-106]
 *
 * A value is left out where the subscriber has it already: because an earlier filter of its stream matched the topic, or a message of the topic has come since. [BRK-107]
 */

import { Ring } from '../../../base/ring.ts';
import { NEVER } from '../../../base/time.ts';
import { DropReason, PublishFlag, withFlags } from '../../../pubsub/command.ts';
import { SubscriptionTrie } from '../../../pubsub/router.ts';
import { isShared } from '../../../pubsub/topic.ts';
import type { Channel } from '../delivery/client.ts';
import type { DeliverySource } from '../delivery/delivery.ts';
import { withTimeLeft } from '../delivery/expiry.ts';
import type { Subscription } from '../delivery/subscription.ts';
import { type Time, Timer } from '../timers.ts';
import type { RetainedWalk } from './retained-index.ts';
import type { RetainedValue, RetainedValues } from './retained-values.ts';

/** The values of one filter. */
interface Walk {
  readonly filter: string;
  readonly places: RetainedWalk<RetainedValue>;
  /** Newer ones have come as messages. */
  readonly newestAt: number;
  /** Whatever else the subscriber has. */
  readonly isAgain: boolean;
}

/** A value by itself, as long as nothing newer has come. */
interface LateValue {
  readonly value: RetainedValue;
  readonly newestAt: number;
}

/** Replays of all subscriptions that have any. */
export class RetainedReplays {
  /** Told of each; null: nobody wants to know. */
  onStart: ((subscription: Subscription, filter: string) => void) | null = null;
  private readonly values: RetainedValues;
  private readonly time: Time;
  private readonly bySubscription = new Map<Subscription, RetainedReplay>();

  constructor(values: RetainedValues, time: Time) {
    this.values = values;
    this.time = time;
  }

  /**
   * A subscription has a new filter, and wants the values that it matches.
   *
   * @param isAgain - also those that it has by another filter, or by this one [BRK-109]
   */
  start(subscription: Subscription, filter: string, isAgain = false): void {
    if (this.values.count > 0) this.of(subscription).addFilter(filter, isAgain);
    this.onStart?.(subscription, filter);
  }

  /** A subscription is to have this value, which it has not had by any of its filters. */
  add(subscription: Subscription, value: RetainedValue): void {
    this.of(subscription).addValue(value);
  }

  /** The subscription does not have the filter any more. */
  stop(subscription: Subscription, filter: string): void {
    subscription.withoutRetained?.delete(filter);
    this.bySubscription.get(subscription)?.remove(filter);
  }

  /** The subscription is over, or has got all that it was to get. */
  forget(subscription: Subscription): void {
    const replay = this.bySubscription.get(subscription);
    if (replay === undefined) return;
    this.bySubscription.delete(subscription);
    this.values.replays--;
    replay.end();
  }

  private of(subscription: Subscription): RetainedReplay {
    let replay = this.bySubscription.get(subscription);
    if (replay === undefined) {
      replay = new RetainedReplay(this.values, this.time, subscription);
      replay.onOver = () => this.forget(subscription);
      this.bySubscription.set(subscription, replay);
      this.values.replays++;
    }
    return replay;
  }
}

/** What one subscription is still to get. */
class RetainedReplay implements DeliverySource {
  onOver: () => void = () => {};
  private readonly values: RetainedValues;
  private readonly time: Time;
  private readonly subscription: Subscription;
  /** All filters whose values the subscription has or gets. */
  private readonly filters = new SubscriptionTrie<true>();
  /** The first is under way. */
  private readonly walks = new Ring<Walk>(2);
  private readonly pending = new Set<string>();
  /** Values that are sent before. */
  private readonly late = new Ring<LateValue>(2);
  /** The next to be sent. */
  private found: RetainedValue | null = null;
  private inTurn = 0;
  private readonly timer = new Timer(() => {
    this.inTurn = 0;
    this.subscription.main.delivery.wake();
  });

  constructor(values: RetainedValues, time: Time, subscription: Subscription) {
    this.values = values;
    this.time = time;
    this.subscription = subscription;
    const { filters, withoutRetained } = subscription;
    for (const filter of filters) {
      if (!isShared(filter) && !withoutRetained?.has(filter)) this.filters.add(filter, true);
    }
    subscription.main.delivery.replay = this;
  }

  addFilter(filter: string, isAgain: boolean): void {
    const places = this.values.walk(filter);
    this.walks.push({ filter, places, newestAt: this.values.newestAt, isAgain });
    this.pending.add(filter);
    this.filters.add(filter, true);
    this.subscription.main.delivery.wake();
  }

  addValue(value: RetainedValue): void {
    this.late.push({ value, newestAt: value.newestAt });
    this.subscription.main.delivery.wake();
  }

  remove(filter: string): void {
    this.pending.delete(filter);
    this.filters.remove(filter, true);
    this.subscription.main.delivery.wake();
  }

  next(): Uint8Array | null {
    // The rest has its turn when others had theirs.
    while (this.inTurn < TURN_MAX) {
      const value = this.found !== null && this.isWanted(this.found) ? this.found : this.find();
      this.found = value;
      if (value === null) return null;
      const path = this.subscription.pathOf(value.priority, value.command);
      if (path === this.subscription.main) return this.formOf(value);
      if (!this.sendOn(path, value)) return null;
      this.sent();
    }
    return null;
  }

  sent(): void {
    if (this.late.length > 0 && this.late.peek()?.value === this.found) this.late.shift();
    this.found = null;
    this.count(1);
  }

  end(): void {
    const { delivery } = this.subscription.main;
    if (delivery.replay === this) delivery.replay = null;
    this.time.timers.clear(this.timer);
    this.walks.clear();
  }

  private formOf(value: RetainedValue): Uint8Array {
    const { command, deadline } = value;
    const now = deadline === NEVER ? command : withTimeLeft(command, deadline - this.time.nowMs);
    return value.isQoS1 && this.subscription.tellsQoS ? withFlags(now, PublishFlag.QOS1) : now; // [BRK-131]
  }

  private find(): RetainedValue | null {
    for (let late = this.late.peek(); late !== undefined; late = this.late.peek()) {
      if (this.isWanted(late.value) && this.canTake(late.value)) return late.value;
      this.late.shift();
    }
    for (let walk = this.walks.peek(); walk !== undefined; walk = this.walks.peek()) {
      if (!this.pending.has(walk.filter)) {
        this.walks.shift();
        continue;
      }
      const value = walk.places.find(STEPS_MAX);
      if (value === null && walk.places.isOver) {
        this.pending.delete(walk.filter);
        continue;
      }
      if (value !== null && this.isWanted(value) && this.canTake(value)) return value;
      this.count(value === null ? TURN_MAX : 1);
      if (this.inTurn >= TURN_MAX) return null;
    }
    this.onOver();
    return null;
  }

  /** The subscriber has neither it nor anything newer. */
  private isWanted(value: RetainedValue): boolean {
    if (this.subscription.isSelective && this.subscription.withholds(value.command)) return false; // [BRK-115] rules deny it this value
    const late = this.late.peek();
    if (late?.value === value) return late.newestAt === value.newestAt;
    const walk = this.walks.peek();
    if (walk === undefined || !this.pending.has(walk.filter) || value.newestAt > walk.newestAt) return false;
    return (
      walk.isAgain ||
      this.filters.size < 2 ||
      this.filters.match(value.topic).every(({ filter }) => this.pending.has(filter))
    );
  }

  /** One that the subscriber does not take is missing for it. [BRK-24] [BRK-43] */
  private canTake({ command }: RetainedValue): boolean {
    const { main, takesCompressed } = this.subscription;
    const isCompressed = (command[1] & PublishFlag.COMPRESSED) !== 0;
    if (isCompressed && !takesCompressed) main.delivery.skip(DropReason.COMPRESSED);
    else if (command.length > main.link.messageBytesMax) main.delivery.skip(DropReason.TOO_LARGE);
    else return true;
    return false;
  }

  /** One whose class has a lane goes on that, for so do the messages of its topic. False: the lane takes nothing now, and is waited for. [BRK-39] */
  private sendOn(lane: Channel, value: RetainedValue): boolean {
    const { delivery, client } = lane;
    const { main } = this.subscription;
    if (delivery.ready && client.takes(value.command.length)) {
      delivery.offer(this.formOf(value));
      this.subscription.onSent(lane);
      return true;
    }
    delivery.replay = {
      next: () => {
        if (delivery.ready) {
          delivery.replay = null;
          main.delivery.wake();
        }
        return null;
      },
      sent: () => {},
    };
    return false;
  }

  private count(values: number): void {
    this.inTurn += values;
    if (this.inTurn >= TURN_MAX) this.time.timers.set(this.timer, this.time.nowMs);
  }
}

/** Values that one subscription gets before others have their turn, and places that are looked at in vain. */
const TURN_MAX = 512;
const STEPS_MAX = 4_096;
