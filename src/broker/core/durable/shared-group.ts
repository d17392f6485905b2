/**
 * Shared subscriptions, as far as messages go to them at once: of the streams that hold the same group and filter, each message goes to one that takes it at once; if none does, to the next in turn, whose
 * queue then does as its policy says. [BRK-13] [BRK-73]
 */

import { topicEndOf } from '../../../pubsub/command.ts';
import { FilterEntry, Router } from '../../../pubsub/router.ts';
import { isShared, sharedFilter } from '../../../pubsub/topic.ts';
import type { Subscription } from '../delivery/subscription.ts';
import { keyHashOf, ownerOf } from './key-order.ts';

class SharedGroup {
  readonly keyOrder: boolean;
  /** The one whose turn it is first. */
  readonly members: Subscription[] = [];
  /** Differs for each that ever joined. */
  readonly numbers = new Map<Subscription, number>();
  /** Number of the last message that it was asked for. */
  lastAsked = 0;

  constructor(keyOrder: boolean) {
    this.keyOrder = keyOrder;
  }

  /** Who gets a message; of all who could, the one that was given none for the longest time. */
  choose(message: Uint8Array, topicEnd: number): Subscription {
    const { members } = this;
    if (this.keyOrder) return ownerOf(keyHashOf(message, topicEnd), members, this.numberOf);
    let place = members.findIndex(({ main }) => main.delivery.ready);
    if (place < 0) place = members.findIndex(({ main }) => !main.delivery.queue.full);
    const [chosen] = members.splice(Math.max(0, place), 1);
    members.push(chosen);
    return chosen;
  }

  private readonly numberOf = (member: Subscription) => this.numbers.get(member) ?? 0;
}

export class SharedGroups {
  private readonly byFilter = new Map<string, SharedGroup>();
  private readonly router: Router<SharedGroup>;
  private readonly entry = new FilterEntry<Subscription>('');
  private asked = 0;
  private joined = 0;

  /** @param routesMax - topics whose groups are remembered, a power of two */
  constructor(routesMax: number) {
    this.router = new Router(routesMax);
  }

  get isEmpty(): boolean {
    return this.byFilter.size === 0;
  }

  /**
   * @param filter - `$share/group/filter`
   * @returns whether it is the first member
   */
  join(filter: string, subscription: Subscription, keyOrder: boolean): boolean {
    const key = keyOf(filter, subscription);
    let group = this.byFilter.get(key);
    const isFirst = group === undefined;
    if (group === undefined) {
      group = new SharedGroup(keyOrder);
      this.byFilter.set(key, group);
      this.router.add(sharedFilter(filter), group);
    }
    group.members.push(subscription);
    group.numbers.set(subscription, ++this.joined);
    return isFirst;
  }

  /** Returns whether it was the last member. */
  leave(filter: string, subscription: Subscription): boolean {
    const key = keyOf(filter, subscription);
    const group = this.byFilter.get(key);
    const place = group?.members.indexOf(subscription) ?? -1;
    if (group === undefined || place < 0) return false;
    group.members.splice(place, 1);
    group.numbers.delete(subscription);
    if (group.members.length > 0) return false;
    this.byFilter.delete(key);
    this.router.remove(sharedFilter(filter), group);
    return true;
  }

  /** True when a group of `subscription` has a filter that matches a message. */
  reaches(message: Uint8Array, subscription: Subscription): boolean {
    const entries = this.router.route(message, topicEndOf(message));
    return (
      entries?.some(({ subscribers }) => subscribers.some(({ numbers }) => numbers.has(subscription))) ??
      false
    );
  }

  /** Those who get a message, one of each group; what is stored, groups of QoS 1 get from its log. */
  chosenFor(message: Uint8Array): FilterEntry<Subscription> {
    const topicEnd = topicEndOf(message);
    const chosen: Subscription[] = [];
    const number = ++this.asked;
    for (const { subscribers } of this.router.route(message, topicEnd) ?? []) {
      for (const group of subscribers) {
        if (group.lastAsked === number) continue;
        group.lastAsked = number;
        chosen.push(group.choose(message, topicEnd));
      }
    }
    return this.entry.stand(chosen);
  }

  /** Who of one group gets a message that has come for it. @param name - as nodes of a cluster call it */
  chosenIn(name: string, message: Uint8Array): FilterEntry<Subscription> {
    const readsLog = name.includes(OF_QOS1);
    const group = this.byFilter.get(`${readsLog ? 1 : 0}${readsLog ? name.replace(OF_QOS1, '') : name}`);
    return this.entry.stand(group === undefined ? [] : [group.choose(message, topicEndOf(message))]);
  }
}

/** As the nodes of a cluster call a filter: the group of one of QoS 1 has a character behind its name that no name has. */
export function clusterNameOf(filter: string, readsLog: boolean): string {
  if (!readsLog || !isShared(filter)) return filter;
  const end = filter.indexOf('/', SHARE_BYTES);
  return `${filter.slice(0, end)}${OF_QOS1}${filter.slice(end)}`;
}

/** Those of QoS 0 and those of QoS 1 are two groups, whatever their name. */
function keyOf(filter: string, { readsLog }: Subscription): string {
  return `${readsLog ? 1 : 0}${filter}`;
}

const SHARE_BYTES = '$share/'.length;
const OF_QOS1 = '\u0001';
