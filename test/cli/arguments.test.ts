import { describe, expect, test } from 'vitest';
import {
  collectHeader,
  duration,
  parseDuration,
  seconds,
  splitUrls,
  startPosition,
  timeLimit,
} from '../../src/cli/arguments.ts';

describe('arguments', () => {
  test('a time has a unit, or is of seconds', () => {
    expect(['500ms', '10s', '1.5m', '2h', '7d', '30', '.5'].map(duration)).toEqual([
      500, 10_000, 90_000, 7_200_000, 604_800_000, 30_000, 500,
    ]);
    for (const text of ['', '0', '0s', '-1', '5 s', '10y', 's'])
      expect(() => duration(text)).toThrow('such as 500ms');
    expect([parseDuration('30'), parseDuration('30s')]).toEqual([null, 30_000]);
  });

  test('what a timer counts is no more than it can, which would be no time at all', () => {
    expect([seconds('2147483'), timeLimit('24d')]).toEqual([2_147_483, 2_073_600_000]);
    for (const text of ['2147484', '99999999999'])
      expect(() => seconds(text)).toThrow('at most 2147483 seconds');
    expect(() => timeLimit('25d')).toThrow('at most 24d');
    expect(() => seconds('0')).toThrow('above 0');
  });

  test('a subscription begins at a word, an offset, a time, or so long ago', () => {
    expect(['new', 'earliest', 'last', 'last-per-topic'].map(startPosition)).toEqual([
      'new',
      'earliest',
      'last',
      'lastPerTopic',
    ]);
    expect([startPosition('17'), startPosition('4711:17')]).toEqual([
      { offset: 17 },
      { offset: 17, epoch: 4_711 },
    ]);
    expect(startPosition('2026-11-26T08:00Z')).toEqual({ time: Date.UTC(2026, 10, 26, 8) });
    const { time } = startPosition('10m') as { time: number };
    expect(Math.abs(Date.now() - 600_000 - time)).toBeLessThan(5_000);
    for (const text of ['yesterday', '99999999999999999999', '99999999999999999999:1'])
      expect(() => startPosition(text)).toThrow('or how long ago');
  });

  test('URLs have commas between them, and may have two fingerprints with a comma between those', () => {
    const urls = ['jsp://AAAA,BBBB@one:4577', 'jsp://AAAA@two', 'JSP://CCCC@[::1]:1'];
    expect(splitUrls(urls.join(','))).toEqual(urls);
    expect(splitUrls(urls.join(' ,\n'))).toEqual(urls);
    expect(splitUrls('jsp://AAAA@one,nonsense')).toHaveLength(1);
  });

  test('a header is a name and a value, which may hold anything', () => {
    expect(collectHeader('b=x=y', { a: '1' })).toEqual({ a: '1', b: 'x=y' });
    expect(collectHeader('empty=', {})).toEqual({ empty: '' });
    for (const text of ['', '=x', 'name']) expect(() => collectHeader(text, {})).toThrow('name=value');
  });
});
