import { HEADER_BYTES } from '../pubsub/command.ts';
import { type FilterEntry, SubscriptionTrie } from '../pubsub/subscription-trie.ts';
import { decodeName, hasWildcard, topicFault } from '../pubsub/topic.ts';
import { TopicTable } from '../pubsub/topic-table.ts';

/** The filters that match one topic. Who holds them is read from the entries, so it is always current. */
export class Route<T> {
  version: number;
  entries: readonly FilterEntry<T>[];

  constructor(version: number, entries: readonly FilterEntry<T>[]) {
    this.version = version;
    this.entries = entries;
  }
}

/**
 * Finds the subscribers of a topic: a trie of filters behind a cache of topics. A change of a filter without wildcards touches one
 * cached route; a change of one with wildcards makes all of them find their entries anew when they are next used.
 */
export class Router<T> {
  private readonly trie = new SubscriptionTrie<T>();
  private readonly routes: TopicTable<Route<T>>;
  private version = 0;

  /** @param routesMax - most topics in the cache, a power of two */
  constructor(routesMax: number) {
    this.routes = new TopicTable<Route<T>>(routesMax);
  }

  /** How many different filters are held. */
  get filterCount(): number {
    return this.trie.size;
  }

  add(filter: string, subscriber: T): void {
    if (this.trie.add(filter, subscriber)) this.forgetRoutes(filter);
  }

  remove(filter: string, subscriber: T): void {
    if (this.trie.remove(filter, subscriber)) this.forgetRoutes(filter);
  }

  /** The entries of the filters that match the topic of a PUBLISH, or null when it is not a topic that clients publish to. */
  route(message: Uint8Array, topicEnd: number): readonly FilterEntry<T>[] | null {
    const route = this.routes.lookup(message, HEADER_BYTES, topicEnd);
    if (route !== undefined && route.version === this.version) return route.entries;
    return this.findRoute(message, topicEnd);
  }

  /** True when a filter of `subscriber` matches the topic of a PUBLISH. */
  reaches(message: Uint8Array, subscriber: T): boolean {
    const topicEnd = HEADER_BYTES + ((message[2] << 8) | message[3]);
    const entries = this.route(message, topicEnd);
    return entries?.some((entry) => entry.isHeldBy(subscriber)) ?? false;
  }

  private findRoute(message: Uint8Array, topicEnd: number): readonly FilterEntry<T>[] | null {
    const topic = decodeName(message, HEADER_BYTES, topicEnd);
    if (topic === null || topicFault(topic) !== null) return null; // [BRK-12]
    const entries = this.trie.match(topic);
    if (entries.length <= CACHED_ENTRIES_MAX) {
      this.routes.store(message, HEADER_BYTES, topicEnd, new Route(this.version, entries));
    }
    return entries;
  }

  private forgetRoutes(filter: string): void {
    if (hasWildcard(filter)) {
      this.version++;
      return;
    }
    const topic = Buffer.from(filter);
    const route = this.routes.lookup(topic, 0, topic.length);
    if (route !== undefined) route.version = STALE;
  }
}

/** Routes of more filters are found anew each time, which bounds what the cache can hold. */
const CACHED_ENTRIES_MAX = 64;
const STALE = -1;
