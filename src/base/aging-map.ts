/**
 * A map whose entries are in the order in which they were set last, and whose oldest one is found at once.
 *
 * A `Map` has an order as well, but whoever takes its first entry out again and again goes each time over the places of all that he has taken out before, as many as there are entries,
 * until it makes a new table: of 100,000 entries 20 to 90 µs each time, where this takes less than one.
 */
export class AgingMap<K, V> {
  private readonly entries = new Map<K, Entry<K, V>>();
  private first: Entry<K, V> | null = null;
  private last: Entry<K, V> | null = null;

  get size(): number {
    return this.entries.size;
  }

  /** The one that was set longest ago; null: there is none. */
  get oldest(): { readonly key: K; readonly value: V } | null {
    return this.first;
  }

  get(key: K): V | undefined {
    return this.entries.get(key)?.value;
  }

  /** It is the newest from now on, also where it was there before. */
  set(key: K, value: V): void {
    let entry = this.entries.get(key);
    if (entry === undefined) {
      entry = { key, value, older: null, newer: null };
      this.entries.set(key, entry);
    } else {
      entry.value = value;
      this.unlink(entry);
    }
    entry.older = this.last;
    if (this.last === null) this.first = entry;
    else this.last.newer = entry;
    this.last = entry;
  }

  /** False: it was not there. */
  delete(key: K): boolean {
    const entry = this.entries.get(key);
    if (entry === undefined) return false;
    this.entries.delete(key);
    this.unlink(entry);
    return true;
  }

  clear(): void {
    this.entries.clear();
    this.first = null;
    this.last = null;
  }

  private unlink(entry: Entry<K, V>): void {
    const { older, newer } = entry;
    if (older === null) this.first = newer;
    else older.newer = newer;
    if (newer === null) this.last = older;
    else newer.older = older;
    entry.older = null;
    entry.newer = null;
  }
}

interface Entry<K, V> {
  readonly key: K;
  value: V;
  older: Entry<K, V> | null;
  newer: Entry<K, V> | null;
}
