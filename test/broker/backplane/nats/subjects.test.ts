import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { subjectOf, subjectsOf, topicOf } from '../../../../src/broker/backplane/nats/subjects.ts';
import { SubscriptionTrie } from '../../../../src/pubsub/router.ts';
import { filterFault, topicFault } from '../../../../src/pubsub/topic.ts';

interface Vectors {
  topics: { topic: string; subject: string }[];
  filters: { filter: string; subjects: string[] }[];
  none: string[];
}

const vectors = JSON.parse(readFileSync('spec/vectors/subjects.json', 'utf8')) as Vectors;

/** Levels with what means something to one side or the other, often. */
const level = fc.oneof(
  fc.constantFrom('', 'a', 'b', '%', '%-', '%2E', '.', '..', '*', '>', ' ', 'a.b', 'a b', '温', '\u00a0'),
  fc.string({ unit: 'grapheme', maxLength: 6 }),
);
const names = (element: fc.Arbitrary<string>) =>
  fc.array(element, { minLength: 1, maxLength: 6 }).map((levels) => levels.join('/'));
const topic = names(level).filter((text) => topicFault(text) === null);
const filter = fc
  .tuple(names(fc.oneof(level, fc.constant('+'))), fc.boolean())
  .map(([text, rest]) => (rest ? `${text}/#` : text))
  .filter((text) => filterFault(text) === null);

describe('the subject of a topic', () => {
  test.each(vectors.topics)(
    'is one, from which the topic comes again: $topic [CLU-2]',
    ({ topic, subject }) => {
      expect(subjectOf(topic)).toBe(subject);
      expect(topicOf(subject)).toBe(topic);
    },
  );

  test.each(vectors.none)('is not %j, nor of any topic [CLU-2]', (subject) => {
    expect(topicOf(subject)).toBeNull();
  });

  test('is what NATS takes, another one for each topic, and leads back to it [CLU-2]', () => {
    fc.assert(
      fc.property(topic, (text) => {
        const subject = subjectOf(text);
        expect(subject).toMatch(/^[^ \t\r\n.*>]+(\.[^ \t\r\n.*>]+)*$/);
        expect(topicOf(subject)).toBe(text);
      }),
      { numRuns: 2_000 },
    );
  });

  test('is the only one: what leads to a topic is its subject [CLU-2]', () => {
    const part = fc.constantFrom('a', '%', '2', 'E', '-', '.', '%2E', '%-', '%20', '%C3');
    fc.assert(
      fc.property(fc.array(part, { maxLength: 8 }), (parts) => {
        const found = topicOf(parts.join(''));
        if (found !== null) expect(subjectOf(found)).toBe(parts.join(''));
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('the subjects of a filter', () => {
  test.each(vectors.filters)('are those of what it matches: $filter [CLU-3]', ({ filter, subjects }) => {
    expect(subjectsOf(filter)).toEqual(subjects);
  });

  test('have the subject of each topic that it matches, once, and of no other but for those with $ [CLU-3]', () => {
    let matched = 0;
    fc.assert(
      fc.property(filter, topic, fc.boolean(), (wanted, text, isAlike) => {
        // Topics drawn at random seldom match: half of them are made from the filter.
        const about = isAlike ? wanted.replaceAll('+', 'x').replace(/\/#$/, '').replace(/^#$/, 'x') : text;
        if (topicFault(about) !== null) return;
        const trie = new SubscriptionTrie<number>();
        trie.add(wanted, 1);
        const matches = trie.match(about).length > 0;
        const taking = subjectsOf(wanted).filter((subject) => takes(subject, subjectOf(about)));
        if (matches) matched++;
        if (matches || !about.startsWith('$')) expect(taking).toHaveLength(matches ? 1 : 0);
      }),
      { numRuns: 3_000 },
    );
    expect(matched).toBeGreaterThan(500);
  });
});

/** As NATS matches, by the word. */
function takes(wanted: string, subject: string): boolean {
  const [one, other] = [wanted.split('.'), subject.split('.')];
  for (let i = 0; i < one.length; i++) {
    if (one[i] === '>') return other.length > i;
    if (i >= other.length || (one[i] !== '*' && one[i] !== other[i])) return false;
  }
  return one.length === other.length;
}
