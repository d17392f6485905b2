import { expect, test } from 'vitest';
import { CORPUS_SHA256, corpus, corpusHash } from '../../src/bench/corpus/corpus.ts';

const groups = corpus();

test('the corpus is the one that was fixed before there was any compression', () => {
  expect(corpusHash(groups)).toBe(CORPUS_SHA256);
});

test('messages have the sizes that their group says', () => {
  const sizes = (name: string): number[] =>
    groups
      .filter((group) => group.name === name)
      .flatMap(({ kinds }) => kinds.flatMap(({ messages }) => messages.map(({ length }) => length)));
  for (const size of sizes('JSON of 1 KB')) expect(size).toSatisfy((n) => n >= 1_000 && n < 1_350);
  for (const size of sizes('text of 10 KB')) expect(size).toSatisfy((n) => n >= 10_000 && n < 16_000);
  for (const size of sizes('JSON of 100 to 200 B')) expect(size).toSatisfy((n) => n >= 95 && n <= 200);
});

test('what a dictionary is trained with is not what it is tried on', () => {
  for (const { kinds, samples } of groups) {
    const tried = new Set(kinds.flatMap(({ messages }) => messages.map(String)));
    for (const { messages } of samples)
      for (const message of messages) expect(tried).not.toContain(String(message));
  }
});

test('JSON of the corpus is JSON', () => {
  for (const { name, kinds } of groups) {
    if (!name.startsWith('JSON')) continue;
    for (const { messages } of kinds)
      for (const message of messages) expect(() => JSON.parse(String(message))).not.toThrow();
  }
});
