/** Which log a topic belongs to: the first whose filters match it, else the default one; and which one a filter reads. */

import { covers, levelsOf, meets } from '../../../pubsub/filters.ts';
import { SubscriptionTrie } from '../../../pubsub/router.ts';
import { TopicTable } from '../../../pubsub/topic.ts';
import type { LogPort } from '../store-port.ts';

export class LogRouting {
  /** Logs with filters of their own: only there is a message kept that does not ask for it. [BRK-82] */
  readonly hasFilters: boolean;
  private readonly logs: readonly LogPort[];
  /** Places in {@link logs}. */
  private readonly filters = new SubscriptionTrie<number>();
  private readonly found = new TopicTable<LogPort>(TOPICS_MAX);

  /** @param logs - the default log first */
  constructor(logs: readonly LogPort[]) {
    this.logs = logs;
    this.hasFilters = logs.some((log) => log.filters.length > 0);
    for (const [place, log] of logs.entries()) {
      for (const filter of log.filters) this.filters.add(filter, place);
    }
  }

  get defaultLog(): LogPort {
    return this.logs[0];
  }

  /** The log of the topic in bytes[start, end). */
  of(bytes: Uint8Array, start: number, end: number): LogPort {
    if (!this.hasFilters) return this.logs[0];
    return this.found.lookup(bytes, start, end) ?? this.find(bytes, start, end);
  }

  /** The log of a topic, or of all topics that a filter without wildcards is. */
  ofTopic(topic: string): LogPort {
    let first = Number.POSITIVE_INFINITY;
    for (const { subscribers } of this.filters.match(topic)) first = Math.min(first, ...subscribers);
    return this.logs[first] ?? this.logs[0];
  }

  private find(bytes: Uint8Array, start: number, end: number): LogPort {
    const log = this.ofTopic(Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString());
    this.found.store(bytes, start, end, log);
    return log;
  }
}

/**
 * The log that has all messages that `filter` matches: the first with a filter that covers it, else the default one. Null where some of them are in one log and some in another.
 * [BRK-60]
 *
 * @param logs - the default log first
 */
export function logOfFilter(logs: readonly LogPort[], filter: string): LogPort | null {
  if (logs.length === 1) return logs[0];
  const levels = levelsOf(filter);
  for (let i = 1; i < logs.length; i++) {
    const theirs = logs[i].filters.map(levelsOf);
    if (theirs.some((theirLevels) => covers(theirLevels, levels))) return logs[i];
    if (theirs.some((theirLevels) => meets(theirLevels, levels))) return null;
  }
  return logs[0];
}

/** The logs that have what `filter` matches, the default one last: all those that meet it, as far as one that covers it. [BRK-132] */
export function logsOfFilter(logs: readonly LogPort[], filter: string): LogPort[] {
  const levels = levelsOf(filter);
  const found: LogPort[] = [];
  for (const log of logs.slice(1)) {
    const theirs = log.filters.map(levelsOf);
    if (!theirs.some((theirLevels) => meets(theirLevels, levels))) continue;
    found.push(log);
    if (theirs.some((theirLevels) => covers(theirLevels, levels))) return found;
  }
  return [...found, logs[0]];
}

/** Topics whose log is remembered, a power of two. */
const TOPICS_MAX = 4_096;
