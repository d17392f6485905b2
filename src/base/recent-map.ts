/**
 * A map that remembers what was asked for lately, in bounded memory: two generations of so many each. What is found in the older one moves
 * to the newer one; when that is full, it becomes the older one, and what nobody asked for meanwhile is forgotten.
 */
export class RecentMap<K, V> {
  private readonly max: number;
  private newer = new Map<K, V>();
  private older = new Map<K, V>();

  /** @param max - of a generation */
  constructor(max: number) {
    this.max = max;
  }

  /** How many are remembered; one may count twice. */
  get size(): number {
    return this.newer.size + this.older.size;
  }

  get(key: K): V | undefined {
    const value = this.newer.get(key);
    if (value !== undefined) return value;
    const old = this.older.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  set(key: K, value: V): void {
    if (this.newer.size >= this.max && !this.newer.has(key)) {
      this.older = this.newer;
      this.newer = new Map();
    }
    this.newer.set(key, value);
  }

  clear(): void {
    this.newer.clear();
    this.older.clear();
  }
}
