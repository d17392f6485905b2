import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  assertFilter,
  assertTopic,
  decodeName,
  filterFault,
  TopicTable,
  topicFault,
} from '../../src/pubsub/topic.ts';
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
    '$inbox',
    '$inbox/',
    '$inbox/me',
    '$inbox//1',
    '$inboxes/me/1',
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
  test('takes as a topic exactly what the specification calls one [BRK-9]', () => {
    fc.assert(
      fc.property(name, (text) => {
        expect(topicFault(text) === null).toBe(slowIsTopic(text));
      }),
      { numRuns: 3000 },
    );
  });

  test('takes as a filter exactly what the specification calls one [BRK-10]', () => {
    fc.assert(
      fc.property(name, (text) => {
        expect(filterFault(text) === null).toBe(slowIsFilter(text));
      }),
      { numRuns: 3000 },
    );
  });

  test('says what is wrong with a name', () => {
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

  test('does not take bytes that are not UTF-8 for a name [BRK-9]', () => {
    expect(decodeName(Buffer.from([0x61, 0xff, 0x62]), 0, 3)).toBeNull();
    expect(decodeName(Buffer.from([0xc0, 0x80]), 0, 2)).toBeNull();
    expect(decodeName(Buffer.from([0xed, 0xa0, 0x80]), 0, 3)).toBeNull();
    expect(decodeName(Buffer.from('xéy'), 1, 3)).toBe('é');
  });
});

describe('the topic table', () => {
  test('answers with the value stored last for the same bytes, or not at all', () => {
    const key = fc.uint8Array({ maxLength: 3, max: 5 });
    fc.assert(
      fc.property(fc.array(fc.tuple(key, fc.nat()), { maxLength: 200 }), (steps) => {
        const table = new TopicTable<number>(16);
        const stored = new Map<string, number>();
        for (const [bytes, value] of steps) {
          table.store(bytes, 0, bytes.length, value);
          stored.set(bytes.join(), value);
          expect(table.lookup(bytes, 0, bytes.length)).toBe(value);
        }
        for (const [text, value] of stored) {
          const bytes = Uint8Array.from(text === '' ? [] : text.split(',').map(Number));
          expect([undefined, value]).toContain(table.lookup(bytes, 0, bytes.length));
        }
      }),
    );
  });

  test('remembers all of a handful of topics, and only so many of a crowd', () => {
    const table = new TopicTable<number>(1024);
    const name = (i: number) => Buffer.from(`sensors/${i}/temperature`);
    for (let i = 0; i < 200; i++) table.store(name(i), 0, name(i).length, i);
    for (let i = 0; i < 200; i++) expect(table.lookup(name(i), 0, name(i).length)).toBe(i);
    for (let i = 0; i < 20_000; i++) table.store(name(i), 0, name(i).length, i);
    let hits = 0;
    for (let i = 0; i < 20_000; i++) if (table.lookup(name(i), 0, name(i).length) === i) hits++;
    expect(hits).toBeGreaterThan(900);
    expect(hits).toBeLessThanOrEqual(1024);
  });

  test('remembers a topic that comes again, and none that comes once in the place of one', () => {
    const table = new TopicTable<string>(64);
    const store = (name: string) => table.storeIfSeen(Buffer.from(name), 0, name.length, name);
    const known = (name: string) => table.lookup(Buffer.from(name), 0, name.length);
    const usual = Array.from({ length: 8 }, (_, i) => `usual/${i}`);
    for (const name of usual) store(name);
    expect([table.isEmpty, ...usual.map(known)]).toEqual([true, ...usual.map(() => undefined)]);
    for (const name of usual) store(name);
    expect(usual.map(known)).toEqual(usual);
    for (let i = 0; i < 10_000; i++) store(`inbox/${i}`);
    expect(usual.map(known)).toEqual(usual);
    let remembered = 0;
    for (let i = 0; i < 10_000; i++) if (known(`inbox/${i}`) !== undefined) remembered++;
    expect(remembered).toBe(0);
  });

  test('keeps its own copy of a topic', () => {
    const table = new TopicTable<number>(16);
    const bytes = Buffer.from('..a/b..');
    table.store(bytes, 2, 5, 7);
    bytes.fill(0);
    expect(table.lookup(Buffer.from('a/b'), 0, 3)).toBe(7);
  });
});
