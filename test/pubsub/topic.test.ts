import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assertFilter, assertTopic, decodeName, filterFault, topicFault } from '../../src/pubsub/topic.ts';
import { slowIsFilter, slowIsTopic } from './slow-topic.ts';

// Names from an alphabet in which every rule is near: separators, wildcards, controls, lone surrogates, long characters.
const level = fc.oneof(
  fc.constantFrom(
    'a',
    'b',
    '+',
    '#',
    '',
    '$',
    '$SYS',
    '$share',
    'é',
    '温',
    '\u{1f600}',
    'a+',
    '#b',
    '\u0000',
    '\u0085',
    '\ud800',
    '\ufeff',
    ' ',
  ),
  fc.string({ maxLength: 5, unit: 'binary' }),
);
const name = fc.oneof(
  fc.array(level, { maxLength: 6 }).map((levels) => levels.join('/')),
  fc.array(fc.constantFrom('a', '+'), { minLength: 30, maxLength: 34 }).map((levels) => levels.join('/')),
  fc.integer({ min: 1020, max: 1028 }).map((length) => 'x'.repeat(length)),
  fc.integer({ min: 340, max: 343 }).map((length) => '温'.repeat(length)),
);

describe('topics and filters', () => {
  it('takes as a topic exactly what the specification calls one [BRK-9]', () => {
    fc.assert(
      fc.property(name, (text) => {
        expect(topicFault(text) === null).toBe(slowIsTopic(text));
      }),
      { numRuns: 3000 },
    );
  });

  it('takes as a filter exactly what the specification calls one [BRK-10]', () => {
    fc.assert(
      fc.property(name, (text) => {
        expect(filterFault(text) === null).toBe(slowIsFilter(text));
      }),
      { numRuns: 3000 },
    );
  });

  it('says what is wrong with a name', () => {
    expect(() => assertTopic('a/+')).toThrow(
      expect.objectContaining({
        code: 'ERR_JSP_TOPIC_INVALID',
        message: expect.stringContaining('only filters'),
      }),
    );
    expect(() => assertTopic('$SYS/x')).toThrow(/belongs to the broker/);
    expect(() => assertFilter('a/#/b')).toThrow(
      expect.objectContaining({
        code: 'ERR_JSP_FILTER_INVALID',
        message: expect.stringContaining('last level'),
      }),
    );
    expect(() => assertFilter('')).toThrow(/is empty/);
    for (const filter of ['$share', '$share/g', '$share/#']) {
      expect(() => assertFilter(filter)).toThrow(/is not \$share\/group\/filter/); // [BRK-13]
    }
    expect(() => assertFilter('$share/+/a')).toThrow(/wildcard as its group/);
    expect(filterFault('$share/g/+/a/#')).toBeNull();
    expect(filterFault('$shared/+')).toBeNull();
  });

  it('does not take bytes that are not UTF-8 for a name [BRK-9]', () => {
    expect(decodeName(Buffer.from([0x61, 0xff, 0x62]), 0, 3)).toBeNull();
    expect(decodeName(Buffer.from([0xc0, 0x80]), 0, 2)).toBeNull();
    expect(decodeName(Buffer.from([0xed, 0xa0, 0x80]), 0, 3)).toBeNull();
    expect(decodeName(Buffer.from('xéy'), 1, 3)).toBe('é');
  });
});
