import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  EVENT_CHARACTERS_MAX,
  EventStreamParser,
  type ServerEvent,
} from '../../../src/gateway/dashboard/event-stream.ts';

describe('server-sent events', () => {
  test('come with their name, their data of several lines and the last id', () => {
    const text = ': hello\nid: 1:7\nevent: gap\ndata: {"a":\ndata:1}\n\ndata: next\n\n';
    expect(parsed([text])).toEqual([
      { event: 'gap', data: '{"a":\n1}', id: '1:7' },
      { event: 'message', data: 'next', id: '1:7' },
    ]);
  });

  test('are not made of comments, ids and blank lines alone, but an id is kept', () => {
    expect(parsed([': x\n\nid: 9\n\n\n\ndata\n\n'])).toEqual([{ event: 'message', data: '', id: '9' }]);
  });

  test('are the same however the text is cut, and whichever way its lines end', () => {
    const line = fc.constantFrom(
      'data: x',
      'data:  y',
      'event: gap',
      'id: 1:2',
      'id: a\0b',
      ': c',
      'retry: 20',
      'odd',
      '',
    );
    const end = fc.constantFrom('\n', '\r', '\r\n');
    fc.assert(
      fc.property(fc.array(line), end, fc.array(fc.nat({ max: 5 })), (lines, ending, cuts) => {
        const text = lines.map((each) => each + ending).join('');
        const pieces: string[] = [];
        let at = 0;
        for (const cut of cuts) {
          pieces.push(text.slice(at, at + cut));
          at += cut;
        }
        pieces.push(text.slice(at));
        expect(parsed(pieces)).toEqual(slowly(lines));
      }),
    );
  });

  test('say when to come back', () => {
    const parser = new EventStreamParser(() => {});
    parser.push('retry: 1500\nretry: soon\n');
    expect(parser.retryMs).toBe(1_500);
  });

  test('that never end are refused before they fill the memory', () => {
    const parser = new EventStreamParser(() => {});
    const piece = 'x'.repeat(1024 * 1024);
    expect(() => {
      for (let i = 0; i <= EVENT_CHARACTERS_MAX / piece.length; i++) parser.push(`data:${piece}\n`);
    }).toThrow(RangeError);
    const endless = new EventStreamParser(() => {});
    expect(() => {
      for (let i = 0; i <= EVENT_CHARACTERS_MAX / piece.length; i++) endless.push(piece);
    }).toThrow(RangeError);
  });
});

function parsed(pieces: readonly string[]): ServerEvent[] {
  const events: ServerEvent[] = [];
  const parser = new EventStreamParser((event) => events.push(event));
  for (const piece of pieces) parser.push(piece);
  return events;
}

/** The same, line by line. */
function slowly(lines: readonly string[]): ServerEvent[] {
  const events: ServerEvent[] = [];
  let id = '';
  let fields: [string, string][] = [];
  for (const line of lines) {
    if (line !== '') {
      const [, name, value] = /^([^:]*)(?:: ?)?([\s\S]*)$/.exec(line) as RegExpExecArray;
      fields.push([name, value]);
      if (name === 'id' && !value.includes('\0')) id = value;
      continue;
    }
    const data = fields.filter(([name]) => name === 'data').map(([, value]) => value);
    const event = fields.filter(([name]) => name === 'event').at(-1)?.[1] ?? 'message';
    if (data.length > 0) events.push({ event, data: data.join('\n'), id });
    fields = [];
  }
  return events;
}
