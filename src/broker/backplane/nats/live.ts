/**
 * Live messages over NATS: each has the subject of its topic below `m.`, and a node subscribes to what its clients want. Between the nodes they go at most once: what a node
 * misses it knows by the counts of topics, and tells. [CLU-5]
 *
 * Out: {@link NatsLive.publish} finds the subject of the topic, numbers the message and hands it to the line. In: {@link NatsLive.take} drops what is malformed, what this node has
 * sent itself, and what came by another subscription already.
 */

import { createHash } from 'node:crypto';
import type { Msg, Subscription } from '@nats-io/transport-node';
import { NEVER } from '../../../base/time.ts';
import { HEADER_BYTES } from '../../../pubsub/command.ts';
import { levelsOf, matches } from '../../../pubsub/filters.ts';
import { decodeName, isShared, sharedFilter, TopicTable } from '../../../pubsub/topic.ts';
import type { LiveFigures } from '../backplane.ts';
import type { NatsLine } from './line.ts';
import { LIVE_HEAD_BYTES, LiveHead } from './live-message.ts';
import type { News } from './news.ts';
import { NODES_MAX } from './nodes.ts';
import { subjectOf, subjectsOf } from './subjects.ts';

/** What it asks of a line. */
export interface LiveLine extends Pick<NatsLine, 'isUp' | 'hasRoom' | 'count' | 'settled' | 'subscribe'> {
  readonly nats: Pick<NatsLine['nats'], 'info' | 'publish'>;
}

/** What it stands on. */
export interface NatsLiveParts {
  /** Brings nothing of what is published by it. */
  readonly line: LiveLine;
  /** Of queue groups, to which this node's own messages come as well. */
  readonly groupLine: LiveLine;
  readonly news: News;
  /** `jsp.<cluster>.` */
  readonly prefix: string;
  readonly node: string;
  /** A random number that stands for this node, for as long as it runs. */
  readonly number: number;
  /** Monotonic, ms. */
  readonly nowMs: () => number;
}

export class NatsLive {
  readonly metrics: LiveFigures = {
    ...{ messagesOut: 0, bytesOut: 0, messagesIn: 0, bytesIn: 0, unsent: 0, tooLarge: 0 },
    ...{ missed: 0, duplicates: 0, invalid: 0 },
  };
  private readonly parts: NatsLiveParts;
  private readonly head = new LiveHead();
  private readonly topics = new TopicTable<SentTopic>(TOPICS_MAX);
  private readonly sources = new Map<number, Source>();
  private readonly wants = new Map<string, Want>();
  /** Wants that NATS has not confirmed yet. */
  private unconfirmed = new Set<Want>();
  private isConfirming = false;
  private sequence = 0;
  /** Filters that are not wanted any more: how many, and the last of them, each at its number modulo {@link UNWANTED_MAX}. */
  private unwantedCount = 0;
  private readonly unwanted: string[][] = [];
  /** What the answers to requests begin with that nobody wants. */
  private readonly answers: string;

  constructor(parts: NatsLiveParts) {
    this.parts = parts;
    this.answers = `${parts.prefix}n.${parts.node}.u.`;
    parts.line.subscribe(`${this.answers}*`, ({ subject, headers }) => {
      if (headers?.code === NO_RESPONDERS) this.tellUnanswered(subject);
    });
  }

  /** As the server has said when the line came up. */
  get messageBytesMax(): number {
    return (this.parts.line.nats.info?.max_payload ?? 0) - LIVE_HEAD_BYTES;
  }

  publish(message: Uint8Array, topicEnd: number, priority: number, ttlMs: number, request: number): void {
    const { head, metrics } = this;
    const { line, number } = this.parts;
    const topic = this.next(message, topicEnd);
    if (!line.isUp || !line.hasRoom) {
      metrics.unsent++;
      return;
    }
    if (message.length > this.messageBytesMax) {
      metrics.tooLarge++;
      return;
    }
    head.node = number;
    head.sequence = ++this.sequence;
    head.count = topic.count;
    head.priority = priority;
    head.lifeMs = ttlMs;
    const bytes = head.write(message);
    line.nats.publish(topic.subject, bytes, request > 0 ? { reply: `${this.answers}${request}` } : undefined);
    line.count(bytes.length + topic.subject.length);
    metrics.messagesOut++;
    metrics.bytesOut += bytes.length;
  }

  /** A message does not go to the others, who will miss it. [CLU-8] */
  leaveOut(message: Uint8Array, topicEnd: number): void {
    this.next(message, topicEnd);
    this.metrics.unsent++;
  }

  want(filter: string): void {
    const { line, groupLine, prefix } = this.parts;
    const group = isShared(filter) ? filter : null;
    const [itsLine, inner] = group === null ? [line, filter] : [groupLine, sharedFilter(filter)];
    const options = group === null ? {} : { queue: queueOf(group) };
    const take = ({ data }: Msg) => this.take(data, group);
    const subscriptions = subjectsOf(inner).map((subject) =>
      itsLine.subscribe(`${prefix}m.${subject}`, take, options),
    );
    const want: Want = { filter, subscriptions };
    this.wants.set(filter, want);
    this.unconfirmed.add(want);
    this.confirm();
  }

  unwant(filter: string): void {
    const want = this.wants.get(filter);
    if (want === undefined) return;
    this.wants.delete(filter);
    this.unconfirmed.delete(want);
    if (!isShared(filter)) this.unwanted[this.unwantedCount++ % UNWANTED_MAX] = levelsOf(filter);
    for (const subscription of want.subscriptions) subscription.unsubscribe();
  }

  /** The lines are up again: what was wanted meanwhile is confirmed now. */
  resume(): void {
    this.confirm();
  }

  /** Filters that this node wants. */
  get interest(): number {
    return this.wants.size;
  }

  /** Has NATS say that it has taken what is wanted: once for all that is wanted at the same time. */
  private confirm(): void {
    const { line, groupLine } = this.parts;
    if (this.isConfirming || this.unconfirmed.size === 0 || !line.isUp || !groupLine.isUp) return;
    this.isConfirming = true;
    const asked = this.unconfirmed;
    this.unconfirmed = new Set();
    void Promise.all([line.settled(), groupLine.settled()]).then(([isTaken, areGroups]) => {
      this.isConfirming = false;
      for (const want of asked) {
        if (this.wants.get(want.filter) !== want) continue;
        if (isTaken && areGroups) this.parts.news.push((events) => events.wanted(want.filter));
        else this.unconfirmed.add(want);
      }
      if (isTaken && areGroups) this.confirm(); // else when the lines are up again
    });
  }

  /** A message has come, by itself or for one of a group. */
  private take(bytes: Uint8Array, group: string | null): void {
    const { head, metrics } = this;
    const { news, number, nowMs } = this.parts;
    if (!head.read(bytes)) {
      metrics.invalid++;
      return;
    }
    const message = bytes.subarray(LIVE_HEAD_BYTES);
    if (group === null) {
      if (head.node === number) return; // [CLU-7] its own, which its clients have already
      const source = this.sources.get(head.node) ?? this.meet(head.node);
      if (head.sequence <= source.sequence) {
        metrics.duplicates++;
        return;
      }
      source.sequence = head.sequence;
      this.look(source, message);
    }
    metrics.messagesIn++;
    metrics.bytesIn += bytes.length;
    const deadlineMs = head.lifeMs === NEVER ? NEVER : nowMs() + head.lifeMs;
    news.push({ message, priority: head.priority, deadlineMs, group });
  }

  /** Whether messages of the topic of this one are missing before it. [CLU-8] */
  private look(source: Source, message: Uint8Array): void {
    const { count } = this.head;
    const topicEnd = HEADER_BYTES + ((message[2] << 8) | message[3]);
    if (topicEnd > message.length) return; // the core finds it malformed
    const seen = source.topics.lookup(message, HEADER_BYTES, topicEnd);
    const { unwantedCount } = this;
    if (seen === undefined) {
      source.topics.store(message, HEADER_BYTES, topicEnd, { count, unwantedCount });
      return;
    }
    const missing = count - seen.count - 1;
    if (missing > 0 && !this.wasUnwanted(message, topicEnd, seen.unwantedCount)) {
      this.metrics.missed += missing;
      this.parts.news.push((events) => events.missed(missing, message));
    }
    seen.count = count;
    seen.unwantedCount = unwantedCount;
  }

  /** Whether the topic may have been one that nobody here wanted, some time since so many filters were unwanted. */
  private wasUnwanted(message: Uint8Array, topicEnd: number, since: number): boolean {
    if (this.unwantedCount - since > UNWANTED_MAX) return true;
    const topic = levelsOf(decodeName(message, HEADER_BYTES, topicEnd) ?? '');
    for (let i = since; i < this.unwantedCount; i++) {
      if (matches(this.unwanted[i % UNWANTED_MAX], topic)) return true;
    }
    return false;
  }

  /** The topic of a message, which is counted there. */
  private next(message: Uint8Array, topicEnd: number): SentTopic {
    const topic = this.topics.lookup(message, HEADER_BYTES, topicEnd) ?? this.remember(message, topicEnd);
    topic.count = topic.count === COUNT_MAX ? 1 : topic.count + 1;
    return topic;
  }

  private remember(message: Uint8Array, topicEnd: number): SentTopic {
    const topic = decodeName(message, HEADER_BYTES, topicEnd) ?? '';
    const sent: SentTopic = { subject: `${this.parts.prefix}m.${subjectOf(topic)}`, count: 0 };
    this.topics.store(message, HEADER_BYTES, topicEnd, sent);
    return sent;
  }

  private meet(node: number): Source {
    const source: Source = { sequence: 0, topics: new TopicTable(TOPICS_MAX / 2) };
    if (this.sources.size >= NODES_MAX) {
      const [oldest] = this.sources.keys();
      this.sources.delete(oldest);
    }
    this.sources.set(node, source);
    return source;
  }

  private tellUnanswered(subject: string): void {
    const request = Number(subject.slice(this.answers.length));
    this.parts.news.push((events) => events.unanswered(request));
  }
}

/** A topic that was published to. */
interface SentTopic {
  readonly subject: string;
  count: number;
}

/** Another node. */
interface Source {
  /** Of the last message that came. */
  sequence: number;
  readonly topics: TopicTable<{ count: number; unwantedCount: number }>;
}

interface Want {
  readonly filter: string;
  readonly subscriptions: readonly Subscription[];
}

/** A queue group has a name of bounded length, and one for each filter, for NATS makes one of all that have the same name. [CLU-9] */
function queueOf(group: string): string {
  return createHash('sha256').update(group).digest('hex').slice(0, 32);
}

/** Topics, of this node and of each other, whose messages are counted. */
const TOPICS_MAX = 8_192;
const UNWANTED_MAX = 1_024;
const COUNT_MAX = 0xffff_ffff;
const NO_RESPONDERS = 503;
