/**
 * Values that other nodes of a cluster have kept just before somebody subscribed here. The message itself was gone when the subscription began, and the value may come a
 * little later: then it goes to that subscription alone, as a last value, unless the subscription has had a message of the topic since. [CLU-42]
 */

import { Ring } from '../../../base/ring.ts';
import { levelsOf, matches } from '../../../pubsub/filters.ts';
import { SubscriptionTrie } from '../../../pubsub/router.ts';
import type { Subscription } from '../delivery/subscription.ts';
import { type Time, Timer } from '../timers.ts';
import type { RetainedReplays } from './retained-replay.ts';
import type { RetainedValue, RetainedValues } from './retained-values.ts';

/** That a filter of a subscription began lately. */
interface Beginning {
  readonly subscription: Subscription;
  readonly filter: string;
  /** As values are numbered. */
  readonly newestAt: number;
  readonly untilMs: number;
}

export class LateValues {
  private readonly values: RetainedValues;
  private readonly replays: RetainedReplays;
  private readonly time: Time;
  private readonly byFilter = new SubscriptionTrie<Beginning>();
  /** The first one is over first. */
  private readonly begun = new Ring<Beginning>();
  /** Numbers of the latest messages of topics since then, the oldest first. */
  private readonly live = new Map<string, number>();
  private readonly timer = new Timer(() => this.forgetOver());

  constructor(values: RetainedValues, replays: RetainedReplays, time: Time) {
    this.values = values;
    this.replays = replays;
    this.time = time;
    values.onMessage = (topic, newestAt) => this.onLive(topic, newestAt);
    replays.onStart = (subscription, filter) => this.begin(subscription, filter);
  }

  /** Another node has kept a value. */
  arrived(value: RetainedValue): void {
    if (this.begun.length === 0) return;
    const levels = levelsOf(value.topic);
    const liveAt = this.live.get(value.topic) ?? 0;
    for (const { subscribers } of this.byFilter.match(value.topic)) {
      for (const { subscription, filter, newestAt } of subscribers) {
        const { main, filters } = subscription;
        if (main.closed || !filters.has(filter) || liveAt > newestAt) continue;
        // What another of its filters matches it has had as a message.
        const isHad = [...filters].some((other) => other !== filter && matches(levelsOf(other), levels));
        if (!isHad) this.replays.add(subscription, value);
      }
    }
  }

  /** A subscription has a new filter, and wants the values that it matches. */
  private begin(subscription: Subscription, filter: string): void {
    const { timers, nowMs } = this.time;
    const beginning = { subscription, filter, newestAt: this.values.newestAt, untilMs: nowMs + LATE_MS };
    this.byFilter.add(filter, beginning);
    this.begun.push(beginning);
    this.values.replays++;
    if (this.timer.heapIndex < 0) timers.set(this.timer, beginning.untilMs);
  }

  /** A message of a topic has gone out. */
  private onLive(topic: string, newestAt: number): void {
    this.live.delete(topic);
    this.live.set(topic, newestAt);
    if (this.live.size <= LIVE_MAX) return;
    const [oldest] = this.live.keys();
    this.live.delete(oldest);
  }

  private forgetOver(): void {
    const { nowMs, timers } = this.time;
    let first = this.begun.peek();
    for (; first !== undefined && first.untilMs <= nowMs; first = this.begun.peek()) {
      this.begun.shift();
      this.byFilter.remove(first.filter, first);
      this.values.replays--;
    }
    if (first !== undefined) timers.set(this.timer, first.untilMs);
    else this.live.clear();
  }
}

/** A value takes less time through the cluster. */
const LATE_MS = 2_000;
/** Topics of which it is known that messages have gone out. */
const LIVE_MAX = 4_096;
