/**
 * Values that other nodes of a cluster have kept before somebody subscribed here. The message itself was gone when the subscription began, and the value may come later, after
 * a cut much later: then it goes to that subscription alone, as a last value, unless the subscription has had a message of the topic since. [CLU-42]
 */

import { Ring } from '../../../base/ring.ts';
import { levelsOf, matches } from '../../../pubsub/filters.ts';
import { SubscriptionTrie } from '../../../pubsub/router.ts';
import type { Subscription } from '../delivery/subscription.ts';
import { type Time, Timer } from '../timers.ts';
import type { RetainedReplays } from './retained-replay.ts';
import type { RetainedValue, RetainedValues } from './retained-values.ts';

/** What is told of the values of other nodes: {@link current} as high as {@link mark} was when something began says that all of before has come. */
export interface ToldValues {
  readonly current: number;
  mark(): number;
}

/** That a filter of a subscription began lately, or while values of before had not come. */
interface Beginning {
  readonly subscription: Subscription;
  readonly filter: string;
  /** As values are numbered. */
  readonly newestAt: number;
  readonly untilMs: number;
  /** What was stored when it began. */
  readonly mark: number;
}

export class LateValues {
  private readonly values: RetainedValues;
  private readonly replays: RetainedReplays;
  private readonly time: Time;
  private readonly told: ToldValues;
  private readonly byFilter = new SubscriptionTrie<Beginning>();
  /** The first one is over first. */
  private readonly begun = new Ring<Beginning>();
  /** Numbers of the latest messages of topics since then, the oldest first. */
  private readonly live = new Map<string, number>();
  private readonly timer = new Timer(() => this.forgetOver());

  constructor(values: RetainedValues, replays: RetainedReplays, time: Time, told: ToldValues) {
    this.values = values;
    this.replays = replays;
    this.time = time;
    this.told = told;
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
        if (!isThere(subscription, filter) || liveAt > newestAt) continue;
        const { filters } = subscription;
        // What another of its filters matches it has had as a message.
        const isHad = [...filters].some((other) => other !== filter && matches(levelsOf(other), levels));
        if (!isHad) this.replays.add(subscription, value);
      }
    }
  }

  /** A subscription has a new filter, and wants the values that it matches. */
  private begin(subscription: Subscription, filter: string): void {
    const { timers, nowMs } = this.time;
    const { newestAt } = this.values;
    const untilMs = nowMs + LATE_MS;
    const beginning = { subscription, filter, newestAt, untilMs, mark: this.told.mark() };
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
    for (; first !== undefined && this.isOver(first); first = this.begun.peek()) {
      this.begun.shift();
      this.forget(first);
    }
    if (first === undefined) this.live.clear();
    else if (first.untilMs > nowMs) timers.set(this.timer, first.untilMs);
    else {
      this.forgetGone();
      timers.set(this.timer, nowMs + LATE_MS);
    }
  }

  private isOver({ untilMs, mark }: Beginning): boolean {
    return untilMs <= this.time.nowMs && mark <= this.told.current;
  }

  /** While values of before do not come, no more is kept than there are subscriptions. */
  private forgetGone(): void {
    for (let left = this.begun.length; left > 0; left--) {
      const beginning = this.begun.shift() as Beginning;
      if (isThere(beginning.subscription, beginning.filter)) this.begun.push(beginning);
      else this.forget(beginning);
    }
  }

  private forget(beginning: Beginning): void {
    this.byFilter.remove(beginning.filter, beginning);
    this.values.replays--;
  }
}

function isThere({ main, filters }: Subscription, filter: string): boolean {
  return !main.closed && filters.has(filter);
}

/** A value takes less time through the cluster, unless that is cut; and so often it is looked whether all has come. */
const LATE_MS = 2_000;
/** Topics of which it is known that messages have gone out. */
const LIVE_MAX = 4_096;
