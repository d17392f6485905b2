import { describe, expect, test } from 'vitest';
import { Prng } from '../../../../src/base/random.ts';
import { TopicSketch } from '../../../../src/broker/core/operations/topic-sketch.ts';
import { publishPrefix } from '../../../../src/pubsub/command.ts';

const SECONDS = 8;

/** Fills a sketch as a broker does with so many messages a second, whose topics `draw` draws, and counts them all beside. */
function sketched(perSecond: number, draw: (random: Prng) => string) {
  const random = new Prng(7);
  const sketch = new TopicSketch();
  const exact = new Map<string, number>();
  for (let second = 0; second < SECONDS; second++) {
    for (let i = 0; i < perSecond; i++) {
      const topic = draw(random);
      const prefix = publishPrefix(topic);
      exact.set(topic, (exact.get(topic) ?? 0) + 1);
      sketch.count(prefix, prefix.length);
    }
    sketch.fade(1);
  }
  return { sketch, exact };
}

describe('a sketch of topics [OPS-7]', () => {
  test('knows the most frequent of many, at the rates that they have', () => {
    const { sketch, exact } = sketched(12_000, (random) => {
      const rank = Math.floor(1 / (random.below(1e6) / 1e6 + 1e-4));
      return `sensor/${rank}`;
    });
    const top = [...exact].sort((a, b) => b[1] - a[1]).slice(0, 4);
    expect(sketch.top(4).map(({ topic }) => topic)).toEqual(top.map(([topic]) => topic));
    for (const { topic, messages, bytes } of sketch.top(4)) {
      const rate = (exact.get(topic) ?? 0) / SECONDS;
      expect(Math.abs(messages - rate) / rate, topic).toBeLessThan(0.15);
      expect(bytes / messages).toBeCloseTo(8 + topic.length, 5);
    }
  });

  test('is not flooded: a topic that has one in fifty messages stays among ten thousand that come once', () => {
    let once = 0;
    const { sketch, exact } = sketched(1_500, (random) =>
      random.below(50) === 0 ? 'steady' : `once/${once++}`,
    );
    const [first] = sketch.top(10);
    expect(first.topic).toBe('steady');
    expect(first.messages).toBeLessThanOrEqual(((exact.get('steady') ?? 0) / SECONDS) * 1.2);
    const { byTopic } = sketch as unknown as { byTopic: Map<string, unknown> };
    expect(byTopic.size).toBeLessThanOrEqual(512);
  });

  test('sees what a rhythm would hide: each of ten topics in turn, of which it looks at every tenth message or so', () => {
    let next = 0;
    const { sketch } = sketched(20_000, () => `turn/${next++ % 10}`);
    const rates = sketch.top(20).map(({ messages }) => messages);
    expect(rates).toHaveLength(10);
    for (const rate of rates) expect(Math.abs(rate - 2_000)).toBeLessThan(500);
  });

  test('forgets: a topic of which nothing comes any more is gone after some minutes', () => {
    const { sketch } = sketched(100, () => 'brief');
    expect(sketch.top(1)[0].messages).toBeCloseTo(100, -1);
    sketch.fade(20);
    expect(sketch.top(1)[0].messages).toBeLessThan(30);
    sketch.fade(200);
    expect(sketch.top(1)).toEqual([]);
  });
});
