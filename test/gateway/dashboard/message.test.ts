import { expect, test } from 'vitest';
import { jsonOf, messageOf, textOf, topicPath } from '../../../src/gateway/dashboard/message.ts';

test.each([
  ['a delete character', 'a\x7fb'],
  ['a control character of C1', 'a\x85b'],
  ['a mark that turns the direction of writing', 'a\u202eb'],
  ['a tag', 'a\u{e0001}b'],
  ['more than a page shows of a text', 'x'.repeat(100_000)],
])('what the broker tells comes as it is where a stranger is named by %s', (_, principal) => {
  const told = { what: 'refused', principal };
  const message = messageOf({
    event: 'message',
    id: '',
    data: JSON.stringify({ topic: '$sys/events', json: told }),
  });
  if (message === null) throw new Error('it was not understood');
  expect(jsonOf(message)).toEqual(told);
  // The same, shown: harmless, and no more of it than can be read.
  const shown = textOf(message) ?? '';
  expect(shown).not.toMatch(/[\x7f-\x9f\u202e\u{e0001}]/u);
  expect(shown.length).toBeLessThan(70_000);
});

test('the path of a topic leads to that topic, or there is none: a level of dots would lead to another', () => {
  const at = (topic: string): string => new URL(`/v1/topics/${topicPath(topic)}`, 'http://a.test').pathname;
  for (const topic of ['a/b c', 'a//b', '/a', 'a/...', 'a/%2e%2e/b', 'a?b#c', 'é']) {
    expect(at(topic).split('/').slice(3).map(decodeURIComponent).join('/')).toBe(topic);
  }
  for (const topic of ['a/../b', '..', 'a/.', './a'])
    expect([topic, topicPath(topic)]).toEqual([topic, null]);
});
