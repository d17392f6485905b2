/**
 * Who wants a message: the filters that match its topic, each with everyone who holds it. A trie of filters answers, behind a cache of the topics
 * that came more than once lately, so that a message of a known topic costs a hash and a comparison.
 */

import { HEADER_BYTES } from './command.ts';
import { decodeName, hasWildcard, isSystem, TopicTable, topicFault } from './topic.ts';

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

  /** True when nobody held the filter before. */
  add(filter: string, subscriber: T): boolean {
    const isFirst = this.trie.add(filter, subscriber);
    if (isFirst) this.forgetRoutes(filter);
    return isFirst;
  }

  /** True when nobody holds the filter any more, but did. */
  remove(filter: string, subscriber: T): boolean {
    const wasLast = this.trie.remove(filter, subscriber);
    if (wasLast) this.forgetRoutes(filter);
    return wasLast;
  }

  /** The entries of the filters that match the topic of a PUBLISH, or null when it is not a topic that clients publish to. */
  route(message: Uint8Array, topicEnd: number): readonly FilterEntry<T>[] | null {
    const route = this.routes.lookup(message, HEADER_BYTES, topicEnd);
    if (route !== undefined && route.version === this.version) return route.entries;
    return this.findRoute(message, topicEnd);
  }

  /** The entries of the filters that match a topic, one of the broker's own as well. */
  matching(topic: string): readonly FilterEntry<T>[] {
    return this.trie.match(topic);
  }

  /** True when a filter of `subscriber` matches the topic of a PUBLISH. */
  reaches(message: Uint8Array, subscriber: T): boolean {
    const topicEnd = HEADER_BYTES + ((message[2] << 8) | message[3]);
    const entries = this.route(message, topicEnd);
    return entries?.some((entry) => entry.isHeldBy(subscriber)) ?? false;
  }

  private findRoute(message: Uint8Array, topicEnd: number): readonly FilterEntry<T>[] | null {
    const topic = decodeName(message, HEADER_BYTES, topicEnd);
    if (topic === null || topicFault(topic) !== null || isSystem(topic)) return null; // [BRK-12]
    const entries = this.trie.match(topic);
    if (entries.length <= CACHED_ENTRIES_MAX) {
      this.routes.storeIfSeen(message, HEADER_BYTES, topicEnd, new Route(this.version, entries));
    }
    return entries;
  }

  private forgetRoutes(filter: string): void {
    if (hasWildcard(filter)) {
      this.version++;
      return;
    }
    if (this.routes.isEmpty) return;
    const topic = Buffer.from(filter);
    const route = this.routes.lookup(topic, 0, topic.length);
    if (route !== undefined) route.version = STALE;
  }
}

/** One filter and everyone who holds it. */
export class FilterEntry<T> {
  readonly filter: string;
  private readonly holders = new Set<T>();
  /** The holders as a list; null after a change, until somebody asks, so that many may come and go at once. */
  private list: readonly T[] | null = NOBODY;

  constructor(filter: string) {
    this.filter = filter;
  }

  /** Everyone who holds it. The list is replaced, never changed, so a loop over it is safe from changes. */
  get subscribers(): readonly T[] {
    return this.list ?? this.listed();
  }

  get isHeld(): boolean {
    return this.holders.size > 0;
  }

  isHeldBy(subscriber: T): boolean {
    return this.holders.has(subscriber);
  }

  add(subscriber: T): void {
    this.holders.add(subscriber);
    this.list = null;
  }

  remove(subscriber: T): void {
    this.holders.delete(subscriber);
    this.list = null;
  }

  /** Of one that is in no trie: stands for those who were chosen for a message. */
  stand(chosen: readonly T[]): this {
    this.list = chosen;
    return this;
  }

  private listed(): readonly T[] {
    this.list = [...this.holders];
    return this.list;
  }
}

/**
 * Filters as a trie over their levels. Finding the filters of a topic takes time in the number of branches that fit it, whatever the number
 * of filters. The caller has validated filters and topics.
 */
export class SubscriptionTrie<T> {
  /** How many different filters are held. */
  size = 0;
  private readonly root = new TrieNode<T>();

  /** Adds `subscriber` to `filter`, once. Returns true when nobody held the filter before. */
  add(filter: string, subscriber: T): boolean {
    const levels = filter.split('/');
    const rest = levels[levels.length - 1] === '#';
    if (rest) levels.pop();
    let node = this.root;
    for (const level of levels) node = descend(node, level);
    let entry = rest ? node.rest : node.entry;
    const added = entry === null;
    if (entry === null) {
      entry = new FilterEntry<T>(filter);
      this.size++;
      if (rest) node.rest = entry;
      else node.entry = entry;
    }
    entry.add(subscriber);
    return added;
  }

  /** Takes `subscriber` from `filter`. Returns true when nobody holds the filter any more, but did. */
  remove(filter: string, subscriber: T): boolean {
    const levels = filter.split('/');
    const rest = levels[levels.length - 1] === '#';
    if (rest) levels.pop();
    const path: TrieNode<T>[] = [this.root];
    for (const level of levels) {
      const next = child(path[path.length - 1], level);
      if (next === null) return false;
      path.push(next);
    }
    const node = path[path.length - 1];
    const entry = rest ? node.rest : node.entry;
    if (entry === null) return false;
    entry.remove(subscriber);
    if (entry.isHeld) return false;
    if (rest) node.rest = null;
    else node.entry = null;
    this.size--;
    prune(path, levels);
    return true;
  }

  /** The entries of all filters that match `topic`. [BRK-11] */
  match(topic: string): FilterEntry<T>[] {
    const found: FilterEntry<T>[] = [];
    const levels = topic.split('/');
    if (topic.startsWith('$')) {
      const node = this.root.children?.get(levels[0]);
      if (node !== undefined) collect(node, levels, 1, found);
    } else {
      collect(this.root, levels, 0, found);
    }
    return found;
  }
}

/** A node stands for the levels on the way to it; its two entries for a filter that ends there, and there with `/#`. */
class TrieNode<T> {
  children: Map<string, TrieNode<T>> | null = null;
  /** The child for a `+` level. */
  any: TrieNode<T> | null = null;
  entry: FilterEntry<T> | null = null;
  rest: FilterEntry<T> | null = null;

  get unused(): boolean {
    return this.children === null && this.any === null && this.entry === null && this.rest === null;
  }
}

/** The filters that match one topic, as the cache keeps them. Who holds them is read from the entries, so it is always current. */
class Route<T> {
  version: number;
  entries: readonly FilterEntry<T>[];

  constructor(version: number, entries: readonly FilterEntry<T>[]) {
    this.version = version;
    this.entries = entries;
  }
}

function collect<T>(
  node: TrieNode<T>,
  levels: readonly string[],
  depth: number,
  found: FilterEntry<T>[],
): void {
  if (node.rest !== null) found.push(node.rest);
  if (depth === levels.length) {
    if (node.entry !== null) found.push(node.entry);
    return;
  }
  const literal = node.children?.get(levels[depth]);
  if (literal !== undefined) collect(literal, levels, depth + 1, found);
  if (node.any !== null) collect(node.any, levels, depth + 1, found);
}

function child<T>(node: TrieNode<T>, level: string): TrieNode<T> | null {
  return level === '+' ? node.any : (node.children?.get(level) ?? null);
}

/** The child for `level`, made when it is missing. */
function descend<T>(node: TrieNode<T>, level: string): TrieNode<T> {
  const existing = child(node, level);
  if (existing !== null) return existing;
  const made = new TrieNode<T>();
  if (level === '+') {
    node.any = made;
  } else {
    node.children ??= new Map();
    node.children.set(level, made);
  }
  return made;
}

/** Takes the nodes at the end of `path` away as far as they hold nothing. */
function prune<T>(path: readonly TrieNode<T>[], levels: readonly string[]): void {
  for (let i = path.length - 1; i > 0 && path[i].unused; i--) {
    const parent = path[i - 1];
    const level = levels[i - 1];
    if (level === '+') {
      parent.any = null;
      continue;
    }
    parent.children?.delete(level);
    if (parent.children?.size === 0) parent.children = null;
  }
}

const NOBODY: readonly never[] = [];
/** Routes of more filters are found anew each time, which bounds what the cache can hold. */
const CACHED_ENTRIES_MAX = 64;
const STALE = -1;
