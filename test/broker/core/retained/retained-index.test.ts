import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Retained, RetainedIndex } from '../../../../src/broker/core/retained/retained-index.ts';
import { slowMatches } from '../../../pubsub/slow-topic.ts';

const LEVELS = ['a', 'b', 'c', ''];
const topics = fc
  .array(fc.constantFrom(...LEVELS), { minLength: 1, maxLength: 4 })
  .map((levels) => levels.join('/'));
const filters = fc
  .tuple(fc.array(fc.constantFrom(...LEVELS, '+'), { maxLength: 4 }), fc.boolean())
  .map(([levels, isOpen]) => [...levels, ...(isOpen || levels.length === 0 ? ['#'] : [])].join('/'));

function all(index: RetainedIndex<Retained>, filter: string, steps = 1_000): string[] {
  const walk = index.walk(filter);
  const found: string[] = [];
  while (!walk.isOver) {
    const value = walk.find(steps);
    if (value !== null) found.push(value.topic);
  }
  return found;
}

test('a filter finds the values whose topics it matches, each once, however few steps it is given at a time [BRK-11]', () => {
  fc.assert(
    fc.property(
      fc.array(topics, { maxLength: 30 }),
      fc.array(topics, { maxLength: 10 }),
      filters,
      fc.integer({ min: 1, max: 5 }),
      (added, removed, filter, steps) => {
        const index = new RetainedIndex<Retained>();
        const model = new Map<string, Retained>();
        for (const topic of added) {
          const value = { topic };
          index.set(value);
          model.set(topic, value);
        }
        for (const topic of removed) {
          index.delete(topic);
          model.delete(topic);
        }
        expect(index.size).toBe(model.size);
        for (const topic of added) expect(index.get(topic)).toBe(model.get(topic) ?? null);
        const wanted = [...model.keys()].filter((topic) => slowMatches(filter, topic));
        expect(all(index, filter, steps).sort()).toEqual(wanted.sort());
      },
    ),
    { numRuns: 100 },
  );
});

test('an index that is empty again has no levels left, and says beforehand how many a topic needs', () => {
  fc.assert(
    fc.property(fc.array(topics, { maxLength: 20 }), (added) => {
      const index = new RetainedIndex<Retained>();
      for (const topic of added) {
        const before = index.nodeCount;
        const missing = index.missing(topic);
        index.set({ topic });
        expect(index.nodeCount - before).toBe(missing);
      }
      for (const topic of added) index.delete(topic);
      expect([index.size, index.nodeCount]).toEqual([0, 0]);
    }),
    { numRuns: 50 },
  );
});

describe('a walk', () => {
  test('goes on while the index changes, and meets everything that was there all the time, once', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(topics, { minLength: 1, maxLength: 20 }),
        fc.array(fc.tuple(topics, fc.boolean()), { maxLength: 40 }),
        filters,
        (start, changes, filter) => {
          const index = new RetainedIndex<Retained>();
          for (const topic of start) index.set({ topic });
          const stayed = new Set(start);
          const seen: Retained[] = [];
          const walk = index.walk(filter);
          for (const [topic, isAdded] of changes) {
            if (isAdded) {
              if (!stayed.has(topic)) index.set({ topic });
            } else {
              index.delete(topic);
              stayed.delete(topic);
            }
            const value = walk.find(1);
            if (value !== null) seen.push(value);
          }
          while (!walk.isOver) {
            const value = walk.find(10);
            if (value !== null) seen.push(value);
          }
          expect(new Set(seen).size).toBe(seen.length);
          const met = new Set(seen.map(({ topic }) => topic));
          for (const topic of stayed) if (slowMatches(filter, topic)) expect(met).toContain(topic);
          for (const topic of met) expect(slowMatches(filter, topic)).toBe(true);
        },
      ),
      { numRuns: 100 },
    );
  });

  test('with wildcards at the first level leaves out what belongs to the broker [BRK-11]', () => {
    const index = new RetainedIndex<Retained>();
    for (const topic of ['$sys/a', 'a/a']) index.set({ topic });
    expect(all(index, '#')).toEqual(['a/a']);
    expect(all(index, '+/a')).toEqual(['a/a']);
    expect(all(index, '$sys/#')).toEqual(['$sys/a']);
  });

  test('looks only at what its filter may match', () => {
    const index = new RetainedIndex<Retained>();
    for (let i = 0; i < 10_000; i++) index.set({ topic: `${i % 100}/${i}` });
    const walk = index.walk('7/+');
    let steps = 0;
    let found = 0;
    while (!walk.isOver) {
      if (walk.find(1) !== null) found++;
      steps++;
    }
    expect(found).toBe(100);
    expect(steps).toBeLessThan(110);
  });
});
