import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HEADER_BYTES, publishPrefix } from '../../src/pubsub/command.ts';
import { Router, SubscriptionTrie } from '../../src/pubsub/router.ts';
import { slowMatches } from './slow-topic.ts';

const level = fc.constantFrom('a', 'b', 'c');
const topic = fc
  .array(level, { minLength: 1, maxLength: 4 })
  .chain((levels) => fc.constantFrom(levels.join('/'), `$${levels.join('/')}`));
const filter = fc
  .tuple(
    fc.array(fc.oneof(level, fc.constant('+')), { maxLength: 4 }),
    fc.constantFrom('', '#', '$a', '$a/#'),
  )
  .map(([levels, extra]) => (extra.startsWith('$') ? [extra.slice(0, 2), ...levels] : [...levels, extra]))
  .map((levels) => levels.filter((part) => part !== '').join('/'))
  .filter((text) => text !== '');
const step = fc.record({ add: fc.boolean(), filter, subscriber: fc.integer({ min: 0, max: 3 }) });

function subscribersOf(trie: SubscriptionTrie<number>, name: string): string[] {
  return trie
    .match(name)
    .flatMap((entry) => entry.subscribers.map((subscriber) => `${entry.filter} ${subscriber}`))
    .sort();
}

describe('the subscription trie', () => {
  test('finds exactly the filters that match, after any adding and removing [BRK-11]', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.array(topic, { maxLength: 10 }), (steps, topics) => {
        const trie = new SubscriptionTrie<number>();
        const held = new Map<string, Set<number>>();
        for (const { add, filter, subscriber } of steps) {
          const holders = held.get(filter) ?? new Set();
          if (add) {
            expect(trie.add(filter, subscriber)).toBe(holders.size === 0);
            held.set(filter, holders.add(subscriber));
          } else {
            const last = holders.delete(subscriber) && holders.size === 0;
            expect(trie.remove(filter, subscriber)).toBe(last);
            if (last) held.delete(filter);
          }
        }
        expect(trie.size).toBe(held.size);
        for (const name of topics) {
          const expected = [...held]
            .filter(([text]) => slowMatches(text, name))
            .flatMap(([text, holders]) => [...holders].map((holder) => `${text} ${holder}`));
          expect(subscribersOf(trie, name)).toEqual(expected.sort());
        }
      }),
      { numRuns: 1500 },
    );
  });

  test('keeps nothing of filters that nobody holds', () => {
    const trie = new SubscriptionTrie<number>();
    const fresh = JSON.stringify(trie);
    for (const text of ['a/b/c', 'a/+/c', 'a/#', '#', '+']) trie.add(text, 1);
    for (const text of ['a/b/c', 'a/+/c', 'a/#', '#', '+']) trie.remove(text, 1);
    expect(JSON.stringify(trie)).toBe(fresh);
  });

  test('matches the parent with #, exactly one level with +, and no $ topic with a leading wildcard [BRK-11]', () => {
    const trie = new SubscriptionTrie<number>();
    for (const text of ['a/#', 'a/+', '+/b', '#', '$x/#']) trie.add(text, 1);
    expect(subscribersOf(trie, 'a')).toEqual(['# 1', 'a/# 1']);
    expect(subscribersOf(trie, 'a/b')).toEqual(['# 1', '+/b 1', 'a/# 1', 'a/+ 1']);
    expect(subscribersOf(trie, 'a/b/c')).toEqual(['# 1', 'a/# 1']);
    expect(subscribersOf(trie, '$x/b')).toEqual(['$x/# 1']);
  });

  test('lets 16,000 holders of one filter come and go with one list of them made for each publish', () => {
    const trie = new SubscriptionTrie<number>();
    for (let i = 0; i < 16_000; i++) trie.add('a', i);
    const [entry] = trie.match('a');
    const listed = entry.subscribers;
    expect(listed.length).toBe(16_000);
    expect(entry.subscribers).toBe(listed);
    const copied = new Set<readonly number[]>();
    for (let i = 0; i < 15_999; i++) {
      trie.remove('a', i);
      if (i % 1_000 === 0) copied.add(entry.subscribers);
      assert.equal(Reflect.get(entry, 'list') === null, i % 1_000 !== 0);
    }
    expect(copied.size).toBe(16);
    expect(entry.subscribers).toEqual([15_999]);
    expect([entry.isHeldBy(15_999), entry.isHeldBy(0)]).toEqual([true, false]);
  });

  test('leaves a list of subscribers that someone walks as it was', () => {
    const trie = new SubscriptionTrie<number>();
    trie.add('a', 1);
    trie.add('a', 2);
    const walked = trie.match('a')[0].subscribers;
    trie.remove('a', 1);
    trie.add('a', 3);
    expect(walked).toEqual([1, 2]);
  });
});

test('a router answers as its trie does, whatever topics came before, once or often, and whatever was added and removed between', () => {
  const route = fc.record({
    topic: topic.filter((name) => !name.startsWith('$')),
    times: fc.integer({ min: 1, max: 3 }),
  });
  fc.assert(
    fc.property(fc.array(fc.oneof(step, route), { maxLength: 60 }), (steps) => {
      const router = new Router<number>(8);
      const held = new Map<string, Set<number>>();
      for (const each of steps) {
        if ('filter' in each) {
          const { add, filter, subscriber } = each;
          const holders = held.get(filter) ?? new Set();
          held.set(filter, holders);
          if (add) {
            router.add(filter, subscriber);
            holders.add(subscriber);
          } else if (holders.delete(subscriber)) router.remove(filter, subscriber);
          continue;
        }
        const message = publishPrefix(each.topic);
        expect(message.length).toBe(HEADER_BYTES + each.topic.length);
        const expected = [...held]
          .filter(([text, holders]) => holders.size > 0 && slowMatches(text, each.topic))
          .flatMap(([text, holders]) => [...holders].map((holder) => `${text} ${holder}`))
          .sort();
        for (let i = 0; i < each.times; i++) {
          const found = router.route(message, message.length) ?? [];
          expect(
            found.flatMap((entry) => entry.subscribers.map((holder) => `${entry.filter} ${holder}`)).sort(),
          ).toEqual(expected);
        }
      }
    }),
    { numRuns: 500 },
  );
});
