/**
 * The last values of topics as a trie over the levels of the topics: what a filter matches is found in time that goes with what it matches, not with what there is. A walk
 * can be left and taken up again, however the trie has changed meanwhile.
 */

/** What the index holds. */
export interface Retained {
  readonly topic: string;
}

export class RetainedIndex<T extends Retained> {
  private readonly root = new IndexNode<T>();
  private count = 0;
  private nodes = 0;

  get size(): number {
    return this.count;
  }

  /** Levels of topics, those that several have in common counted once. */
  get nodeCount(): number {
    return this.nodes;
  }

  /** How many levels of `topic` the index does not have yet. */
  missing(topic: string): number {
    const levels = topic.split('/');
    let node: IndexNode<T> | undefined = this.root;
    for (let depth = 0; depth < levels.length; depth++) {
      node = node.children?.get(levels[depth]);
      if (node === undefined) return levels.length - depth;
    }
    return 0;
  }

  get(topic: string): T | null {
    let node: IndexNode<T> | undefined = this.root;
    for (const level of topic.split('/')) {
      node = node.children?.get(level);
      if (node === undefined) return null;
    }
    return node.value;
  }

  /** Puts `value` in the place of the one of the same topic, if there is any. */
  set(value: T): void {
    let node = this.root;
    for (const level of value.topic.split('/')) {
      node.children ??= new Map();
      let child = node.children.get(level);
      if (child === undefined) {
        child = new IndexNode<T>();
        this.nodes++;
        node.children.set(level, child);
      }
      node = child;
    }
    if (node.value === null) this.count++;
    node.value = value;
  }

  delete(topic: string): void {
    const levels = topic.split('/');
    const path = [this.root];
    for (const level of levels) {
      const child = path[path.length - 1].children?.get(level);
      if (child === undefined) return;
      path.push(child);
    }
    const node = path[path.length - 1];
    if (node.value === null) return;
    node.value = null;
    this.count--;
    for (let i = path.length - 1; i > 0 && path[i].isEmpty; i--) {
      const { children } = path[i - 1];
      children?.delete(levels[i - 1]);
      this.nodes--;
      if (children?.size === 0) path[i - 1].children = null;
    }
  }

  /** Of all values, also those that no wildcard matches. */
  *topics(): Iterable<string> {
    const nodes = [this.root];
    for (let node = nodes.pop(); node !== undefined; node = nodes.pop()) {
      if (node.value !== null) yield node.value.topic;
      if (node.children !== null) nodes.push(...node.children.values());
    }
  }

  /** A walk over the values whose topics `filter` matches. [BRK-11] */
  walk(filter: string): RetainedWalk<T> {
    return new RetainedWalk(this.root, filter);
  }
}

class IndexNode<T> {
  children: Map<string, IndexNode<T>> | null = null;
  value: T | null = null;

  get isEmpty(): boolean {
    return this.children === null && this.value === null;
  }
}

/** A place in the trie from which a walk goes on. */
interface Place<T> {
  readonly children: Iterator<[string, IndexNode<T>]>;
  readonly depth: number;
}

/** Each value at most once, and each that was there all the time. One that comes meanwhile may be met or not. */
export class RetainedWalk<T> {
  private readonly levels: readonly string[];
  /** The filter ends with `#`, which is not among {@link levels}. */
  private readonly isOpen: boolean;
  private readonly places: Place<T>[] = [];
  /** A node to be looked at next, and its depth: the filter matches the levels on the way to it. */
  private next: IndexNode<T> | null;
  private depth = 0;

  constructor(root: IndexNode<T>, filter: string) {
    const levels = filter.split('/');
    this.isOpen = levels[levels.length - 1] === '#';
    if (this.isOpen) levels.pop();
    this.levels = levels;
    this.next = root;
  }

  /**
   * Goes on to the next value. Null: there is none any more, or `steps` nodes were looked at in vain ({@link isOver} tells which).
   */
  find(steps: number): T | null {
    for (let i = 0; i < steps; i++) {
      const node = this.next ?? this.fromPlaces();
      if (node === null) return null;
      const { depth } = this;
      this.next = null;
      this.descend(node, depth);
      const matches = this.isOpen ? depth >= this.levels.length : depth === this.levels.length;
      if (matches && node.value !== null) return node.value;
    }
    return null;
  }

  get isOver(): boolean {
    return this.next === null && this.places.length === 0;
  }

  /** Sets what is to be looked at below `node`. */
  private descend(node: IndexNode<T>, depth: number): void {
    if (node.children === null) return;
    const { levels } = this;
    const isAny = depth < levels.length ? levels[depth] === '+' : this.isOpen;
    if (isAny) {
      this.places.push({ children: node.children.entries(), depth });
    } else if (depth < levels.length) {
      const child = node.children.get(levels[depth]);
      if (child === undefined) return;
      this.next = child;
      this.depth = depth + 1;
    }
  }

  private fromPlaces(): IndexNode<T> | null {
    for (let place = this.places.at(-1); place !== undefined; place = this.places.at(-1)) {
      const step = place.children.next();
      if (step.done) {
        this.places.pop();
        continue;
      }
      const [level, node] = step.value;
      // Wildcards at the first level leave out what belongs to the broker.
      if (place.depth === 0 && level.startsWith('$')) continue;
      this.depth = place.depth + 1;
      return node;
    }
    return null;
  }
}
