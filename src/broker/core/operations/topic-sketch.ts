/**
 * The topics that the most messages go to, in a fixed amount of memory: Space-Saving (Metwally, Agrawal, El Abbadi, 2005) over some of the messages, whose counts fade. A topic
 * that takes the place of the rarest one inherits its count as a possible error, which is left out of what is told; so a topic of which more than a 512th of all
 * messages is cannot be missing for long, and none is told as more than it is. [OPS-7]
 */

import { Prng } from '../../../base/random.ts';
import { HEADER_BYTES } from '../../../pubsub/command.ts';

/** A topic, with what went to it a second. */
export interface TopicRate {
  readonly topic: string;
  readonly messages: number;
  readonly bytes: number;
}

class Counted {
  topic: string;
  count = 0;
  error = 0;
  bytes = 0;

  constructor(topic: string) {
    this.topic = topic;
  }
}

export class TopicSketch {
  private readonly byTopic = new Map<string, Counted>();
  private readonly random = new Prng(RANDOM_SEED);
  /** One message in so many is looked at, at random distances: so no rhythm of the publishers hides any. */
  private oneIn = 1;
  private skip = 0;
  /** Looked at since the counts faded last. */
  private seen = 0;
  /** What a count of one each second would come to. */
  private weight = 0;

  /** A message is published. */
  count(message: Uint8Array, topicEnd: number): void {
    if (this.skip > 0) {
      this.skip--;
      return;
    }
    if (this.oneIn > 1) this.skip = this.random.below(2 * this.oneIn - 1);
    this.seen++;
    const topic = Buffer.from(message.buffer, message.byteOffset, topicEnd).toString('latin1', HEADER_BYTES);
    const counted = this.byTopic.get(topic) ?? this.enter(topic);
    counted.count += this.oneIn;
    counted.bytes += this.oneIn * message.length;
  }

  /** So many seconds are over: counts fade, and as many messages are looked at of the next as may be. */
  fade(seconds: number): void {
    const share = Math.exp(-seconds / FADE_S);
    for (const counted of this.byTopic.values()) {
      counted.count *= share;
      counted.error *= share;
      counted.bytes *= share;
      if (counted.count < COUNT_MIN) this.byTopic.delete(counted.topic);
    }
    this.weight = (this.weight + seconds) * share;
    const rate = (this.seen * this.oneIn) / Math.max(seconds, 0.001);
    this.seen = 0;
    this.oneIn = Math.max(1, Math.round(rate / SEEN_A_SECOND));
  }

  /** The most frequent, the first one first. */
  top(limit: number): TopicRate[] {
    const { weight } = this;
    if (weight === 0) return [];
    return [...this.byTopic.values()]
      .filter(({ count, error }) => count - error >= COUNT_MIN)
      .sort((a, b) => b.count - b.error - (a.count - a.error))
      .slice(0, limit)
      .map(({ topic, count, error, bytes }) => ({
        topic: Buffer.from(topic, 'latin1').toString(),
        messages: (count - error) / weight,
        bytes: bytes / weight,
      }));
  }

  /** A place for a topic: a free one, or that of the rarest. */
  private enter(topic: string): Counted {
    if (this.byTopic.size < TOPICS) {
      const counted = new Counted(topic);
      this.byTopic.set(topic, counted);
      return counted;
    }
    let rarest: Counted | null = null;
    for (const counted of this.byTopic.values())
      if (rarest === null || counted.count < rarest.count) rarest = counted;
    const taken = rarest as Counted;
    this.byTopic.delete(taken.topic);
    taken.topic = topic;
    taken.error = taken.count;
    taken.bytes = 0;
    this.byTopic.set(topic, taken);
    return taken;
  }
}

const TOPICS = 512;
/** Looked at of each second's messages, about: a hundredth of a core at most. */
const SEEN_A_SECOND = 2_000;
/** What is so long ago counts for a third. */
const FADE_S = 10;
const COUNT_MIN = 0.01;
const RANDOM_SEED = 0x746f7069;
